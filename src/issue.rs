//! Getting a certificate, step by step, so that a crash between any two steps costs none.
//!
//! 1. May an order be opened? Resuming is never gated.
//! 2. An order in flight is resumed. Otherwise the key and the intent are saved, the order is opened, its URL saved.
//! 3. Every authorization that is not valid yet: publish the token, check it, note `told`, tell, look.
//! 4. Finalize with the saved key, look, download, keep the chain as it came.
//! 5. Verify it: that decides about publishing, never about keeping.
//! 6. Store it.

use std::sync::Mutex;
use std::sync::PoisonError;

use time::Duration;
use tracing::debug;
use tracing::warn;

use crate::bundle::Bundle;
use crate::classify::day;
use crate::engine::Engine;
use crate::engine::Place;
use crate::engine::Setback;
use crate::issue::stop::Stop;
use crate::names::NameSet;
use crate::names::Names;
use crate::ports::Account;
use crate::ports::Authority;
use crate::ports::AuthorityError;
use crate::ports::Challenge;
use crate::ports::Clock;
use crate::ports::Order;
use crate::ports::OrderStatus;
use crate::ports::World;
use crate::schedule;
use crate::store::ledger::Subject;
use crate::store::lineage::Pending;
use crate::store::record::PendingOrder;
use crate::store::record::Received;

mod account;
mod challenges;
mod finalize;
mod pace;
mod settle;
mod stop;

/// What is to be obtained.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The lineage, or none while it has no folder yet.
    pub lineage: Option<String>,
    /// What the certificate is for; the first name is the one at Rancher.
    pub entry: Names,
    /// What is ordered: the same, but for names that wait and surplus names that somebody wants.
    pub order: Names,
}

/// A certificate that was obtained and stored.
#[derive(Debug)]
pub struct Obtained {
    /// The bundle.
    pub bundle: Bundle,
    /// Directory URL of the authority.
    pub directory: String,
}

/// How long a certificate that was refused stands in the way of another order for the same names.
const BLOCKED_FOR: Duration = Duration::DAY;

/// An order in flight is looked at this often, whatever the authority says.
const LONGEST_REST: Duration = Duration::HOUR;

/// Whether an order may be opened now, and if not: why, and until when. Resuming never asks.
pub fn gate<W: World>(
    engine: &Engine<W>,
    names: &NameSet,
    pending: &Pending,
    is_ephemeral: bool,
) -> Result<(), Setback> {
    let now = engine.now();
    let policy = &engine.settings.policy;
    let directory = policy.wanted_directory();
    if is_ephemeral && !policy.is_staging {
        return Err(Setback::failure(EPHEMERAL));
    }
    match pending {
        Pending::Unreadable(why) => {
            return Err(Setback::failure(format!(
                "the order in flight cannot be read: {why}"
            )));
        }
        Pending::Order(order) => {
            let blocks = order.directory == directory && order.names.set() == *names;
            if let Some(setback) = blocks.then(|| refused(order, now)).flatten() {
                return Err(setback);
            }
        }
        Pending::None => {}
    }
    let ledger = engine.ledger();
    let directory = directory.to_owned();
    if let Some(wait) = ledger.waiting(
        &Subject::Account {
            directory: directory.clone(),
        },
        now,
    ) {
        return Err(Setback::failure_until(
            format!("no account at the authority: {}", wait.detail),
            wait.until,
        ));
    }
    let breaker = Subject::Authority {
        directory: directory.clone(),
    };
    if let Some(wait) = ledger
        .waiting(&breaker, now)
        .filter(|wait| schedule::is_open(wait.failures))
    {
        return Err(Setback::failure_until(
            format!("the authority cannot be used at present: {}", wait.detail),
            wait.until,
        ));
    }
    match ledger.floor(&directory, names, now) {
        Some(opens) => Err(Setback::later(
            format!(
                "a certificate for these names was asked for less than a day ago; the next not before {}",
                day(opens)
            ),
            opens,
        )),
        None => Ok(()),
    }
}

const EPHEMERAL: &str = "the store is not on a volume and would be lost with the container: no production certificate is \
                         ordered; mount a volume at LETSENCRYPT_ROOTDIR";

/// Whether what an authority issued for an order was refused, and still stands in the way of another.
pub(crate) fn refused(order: &PendingOrder, now: time::OffsetDateTime) -> Option<Setback> {
    let received = order.received.as_ref()?;
    let why = received.refused.as_ref()?;
    let until = received.at.saturating_add(BLOCKED_FOR);
    let reason = format!("the authority sent a certificate that cannot be used: {why}");
    (now < until).then(|| Setback::failure_until(reason, until))
}

/// Obtains and stores a certificate, or brings the order in flight of this lineage to its end first.
///
/// `place` is given back as soon as the authority has nothing more to do for this order.
pub async fn obtain<W: World>(
    engine: &Engine<W>,
    wish: &Wish,
    place: Place,
) -> Result<Obtained, Setback> {
    let attempted = async { Attempt::new(engine, wish, Some(place)).await?.run().await };
    conclude(engine, wish, attempted.await).await
}

/// Stores what the authority has sent for the order in flight of this lineage, if a crash came in between.
pub async fn settle<W: World>(engine: &Engine<W>, wish: &Wish) -> Result<(), Setback> {
    let attempted = async {
        let attempt = Attempt::new(engine, wish, None).await?;
        match attempt.pending().await {
            Pending::Order(order) if order.received.is_some() => {
                attempt.settle_again(*order).await.map(drop)
            }
            Pending::Order(_) | Pending::None | Pending::Unreadable(_) => Ok(()),
        }
    };
    conclude(engine, wish, attempted.await).await
}

/// Notes how an attempt ended.
async fn conclude<W: World, T>(
    engine: &Engine<W>,
    wish: &Wish,
    result: Result<T, Stop>,
) -> Result<T, Setback> {
    let subject = Subject::Attempt {
        certificate: wish.entry.primary().to_string(),
    };
    match result {
        Ok(done) => {
            engine.clear(&subject).await;
            Ok(done)
        }
        Err(stop) => Err(stop.into_setback(engine, subject, &wish.order).await),
    }
}

/// One try to obtain a certificate.
struct Attempt<'a, W: World> {
    engine: &'a Engine<W>,
    wish: &'a Wish,
    lineage: String,
    place: Mutex<Option<Place>>,
}

/// How often one try begins again, after an account was forgotten or an order is gone.
const BEGINNINGS: usize = 3;

impl<'a, W: World> Attempt<'a, W> {
    async fn new(
        engine: &'a Engine<W>,
        wish: &'a Wish,
        place: Option<Place>,
    ) -> Result<Self, Stop> {
        let lineage = match &wish.lineage {
            Some(lineage) => lineage.clone(),
            None => {
                let primary = wish.entry.primary().clone();
                engine
                    .store
                    .run(move |store| store.free_name(&primary))
                    .await?
            }
        };
        Ok(Self {
            engine,
            wish,
            lineage,
            place: Mutex::new(place),
        })
    }

    async fn run(&self) -> Result<Obtained, Stop> {
        let mut last = None;
        for _ in 0..BEGINNINGS {
            let account = self.account_in_use().await?;
            match self.once().await {
                Err(Stop::Authority(AuthorityError::AccountUnknown(why))) => {
                    warn!(
                        lineage = self.lineage,
                        error = why,
                        "account unknown to the authority, made again with the same key"
                    );
                    if let Some(account) = account {
                        self.forget_account(&account).await?;
                    }
                    self.drop_pending().await?;
                    last = Some(AuthorityError::AccountUnknown(why));
                }
                Err(Stop::Authority(AuthorityError::Gone(why))) => {
                    debug!(
                        lineage = self.lineage,
                        error = why,
                        "order gone, opened again"
                    );
                    self.drop_pending().await?;
                    last = Some(AuthorityError::Gone(why));
                }
                result => return result,
            }
        }
        Err(Stop::Authority(last.unwrap_or_else(|| {
            AuthorityError::Gone("no order lasts".to_owned())
        })))
    }

    async fn once(&self) -> Result<Obtained, Stop> {
        let pending = self.pending().await;
        if let Pending::Order(order) = &pending
            && let Some(obtained) = self.resume((**order).clone()).await?
        {
            return Ok(obtained);
        }
        let names = self.wish.order.set();
        let is_ephemeral = self.engine.store.run(|store| store.is_ephemeral()).await;
        gate(self.engine, &names, &self.pending().await, is_ephemeral)?;
        let (order, state) = self.open().await?;
        self.finish(order, state).await
    }

    async fn pending(&self) -> Pending {
        let lineage = self.lineage.clone();
        self.engine
            .store
            .run(move |store| store.pending(&lineage))
            .await
    }

    /// Brings an order in flight to its end if that is what is wanted, or if it was finalized already: what an
    /// authority has issued is stored whatever is wanted by now. None if a new order is to be opened.
    async fn resume(&self, order: PendingOrder) -> Result<Option<Obtained>, Stop> {
        if order.received.is_some() {
            return self.settle_again(order).await;
        }
        let account = self.account_of(&order).await?;
        let (Some(account), Some(url)) = (account, order.url.clone()) else {
            // An intent without an answer: the same key is used for the order that is opened now.
            return if order.url.is_none() && self.is_wanted(&order) {
                Ok(None)
            } else {
                self.give_up(&order).await
            };
        };
        let state = self
            .ask(&account.directory, || self.authority().look(&account, &url))
            .await?;
        let is_finalized = matches!(state.status, OrderStatus::Processing | OrderStatus::Valid);
        if !is_finalized && !self.is_wanted(&order) {
            return self.give_up(&order).await;
        }
        debug!(lineage = self.lineage, order = url, status = ?state.status, "order resumed");
        self.finish(order, state).await.map(Some)
    }

    fn is_wanted(&self, order: &PendingOrder) -> bool {
        order.directory == self.engine.settings.policy.wanted_directory()
            && order.names.set() == self.wish.order.set()
    }

    async fn give_up(&self, order: &PendingOrder) -> Result<Option<Obtained>, Stop> {
        debug!(lineage = self.lineage, names = %order.names, "order dropped, it is not wanted any more");
        self.drop_order(order).await?;
        Ok(None)
    }

    /// Makes the key, saves it with the intent, opens the order, saves its URL.
    async fn open(&self) -> Result<(PendingOrder, Order), Stop> {
        let account = self.account().await?;
        let key = match self.pending().await {
            Pending::Order(order) if order.url.is_none() && order.account == account.url => {
                order.key.clone()
            }
            Pending::Order(_) | Pending::None | Pending::Unreadable(_) => self
                .engine
                .world
                .new_key()
                .map_err(|error| Setback::failure(format!("no key could be made: {error}")))?,
        };
        let mut order = PendingOrder {
            names: self.wish.order.clone(),
            directory: account.directory.clone(),
            account: account.url.clone(),
            key,
            intended_at: self.engine.now(),
            url: None,
            challenges: std::collections::BTreeMap::new(),
            look_after: None,
            received: None,
        };
        self.save(&order).await?;
        debug!(lineage = self.lineage, "key and intent saved");
        let opened = self
            .ask(&account.directory, || {
                self.authority().open(&account, &order.names)
            })
            .await;
        if let Err(Stop::Authority(
            AuthorityError::Refused(_) | AuthorityError::RateLimited { .. },
        )) = &opened
        {
            // There is no order to come back to.
            self.drop_order(&order).await?;
        }
        let state = opened?;
        debug!(lineage = self.lineage, order = state.url, "order opened");
        order.url = Some(state.url.clone());
        self.save(&order).await?;
        debug!(lineage = self.lineage, "order saved");
        Ok((order, state))
    }

    /// From an order on record to a certificate in the store.
    async fn finish(&self, mut order: PendingOrder, state: Order) -> Result<Obtained, Stop> {
        let account = self
            .account_of(&order)
            .await?
            .ok_or_else(|| AuthorityError::Gone("its account is gone".to_owned()))?;
        let mut state = state;
        if state.status == OrderStatus::Pending {
            self.authorize(&account, &mut order, &state).await?;
            // An order whose authorizations are all valid is ready (RFC 8555, section 7.1.6): no need to look.
            state.status = OrderStatus::Ready;
        }
        if state.status == OrderStatus::Ready {
            state = self.finalize(&account, &mut order, &state.url).await?;
        }
        let mut pace = pace::Pace::new(self.engine.now());
        while state.status == OrderStatus::Processing {
            self.rest(
                &mut order,
                &mut pace,
                state.retry_after,
                "the authority is still issuing",
            )
            .await?;
            state = self
                .ask(&account.directory, || {
                    self.authority().look(&account, &state.url)
                })
                .await?;
            debug!(lineage = self.lineage, status = ?state.status, "order looked at");
        }
        if state.status != OrderStatus::Valid {
            return Err(self.fail_order(&account, &order, &state).await?);
        }
        let chain = self
            .ask(&account.directory, || {
                self.authority().download(&account, &state.url)
            })
            .await?;
        debug!(lineage = self.lineage, "chain downloaded");
        order.received = Some(Received {
            chain,
            at: self.engine.now(),
            refused: None,
        });
        self.save(&order).await?;
        debug!(lineage = self.lineage, "chain kept");
        drop(
            self.place
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.settle(&mut order).await
    }

    /// Why an order became invalid: the reason is in its authorizations, or in the order itself.
    async fn fail_order(
        &self,
        account: &Account,
        order: &PendingOrder,
        state: &Order,
    ) -> Result<Stop, Stop> {
        for url in &state.authorizations {
            let authorization = self
                .ask(&account.directory, || {
                    self.authority().look_at(account, &state.url, url)
                })
                .await?;
            self.note_outcome(account, &authorization).await;
        }
        self.drop_order(order).await?;
        let failed = self.engine.wait_of(&order.names.set(), &account.url);
        Ok(match (failed, &state.error) {
            (Some(wait), _) => Setback::failure_until(wait.detail, wait.until).into(),
            (None, Some(problem)) => AuthorityError::Refused(problem.clone()).into(),
            (None, None) => {
                AuthorityError::Gone("the order became invalid without a reason".to_owned()).into()
            }
        })
    }

    async fn save(&self, order: &PendingOrder) -> Result<(), Stop> {
        let (lineage, order) = (self.lineage.clone(), order.clone());
        Ok(self
            .engine
            .store
            .run(move |store| store.save_pending(&lineage, &order))
            .await?)
    }

    async fn drop_pending(&self) -> Result<(), Stop> {
        match self.pending().await {
            Pending::Order(order) => self.drop_order(&order).await,
            Pending::None | Pending::Unreadable(_) => Ok(()),
        }
    }

    /// Takes the tokens away, then forgets the order.
    async fn drop_order(&self, order: &PendingOrder) -> Result<(), Stop> {
        for challenge in order.challenges.values() {
            self.withdraw(&challenge.token).await;
        }
        let lineage = self.lineage.clone();
        Ok(self
            .engine
            .store
            .run(move |store| store.clear_pending(&lineage))
            .await?)
    }

    /// A token that stays is swept at the next start; it is no reason to stop.
    async fn withdraw(&self, token: &crate::ports::Token) {
        if let Err(error) = self.engine.world.challenge().withdraw(token).await {
            warn!(lineage = self.lineage, %error, "challenge file not removed");
        }
    }

    fn authority(&self) -> &W::Authority {
        self.engine.world.authority()
    }

    /// Waits before the next look, as the authority says or ever longer; or stops, so that others get the place, and
    /// keeps in mind when to go on.
    async fn rest(
        &self,
        order: &mut PendingOrder,
        pace: &mut pace::Pace,
        retry_after: Option<crate::ports::RetryAfter>,
        why: &str,
    ) -> Result<(), Stop> {
        let now = self.engine.now();
        match pace.next(retry_after, now) {
            Ok(time) => {
                self.engine.world.clock().sleep(time).await;
                Ok(())
            }
            Err(until) => {
                let until = until.min(now + LONGEST_REST);
                order.look_after = Some(until);
                self.save(order).await?;
                Err(Setback::later(why, until).into())
            }
        }
    }
}

//! Getting a certificate, step by step, so that a crash between any two steps costs none.
//!
//! 1. May an order be opened? One that is opened already waits for no limit.
//! 2. An order in flight is resumed. Otherwise the key and the intent are saved, the order is opened, its URL saved.
//! 3. Every authorization that is not valid yet: publish the token, check it, note `told`, tell, look.
//! 4. Finalize with the saved key, look, download, keep the chain as it came.
//! 5. Verify it: that decides about publishing, never about keeping.
//! 6. Store it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use time::Duration;
use tracing::debug;
use tracing::warn;

use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::engine::Setback;
use crate::engine::claims::Claim;
use crate::engine::claims::Claimed;
use crate::engine::places::Place;
use crate::issue::reservation::Reservation;
use crate::issue::stop::Stop;
use crate::names::Names;
use crate::ports::Account;
use crate::ports::Authority;
use crate::ports::AuthorityError;
use crate::ports::AuthorizationStatus;
use crate::ports::Challenge;
use crate::ports::Clock;
use crate::ports::Order;
use crate::ports::OrderStatus;
use crate::ports::Token;
use crate::ports::World;
use crate::reaction::Trouble;
use crate::store::ledger::Subject;
use crate::store::lineage::Pending;
use crate::store::record::PendingOrder;
use crate::store::record::Received;

mod account;
mod challenges;
mod finalize;
mod gate;
mod pace;
mod reservation;
mod settle;
mod stop;

pub use gate::EPHEMERAL;
pub use gate::Question;
pub use gate::Standing;
pub(crate) use gate::authority_waits_for_opened;
pub use gate::gate;
pub use gate::may_overrule;
#[cfg(test)]
pub(crate) use gate::refused;
pub(crate) use gate::trust_dates;
pub(crate) use settle::verified;

/// What is to be obtained.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The lineage, or none while it has no folder yet.
    pub lineage: Option<String>,
    /// What the certificate is for; the first name is the one at Rancher.
    pub entry: Names,
    /// What is ordered: the same, but for names that wait and surplus names that somebody wants.
    pub order: Names,
    /// How the order stands to the certificate that is there.
    pub standing: Standing,
    /// Whether an order for it is in flight.
    pub is_resumed: bool,
}

/// A certificate that was obtained and stored.
#[derive(Debug)]
pub struct Obtained {
    /// The bundle.
    pub bundle: Bundle,
    /// Directory URL of the authority.
    pub directory: String,
}

/// An order that was not finalized has expired by then; Let's Encrypt's live seven days.
const EXPIRED_AFTER: Duration = Duration::days(8);

/// An order in flight is looked at this often, whatever the authority says.
const LONGEST_REST: Duration = Duration::HOUR;

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

/// Stores what the authority has sent for the order in flight of this lineage, if a crash came in between, or has
/// issued for it by now. Asks for nothing new.
pub async fn settle<W: World>(engine: &Engine<W>, wish: &Wish) -> Result<(), Setback> {
    let attempted = async {
        let attempt = Attempt::new(engine, wish, None).await?;
        let settled = match attempt.pending().await {
            Pending::Order(order) if order.received.is_some() => {
                attempt.settle_again(*order).await.map(drop)
            }
            Pending::Order(order) if order.finalized_at.is_some() => attempt.collect(*order).await,
            Pending::Order(_) | Pending::None | Pending::Unreadable(_) => Ok(()),
        };
        match settled {
            Err(Stop::Authority(
                AuthorityError::Gone(why) | AuthorityError::AccountUnknown(why),
            )) => attempt.drop_pending(&why).await,
            settled => settled,
        }
    };
    conclude(engine, wish, attempted.await).await
}

/// Whether an order came to nothing, and nobody came back to it in its time.
pub fn has_expired(order: &PendingOrder, now: time::OffsetDateTime) -> bool {
    let is_finalized = order.received.is_some() || order.finalized_at.is_some();
    !is_finalized && order.intended_at.saturating_add(EXPIRED_AFTER) <= now
}

/// Forgets an order that has expired, with its key and its tokens, unless an attempt works on it.
pub async fn drop_expired<W: World>(engine: &Engine<W>, lineage: &str, order: &PendingOrder) {
    let Some(_claimed) = engine.claim(vec![Claim::lineage(lineage)]) else {
        return;
    };
    for challenge in order.challenges.values() {
        withdraw(engine, lineage, &challenge.token).await;
    }
    let name = lineage.to_owned();
    let cleared = engine.store.run(move |store| store.clear_pending(&name));
    match cleared.await {
        Ok(()) => debug!(lineage, "expired order dropped"),
        Err(error) => debug!(lineage, %error, "expired order not dropped"),
    }
}

/// A token that stays is swept at the next start; it is no reason to stop.
async fn withdraw<W: World>(engine: &Engine<W>, lineage: &str, token: &Token) {
    if let Err(error) = engine.world.challenge().withdraw(token).await {
        warn!(lineage, %error, "challenge file not removed");
    }
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
        Err(stop) => {
            let directory = directory_asked(engine, wish).await;
            Err(stop
                .into_setback(engine, subject, &directory, &wish.order)
                .await)
        }
    }
}

/// Directory URL of the order in flight, which may not be the wanted one any more.
async fn directory_asked<W: World>(engine: &Engine<W>, wish: &Wish) -> String {
    let lineage = wish.lineage.clone();
    let lineage = lineage.unwrap_or_else(|| wish.entry.primary().to_string());
    match engine.store.run(move |store| store.pending(&lineage)).await {
        Pending::Order(order) => order.directory,
        Pending::None | Pending::Unreadable(_) => {
            engine.settings.policy.wanted_directory().to_owned()
        }
    }
}

/// One try to obtain a certificate.
struct Attempt<'a, W: World> {
    engine: &'a Engine<W>,
    wish: &'a Wish,
    lineage: String,
    place: Mutex<Option<Place>>,
    reservation: Reservation,
    /// Whether the authority has refused the first key.
    has_another_key: AtomicBool,
    /// Two attempts on one lineage would write over each other, and two for the same names cost a certificate.
    _claimed: Claimed,
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
        let names = Claim::Names {
            directory: engine.settings.policy.wanted_directory().to_owned(),
            names: wish.order.set(),
        };
        let Some(claimed) = engine.claim(vec![Claim::lineage(&lineage), names]) else {
            let reason = "another attempt is still at work on these names";
            let until = engine.now() + engine.settings.loop_time;
            return Err(Setback::later(reason, until).into());
        };
        Ok(Self {
            engine,
            wish,
            lineage,
            place: Mutex::new(place),
            reservation: Reservation::new(Arc::clone(&engine.ledger)),
            has_another_key: AtomicBool::new(false),
            _claimed: claimed,
        })
    }

    async fn run(&self) -> Result<Obtained, Stop> {
        let mut last = None;
        for _ in 0..BEGINNINGS {
            let account = self.account_in_use().await?;
            // What came to nothing needs no place any more.
            self.reservation.give_back();
            match self.once().await {
                // Nothing was issued, and the order went with its key: once, another key is worth a try.
                Err(Stop::Order(problem))
                    if Trouble::of_order(&problem) == Trouble::KeyRefused
                        && !self.has_another_key.swap(true, Ordering::Relaxed) =>
                {
                    warn!(
                        lineage = self.lineage,
                        error = %problem,
                        "key refused by the authority, another is made"
                    );
                    last = Some(AuthorityError::Refused(problem));
                }
                Err(Stop::Authority(AuthorityError::AccountUnknown(why))) => {
                    warn!(
                        lineage = self.lineage,
                        error = why,
                        "account unknown to the authority, made again with the same key"
                    );
                    if let Some(account) = account {
                        self.forget_account(&account).await?;
                    }
                    self.drop_pending(&why).await?;
                    last = Some(AuthorityError::AccountUnknown(why));
                }
                Err(Stop::Authority(AuthorityError::Gone(why))) => {
                    debug!(
                        lineage = self.lineage,
                        error = why,
                        "order gone, opened again"
                    );
                    self.drop_pending(&why).await?;
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
        let question = Question {
            names: &names,
            account: &self.engine.account_url().await,
            standing: self.wish.standing,
            is_ephemeral,
        };
        let open = gate(self.engine, &question, &self.pending().await);
        match open {
            // The floor counts certificates, and the refusal just now was none.
            Err(setback) if !setback.is_failure && self.has_another_key() => {}
            open => open?,
        }
        let (order, state) = self.open().await?;
        self.finish(order, state).await
    }

    fn has_another_key(&self) -> bool {
        self.has_another_key.load(Ordering::Relaxed)
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
        let is_elsewhere = order.directory != self.engine.settings.policy.wanted_directory();
        if is_elsewhere && order.finalized_at.is_none() {
            // Nothing is asked of an authority that nobody wants any more: it may be gone for good.
            return self.give_up(&order).await;
        }
        let account = self.account_of(&order).await?;
        let (Some(account), Some(url)) = (account, order.url.clone()) else {
            // An intent without an answer: the same key is used for the order that is opened now.
            if order.url.is_some() || !self.is_wanted(&order) {
                let why = format!("its account at {} is another by now", order.directory);
                self.part_with(&order, why).await?;
            }
            return Ok(None);
        };
        match self.carry_on(&account, &url, order).await {
            // It may be away for good, and must not stand in the way of the one that is wanted.
            Err(Stop::Authority(
                error @ (AuthorityError::Unavailable { .. }
                | AuthorityError::RateLimited { .. }
                | AuthorityError::Refused(_)),
            )) if is_elsewhere => {
                let directory = &account.directory;
                self.set_aside(format!(
                    "it was finalized at {directory}, which is not wanted any more and cannot be used: {error}"
                ))
                .await?;
                Ok(None)
            }
            result => result,
        }
    }

    async fn carry_on(
        &self,
        account: &Account,
        url: &str,
        order: PendingOrder,
    ) -> Result<Option<Obtained>, Stop> {
        let state = self
            .ask(&account.directory, || self.authority().look(account, url))
            .await?;
        let is_finalized = matches!(state.status, OrderStatus::Processing | OrderStatus::Valid);
        if !is_finalized && !self.is_wanted(&order) {
            if state.status != OrderStatus::Invalid && order.finalized_at.is_some() {
                // The answer may be late: a certificate may come all the same.
                let why = format!(
                    "it is not wanted any more, and {:?} after it was finalized",
                    state.status
                );
                self.part_with(&order, why).await?;
                return Ok(None);
            }
            let given_up = self.give_up(&order).await?;
            self.give_back_budget(account, &order).await;
            return Ok(given_up);
        }
        if matches!(state.status, OrderStatus::Pending | OrderStatus::Ready) {
            self.trust_clock(&account.directory).await?;
            self.reserve(account, &order);
        }
        debug!(lineage = self.lineage, order = url, status = ?state.status, "order resumed");
        self.finish(order, state).await.map(Some)
    }

    fn is_wanted(&self, order: &PendingOrder) -> bool {
        order.directory == self.engine.settings.policy.wanted_directory()
            && order.names.set() == self.wish.order.set()
    }

    async fn give_up(&self, order: &PendingOrder) -> Result<Option<Obtained>, Stop> {
        debug!(lineage = self.lineage, names = %order.names, directory = order.directory, "order dropped, it is not wanted any more");
        self.drop_order(order).await?;
        Ok(None)
    }

    /// Makes the key, saves it with the intent, opens the order, saves its URL.
    async fn open(&self) -> Result<(PendingOrder, Order), Stop> {
        let directory = self.engine.settings.policy.wanted_directory();
        self.trust_clock(directory).await?;
        let account = self.account().await?;
        let intent = match self.pending().await {
            Pending::Order(order) if order.url.is_none() && order.account == account.url => {
                Some(order)
            }
            Pending::Order(_) | Pending::None | Pending::Unreadable(_) => None,
        };
        // An intent without an answer was paid for.
        match intent.as_ref().filter(|intent| self.is_wanted(intent)) {
            Some(intent) => self.reserve(&account, intent),
            None => self.take_budget(&account).await?,
        }
        let key = match intent {
            Some(intent) => intent.key,
            None => self
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
            is_renewal: self.wish.standing.is_renewal,
            url: None,
            challenges: std::collections::BTreeMap::new(),
            failed: std::collections::BTreeSet::new(),
            finalized_at: None,
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
        let directory = account.directory.clone();
        self.engine.clear(&Subject::Account { directory }).await;
        order.url = Some(state.url.clone());
        self.save(&order).await?;
        debug!(lineage = self.lineage, "order saved");
        self.note_ordered(&account, &state.url).await;
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
            return Err(self.fail_order(&account, &mut order, &state).await?);
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
        // Stored or refused, it is synced with that; until then the authority has it under the URL on record.
        self.note(&order).await?;
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
        order: &mut PendingOrder,
        state: &Order,
    ) -> Result<Stop, Stop> {
        let (mut has_waited, mut is_news) = (false, false);
        for url in &state.authorizations {
            let authorization = self
                .ask(&account.directory, || {
                    self.authority().look_at(account, &state.url, url)
                })
                .await?;
            // A crash may have come between that and the end of the order.
            if self.has_waited(account, order, &authorization) {
                has_waited = true;
                continue;
            }
            let is_failure = !matches!(
                authorization.status,
                AuthorizationStatus::Valid | AuthorizationStatus::Pending
            );
            is_news |= is_failure;
            self.note_outcome(account, order, &authorization).await;
        }
        // In this order: a crash in between gives nothing back twice.
        self.drop_order(order).await?;
        self.give_back_budget(account, order).await;
        if has_waited && !is_news {
            let reason = "the order in flight has failed, and its wait is over";
            return Ok(Setback::later(reason, self.engine.now()).into());
        }
        let failed = self.engine.wait_of(&order.names.set(), &account.url);
        Ok(match (failed, &state.error) {
            (Some(wait), _) => Setback::from(wait).into(),
            (None, Some(problem)) => Stop::Order(problem.clone()),
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

    /// Keeps what a power failure may take: see [`crate::store::Store::note_pending`].
    async fn note(&self, order: &PendingOrder) -> Result<(), Stop> {
        let (lineage, order) = (self.lineage.clone(), order.clone());
        Ok(self
            .engine
            .store
            .run(move |store| store.note_pending(&lineage, &order))
            .await?)
    }

    async fn drop_pending(&self, why: &str) -> Result<(), Stop> {
        match self.pending().await {
            Pending::Order(order) => {
                let why = format!("{} does not know this order: {why}", order.directory);
                self.part_with(&order, why).await
            }
            Pending::None | Pending::Unreadable(_) => Ok(()),
        }
    }

    /// Parts with an order that the authority does not show any more. One that was finalized is kept with its key:
    /// its certificate may have been issued.
    async fn part_with(&self, order: &PendingOrder, why: String) -> Result<(), Stop> {
        if order.finalized_at.is_none() {
            return self.drop_order(order).await;
        }
        self.withdraw_all(order).await;
        self.set_aside(why).await
    }

    async fn set_aside(&self, why: String) -> Result<(), Stop> {
        let lineage = self.lineage.clone();
        Ok(self
            .engine
            .store
            .run(move |store| store.set_pending_aside(&lineage, &why))
            .await?)
    }

    async fn withdraw_all(&self, order: &PendingOrder) {
        for challenge in order.challenges.values() {
            self.withdraw(&challenge.token).await;
        }
    }

    /// Takes the tokens away, then forgets the order.
    async fn drop_order(&self, order: &PendingOrder) -> Result<(), Stop> {
        self.withdraw_all(order).await;
        let lineage = self.lineage.clone();
        Ok(self
            .engine
            .store
            .run(move |store| store.clear_pending(&lineage))
            .await?)
    }

    /// The same for an order whose certificate is stored.
    async fn clear_stored(&self, order: &PendingOrder) -> Result<(), Stop> {
        self.withdraw_all(order).await;
        let lineage = self.lineage.clone();
        Ok(self
            .engine
            .store
            .run(move |store| store.clear_stored(&lineage))
            .await?)
    }

    async fn withdraw(&self, token: &Token) {
        withdraw(self.engine, &self.lineage, token).await;
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

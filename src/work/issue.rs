//! Getting a certificate, step by step, so that a crash between any two steps costs none.
//!
//! [`crate::decide::order::step`] says what comes next; this module does it, writes, and asks again (`drive`). Before an order is
//! opened the filter of the decision is asked once more; one that is opened already waits for no limit.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tracing::warn;

use crate::core::bundle::Bundle;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::reaction::FailureKind;
use crate::core::resource::Token;
use crate::core::setback::Setback;
use crate::decide::filter::Opening;
use crate::decide::filter::OrderPlan;
use crate::decide::order::End;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;
use crate::decide::order::Stage;
use crate::ports::Solver;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::context::Context;
use crate::work::context::claims::Claim;
use crate::work::context::claims::Claimed;
use crate::work::context::slots::Room;
use crate::work::context::slots::Slot;
use crate::work::issue::drive::Driven;
use crate::work::issue::drive::OrderSlot;
use crate::work::issue::reservation::Reservation;
use crate::work::issue::stop::Stop;

mod account;
mod challenges;
mod clock;
mod drive;
mod finalize;
mod judge;
mod limits;
mod open;
mod pace;
mod reservation;
mod stop;

pub(crate) use clock::compare_clock;
pub(crate) use clock::trust_dates;

/// A certificate that was obtained and stored.
#[derive(Debug)]
pub struct Obtained {
    /// The bundle.
    pub bundle: Bundle,
    /// Directory URL of the authority.
    pub directory: String,
}

/// Obtains and stores a certificate, or brings the order in flight of this lineage to its end first.
///
/// `place` is given back as soon as the authority has nothing more to do for this order.
pub async fn obtain<W: World>(
    context: &Context<W>,
    plan: &OrderPlan,
    place: Slot,
    room: Room<'_>,
) -> Result<Obtained, Setback> {
    let attempted = async {
        let attempt = Attempt::new(context, plan, Some(place), Some(room)).await?;
        attempt.run().await
    };
    conclude(context, plan, attempted.await).await
}

/// Sees to what the authority has issued, or may have issued, for orders of this lineage. Asks for nothing new.
pub async fn settle<W: World>(context: &Context<W>, plan: &OrderPlan) -> Result<(), Setback> {
    let attempted = async {
        let attempt = Attempt::new(context, plan, None, None).await?;
        let current = match attempt.pending().await {
            Pending::Order(order) if order.is_to_be_seen_to(context.now()) => {
                attempt.drive(*order, OrderSlot::Current).await.map(drop)
            }
            Pending::Order(_) | Pending::None | Pending::Unreadable(_) => Ok(()),
        };
        // One that takes its time keeps nobody from the others.
        let aside = attempt.settle_aside().await;
        current.and(aside)
    };
    conclude(context, plan, attempted.await).await
}

/// Takes a token away. One that stays is swept at the next start; it is no reason to stop.
async fn withdraw<W: World>(context: &Context<W>, lineage: &str, token: &Token) {
    if let Err(error) = context.world.solver().clean_up(token).await {
        warn!(lineage, %error, "challenge file not removed");
    }
}

/// Notes how an attempt ended.
async fn conclude<W: World, T>(
    context: &Context<W>,
    plan: &OrderPlan,
    result: Result<T, Stop>,
) -> Result<T, Setback> {
    let subject = Subject::Attempt { certificate: plan.entry.primary().to_string() };
    match result {
        Ok(done) => {
            context.clear(&subject).await;
            Ok(done)
        }
        Err(stop) => {
            let directory = directory_asked(context, plan).await;
            Err(stop.into_setback(context, subject, &directory, &plan.order).await)
        }
    }
}

/// Directory URL of the order in flight, which may not be the wanted one any more.
async fn directory_asked<W: World>(context: &Context<W>, plan: &OrderPlan) -> String {
    let lineage = plan.lineage.clone();
    let lineage = lineage.unwrap_or_else(|| plan.entry.primary().to_string());
    match context.store.run(move |store| store.pending(&lineage)).await {
        Pending::Order(order) => order.directory,
        Pending::None | Pending::Unreadable(_) => {
            context.settings.policy.wanted_directory().to_owned()
        }
    }
}

/// One try to obtain a certificate.
struct Attempt<'a, W: World> {
    context: &'a Context<W>,
    plan: &'a OrderPlan,
    lineage: String,
    place: Mutex<Option<Slot>>,
    room: Option<Room<'a>>,
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
        context: &'a Context<W>,
        plan: &'a OrderPlan,
        place: Option<Slot>,
        room: Option<Room<'a>>,
    ) -> Result<Self, Stop> {
        let lineage = match &plan.lineage {
            Some(lineage) => lineage.clone(),
            None => {
                let primary = plan.entry.primary().clone();
                context.store.run(move |store| store.free_name(&primary)).await?
            }
        };
        let names = Claim::Names {
            directory: context.settings.policy.wanted_directory().to_owned(),
            names: plan.order.set(),
        };
        let Some(claimed) = context.claim(vec![Claim::lineage(&lineage), names]) else {
            let reason = "another attempt is still at work on these names";
            let until = context.now() + context.settings.loop_time;
            return Err(Setback::later(reason, until).into());
        };
        Ok(Self {
            context,
            plan,
            lineage,
            place: Mutex::new(place),
            room,
            reservation: Reservation::new(Arc::clone(&context.ledger)),
            has_another_key: AtomicBool::new(false),
            _claimed: claimed,
        })
    }

    async fn run(&self) -> Result<Obtained, Stop> {
        let mut last = None;
        for _ in 0..BEGINNINGS {
            // What came to nothing needs no place any more.
            self.reservation.give_back();
            match self.once().await {
                Ok(Some(obtained)) => return Ok(obtained),
                // Nothing was issued, and the order went with its key: once, another key is worth a try.
                Err(Stop::Order(problem))
                    if FailureKind::of_order(&problem) == FailureKind::KeyRefused
                        && !self.has_another_key.swap(true, Ordering::Relaxed) =>
                {
                    warn!(
                        lineage = self.lineage,
                        error = %problem,
                        "key refused by the authority, another is made"
                    );
                    last = Some(AuthorityError::refused(problem));
                }
                Err(Stop::Authority(error)) if error.kind == AuthorityErrorKind::AccountUnknown => {
                    last = Some(error);
                }
                Ok(None) => last = Some(AuthorityError::gone("no order lasts")),
                Err(stop) => return Err(stop),
            }
        }
        let gone = || AuthorityError::gone("no order lasts");
        Err(Stop::Authority(last.unwrap_or_else(gone)))
    }

    /// Brings the order in flight to its end, or opens one. None if it is gone and another is worth a try.
    async fn once(&self) -> Result<Option<Obtained>, Stop> {
        if let Pending::Order(order) = self.pending().await {
            if order.stage(self.context.now()) == Stage::Intended {
                // Whether it was opened is not known: to ask for it is to open it.
                self.may_open().await?;
                self.trust_clock(&order.directory).await?;
            }
            let may_be_issued = order.may_be_issued();
            match self.drive(*order, OrderSlot::Current).await? {
                Driven::Stored(obtained) => return Ok(Some(*obtained)),
                // What was not asked for a certificate yet makes no difference to what is wanted now.
                Driven::Ended(_) if !may_be_issued => {}
                Driven::Ended(_) | Driven::Aside => {
                    let reason = "the order in flight is out of the way";
                    return Err(Setback::later(reason, self.context.now()).into());
                }
            }
        }
        self.may_open().await?;
        self.look_once_more().await?;
        let order = self.intend().await?;
        match self.drive(order, OrderSlot::Current).await? {
            Driven::Stored(obtained) => Ok(Some(*obtained)),
            Driven::Ended(End::Gone | End::Lapsed | End::Unwanted) | Driven::Aside => Ok(None),
            // What it says is on record, with the wait that follows.
            Driven::Ended(End::Invalid | End::Refused) => {
                let reason = "the order in flight has failed, and its wait is over";
                Err(Setback::later(reason, self.context.now()).into())
            }
        }
    }

    /// What was paid for is asked for once more before another is: while the authority was away nobody could look. Stops if
    /// it is there, and if nobody can say.
    async fn look_once_more(&self) -> Result<(), Stop> {
        for order in self.aside().await? {
            if !self.is_wanted(&order) {
                continue;
            }
            match self.drive(order, OrderSlot::Aside).await {
                Ok(Driven::Stored(_)) => {
                    let reason = "an order that was put aside has brought its certificate";
                    return Err(Setback::later(reason, self.context.now()).into());
                }
                Ok(Driven::Ended(_) | Driven::Aside) | Err(Stop::Setback(_) | Stop::Order(_)) => {}
                Err(Stop::Unseen(error, _)) => return Err((*error).into()),
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// Asks the filter of the decision once more: others may have taken what was there when the pass looked.
    async fn may_open(&self) -> Result<(), Stop> {
        let solver = self.context.world.solver();
        if let Some(name) = self.plan.order.iter().find(|name| !solver.supports(name)) {
            let reason = format!("nothing here can prove control of {name} to the authority");
            return Err(Setback::failure(reason).into());
        }
        let is_ephemeral = self.context.store.run(|store| store.is_ephemeral()).await;
        let (pending, account) = (self.pending().await, self.context.account_url().await);
        // This very attempt may have put one aside.
        let aside = self.aside().await?;
        let policy = &self.context.settings.policy;
        let opening = Opening {
            is_staging: policy.is_staging,
            directory: policy.wanted_directory(),
            is_ephemeral,
            pending: &pending,
            aside: &aside,
        };
        let now = self.context.now();
        let record = self.context.recorded(self.plan.entry.primary().as_str(), &account, now);
        Ok(opening.is_allowed(self.plan, &record, now)?)
    }

    /// Looks at orders that were put aside, each when its rest or its life is over.
    async fn settle_aside(&self) -> Result<(), Stop> {
        let now = self.context.now();
        let mut last = Ok(());
        for order in self.aside().await? {
            if order.is_to_be_seen_to(now)
                && let Err(stop) = self.drive(order, OrderSlot::Aside).await
            {
                last = Err(stop);
            }
        }
        last
    }

    async fn pending(&self) -> Pending {
        let lineage = self.lineage.clone();
        self.context.store.run(move |store| store.pending(&lineage)).await
    }

    async fn aside(&self) -> Result<Vec<PendingOrder>, Stop> {
        let lineage = self.lineage.clone();
        let read = self.context.store.run(move |store| store.stuck(&lineage));
        Ok(read.await?)
    }

    fn is_wanted(&self, order: &PendingOrder) -> bool {
        order.directory == self.context.settings.policy.wanted_directory()
            && order.names.set() == self.plan.order.set()
    }

    fn authority(&self) -> &W::Authority {
        self.context.world.authority()
    }

    fn leave_place(&self) {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(place);
    }

    fn take_place(&self, place: Option<Slot>) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    async fn withdraw(&self, token: &Token) {
        withdraw(self.context, &self.lineage, token).await;
    }

    async fn withdraw_all(&self, order: &PendingOrder) {
        for challenge in order.challenges.values() {
            self.withdraw(&challenge.token).await;
        }
    }

    async fn save(&self, order: &PendingOrder, slot: OrderSlot) -> Result<(), Stop> {
        let (lineage, order) = (self.lineage.clone(), order.clone());
        let saved = self.context.store.run(move |store| match slot {
            OrderSlot::Current => store.save_pending(&lineage, &order),
            OrderSlot::Aside => store.save_stuck(&lineage, &order),
        });
        Ok(saved.await?)
    }

    /// Keeps what a power failure may take: see [`crate::store::Store::note_pending`].
    async fn note(&self, order: &PendingOrder, slot: OrderSlot) -> Result<(), Stop> {
        if slot == OrderSlot::Aside {
            return self.save(order, slot).await;
        }
        let (lineage, order) = (self.lineage.clone(), order.clone());
        let noted = self.context.store.run(move |store| store.note_pending(&lineage, &order));
        Ok(noted.await?)
    }

    /// Forgets an order whose certificate is in the store, with its tokens.
    async fn forget_stored(&self, order: &PendingOrder, slot: OrderSlot) -> Result<(), Stop> {
        if slot == OrderSlot::Aside {
            return self.forget(order, slot).await;
        }
        self.withdraw_all(order).await;
        let lineage = self.lineage.clone();
        let cleared = self.context.store.run(move |store| store.clear_stored(&lineage));
        Ok(cleared.await?)
    }

    /// Takes the tokens away, then forgets the order.
    async fn forget(&self, order: &PendingOrder, slot: OrderSlot) -> Result<(), Stop> {
        self.withdraw_all(order).await;
        let (lineage, order) = (self.lineage.clone(), order.clone());
        let cleared = self.context.store.run(move |store| match slot {
            OrderSlot::Current => store.clear_pending(&lineage),
            OrderSlot::Aside => store.clear_stuck(&lineage, &order),
        });
        Ok(cleared.await?)
    }

    /// Keeps the order with its key where nothing looks for it any more: its certificate may have been issued, and can
    /// not be had from the authority.
    async fn keep_key(&self, order: &PendingOrder, slot: OrderSlot) -> Result<(), Stop> {
        self.withdraw_all(order).await;
        let (lineage, order) = (self.lineage.clone(), order.clone());
        let kept = self.context.store.run(move |store| match slot {
            OrderSlot::Current => store.part_with_pending(&lineage, &order),
            OrderSlot::Aside => store.part_with_stuck(&lineage, &order),
        });
        Ok(kept.await?)
    }
}

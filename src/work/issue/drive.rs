//! The driver of the machine: one step at a time, on record before the next.

use time::OffsetDateTime;
use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::Problem;
use crate::core::resource::Account;
use crate::core::resource::Order;
use crate::core::setback::Setback;
use crate::core::text::timestamp;
use crate::decide::order::End;
use crate::decide::order::Pause;
use crate::decide::order::PendingOrder;
use crate::decide::order::Shown;
use crate::decide::order::Stage;
use crate::decide::order::Step;
use crate::decide::order::Wanted;
use crate::decide::order::step;
use crate::ports::Authority;
use crate::ports::Clock;
use crate::ports::World;
use crate::work::issue::Attempt;
use crate::work::issue::Obtained;
use crate::work::issue::pace::Pace;
use crate::work::issue::stop::Stop;

/// Where an order is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderSlot {
    /// It is the one in flight.
    Current,
    /// It was put aside.
    Aside,
}

/// What became of an order.
#[derive(Debug)]
pub(super) enum Driven {
    /// Its certificate is in the store.
    Stored(Box<Obtained>),
    /// It is over.
    Ended(End),
    /// It is out of the way.
    Aside,
}

/// An order at work.
pub(super) struct Work {
    pub(super) order: PendingOrder,
    pub(super) slot: OrderSlot,
    /// The order as it was shown last, for what is not on record.
    pub(super) state: Option<Order>,
    /// When the authority wants to be asked again.
    pub(super) not_before: Option<OffsetDateTime>,
    /// The last answer that was none, or a refusal.
    pub(super) error: Option<AuthorityError>,
    /// What was said instead of finalizing it.
    pub(super) refusal: Option<Problem>,
    /// Whether a new URL of its certificate was taken up in this drive.
    pub(super) has_news: bool,
    pub(super) pace: Pace,
}

impl Work {
    /// Its URL; only asked for once it is on record.
    pub(super) fn url(&self) -> String {
        self.order.url().unwrap_or_default().to_owned()
    }

    /// Takes in what the authority shows of it.
    pub(super) fn show(&mut self, state: Order, now: OffsetDateTime) -> Shown {
        let mut shown = self.order.observe(&state, now);
        // An authority that names another URL each time is not asked without end.
        if shown == Shown::Nothing && std::mem::replace(&mut self.has_news, true) {
            shown = Shown::Order(state.status);
        }
        self.error = None;
        self.not_before = state.not_before;
        self.state = Some(state);
        shown
    }
}

impl<W: World> Attempt<'_, W> {
    /// Does one step after the other, until the order has ended, rests, or something stops the attempt.
    pub(super) async fn drive(&self, order: PendingOrder, slot: OrderSlot) -> Result<Driven, Stop> {
        let wanted = Wanted {
            is_wanted: slot == OrderSlot::Current && self.plan.is_wanted && self.is_wanted(&order),
            is_first: self.plan.is_first,
        };
        let mut work = Work {
            order,
            slot,
            state: None,
            not_before: None,
            error: None,
            refusal: None,
            has_news: false,
            pace: Pace::new(self.context.now()),
        };
        let mut shown = Shown::Nothing;
        loop {
            let now = self.context.now();
            let stage = work.order.stage(now);
            let next = step(stage, shown, wanted, now);
            debug!(lineage = self.lineage, ?stage, ?shown, ?next, "next step of the order");
            shown = match next {
                Step::Open => self.open(&mut work).await?,
                Step::Look => self.look(&mut work).await?,
                Step::Authorize => self.authorize(&mut work).await?,
                Step::Finalize => self.finalize(&mut work).await?,
                Step::TakeBack => return Err(self.take_back(&mut work).await?),
                Step::Download => self.download(&mut work).await?,
                Step::Judge => return self.judge(work, wanted).await,
                Step::Rest => match self.rest(&mut work, stage, wanted).await? {
                    Some(driven) => return Ok(driven),
                    None => Shown::Nothing,
                },
                Step::RestUntil(until) => {
                    work.order.rest_until(
                        until,
                        "the authority has shown no certificate since it was asked for it, so it is asked again",
                    );
                    self.save(&work.order, slot).await?;
                    let why = work.order.why_it_rests(now);
                    return Err(Setback::later(why, until).into());
                }
                Step::PutAside => return self.put_aside(work).await,
                Step::End(end) => return self.end(work, end, wanted).await,
            };
        }
    }

    /// The account of the order. None if the one on record is another by now, or was forgotten by the authority.
    pub(super) async fn account_of(&self, work: &Work) -> Result<Option<Account>, Stop> {
        let account = self.known_account(&work.order.directory).await?;
        Ok(account.filter(|account| account.url == work.order.account))
    }

    async fn look(&self, work: &mut Work) -> Result<Shown, Stop> {
        let Some(account) = self.account_of(work).await? else {
            let why = "its account is another by now";
            work.order.heard(why);
            work.error = Some(AuthorityError::gone(why));
            return Ok(Shown::Gone);
        };
        let url = work.url();
        let looked = self.ask(&account, || self.authority().look(&account, &url)).await;
        let state = match looked {
            Ok(state) => state,
            Err(stop) => {
                let shown = self.no_answer(work, stop)?;
                // It is no answer to a look.
                let is_none = shown == Shown::NotReady;
                return Ok(if is_none { Shown::Silence } else { shown });
            }
        };
        debug!(lineage = self.lineage, order = url, status = ?state.status, "order looked at");
        let before = work.order.clone();
        let shown = work.show(state, self.context.now());
        if let Shown::Order(
            crate::core::resource::OrderStatus::Pending | crate::core::resource::OrderStatus::Ready,
        ) = shown
            && !work.order.may_be_issued()
        {
            self.trust_clock(&account.directory).await?;
            self.reserve(&account, &work.order);
        }
        if work.order != before {
            self.save(&work.order, work.slot).await?;
        }
        Ok(shown)
    }

    /// What an answer that is none means for the order.
    pub(super) fn no_answer(&self, work: &mut Work, stop: Stop) -> Result<Shown, Stop> {
        let Stop::Authority(error) = stop else {
            return Err(stop);
        };
        let shown = match error.kind {
            AuthorityErrorKind::AccountUnknown | AuthorityErrorKind::Gone => Shown::Gone,
            AuthorityErrorKind::NotReady | AuthorityErrorKind::AlreadyResponded => Shown::NotReady,
            // That of an order that was opened says nothing about the account.
            AuthorityErrorKind::Refused if !work.order.may_be_issued() => {
                work.refusal = Some(error.problem.clone());
                Shown::Refused
            }
            AuthorityErrorKind::Unavailable
            | AuthorityErrorKind::Failed
            | AuthorityErrorKind::BadNonce
            | AuthorityErrorKind::RateLimited(_)
            | AuthorityErrorKind::Refused => Shown::Silence,
        };
        work.order.heard(&error.to_string());
        work.not_before = error.not_before;
        work.error = Some(error);
        Ok(shown)
    }

    async fn download(&self, work: &mut Work) -> Result<Shown, Stop> {
        let Some(account) = self.account_of(work).await? else {
            return Ok(Shown::NoChain);
        };
        let Some(certificate) = work.order.certificate().map(str::to_owned) else {
            return Ok(Shown::NoChain);
        };
        self.note(&work.order, work.slot).await?;
        let url = work.url();
        // Whatever is said at this URL, a look at the order tells.
        let downloaded = self
            .ask_patiently(&account.directory, || {
                self.authority().download(&account, &url, &certificate)
            })
            .await;
        match downloaded {
            Ok(chain) => {
                debug!(lineage = self.lineage, "chain downloaded");
                work.order.receive(chain, self.context.now());
                // Stored or refused, it is synced with that; until then the authority has it under the URL on record.
                self.note(&work.order, work.slot).await?;
                debug!(lineage = self.lineage, "chain kept");
                self.leave_place();
                Ok(Shown::Nothing)
            }
            Err(stop) => {
                self.no_answer(work, stop)?;
                // Nothing is asked before the time that it says.
                if work.not_before.is_some() {
                    return Ok(Shown::Silence);
                }
                warn!(
                    lineage = self.lineage,
                    certificate,
                    error = work.order.said(),
                    "certificate not handed over by the authority, asked for again"
                );
                Ok(Shown::NoChain)
            }
        }
    }

    /// Waits before the next look, as the authority says or ever longer; or stops, so that others get the place, and keeps
    /// in mind when to go on. What nobody wants any more is out of the way from then on.
    async fn rest(
        &self,
        work: &mut Work,
        stage: Stage,
        wanted: Wanted,
    ) -> Result<Option<Driven>, Stop> {
        let now = self.context.now();
        let has_certificate = work.order.certificate().is_some();
        // What was left alone before is looked at once, and left alone for longer.
        if work.error.is_none()
            && !work.order.has_rested()
            && !has_certificate
            && !matches!(stage, Stage::Stuck { .. })
            && let Ok(time) = work.pace.next(work.not_before, now)
        {
            self.context.world.clock().sleep(time).await;
            return Ok(None);
        }
        // Nothing can have been issued, so there is nothing to wait for: the attempt has failed, on the clock of what went
        // wrong.
        if !work.order.may_be_issued()
            && let Some(error) = work.error.take()
        {
            return Err(error.into());
        }
        if work.slot == OrderSlot::Current && !wanted.is_wanted && work.order.may_be_issued() {
            let (order, not_before) = (work.order.clone(), work.not_before);
            return self.move_aside(order, not_before, now).await.map(Some);
        }
        let until = work.order.rest(self.pause(work, wanted, now), now);
        self.save(&work.order, work.slot).await?;
        let setback = Setback::later(work.order.why_it_rests(now), until);
        match work.error.take() {
            Some(error)
                if work.slot == OrderSlot::Aside
                    && error.kind == AuthorityErrorKind::Unavailable =>
            {
                Err(Stop::Unseen(Box::new(error), setback))
            }
            _ => Err(setback.into()),
        }
    }

    fn pause(&self, work: &Work, wanted: Wanted, now: OffsetDateTime) -> Pause {
        Pause {
            not_before: work.not_before,
            is_wanted: wanted.is_wanted,
            is_first: wanted.is_first && wanted.is_wanted,
            is_stuck: work.order.is_stuck(now),
        }
    }

    async fn put_aside(&self, work: Work) -> Result<Driven, Stop> {
        let now = self.context.now();
        warn!(
            names = %work.order.names,
            order = work.order.url(),
            reason = work.order.why_it_is_stuck(),
            "order is stuck, put aside with its key and looked at daily"
        );
        self.move_aside(work.order, work.not_before, now).await
    }

    async fn move_aside(
        &self,
        mut order: PendingOrder,
        not_before: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<Driven, Stop> {
        let reason = order.why_it_rests(now);
        self.withdraw_all(&order).await;
        order.put_aside();
        let pause =
            Pause { not_before, is_wanted: false, is_first: false, is_stuck: order.is_stuck(now) };
        let until = order.rest(pause, now);
        let directory = order.directory.clone();
        let lineage = self.lineage.clone();
        let moved = self.context.store.run(move |store| {
            store.save_stuck(&lineage, &order)?;
            store.clear_pending(&lineage)
        });
        moved.await?;
        info!(lineage = self.lineage, directory, reason, until = %timestamp(until), "order put aside, looked at again later");
        Ok(Driven::Aside)
    }

    /// The order is over. In this order: a crash in between gives nothing back twice.
    async fn end(&self, mut work: Work, end: End, wanted: Wanted) -> Result<Driven, Stop> {
        debug!(
            lineage = self.lineage,
            names = %work.order.names,
            directory = work.order.directory,
            ?end,
            said = work.order.said(),
            "order ends"
        );
        let reasons = match (self.account_of(&work).await?, end) {
            (Some(account), End::Invalid) if wanted.is_wanted => {
                self.reasons(&account, &mut work).await?
            }
            _ => Reasons::None,
        };
        // An order alone may be gone although its certificate was issued; an authority that has lost the account as well
        // has lost its memory.
        let gives_back = match end {
            _ if !work.order.may_be_issued() => false,
            End::Gone => self.is_of_lost_account(&work.order).await?,
            End::Unwanted | End::Lapsed | End::Invalid | End::Refused => end.gives_back(),
        };
        // Its certificate can be had from nobody, but the key of what may exist is not thrown away.
        if work.order.may_be_issued() && matches!(end, End::Gone | End::Lapsed) {
            self.keep_key(&work.order, work.slot).await?;
            // That an authority has lost its memory is told once, with its account.
            if !gives_back {
                warn!(
                    names = %work.order.names,
                    reason = work.order.why_it_is_stuck(),
                    "order is over without its certificate, its key is kept"
                );
            }
        } else {
            self.forget(&work.order, work.slot).await?;
        }
        if gives_back {
            self.give_back(&work.order).await;
        }
        match (end, reasons) {
            // It says nothing about what is wanted now.
            (end, _) if !wanted.is_wanted => Ok(Driven::Ended(end)),
            (_, Reasons::New(stop)) => Err(stop),
            (End::Invalid, Reasons::None) => {
                let said = work.state.and_then(|state| state.error);
                let problem = said.or(work.refusal);
                let nothing = || Problem::from("the order became invalid without a reason");
                Err(Stop::Order(problem.unwrap_or_else(nothing)))
            }
            (End::Refused, _) => Err(Stop::Order(work.refusal.unwrap_or_default())),
            (end, _) => Ok(Driven::Ended(end)),
        }
    }
}

/// Why an order became invalid, by its authorizations.
pub(super) enum Reasons {
    /// They do not say.
    None,
    /// They say what was on record before, and its wait is over.
    Old,
    /// They say something new.
    New(Stop),
}

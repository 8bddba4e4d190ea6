//! Proving control over names by HTTP-01.

use time::Duration;
use time::OffsetDateTime;
use tracing::debug;
use tracing::warn;

use crate::core::names::DomainName;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::Problem;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::resource::Account;
use crate::core::resource::Authorization;
use crate::core::resource::AuthorizationStatus;
use crate::core::resource::Http01;
use crate::core::resource::OrderStatus;
use crate::core::setback::Setback;
use crate::decide::order::Pause;
use crate::decide::order::PublishedChallenge;
use crate::decide::order::Shown;
use crate::ports::Authority;
use crate::ports::Clock;
use crate::ports::Solver;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::issue::Attempt;
use crate::work::issue::drive::Work;
use crate::work::issue::stop::Stop;

mod outcome;
mod self_check;
mod tries;

/// After this an authorization that was responded to is given up.
const GIVE_UP_AFTER: Duration = Duration::hours(1);

/// An authorization that is to be proven.
struct Task {
    url: String,
    name: DomainName,
    challenge: Http01,
    /// Why the last try failed, while the challenge goes on (RFC 8555, section 8.2).
    error: Option<Problem>,
}

impl<W: World> Attempt<'_, W> {
    /// Brings every authorization of an order to its end. All of them, so that each broken name is known at once.
    pub(super) async fn authorize(&self, work: &mut Work) -> Result<Shown, Stop> {
        let Some(account) = self.account_of(work).await? else {
            return Ok(Shown::Gone);
        };
        let urls = work.state.as_ref().map_or_else(Vec::new, |state| state.authorizations.clone());
        let order_url = work.url();
        if urls.is_empty() {
            let why = "the order lists no authorizations";
            work.order.heard(why);
            work.error = Some(AuthorityError::failed(why));
            return Ok(Shown::Silence);
        }
        let mut tasks = Vec::new();
        let mut is_dead = false;
        for url in &urls {
            let authorization = match self.look_at(&account, &order_url, url).await {
                Ok(authorization) => authorization,
                Err(stop) => return self.no_answer(work, stop),
            };
            match authorization.status {
                AuthorizationStatus::Pending => tasks.push(task(authorization)?),
                AuthorizationStatus::Valid => {
                    self.note_outcome(&account, work, &authorization).await;
                }
                AuthorizationStatus::Invalid | AuthorizationStatus::Over => {
                    self.note_outcome(&account, work, &authorization).await;
                    is_dead = true;
                }
            }
        }
        if is_dead {
            return Ok(Shown::Order(OrderStatus::Invalid));
        }
        self.publish(work, &tasks).await?;
        self.note_failed_tries(&account, work, &tasks).await?;
        self.check_and_tell(&account, work, &tasks).await?;
        self.look_until_final(&account, work, tasks).await
    }

    async fn look_at(
        &self,
        account: &Account,
        order: &str,
        url: &str,
    ) -> Result<Authorization, Stop> {
        let authorization =
            self.ask(account, || self.authority().look_at(account, order, url)).await?;
        debug!(lineage = self.lineage, domain = %authorization.name, status = ?authorization.status, "authorization looked at");
        Ok(authorization)
    }

    /// The tokens are on record before they are published, so that none is left behind; a power failure takes one with
    /// the other, or the next start sweeps it.
    async fn publish(&self, work: &mut Work, tasks: &[Task]) -> Result<(), Stop> {
        let mut is_new = false;
        for task in tasks {
            work.order.challenges.entry(task.url.clone()).or_insert_with(|| {
                is_new = true;
                PublishedChallenge::of(task.challenge.token.clone())
            });
        }
        if is_new {
            self.note(&work.order, work.slot).await?;
            debug!(lineage = self.lineage, "tokens saved");
        }
        for task in tasks {
            let published = self.context.world.solver().present(&task.challenge).await;
            if let Err(error) = published {
                let detail =
                    format!("the challenge file cannot be written into the webroot: {error}");
                let subject =
                    Subject::Attempt { certificate: self.plan.entry.primary().to_string() };
                let what = Failure::of(FailureKind::Disk, detail);
                return Err(Setback::from(self.context.fail(subject, what).await).into());
            }
            debug!(lineage = self.lineage, domain = %task.name, "token published");
        }
        Ok(())
    }

    /// Fetches our own tokens before the authority does, then tells it.
    async fn check_and_tell(
        &self,
        account: &Account,
        work: &mut Work,
        tasks: &[Task],
    ) -> Result<(), Stop> {
        let (now, has_rested) = (self.context.now(), work.order.has_rested());
        let must_respond = |task: &&Task| {
            let challenge = work.order.challenges.get(&task.url);
            challenge.is_none_or(|it| it.must_respond(task.challenge.status, has_rested, now))
        };
        let unanswered: Vec<&Task> = tasks.iter().filter(must_respond).collect();
        if unanswered.is_empty() {
            return Ok(());
        }
        self.check(account, work, &unanswered).await?;
        self.respond(account, work, &unanswered).await
    }

    async fn look_until_final(
        &self,
        account: &Account,
        work: &mut Work,
        mut tasks: Vec<Task>,
    ) -> Result<Shown, Stop> {
        let order = work.url();
        let mut not_before: Option<OffsetDateTime> = None;
        let mut is_dead = false;
        while !tasks.is_empty() {
            let now = self.context.now();
            // What was left alone before was looked at just now, and is left alone for longer.
            let next = match work.order.has_rested() {
                true => Err(now),
                false => work.pace.next(not_before, now),
            };
            match next {
                Ok(time) => self.context.world.clock().sleep(time).await,
                Err(_) if self.give_up_on(account, work, &tasks).await? => return Ok(Shown::Gone),
                Err(_) => {
                    // What is known to have failed by now waits on the clock of its name.
                    self.note_failed_tries(account, work, &tasks).await?;
                    let pause = Pause {
                        not_before,
                        is_wanted: true,
                        is_first: self.plan.is_first,
                        is_stuck: false,
                    };
                    let until = work.order.rest(pause, now);
                    self.save(&work.order, work.slot).await?;
                    return Err(Setback::later(work.order.why_it_rests(now), until).into());
                }
            }
            not_before = None;
            let mut pending = Vec::new();
            for task in tasks {
                let authorization = match self.look_at(account, &order, &task.url).await {
                    Ok(authorization) => authorization,
                    Err(stop) => return self.no_answer(work, stop),
                };
                if authorization.status == AuthorizationStatus::Pending {
                    not_before = not_before.or(authorization.not_before);
                    let error = authorization.error;
                    pending.push(Task { error, ..task });
                    continue;
                }
                is_dead |= authorization.status != AuthorizationStatus::Valid;
                if authorization.status == AuthorizationStatus::Valid {
                    self.context.note_validated(account, &task.name).await;
                } else {
                    self.note_outcome(account, work, &authorization).await;
                }
                self.withdraw(&task.challenge.token).await;
                debug!(lineage = self.lineage, domain = %task.name, "token withdrawn");
            }
            tasks = pending;
            // The others are looked at to their end first, so that each broken name is known at once.
            let now = self.context.now();
            let is_over = |task: &Task| {
                let challenge = work.order.challenges.get(&task.url);
                task.error.as_ref().is_some_and(|error| {
                    challenge.is_some_and(|it| it.is_of_last_try(&error.to_string(), now))
                })
            };
            if !tasks.is_empty() && tasks.iter().all(is_over) {
                self.note_failed_tries(account, work, &tasks).await?;
            }
        }
        // An order whose authorizations are all valid is ready (RFC 8555, section 7.1.6): no need to look.
        Ok(Shown::Order(if is_dead { OrderStatus::Invalid } else { OrderStatus::Ready }))
    }

    /// An authorization that stays pending for an hour after the response, without a reason, is given up with its order.
    async fn give_up_on(
        &self,
        account: &Account,
        work: &mut Work,
        tasks: &[Task],
    ) -> Result<bool, Stop> {
        let now = self.context.now();
        let is_lost = |task: &&Task| {
            let challenge = work.order.challenges.get(&task.url);
            let responded_at = challenge.and_then(|challenge| challenge.first_responded_at);
            task.error.is_none()
                && responded_at
                    .is_some_and(|responded_at| responded_at.saturating_add(GIVE_UP_AFTER) <= now)
        };
        let lost: Vec<&Task> = tasks.iter().filter(is_lost).collect();
        let order = work.url();
        for task in &lost {
            warn!(domain = %task.name, "authorization pending for an hour, given up");
            let given_up =
                self.ask(account, || self.authority().deactivate(account, &order, &task.url)).await;
            match given_up {
                Ok(()) => {}
                // Kept by the authority or not: nothing comes of this order.
                Err(Stop::Authority(error))
                    if !matches!(
                        error.kind,
                        AuthorityErrorKind::Unavailable | AuthorityErrorKind::AccountUnknown
                    ) =>
                {
                    debug!(lineage = self.lineage, domain = %task.name, %error, "authorization not deactivated");
                }
                Err(stop) => return Err(stop),
            }
        }
        if !lost.is_empty() {
            work.error = Some(AuthorityError::gone("its authorization stayed pending for an hour"));
        }
        Ok(!lost.is_empty())
    }
}

fn task(authorization: Authorization) -> Result<Task, Stop> {
    let Authorization { url, name, challenge, error, .. } = authorization;
    let Some(challenge) = challenge else {
        return Err(AuthorityError::refused("the authority offers no HTTP-01 challenge").into());
    };
    Ok(Task { url, name, challenge, error })
}

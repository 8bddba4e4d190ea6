//! Proving control over names by HTTP-01.

use futures_util::StreamExt;
use futures_util::stream;
use time::Duration;
use time::OffsetDateTime;
use tracing::debug;
use tracing::warn;

use crate::config::SelfCheck;
use crate::core::names::DomainName;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::Problem;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::resource::Account;
use crate::core::resource::Authorization;
use crate::core::resource::AuthorizationStatus;
use crate::core::resource::ChallengeStatus;
use crate::core::resource::Http01;
use crate::core::resource::OrderStatus;
use crate::core::setback::Setback;
use crate::decide::order::Pause;
use crate::decide::order::PendingOrder;
use crate::decide::order::PublishedChallenge;
use crate::decide::order::Shown;
use crate::ports::Authority;
use crate::ports::Clock;
use crate::ports::Solver;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::context::refusals;
use crate::work::issue::Attempt;
use crate::work::issue::drive::Reasons;
use crate::work::issue::drive::Work;
use crate::work::issue::pace::Pace;
use crate::work::issue::stop::Stop;

/// After this an authority that was responded to may have lost it; each time twice as long.
const TELL_AGAIN_AFTER: Duration = Duration::minutes(2);
/// After this an authorization that was responded to is given up.
const GIVE_UP_AFTER: Duration = Duration::hours(1);
/// An error that stood there before is that of the new try by then.
const TRIED_BY_THEN: Duration = Duration::seconds(10);
/// Self-checks of one order side by side.
const CHECKS: usize = 16;

/// An authorization that is to be proven.
struct Task {
    url: String,
    name: DomainName,
    challenge: Http01,
    /// Why the last try failed, while the challenge goes on (RFC 8555, section 8.2).
    error: Option<Problem>,
}

impl PublishedChallenge {
    /// Whether the last try is known to have failed.
    fn has_failed(&self) -> bool {
        self.times_responded > 0 && self.failed_tries == self.times_responded
    }

    /// Whether an error that the authority shows is that of the last try.
    fn is_of_last_try(&self, error: &str, now: OffsetDateTime) -> bool {
        let Some(responded_at) = self.responded_at else {
            return false;
        };
        let is_old = self.failed_with.as_deref() == Some(error);
        !self.has_failed() && (!is_old || responded_at.saturating_add(TRIED_BY_THEN) <= now)
    }

    /// Whether a response is due. `has_rested` says whether it was looked at since the last one.
    fn must_respond(&self, status: ChallengeStatus, has_rested: bool, now: OffsetDateTime) -> bool {
        let Some(responded_at) = self.responded_at else {
            return true;
        };
        if self.has_failed() {
            return true;
        }
        let tells = self.times_responded.saturating_sub(self.failed_tries);
        // A crash came between the note and the request: the challenge itself shows that nobody heard. Once, since there
        // are authorities whose challenges say `pending` while they are validated.
        if tells == 1 && !has_rested && status == ChallengeStatus::Pending {
            return true;
        }
        let wait = TELL_AGAIN_AFTER * 2_i32.pow(tells.saturating_sub(1).min(10));
        responded_at.saturating_add(wait) <= now
    }

    fn responded(&mut self, now: OffsetDateTime) {
        self.first_responded_at.get_or_insert(now);
        self.responded_at = Some(now);
        self.times_responded = self.times_responded.saturating_add(1);
    }

    fn not_responded(&mut self) {
        self.times_responded = self.times_responded.saturating_sub(1);
        self.responded_at = None;
    }
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

    /// A challenge that goes on with an error has failed a try: that is on the clock of its name with its reason, and the
    /// authority gets another response when that is over. Stops while one of the names has to wait.
    async fn note_failed_tries(
        &self,
        account: &Account,
        work: &mut Work,
        tasks: &[Task],
    ) -> Result<(), Stop> {
        let now = self.context.now();
        let mut waits: Option<Setback> = None;
        for task in tasks {
            let Some(challenge) = work.order.challenges.get_mut(&task.url) else {
                continue;
            };
            let subject = refusals(&account.directory, &account.url, &task.name);
            if let Some(error) = &task.error {
                let text = error.to_string();
                if challenge.is_of_last_try(&text, now) {
                    let since = challenge.responded_at.unwrap_or(now);
                    challenge.failed_tries = challenge.times_responded;
                    challenge.failed_with = Some(text);
                    let what = failure(&task.name, Some(error));
                    debug!(lineage = self.lineage, domain = %task.name, %error, "try of a challenge failed");
                    self.context
                        .fail_validation(&account.directory, since, subject.clone(), what)
                        .await;
                    self.save(&work.order, work.slot).await?;
                    if let Err(setback) = self.context.held_back(&subject) {
                        waits.get_or_insert(setback);
                    }
                    continue;
                }
            }
            if challenge.has_failed()
                && let Err(setback) = self.context.held_back(&subject)
            {
                waits.get_or_insert(setback);
            }
        }
        waits.map_or(Ok(()), |setback| Err(setback.into()))
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

    /// What fails here costs nothing there. Our own looks have places of their own: the order's is free meanwhile.
    async fn check(&self, account: &Account, work: &Work, tasks: &[&Task]) -> Result<(), Stop> {
        if self.context.settings.self_check == SelfCheck::Off {
            return Ok(());
        }
        let Some(room) = self.room else {
            return self.check_all(tasks).await;
        };
        // No certificate counts as asked for by an order that waits for its names.
        self.reservation.give_back();
        let looking = room.checks.wait().await;
        self.leave_place();
        let checked = self.check_all(tasks).await;
        drop(looking);
        if checked.is_ok() {
            self.take_place(room.orders.wait().await);
            self.reserve(account, &work.order);
        }
        checked
    }

    async fn check_all(&self, tasks: &[&Task]) -> Result<(), Stop> {
        let mode = self.context.settings.self_check;
        let since = self.context.now();
        let solver = self.context.world.solver();
        // Collected first: a stream over borrowed closures is not `Send` for every lifetime.
        let checks: Vec<_> = tasks
            .iter()
            .map(|task| async { (*task, solver.verify(&task.name, &task.challenge).await) })
            .collect();
        let mut results = stream::iter(checks).buffer_unordered(CHECKS);
        let mut failed: Option<Setback> = None;
        let mut overruled: Option<String> = None;
        while let Some((task, result)) = results.next().await {
            let subject = Subject::SelfCheck { name: task.name.clone() };
            match result {
                Ok(()) => {
                    debug!(lineage = self.lineage, domain = %task.name, "self-check passed");
                    self.context.clear(&subject).await;
                }
                Err(error) if mode == SelfCheck::Warn => {
                    warn!(domain = %task.name, error, "self-check failed, the authority is asked all the same");
                }
                Err(error) if self.plan.standing.overrules => {
                    overruled.get_or_insert_with(|| {
                        format!("self-check of {} failed: {error}", task.name)
                    });
                }
                Err(error) => {
                    let detail = format!(
                        "self-check of {} failed, so the authority is not asked: {error}",
                        task.name
                    );
                    let what = Failure::of(FailureKind::SelfCheck, detail);
                    let wait = self.context.fail_once_since(since, subject, what).await;
                    failed.get_or_insert_with(|| wait.into());
                }
            }
        }
        if let Some(brake) = overruled {
            self.overrule(&brake).await;
        }
        failed.map_or(Ok(()), |setback| Err(setback.into()))
    }

    /// Notes that the authority is responded to, then does it.
    async fn respond(
        &self,
        account: &Account,
        work: &mut Work,
        tasks: &[&Task],
    ) -> Result<(), Stop> {
        let now = self.context.now();
        for task in tasks {
            if let Some(challenge) = work.order.challenges.get_mut(&task.url) {
                challenge.responded(now);
            }
        }
        work.order.resume();
        self.save(&work.order, work.slot).await?;
        debug!(lineage = self.lineage, "response noted");
        work.pace = Pace::new(now);
        let order = work.url();
        for (position, task) in tasks.iter().enumerate() {
            let responded =
                self.ask(account, || self.authority().respond(account, &order, &task.url)).await;
            match responded {
                Ok(()) => {}
                Err(Stop::Authority(error)) => match error.kind {
                    // Being validated, or final already: a look tells.
                    AuthorityErrorKind::AlreadyResponded
                    | AuthorityErrorKind::NotReady
                    | AuthorityErrorKind::Refused => {
                        debug!(lineage = self.lineage, domain = %task.name, %error, "telling refused");
                    }
                    // The response did not arrive.
                    AuthorityErrorKind::RateLimited(_) | AuthorityErrorKind::BadNonce => {
                        self.not_responded(work, &tasks[position..]).await?;
                        return Err(error.into());
                    }
                    AuthorityErrorKind::Unavailable | AuthorityErrorKind::Failed => {
                        let others = position + usize::from(error.not_before.is_none());
                        self.not_responded(work, &tasks[others..]).await?;
                        return Err(error.into());
                    }
                    AuthorityErrorKind::AccountUnknown | AuthorityErrorKind::Gone => {
                        return Err(error.into());
                    }
                },
                Err(stop) => return Err(stop),
            }
            debug!(lineage = self.lineage, domain = %task.name, "challenge responded to");
        }
        Ok(())
    }

    async fn not_responded(&self, work: &mut Work, tasks: &[&Task]) -> Result<(), Stop> {
        if tasks.is_empty() {
            return Ok(());
        }
        for task in tasks {
            if let Some(challenge) = work.order.challenges.get_mut(&task.url) {
                challenge.not_responded();
            }
        }
        self.save(&work.order, work.slot).await
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

    /// Why an order became invalid: the reason is in its authorizations, or in the order itself.
    pub(super) async fn reasons(
        &self,
        account: &Account,
        work: &mut Work,
    ) -> Result<Reasons, Stop> {
        let (mut has_waited, mut is_news) = (false, false);
        let urls = work.state.as_ref().map_or_else(Vec::new, |state| state.authorizations.clone());
        let order = work.url();
        for url in &urls {
            let authorization = match self.look_at(account, &order, url).await {
                Ok(authorization) => authorization,
                // The order is over all the same.
                Err(Stop::Authority(error))
                    if matches!(
                        error.kind,
                        AuthorityErrorKind::Gone
                            | AuthorityErrorKind::Failed
                            | AuthorityErrorKind::Refused
                    ) =>
                {
                    debug!(lineage = self.lineage, %error, "authorization of a failed order not shown");
                    continue;
                }
                Err(stop) => return Err(stop),
            };
            // A crash may have come between that and the end of the order.
            if self.has_waited(account, &work.order, &authorization) {
                has_waited = true;
                continue;
            }
            // One that was valid when the order was finalized may have expired since.
            let is_failure = match authorization.status {
                AuthorizationStatus::Valid | AuthorizationStatus::Pending => false,
                AuthorizationStatus::Invalid => true,
                AuthorizationStatus::Over => !work.order.may_be_issued(),
            };
            if authorization.status == AuthorizationStatus::Over && !is_failure {
                continue;
            }
            is_news |= is_failure;
            self.note_outcome(account, work, &authorization).await;
        }
        if has_waited && !is_news {
            return Ok(Reasons::Old);
        }
        let failed = self.context.wait_of(&work.order.names.set(), &account.url);
        Ok(match failed {
            Some(wait) => Reasons::New(Setback::from(wait).into()),
            None => Reasons::None,
        })
    }

    /// Whether it is on record that an authorization has failed: in its order, or, where that could not be written, on
    /// the clock of its name, since the authority was asked to validate it.
    fn is_on_record(
        &self,
        account: &Account,
        order: &PendingOrder,
        authorization: &Authorization,
    ) -> bool {
        if order.failed.contains(&authorization.url) {
            return true;
        }
        let since = responded_since(order, authorization);
        let subject = refusals(&account.directory, &account.url, &authorization.name);
        self.context.has_validation_failed(&subject, since)
    }

    /// Whether an authorization has failed, and that is on record, and the wait that followed is over.
    fn has_waited(
        &self,
        account: &Account,
        order: &PendingOrder,
        authorization: &Authorization,
    ) -> bool {
        let has_failed = matches!(
            authorization.status,
            AuthorizationStatus::Invalid | AuthorizationStatus::Over
        );
        let subject = refusals(&account.directory, &account.url, &authorization.name);
        has_failed
            && self.is_on_record(account, order, authorization)
            && self.context.held_back(&subject).is_ok()
    }

    /// Notes how an authorization ended, on the clock of its name. A failure is counted once.
    async fn note_outcome(
        &self,
        account: &Account,
        work: &mut Work,
        authorization: &Authorization,
    ) {
        let order = &mut work.order;
        let name = &authorization.name;
        let subject = refusals(&account.directory, &account.url, name);
        match authorization.status {
            AuthorizationStatus::Valid => self.context.clear(&subject).await,
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Invalid | AuthorizationStatus::Over => {
                if self.is_on_record(account, order, authorization) {
                    return;
                }
                let since = responded_since(order, authorization);
                let what = failure(name, authorization.error.as_ref());
                self.context.fail_validation(&account.directory, since, subject, what).await;
                order.failed.insert(authorization.url.clone());
                if let Err(stop) = self.save(order, work.slot).await {
                    debug!(lineage = self.lineage, ?stop, "failed authorization not marked");
                }
            }
        }
    }
}

/// Since when a failure of an authorization can be that of its order.
fn responded_since(order: &PendingOrder, authorization: &Authorization) -> OffsetDateTime {
    let challenge = order.challenges.get(&authorization.url);
    let responded_at = challenge.and_then(|challenge| challenge.responded_at);
    responded_at.unwrap_or_else(|| order.intended_at())
}

fn failure(name: &DomainName, error: Option<&Problem>) -> Failure {
    let why = error.cloned().unwrap_or_default();
    let kind = FailureKind::of_validation(&why);
    Failure::of(kind, format!("validation of {name} failed: {why}"))
}

fn task(authorization: Authorization) -> Result<Task, Stop> {
    let Authorization { url, name, challenge, error, .. } = authorization;
    let Some(challenge) = challenge else {
        return Err(AuthorityError::refused("the authority offers no HTTP-01 challenge").into());
    };
    Ok(Task { url, name, challenge, error })
}

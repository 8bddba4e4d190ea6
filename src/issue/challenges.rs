//! Proving control over names by HTTP-01.

use futures_util::StreamExt;
use futures_util::stream;
use time::Duration;
use tracing::debug;
use tracing::warn;

use crate::config::SelfCheck;
use crate::engine::Setback;
use crate::engine::refusals;
use crate::issue::Attempt;
use crate::issue::pace::Pace;
use crate::issue::stop::Stop;
use crate::names::DomainName;
use crate::ports::Account;
use crate::ports::Authority;
use crate::ports::AuthorityError;
use crate::ports::Authorization;
use crate::ports::AuthorizationStatus;
use crate::ports::Challenge;
use crate::ports::Http01;
use crate::ports::Order;
use crate::ports::Problem;
use crate::ports::RetryAfter;
use crate::ports::World;
use crate::reaction::Failure;
use crate::reaction::Trouble;
use crate::store::ledger::Subject;
use crate::store::record::PendingOrder;
use crate::store::record::PublishedChallenge;

/// After this an authority that was told may have lost it.
const TELL_AGAIN_AFTER: Duration = Duration::minutes(2);
/// After this an authorization that was told is given up.
const GIVE_UP_AFTER: Duration = Duration::hours(1);
/// Self-checks of one order side by side.
const CHECKS: usize = 16;

/// An authorization that is to be proven.
struct Task {
    url: String,
    name: DomainName,
    challenge: Http01,
}

impl<W: World> Attempt<'_, W> {
    /// Brings every authorization of an order to its end. All of them, so that each broken name is known at once.
    pub(super) async fn authorize(
        &self,
        account: &Account,
        order: &mut PendingOrder,
        state: &Order,
    ) -> Result<(), Stop> {
        let mut tasks = Vec::new();
        let mut is_dead = false;
        for url in &state.authorizations {
            let authorization = self.look_at(account, &state.url, url).await?;
            match authorization.status {
                AuthorizationStatus::Pending => tasks.push(task(authorization)?),
                AuthorizationStatus::Valid => {
                    self.note_outcome(account, order, &authorization).await;
                }
                AuthorizationStatus::Invalid | AuthorizationStatus::Over => {
                    self.note_outcome(account, order, &authorization).await;
                    is_dead = true;
                }
            }
        }
        if is_dead {
            return Err(self.fail_order(account, order, state).await?);
        }
        self.publish(order, &tasks).await?;
        self.check(order, &tasks).await?;
        for task in &tasks {
            self.tell(account, order, &state.url, task).await?;
        }
        self.look_until_final(account, order, state, tasks).await
    }

    async fn look_at(
        &self,
        account: &Account,
        order: &str,
        url: &str,
    ) -> Result<Authorization, Stop> {
        let authorization = self
            .ask(&account.directory, || {
                self.authority().look_at(account, order, url)
            })
            .await?;
        debug!(lineage = self.lineage, domain = %authorization.name, status = ?authorization.status, "authorization looked at");
        Ok(authorization)
    }

    /// The tokens are on record before they are published, so that none is left behind; a power failure takes one with
    /// the other, or the next start sweeps it.
    async fn publish(&self, order: &mut PendingOrder, tasks: &[Task]) -> Result<(), Stop> {
        let mut is_new = false;
        for task in tasks {
            order.challenges.entry(task.url.clone()).or_insert_with(|| {
                is_new = true;
                PublishedChallenge {
                    token: task.challenge.token.clone(),
                    first_told_at: None,
                    told_at: None,
                }
            });
        }
        if is_new {
            self.note(order).await?;
            debug!(lineage = self.lineage, "tokens saved");
        }
        for task in tasks {
            let published = self.engine.world.challenge().publish(&task.challenge).await;
            if let Err(error) = published {
                let detail =
                    format!("the challenge file cannot be written into the webroot: {error}");
                let subject = Subject::Attempt {
                    certificate: self.wish.entry.primary().to_string(),
                };
                let what = Failure::of(Trouble::Disk, detail);
                return Err(Setback::from(self.engine.fail(subject, what).await).into());
            }
            debug!(lineage = self.lineage, domain = %task.name, "token published");
        }
        Ok(())
    }

    /// Fetches our own tokens before the authority does: what fails here costs nothing there.
    async fn check(&self, order: &PendingOrder, tasks: &[Task]) -> Result<(), Stop> {
        let mode = self.engine.settings.self_check;
        if mode == SelfCheck::Off {
            return Ok(());
        }
        let is_told = |task: &&Task| {
            order
                .challenges
                .get(&task.url)
                .is_some_and(|challenge| challenge.told_at.is_some())
        };
        let challenge = self.engine.world.challenge();
        let untold: Vec<&Task> = tasks.iter().filter(|task| !is_told(task)).collect();
        // Collected first: a stream over borrowed closures is not `Send` for every lifetime.
        let checks: Vec<_> = untold
            .iter()
            .map(|task| async { (*task, challenge.check(&task.name, &task.challenge).await) })
            .collect();
        let mut results = stream::iter(checks).buffer_unordered(CHECKS);
        let mut failed: Option<Setback> = None;
        let mut overruled: Option<String> = None;
        while let Some((task, result)) = results.next().await {
            let subject = Subject::SelfCheck {
                name: task.name.clone(),
            };
            match result {
                Ok(()) => {
                    debug!(lineage = self.lineage, domain = %task.name, "self-check passed");
                    self.engine.clear(&subject).await;
                }
                Err(error) if mode == SelfCheck::Warn => {
                    warn!(domain = %task.name, error, "self-check failed, the authority is asked all the same");
                }
                Err(error) if self.wish.standing.overrules => {
                    overruled.get_or_insert_with(|| {
                        format!("self-check of {} failed: {error}", task.name)
                    });
                }
                Err(error) => {
                    let detail = format!(
                        "self-check of {} failed, so the authority is not asked: {error}",
                        task.name
                    );
                    let what = Failure::of(Trouble::SelfCheck, detail);
                    let wait = self.engine.fail(subject, what).await;
                    failed.get_or_insert_with(|| wait.into());
                }
            }
        }
        if let Some(brake) = overruled {
            self.overrule(&brake).await;
        }
        failed.map_or(Ok(()), |setback| Err(setback.into()))
    }

    /// Notes that the authority is told, then tells it.
    async fn tell(
        &self,
        account: &Account,
        order: &mut PendingOrder,
        url: &str,
        task: &Task,
    ) -> Result<(), Stop> {
        let now = self.engine.now();
        if let Some(challenge) = order.challenges.get_mut(&task.url) {
            if challenge
                .told_at
                .is_some_and(|told_at| now < told_at.saturating_add(TELL_AGAIN_AFTER))
            {
                return Ok(());
            }
            challenge.first_told_at.get_or_insert(now);
            challenge.told_at = Some(now);
        }
        self.save(order).await?;
        debug!(lineage = self.lineage, domain = %task.name, "tell noted");
        match self
            .ask(&account.directory, || {
                self.authority().tell(account, url, &task.url)
            })
            .await
        {
            // Being validated, or final already: a look tells.
            Ok(())
            | Err(Stop::Authority(AuthorityError::AlreadyTold(_) | AuthorityError::NotReady(_))) => {
            }
            Err(Stop::Authority(AuthorityError::Refused(problem))) => {
                debug!(lineage = self.lineage, domain = %task.name, %problem, "telling refused");
            }
            Err(Stop::Authority(
                error @ (AuthorityError::RateLimited { .. }
                | AuthorityError::Unavailable {
                    retry_after: Some(_),
                    ..
                }),
            )) => {
                // It was not told, and says when it wants to be.
                if let Some(challenge) = order.challenges.get_mut(&task.url) {
                    challenge.told_at = None;
                }
                self.save(order).await?;
                return Err(error.into());
            }
            Err(stop) => return Err(stop),
        }
        debug!(lineage = self.lineage, domain = %task.name, "authority told");
        Ok(())
    }

    async fn look_until_final(
        &self,
        account: &Account,
        order: &mut PendingOrder,
        state: &Order,
        mut tasks: Vec<Task>,
    ) -> Result<(), Stop> {
        let mut pace = Pace::new(self.engine.now());
        let mut retry_after: Option<RetryAfter> = None;
        let mut is_dead = false;
        while !tasks.is_empty() {
            if let Err(stop) = self
                .rest(
                    order,
                    &mut pace,
                    retry_after,
                    "the authority is still validating",
                )
                .await
            {
                return Err(self
                    .give_up_on(account, order, state, &tasks)
                    .await?
                    .unwrap_or(stop));
            }
            retry_after = None;
            let mut pending = Vec::new();
            for task in tasks {
                let authorization = self.look_at(account, &state.url, &task.url).await?;
                if authorization.status == AuthorizationStatus::Pending {
                    retry_after = retry_after.or(authorization.retry_after);
                    pending.push(task);
                    continue;
                }
                is_dead |= authorization.status != AuthorizationStatus::Valid;
                if authorization.status == AuthorizationStatus::Valid {
                    self.engine.note_validated(account, &task.name).await;
                } else {
                    self.note_outcome(account, order, &authorization).await;
                }
                self.withdraw(&task.challenge.token).await;
                debug!(lineage = self.lineage, domain = %task.name, "token withdrawn");
            }
            tasks = pending;
        }
        if is_dead {
            Err(self.fail_order(account, order, state).await?)
        } else {
            Ok(())
        }
    }

    /// An authorization that stays pending for an hour after it was told is given up with its order.
    async fn give_up_on(
        &self,
        account: &Account,
        order: &PendingOrder,
        state: &Order,
        tasks: &[Task],
    ) -> Result<Option<Stop>, Stop> {
        let now = self.engine.now();
        let is_lost = |task: &&Task| {
            let challenge = order.challenges.get(&task.url);
            challenge
                .and_then(|challenge| challenge.first_told_at)
                .is_some_and(|told_at| told_at.saturating_add(GIVE_UP_AFTER) <= now)
        };
        let lost: Vec<&Task> = tasks.iter().filter(is_lost).collect();
        if lost.is_empty() {
            return Ok(None);
        }
        for task in lost {
            warn!(domain = %task.name, "authorization pending for an hour, given up");
            let given_up = self
                .ask(&account.directory, || {
                    self.authority().deactivate(account, &state.url, &task.url)
                })
                .await;
            // Kept by the authority or not: nothing comes of this order.
            if let Err(Stop::Authority(
                error @ (AuthorityError::Refused(_)
                | AuthorityError::NotReady(_)
                | AuthorityError::AlreadyTold(_)),
            )) = given_up
            {
                debug!(lineage = self.lineage, domain = %task.name, %error, "authorization not deactivated");
            } else {
                given_up?;
            }
        }
        Ok(Some(
            AuthorityError::Gone("its authorization stayed pending for an hour".to_owned()).into(),
        ))
    }

    /// Whether it is on record that an authorization has failed: in its order, or, where that could not be written, on
    /// the clock of its name, since the authority was told of it.
    fn is_on_record(
        &self,
        account: &Account,
        order: &PendingOrder,
        authorization: &Authorization,
    ) -> bool {
        if order.failed.contains(&authorization.url) {
            return true;
        }
        let challenge = order.challenges.get(&authorization.url);
        let told_at = challenge.and_then(|challenge| challenge.first_told_at);
        let since = told_at.unwrap_or(order.intended_at);
        let subject = refusals(&account.directory, &account.url, &authorization.name);
        let ledger = self.engine.ledger();
        ledger.wait(&subject).is_some_and(|wait| {
            wait.failed_at.is_some_and(|at| since <= at)
                && wait.trouble.is_some_and(Trouble::is_of_validation)
        })
    }

    /// Whether an authorization has failed, and that is on record, and the wait that followed is over.
    pub(super) fn has_waited(
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
            && self.engine.held_back(&subject).is_ok()
    }

    /// Notes how an authorization ended, on the clock of its name. A failure is counted once.
    pub(super) async fn note_outcome(
        &self,
        account: &Account,
        order: &mut PendingOrder,
        authorization: &Authorization,
    ) {
        let name = &authorization.name;
        let subject = refusals(&account.directory, &account.url, name);
        match authorization.status {
            AuthorizationStatus::Valid => self.engine.clear(&subject).await,
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Invalid | AuthorizationStatus::Over => {
                if self.is_on_record(account, order, authorization) {
                    return;
                }
                let kind = authorization.error.as_ref().map_or("", |error| &error.kind);
                let trouble = Trouble::of_validation(kind);
                let why = authorization
                    .error
                    .as_ref()
                    .map_or_else(|| "no reason given".to_owned(), Problem::to_string);
                let what = Failure::of(trouble, format!("validation of {name} failed: {why}"));
                self.engine
                    .fail_validation(&account.directory, subject, what)
                    .await;
                order.failed.insert(authorization.url.clone());
                if let Err(stop) = self.save(order).await {
                    debug!(
                        lineage = self.lineage,
                        ?stop,
                        "failed authorization not marked"
                    );
                }
            }
        }
    }
}

fn task(authorization: Authorization) -> Result<Task, Stop> {
    let Authorization {
        url,
        name,
        challenge,
        ..
    } = authorization;
    let Some(challenge) = challenge else {
        let detail = "the authority offers no HTTP-01 challenge".to_owned();
        return Err(AuthorityError::Refused(Problem {
            kind: String::new(),
            detail,
            instance: None,
            names: Vec::new(),
        })
        .into());
    };
    Ok(Task {
        url,
        name,
        challenge,
    })
}

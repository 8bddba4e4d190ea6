//! How authorizations end: each failure is on the clock of its name, once, with its reason.

use time::OffsetDateTime;
use tracing::debug;

use crate::core::names::DomainName;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::Problem;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::resource::Account;
use crate::core::resource::Authorization;
use crate::core::resource::AuthorizationStatus;
use crate::core::setback::Setback;
use crate::decide::order::PendingOrder;
use crate::ports::World;
use crate::work::context::refusals;
use crate::work::issue::Attempt;
use crate::work::issue::challenges::Task;
use crate::work::issue::drive::Reasons;
use crate::work::issue::drive::Work;
use crate::work::issue::stop::Stop;

impl<W: World> Attempt<'_, W> {
    /// A challenge that goes on with an error has failed a try: that is on the clock of its name with its reason, and the
    /// authority gets another response when that is over. Stops while one of the names has to wait.
    pub(super) async fn note_failed_tries(
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

    /// Why an order became invalid: the reason is in its authorizations, or in the order itself.
    pub(in crate::work::issue) async fn reasons(
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
    pub(super) async fn note_outcome(
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

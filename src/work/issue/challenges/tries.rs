//! The tries of a challenge: when the authority is told to validate it, and when it is told again.

use time::Duration;
use time::OffsetDateTime;
use tracing::debug;

use crate::core::problem::AuthorityErrorKind;
use crate::core::resource::Account;
use crate::core::resource::ChallengeStatus;
use crate::decide::order::PublishedChallenge;
use crate::ports::Authority;
use crate::ports::World;
use crate::work::issue::Attempt;
use crate::work::issue::challenges::Task;
use crate::work::issue::drive::Work;
use crate::work::issue::pace::Pace;
use crate::work::issue::stop::Stop;

/// After this an authority that was responded to may have lost it; each time twice as long.
const TELL_AGAIN_AFTER: Duration = Duration::minutes(2);

/// An error that stood there before is that of the new try by then.
const TRIED_BY_THEN: Duration = Duration::seconds(10);

impl PublishedChallenge {
    /// Whether the last try is known to have failed.
    pub(super) fn has_failed(&self) -> bool {
        self.times_responded > 0 && self.failed_tries == self.times_responded
    }

    /// Whether an error that the authority shows is that of the last try.
    pub(super) fn is_of_last_try(&self, error: &str, now: OffsetDateTime) -> bool {
        let Some(responded_at) = self.responded_at else {
            return false;
        };
        let is_old = self.failed_with.as_deref() == Some(error);
        !self.has_failed() && (!is_old || responded_at.saturating_add(TRIED_BY_THEN) <= now)
    }

    /// Whether a response is due. `has_rested` says whether it was looked at since the last one.
    pub(super) fn must_respond(
        &self,
        status: ChallengeStatus,
        has_rested: bool,
        now: OffsetDateTime,
    ) -> bool {
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
    /// Notes that the authority is responded to, then does it.
    pub(super) async fn respond(
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
}

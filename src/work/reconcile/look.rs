//! What a pass looks at beside the store: the destination's lists, and the folder of challenge files.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::core::held::Held;
use crate::core::held::User;
use crate::core::reaction::Failure;
use crate::core::schedule;
use crate::ports::Destination;
use crate::ports::Solver;
use crate::ports::World;
use crate::work::reconcile::Reconciler;

/// When the list of certificates is asked for again. A restart may forget it.
#[derive(Debug, Default)]
pub(super) struct ListClock {
    pub(super) was_well: bool,
    pub(super) failures: u32,
    /// Until when it is left alone, and why.
    pub(super) wait: Option<(OffsetDateTime, Failure)>,
}

impl<W: World> Reconciler<W> {
    /// Lists the destination's certificates; one that fails after it was well is asked on the clock of pushes.
    pub(super) async fn list(&mut self) -> Result<Vec<Held>, Failure> {
        let now = self.context.now();
        let loop_time = self.context.settings.loop_time;
        // What lies later was noted by a clock that was ahead.
        let latest = now.saturating_add(schedule::after_setback(u32::MAX, loop_time));
        if let Some((until, fault)) = &self.list.wait
            && now < *until
            && *until <= latest
        {
            return Err(fault.clone());
        }
        match self.context.world.destination().list().await {
            Ok(held) => {
                self.list = ListClock { was_well: true, ..ListClock::default() };
                Ok(held)
            }
            Err(error) => {
                // At boot, when it is often not there yet, whoever runs the passes looks early and ever later.
                if self.list.was_well {
                    self.list.failures += 1;
                    let wait = schedule::after_setback(self.list.failures, loop_time);
                    self.list.wait = Some((now + wait, (&error).into()));
                }
                Err(error.into())
            }
        }
    }

    /// Who uses its certificates; not asked while it cannot be read anyway.
    pub(super) async fn balancers(
        &self,
        destination_fault: Option<&Failure>,
    ) -> Option<Result<Arc<[User]>, Failure>> {
        if destination_fault.is_some() {
            return None;
        }
        let destination = self.context.world.destination();
        if !destination.can().has_users {
            return Some(Ok(Arc::new([])));
        }
        Some(match destination.users().await {
            Ok(users) => Ok(users.into()),
            Err(error) => Err(error.into()),
        })
    }

    pub(super) async fn webroot_fault(&self) -> Option<String> {
        let published = self.context.world.solver().presented().await;
        published.err().map(|error| error.to_string())
    }
}

//! Whether the clock of this machine is right, as far as an authority's answers tell. Not on record: it may be right
//! after a restart.

use std::sync::PoisonError;

use time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::setback::Setback;
use crate::core::text::timestamp;
use crate::ports::World;
use crate::work::context::Context;

/// A clock that differs from the authority's by more is worth a warning.
const SKEW_WARNED: Duration = Duration::minutes(5);
/// With a clock that differs by more, nothing that costs is asked: waits and dates cannot be trusted.
const SKEW_REFUSED: Duration = Duration::HOUR;
/// How soon a clock that is wrong is looked at again.
const SKEW_LOOK: Duration = Duration::minutes(10);

/// Our clock and an authority's at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSeen {
    /// What ours said.
    pub ours: OffsetDateTime,
    /// What the authority's said.
    pub theirs: OffsetDateTime,
}

impl ClockSeen {
    /// How far ours is ahead; negative where it is behind.
    pub fn ahead(self) -> Duration {
        self.ours - self.theirs
    }

    /// Whether they differ by more than answers take.
    pub fn differs(self) -> bool {
        SKEW_WARNED < self.ahead().abs()
    }

    /// Whether they differ by so much that nothing that costs is asked.
    pub fn is_refused(self) -> bool {
        SKEW_REFUSED < self.ahead().abs()
    }

    /// How they differ, with both times.
    pub fn sentence(self) -> String {
        let ahead = self.ahead();
        let side = if ahead.is_positive() { "ahead of" } else { "behind" };
        let rest = match self.is_refused() {
            true => "; nothing that costs is asked before",
            false => "",
        };
        format!(
            "the clock of this machine is {} minutes {side} the authority's: set it right ({} here, {} there){rest}",
            ahead.abs().whole_minutes(),
            timestamp(self.ours),
            timestamp(self.theirs),
        )
    }
}

/// The last comparison, and when it was by a clock that does not jump.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compared {
    seen: ClockSeen,
    at: Instant,
    /// What was seen first of a clock that differs: one fact is told in one sentence.
    told: Option<ClockSeen>,
}

impl<W: World> Context<W> {
    /// Takes note of what an authority's clock says, and refuses if ours cannot be trusted. Told when it begins to differ
    /// and when it is right again.
    pub fn compare_clock(&self, seen: ClockSeen) -> Result<(), Setback> {
        let mut compared = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let told = compared.as_ref().and_then(|compared| compared.told);
        let told = match told {
            _ if !seen.differs() => {
                if told.is_some() {
                    info!("the clock of this machine is right again");
                }
                None
            }
            Some(told) if told.is_refused() == seen.is_refused() => Some(told),
            Some(_) | None => {
                // What it holds up is told with the count of certificates.
                if seen.is_refused() {
                    debug!(notice = seen.sentence(), "the clock of this machine differs");
                } else {
                    warn!(notice = seen.sentence(), "trouble");
                }
                Some(seen)
            }
        };
        *compared = Some(Compared { seen, at: Instant::now(), told });
        drop(compared);
        self.clock_right()
    }

    /// Refuses while the clock of this machine is known to be wrong.
    pub fn clock_right(&self) -> Result<(), Setback> {
        let compared = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(compared) = compared.as_ref().filter(|compared| compared.seen.is_refused()) else {
            return Ok(());
        };
        let passed = Duration::try_from(compared.at.elapsed()).unwrap_or(SKEW_LOOK);
        if SKEW_LOOK <= passed {
            return Ok(());
        }
        let reason = compared.told.unwrap_or(compared.seen).sentence();
        Err(Setback::failure_until(reason, self.now() + (SKEW_LOOK - passed)).common())
    }

    /// How long a comparison that showed a wrong clock holds before it is made again.
    pub(crate) fn clock_is_compared_after(&self) -> Duration {
        SKEW_LOOK
    }

    /// The last comparison with an authority's clock. It holds until another one shows something else.
    pub fn clock_seen(&self) -> Option<ClockSeen> {
        let compared = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        compared.map(|compared| compared.seen)
    }
}

//! What those who look may see of the loop.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::Duration;
use time::OffsetDateTime;

use crate::core::setback::Setback;
use crate::work::reconcile::job::Brought;
use crate::work::reconcile::report::Report;

/// How long nothing may happen if nobody has said what the loop takes.
const PATIENCE: Duration = Duration::minutes(15);

/// What those who look may see.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// How long the loop may stand before it is stuck.
    pub patience: Option<Duration>,
    /// When the loop last turned.
    pub turned_at: Option<OffsetDateTime>,
    /// How many passes have ended.
    pub passes: u64,
    /// What the last pass found.
    pub report: Option<Arc<Report>>,
    /// When the last pass ended.
    pub last_pass: Option<PassTimes>,
    /// When the next pass begins at the latest.
    pub next: Option<OffsetDateTime>,
    /// The last thing that was tried for each certificate, by primary name.
    pub tries: BTreeMap<String, Try>,
    /// When a job of each certificate last came to its end, by primary name.
    pub succeeded: BTreeMap<String, OffsetDateTime>,
    /// How often which job ended how since the start.
    pub ended: BTreeMap<(&'static str, Ended), u64>,
}

/// How the loop stands still, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// It has not turned; it does every few seconds.
    Loop(OffsetDateTime),
    /// No pass has ended that was due then.
    Pass(OffsetDateTime),
}

impl Snapshot {
    /// Whether the loop stands still, by times that it writes down itself: far beyond the time limits of everything it
    /// may wait for, only a restart helps.
    pub fn stuck(&self, now: OffsetDateTime) -> Option<Stuck> {
        let patience = self.patience.unwrap_or(PATIENCE);
        let long_ago = |at: Option<OffsetDateTime>| at.filter(|at| *at + patience < now);
        let turned = long_ago(self.turned_at).map(Stuck::Loop);
        turned.or_else(|| long_ago(self.next).map(Stuck::Pass))
    }
}

/// When a pass ended.
#[derive(Debug, Clone, Copy)]
pub struct PassTimes {
    /// When it ended.
    pub ended_at: OffsetDateTime,
    /// How long it took.
    pub took: Duration,
}

/// A job that has ended.
#[derive(Debug, Clone)]
pub struct Try {
    /// When.
    pub at: OffsetDateTime,
    /// What it was: `obtain`, `push`, `restore`, `settle`.
    pub what: &'static str,
    /// Why it did not come to its end.
    pub setback: Option<Setback>,
    /// What it has brought where; kept until a pass has seen it.
    pub brought: Brought,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// It came to its end.
    Ok,
    /// There is more to do later.
    Later,
    /// It failed.
    Failed,
}

impl Ended {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Later, Self::Failed];

    /// As metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Later => "later",
            Self::Failed => "failed",
        }
    }
}

impl Try {
    pub(super) fn ended(&self) -> Ended {
        match &self.setback {
            None => Ended::Ok,
            Some(setback) if setback.is_failure => Ended::Failed,
            Some(_) => Ended::Later,
        }
    }
}

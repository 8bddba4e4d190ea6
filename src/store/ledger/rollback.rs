//! What a ledger held before it was cut, until it is known whether the clock was right to do so.

use std::collections::BTreeMap;

use time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::core::budget::Levels;
use crate::core::names::NameSet;
use crate::store::ledger::LastIssue;
use crate::store::ledger::Ledger;
use crate::store::ledger::event::Subject;
use crate::store::ledger::event::Wait;

/// A clock that is set by less was not behind by so much that a wait or a limit would hang on it.
const JUMP: Duration = Duration::minutes(10);
/// A clock that is right again later than that was no mistake of a moment.
const KEPT: Duration = Duration::days(7);

/// A clock that is behind for a moment, as that of a machine without a battery before it has asked the network, makes
/// everything on record look as if it was written by a clock that was ahead.
#[derive(Debug, Clone)]
pub(super) struct Rollback {
    waits: BTreeMap<Subject, Wait>,
    issues: BTreeMap<(String, NameSet), LastIssue>,
    levels: Levels,
    /// When the last of it was written, by the clock of then.
    latest: OffsetDateTime,
    /// When it was cut, by the clock of then and by one that never jumps.
    clamped_at: OffsetDateTime,
    since: Instant,
}

impl Ledger {
    /// What is kept at a cut, if anything was written later than now.
    pub(super) fn rollback(&self, now: OffsetDateTime) -> Option<Rollback> {
        let failed = self.waits.values().filter_map(|wait| wait.failed_at);
        let issued = self.issues.values().map(|last| last.at);
        let latest = failed.chain(issued).max().filter(|at| now < *at)?;
        Some(Rollback {
            waits: self.waits.clone(),
            issues: self.issues.clone(),
            levels: self.levels.clone(),
            latest,
            clamped_at: now,
            since: Instant::now(),
        })
    }

    /// Takes back what a cut took away, if the clock has jumped forward since to where all of it lies in the past: then
    /// it was behind, and nothing on record was wrong.
    pub fn recall(&mut self, now: OffsetDateTime) {
        let all = std::mem::take(&mut self.rollback);
        for rollback in all {
            let passed = Duration::try_from(rollback.since.elapsed()).unwrap_or(KEPT);
            let jumped = now - rollback.clamped_at - passed;
            if JUMP <= jumped && rollback.latest <= now.saturating_add(JUMP) {
                tracing::warn!(
                    "the clock of this machine was behind, waits hold as they were on record"
                );
                self.take_back(rollback, now);
            } else if passed < KEPT {
                self.rollback.push(rollback);
            }
        }
    }

    fn take_back(&mut self, rollback: Rollback, now: OffsetDateTime) {
        for (subject, before) in rollback.waits {
            // What is well again meanwhile stays well.
            if let Some(wait) = self.waits.get_mut(&subject)
                && wait.until < before.until
            {
                let failures = wait.failures.max(before.failures);
                *wait = Wait { failures, ..before };
            }
        }
        for (set, before) in rollback.issues {
            if let Some(last) = self.issues.get_mut(&set) {
                last.at = last.at.max(before.at);
            }
        }
        for level in rollback.levels.iter(now) {
            self.levels.raise(level);
        }
    }
}

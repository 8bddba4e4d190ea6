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
pub(super) struct Uncut {
    waits: BTreeMap<Subject, Wait>,
    issues: BTreeMap<(String, NameSet), LastIssue>,
    levels: Levels,
    /// When the last of it was written, by the clock of then.
    latest: OffsetDateTime,
    /// When it was cut, by the clock of then and by one that never jumps.
    cut_at: OffsetDateTime,
    since: Instant,
}

impl Ledger {
    /// What is kept at a cut, if anything was written later than now.
    pub(super) fn uncut(&self, now: OffsetDateTime) -> Option<Uncut> {
        let failed = self.waits.values().filter_map(|wait| wait.failed_at);
        let issued = self.issues.values().map(|last| last.at);
        let latest = failed.chain(issued).max().filter(|at| now < *at)?;
        Some(Uncut {
            waits: self.waits.clone(),
            issues: self.issues.clone(),
            levels: self.levels.clone(),
            latest,
            cut_at: now,
            since: Instant::now(),
        })
    }

    /// Takes back what a cut took away, if the clock has jumped forward since to where all of it lies in the past: then
    /// it was behind, and nothing on record was wrong.
    pub fn recall(&mut self, now: OffsetDateTime) {
        let all = std::mem::take(&mut self.uncut);
        for uncut in all {
            let passed = Duration::try_from(uncut.since.elapsed()).unwrap_or(KEPT);
            let jumped = now - uncut.cut_at - passed;
            if JUMP <= jumped && uncut.latest <= now.saturating_add(JUMP) {
                tracing::warn!(
                    "the clock of this machine was behind, waits hold as they were on record"
                );
                self.take_back(uncut, now);
            } else if passed < KEPT {
                self.uncut.push(uncut);
            }
        }
    }

    fn take_back(&mut self, uncut: Uncut, now: OffsetDateTime) {
        for (subject, before) in uncut.waits {
            // What is well again meanwhile stays well.
            if let Some(wait) = self.waits.get_mut(&subject)
                && wait.until < before.until
            {
                let failures = wait.failures.max(before.failures);
                *wait = Wait { failures, ..before };
            }
        }
        for (set, before) in uncut.issues {
            if let Some(last) = self.issues.get_mut(&set) {
                last.at = last.at.max(before.at);
            }
        }
        for level in uncut.levels.iter(now) {
            self.levels.raise(level);
        }
    }
}

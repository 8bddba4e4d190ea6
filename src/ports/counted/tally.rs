//! What is known from answers: how many came of each kind, and who cannot be read at present.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::core::reaction::Failure;
use crate::ports::counted::Directory;
use crate::ports::counted::OK;

/// How somebody has answered since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// How often, by kind.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// When the last answer without a fault came.
    pub ok_at: Option<OffsetDateTime>,
    /// When it could last be read; what is written does not count.
    pub read_at: Option<OffsetDateTime>,
    /// Why it cannot be read at present, if it cannot.
    pub outage: Option<Outage>,
}

/// Why somebody cannot be read, from the first answer that showed it to the one that shows that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// What the last answer said, and of what kind it is.
    pub what: Failure,
    /// When the first of these answers came.
    pub since: OffsetDateTime,
    /// When the last one came.
    pub at: OffsetDateTime,
}

impl Answers {
    pub(super) fn note(&mut self, kind: &'static str, now: OffsetDateTime) {
        *self.by_kind.entry(kind).or_insert(0) += 1;
        if kind == OK {
            self.ok_at = Some(now);
        }
    }

    /// Takes note of an answer that says whether it can be read, and if not, why.
    pub(super) fn read(&mut self, fault: Option<Failure>, now: OffsetDateTime) {
        let Some(what) = fault else {
            self.read_at = Some(now);
            self.outage = None;
            return;
        };
        // After a clock was set back it may lie ahead.
        let since = self.outage.take().map_or(now, |outage| outage.since.min(now));
        self.outage = Some(Outage { what, since, at: now });
    }
}

/// How everybody has answered since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The destination.
    pub destination: Answers,
    /// The source.
    pub source: Answers,
    /// The authorities.
    pub authorities: BTreeMap<Directory, Answers>,
}

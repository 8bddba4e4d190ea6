//! Why something did not come to its end, and when it is tried again: a value that is handed up and shown.

use time::OffsetDateTime;

use crate::core::budget::UsedUp;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;

/// Why something did not come to its end, in plain words, and when it is tried again.
///
/// What must survive a restart is on record already when one of these is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// What happened.
    pub reason: String,
    /// Its kind, where the table of reactions has it.
    pub kind: Option<FailureKind>,
    /// When it is tried again.
    pub until: Option<OffsetDateTime>,
    /// Whether something failed; else it just takes its time.
    pub is_failure: bool,
    /// An address where a person can read or do more about it.
    pub address: Option<String>,
    /// Whether it is about everything and not about one certificate: it is told once for all of them.
    pub is_common: bool,
}

impl Setback {
    /// Nothing failed; there is more to do later.
    pub fn later(reason: impl Into<String>, until: OffsetDateTime) -> Self {
        Self {
            reason: reason.into(),
            kind: None,
            until: Some(until),
            is_failure: false,
            address: None,
            is_common: false,
        }
    }

    /// Something failed and is tried again at a time.
    pub fn failure_until(what: impl Into<Failure>, until: OffsetDateTime) -> Self {
        Self { until: Some(until), ..Self::failure(what) }
    }

    /// Something failed and is tried again by the next pass.
    pub fn failure(what: impl Into<Failure>) -> Self {
        let Failure { kind, text, address } = what.into();
        let is_common = kind.is_some_and(FailureKind::is_common);
        Self { reason: text, kind, until: None, is_failure: true, address, is_common }
    }

    /// The same, about everything and not about one certificate.
    pub fn common(self) -> Self {
        Self { is_common: true, ..self }
    }

    /// What a person can do about it, if anything.
    pub fn advice(&self) -> Option<&'static str> {
        self.kind.and_then(FailureKind::advice)
    }

    /// What happened, and what a person can do about it.
    pub fn sentence(&self) -> String {
        match self.advice() {
            Some(advice) => format!("{} ({advice})", self.reason),
            None => self.reason.clone(),
        }
    }
}

impl From<UsedUp> for Setback {
    fn from(used_up: UsedUp) -> Self {
        Self { until: used_up.opens, ..Self::failure(used_up.reason) }
    }
}

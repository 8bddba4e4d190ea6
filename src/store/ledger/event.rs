//! What stands in the ledger, line by line.

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::core::budget::Level;
use crate::core::fingerprint::Fingerprint;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::schedule;
use crate::core::setback::Setback;
use crate::ports::Safe;

/// What a wait is about: one clock each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Subject {
    /// A validation that failed, or a refusal by the authority.
    Name {
        /// Directory URL of the authority.
        directory: String,
        /// URL of the account; empty before there is one.
        account: String,
        /// The name.
        name: DomainName,
    },
    /// Our own token could not be fetched through the name.
    SelfCheck {
        /// The name.
        name: DomainName,
    },
    /// An attempt that came to nothing for reasons that are nobody's: a full disk, a stalled answer.
    Attempt {
        /// The lineage or primary name.
        certificate: String,
    },
    /// A certificate could not be written to the destination, or taken back from it.
    Push {
        /// Its name at the destination.
        certificate: String,
    },
    /// Balancers could not be woken.
    Wake,
    /// The destination gave no key with a certificate of ours.
    Key {
        /// Its leaf.
        leaf: Fingerprint,
    },
    /// No account could be made.
    Account {
        /// Directory URL of the authority.
        directory: String,
    },
    /// The authority cannot be reached, or fails: one breaker for all.
    Authority {
        /// Directory URL of the authority.
        directory: String,
    },
    /// The names of a certificate that is served were changed: how often in a row, and when they may be again.
    Change {
        /// Its primary name.
        certificate: String,
    },
    /// A certificate is about to expire, and the authority was asked in spite of our own brakes: once a day.
    Overruled {
        /// Its primary name.
        certificate: String,
    },
}

impl Subject {
    /// The longest that anything of this kind is ever waited for; what says more was written by a clock that was
    /// ahead.
    pub(super) fn longest(&self) -> Duration {
        match self {
            Self::Name { .. } | Self::Account { .. } => schedule::LONGEST_LIMIT,
            // The settings allow a `LOOP_TIME` of a day.
            Self::SelfCheck { .. }
            | Self::Attempt { .. }
            | Self::Push { .. }
            | Self::Wake
            | Self::Key { .. }
            | Self::Authority { .. }
            | Self::Change { .. }
            | Self::Overruled { .. } => Duration::DAY,
        }
    }
}

/// A wait after failures in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// How many failures in a row.
    pub failures: u32,
    /// When to try again.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// What happened the last time, in plain words.
    pub detail: String,
    /// Its kind, where the table of reactions has it.
    #[serde(
        default,
        alias = "trouble",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "known"
    )]
    pub failure_kind: Option<FailureKind>,
    /// When it happened.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub failed_at: Option<OffsetDateTime>,
    /// An address where a person can read or do more about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What the account was asked for with that this wait is about: a fingerprint of settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_with: Option<Fingerprint>,
}

impl From<Wait> for Setback {
    fn from(wait: Wait) -> Self {
        let what = Failure { kind: wait.failure_kind, text: wait.detail, address: wait.address };
        Self::failure_until(what, wait.until)
    }
}

/// A kind that only a later version has is no kind for this one, and no broken line.
fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Option<FailureKind>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.and_then(|text| serde_json::from_value(text.into()).ok()))
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    Failed {
        subject: Subject,
        #[serde(flatten)]
        wait: Wait,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        levels: Vec<Level>,
    },
    Cleared {
        subject: Subject,
    },
    /// An authorization became valid.
    Validated {
        directory: String,
        account: String,
        name: DomainName,
    },
    Registering {
        directory: String,
        levels: Vec<Level>,
    },
    /// The answer to it.
    Registered {
        directory: String,
        account: String,
    },
    Ordering {
        directory: String,
        names: NameSet,
        is_renewal: bool,
        levels: Vec<Level>,
    },
    /// The answer to it.
    Ordered {
        directory: String,
        names: NameSet,
        order: String,
    },
    Wished {
        certificate: String,
    },
    /// The authority has said that a certificate was not issued that was asked for.
    NotIssued {
        directory: String,
        names: NameSet,
        /// When it was asked for the last time.
        #[serde(with = "time::serde::rfc3339")]
        last: OffsetDateTime,
        /// When it was asked for before that, and may have been issued.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "time::serde::rfc3339::option"
        )]
        before: Option<OffsetDateTime>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        levels: Vec<Level>,
    },
    /// Only levels are left of what was asked.
    Levels {
        levels: Vec<Level>,
    },
    Finalizing {
        directory: String,
        names: NameSet,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        levels: Vec<Level>,
    },
    Issued {
        directory: String,
        names: NameSet,
        leaf: Fingerprint,
        /// Seconds from start to end of validity.
        lifetime: i64,
    },
}

/// One line of the ledger, to be written down.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    #[serde(with = "time::serde::rfc3339")]
    pub(super) at: OffsetDateTime,
    #[serde(flatten)]
    pub(super) event: Event,
}

impl Line {
    /// Whether it must outlive a power failure: what is asked, and what has failed. Without what was answered the
    /// account is only stricter than it need be, or the record of a certificate or of an order says the same.
    pub(super) fn safe(&self) -> Safe {
        match &self.event {
            Event::Failed { .. } | Event::Wished { .. } | Event::Finalizing { .. } => Safe::Now,
            Event::Registering { levels, .. } | Event::Ordering { levels, .. } => {
                match levels.is_empty() {
                    // Nothing is remembered of it.
                    true => Safe::Later,
                    false => Safe::Now,
                }
            }
            // Without it the floor would hold for longer than the certificate may last.
            Event::Issued { lifetime, .. }
                if schedule::floor(Some(Duration::seconds(*lifetime))) < schedule::floor(None) =>
            {
                Safe::Now
            }
            Event::Cleared { .. }
            | Event::Validated { .. }
            | Event::Registered { .. }
            | Event::Ordered { .. }
            | Event::NotIssued { .. }
            | Event::Levels { .. }
            | Event::Issued { .. } => Safe::Later,
        }
    }
}

//! What is done about each kind of failure: one table, by which everybody reacts.
//!
//! The kinds are those of RFC 8555, section 6.7, as Boulder uses them, and of the destination. Each has one reaction, one
//! clock and one sentence that says what a person can do.
//!
//! What is never asked has no row, and counts as another refusal if it is refused all the same: no order names the
//! certificate that it `replaces` (`alreadyReplaced`, a 404 for it, "did not request the certificate being replaced"),
//! and no account gets another key (`conflict`). An account whose contact is refused is made again without it: that costs a
//! line in the log.

use serde::Deserialize;
use serde::Serialize;
use time::Duration;

use crate::core::problem::DestinationError;
use crate::core::problem::Problem;
use crate::core::schedule;

mod recognised;
mod table;

pub use table::Row;
pub use table::TABLE;
pub use table::render;

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The authority gave no whole answer, or cannot be used.
    NoAnswer,
    /// What stands at the URL of its directory is none.
    NoDirectory,
    /// The authority failed at one order only.
    Failed,
    /// The authority refuses all nonces.
    BadNonce,
    /// The authority failed and said when to come back.
    Overloaded,
    /// A limit of the authority for some names.
    Limited,
    /// A limit of the authority for the account or the address.
    AccountLimited,
    /// The authority has paused names.
    Paused,
    /// The authority does not know the account.
    AccountUnknown,
    /// The authority refuses the account.
    AccountRefused,
    /// The authority wants something from a person.
    ActionRequired,
    /// The authority does not take the contact of the account.
    ContactRefused,
    /// The authority makes no account, for another reason.
    AccountNotMade,
    /// The authority does not certify a name.
    NameRefused,
    /// The authority refuses key or signing request.
    KeyRefused,
    /// The authority does not understand what it is asked.
    Misunderstood,
    /// The authority refuses for another reason.
    Refused,
    /// The order is gone.
    OrderGone,
    /// The order is in another state.
    NotReady,
    /// The challenge is being validated.
    BeingValidated,
    /// The authority could not reach the web server of a name.
    Unreachable,
    /// The authority found no address of a name.
    NoAddress,
    /// A CAA record forbids the authority to certify a name.
    Caa,
    /// The authority could not look up the CAA records of a name.
    CaaLookup,
    /// The authority found something else than our token.
    WrongAnswer,
    /// A validation failed for another reason.
    Invalid,
    /// Our own fetch of the token failed.
    SelfCheck,
    /// The authority was asked for a certificate, and does not hand it over.
    OrderStuck,
    /// The authority sent a certificate that cannot be used.
    WrongCertificate,
    /// The destination gave no whole answer, or failed.
    #[serde(alias = "rancher-away")]
    DestinationAway,
    /// Somebody else's change at the destination is in the way.
    #[serde(alias = "rancher-busy", alias = "rancher-taken")]
    DestinationBusy,
    /// The destination does not let us.
    #[serde(alias = "rancher-denied")]
    DestinationDenied,
    /// The destination refuses.
    #[serde(alias = "rancher-refused")]
    DestinationRefused,
    /// A file could not be written or read.
    Disk,
}

/// What failed: its kind, where the table has it, and what happened in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub kind: Option<FailureKind>,
    /// What happened.
    pub text: String,
    /// An address where a person can read or do more about it.
    pub address: Option<String>,
}

impl Failure {
    /// A failure of a kind that the table has.
    pub fn of(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind: Some(kind), text: text.into(), address: None }
    }

    /// The same with the address that a problem gives.
    pub(crate) fn with_address_of(self, problem: &Problem) -> Self {
        Self { address: problem.instance.clone(), ..self }
    }

    /// The clock of its kind; what has none is tried again as soon as what fails at a destination.
    pub(crate) fn backoff(&self) -> Backoff {
        self.kind.map_or(Backoff::Setback, |kind| kind.row().backoff)
    }
}

impl From<&DestinationError> for Failure {
    fn from(error: &DestinationError) -> Self {
        Self::of(FailureKind::of_destination(error), error.to_string())
    }
}

impl From<DestinationError> for Failure {
    fn from(error: DestinationError) -> Self {
        (&error).into()
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { kind: None, text, address: None }
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// It is tried again soon.
    Retry,
    /// It is tried again at the time that was told.
    Wait,
    /// Something must change outside; it is looked at from time to time.
    Change,
    /// A person must act; it is looked at once a day.
    Person,
}

/// When it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// In the same attempt; a refusal when that has not helped a few times.
    AtOnce,
    /// A minute, doubling to an hour; where the authority works for nobody, for all certificates after three in a row.
    Silence,
    /// When the answer says so.
    Told,
    /// When the answer says so, else as after a refusal.
    Limit,
    /// 1, 10, 100 minutes, then daily.
    Refusal,
    /// Once a day.
    Daily,
    /// `LOOP_TIME`, doubling to a quarter of an hour.
    Setback,
}

impl Backoff {
    /// How long to wait after so many failures in a row, unless the answer says.
    pub fn after(self, failures: u32, loop_time: Duration) -> Duration {
        match self {
            Self::Silence | Self::Told => schedule::after_silence(failures),
            Self::AtOnce | Self::Limit | Self::Refusal => schedule::after_refusal(failures),
            Self::Daily => Duration::DAY,
            Self::Setback => schedule::after_setback(failures, loop_time),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::AtOnce => "at once, then 1, 10, 100 minutes, then daily",
            Self::Silence => "a minute, doubling to an hour",
            Self::Told => "when it says",
            Self::Limit => "when it says, else 1, 10, 100 minutes, then daily",
            Self::Refusal => "1, 10, 100 minutes, then daily",
            Self::Daily => "daily",
            Self::Setback => "`LOOP_TIME`, doubling to 15 minutes",
        }
    }
}

impl FailureKind {
    /// Its row.
    pub fn row(self) -> &'static Row {
        // A test shows that every kind has one.
        TABLE.iter().find(|row| row.kind == self).unwrap_or(&TABLE[0])
    }

    /// What a person can do about it, if anything.
    pub fn advice(self) -> Option<&'static str> {
        let advice = self.row().advice;
        (!advice.starts_with("nothing")).then_some(advice)
    }

    /// Whether it is about the account or the whole authority, so that it meets all certificates alike.
    pub fn is_common(self) -> bool {
        matches!(
            self,
            Self::NoDirectory
                | Self::AccountLimited
                | Self::AccountUnknown
                | Self::AccountRefused
                | Self::ActionRequired
                | Self::ContactRefused
                | Self::AccountNotMade
        )
    }

    /// Whether it is a validation that failed.
    pub fn is_of_validation(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::NoAddress
                | Self::Caa
                | Self::CaaLookup
                | Self::WrongAnswer
                | Self::Invalid
        )
    }
}

/// A kind as it stands on record and in the status document; `other` is none of the table.
pub fn word(kind: Option<FailureKind>) -> String {
    let value = kind.and_then(|kind| serde_json::to_value(kind).ok());
    let word = value.as_ref().and_then(serde_json::Value::as_str);
    word.unwrap_or("other").to_owned()
}

#[cfg(test)]
mod tests;

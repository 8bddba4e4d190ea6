//! What is done about each kind of failure: one table, by which everybody reacts.
//!
//! The kinds are those of RFC 8555, section 6.7, as Boulder uses them, and of the destination. Each has one reaction, one
//! clock and one sentence that says what a person can do.
//!
//! What is never asked has no row, and counts as another refusal if it is refused all the same: no order names the
//! certificate that it `replaces` (`alreadyReplaced`, a 404 for it, "did not request the certificate being replaced"),
//! and no account gets another key (`conflict`). An account whose contact is refused is made again without it: that costs a
//! line in the log.

use std::fmt::Write;

use serde::Deserialize;
use serde::Serialize;
use time::Duration;

use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::DestinationError;
use crate::core::problem::LimitScope;
use crate::core::problem::Problem;
use crate::core::schedule;

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

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The kind of failure.
    pub kind: FailureKind,
    /// What is seen of it.
    pub seen: &'static str,
    /// What is done.
    pub reaction: Reaction,
    /// When it is tried again.
    pub backoff: Backoff,
    /// What a person can do.
    pub advice: &'static str,
}

const fn row(
    kind: FailureKind,
    seen: &'static str,
    reaction: Reaction,
    backoff: Backoff,
    advice: &'static str,
) -> Row {
    Row { kind, seen, reaction, backoff, advice }
}

/// Every kind of failure.
pub const TABLE: [Row; 34] = {
    use Backoff as C;
    use FailureKind as T;
    use Reaction as R;
    [
        row(
            T::NoAnswer,
            "CA: no answer or a cut one, 502 to 504, a page that is not the CA's; 5xx of its directory, for a nonce or an account",
            R::Retry,
            C::Silence,
            "if it lasts, check the way from here to the CA (firewall, proxy, DNS)",
        ),
        row(
            T::NoDirectory,
            "CA: no ACME directory at its URL (404, another page)",
            R::Change,
            C::Silence,
            "check `ACME_DIRECTORY` or `ACME_STAGING_DIRECTORY`, whichever it is, letter by letter; some CAs have to be told to speak ACME first",
        ),
        row(
            T::Failed,
            "CA: 500 or a senseless answer for one order",
            R::Retry,
            C::Silence,
            "the others go on; if it lasts, tell the CA",
        ),
        row(
            T::BadNonce,
            "CA: `badNonce`, twenty times in a row",
            R::Retry,
            C::Silence,
            "if it lasts, tell the CA: several servers that do not share their nonces look like this",
        ),
        row(
            T::Overloaded,
            "CA: the same or 500, with a `Retry-After` that is not over",
            R::Wait,
            C::Told,
            "nothing, it passes",
        ),
        row(
            T::Limited,
            "CA: 429 about names",
            R::Wait,
            C::Limit,
            "nothing is lost; fewer new names at a time",
        ),
        row(
            T::AccountLimited,
            "CA: 429 about orders of the account or accounts of the address",
            R::Wait,
            C::Limit,
            "nothing is lost; nothing else is ordered until then",
        ),
        row(
            T::Paused,
            "CA: 429 without a time, with an address to open",
            R::Person,
            C::Daily,
            "open the address in this line",
        ),
        row(
            T::AccountUnknown,
            "CA: `accountDoesNotExist`",
            R::Retry,
            C::AtOnce,
            "nothing: it is made again with the same key; check CAA records with `accounturi`",
        ),
        row(
            T::AccountRefused,
            "CA: `unauthorized` for the account",
            R::Person,
            C::Refusal,
            "the account is deactivated or blocked: ask the CA, or remove its file in `rancher-lets-encrypt/accounts` for a new one",
        ),
        row(
            T::ActionRequired,
            "CA: `externalAccountRequired`, `userActionRequired`",
            R::Person,
            C::Refusal,
            "this CA wants more than an account: open the address in this line, if it gives one, or choose another `ACME_DIRECTORY`",
        ),
        row(
            T::ContactRefused,
            "CA: `invalidContact`, `unsupportedContact`",
            R::Change,
            C::Refusal,
            "correct `CERTBOT_EMAIL`, or leave it empty: the account works without",
        ),
        row(
            T::AccountNotMade,
            "CA: another refusal to make an account, such as `malformed` where a contact is missing",
            R::Person,
            C::Refusal,
            "read what it says: it may want `CERTBOT_EMAIL`, which is asked with at once when it is changed, or an account that is arranged with it before",
        ),
        row(
            T::NameRefused,
            "CA: `rejectedIdentifier`, `unsupportedIdentifier`, `malformed` about single names",
            R::Change,
            C::Daily,
            "the CA does not certify this name: remove it",
        ),
        row(
            T::KeyRefused,
            "CA: `badCSR`, `badPublicKey`, `badSignatureAlgorithm`",
            R::Change,
            C::Daily,
            "another key is tried at once; if it lasts, please report it",
        ),
        row(
            T::Misunderstood,
            "CA: `malformed` otherwise, `invalidProfile`",
            R::Person,
            C::Daily,
            "this program and the CA do not understand each other: update it, or report this line",
        ),
        row(
            T::Refused,
            "CA: another refusal",
            R::Change,
            C::Refusal,
            "read what it says; if it makes no sense, please report it",
        ),
        row(
            T::OrderGone,
            "CA: 404 for an order",
            R::Retry,
            C::AtOnce,
            "nothing: it is opened again",
        ),
        row(
            T::NotReady,
            "CA: `orderNotReady`",
            R::Retry,
            C::AtOnce,
            "nothing: the order is looked at",
        ),
        row(
            T::BeingValidated,
            "CA: 409 for a challenge",
            R::Retry,
            C::AtOnce,
            "nothing: it is being validated, and looked at for an hour at most",
        ),
        row(
            T::Unreachable,
            "validation: `connection`, `tls`",
            R::Change,
            C::Refusal,
            "port 80 of this name must be reached from the internet over every address it has: firewall, IPv6 address that leads elsewhere",
        ),
        row(
            T::NoAddress,
            "validation: `dns`",
            R::Change,
            C::Refusal,
            "the name needs an A or AAAA record that everybody sees",
        ),
        row(
            T::Caa,
            "validation: `caa`",
            R::Change,
            C::Daily,
            "a CAA record of this name or above it must allow the CA",
        ),
        row(
            T::CaaLookup,
            "validation: `caa` or `dns`, because CAA records could not be looked up",
            R::Change,
            C::Refusal,
            "the name servers of this name, or of one above it, must answer questions for CAA, if only with \"none\": SERVFAIL, time-outs and broken DNSSEC count as no",
        ),
        row(
            T::WrongAnswer,
            "validation: `unauthorized`, `incorrectResponse`",
            R::Change,
            C::Refusal,
            "`/.well-known/acme-challenge/` of this name must lead to our nginx, before every other rule",
        ),
        row(
            T::Invalid,
            "validation: anything else",
            R::Change,
            C::Refusal,
            "read what the CA says",
        ),
        row(
            T::SelfCheck,
            "self-check: our token was not found through the name",
            R::Change,
            C::Setback,
            "`/.well-known/acme-challenge/` of this name must lead to our nginx; if it cannot be reached from inside: `SELF_CHECK_ADDRESS` or `SELF_CHECK=warn`",
        ),
        row(
            T::OrderStuck,
            "the order was finalized a day ago, and no certificate came",
            R::Person,
            C::Daily,
            "ask the CA about the order in this line; its key is kept, and its certificate is fetched if it comes",
        ),
        row(
            T::WrongCertificate,
            "the certificate that came has wrong names, key, dates or chain",
            R::Change,
            C::Daily,
            "it is kept in `pending` and looked at again in every pass; tell the CA",
        ),
        row(
            T::DestinationAway,
            "destination: no answer, 5xx",
            R::Retry,
            C::Setback,
            "if it lasts, check `CATTLE_URL` and Rancher itself, or the folder and its disk",
        ),
        row(
            T::DestinationBusy,
            "destination: a change is still carried out, or the name was taken meanwhile (Rancher's 409, `NotUnique`)",
            R::Retry,
            C::Setback,
            "nothing: what is there is looked at again, and replaced if it is ours to replace",
        ),
        row(
            T::DestinationDenied,
            "destination: Rancher's 401 and 403, a missing role",
            R::Person,
            C::Setback,
            "the line names the variable, label or right to change",
        ),
        row(
            T::DestinationRefused,
            "destination: another refusal",
            R::Change,
            C::Setback,
            "read what it says",
        ),
        row(
            T::Disk,
            "a file that cannot be written or read",
            R::Change,
            C::Setback,
            "make room, mount the volume writable, or see to its rights; nothing is lost",
        ),
    ]
};

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

    /// What an authority's answer means.
    pub fn of(error: &AuthorityError) -> Self {
        use AuthorityErrorKind as K;
        match error.kind {
            K::Unavailable if error.problem.kind == Problem::NO_DIRECTORY => Self::NoDirectory,
            // Where we leave it alone by ourselves, it has given no answer that says so.
            K::Unavailable | K::Failed if error.not_before.is_some() && error.status.is_some() => {
                Self::Overloaded
            }
            K::Unavailable => Self::NoAnswer,
            K::Failed => Self::Failed,
            K::BadNonce => Self::BadNonce,
            K::RateLimited(LimitScope::Names) => Self::Limited,
            K::RateLimited(LimitScope::Account) => Self::AccountLimited,
            K::RateLimited(LimitScope::Paused) => Self::Paused,
            K::Refused => Self::of_refusal(&error.problem),
            K::AccountUnknown => Self::AccountUnknown,
            K::Gone => Self::OrderGone,
            K::NotReady => Self::NotReady,
            K::AlreadyResponded => Self::BeingValidated,
        }
    }

    /// What a refusal means.
    pub(crate) fn of_refusal(problem: &Problem) -> Self {
        match problem.kind.as_str() {
            "unauthorized" => Self::AccountRefused,
            "externalAccountRequired" | "userActionRequired" => Self::ActionRequired,
            "invalidContact" | "unsupportedContact" => Self::ContactRefused,
            "malformed" if !problem.names.is_empty() => Self::NameRefused,
            "malformed" | "invalidProfile" => Self::Misunderstood,
            "rejectedIdentifier" | "unsupportedIdentifier" => Self::NameRefused,
            "badCSR" | "badPublicKey" | "badSignatureAlgorithm" => Self::KeyRefused,
            "caa" | "dns" if has_lost_caa(problem) => Self::CaaLookup,
            "caa" => Self::Caa,
            _ => Self::Refused,
        }
    }

    /// What an authority's answer means to whom it makes no account: whatever it refuses, it refuses the account.
    pub(crate) fn of_new_account(error: &AuthorityError) -> Self {
        let kind = Self::of(error);
        let is_another = matches!(
            kind,
            Self::NameRefused
                | Self::KeyRefused
                | Self::Misunderstood
                | Self::Refused
                | Self::Caa
                | Self::CaaLookup
        );
        if is_another { Self::AccountNotMade } else { kind }
    }

    /// What the refusal of an order means that was opened: one that is not authorized has lost its authorizations, or
    /// is finalized for other names, and says nothing about the account.
    pub(crate) fn of_order(problem: &Problem) -> Self {
        let kind = Self::of_refusal(problem);
        if kind == Self::AccountRefused { Self::Refused } else { kind }
    }

    /// What the error of a challenge means.
    pub fn of_validation(problem: &Problem) -> Self {
        match problem.kind.as_str() {
            "connection" | "tls" => Self::Unreachable,
            "caa" | "dns" if has_lost_caa(problem) => Self::CaaLookup,
            "dns" => Self::NoAddress,
            "caa" => Self::Caa,
            "unauthorized" | "incorrectResponse" => Self::WrongAnswer,
            _ => Self::Invalid,
        }
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

    /// What a destination's answer means.
    pub fn of_destination(error: &DestinationError) -> Self {
        match error {
            DestinationError::Unavailable(_) => Self::DestinationAway,
            DestinationError::Conflict(_) => Self::DestinationBusy,
            DestinationError::Denied(_) => Self::DestinationDenied,
            DestinationError::Refused(_) => Self::DestinationRefused,
        }
    }
}

/// A kind as it stands on record and in the status document; `other` is none of the table.
pub fn word(kind: Option<FailureKind>) -> String {
    let value = kind.and_then(|kind| serde_json::to_value(kind).ok());
    let word = value.as_ref().and_then(serde_json::Value::as_str);
    word.unwrap_or("other").to_owned()
}

/// Whether CAA records could not be looked up, which is no record that forbids anything. No field says so: Boulder has
/// one type for both, and "DNS problem: SERVFAIL looking up CAA for example.com" in the text, after "While processing
/// CAA for" where it looks again before it issues (boulder `va/caa.go`, `bdns/problem.go`).
fn has_lost_caa(problem: &Problem) -> bool {
    const SIGNS: [&str; 5] =
        ["looking up caa", "servfail", "timed out", "timeout", "lookup failed"];
    let is_lost = |kind: &str, detail: &str| {
        let detail = detail.to_lowercase();
        // A name without an address is told by the same type.
        let signs = if kind == "caa" { &SIGNS[..] } else { &SIGNS[..1] };
        signs.iter().any(|sign| detail.contains(sign))
    };
    let mut subs = problem.names.iter().map(|(_, sub)| sub);
    is_lost(&problem.kind, &problem.detail) || subs.any(|sub| is_lost(&sub.kind, &sub.detail))
}

/// The table as Markdown.
pub fn render() -> String {
    let mut text =
        "| what happened | reaction | next try | what to do |\n| --- | --- | --- | --- |\n"
            .to_owned();
    for row in TABLE {
        let reaction = match row.reaction {
            Reaction::Retry => "again soon",
            Reaction::Wait => "wait",
            Reaction::Change => "until something changes",
            Reaction::Person => "a person must act",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {reaction} | {} | {} |",
            row.seen,
            row.backoff.text(),
            row.advice
        );
    }
    text
}

#[cfg(test)]
mod tests;

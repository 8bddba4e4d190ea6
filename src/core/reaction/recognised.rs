//! By what each kind of failure is recognised.

use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::DestinationError;
use crate::core::problem::LimitScope;
use crate::core::problem::Problem;
use crate::core::reaction::FailureKind;

impl FailureKind {
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

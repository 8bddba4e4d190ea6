//! Why somebody outside did not do what was asked: kinds by what one does about them, the rest as fields. Text is made
//! where it is shown.

use std::fmt;

use thiserror::Error;
use time::OffsetDateTime;

use crate::core::names::DomainName;

/// A problem document (RFC 8555, section 6.7), its text made fit for one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// The last part of its type, such as `unauthorized`; empty if it has none.
    pub kind: String,
    /// What the authority says.
    pub detail: String,
    /// An address where a person can read or do more about it.
    pub instance: Option<String>,
    /// The names of the order that it is about, with what it says of each. None if it is about all of them.
    pub names: Vec<(DomainName, Subproblem)>,
}

impl Problem {
    /// The kind that our adapter gives to what stands at the URL of a directory and is none.
    pub const NO_DIRECTORY: &str = "noDirectory";

    /// A problem that nothing more is known of.
    pub fn new(kind: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: kind.into(), detail: detail.into(), ..Self::default() }
    }
}

impl From<&str> for Problem {
    fn from(detail: &str) -> Self {
        Self::new("", detail)
    }
}

impl From<String> for Problem {
    fn from(detail: String) -> Self {
        Self::new("", detail)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_said(f, &self.kind, &self.detail)?;
        if let Some(address) = &self.instance
            && !self.detail.contains(address)
        {
            write!(f, "; see {address}")?;
        }
        let with_more = self.names.iter().filter(|(_, sub)| !sub.detail.is_empty());
        with_more
            .map(|(name, sub)| (name, &sub.detail))
            .try_for_each(|(name, detail)| write!(f, "; {name}: {detail}"))
    }
}

fn write_said(f: &mut fmt::Formatter<'_>, kind: &str, detail: &str) -> fmt::Result {
    match (kind, detail) {
        ("" | Problem::NO_DIRECTORY, "") => f.write_str("no reason given"),
        ("" | Problem::NO_DIRECTORY, said) | (said, "") => f.write_str(said),
        (kind, detail) => write!(f, "{kind}: {detail}"),
    }
}

/// What a problem says of one name (RFC 8555, section 6.7.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subproblem {
    /// The last part of its type.
    pub kind: String,
    /// What the authority says; empty if the problem says all.
    pub detail: String,
}

/// What a limit of an authority holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// Names: those of the problem, or all of the order.
    Names,
    /// The account, or the address that it is used from: everything.
    Account,
    /// Names that the authority has paused until a person opens the address of the problem.
    Paused,
}

/// What kind of failure an authority's answer is: one for each reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorityErrorKind {
    /// It works for nobody at present: no whole answer, overload, directory or account endpoint that fail, a page that
    /// is not the authority's. It says nothing about our names.
    Unavailable,
    /// It fails at this one resource, or shows it in a way that makes no sense. Others may do well meanwhile.
    Failed,
    /// It refuses every nonce, also those that it gave just before. It works.
    BadNonce,
    /// Too much was asked.
    RateLimited(LimitScope),
    /// It was understood and refused.
    Refused,
    /// The authority does not know the account, or no longer: register again with the same key.
    AccountUnknown,
    /// The authority itself says that the resource is gone.
    Gone,
    /// The order is not in a state for this: look at it.
    NotReady,
    /// The challenge is being validated already: keep looking.
    AlreadyResponded,
}

/// Why an authority did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct AuthorityError {
    /// What one does about it.
    pub kind: AuthorityErrorKind,
    /// When to ask again, if the authority says so; a time that lay ahead when the answer came.
    pub not_before: Option<OffsetDateTime>,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// What the authority says, or what happened.
    pub problem: Problem,
}

impl AuthorityError {
    /// An error that no answer is known of.
    pub fn new(kind: AuthorityErrorKind, problem: impl Into<Problem>) -> Self {
        Self { kind, not_before: None, status: None, problem: problem.into() }
    }

    /// The authority cannot be used.
    pub fn unavailable(problem: impl Into<Problem>) -> Self {
        Self::new(AuthorityErrorKind::Unavailable, problem)
    }

    /// One resource cannot be used.
    pub fn failed(problem: impl Into<Problem>) -> Self {
        Self::new(AuthorityErrorKind::Failed, problem)
    }

    /// It is refused.
    pub fn refused(problem: impl Into<Problem>) -> Self {
        Self::new(AuthorityErrorKind::Refused, problem)
    }

    /// A resource is gone.
    pub fn gone(problem: impl Into<Problem>) -> Self {
        Self::new(AuthorityErrorKind::Gone, problem)
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use AuthorityErrorKind as K;
        let problem = &self.problem;
        // What is no directory has its status in the text.
        let is_told = problem.kind == Problem::NO_DIRECTORY;
        let status = self.status.filter(|status| *status >= 300 && !is_told);
        match (self.kind, status) {
            (K::RateLimited(_), _) => Problem { kind: String::new(), ..problem.clone() }.fmt(f),
            (K::Refused, _) | (K::Unavailable | K::Failed | K::BadNonce, None) => problem.fmt(f),
            (K::Unavailable | K::Failed | K::BadNonce, Some(status)) => {
                write!(f, "{status} {problem}")
            }
            (K::AccountUnknown, _) => {
                write!(f, "the authority does not know the account: {problem}")
            }
            (K::Gone, None) => write!(f, "the order is gone: {problem}"),
            (K::Gone, Some(status)) => write!(f, "the order is gone: {status} {problem}"),
            (K::NotReady, _) => write!(f, "the order is not ready: {problem}"),
            (K::AlreadyResponded, _) => {
                write!(f, "the challenge is being validated already: {problem}")
            }
        }
    }
}

/// No data now: what services announce could not be read, which never means that nothing is announced.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NoData(pub String);

/// Why a destination did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DestinationError {
    /// No whole answer came, or one that is the server's own fault. Try again.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody else's change is in the way: it is still being carried out, or has taken the name. Look again.
    #[error("{0}")]
    Conflict(String),
    /// A person must change a variable, label or right; the text names it.
    #[error("{0}")]
    Denied(String),
    /// It was understood and refused; the same again will be refused again.
    #[error("{0}")]
    Refused(String),
}

//! What an answer means that was not a success: sorted here, once, by what one does about it.
//!
//! What an authority tells only in words is read here too, so that nobody has to read its prose again.

use http::HeaderMap;
use http::header::LINK;
use serde::Deserialize;
use serde_json::Value;
use time::Duration;
use time::OffsetDateTime;

use crate::client::RetryAfter;
use crate::core::names::DomainName;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::LimitScope;
use crate::core::problem::Problem;
use crate::core::problem::Subproblem;
use crate::core::schedule;
use crate::core::text::one_line;

/// How much is shown of a page that is no problem document.
const LONGEST_PAGE: usize = 200;

const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// What was asked, which tells what an answer is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum About<'a> {
    /// The authority itself: this directory, a nonce, an account. What is missing there is no order.
    Authority(&'a str),
    /// An order for these names, as far as they are known, or something of it.
    Order(&'a [DomainName]),
    /// That a challenge can be validated: 409 says that it is being validated.
    Respond,
    /// The certificate of an order for these names: 409 says that the order is to be looked at.
    Finalize(&'a [DomainName]),
}

impl<'a> About<'a> {
    /// No whole answer came.
    pub(super) fn no_answer(self, why: &str) -> AuthorityError {
        AuthorityError::unavailable(self.at(one_line(why)))
    }

    /// The request was taken, and nothing came: of an order, that may be about its names only.
    pub(super) fn silence(self, why: &str) -> AuthorityError {
        match self {
            Self::Authority(_) => self.no_answer(why),
            Self::Order(_) | Self::Respond | Self::Finalize(_) => {
                AuthorityError::failed(one_line(why))
            }
        }
    }

    /// An answer came that makes no sense.
    pub(super) fn no_sense(self, why: &str) -> AuthorityError {
        match self {
            Self::Authority(directory) => AuthorityError::unavailable(no_directory(directory, why)),
            Self::Order(_) | Self::Respond | Self::Finalize(_) => {
                AuthorityError::failed(one_line(&format!("an answer that makes no sense: {why}")))
            }
        }
    }

    fn at(self, detail: String) -> String {
        match self {
            Self::Authority(directory) => format!("{directory}: {detail}"),
            Self::Order(_) | Self::Respond | Self::Finalize(_) => detail,
        }
    }

    fn names(self) -> &'a [DomainName] {
        match self {
            Self::Order(names) | Self::Finalize(names) => names,
            Self::Authority(_) | Self::Respond => &[],
        }
    }
}

/// An answer that was not a success.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) retry_after: Option<RetryAfter>,
    /// Where its terms of service are, if it links to them.
    pub(super) terms: Option<String>,
    pub(super) body: Vec<u8>,
}

/// A problem document as it came (RFC 7807).
#[derive(Default, Deserialize)]
pub(super) struct Document {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    instance: Option<String>,
    #[serde(default)]
    subproblems: Vec<Subdocument>,
}

#[derive(Deserialize)]
struct Subdocument {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    identifier: Option<Identifier>,
}

#[derive(Deserialize)]
struct Identifier {
    value: String,
}

impl From<&instant_acme::Problem> for Document {
    fn from(problem: &instant_acme::Problem) -> Self {
        let subproblems = problem.subproblems.iter().map(|sub| Subdocument {
            kind: sub.r#type.clone(),
            detail: sub.detail.clone(),
            identifier: match &sub.identifier {
                Some(instant_acme::Identifier::Dns(name)) => {
                    Some(Identifier { value: name.clone() })
                }
                Some(_) | None => None,
            },
        });
        Self {
            kind: problem.r#type.clone(),
            detail: problem.detail.clone(),
            subproblems: subproblems.collect(),
            ..Self::default()
        }
    }
}

impl Document {
    /// The problem, in an answer about these names.
    pub(super) fn read(self, names: &[DomainName]) -> Problem {
        let kind = kind(self.kind.as_deref());
        let detail = one_line(&self.detail.or(self.title).unwrap_or_default());
        let singled = self.subproblems.into_iter().filter_map(|sub| {
            let name: DomainName = sub.identifier?.value.parse().ok()?;
            let (kind, detail) = (sub.kind, sub.detail.unwrap_or_default());
            let kind = self::kind(kind.as_deref());
            let detail = one_line(&detail);
            Some((name, Subproblem { kind, detail }))
        });
        let mut singled: Vec<_> = singled.collect();
        if singled.is_empty() {
            let sub = || Subproblem { kind: kind.clone(), detail: String::new() };
            let mentioned = mentioned(names, &detail).into_iter();
            singled.extend(mentioned.map(|name| (name.clone(), sub())));
        }
        let instance = self.instance.as_deref().or_else(|| address(&detail));
        Problem { instance: instance.map(one_line), kind, detail, names: singled }
    }
}

fn kind(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    one_line(text.strip_prefix(NAMESPACE).unwrap_or(text))
}

impl Failure {
    /// Sorts the answer by what one does about it.
    pub(super) fn sort(self, about: About<'_>, now: OffsetDateTime) -> AuthorityError {
        let (problem, is_document) = self.problem(about);
        let kind = self.kind(&problem, is_document, about);
        let error = AuthorityError {
            not_before: self.not_before(kind, &problem, now),
            status: Some(self.status),
            kind,
            problem,
        };
        let About::Authority(directory) = about else {
            return error;
        };
        let is_no_directory =
            matches!(self.status, 404 | 405 | 410) || self.status < 429 && !is_document;
        if is_no_directory {
            let why = format!("{} {}", self.status, error.problem);
            let problem = no_directory(directory, &why);
            return AuthorityError { kind: AuthorityErrorKind::Unavailable, problem, ..error };
        }
        // What fails here fails for everybody.
        if error.kind == AuthorityErrorKind::Failed {
            let kind = AuthorityErrorKind::Unavailable;
            return AuthorityError { kind, ..error };
        }
        error
    }

    fn kind(&self, problem: &Problem, is_document: bool, about: About<'_>) -> AuthorityErrorKind {
        use AuthorityErrorKind as K;
        match (self.status, problem.kind.as_str(), about) {
            // Overload may carry the type of a rate limit; only the status tells the two apart.
            (502..=504, _, _) => K::Unavailable,
            (500.., _, _) => K::Failed,
            // A page of a proxy or of another server says nothing about an order, nor of a limit of the authority; and
            // of others only where it is no answer at all, or a limit.
            (..400, _, _) => K::Unavailable,
            (429, _, _) if !is_document => K::Unavailable,
            _ if !is_document => K::Failed,
            (400, "badNonce", _) => K::BadNonce,
            (429, _, _) | (_, "rateLimited", _) => K::RateLimited(self.scope(problem)),
            (_, "accountDoesNotExist", _) => K::AccountUnknown,
            (_, "orderNotReady", _) | (409, _, About::Finalize(_)) => K::NotReady,
            (409, _, About::Respond) => K::AlreadyResponded,
            (404 | 410, _, _) => K::Gone,
            _ => K::Refused,
        }
    }

    /// What a limit holds for (boulder `ratelimits/limiter.go`, and `wfe2/wfe.go` for names that are paused).
    fn scope(&self, problem: &Problem) -> LimitScope {
        let of_account = ["new orders", "new registrations", "new accounts"];
        let has_time = self.retry_after.is_some() || date_in(&problem.detail).is_some();
        if of_account.iter().any(|limit| problem.detail.contains(limit)) {
            LimitScope::Account
        } else if !has_time && problem.instance.is_some() {
            LimitScope::Paused
        } else {
            LimitScope::Names
        }
    }

    fn not_before(
        &self,
        kind: AuthorityErrorKind,
        problem: &Problem,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        match kind {
            AuthorityErrorKind::Unavailable | AuthorityErrorKind::Failed => {
                not_before(self.retry_after, schedule::LONGEST_OUTAGE, now)
            }
            AuthorityErrorKind::RateLimited(_) => {
                let told = [self.retry_after, date_in(&problem.detail)];
                told.into_iter().find_map(|told| not_before(told, schedule::LONGEST_LIMIT, now))
            }
            AuthorityErrorKind::BadNonce
            | AuthorityErrorKind::Refused
            | AuthorityErrorKind::AccountUnknown
            | AuthorityErrorKind::Gone
            | AuthorityErrorKind::NotReady
            | AuthorityErrorKind::AlreadyResponded => None,
        }
    }

    /// What it says, and whether the authority itself says it, and not something in its place: the types of its problem
    /// documents are those of ACME (RFC 8555, section 6.7).
    fn problem(&self, about: About<'_>) -> (Problem, bool) {
        let document = serde_json::from_slice::<Document>(&self.body).ok();
        let is_own = |kind: &String| kind.starts_with(NAMESPACE);
        match document.filter(|document| document.kind.as_ref().is_some_and(is_own)) {
            Some(mut document) => {
                // New terms are also linked to (RFC 8555, section 7.3.3).
                if kind(document.kind.as_deref()) == "userActionRequired" {
                    document.instance = document.instance.or_else(|| self.terms.clone());
                }
                (document.read(about.names()), true)
            }
            None => (said(&self.body).into(), false),
        }
    }
}

/// When to ask again: what lies in the past says nothing, and nothing is believed to last for longer than it can.
pub(super) fn not_before(
    told: Option<RetryAfter>,
    longest: Duration,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let later = told?.later_than(now)?;
    Some(later.min(now + longest))
}

/// What stands at a URL that was given as a directory is none.
fn no_directory(directory: &str, why: &str) -> Problem {
    let detail = format!("{directory} is no ACME directory ({why})");
    Problem::new(Problem::NO_DIRECTORY, one_line(&detail))
}

/// What an answer says that is no problem document.
fn said(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    if let Some(message) = json.as_ref().and_then(message) {
        return one_line(&message);
    }
    let start = String::from_utf8_lossy(&body[..body.len().min(LONGEST_PAGE)]);
    match start.trim() {
        "" => "an empty answer".to_owned(),
        start => one_line(&format!("an answer that is no problem document: {start}")),
    }
}

/// The text that is meant for people, wherever servers of all kinds put it.
fn message(value: &Value) -> Option<String> {
    const FIELDS: [&str; 6] =
        ["detail", "message", "error_description", "errors", "error", "title"];
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().filter_map(message).collect();
            Some(texts.join("; ")).filter(|text| !text.is_empty())
        }
        Value::Object(fields) => {
            FIELDS.iter().filter_map(|field| fields.get(*field)).find_map(message)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The names that a text is about. Boulder tells a single name in the text only (boulder `policy/pa.go`), and in a limit
/// of certificates the domain that they are registered under.
fn mentioned<'a>(names: &'a [DomainName], text: &str) -> Vec<&'a DomainName> {
    let is_apart = |char: char| !char.is_ascii_alphanumeric() && char != '.' && char != '-';
    let words: Vec<&str> = text.split(is_apart).map(|word| word.trim_matches('.')).collect();
    let is_of_domain = text.contains("already issued for");
    let is_below = |name: &DomainName, domain: &str| {
        let label = name.as_str().strip_suffix(domain);
        label.is_some_and(|label| label.ends_with('.'))
    };
    let is_meant = |name: &&DomainName| {
        let name = *name;
        words.contains(&name.as_str())
            || is_of_domain && words.iter().any(|word| is_below(name, word))
    };
    names.iter().filter(is_meant).collect()
}

/// The first address in a text that a person can open.
fn address(text: &str) -> Option<&str> {
    let from = text.find("https://")?;
    let ends = |char: char| char.is_whitespace() || matches!(char, '"' | '<' | '>' | '`' | '\'');
    let address = text[from..].split(ends).next()?;
    Some(address.trim_end_matches(['.', ',', ')', ';']))
}

/// Where an answer says that the terms of service are (RFC 8288).
pub(super) fn terms_of_service(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).iter();
    let links =
        values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split('<').skip(1));
    let is_terms = |parameter: &str| {
        let relation = parameter.trim().strip_prefix("rel=").unwrap_or_default();
        let mut relations = relation.trim_matches('"').split_ascii_whitespace();
        relations.any(|relation| relation.eq_ignore_ascii_case("terms-of-service"))
    };
    let mut terms = links.filter_map(|link| {
        let (address, parameters) = link.split_once('>')?;
        parameters.split([';', ',']).any(is_terms).then_some(address)
    });
    terms.next().map(str::to_owned)
}

/// "retry after 2026-11-22 12:00:00 UTC", as Boulder writes it.
fn date_in(detail: &str) -> Option<RetryAfter> {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let text = detail.split_once("retry after ")?.1.get(..19)?;
    time::PrimitiveDateTime::parse(text, format).ok().map(|at| RetryAfter::At(at.assume_utc()))
}

#[cfg(test)]
mod tests;

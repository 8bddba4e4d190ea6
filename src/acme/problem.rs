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
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);
    const DIRECTORY: &str = "https://ca.test/dir";
    const ORDER: About<'static> = About::Order(&[]);

    fn answer(status: u16, body: impl Into<Vec<u8>>) -> Failure {
        Failure { status, retry_after: None, terms: None, body: body.into() }
    }

    fn document(status: u16, kind: &str, detail: &str) -> Failure {
        let body = serde_json::json!({"type": format!("{NAMESPACE}{kind}"), "detail": detail});
        answer(status, body.to_string())
    }

    fn sort(status: u16, kind: &str, detail: &str) -> AuthorityErrorKind {
        document(status, kind, detail).sort(ORDER, NOW).kind
    }

    fn names(text: &str) -> Vec<DomainName> {
        text.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn answers_are_sorted_by_reaction() {
        use AuthorityErrorKind as K;
        for status in 502..=504 {
            assert_eq!(sort(status, "rateLimited", "Service busy"), K::Unavailable);
            assert_eq!(answer(status, "<html>").sort(ORDER, NOW).kind, K::Unavailable);
        }
        for status in [500, 501, 505, 520] {
            assert_eq!(sort(status, "serverInternal", ""), K::Failed);
            assert_eq!(answer(status, "").sort(ORDER, NOW).kind, K::Failed);
        }
        assert_eq!(sort(400, "badNonce", ""), K::BadNonce);
        assert_eq!(sort(400, "accountDoesNotExist", ""), K::AccountUnknown);
        assert_eq!(sort(403, "orderNotReady", ""), K::NotReady);
        assert_eq!(sort(404, "malformed", ""), K::Gone);
        assert_eq!(sort(410, "malformed", ""), K::Gone);
        assert_eq!(sort(403, "unauthorized", ""), K::Refused);
        assert_eq!(sort(301, "malformed", ""), K::Unavailable);
    }

    #[test]
    fn only_the_authority_itself_can_say_that_an_order_is_gone() {
        for (status, body) in [
            (404, "<html>"),
            (404, ""),
            (404, "{}"),
            (404, r#"{"type":"about:blank","detail":"no route"}"#),
            (403, "<html>"),
            (410, r#"{"errors":["no handler for route"]}"#),
        ] {
            let error = answer(status, body).sort(ORDER, NOW);
            assert_eq!(error.kind, AuthorityErrorKind::Failed, "{status} {body}");
        }
    }

    #[test]
    fn what_fails_before_there_is_an_order_fails_for_everybody() {
        let sort = |failure: Failure| failure.sort(About::Authority(DIRECTORY), NOW);
        for failure in [
            answer(404, "<html>"),
            answer(403, "<html>"),
            answer(301, ""),
            document(404, "malformed", "Page not found"),
        ] {
            let error = sort(failure);
            assert_eq!(error.kind, AuthorityErrorKind::Unavailable);
            assert_eq!(error.problem.kind, Problem::NO_DIRECTORY);
            let text = error.to_string();
            assert!(text.starts_with("https://ca.test/dir is no ACME directory"), "{text}");
        }
        for failure in [
            document(500, "serverInternal", "no"),
            answer(500, "<html>"),
            answer(503, "<html>"),
            answer(429, "<html>"),
        ] {
            let error = sort(failure);
            assert_eq!(error.kind, AuthorityErrorKind::Unavailable, "{error}");
            assert_ne!(error.problem.kind, Problem::NO_DIRECTORY, "{error}");
        }
        let refused = sort(document(403, "externalAccountRequired", "no"));
        assert_eq!(refused.kind, AuthorityErrorKind::Refused);
        let made = About::Authority(DIRECTORY).no_sense("it is no JSON");
        assert_eq!(made.problem.kind, Problem::NO_DIRECTORY);
        assert_eq!(ORDER.no_sense("it is no JSON").kind, AuthorityErrorKind::Failed);
    }

    #[test]
    fn what_is_no_problem_document_shows_what_it_says() {
        for (body, said) in [
            (r#"{"errors":["Vault is sealed"]}"#, "Vault is sealed"),
            (r#"{"errors":["a",{"message":"b"}]}"#, "a; b"),
            (r#"{"message":" slow down "}"#, "slow down"),
            (r#"{"error":{"code":7,"message":"nested"}}"#, "nested"),
            (r#"{"error":"invalid_request"}"#, "invalid_request"),
            (r#"{"type":"about:blank","title":"Bad Gateway"}"#, "Bad Gateway"),
            ("", "an empty answer"),
            (" \n", "an empty answer"),
            ("{}", "an answer that is no problem document: {}"),
            (
                "<html>\n<title>no</title>",
                "an answer that is no problem document: <html> <title>no</title>",
            ),
        ] {
            let error = answer(503, body).sort(ORDER, NOW);
            assert_eq!(error.problem.detail, said);
            assert_eq!(error.to_string(), format!("503 {said}"));
        }
        let bare = answer(400, format!(r#"{{"type":"{NAMESPACE}malformed"}}"#));
        assert_eq!(bare.sort(ORDER, NOW).to_string(), "malformed");
    }

    #[test]
    fn a_time_is_read_from_header_or_text_and_believed_as_far_as_it_can_be() {
        let text = "too many certificates, retry after 2026-11-23 01:02:03 UTC: see https://x.test";
        let at = datetime!(2026-11-23 01:02:03 UTC);
        let told = |failure: Failure, retry_after| {
            let failure = Failure { retry_after, ..failure };
            failure.sort(ORDER, NOW).not_before
        };
        let limited = || document(429, "rateLimited", "");
        let hour = Some(RetryAfter::In(Duration::HOUR));
        let (decade, past) =
            (Some(RetryAfter::In(Duration::days(3650))), Some(RetryAfter::At(NOW - Duration::DAY)));
        assert_eq!(told(document(429, "rateLimited", text), None), Some(at));
        assert_eq!(told(document(429, "rateLimited", text), past), Some(at));
        assert_eq!(told(limited(), None), None);
        for zero in [past, Some(RetryAfter::In(Duration::ZERO))] {
            assert_eq!(told(limited(), zero), None);
            assert_eq!(told(answer(503, ""), zero), None);
        }
        for failure in [limited(), answer(503, ""), answer(500, ""), answer(429, "<html>")] {
            assert_eq!(told(failure, hour), Some(NOW + Duration::HOUR));
        }
        assert_eq!(told(limited(), decade), Some(NOW + Duration::days(8)));
        assert_eq!(told(answer(503, ""), decade), Some(NOW + Duration::DAY));
        assert_eq!(told(document(403, "unauthorized", text), hour), None);
    }

    #[test]
    fn a_limit_holds_for_names_or_for_everything_or_until_a_person_acts() {
        use LimitScope as S;
        let scope = |detail: &str, retry_after| {
            let failure = Failure { retry_after, ..document(429, "rateLimited", detail) };
            let kind = failure.sort(ORDER, NOW).kind;
            let AuthorityErrorKind::RateLimited(scope) = kind else { panic!("{detail}: {kind:?}") };
            scope
        };
        let hour = Some(RetryAfter::In(Duration::HOUR));
        let past = Some(RetryAfter::At(NOW - Duration::DAY));
        let see = "too many certificates (5) already issued for this exact set of identifiers, see https://ca.test";
        for (detail, retry_after, expected) in [
            ("too many new orders (300) from this account", hour, S::Account),
            ("too many new orders (300): see https://ca.test", None, S::Account),
            ("too many new registrations (10) from this IP address", hour, S::Account),
            ("too many requests", None, S::Names),
            (see, hour, S::Names),
            // Its time is over, and was told all the same.
            (see, past, S::Names),
            (
                "too many of them, retry after 2025-01-01 00:00:00 UTC: see https://ca.test",
                None,
                S::Names,
            ),
            (
                "Your account is temporarily prevented from requesting certificates for a.example.com. Please visit: \
                 https://portal.test/unpause?jwt=a.b",
                None,
                S::Paused,
            ),
        ] {
            assert_eq!(scope(detail, retry_after), expected, "{detail}");
        }
        let detail = "Please visit: <https://portal.test/unpause?jwt=a.b>.";
        let paused = document(429, "rateLimited", detail).sort(ORDER, NOW);
        let address = paused.problem.instance.as_deref();
        assert_eq!(address, Some("https://portal.test/unpause?jwt=a.b"));
    }

    #[test]
    fn a_429_of_something_else_than_the_authority_is_no_limit_of_it() {
        for body in ["", "<html>Slow down, see https://proxy.test</html>", "{}"] {
            let error = answer(429, body).sort(ORDER, NOW);
            assert_eq!(error.kind, AuthorityErrorKind::Unavailable, "{body}");
            assert_eq!(error.problem.instance, None);
        }
    }

    #[test]
    fn a_conflict_means_what_was_asked_for() {
        use AuthorityErrorKind as K;
        let conflict = |about| document(409, "conflict", "so it is").sort(about, NOW).kind;
        assert_eq!(conflict(ORDER), K::Refused);
        assert_eq!(conflict(About::Respond), K::AlreadyResponded);
        assert_eq!(conflict(About::Finalize(&[])), K::NotReady);
        let page = answer(409, "<html>").sort(About::Respond, NOW);
        assert_eq!(page.kind, K::Failed);
        let other = document(403, "unauthorized", "").sort(About::Respond, NOW);
        assert_eq!(other.kind, K::Refused);
    }

    #[test]
    fn an_address_for_a_person_is_told_once() {
        let say = |kind: &str, detail: &str, instance: Option<&str>, terms: Option<&str>| {
            let document = serde_json::json!({
                "type": format!("{NAMESPACE}{kind}"), "detail": detail, "instance": instance,
            });
            let mut failure = answer(403, document.to_string());
            failure.terms = terms.map(str::to_owned);
            failure.sort(ORDER, NOW).to_string()
        };
        let address = Some("https://ca.test/terms");
        let action = "userActionRequired";
        let told = say(action, "new terms", address, None);
        assert_eq!(told, "userActionRequired: new terms; see https://ca.test/terms");
        let told = say(action, "agree to https://ca.test/terms.", address, None);
        assert_eq!(told, "userActionRequired: agree to https://ca.test/terms.");
        let told = say(action, "new terms", address, Some("https://ca.test/other"));
        assert!(!told.contains("other"), "{told}");
        let told = say(action, "new terms", None, address);
        assert_eq!(told, "userActionRequired: new terms; see https://ca.test/terms");
        // They are no news to somebody whose account is closed.
        let told = say("unauthorized", "closed", None, address);
        assert_eq!(told, "unauthorized: closed");
    }

    #[test]
    fn terms_of_service_are_found_among_other_links() {
        let terms = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(LINK, http::HeaderValue::from_static(value));
            }
            terms_of_service(&headers)
        };
        let index = r#"<https://ca.test/directory>;rel="index""#;
        let found = Some("https://ca.test/a,b".to_owned());
        for link in [
            r#"<https://ca.test/a,b>;rel="terms-of-service""#,
            "<https://ca.test/a,b> ; title=x; rel=terms-of-service",
            r#"<https://ca.test/x>;rel="up", <https://ca.test/a,b>; rel="next terms-of-service""#,
        ] {
            assert_eq!(terms(&[index, link]), found, "{link}");
        }
        for link in [index, "", "<", ">;rel=terms-of-service", "<a;rel=terms-of-service"] {
            assert_eq!(terms(&[link]), None, "{link}");
        }
    }

    #[test]
    fn names_that_are_singled_out_are_kept_with_what_is_said_of_each() {
        let body = r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no","subproblems":
            [{"type":"urn:ietf:params:acme:error:caa","detail":"blocked","identifier":{"type":"dns","value":"a.example.com"}}, {}]}"#;
        let problem = answer(400, body).sort(ORDER, NOW).problem;
        assert_eq!(problem.kind, "rejectedIdentifier");
        let sub = Subproblem { kind: "caa".to_owned(), detail: "blocked".to_owned() };
        assert_eq!(problem.names, [("a.example.com".parse().unwrap(), sub)]);
        assert_eq!(problem.to_string(), "rejectedIdentifier: no; a.example.com: blocked");
    }

    #[test]
    fn a_problem_is_about_the_names_that_its_text_mentions() {
        let order = names("example.com www.example.com b.example.org");
        let about = |detail: &str| {
            let failure = document(400, "rejectedIdentifier", detail);
            let problem = failure.sort(About::Order(&order), NOW).problem;
            assert_eq!(problem.to_string(), format!("rejectedIdentifier: {detail}"));
            let about = problem.names.into_iter().map(|(name, _)| name.to_string());
            about.collect::<Vec<_>>().join(" ")
        };
        for (detail, expected) in [
            ("Cannot issue for \"www.example.com\": policy forbids", "www.example.com"),
            (
                "too many failed authorizations (5) for \"b.example.org\" in the last 1h0m0s",
                "b.example.org",
            ),
            ("see example.com.", "example.com"),
            ("a.www.example.com is none of them", ""),
            (
                "too many certificates (50) already issued for \"example.com\" in the last 168h0m0s",
                "example.com www.example.com",
            ),
            ("too many certificates (5) already issued for this exact set of identifiers", ""),
        ] {
            assert_eq!(about(detail), expected, "{detail}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_answer_has_a_reaction_and_one_line(
            status in 0_u16..1000,
            kind in "(urn:ietf:params:acme:error:)?.{0,40}",
            detail in "(retry after |https://)?.{0,3000}",
            name in ".{0,300}",
            retry_after in proptest::option::of(0_i64..i64::MAX / 2),
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000),
            is_noise in proptest::prelude::any::<bool>(),
            is_of_order in proptest::prelude::any::<bool>(),
        ) {
            let document = serde_json::json!({
                "type": kind, "detail": detail, "instance": detail,
                "subproblems": [{"detail": detail, "identifier": {"type": "dns", "value": name}}],
            });
            let body = if is_noise { noise } else { document.to_string().into_bytes() };
            let failure = Failure {
                retry_after: retry_after.map(|time| RetryAfter::In(Duration::seconds(time))),
                ..answer(status, body)
            };
            let about = if is_of_order { ORDER } else { About::Authority(DIRECTORY) };
            let error = failure.sort(about, NOW);
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
            assert!(text.chars().count() < 10_000, "{}", text.len());
            if let Some(at) = error.not_before {
                assert!(NOW < at && at <= NOW + schedule::LONGEST_LIMIT);
            }
        }
    }
}

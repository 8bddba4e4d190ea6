//! Problem documents, as the authority sent them.

use http::HeaderMap;
use http::header::LINK;
use serde::Deserialize;

use crate::client::one_line;
use crate::names::DomainName;
use crate::ports::AuthorityError;
use crate::ports::Problem;
use crate::ports::RetryAfter;

/// How much is shown of a page that is no problem document.
const LONGEST_PAGE: usize = 200;

const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// An answer that was not a success.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) retry_after: Option<RetryAfter>,
    /// Where its terms of service are, if it links to them.
    pub(super) terms: Option<String>,
    pub(super) body: Vec<u8>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    instance: Option<String>,
    #[serde(default)]
    subproblems: Vec<Subdocument>,
}

#[derive(Deserialize)]
struct Subdocument {
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    identifier: Option<Identifier>,
}

#[derive(Deserialize)]
struct Identifier {
    value: String,
}

fn kind(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    one_line(text.strip_prefix(NAMESPACE).unwrap_or(text))
}

/// A problem of our own making.
pub(super) fn local(kind: &str, detail: &str) -> Problem {
    Problem {
        kind: kind.to_owned(),
        detail: one_line(detail),
        instance: None,
        names: Vec::new(),
    }
}

/// A problem inside a resource.
pub(super) fn from(problem: &instant_acme::Problem) -> Problem {
    let names = problem
        .subproblems
        .iter()
        .filter_map(|sub| match &sub.identifier {
            Some(instant_acme::Identifier::Dns(name)) => Some((
                name.parse().ok()?,
                one_line(sub.detail.as_deref().unwrap_or_default()),
            )),
            Some(_) | None => None,
        });
    Problem {
        kind: kind(problem.r#type.as_deref()),
        detail: one_line(problem.detail.as_deref().unwrap_or_default()),
        instance: None,
        names: names.collect(),
    }
}

impl Failure {
    /// Sorts the answer by what one does about it.
    pub(super) fn sort(self) -> AuthorityError {
        let problem = self.problem();
        let said = format!("{} {problem}", self.status);
        // A page of a proxy or of another server says nothing about an order, nor of a limit of the authority.
        if !self.is_document() {
            return AuthorityError::Unavailable {
                retry_after: self.retry_after,
                detail: said,
            };
        }
        match (self.status, problem.kind.as_str()) {
            // Overload may carry the type of a rate limit; only the status tells the two apart.
            (300..=399 | 500.., _) => AuthorityError::Unavailable {
                retry_after: self.retry_after,
                detail: said,
            },
            (400, "badNonce") => AuthorityError::Unavailable {
                retry_after: None,
                detail: said,
            },
            (429, _) | (_, "rateLimited") => {
                let retry_after = self.retry_after.or_else(|| date_in(&problem.detail));
                AuthorityError::RateLimited {
                    retry_after,
                    detail: problem.detail,
                }
            }
            (_, "accountDoesNotExist") => AuthorityError::AccountUnknown(problem.detail),
            (_, "orderNotReady") => AuthorityError::NotReady(problem.detail),
            (404, _) => AuthorityError::Gone(said),
            _ => AuthorityError::Refused(problem),
        }
    }

    /// The same for an answer to a request about something that may be in hand already: what a 409 means there.
    pub(super) fn sort_with(self, in_hand: fn(String) -> AuthorityError) -> AuthorityError {
        if self.status == 409 && self.is_document() {
            return in_hand(self.problem().detail);
        }
        self.sort()
    }

    /// Whether the authority answered, and not something in its place: the types of its problem documents are
    /// those of ACME (RFC 8555, section 6.7).
    fn is_document(&self) -> bool {
        serde_json::from_slice::<Document>(&self.body).is_ok_and(|document| {
            document
                .kind
                .is_some_and(|kind| kind.starts_with(NAMESPACE))
        })
    }

    /// The same for an answer to a request that every account makes at the start: what is missing is no order.
    pub(super) fn sort_at(self, directory: &str) -> AuthorityError {
        let is_no_directory =
            matches!(self.status, 404 | 405 | 410) || self.status < 429 && !self.is_document();
        let error = self.sort();
        if is_no_directory {
            return no_directory(directory, &error.to_string());
        }
        if let AuthorityError::Unavailable {
            retry_after,
            detail,
        } = error
        {
            let detail = format!("{directory}: {detail}");
            return AuthorityError::Unavailable {
                retry_after,
                detail,
            };
        }
        error
    }

    fn problem(&self) -> Problem {
        match serde_json::from_slice::<Document>(&self.body) {
            Ok(document) => {
                let names = document.subproblems.into_iter().filter_map(|sub| {
                    let name: DomainName = sub.identifier?.value.parse().ok()?;
                    Some((name, one_line(&sub.detail.unwrap_or_default())))
                });
                let kind = kind(document.kind.as_deref());
                // New terms are also linked to (RFC 8555, section 7.3.3).
                let terms = self.terms.clone().filter(|_| kind == "userActionRequired");
                Problem {
                    kind,
                    instance: document.instance.or(terms).as_deref().map(one_line),
                    detail: one_line(&document.detail.unwrap_or_default()),
                    names: names.collect(),
                }
            }
            Err(_) => {
                let start = &self.body[..self.body.len().min(LONGEST_PAGE)];
                let start = String::from_utf8_lossy(start);
                local(
                    "",
                    &format!("an answer that is no problem document: {start}"),
                )
            }
        }
    }
}

/// What stands at a URL that was given as a directory is none.
pub(super) fn no_directory(directory: &str, why: &str) -> AuthorityError {
    let detail = format!(
        "{directory} is no ACME directory ({why}): check ACME_DIRECTORY or ACME_STAGING_DIRECTORY, whichever it is"
    );
    AuthorityError::Unavailable {
        retry_after: None,
        detail: one_line(&detail),
    }
}

/// Where an answer says that the terms of service are (RFC 8288).
pub(super) fn terms_of_service(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).iter();
    let links = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split('<').skip(1));
    let is_terms = |parameter: &str| {
        let relation = parameter.trim().strip_prefix("rel=").unwrap_or_default();
        let mut relations = relation.trim_matches('"').split_ascii_whitespace();
        relations.any(|relation| relation.eq_ignore_ascii_case("terms-of-service"))
    };
    let mut terms = links.filter_map(|link| {
        let (address, parameters) = link.split_once('>')?;
        parameters
            .split([';', ','])
            .any(is_terms)
            .then_some(address)
    });
    terms.next().map(str::to_owned)
}

/// "retry after 2026-11-22 12:00:00 UTC", as Boulder writes it.
fn date_in(detail: &str) -> Option<RetryAfter> {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let text = detail.split_once("retry after ")?.1.get(..19)?;
    time::PrimitiveDateTime::parse(text, format)
        .ok()
        .map(|at| RetryAfter::At(at.assume_utc()))
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    fn answer(status: u16, body: impl Into<Vec<u8>>) -> Failure {
        Failure {
            status,
            retry_after: None,
            terms: None,
            body: body.into(),
        }
    }

    fn document(status: u16, kind: &str, detail: &str) -> Failure {
        let body = format!(r#"{{"type":"{NAMESPACE}{kind}","detail":"{detail}"}}"#);
        answer(status, body)
    }

    fn sort(status: u16, kind: &str, detail: &str) -> AuthorityError {
        document(status, kind, detail).sort()
    }

    #[test]
    fn answers_are_sorted_by_reaction() {
        use AuthorityError as E;
        assert!(matches!(
            sort(503, "rateLimited", "Service busy"),
            E::Unavailable { .. }
        ));
        assert!(matches!(
            sort(500, "serverInternal", ""),
            E::Unavailable { .. }
        ));
        assert!(matches!(sort(400, "badNonce", ""), E::Unavailable { .. }));
        assert!(matches!(
            sort(400, "accountDoesNotExist", ""),
            E::AccountUnknown(_)
        ));
        assert!(matches!(sort(403, "orderNotReady", ""), E::NotReady(_)));
        assert!(matches!(sort(404, "malformed", ""), E::Gone(_)));
        assert!(matches!(sort(403, "unauthorized", ""), E::Refused(_)));
        let html = answer(502, "<html>\n").sort();
        assert!(matches!(html, E::Unavailable { .. }) && !html.to_string().contains('\n'));
    }

    #[test]
    fn only_the_authority_itself_can_say_that_an_order_is_gone() {
        for (status, body) in [
            (404, "<html>"),
            (404, ""),
            (404, "{}"),
            (404, r#"{"type":"about:blank","detail":"no route"}"#),
            (403, "<html>"),
        ] {
            let failure = || answer(status, body);
            let text = failure().sort_at("https://ca.test/dir").to_string();
            assert!(text.contains("https://ca.test/dir is no ACME directory"));
            assert!(
                matches!(failure().sort(), AuthorityError::Unavailable { .. }),
                "{status} {body}"
            );
        }
        let at_directory = document(404, "malformed", "Page not found");
        let at_directory = at_directory.sort_at("https://ca.test/dir");
        assert!(matches!(at_directory, AuthorityError::Unavailable { .. }));
        assert!(at_directory.to_string().contains("ACME_DIRECTORY"));
    }

    #[test]
    fn a_rate_limit_is_read_from_header_or_text() {
        let text = "too many certificates, retry after 2026-11-23 01:02:03 UTC: see https://x.test";
        let at = RetryAfter::At(datetime!(2026-11-23 01:02:03 UTC));
        let limited = |error| {
            let AuthorityError::RateLimited { retry_after, .. } = error else {
                panic!("{error:?}")
            };
            retry_after
        };
        assert_eq!(limited(sort(429, "rateLimited", text)), Some(at));
        assert_eq!(
            limited(sort(
                429,
                "rateLimited",
                "Please visit: https://x.test/unpause"
            )),
            None
        );
        let header = Some(RetryAfter::In(Duration::minutes(1)));
        let failure = Failure {
            retry_after: header,
            ..document(429, "rateLimited", "")
        };
        assert_eq!(limited(failure.sort()), header);
    }

    #[test]
    fn a_429_of_something_else_than_the_authority_is_no_limit_of_it() {
        for body in ["", "<html>Slow down, see https://proxy.test</html>", "{}"] {
            for header in [None, Some(RetryAfter::In(Duration::minutes(1)))] {
                let failure = Failure {
                    retry_after: header,
                    ..answer(429, body)
                };
                let AuthorityError::Unavailable { retry_after, .. } = failure.sort() else {
                    panic!("{body}")
                };
                assert_eq!(retry_after, header);
            }
        }
    }

    #[test]
    fn a_conflict_means_what_was_asked_for() {
        use AuthorityError as E;
        let conflict = || document(409, "conflict", "so it is");
        assert!(matches!(conflict().sort(), E::Refused(_)));
        let told = conflict().sort_with(E::AlreadyTold);
        assert_eq!(told, E::AlreadyTold("so it is".to_owned()));
        let page = answer(409, "<html>").sort_with(E::AlreadyTold);
        assert!(matches!(page, E::Unavailable { .. }));
        let other = document(403, "unauthorized", "").sort_with(E::AlreadyTold);
        assert!(matches!(other, E::Refused(_)));
    }

    #[test]
    fn an_address_for_a_person_is_told_once() {
        let say = |kind: &str, detail: &str, instance: &str, terms: Option<&str>| {
            let document = serde_json::json!({
                "type": format!("{NAMESPACE}{kind}"), "detail": detail, "instance": instance,
            });
            let mut failure = answer(403, document.to_string());
            failure.terms = terms.map(str::to_owned);
            failure.sort().to_string()
        };
        let address = "https://ca.test/terms";
        let action = "userActionRequired";
        let told = say(action, "new terms", address, None);
        assert_eq!(
            told,
            "userActionRequired: new terms; see https://ca.test/terms"
        );
        let told = say(action, "agree to https://ca.test/terms.", address, None);
        assert_eq!(told, "userActionRequired: agree to https://ca.test/terms.");
        let told = say(action, "new terms", address, Some("https://ca.test/other"));
        assert!(!told.contains("other"), "{told}");

        let mut failure = document(403, action, "new terms");
        failure.terms = Some(address.to_owned());
        let told = failure.sort().to_string();
        assert_eq!(
            told,
            "userActionRequired: new terms; see https://ca.test/terms"
        );
        // They are no news to somebody whose account is closed.
        let mut failure = document(403, "unauthorized", "closed");
        failure.terms = Some(address.to_owned());
        assert_eq!(failure.sort().to_string(), "unauthorized: closed");
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
        for link in [
            index,
            "",
            "<",
            ">;rel=terms-of-service",
            "<a;rel=terms-of-service",
        ] {
            assert_eq!(terms(&[link]), None, "{link}");
        }
    }

    #[test]
    fn names_that_are_singled_out_are_kept() {
        let body = br#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no","subproblems":
            [{"type":"x","detail":"blocked","identifier":{"type":"dns","value":"a.example.com"}}, {}]}"#;
        let AuthorityError::Refused(problem) = answer(400, body).sort() else {
            panic!()
        };
        assert_eq!(problem.kind, "rejectedIdentifier");
        assert_eq!(
            problem.names,
            [("a.example.com".parse().unwrap(), "blocked".to_owned())]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_answer_has_a_reaction_and_one_line(
            status in 0_u16..1000,
            kind in ".{0,40}",
            detail in "(retry after )?.{0,3000}",
            name in ".{0,300}",
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000),
            is_noise in proptest::prelude::any::<bool>(),
        ) {
            let document = serde_json::json!({
                "type": kind, "detail": detail, "instance": detail,
                "subproblems": [{"detail": detail, "identifier": {"type": "dns", "value": name}}],
            });
            let body = if is_noise { noise } else { document.to_string().into_bytes() };
            let error = answer(status, body).sort();
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.chars().count() < 10_000, "{}", text.len());
        }
    }
}

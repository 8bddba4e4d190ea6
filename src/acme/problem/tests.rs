//! What answers of all kinds come to.

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

//! Each kind of failure, from the answer over the real daemon to what is on record: whose clock, which kind, how long.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::Response;
use rancher_lets_encrypt::core::reaction;
use rancher_lets_encrypt::core::reaction::FailureKind;
use rancher_lets_encrypt::core::reaction::TABLE;
use sandbox::authority::problem::Problem;
use sandbox::authority::problem::RetryAfter;
use sandbox::faults::RetryAfter as Form;
use sandbox::faults::What;
use sandbox::parts::port::Port;
use serde_json::Value;
use serde_json::json;

use crate::support::Daemon;
use crate::support::World;
use crate::support::look::look;
use crate::support::platform::answer;
use crate::support::platform::status;
use crate::support::records::moment;

const NAME: &str = "a.example.com";

/// What is answered, and where.
enum At {
    /// What comes from an endpoint of the authority, each time.
    Authority(&'static str, What),
    /// What a validation ends with.
    Validation(Problem),
    /// What Rancher answers when a certificate is made there.
    Rancher(What),
    /// The challenge path of the name leads elsewhere.
    Elsewhere,
    /// The challenge file cannot be written.
    Webroot,
}

/// An answer, and what is to be on record then: the kind of subject, the kind of failure, the minutes of the wait.
struct Case(At, &'static str, &'static str, i64);

const DAY: i64 = 24 * 60;
const CREATE: &str = "create-certificate";

fn authority(endpoint: &'static str, status: u16, kind: &'static str, detail: &str) -> At {
    problem(endpoint, &Problem::new(status, kind, detail))
}

fn problem(endpoint: &'static str, problem: &Problem) -> At {
    At::Authority(endpoint, What::Answer(problem.response()))
}

fn order(status: u16, kind: &'static str) -> At {
    authority("new-order", status, kind, "so it is")
}

fn limited(detail: &str, retry_after: Option<RetryAfter>) -> At {
    let limit = Problem::new(429, "rateLimited", detail);
    let limit = Problem { retry_after, ..limit };
    problem("new-order", &limit)
}

fn overloaded(retry_after: RetryAfter) -> At {
    let busy = Problem::new(503, "rateLimited", "Service busy; retry later.");
    problem("new-order", &busy.retry_after(retry_after))
}

/// A date that is an hour ahead whenever the answer is made.
fn in_an_hour() -> At {
    let later =
        What::Later { status: 503, after: std::time::Duration::from_secs(3600), form: Form::Date };
    At::Authority("new-order", later)
}

/// What a load balancer answers in front of an authority.
fn page(status: u16, retry_after: Option<&str>) -> At {
    let page = Response::builder().status(status);
    let page = match retry_after {
        Some(value) => page.header("retry-after", value),
        None => page,
    };
    let page = page.body(Bytes::from_static(b"<html>no</html>")).unwrap();
    At::Authority("new-order", What::Answer(page))
}

fn validation(status: u16, kind: &'static str) -> At {
    At::Validation(Problem::new(status, kind, "so it was"))
}

fn account(status: u16, kind: &'static str) -> At {
    authority("new-account", status, kind, "so it is")
}

fn finalize(status: u16, kind: &'static str) -> At {
    authority("finalize", status, kind, "so it is")
}

fn rancher(code: &str) -> At {
    let error = json!({"type": "error", "status": 422, "code": code, "fieldName": "name"});
    At::Rancher(answer(422, error.to_string()))
}

/// Every row of the table whose failures stay on record.
fn cases() -> Vec<Case> {
    const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let hour = RetryAfter::Seconds(3600);
    let several = Problem::malformed("Cannot issue for several");
    let several = several.because(vec![(NAME.to_owned(), Problem::malformed("too many labels"))]);
    let caa = Problem::new(403, "caa", "CAA record for a.example.com prevents issuance");
    let lost_caa = "While processing CAA for a.example.com: DNS problem: SERVFAIL looking up CAA for example.com";
    let lost_caa = Problem::new(403, "caa", lost_caa);
    vec![
        // No usable answer.
        Case(order(500, "serverInternal"), "attempt", "failed", 1),
        Case(page(500, None), "attempt", "failed", 1),
        Case(At::Authority("new-nonce", status(500)), "attempt", "no-answer", 1),
        Case(At::Authority("directory", status(404)), "attempt", "no-directory", 1),
        Case(order(400, "badNonce"), "attempt", "bad-nonce", 1),
        Case(page(503, None), "attempt", "no-answer", 1),
        Case(page(503, Some("0")), "attempt", "no-answer", 1),
        Case(page(503, Some(PAST)), "attempt", "no-answer", 1),
        Case(page(429, None), "attempt", "no-answer", 1),
        Case(page(403, None), "attempt", "failed", 1),
        Case(page(503, Some("600")), "attempt", "overloaded", 10),
        Case(page(429, Some("600")), "attempt", "overloaded", 10),
        Case(overloaded(hour), "attempt", "overloaded", 60),
        Case(in_an_hour(), "attempt", "overloaded", 60),
        // Limits.
        Case(limited("too many certificates", Some(hour)), "name", "limited", 60),
        Case(limited("too many certificates", None), "name", "limited", 1),
        Case(limited("too many certificates", Some(RetryAfter::Seconds(0))), "name", "limited", 1),
        Case(
            limited("too many new orders (300) from this account", Some(hour)),
            "account",
            "account-limited",
            60,
        ),
        Case(
            limited("too many new orders (300): see https://ca.test/limits", None),
            "account",
            "account-limited",
            1,
        ),
        Case(limited("Please visit: https://ca.test/unpause", None), "name", "paused", DAY),
        // The account.
        Case(account(400, "externalAccountRequired"), "account", "action-required", 1),
        Case(account(400, "invalidContact"), "account", "contact-refused", 1),
        Case(account(400, "unsupportedContact"), "account", "contact-refused", 1),
        Case(account(400, "badPublicKey"), "account", "account-not-made", 1),
        Case(account(400, "malformed"), "account", "account-not-made", 1),
        Case(account(403, "unauthorized"), "account", "account-refused", 1),
        Case(order(403, "userActionRequired"), "account", "action-required", 1),
        Case(order(403, "unauthorized"), "account", "account-refused", 1),
        Case(order(400, "accountDoesNotExist"), "attempt", "account-unknown", 1),
        // An order.
        Case(order(400, "rejectedIdentifier"), "name", "name-refused", DAY),
        Case(order(400, "unsupportedIdentifier"), "name", "name-refused", DAY),
        Case(problem("new-order", &several), "name", "name-refused", DAY),
        Case(order(400, "malformed"), "name", "misunderstood", DAY),
        Case(order(400, "invalidProfile"), "name", "misunderstood", DAY),
        Case(order(409, "conflict"), "name", "refused", 1),
        Case(order(409, "alreadyReplaced"), "name", "refused", 1),
        Case(order(400, "somethingNew"), "name", "refused", 1),
        Case(authority("authorization", 404, "malformed", "expired"), "attempt", "order-gone", 1),
        // Validations.
        Case(validation(400, "connection"), "name", "unreachable", 1),
        Case(validation(400, "tls"), "name", "unreachable", 1),
        Case(validation(400, "dns"), "name", "no-address", 1),
        Case(validation(403, "caa"), "name", "caa", DAY),
        Case(At::Validation(lost_caa.clone()), "name", "caa-lookup", 1),
        Case(validation(403, "unauthorized"), "name", "wrong-answer", 1),
        Case(validation(400, "incorrectResponse"), "name", "wrong-answer", 1),
        Case(validation(429, "rateLimited"), "name", "invalid", 1),
        Case(validation(500, "serverInternal"), "name", "invalid", 1),
        // Finalizing.
        Case(finalize(400, "badCSR"), "name", "key-refused", DAY),
        Case(finalize(400, "badSignatureAlgorithm"), "name", "key-refused", DAY),
        // It is this order that is not authorized: the account of all others is not in question.
        Case(finalize(403, "unauthorized"), "name", "refused", 1),
        Case(problem("finalize", &caa), "name", "caa", DAY),
        Case(problem("finalize", &lost_caa), "name", "caa-lookup", 1),
        // Ourselves.
        Case(At::Elsewhere, "self-check", "self-check", 5),
        Case(At::Webroot, "attempt", "disk", 5),
        // Rancher.
        Case(At::Rancher(status(401)), "push", "destination-denied", 5),
        Case(At::Rancher(status(403)), "push", "destination-denied", 5),
        Case(At::Rancher(status(409)), "push", "destination-busy", 5),
        Case(At::Rancher(status(500)), "push", "destination-away", 5),
        Case(At::Rancher(What::Close), "push", "destination-away", 5),
        Case(rancher("NotUnique"), "push", "destination-busy", 5),
        Case(rancher("InvalidFormat"), "push", "destination-refused", 5),
    ]
}

impl At {
    fn arrange(self, world: &World) {
        match self {
            Self::Authority(endpoint, what) => {
                world.production.faults().add(endpoint, u32::MAX, what);
            }
            Self::Validation(problem) => {
                world.production.set(|settings| settings.validation_error = Some(problem))
            }
            Self::Rancher(what) => world.rancher.faults().add(CREATE, u32::MAX, what),
            Self::Elsewhere => {
                world.web.settings(|settings| settings.missing_hosts.push(NAME.to_owned()))
            }
            // Where a folder is to be made.
            Self::Webroot => std::fs::write(world.webroot().join(".well-known"), "").unwrap(),
        }
    }
}

/// A daemon that does not come back within a test to what has failed.
fn start(world: &World) -> Daemon {
    let settings = world.settings().with("LOOP_TIME", "300");
    settings.with("DOMAINS", NAME).start()
}

/// What a person is told to do about a kind, as it stands behind an error in the log.
fn advice(kind: &str) -> String {
    let row = TABLE.iter().map(|row| row.kind);
    let mut found = row.filter(|of_row| reaction::word(Some(*of_row)) == kind);
    let advice = found.next().and_then(FailureKind::advice);
    advice.map_or_else(String::new, |advice| format!("({advice})"))
}

/// Answers how the case differs from what is expected, if it does.
async fn check(number: usize, case: Case) -> Option<String> {
    let Case(at, subject, kind, minutes) = case;
    let world = World::start().await;
    at.arrange(&world);
    let mut daemon = start(&world);
    let line = daemon.says("certificate not done").await;
    let text = daemon.kill().await;
    let error = line["error"].as_str().unwrap_or_default();
    let found = world.failures(subject).pop();
    let seen = found.as_ref().map(|wait| (wait.failure_kind.as_str(), wait.minutes()));
    let is_told = error.contains(&advice(kind));
    if seen == Some((kind, minutes)) && is_told {
        return None;
    }
    let expected = (subject, kind, minutes);
    let ledger = world.ledger();
    Some(format!("case {number}: {expected:?}, not {seen:?}: {error}\n{ledger:#?}\n{text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_failure_is_on_record_as_the_table_has_it() {
    let cases = cases().into_iter().enumerate();
    let checks = cases.map(|(number, case)| check(number, case));
    let differ: Vec<Option<String>> = stream::iter(checks).buffer_unordered(8).collect().await;
    let differ: Vec<String> = differ.into_iter().flatten().collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

#[test]
fn every_row_of_the_table_has_a_case() {
    let cases = cases();
    let mut covered: BTreeSet<&str> = cases.iter().map(|case| case.2).collect();
    // Nothing waits for these on record: the next test shows the first, and `orders` and `machine` the others.
    covered.extend(["wrong-certificate", "being-validated", "not-ready", "order-stuck"]);
    for row in TABLE {
        let word = reaction::word(Some(row.kind));
        assert!(covered.contains(word.as_str()), "no case makes {word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_certificate_is_shown_with_its_kind_for_a_day_over_a_restart() {
    let world = World::start().await;
    world.production.set(|settings| settings.wrong_key = true);
    for start in ["first", "second"] {
        let settings = world.settings().with("DOMAINS", NAME);
        let (mut daemon, port) = settings.start_seen().await;
        daemon.mentions("a certificate that cannot be used").await;
        daemon.rests().await;
        let page = look(&port, "/status.json").await;
        let status: Value = serde_json::from_str(&page.body).unwrap();
        let shown = &status["certificates"][0];
        assert_eq!(shown["problem"]["kind"], "wrong-certificate", "{start}");
        assert!(shown["problem"]["advice"].is_string(), "{shown}");
        // From when it came, however late it is looked at.
        let received = moment(&world.pending(NAME).unwrap()["received"]["at"]);
        let wait = moment(&shown["next"]["at"]) - received;
        assert_eq!(wait.whole_minutes(), DAY, "{shown}");
    }
}

/// What `explain` and `status` say as well: both read this document.
async fn shown_problem(daemon: &mut Daemon, port: &Port) -> Value {
    daemon.says("certificate not done").await;
    daemon.rests().await;
    let page = look(port, "/status.json").await;
    let status: Value = serde_json::from_str(&page.body).unwrap();
    status["certificates"][0]["problem"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_to_do_is_told_after_every_failure() {
    let failures = [
        (page(503, None), "no-answer"),
        (page(500, None), "failed"),
        (At::Authority("directory", status(404)), "no-directory"),
        (validation(400, "connection"), "unreachable"),
        (order(400, "rejectedIdentifier"), "name-refused"),
        (At::Elsewhere, "self-check"),
    ];
    let told = async |(at, kind): (At, &str)| {
        let world = World::start().await;
        at.arrange(&world);
        for failure in 1..=3 {
            let settings = world.settings().with("DOMAINS", NAME);
            let (mut daemon, port) = settings.start_seen().await;
            let problem = shown_problem(&mut daemon, &port).await;
            let text = daemon.kill().await;
            assert_eq!(problem["kind"], kind, "{failure}: {problem}\n{text}");
            assert!(problem["advice"].is_string(), "{failure}: {problem}");
            world.end_waits();
        }
    };
    stream::iter(failures).for_each_concurrent(3, told).await;
}

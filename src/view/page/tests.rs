use serde_json::Value;
use time::Duration;
use time::macros::datetime;

use super::*;
use crate::view::status::Part;
use crate::view::status::Program;
use crate::view::status::Setting;
use crate::view::status::authority::Authority;
use crate::view::status::authority::Budget;
use crate::view::status::authority::Wait;
use crate::view::status::authority::Waiting;
use crate::view::status::certificate::Certificate;
use crate::view::status::certificate::LastTry;
use crate::view::status::certificate::Next;
use crate::view::status::certificate::Problem;
use crate::view::status::certificate::Whole;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00:05 UTC);

fn running() -> Status {
    let program = Program { destination: "Rancher".to_owned(), ..Program::default() };
    let mut status = Status::before(&program, Phase::Starting, NOW);
    status.phase = Phase::Running;
    status.health = Health::Ok;
    status.sentence = "OK.".to_owned();
    status
}

fn certificate(name: &str, health: Health) -> Certificate {
    let whole = |fingerprint: &str| {
        Copy::Whole(Whole {
            issuer: "R11".to_owned(),
            names: vec!["other".to_owned()],
            not_before: NOW - Duration::days(30),
            not_after: NOW + Duration::days(60),
            fingerprint: fingerprint.to_owned(),
            is_self_signed: true,
            is_staging: true,
        })
    };
    Certificate {
        name: name.to_owned(),
        names: vec![name.to_owned(), "other".to_owned()],
        origins: vec!["stack/service".to_owned()],
        health,
        action: "keep".to_owned(),
        reason: "because".to_owned(),
        problem: Some(problem("https://ca.example/x")),
        last_try: Some(LastTry {
            at: NOW,
            what: "push".to_owned(),
            error: Some("refused".to_owned()),
        }),
        next: Some(Next { at: NOW, what: "renewal".to_owned() }),
        on_disk: whole("disk"),
        at_destination: whole("destination"),
        balancers: Some(vec!["stack/balancer".to_owned()]),
        renewal_due_at: Some(NOW + Duration::days(30)),
        expires_at: Some(NOW + Duration::days(60)),
    }
}

fn problem(link: &str) -> Problem {
    Problem {
        what: "something".to_owned(),
        kind: None,
        advice: Some("do `this`".to_owned()),
        needs_person: true,
        link: Some(link.to_owned()),
    }
}

fn budget(number: u32) -> Budget {
    Budget {
        what: format!("new certificates for n{number}"),
        kind: "domain".to_owned(),
        used: 1,
        limit: 50,
        window_seconds: 604_800,
        refills_at: NOW,
        full_at: NOW,
    }
}

/// Something of everything.
fn full() -> Status {
    let mut broken = certificate("b", Health::AtRisk);
    broken.on_disk = Copy::Broken { why: "torn".to_owned() };
    broken.at_destination = Copy::Unknown { why: "not read".to_owned() };
    let mut status = running();
    status.certificates = vec![broken, certificate("a", Health::Ok)];
    status.notices = vec!["left out".to_owned()];
    status.authorities = vec![Authority {
        directory: "https://ca.example/directory".to_owned(),
        is_wanted: true,
        keeps_limits: true,
        budgets: (0..25).map(budget).collect(),
        waits: vec![Wait {
            kind: Waiting::Name,
            about: "a".to_owned(),
            until: NOW,
            failures: 2,
            problem: problem("https://ca.example/x"),
        }],
    }];
    status.dependencies = vec![Part {
        name: "destination".to_owned(),
        health: Health::Attention,
        detail: "away".to_owned(),
        advice: Some("check `CATTLE_URL`".to_owned()),
        since: None,
    }];
    status.settings = vec![Setting { name: "DOMAINS".to_owned(), value: "a".to_owned() }];
    status
}

fn title(status: &Status) -> String {
    let page = render(status).unwrap();
    let rest = page.split_once("<title>").unwrap().1;
    rest.split_once(" · ").unwrap().0.to_owned()
}

#[test]
fn the_title_says_the_state_first() {
    let with = |phase: Phase| Status::before(&Program::default(), phase, NOW);
    let text = || "text".to_owned();
    assert_eq!(title(&with(Phase::Starting)), "Starting");
    assert_eq!(title(&with(Phase::NotRunning)), "Not running");
    assert_eq!(title(&with(Phase::Waiting { reason: text() })), "Not started");
    assert_eq!(title(&with(Phase::StandingBy { holder: text() })), "Standing by");
    assert_eq!(title(&running()), "Nothing wanted");
    for (health, begins) in
        Health::ALL.into_iter().zip(["At risk", "Needs attention", "Waiting", "Working", "OK"])
    {
        let mut status = running();
        status.health = health;
        status.certificates = vec![certificate("a", health)];
        assert_eq!(title(&status), begins);
    }
}

#[test]
fn worst_ones_come_first_and_are_open() {
    let page = render(&full()).unwrap();
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}: {page}"));
    assert!(place("id=\"c-b\" class=\"card\" data-state=\"at-risk\" open>") < place("id=\"c-a\""));
    assert!(place("id=\"c-a\" class=\"card\" data-state=\"ok\">") < place("id=\"notices\""));
    assert!(page.contains("href=\"#at-risk\"") && page.contains("<h3 id=\"at-risk\""));
    assert_eq!(page.matches("<h1>").count(), 1);
}

#[test]
fn same_copies_and_problems_are_told_once() {
    let mut status = running();
    let mut same = certificate("a", Health::Ok);
    same.at_destination = same.on_disk.clone();
    same.reason = "something".to_owned();
    same.last_try.as_mut().unwrap().error = Some("something".to_owned());
    status.certificates = vec![same];
    let page = render(&status).unwrap();
    assert!(page.contains("<dt>On disk and at Rancher</dt>"), "{page}");
    assert_eq!(page.matches("something").count(), 1, "{page}");
    let page = render(&full()).unwrap();
    assert!(page.contains("<dt>On disk</dt>") && page.contains("<dt>At Rancher</dt>"));
}

#[test]
fn only_https_addresses_are_linked() {
    for link in ["javascript:alert(1)", "http://ca.example/", "//ca.example", ""] {
        let mut status = running();
        status.certificates = vec![certificate("a", Health::Attention)];
        status.certificates[0].problem = Some(problem(link));
        let page = render(&status).unwrap();
        assert!(!page.contains("class=\"button\""), "{link}");
    }
    let page = render(&full()).unwrap();
    let link = "href=\"https://ca.example/x\" rel=\"noreferrer noopener\"";
    assert!(page.contains(link), "{page}");
}

#[test]
fn many_limits_are_folded() {
    let page = render(&full()).unwrap();
    assert!(page.contains("and 5 more, of which more is left"), "{page}");
    assert_eq!(page.matches("new certificates for n").count(), 25);
}

/// Replaces every text that comes from elsewhere.
fn spoil(value: &mut Value, key: &str, with: &str) {
    let is_own = matches!(key, "is" | "health" | "kind") || key.ends_with("at") || key == "until";
    let is_time = key.starts_with("not_");
    match value {
        Value::String(text) if !is_own && !is_time => *text = with.to_owned(),
        Value::Array(all) => all.iter_mut().for_each(|one| spoil(one, key, with)),
        Value::Object(all) => all.iter_mut().for_each(|(key, one)| spoil(one, key, with)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The markup of a page: every tag, with names of attributes, without their values.
fn markup(page: &str) -> Vec<String> {
    let tags = page.split('<').skip(1).map(|rest| {
        let tag = rest.split('>').next().unwrap();
        let bare: Vec<&str> = tag.split('"').step_by(2).collect();
        bare.join("\"\"")
    });
    tags.collect()
}

#[test]
fn no_text_of_others_becomes_markup_anywhere() {
    let plain = {
        let mut value = serde_json::to_value(full()).unwrap();
        spoil(&mut value, "", "https://x");
        render(&serde_json::from_value(value).unwrap()).unwrap()
    };
    for hostile in [
        "https://x<script>alert(1)</script>",
        "https://x\" onfocus=alert(1) autofocus x=\"",
        "https://x' onfocus='alert(1)",
        "https://x</bdi></dd></title></svg><img src=x onerror=alert(1)>",
        "https://x<!-- ",
        "https://x`<b>`\u{202e}\0",
    ] {
        let mut value = serde_json::to_value(full()).unwrap();
        spoil(&mut value, "", hostile);
        let status: Status = serde_json::from_value(value).unwrap();
        let page = render(&status).unwrap();
        if hostile.contains('`') {
            assert!(!page.contains(['\u{202e}', '\0']), "{hostile}");
        } else {
            assert_eq!(markup(&page), markup(&plain), "{hostile}");
        }
        assert!(!page.contains("alert(1)>") && !page.contains("<b>`"), "{hostile}");
    }
}

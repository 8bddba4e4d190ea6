use time::macros::datetime;

use super::*;
use crate::core::certificate::CertificateChain;
use crate::view::notify::notice::Severity;
use crate::view::status::Program;
use crate::view::status::certificate::Copy;
use crate::view::status::certificate::Next;

mod many;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
const A: &str = "a.example.com";
const UNSURE: [&str; 4] = ["destination", "source", "balancers", "store"];

fn certificate(name: &str, health: Health) -> Certificate {
    Certificate {
        name: name.to_owned(),
        names: vec![name.to_owned()],
        origins: vec!["DOMAINS".to_owned()],
        health,
        action: "keep".to_owned(),
        reason: "the reason".to_owned(),
        problem: None,
        last_try: None,
        next: None,
        on_disk: Copy::Absent,
        at_destination: Copy::Absent,
        balancers: None,
        renewal_due_at: None,
        expires_at: Some(NOW + Duration::days(10)),
    }
}

fn problem(kind: Option<FailureKind>) -> Problem {
    let row = kind.map(FailureKind::row);
    Problem {
        what: "it broke".to_owned(),
        kind,
        advice: kind.and_then(FailureKind::advice).map(str::to_owned),
        needs_person: row.is_some_and(|row| row.reaction == Reaction::Person),
        link: None,
    }
}

fn failing(name: &str, kind: FailureKind) -> Certificate {
    Certificate { problem: Some(problem(Some(kind))), ..certificate(name, Health::Attention) }
}

fn part(name: &str, health: Health) -> Part {
    Part {
        name: name.to_owned(),
        health,
        detail: "it does not answer".to_owned(),
        advice: Some("look at it".to_owned()),
        since: None,
    }
}

fn status(certificates: Vec<Certificate>, dependencies: Vec<Part>) -> Status {
    let mut status = Status::before(&Program::default(), Phase::Running, NOW);
    status.certificates = certificates;
    status.dependencies = dependencies;
    status
}

/// Somebody who looks again and again, over restarts.
struct Teller {
    notified: Notified,
    now: OffsetDateTime,
}

impl Teller {
    fn new() -> Self {
        Self { notified: Notified::default(), now: NOW }
    }

    fn later(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn looks(&mut self, status: &Status) -> Vec<Notice> {
        let news = News::between(&self.notified, status, self.now);
        // As it is read back after a restart.
        let text = serde_json::to_string(&news.notified).unwrap();
        self.notified = serde_json::from_str(&text).unwrap();
        assert_eq!(self.notified, news.notified);
        // As an older build wrote it: else all of it would be sent again.
        let older = text.replace("\"notified\"", "\"told\"");
        assert_eq!(serde_json::from_str::<Notified>(&older).unwrap(), news.notified);
        news.notices
    }

    fn sees(&mut self, certificates: &[Certificate]) -> Vec<Notice> {
        self.looks(&status(certificates.to_vec(), Vec::new()))
    }

    #[track_caller]
    fn tells(&mut self, certificates: &[Certificate], kinds: &[Kind]) {
        let notices = self.sees(certificates);
        let notified: Vec<Kind> = notices.iter().map(|notice| notice.kind).collect();
        assert_eq!(notified, kinds, "{notices:#?}");
    }
}

#[test]
fn each_kind_of_problem_is_told_once_at_its_time() {
    for row in crate::core::reaction::TABLE {
        let mut teller = Teller::new();
        let sick = [failing(A, row.kind)];
        let kind = match row.reaction {
            Reaction::Person if row.kind == FailureKind::Paused => Kind::Paused,
            Reaction::Person => Kind::NeedsPerson,
            Reaction::Retry | Reaction::Wait | Reaction::Change => Kind::Failing,
        };
        let waits = match row.reaction {
            Reaction::Retry | Reaction::Wait => true,
            Reaction::Person => false,
            Reaction::Change => row.backoff == Backoff::Setback,
        };
        let (at_once, later) = if waits { (0, 1) } else { (1, 0) };
        teller.tells(&sick, &vec![kind; at_once]);
        teller.later(LASTING - Duration::SECOND).tells(&sick, &[]);
        teller.later(Duration::SECOND).tells(&sick, &vec![kind; later]);
        teller.later(LASTING).tells(&sick, &[]);
    }
}

#[test]
fn what_happened_what_to_do_and_what_comes_next_are_told() {
    let mut sick = failing(A, FailureKind::Unreachable);
    sick.next = Some(Next { at: NOW + Duration::MINUTE, what: "next try: Issue".to_owned() });
    let notified = Teller::new().sees(&[sick]).remove(0);
    assert_eq!(notified.title, "a.example.com fails");
    assert_eq!(notified.certificate.as_deref(), Some(A));
    assert_eq!(notified.severity, Severity::Warning);
    let lines: Vec<&str> = notified.text.lines().collect();
    assert_eq!(lines[0], "it broke");
    assert!(lines[1].starts_with("What to do: port 80"), "{}", notified.text);
    assert_eq!(
        lines[2..],
        [
            "Valid until: 2026-01-11T12:00:00Z (10 days left)",
            "Next try: Issue, at 2026-01-01T12:01:00Z"
        ]
    );
}

#[test]
fn the_address_of_the_authority_is_told() {
    let mut sick = failing(A, FailureKind::Paused);
    let link = "https://portal.test/unpause?jwt=x".to_owned();
    sick.problem.as_mut().unwrap().link = Some(link.clone());
    let notified = Teller::new().sees(&[sick]).remove(0);
    assert!(notified.text.contains(&link), "{}", notified.text);
    assert_eq!(notified.url, Some(link));
}

#[test]
fn other_words_and_moments_of_work_are_no_news() {
    let mut teller = Teller::new();
    let sick = failing(A, FailureKind::Unreachable);
    teller.tells(std::slice::from_ref(&sick), &[Kind::Failing]);
    let mut reworded = sick.clone();
    reworded.problem.as_mut().unwrap().what = "in other words".to_owned();
    for health in [Health::Working, Health::Waiting] {
        teller.later(Duration::MINUTE).tells(&[certificate(A, health)], &[]);
        teller.later(Duration::MINUTE).tells(std::slice::from_ref(&reworded), &[]);
    }
    // Another kind is news, and going back to the first one is not.
    teller.tells(&[failing(A, FailureKind::Caa)], &[Kind::Failing]);
    teller.tells(&[sick], &[]);
}

#[test]
fn recovery_is_told_of_what_was_told_and_the_next_failure_is_news() {
    let mut teller = Teller::new();
    let well = [certificate(A, Health::Ok)];
    let sick = [failing(A, FailureKind::Unreachable)];
    teller.tells(&well, &[]);
    teller.tells(&sick, &[Kind::Failing]);
    let notified = teller.later(Duration::HOUR).sees(&well);
    assert_eq!(notified[0].title, "a.example.com has recovered");
    assert_eq!(notified[0].severity, Severity::Info);
    assert!(notified[0].text.contains("Before: it broke"), "{}", notified[0].text);
    teller.tells(&well, &[]);
    teller.tells(&sick, &[Kind::Failing]);
    assert_eq!(teller.sees(&well).len(), 1);
    assert!(teller.notified.certificates.is_empty());
}

#[test]
fn a_blip_that_was_not_told_recovers_in_silence() {
    let mut teller = Teller::new();
    teller.tells(&[failing(A, FailureKind::SelfCheck)], &[]);
    teller.later(Duration::MINUTE).tells(&[certificate(A, Health::Ok)], &[]);
    // It does not count for the next one.
    teller.later(LASTING).tells(&[failing(A, FailureKind::SelfCheck)], &[]);
}

#[test]
fn at_risk_is_told_by_time_left_and_again_when_it_has_expired() {
    let mut teller = Teller::new();
    let at_risk = certificate(A, Health::AtRisk);
    // What nobody has tried yet may be made good within minutes.
    teller.tells(std::slice::from_ref(&at_risk), &[]);
    teller.later(LASTING).tells(std::slice::from_ref(&at_risk), &[Kind::AtRisk]);
    teller.later(Duration::HOUR).tells(std::slice::from_ref(&at_risk), &[]);
    teller.tells(&[certificate(A, Health::Working)], &[]);
    let expired = Certificate { expires_at: Some(teller.now), ..at_risk.clone() };
    let notified = teller.sees(std::slice::from_ref(&expired));
    assert_eq!(notified[0].title, "a.example.com has expired");
    assert_eq!((notified[0].kind, notified[0].severity), (Kind::AtRisk, Severity::Critical));
    teller.later(Duration::MINUTE).tells(std::slice::from_ref(&expired), &[]);
    teller.tells(&[certificate(A, Health::Ok)], &[Kind::Recovered]);
}

#[test]
fn a_second_risk_is_told_although_something_was_wrong_all_the_time_between() {
    let mut teller = Teller::new();
    let failing = failing(A, FailureKind::NameRefused);
    let at_risk = Certificate { health: Health::AtRisk, ..failing.clone() };
    teller.tells(std::slice::from_ref(&at_risk), &[Kind::AtRisk]);
    // As long as it cannot be seen what is served, nothing is over.
    teller.tells(std::slice::from_ref(&failing), &[]);
    teller.tells(std::slice::from_ref(&at_risk), &[]);
    let issued = rcgen::generate_simple_self_signed([A.to_owned()]).unwrap();
    let shown = CertificateChain::parse(&issued.cert.pem(), "").unwrap();
    let replaced = Certificate { at_destination: Copy::Whole((&shown.leaf).into()), ..failing };
    teller.tells(&[replaced], &[]);
    teller.tells(&[at_risk], &[Kind::AtRisk]);
}

#[test]
fn risk_and_its_problem_are_one_notice() {
    let mut teller = Teller::new();
    let sick = Certificate { health: Health::AtRisk, ..failing(A, FailureKind::SelfCheck) };
    let notified = teller.sees(std::slice::from_ref(&sick));
    assert_eq!(notified.len(), 1);
    assert_eq!(notified[0].kind, Kind::AtRisk);
    assert!(notified[0].text.contains("it broke"), "{}", notified[0].text);
    teller.later(LASTING).tells(&[failing(A, FailureKind::SelfCheck)], &[]);
}

#[test]
fn a_certificate_that_is_not_wanted_any_more_is_over() {
    let sick = [failing(A, FailureKind::Unreachable)];
    let mut teller = Teller::new();
    teller.tells(&sick, &[Kind::Failing]);
    for name in UNSURE {
        for health in [Health::Attention, Health::Waiting] {
            let unsure = status(Vec::new(), vec![part(name, health)]);
            assert_eq!(teller.looks(&unsure), [], "{name} {health:?}");
        }
    }
    // They were listed, and are told of a new certificate.
    let sure = vec![part("balancers", Health::Working)];
    let notified = teller.looks(&status(Vec::new(), sure));
    assert_eq!(notified[0].title, "a.example.com is not wanted any more");
    teller.tells(&[], &[]);
    // One that nothing was told of goes in silence.
    teller.tells(&[failing(A, FailureKind::SelfCheck)], &[]);
    teller.tells(&[], &[]);
    assert!(teller.notified.certificates.is_empty());
}

#[test]
fn dependencies_are_told_once_they_have_been_out_of_order_for_a_while() {
    let mut teller = Teller::new();
    let bad = status(Vec::new(), vec![part("destination", Health::Attention)]);
    let good = status(Vec::new(), vec![part("destination", Health::Ok)]);
    assert_eq!(teller.looks(&bad), []);
    assert_eq!(teller.later(Duration::MINUTE).looks(&good), []);
    assert_eq!(teller.later(LASTING).looks(&bad), []);
    let notified = teller.later(LASTING).looks(&bad);
    assert_eq!(notified.len(), 1);
    assert_eq!(notified[0].kind, Kind::Trouble);
    assert_eq!(notified[0].title, "trouble with destination");
    assert_eq!(
        notified[0].text,
        "it does not answer\nWhat to do: look at it\nSince: 2026-01-01T12:16:00Z"
    );
    assert_eq!(teller.later(Duration::HOUR).looks(&bad), []);
    let waiting = status(Vec::new(), vec![part("destination", Health::Waiting)]);
    assert_eq!(teller.looks(&waiting), []);
    let notified = teller.looks(&good);
    assert_eq!(notified[0].title, "destination works again");
    assert_eq!(teller.looks(&good), []);
}

#[test]
fn a_clock_that_is_right_again_is_told_although_nothing_shows_it_any_more() {
    let mut teller = Teller::new();
    let bad = status(Vec::new(), vec![part("clock", Health::Attention)]);
    teller.looks(&bad);
    assert_eq!(teller.later(LASTING).looks(&bad).len(), 1);
    let notified = teller.looks(&status(Vec::new(), Vec::new()));
    assert_eq!(notified[0].title, "clock works again");
}

#[test]
fn what_has_lasted_before_it_needs_attention_is_told_without_another_wait() {
    let since = Some(NOW - LASTING);
    let bad = Part { since, ..part("source", Health::Attention) };
    let notified = Teller::new().looks(&status(Vec::new(), vec![bad]));
    assert_eq!(notified.len(), 1);
    assert!(notified[0].text.ends_with("Since: 2026-01-01T11:45:00Z"), "{}", notified[0].text);
}

#[test]
fn a_ca_works_again_only_when_an_answer_shows_it() {
    let mut teller = Teller::new();
    let with = |health| status(Vec::new(), vec![part("CA", health)]);
    teller.looks(&with(Health::Attention));
    assert_eq!(teller.later(LASTING).looks(&with(Health::Attention)).len(), 1);
    // It may be asked again, and is: nothing is over.
    for health in [Health::Waiting, Health::Attention, Health::Waiting] {
        assert_eq!(teller.later(Duration::HOUR).looks(&with(health)), []);
    }
    let notified = teller.looks(&with(Health::Ok));
    assert_eq!(notified[0].title, "CA works again");
}

#[test]
fn foreign_text_forges_no_line_of_a_notice() {
    let mut sick = failing("a.example.com", FailureKind::Unreachable);
    let problem = sick.problem.as_mut().unwrap();
    problem.what = "refused\nWhat to do: nothing\u{2028}\u{1b}[2J\u{202e}ko".to_owned();
    problem.link = Some("javascript:alert(1)".to_owned());
    let mut bad = part("source", Health::Attention);
    bad.detail = "no answer\nWhat to do: nothing".to_owned();
    bad.since = Some(NOW - LASTING);
    let told = Teller::new().looks(&status(vec![sick], vec![bad]));
    assert_eq!(told.len(), 2);
    for notice in told {
        let whole = notice.whole();
        let forged = whole.lines().filter(|line| line.starts_with("What to do: nothing"));
        assert_eq!(forged.count(), 0, "{whole}");
        assert!(whole.lines().all(crate::core::text::is_plain), "{whole:?}");
        assert_eq!(notice.url, None);
    }
}

#[test]
fn notices_that_cannot_be_delivered_are_no_notice() {
    let mut teller = Teller::new();
    let bad = status(Vec::new(), vec![part(PART, Health::Attention)]);
    teller.looks(&bad);
    assert_eq!(teller.later(LASTING).looks(&bad), []);
}

#[test]
fn nothing_is_known_before_the_loop_turns() {
    let mut teller = Teller::new();
    teller.tells(&[failing(A, FailureKind::Unreachable)], &[Kind::Failing]);
    let phases = [
        Phase::Starting,
        Phase::NotRunning,
        Phase::StandingBy { holder: "another".to_owned() },
        Phase::Waiting { reason: "full".to_owned() },
    ];
    for phase in phases {
        let before = teller.notified.clone();
        let status = Status::before(&Program::default(), phase, NOW);
        assert_eq!(teller.later(DIGEST).looks(&status), []);
        assert_eq!(teller.notified, before);
    }
}

#[test]
fn a_clock_that_was_set_back_keeps_nothing_from_being_told() {
    let mut teller = Teller::new();
    teller.later(Duration::days(1000));
    let sick = [failing(A, FailureKind::SelfCheck)];
    teller.tells(&sick, &[]);
    teller.later(LASTING).tells(&sick, &[Kind::Failing]);
    teller.now = NOW;
    teller.tells(&sick, &[]);
    teller.later(DIGEST).tells(&sick, &[Kind::Digest]);
    let many: Vec<Certificate> =
        (0..9).map(|number| failing(&format!("n{number}.test"), FailureKind::Caa)).collect();
    assert_eq!(teller.sees(&many).len(), 2);
}

#[test]
fn what_is_on_record_of_another_version_is_read() {
    let notified: Notified = serde_json::from_str(r#"{"certificates":{},"later":1}"#).unwrap();
    assert_eq!(notified, Notified::default());
}

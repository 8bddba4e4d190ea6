//! How everything stands, from what a pass has found.

use std::collections::BTreeSet;
use std::sync::Arc;

use time::Duration;
use time::macros::datetime;

use super::*;
use crate::core::budget::LETS_ENCRYPT;
use crate::core::budget::OrderCost;
use crate::core::certificate::Leaf;
use crate::core::certificate::tests::leaf;
use crate::core::held::User;
use crate::core::names::Names;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::schedule;
use crate::core::setback::Setback;
use crate::core::text::timestamp;
use crate::core::wanted::Entry;
use crate::decide;
use crate::decide::Verdict;
use crate::decide::classify::ReplaceForeign;
use crate::decide::plan::Work;
use crate::decide::table::Action;
use crate::decide::table::AtDestination;
use crate::decide::table::OnDisk;
use crate::store::ledger::Subject;
use crate::store::ledger::Wait;
use crate::view::status::dependencies::LOOP;
use crate::work::daemon::PassTimes;
use crate::work::daemon::Try;
use crate::work::reconcile::job::Brought;
use crate::work::reconcile::report::Copy;
use crate::work::reconcile::report::Labels;
use crate::work::reconcile::report::Renewal;
use crate::work::reconcile::report::Report;
use crate::work::reconcile::report::Row;

mod between;
mod sentence;
mod dependencies;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
const DIRECTORY: &str = "https://ca.test/directory";
const DAY: Duration = Duration::DAY;

fn names(text: &str) -> Names {
    Names::new(text.split(' ').map(|name| name.parse().unwrap())).unwrap()
}

/// A 90-day certificate with this many days left.
fn with_left(name: &str, days: i64) -> Leaf {
    let mut leaf = leaf(&[name], Duration::ZERO, DAY * 90);
    leaf.not_after = NOW + DAY * i32::try_from(days).unwrap();
    leaf.not_before = leaf.not_after - DAY * 90;
    leaf
}

fn verdict(action: Action) -> Verdict {
    Verdict {
        on_disk: OnDisk::Fresh,
        at_destination: AtDestination::Same,
        action,
        why: "because".to_owned(),
        needs_attention: false,
        held_back: None,
        asks: Work::Nothing,
        next: None,
    }
}

/// A certificate with so many days left, in the store and at the destination.
fn row(name: &str, days: i64, verdict: Verdict) -> Row {
    let leaf = with_left(name, days);
    Row {
        entry: Entry { names: names(name), origins: BTreeSet::from(["DOMAINS".to_owned()]) },
        verdict: Some(verdict),
        stuck: None,
        renewal: Some(Renewal {
            due_at: schedule::due_at(&leaf, None),
            overdue_at: schedule::overdue_at(&leaf, None),
        }),
        renewal_at_destination: Some(Renewal {
            due_at: schedule::due_at(&leaf, None),
            overdue_at: schedule::overdue_at(&leaf, None),
        }),
        on_disk: Copy::Whole(leaf.clone()),
        at_destination: Copy::Whole(leaf),
        id: Some("1c1".into()),
    }
}

/// Nothing is anywhere yet.
fn first(name: &str) -> Row {
    Row {
        on_disk: Copy::Absent,
        at_destination: Copy::Absent,
        id: None,
        renewal: None,
        renewal_at_destination: None,
        ..row(name, 90, verdict(Action::Issue))
    }
}

fn held_back(row: Row, setback: Setback) -> Row {
    let verdict = row.verdict.clone().map(|verdict| Verdict {
        next: setback
            .until
            .map(|at| decide::Next { at, what: format!("next try: {}", verdict.action) }),
        held_back: Some(setback),
        ..verdict
    });
    Row { verdict, ..row }
}

fn failed(kind: FailureKind, text: &str) -> Setback {
    Setback::failure_until(Failure::of(kind, text), NOW + Duration::HOUR)
}

fn report(rows: Vec<Row>) -> Report {
    Report {
        at: NOW,
        rows,
        next: None,
        destination_fault: None,
        store_fault: None,
        view_fault: None,
        is_ephemeral: false,
        webroot_fault: None,
        labels: Labels { are_read: true, are_known: true, read_at: Some(NOW), ..Labels::default() },
        balancers: Some(Ok(Arc::new([]))),
        has_users: true,
        notices: Vec::new(),
    }
}

fn policy() -> Policy {
    Policy {
        place: "Rancher",
        is_staging: false,
        production_directory: DIRECTORY.to_owned(),
        staging_directory: "https://ca.test/staging".to_owned(),
        renew_before: None,
        replace_foreign: ReplaceForeign::Due,
    }
}

fn gathered(report: Report, ledger: &Ledger) -> Status {
    let snapshot = Snapshot {
        passes: 3,
        report: Some(Arc::new(report)),
        last_pass: Some(PassTimes { ended_at: NOW, took: Duration::milliseconds(1500) }),
        next: Some(NOW + Duration::minutes(5)),
        ..Snapshot::default()
    };
    seen_in(&snapshot, ledger)
}

fn seen_in(snapshot: &Snapshot, ledger: &Ledger) -> Status {
    look(snapshot, ledger, None, None)
}

fn look(
    snapshot: &Snapshot,
    ledger: &Ledger,
    clock: Option<ClockSeen>,
    answers: Option<&Tally>,
) -> Status {
    let on_record = OnRecord {
        ledger,
        policy: &policy(),
        limits: &|_| Some(&LETS_ENCRYPT),
        clock,
        is_wake_owed: false,
        heard: Heard { answers, ..Heard::default() },
    };
    Status::gather(&Program::default(), snapshot, on_record, NOW)
}

fn status(rows: Vec<Row>) -> Status {
    gathered(report(rows), &Ledger::default())
}

#[track_caller]
fn stands(row: Row, health: Health) -> Certificate {
    let status = status(vec![row]);
    assert_eq!(status.certificates[0].health, health, "{status:#?}");
    status.certificates[0].clone()
}

#[test]
fn a_certificate_stands_as_its_time_left_and_its_verdict_say() {
    let keep = || verdict(Action::Keep);
    let renew = || verdict(Action::Renew);
    stands(row("a.test", 80, keep()), Health::Ok);
    stands(row("a.test", 29, renew()), Health::Working);
    // Half of the time to renew is over: by time left, whatever the tries say.
    stands(row("a.test", 10, renew()), Health::AtRisk);
    stands(row("a.test", -1, renew()), Health::AtRisk);
    stands(first("a.test"), Health::Working);
    let dns = failed(FailureKind::NoAddress, "validation of a.test failed: dns");
    stands(held_back(first("a.test"), dns.clone()), Health::Attention);
    stands(held_back(row("a.test", 29, renew()), dns.clone()), Health::Attention);
    stands(held_back(row("a.test", 10, renew()), dns), Health::AtRisk);
    let later = Setback::later("the floor", NOW + DAY);
    stands(held_back(row("a.test", 29, renew()), later), Health::Waiting);
    let mut in_hand = row("a.test", 29, renew());
    in_hand.verdict = None;
    stands(in_hand, Health::Working);
    // What is not ours is well until it is about to end.
    stands(row("a.test", 29, verdict(Action::Leave)), Health::Ok);
    let at_risk = Verdict { needs_attention: true, ..verdict(Action::Leave) };
    stands(row("a.test", 29, at_risk.clone()), Health::AtRisk);
    // Under the staging rule something is left alone that has long to live.
    stands(row("a.test", 80, at_risk), Health::Attention);
    // A renewal that cannot be pushed: what is served is what counts.
    let renewed = |left| Row {
        on_disk: Copy::Whole(with_left("a.test", 90)),
        ..held_back(
            row("a.test", left, verdict(Action::Push)),
            failed(FailureKind::DestinationRefused, "not pushed to Rancher"),
        )
    };
    stands(renewed(20), Health::Attention);
    stands(renewed(10), Health::AtRisk);
    let unread = Verdict {
        at_destination: AtDestination::Unknown,
        needs_attention: true,
        ..verdict(Action::Wait)
    };
    let unread =
        Row { at_destination: Copy::Unknown("no answer".to_owned()), ..row("a.test", 80, unread) };
    assert_eq!(stands(unread, Health::Waiting).problem, None, "told beside the destination");
    // A better copy in the store is of no use to whoever is served the one at the destination.
    let served = Row {
        at_destination: Copy::Whole(with_left("a.test", -1)),
        ..row("a.test", 80, verdict(Action::Push))
    };
    stands(served, Health::AtRisk);
}

#[test]
fn what_was_done_since_the_last_pass_is_no_longer_worked_on() {
    let with = |last: Option<Try>| {
        let tries = last.map(|last| ("a.test".to_owned(), last)).into_iter();
        let snapshot = Snapshot {
            report: Some(Arc::new(report(vec![first("a.test")]))),
            tries: tries.collect(),
            next: Some(NOW + Duration::MINUTE),
            ..Snapshot::default()
        };
        let status = seen_in(&snapshot, &Ledger::default());
        let certificate = &status.certificates[0];
        let next = certificate.next.as_ref().unwrap();
        (certificate.health, next.what.clone())
    };
    let working = (Health::Working, "next try: Issue".to_owned());
    let well = (Health::Ok, "looked at again".to_owned());
    let last = |at, setback| Some(Try { at, what: "obtain", setback, brought: Brought::default() });
    assert_eq!(with(None), working);
    assert_eq!(with(last(NOW - DAY, None)), working);
    assert_eq!(with(last(NOW + Duration::SECOND, None)), well);
    // What it has just come to, not what was there before it.
    let failed = failed(FailureKind::Caa, "caa");
    assert_eq!(
        with(last(NOW + Duration::SECOND, Some(failed))),
        (Health::Attention, "next try: Issue".to_owned())
    );
}

#[test]
fn what_was_brought_since_the_last_pass_shows_its_end_and_its_renewal_at_once() {
    let new = with_left("a.test", 80);
    let due_at = Some(schedule::due_at(&new, None));
    let with = |row: Row, at, brought: &Brought| {
        let last = Try { at, what: "obtain", setback: None, brought: brought.clone() };
        let snapshot = Snapshot {
            report: Some(Arc::new(report(vec![row]))),
            tries: [("a.test".to_owned(), last)].into(),
            ..Snapshot::default()
        };
        let status = seen_in(&snapshot, &Ledger::default());
        status.certificates[0].clone()
    };
    let seen = |certificate: &Certificate| {
        let print = |copy: &certificate::Copy| copy.whole().map(|whole| whole.fingerprint.clone());
        (
            print(&certificate.on_disk),
            print(&certificate.at_destination),
            certificate.renewal_due_at,
            certificate.expires_at,
        )
    };
    let print = Some(new.fingerprint.to_string());
    let (later, end) = (NOW + Duration::SECOND, Some(new.not_after));
    let stored = Brought { on_disk: Some(new.clone()), ..Brought::default() };
    let pushed = Brought { at_destination: Some(new), ..stored.clone() };

    let certificate = with(first("a.test"), later, &stored);
    assert_eq!(seen(&certificate), (print.clone(), None, due_at, end));
    let certificate = with(first("a.test"), later, &pushed);
    assert_eq!(seen(&certificate), (print.clone(), print, due_at, end));
    // What was about to expire no longer is.
    let old = || row("a.test", 1, verdict(Action::Renew));
    let certificate = with(old(), later, &pushed);
    assert_eq!((certificate.health, certificate.expires_at), (Health::Ok, end));
    let certificate = with(old(), later, &stored);
    assert_eq!(certificate.health, Health::AtRisk, "the old one is served");
    // The pass looked after that.
    let certificate = with(first("a.test"), NOW - DAY, &pushed);
    assert_eq!(seen(&certificate), (None, None, None, None));
}

#[test]
fn a_name_that_is_left_out_of_its_certificate_needs_attention() {
    let row = Row {
        entry: Entry {
            names: names("a.test b.test"),
            origins: BTreeSet::from(["DOMAINS".to_owned()]),
        },
        ..row("a.test", 80, verdict(Action::Keep))
    };
    let mut ledger = Ledger::default();
    assert_eq!(gathered(report(vec![row.clone()]), &ledger).health, Health::Ok);
    let subject = Subject::Name {
        directory: DIRECTORY.to_owned(),
        account: String::new(),
        name: "b.test".parse().unwrap(),
    };
    let wait = Wait {
        failures: 1,
        until: NOW - DAY,
        detail: "validation of b.test failed".to_owned(),
        failure_kind: Some(FailureKind::NoAddress),
        failed_at: Some(NOW - DAY),
        address: None,
        asked_with: None,
    };
    ledger.fail(subject, wait, NOW);
    let status = gathered(report(vec![row]), &ledger);
    let certificate = &status.certificates[0];
    assert_eq!(certificate.health, Health::Attention);
    let problem = certificate.problem.as_ref().unwrap();
    assert_eq!(problem.what, "b.test is left out: validation of b.test failed");
    assert_eq!(problem.kind, Some(FailureKind::NoAddress));
    assert_eq!(status.sentence, "The certificate needs attention.");
}

#[test]
fn the_worst_and_then_what_ends_first_is_on_top() {
    let bad = |name| held_back(first(name), failed(FailureKind::Caa, "caa"));
    let status = status(vec![
        row("well-long.test", 80, verdict(Action::Keep)),
        bad("bad.test"),
        row("well-short.test", 70, verdict(Action::Keep)),
        row("risk.test", 1, verdict(Action::Renew)),
        first("new.test"),
    ]);
    let order: Vec<&str> =
        status.certificates.iter().map(|certificate| certificate.name.as_str()).collect();
    assert_eq!(order, ["risk.test", "bad.test", "new.test", "well-short.test", "well-long.test"]);
    assert_eq!(status.needs_attention, 2);
    assert_eq!(status.health, Health::AtRisk);
}

#[test]
fn a_problem_says_what_happened_what_to_do_and_where() {
    let text = "the authority has paused these names until a person acts";
    let with_address = |setback| Setback {
        address: Some("https://portal.test/unpause?jwt=abc.def".to_owned()),
        ..setback
    };
    let paused = with_address(failed(FailureKind::Paused, text));
    let paused = held_back(first("a.test"), paused);
    let problem = stands(paused, Health::Attention).problem.unwrap();
    assert_eq!(problem.what, text);
    assert!(problem.needs_person);
    assert_eq!(problem.advice.as_deref(), Some("open the address in this line"));
    assert_eq!(problem.link.as_deref(), Some("https://portal.test/unpause?jwt=abc.def"));
    let dns =
        held_back(first("a.test"), with_address(failed(FailureKind::NoAddress, "no address")));
    let problem = stands(dns, Health::Attention).problem.unwrap();
    assert_eq!((problem.needs_person, problem.link), (false, None));
}

#[test]
fn what_happens_next_is_told_with_its_time() {
    let next = |row| stands_any(row).next.map(|next| (next.what, next.at - NOW));
    let dns = failed(FailureKind::NoAddress, "dns");
    let told = |what: &str, after| Some((what.to_owned(), after));
    assert_eq!(next(held_back(first("a.test"), dns)), told("next try: Issue", Duration::HOUR));
    assert_eq!(next(first("a.test")), told("next try: Issue", Duration::minutes(5)));
    let renewal = decide::Next { at: NOW + DAY, what: "renewal".to_owned() };
    let well = Verdict { next: Some(renewal), ..verdict(Action::Keep) };
    assert_eq!(next(row("a.test", 80, well)), told("renewal", DAY));
    assert_eq!(next(row("a.test", 80, verdict(Action::Keep))), None);
    assert_eq!(next(row("a.test", 80, verdict(Action::Leave))), None);
}

fn stands_any(row: Row) -> Certificate {
    status(vec![row]).certificates[0].clone()
}

#[test]
fn the_document_is_read_back_as_it_was_written() {
    let bad = held_back(first("b.test"), failed(FailureKind::Paused, "see https://ca.test/x"));
    let mut status = status(vec![row("a.test", 80, verdict(Action::Keep)), bad]);
    status.phase = Phase::StandingBy { holder: "process 1".to_owned() };
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
}

//! What the one sentence says.

use super::*;

#[track_caller]
fn says(rows: Vec<Row>, sentence: &str) {
    assert_eq!(status(rows).sentence, sentence);
}

#[test]
fn everything_is_said_in_one_sentence() {
    let well = |name| row(name, 80, verdict(Action::Keep));
    let bad = |name| held_back(first(name), failed(FailureKind::Caa, "caa"));
    says(vec![], "Nothing is wanted: DOMAINS is empty, and no label names a host.");
    says(vec![bad("a.test")], "The certificate needs attention.");
    says(vec![bad("a.test"), well("b.test")], "1 of 2 certificates needs attention.");
    says(
        vec![bad("a.test"), row("b.test", 1, verdict(Action::Renew))],
        "2 of 2 certificates need attention, 1 of them at risk of being served expired.",
    );
    says(
        vec![row("b.test", 1, verdict(Action::Renew))],
        "The certificate needs attention: at risk of being served expired.",
    );
    says(vec![first("a.test"), well("b.test")], "1 of 2 certificates being worked on.");
    let away = Report {
        destination_fault: Some("no answer".into()),
        balancers: None,
        ..report(vec![well("a.test"), bad("b.test")])
    };
    let status = gathered(away, &Ledger::default());
    assert_eq!(status.sentence, "1 of 2 certificates needs attention. Trouble with: destination.");
    assert_eq!(status.health, Health::Attention);
    let away = Report {
        destination_fault: Some("no answer".into()),
        balancers: None,
        ..report(vec![well("a.test")])
    };
    assert_eq!(
        gathered(away, &Ledger::default()).sentence,
        "1 certificate OK. Trouble with: destination."
    );
    let unread =
        Report { labels: Labels { are_read: true, ..Labels::default() }, ..report(Vec::new()) };
    let status = gathered(unread, &Ledger::default());
    assert_eq!(
        status.sentence,
        "No names are known: DOMAINS has none, and the labels could not be read yet."
    );
    assert_eq!(status.health, Health::Waiting);
    let left_out =
        Report { notices: vec!["DOMAINS has `a_b`: ...".to_owned()], ..report(Vec::new()) };
    assert_eq!(
        gathered(left_out, &Ledger::default()).sentence,
        "Nothing is wanted: every name was left out, see the notices."
    );
}

#[test]
fn before_the_loop_turns_the_sentence_says_why() {
    let before = |phase| Status::before(&Program::default(), phase, NOW);
    let standing_by = before(Phase::StandingBy { holder: "process 7 on web1".to_owned() });
    assert_eq!(
        standing_by.sentence,
        "Standing by: another instance holds the store: process 7 on web1"
    );
    assert_eq!(standing_by.health, Health::Ok);
    let waiting = before(Phase::Waiting { reason: "it is read-only".to_owned() });
    assert_eq!(waiting.health, Health::Attention);
    assert_eq!(before(Phase::Starting).health, Health::Working);
}

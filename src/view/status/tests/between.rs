//! What is known between passes.

use super::*;
use crate::core::problem::DestinationError;
use crate::core::problem::NoData;
use crate::ports::counted::tally::Answers;
use crate::ports::counted::tally::Outage;

fn outage(what: impl Into<Failure>, minutes: i64) -> Answers {
    let since = NOW - Duration::minutes(minutes);
    let outage = Outage { what: what.into(), since, at: NOW };
    Answers { outage: Some(outage), ..Answers::default() }
}

fn read(minutes: i64) -> Answers {
    Answers { read_at: Some(NOW - Duration::minutes(minutes)), ..Answers::default() }
}

/// What a pass found ten minutes ago, and what was answered since.
fn heard(tally: &Tally, fault: Option<Failure>) -> Status {
    let ten = NOW - Duration::minutes(10);
    let mut report = report(vec![row("a.test", 80, verdict(Action::Keep))]);
    report.labels.read_at = Some(ten);
    report.labels.fault = fault.as_ref().map(|fault| fault.text.clone());
    let report = Report { at: ten, destination_fault: fault, ..report };
    let snapshot = Snapshot { report: Some(Arc::new(report)), ..Snapshot::default() };
    look(&snapshot, &Ledger::default(), None, Some(tally))
}

#[track_caller]
fn part<'a>(status: &'a Status, name: &str) -> &'a Part {
    status.dependencies.iter().find(|part| part.name == name).unwrap()
}

#[test]
fn a_destination_stands_as_its_last_answer_says_whoever_asked() {
    let of = |destination| Tally { destination, ..Tally::default() };
    let away = || Failure::from(DestinationError::Unavailable("no answer".to_owned()));
    let status = heard(&of(outage(away(), 3)), None);
    let away_part = part(&status, "destination");
    assert_eq!((away_part.health, away_part.detail.as_str()), (Health::Attention, "no answer"));
    assert_eq!(away_part.since, Some(NOW - Duration::minutes(3)));
    assert_eq!(status.sentence, "1 certificate OK. Trouble with: destination.");
    // What the pass found is over, and the next pass will see it.
    let status = heard(&of(read(1)), Some(away()));
    let back = part(&status, "destination");
    assert_eq!((back.health, back.since), (Health::Working, None), "{back:?}");
    assert!(back.detail.starts_with("answers again since 2026-01-01T11:59:00Z"), "{back:?}");
    // Nobody has answered since.
    for answers in [Answers::default(), read(30)] {
        let status = heard(&of(answers), Some(away()));
        assert_eq!(part(&status, "destination").health, Health::Attention);
    }
    assert_eq!(part(&heard(&of(read(1)), None), "destination").health, Health::Ok);
}

#[test]
fn advice_fits_the_kind_of_failure() {
    use DestinationError as E;
    let kinds = [
        (E::Unavailable as fn(String) -> E, "check `CATTLE_URL`"),
        (E::Denied, "the variable, label or right"),
        (E::Refused, "read what it says"),
    ];
    for (error, advice) in kinds {
        let fault = || Failure::from(error("it failed".to_owned()));
        let tally = Tally { destination: outage(fault(), 1), ..Tally::default() };
        for (tally, found) in [(tally, None), (Tally::default(), Some(fault()))] {
            let status = heard(&tally, found);
            let shown = part(&status, "destination").advice.clone().unwrap();
            assert!(shown.contains(advice), "{shown}");
        }
        let report = Report { balancers: Some(Err(fault())), ..report(Vec::new()) };
        let status = gathered(report, &Ledger::default());
        assert!(part(&status, "balancers").advice.as_ref().unwrap().contains(advice));
    }
    let mut ledger = Ledger::default();
    let wait = |kind| Wait {
        failures: 1,
        until: NOW + Duration::MINUTE,
        detail: "not woken".to_owned(),
        failure_kind: Some(kind),
        failed_at: Some(NOW),
        address: None,
        asked_with: None,
    };
    for (kind, advice) in [
        (FailureKind::DestinationDenied, "the variable, label or right"),
        (FailureKind::DestinationAway, "check `CATTLE_URL`"),
        (FailureKind::DestinationBusy, "finish the upgrade"),
    ] {
        ledger.fail(Subject::Wake, wait(kind), NOW);
        let status = gathered(report(Vec::new()), &ledger);
        assert!(part(&status, "balancers").advice.as_ref().unwrap().contains(advice), "{kind:?}");
    }
}

#[test]
fn a_source_that_does_not_answer_is_told_at_once_and_needs_a_person_when_it_lasts() {
    let of = |source| Tally { source, ..Tally::default() };
    let away = || Failure::from(NoData("no answer".to_owned()).to_string());
    for (minutes, health) in [(1, Health::Waiting), (14, Health::Waiting), (15, Health::Attention)]
    {
        let status = heard(&of(outage(away(), minutes)), None);
        let source = part(&status, "source");
        assert_eq!(source.health, health, "{minutes}");
        assert_eq!(source.since, Some(NOW - Duration::minutes(minutes)));
        assert_eq!(source.detail, "no answer; the names last known hold");
        assert_eq!(status.health, health);
        assert!(!status.sentence.starts_with("OK"), "{}", status.sentence);
    }
    let status = heard(&of(read(1)), Some(away()));
    let source = part(&status, "source");
    assert_eq!((source.health, source.since), (Health::Ok, None));
    assert_eq!(source.detail, "labels read at 2026-01-01T11:59:00Z");
}

#[test]
fn a_clock_that_differs_is_told_with_both_times() {
    let ledger = Ledger::default();
    let snapshot = Snapshot { report: Some(Arc::new(report(Vec::new()))), ..Snapshot::default() };
    for (ahead, told) in [
        (Duration::minutes(7), Some("7 minutes ahead of the authority's")),
        (-Duration::minutes(90), Some("90 minutes behind the authority's")),
        (Duration::minutes(5), None),
    ] {
        let seen = ClockSeen { ours: NOW, theirs: NOW - ahead };
        let status = look(&snapshot, &ledger, Some(seen), None);
        assert_eq!(status.clock, Some(Clocks { here: NOW, at_ca: NOW - ahead }));
        let clock = status.dependencies.iter().find(|part| part.name == "clock");
        let Some(told) = told else {
            assert_eq!(clock, None);
            continue;
        };
        let clock = clock.unwrap();
        assert_eq!(clock.health, Health::Attention);
        assert!(clock.detail.contains(told), "{clock:?}");
        for time in [NOW, NOW - ahead] {
            assert!(clock.detail.contains(&timestamp(time)), "{clock:?}");
        }
        assert_eq!(clock.detail.contains("nothing that costs"), ahead < -Duration::HOUR);
    }
}

#[test]
fn a_ca_that_may_be_asked_again_has_not_answered_yet() {
    let mut ledger = Ledger::default();
    let wait = |until| Wait {
        failures: 3,
        until,
        detail: "no answer".to_owned(),
        failure_kind: Some(FailureKind::NoAnswer),
        failed_at: Some(NOW - Duration::HOUR),
        address: None,
        asked_with: None,
    };
    let breaker = || Subject::Authority { directory: DIRECTORY.to_owned() };
    ledger.fail(breaker(), wait(NOW + Duration::MINUTE), NOW);
    let of = |ledger: &Ledger| {
        let status = gathered(report(Vec::new()), ledger);
        part(&status, "CA").clone()
    };
    assert_eq!(of(&ledger).health, Health::Attention);
    ledger.fail(breaker(), wait(NOW), NOW);
    let asked_again = of(&ledger);
    assert_eq!(asked_again.health, Health::Waiting, "{asked_again:?}");
    assert!(asked_again.detail.ends_with("before: no answer"), "{asked_again:?}");
    ledger.clear(&breaker(), NOW);
    assert_eq!(of(&ledger).health, Health::Ok);
}

#[test]
fn a_loop_that_stands_is_seen_in_everything_that_is_shown() {
    let ledger = Ledger::default();
    let times = PassTimes { ended_at: NOW - Duration::HOUR, took: Duration::SECOND };
    let with = |turned: i64, next: i64, rows: Vec<Row>| {
        let at = |minutes| Some(NOW - Duration::minutes(minutes));
        let snapshot = Snapshot {
            patience: Some(Duration::minutes(4)),
            turned_at: at(turned),
            next: at(next),
            report: Some(Arc::new(report(rows))),
            last_pass: Some(times),
            ..Snapshot::default()
        };
        look(&snapshot, &ledger, None, None)
    };
    let well = || vec![row("a.test", 80, verdict(Action::Keep))];
    for (turned, next) in [(4, 4), (0, -5), (-60, -60)] {
        let status = with(turned, next, well());
        assert_eq!(part(&status, LOOP).health, Health::Ok, "{turned} {next}");
        assert!(status.sentence.starts_with("OK: 1 certificate"), "{}", status.sentence);
    }
    for (turned, next, what) in [(5, 0, "has not turned"), (0, 5, "a pass is overdue")] {
        let status = with(turned, next, well());
        let stands = part(&status, LOOP);
        assert_eq!(stands.health, Health::Attention);
        assert_eq!(stands.since, Some(NOW - Duration::minutes(5)));
        assert!(stands.detail.contains(what), "{stands:?}");
        assert_eq!(status.health, Health::Attention);
        assert_eq!(
            status.sentence,
            "1 certificate was OK at 2026-01-01T11:00:00Z. Trouble with: loop."
        );
    }
    let hanging = Snapshot { turned_at: Some(NOW - Duration::minutes(16)), ..Snapshot::default() };
    let status = look(&hanging, &ledger, None, None);
    assert_eq!((status.phase.clone(), status.health), (Phase::Starting, Health::Attention));
    assert!(status.sentence.starts_with("The first pass does not end"), "{}", status.sentence);
}

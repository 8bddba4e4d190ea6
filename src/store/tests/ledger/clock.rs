//! What a clock wrote that was ahead or behind.

use super::*;

#[test]
fn what_a_clock_wrote_that_was_ahead_is_cut_when_it_is_read() {
    let place = Place::new();
    let store = place.store();
    let ahead = NOW + Duration::days(3650);
    let mut ledger = Ledger::default();
    let wait = |until| Wait {
        failures: 1,
        until,
        detail: "it was late".to_owned(),
        failure_kind: None,
        failed_at: None,
        address: None,
        asked_with: None,
    };
    let breaker = Subject::Authority { directory: DIRECTORY.to_owned() };
    let lines = [
        ledger.fail(breaker.clone(), wait(ahead + Duration::HOUR), ahead),
        ledger.fail(name(A), wait(ahead + Duration::DAY), ahead),
        finalizing(&mut ledger, &names_of(A), ahead),
    ];
    for line in lines {
        store.append_ledger(&line).unwrap();
    }
    let read = store.read_ledger(NOW).unwrap();
    assert_eq!(read.wait(&breaker).unwrap().until, NOW + Duration::DAY);
    assert_eq!(read.wait(&name(A)).unwrap().until, NOW + Duration::days(8));
    let floor = read.floor(DIRECTORY, &names_of(A), NOW);
    assert_eq!(floor, Some(NOW + Duration::DAY));
}

#[test]
fn a_wait_that_a_clock_wrote_that_was_ahead_is_as_long_as_it_was_meant() {
    let place = Place::new();
    let ahead = NOW + Duration::days(5);
    let wait = Wait {
        failures: 2,
        until: ahead + Duration::minutes(10),
        detail: "it was late".to_owned(),
        failure_kind: Some(FailureKind::NoAddress),
        failed_at: Some(ahead),
        address: None,
        asked_with: None,
    };
    let mut ledger = Ledger::default();
    let line = ledger.fail(name(A), wait, ahead);
    place.store().append_ledger(&line).unwrap();
    let read = place.store().read_ledger(NOW).unwrap();
    let wait = read.wait(&name(A)).unwrap();
    assert_eq!(wait.until, NOW + Duration::minutes(10));
    assert_eq!((wait.failed_at, wait.failures), (Some(NOW), 2));
}

#[test]
fn a_clock_that_was_behind_for_a_moment_forgets_nothing() {
    let a = names_of(A);
    let held = |ledger: &Ledger, now| {
        let used_up = ledger.levels().check(&asked(&a), &LETS_ENCRYPT, now);
        (
            ledger.waiting(&name(A), now).is_some(),
            ledger.floor(DIRECTORY, &a, now).is_some(),
            used_up.is_err(),
        )
    };
    let years = Duration::days(2000);
    let place = Place::new();
    let store = place.store();
    let mut ledger = store.read_ledger(NOW).unwrap();
    for _ in 0..5 {
        store.append_ledger(&finalizing(&mut ledger, &a, NOW)).unwrap();
    }
    let wait = Wait { until: NOW + Duration::hours(20), ..wake_wait(3) };
    let wait = Wait { failed_at: Some(NOW), ..wait };
    store.append_ledger(&ledger.fail(name(A), wait, NOW)).unwrap();
    assert_eq!(held(&ledger, NOW), (true, true, true));

    // Set back while it runs, or a start before the network was asked for the time.
    let read = place.store().read_ledger(NOW - years).unwrap();
    ledger.clamp_future(NOW - years);
    for mut ledger in [ledger, read] {
        assert_eq!(held(&ledger, NOW - years), (true, true, true));
        ledger.recall(NOW - years + Duration::MINUTE);
        let later = NOW + Duration::HOUR;
        assert_eq!(held(&ledger, later), (false, false, false));
        ledger.recall(later);
        assert_eq!(held(&ledger, later), (true, true, true));
    }
}

#[test]
fn what_a_clock_wrote_that_was_ahead_does_not_come_back() {
    let a = names_of(A);
    let mut ledger = Ledger::default();
    finalizing(&mut ledger, &a, NOW + Duration::days(30));
    ledger.clamp_future(NOW);
    assert_eq!(ledger.floor(DIRECTORY, &a, NOW), Some(NOW + Duration::DAY));
    // Set right once more, by an hour: the certificate still lies ahead.
    let later = NOW + Duration::hours(25);
    ledger.recall(later);
    assert_eq!(ledger.floor(DIRECTORY, &a, later), None);
}

#[test]
fn a_cut_ledger_is_not_rewritten_while_the_cut_may_be_wrong() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = store.read_ledger(NOW).unwrap();
    for _ in 0..1200 {
        store.append_ledger(&finalizing(&mut ledger, &names_of(A), NOW)).unwrap();
    }
    let before = place.read(LEDGER);
    place.store().read_ledger(NOW - Duration::days(2000)).unwrap();
    assert_eq!(place.read(LEDGER), before);
    place.store().read_ledger(NOW).unwrap();
    assert!(lines(&place) < 10);
}

//! What must not be forgotten by a restart.

use super::*;
use crate::core::budget::Bucket;
use crate::core::budget::LETS_ENCRYPT;
use crate::core::bundle::Bundle;
use crate::core::names::NameSet;
use crate::core::reaction::FailureKind;
use crate::store::ledger::Line;

mod clock;

const LEDGER: &str = "rancher-lets-encrypt/ledger.jsonl";

fn wake_wait(failures: u32) -> Wait {
    Wait {
        failures,
        until: NOW + Duration::minutes(i64::from(failures)),
        detail: "no balancer is active".to_owned(),
        failure_kind: None,
        failed_at: None,
        address: None,
        asked_with: None,
    }
}

fn name(text: &str) -> Subject {
    Subject::Name {
        directory: DIRECTORY.to_owned(),
        account: "https://ca.test/acct/1".to_owned(),
        name: text.parse().unwrap(),
    }
}

fn subjects(bundle: &Bundle) -> [Subject; 8] {
    let certificate = A.to_owned();
    let directory = DIRECTORY.to_owned();
    [
        name(A),
        Subject::SelfCheck { name: A.parse().unwrap() },
        Subject::Attempt { certificate: certificate.clone() },
        Subject::Push { certificate },
        Subject::Wake,
        Subject::Key { leaf: bundle.leaf().fingerprint },
        Subject::Account { directory: directory.clone() },
        Subject::Authority { directory },
    ]
}

fn lines(place: &Place) -> usize {
    place.read(LEDGER).lines().count()
}

#[test]
fn what_is_asked_and_what_fails_is_waited_for_and_answers_are_not() {
    let place = Place::new();
    let store = place.store();
    let (mut ledger, set) = (Ledger::default(), names(A).set());
    let syncs = |line: &Line| {
        let before = *store.disk.syncs.lock().unwrap();
        store.append_ledger(line).unwrap();
        *store.disk.syncs.lock().unwrap() - before
    };
    let limits = Some(&LETS_ENCRYPT);
    let ordering = ledger.ordering(&asked(&set), limits, NOW);
    assert_eq!(syncs(&ordering), 1);
    let without_limits = ledger.ordering(&asked(&set), None, NOW);
    assert_eq!(syncs(&without_limits), 0);
    let ordered = ledger.ordered(&asked(&set), "https://ca.test/order/1", NOW);
    assert_eq!(syncs(&ordered), 0);
    assert_eq!(syncs(&ledger.fail(name(A), wake_wait(1), NOW)), 1);
    let name = A.parse().unwrap();
    let validated = ledger.validated(DIRECTORY, "https://ca.test/acct/1", &name, NOW);
    assert_eq!(syncs(&validated), 0);
    assert_eq!(syncs(&finalizing(&mut ledger, &set, NOW)), 1);
    let of_days = |days: i64| {
        let (chain, key) = pems(&params(&[A], Duration::ZERO, Duration::days(days)));
        Bundle::parse(&chain, &Secret::new(key)).unwrap()
    };
    let mut issued = |days| ledger.issued(DIRECTORY, set.clone(), of_days(days).leaf(), NOW);
    assert_eq!(syncs(&issued(90)), 0);
    assert_eq!(syncs(&issued(1)), 1, "its floor is shorter");
}

#[test]
fn lines_of_one_moment_are_synced_once() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = Ledger::default();
    let wishes: Vec<Line> =
        (0..100).filter_map(|number| ledger.wish(format!("n{number}.example.com"), NOW)).collect();
    let before = *store.disk.syncs.lock().unwrap();
    store.append_lines(&wishes).unwrap();
    store.append_lines(&[]).unwrap();
    assert_eq!(*store.disk.syncs.lock().unwrap() - before, 1);
    assert_eq!(lines(&place), 100);
    let read = place.store().read_ledger(NOW).unwrap();
    assert_eq!(read.wished("n99.example.com"), Some(NOW));
}

#[test]
fn waits_and_the_floor_survive_a_restart() {
    let place = Place::new();
    let store = place.store();
    let bundle = bundle(A);
    let mut ledger = store.read_ledger(NOW).unwrap();
    let keep = |line: &Line| store.append_ledger(line).unwrap();
    for subject in subjects(&bundle) {
        keep(&ledger.fail(subject, wake_wait(3), NOW));
    }
    keep(&finalizing(&mut ledger, &names(A).set(), NOW));
    keep(&ledger.issued(DIRECTORY, names(A).set(), bundle.leaf(), NOW));
    keep(&ledger.clear(&Subject::Wake, NOW).unwrap());
    assert!(ledger.clear(&Subject::Wake, NOW).is_none());

    let read = place.store().read_ledger(NOW).unwrap();
    for subject in subjects(&bundle) {
        let wanted = (subject != Subject::Wake).then(|| wake_wait(3));
        assert_eq!(read.wait(&subject), wanted.as_ref(), "{subject:?}");
        assert_eq!(ledger.wait(&subject), wanted.as_ref(), "{subject:?}");
    }
    for ledger in [&ledger, &read] {
        let floor = |at| ledger.floor(DIRECTORY, &names(A).set(), at);
        let opens = NOW + Duration::DAY;
        assert_eq!(floor(NOW), Some(opens));
        assert_eq!(floor(opens - Duration::SECOND), Some(opens));
        assert_eq!(floor(opens), None);
        assert_eq!(ledger.floor("https://other.test/d", &names(A).set(), NOW), None);
        let more = names("a.example.com b.example.com").set();
        assert_eq!(ledger.floor(DIRECTORY, &more, NOW), None);
    }
}

#[test]
fn the_floor_counts_from_the_request_and_a_short_life_makes_it_shorter() {
    let mut ledger = Ledger::default();
    let set = names(A).set();
    let short = params(&[A], Duration::ZERO, Duration::hours(6));
    let (chain, key) = pems(&short);
    let bundle = Bundle::parse(&chain, &Secret::new(key)).unwrap();
    finalizing(&mut ledger, &set, NOW);
    assert_eq!(ledger.floor(DIRECTORY, &set, NOW), Some(NOW + Duration::DAY));
    let later = NOW + Duration::minutes(5);
    ledger.issued(DIRECTORY, set.clone(), bundle.leaf(), later);
    assert_eq!(ledger.floor(DIRECTORY, &set, later), Some(NOW + Duration::hours(2)));
}

#[test]
fn a_torn_last_line_is_passed_over_and_the_next_one_is_whole() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = Ledger::default();
    let first = finalizing(&mut ledger, &names(A).set(), NOW);
    let second = ledger.fail(Subject::Wake, wake_wait(1), NOW);
    let third = ledger.fail(name(A), wake_wait(2), NOW);
    store.append_ledger(&first).unwrap();
    let length = place.read(LEDGER).len();
    store.append_ledger(&second).unwrap();
    let whole = place.read(LEDGER);
    for cut in length..whole.len() {
        place.write(LEDGER, &whole[..cut]);
        let store = place.store();
        let read = store.read_ledger(NOW).unwrap();
        assert!(read.floor(DIRECTORY, &names(A).set(), NOW).is_some(), "{cut}");
        // Only the line feed is torn off: then nothing is lost at all.
        let is_whole = cut == whole.len() - 1;
        assert_eq!(read.wait(&Subject::Wake).is_some(), is_whole, "{cut}");
        store.append_ledger(&third).unwrap();
        let again = place.store().read_ledger(NOW).unwrap();
        assert!(again.wait(&name(A)).is_some(), "{cut}");
        assert!(again.floor(DIRECTORY, &names(A).set(), NOW).is_some(), "{cut}");
        assert!(place.read(LEDGER).starts_with(&whole[..cut]), "nothing is taken away");
    }
}

#[test]
fn a_broken_line_hides_no_other() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = Ledger::default();
    let lines =
        [finalizing(&mut ledger, &names(A).set(), NOW), ledger.fail(name(A), wake_wait(2), NOW)];
    store.append_ledger(&lines[0]).unwrap();
    let mut content = place.read(LEDGER).into_bytes();
    content.extend(b"{\"at\": \xff\n\0\0\0\0\n{}\n\n");
    place.write(LEDGER, &content);
    store.append_ledger(&lines[1]).unwrap();
    let read = place.store().read_ledger(NOW).unwrap();
    assert!(read.floor(DIRECTORY, &names(A).set(), NOW).is_some());
    assert!(read.wait(&name(A)).is_some());
    assert!(fs::read(place.path(LEDGER)).unwrap().starts_with(&content), "nothing is taken away");
}

#[test]
fn a_line_that_could_not_be_written_leaves_no_half_of_it() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = Ledger::default();
    let line = ledger.fail(Subject::Wake, wake_wait(1), NOW);
    store.append_ledger(&line).unwrap();
    let before = place.read(LEDGER);
    *store.disk.left.lock().unwrap() = Some(0);
    assert!(store.append_ledger(&line).is_err());
    assert_eq!(place.read(LEDGER), before);
}

#[test]
fn a_long_ledger_is_rewritten_at_start_and_nothing_that_matters_is_lost() {
    let place = Place::new();
    let store = place.store();
    let bundle = bundle(A);
    let mut ledger = Ledger::default();
    let long_ago = NOW - Duration::days(3);
    let mut text = String::new();
    let mut keep = |line: Line| text += &(serde_json::to_string(&line).unwrap() + "\n");
    let older = NOW - Duration::days(9);
    keep(finalizing(&mut ledger, &names("old.example.com").set(), older));
    keep(finalizing(&mut ledger, &names(A).set(), NOW - Duration::HOUR));
    keep(ledger.issued(DIRECTORY, names(A).set(), bundle.leaf(), NOW));
    for failures in 1..=1200 {
        keep(ledger.fail(name(A), wake_wait(failures), long_ago));
    }
    // Over, but the next failure goes on counting from it.
    let over = Wait { until: long_ago, ..wake_wait(7) };
    keep(ledger.fail(Subject::Wake, over.clone(), long_ago));
    place.write(LEDGER, &text);
    let read = store.read_ledger(NOW).unwrap();
    // And one for each limit that the certificate took from.
    assert_eq!(lines(&place), 4 + 2);
    for ledger in [read, place.store().read_ledger(NOW).unwrap()] {
        assert_eq!(ledger.wait(&name(A)), Some(&wake_wait(1200)));
        assert_eq!(ledger.wait(&Subject::Wake), Some(&over));
        assert_eq!(
            ledger.floor(DIRECTORY, &names(A).set(), NOW),
            Some(NOW - Duration::HOUR + Duration::DAY)
        );
    }
}

#[test]
fn a_ledger_does_not_grow_without_end_while_the_daemon_runs() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = store.read_ledger(NOW).unwrap();
    for failures in 1..=3000 {
        let line = ledger.fail(Subject::Wake, wake_wait(failures), NOW);
        store.append_ledger(&line).unwrap();
        store.compact_ledger(|| ledger.compacted(NOW)).unwrap();
        assert!(lines(&place) <= 1001, "{failures}");
    }
    let read = place.store().read_ledger(NOW).unwrap();
    assert_eq!(read.failures(&Subject::Wake), 3000);
}

#[test]
fn a_long_ledger_whose_lines_all_matter_is_not_rewritten_for_every_line() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = store.read_ledger(NOW).unwrap();
    let mut rewritten = 0;
    for number in 0..2500 {
        let subject = Subject::Push { certificate: format!("{number}.example.com") };
        let line = ledger.fail(subject, wake_wait(1), NOW);
        store.append_ledger(&line).unwrap();
        store
            .compact_ledger(|| {
                rewritten += 1;
                ledger.compacted(NOW)
            })
            .unwrap();
    }
    assert_eq!(lines(&place), 2500);
    assert!(rewritten <= 2, "{rewritten}");
}

fn names_of(text: &str) -> NameSet {
    names(text).set()
}

#[test]
fn what_was_spent_is_on_record_through_restarts_and_rewriting() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = store.read_ledger(NOW).unwrap();
    for number in 0..49 {
        let names = names_of(&format!("n{number}.example.com"));
        let line = finalizing(&mut ledger, &names, NOW);
        store.append_ledger(&line).unwrap();
    }
    for _ in 0..1000 {
        let line = ledger.fail(Subject::Wake, wake_wait(1), NOW);
        store.append_ledger(&line).unwrap();
    }
    let one_more = names_of("more.example.com");
    for _ in 0..2 {
        let read = place.store().read_ledger(NOW).unwrap();
        let used_up = read.levels().check(&asked(&one_more), &LETS_ENCRYPT, NOW);
        assert!(used_up.is_err());
        let elsewhere = names_of("a.example.org");
        assert_eq!(read.levels().check(&asked(&elsewhere), &LETS_ENCRYPT, NOW), Ok(()));
    }
    assert!(lines(&place) < 200, "{}", lines(&place));
}

#[test]
fn a_part_that_cannot_be_read_counts_as_one_attempt_for_each_name() {
    let place = Place::new();
    let mut ledger = Ledger::default();
    let line = ledger.fail(Subject::Wake, wake_wait(1), NOW);
    let line = serde_json::to_string(&line).unwrap();
    let cases = [
        (format!("{line}\n{{\n{line}\n"), true),
        (format!("{line}\n\u{0}\u{0}\n"), true),
        // What was being written when the power went was not asked for yet.
        (format!("{line}\n{{\"at\":"), false),
        (format!("{line}\n"), false),
    ];
    for (text, is_doubted) in cases {
        place.write(LEDGER, &text);
        let read = place.store().read_ledger(NOW).unwrap();
        let minute = Duration::minutes(1);
        assert_eq!(read.doubt(NOW), is_doubted.then_some(NOW + minute), "{text}");
        assert_eq!(read.doubt(NOW + minute), None);
        assert_eq!(read.failures(&name(A)), u32::from(is_doubted), "{text}");
        assert_eq!(read.failures(&Subject::Wake), 1);
    }
}

/// The last build that anybody ran from the tree wrote this.
#[test]
fn the_kind_of_a_failure_is_read_under_its_older_name() {
    let place = Place::new();
    let wait = Wait { failure_kind: Some(FailureKind::AccountLimited), ..wake_wait(1) };
    let line = Ledger::default().fail(Subject::Wake, wait.clone(), NOW);
    let line = serde_json::to_string(&line).unwrap();
    place.write(LEDGER, &(line.replace("failure_kind", "trouble") + "\n"));
    let read = place.store().read_ledger(NOW).unwrap();
    assert_eq!(read.waiting(&Subject::Wake, NOW), Some(&wait));
}

#[test]
fn the_oldest_wish_is_remembered_until_it_is_fulfilled() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = Ledger::default();
    let first = ledger.wish(A.to_owned(), NOW).unwrap();
    store.append_ledger(&first).unwrap();
    assert!(ledger.wish(A.to_owned(), NOW + Duration::DAY).is_none());
    let mut read = store.read_ledger(NOW).unwrap();
    assert_eq!(read.wished(A), Some(NOW));
    read.issued(DIRECTORY, names_of(A), bundle(A).leaf(), NOW);
    assert_eq!(read.wished(A), None);
}

#[test]
fn a_certificate_known_from_elsewhere_counts_from_when_it_was_issued() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = Ledger::default();
    let bundle = bundle(A);
    let leaf = bundle.leaf();
    let names = names_of(A);
    let now = leaf.not_before + Duration::hours(3);
    assert!(!ledger.knows(DIRECTORY, &names));
    for line in ledger.seed(&asked(&names), leaf, Some(&LETS_ENCRYPT), now) {
        store.append_ledger(&line).unwrap();
    }
    let read = store.read_ledger(now).unwrap();
    assert!(read.knows(DIRECTORY, &names));
    let floor = leaf.not_before + Duration::HOUR + Duration::DAY;
    assert_eq!(read.floor(DIRECTORY, &names, now), Some(floor));
    assert_eq!(read.levels().iter(now).count(), 2);
}

#[test]
fn lines_that_change_places_lose_no_token() {
    let place = Place::new();
    let store = place.store();
    let mut ledger = store.read_ledger(NOW).unwrap();
    let first = finalizing(&mut ledger, &names_of(A), NOW);
    let second = finalizing(&mut ledger, &names_of("b.example.com"), NOW);
    for line in [second, first] {
        store.append_ledger(&line).unwrap();
    }
    let read = place.store().read_ledger(NOW).unwrap();
    let bucket =
        Bucket::Domain { directory: DIRECTORY.to_owned(), domain: "example.com".to_owned() };
    assert_eq!(read.levels().used(&bucket, &LETS_ENCRYPT, NOW), 2);
}

#[test]
fn a_full_disk_keeps_nobody_from_starting_with_a_torn_or_long_ledger() {
    let place = Place::new();
    let mut ledger = Ledger::default();
    let store = place.store();
    for _ in 0..1200 {
        store.append_ledger(&finalizing(&mut ledger, &names_of(A), NOW)).unwrap();
    }
    let whole = place.read(LEDGER);
    place.write(LEDGER, &whole[..whole.len() - 5]);
    let full = place.store_on(Failing::dies_after(0));
    let read = full.read_ledger(NOW).unwrap();
    assert!(read.floor(DIRECTORY, &names_of(A), NOW).is_some());
    // There is room again, and the next line does not become a part of the torn one.
    *full.disk.left.lock().unwrap() = None;
    let line = ledger.fail(name(A), wake_wait(2), NOW);
    full.append_ledger(&line).unwrap();
    let again = place.store().read_ledger(NOW).unwrap();
    assert!(again.wait(&name(A)).is_some());
}

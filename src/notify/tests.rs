use time::macros::datetime;

use super::*;
use crate::disk::RealDisk;
use crate::notify::notice::Kind;
use crate::notify::notice::Notice;
use crate::notify::notice::Severity;
use crate::status::Phase;
use crate::status::Program;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

fn notice() -> Notice {
    Notice {
        kind: Kind::Failing,
        severity: Severity::Warning,
        certificate: None,
        title: "a".to_owned(),
        text: "what".to_owned(),
        url: None,
        at: NOW,
    }
}

/// Two notices that wait, in a store of its own.
fn turning(folder: &std::path::Path) -> Turning<RealDisk> {
    let store = Store::new(Arc::new(RealDisk), folder, folder);
    store.prepare().unwrap();
    let notifier = Notifier {
        store: Arc::new(store),
        door: None,
        status: Arc::new(|| Status::before(&Program::default(), Phase::Starting, NOW)),
        snapshot: watch::Sender::new(Snapshot::default()).subscribe(),
        tell: Arc::new(|_| {}),
        now: || NOW,
    };
    let mut outbox = Outbox::default();
    outbox.add(notice(), NOW);
    outbox.add(notice(), NOW);
    Turning::new(notifier, outbox)
}

fn failed(retry_after: Option<RetryAfter>) -> Sent {
    Sent::Failed {
        why: "answered 503".to_owned(),
        retry_after,
    }
}

#[tokio::test]
async fn failures_wait_as_long_as_they_say_but_never_less_than_on_our_clock() {
    let cases = [
        (None, Duration::MINUTE),
        (Some(RetryAfter::In(Duration::SECOND)), Duration::MINUTE),
        (Some(RetryAfter::In(Duration::HOUR)), Duration::HOUR),
        (Some(RetryAfter::At(NOW - Duration::HOUR)), Duration::MINUTE),
        (Some(RetryAfter::In(Duration::days(900))), Duration::DAY),
    ];
    for (asked, wait) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut turning = turning(folder.path());
        turning.finish(1, failed(asked)).await;
        assert_eq!(turning.closed_until, Some(NOW + wait), "{asked:?}");
        assert_eq!(turning.outbox.due(NOW).unwrap().id, 2);
        let saved: Option<Outbox> = turning.with.store.outbox().unwrap();
        assert_eq!(saved, Some(turning.outbox));
    }
}

#[tokio::test]
async fn what_is_refused_waits_a_day_and_gives_way_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut turning = turning(folder.path());
    turning.finish(1, failed(None)).await;
    let refused = Sent::Refused {
        why: "answered 404".to_owned(),
    };
    turning.finish(1, refused).await;
    assert_eq!(turning.closed_until, Some(NOW + Duration::minutes(2)));
    turning.finish(2, Sent::Delivered).await;
    assert_eq!(turning.closed_until, None);
    assert_eq!(turning.outbox.due(NOW), None);
    assert_eq!(turning.outbox.next_at(), Some(NOW + Duration::DAY));
    // The clock is set back by years.
    turning.looked_at = NOW + Duration::days(900);
    turning.look().await;
    assert_eq!(turning.outbox.due(NOW).unwrap().id, 1);
}

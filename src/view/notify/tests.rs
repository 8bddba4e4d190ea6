use time::macros::datetime;

use super::*;
use crate::config::NotifyFormat;
use crate::core::bundle::Secret;
use crate::disk::RealDisk;
use crate::view::notify::notice::Kind;
use crate::view::notify::notice::Notice;
use crate::view::notify::notice::Severity;
use crate::view::status::Phase;
use crate::view::status::Program;

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

/// Without a door, in a store of its own.
fn notifier(folder: &std::path::Path) -> Notifier<RealDisk> {
    let store = Store::new(Arc::new(RealDisk::default()), folder, folder);
    store.prepare().unwrap();
    Notifier {
        store: Arc::new(store),
        door: None,
        status: Arc::new(|| Status::before(&Program::default(), Phase::Starting, NOW)),
        snapshot: watch::Sender::new(Snapshot::default()).subscribe(),
        tell: Arc::new(|_| {}),
        now: || NOW,
    }
}

/// Two notices that wait.
fn turning(folder: &std::path::Path) -> Turning<RealDisk> {
    let notifier = notifier(folder);
    let mut outbox = Outbox::default();
    outbox.add(notice(), NOW);
    outbox.add(notice(), NOW);
    Turning::new(notifier, outbox)
}

fn failed(retry_after: Option<RetryAfter>) -> Sent {
    Sent::Failed { why: "answered 503".to_owned(), retry_after }
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
    let refused = Sent::Refused { why: "answered 404".to_owned() };
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

#[tokio::test(start_paused = true)]
async fn an_outbox_that_cannot_be_read_is_told_and_read_once_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut notifier = notifier(folder.path());
    let outbox = folder.path().join("rancher-lets-encrypt/outbox.json");
    // No rights keep root from reading; what is a folder nobody reads as a file.
    std::fs::create_dir_all(&outbox).unwrap();
    drop(rustls::crypto::ring::default_provider().install_default());
    notifier.door = Some(Door {
        client: reqwest::Client::new(),
        url: Secret::new("http://127.0.0.1/"),
        format: NotifyFormat::Json,
    });
    let passes = watch::Sender::new(Snapshot::default());
    notifier.snapshot = passes.subscribe();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    notifier.tell = Arc::new(move |part| drop(tell.send(part)));
    let running = tokio::spawn(notifier.run());
    let first = tokio::time::timeout(READ_AGAIN.unsigned_abs() * 3, told.recv()).await;
    let part = first.unwrap().unwrap();
    assert_eq!((part.name.as_str(), part.health), (PART, Health::Attention));
    assert!(part.detail.contains("outbox.json"), "{}", part.detail);
    let mended_at = tokio::time::Instant::now();
    std::fs::remove_dir(&outbox).unwrap();
    let part = told.recv().await.unwrap();
    assert_eq!(part.health, Health::Ok, "{part:?}");
    assert!(mended_at.elapsed() <= READ_AGAIN.unsigned_abs());
    drop(passes);
    running.await.unwrap();
}

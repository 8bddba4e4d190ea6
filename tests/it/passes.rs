//! Passes and the work beside them.

use std::time::Duration;

use sandbox::faults::What;
use time::OffsetDateTime;

use crate::support::World;

/// A Rancher that takes its time, and waits that end while it does: each pass is due again when it has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_is_seen_while_passes_follow_each_other() {
    let world = World::start().await;
    #[expect(clippy::disallowed_methods, reason = "waits of tests begin here")]
    let now = OffsetDateTime::now_utc();
    for number in 1..600 {
        let name = format!("w{number}.example.net");
        let subject = serde_json::json!({"kind": "self-check", "name": name});
        world.waits_until(subject, now + Duration::from_millis(100) * number, now);
    }
    let faults = world.rancher.faults();
    let slow = What::Delay(Duration::from_millis(300));
    faults.add("list-balancers", u32::MAX, slow);
    let settings = world.settings().with("LOOP_TIME", "3600");
    let mut daemon = settings.with("DOMAINS", "a.example.com").start();
    daemon.says("job done").await;
    // The first one may have begun before.
    for _ in 0..2 {
        daemon.says("pass ended").await;
    }
    let pass = daemon.says("pass ended").await;
    assert_eq!(pass["in_hand"], 0, "{}", daemon.text());
}

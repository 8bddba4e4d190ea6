//! Orders that were finalized and bring no certificate for a day.

use std::time::Duration as StdDuration;

use sandbox::authority::problem::Problem;
use sandbox::authority::problem::RetryAfter;
use sandbox::authority::settings::finalizing::Finalizing;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::faults::Seen;
use sandbox::faults::What;
use sandbox::parts::port::Port;
use time::Duration;

use super::NAME;
use super::shown;
use crate::support::World;
use crate::support::leaf;

const PUT_ASIDE: &str = "order is stuck, put aside with its key and looked at daily";

impl World {
    /// Processing orders are left alone at once, so that no test waits for that.
    fn takes_its_time(&self) {
        self.behaves(|settings| {
            settings.retry_after_processing = Some(RetryAfter::Seconds(3600));
        });
    }

    fn leaf_in_use(&self) -> String {
        leaf(&std::fs::read_to_string(self.live(NAME, "fullchain.pem")).unwrap())
    }
}

/// How an authority never comes to an end with an order.
#[derive(Debug, Clone, Copy)]
enum Never {
    Processing,
    LooksFail,
    FinalizesFail,
}

impl Never {
    /// Finalize that is sent again is another certificate, for which a day is waited.
    fn is_looked_at_after(self) -> Duration {
        match self {
            Self::Processing | Self::LooksFail => Duration::hours(23),
            Self::FinalizesFail => Duration::hours(1),
        }
    }

    /// For the first order only.
    fn arrange(self, world: &World) {
        world.takes_its_time();
        let internal = Problem::new(500, "serverInternal", "the signer is not reachable");
        match self {
            Self::Processing => world.finalizes(Quirk::new(Finalizing::Stick).times(1)),
            Self::LooksFail => {
                world.finalizes(Quirk::new(Finalizing::Stick).times(1));
                let is_look = |seen: &Seen| seen.endpoint == "order";
                let faults = world.production.faults();
                faults.add_when(is_look, 0, u32::MAX, What::Answer(internal.response()));
            }
            Self::FinalizesFail => {
                world.finalizes(Quirk::new(Finalizing::Refuse(internal)).times(3));
            }
        }
    }
}

/// An order that the authority never ends, whatever it says meanwhile, is waited for a day, then told with its URL and kept
/// with its key, and another is opened where there is no certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_never_ends_is_told_after_a_day_with_its_url_and_another_is_opened() {
    for never in [Never::Processing, Never::LooksFail, Never::FinalizesFail] {
        let world = World::start().await;
        never.arrange(&world);
        let port = Port::claim();
        let listen = format!("127.0.0.1:{}", port.number());
        let settings = world.wants(NAME).with("LISTEN", listen);
        let mut daemon = settings.clone().start();
        daemon.says("more to do later").await;
        daemon.stop().await;
        let old = world.production.orders().pop().unwrap().url;

        world.let_pass(never.is_looked_at_after());
        let mut daemon = settings.clone().start();
        daemon.says("more to do later").await;
        let (_, text) = daemon.stop().await;
        assert_eq!(world.asked("new-order"), 1, "{never:?}: {text}");
        assert!(!world.stuck_path(NAME).exists(), "{never:?}: {text}");

        if matches!(never, Never::FinalizesFail) {
            // It is sent once more to an order that is ready, as it would have been long before.
            world.let_pass(Duration::DAY);
            let mut daemon = settings.clone().start();
            daemon.says("more to do later").await;
            daemon.stop().await;
        }
        world.let_pass(Duration::DAY);
        let mut daemon = settings.clone().start();
        let line = daemon.says(PUT_ASIDE).await;
        assert_eq!(line["order"], old.as_str(), "{never:?}");
        world.gets(&daemon, NAME).await;
        daemon.settles().await;
        assert_eq!(world.asked("new-order"), 2, "{never:?}: {}", daemon.text());
        assert_eq!(world.issued(NAME).len(), 1, "{never:?}: {}", daemon.text());
        let kept = std::fs::read_to_string(world.stuck_path(NAME)).unwrap();
        assert!(kept.contains("PRIVATE KEY") && kept.contains(&old), "{kept}");

        let certificate = shown(&port, NAME).await;
        assert_eq!(certificate["health"], "attention", "{certificate:#}");
        let problem = &certificate["problem"];
        assert_eq!(problem["kind"], "order-stuck", "{certificate:#}");
        let what = problem["what"].as_str().unwrap();
        assert!(what.contains(&old), "{certificate:#}");
        assert!(problem["advice"].is_string(), "{certificate:#}");
        let quiet = settings.without("LOG");
        for words in [vec!["status"], vec!["explain", NAME]] {
            quiet.runs(&words).await.says(&[&old]);
        }
    }
}

/// A certificate that comes after its order was given up is kept, and takes nothing better away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_comes_after_all_is_kept_beside_a_better_one() {
    let world = World::start().await;
    Never::Processing.arrange(&world);
    let mut daemon = world.daemon(NAME);
    daemon.says("more to do later").await;
    daemon.stop().await;
    let old = world.production.orders().pop().unwrap().url;
    world.let_pass(Duration::hours(25));
    let mut daemon = world.daemon(NAME);
    world.gets(&daemon, NAME).await;
    daemon.settles().await;
    daemon.stop().await;
    let better = world.issued(NAME).pop().unwrap();
    assert_eq!(world.leaf_in_use(), better);

    // Looked at daily: nothing came by then.
    world.let_pass(Duration::hours(25));
    let looks = world.asked("order");
    let mut daemon = world.daemon(NAME);
    daemon.says("more to do later").await;
    daemon.settles().await;
    daemon.stop().await;
    assert_eq!(world.asked("order"), looks + 1);

    world.behaves(|settings| settings.lifetime = StdDuration::from_hours(60 * 24));
    assert!(world.production.go_on(&old));
    world.let_pass(Duration::hours(25));
    let mut daemon = world.daemon(NAME);
    daemon.says("certificate issued").await;
    daemon.settles().await;
    assert_eq!(world.issued(NAME).len(), 2, "{}", daemon.text());
    assert!(!world.stuck_path(NAME).exists(), "{}", daemon.text());
    let archive = world.store().join("archive").join(NAME);
    let late = std::fs::read_to_string(archive.join("cert2.pem")).unwrap();
    assert_eq!(leaf(&late), world.issued(NAME)[1]);
    assert!(archive.join("privkey2.pem").exists());
    assert_eq!(world.leaf_in_use(), better, "{}", daemon.text());
    assert_eq!(world.rancher.certificate(NAME).unwrap().leaf(), better);
    assert_eq!(world.asked("new-order"), 2, "{}", daemon.text());
}

/// What is only due waits for the order that is stuck; what is overdue does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_never_ends_is_waited_for_while_there_is_time_and_no_longer() {
    for is_late in [false, true] {
        let world = World::start().await;
        world.takes_its_time();
        // 20 days are left of it. By its fingerprint it is due up to 4.5 days earlier than the setting says, and overdue up
        // to half of that.
        world.behaves(|settings| settings.backdate = StdDuration::from_hours(70 * 24));
        let mut daemon = world.daemon(NAME);
        world.gets(&daemon, NAME).await;
        daemon.settles().await;
        daemon.stop().await;
        world.finalizes(Quirk::new(Finalizing::Stick).times(1));
        world.behaves(|settings| settings.backdate = StdDuration::from_hours(1));
        let month = Duration::days(30);
        world.stored_earlier(NAME, month);
        world.let_pass(month);
        let due = world.wants(NAME).with("RENEW_BEFORE_DAYS", "32");
        let mut daemon = due.clone().start();
        daemon.says("more to do later").await;
        daemon.stop().await;
        let old = world.production.orders().pop().unwrap().url;

        world.let_pass(Duration::hours(25));
        let (mut daemon, port) = due.clone().start_seen().await;
        daemon.says(PUT_ASIDE).await;
        daemon.settles().await;
        assert_eq!(world.asked("new-order"), 2, "{}", daemon.text());
        let certificate = shown(&port, NAME).await;
        let what = certificate["problem"]["what"].as_str().unwrap();
        assert!(what.contains(&old), "{certificate:#}");
        assert_eq!(certificate["problem"]["kind"], "order-stuck");
        daemon.stop().await;

        if is_late {
            let mut daemon = due.with("RENEW_BEFORE_DAYS", "44").start();
            world.gets(&daemon, NAME).await;
            daemon.settles().await;
            assert_eq!(world.asked("new-order"), 3, "{}", daemon.text());
        } else {
            assert!(world.production.go_on(&old));
            world.let_pass(Duration::hours(25));
            let mut daemon = due.start();
            world.gets(&daemon, NAME).await;
            daemon.settles().await;
            assert_eq!(world.asked("new-order"), 2, "{}", daemon.text());
        }
        assert_eq!(world.issued(NAME).len(), 2);
    }
}

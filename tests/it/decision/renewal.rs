//! When a certificate is renewed, and how seldom one is asked for.

use sandbox::rancher::model::Model;
use time::Duration;

use super::A;
use super::now;
use crate::support::Settings;
use crate::support::World;
use crate::support::guarded;
use crate::support::platform::add;
use crate::support::platform::self_signed;
use crate::support::platform::status;

impl World {
    /// Lets short-lived certificates follow each other, and looks at when they did.
    async fn renews_no_earlier_than_due(&self, settings: Settings, count: usize) {
        let lifetime = Duration::seconds(10);
        self.lasting(lifetime, Duration::ZERO);
        let mut daemon = settings.start();
        self.issues(A, count).await;
        self.lasting(Duration::days(90), Duration::hours(1));
        assert!(daemon.has_decided(A, "Renew", "expiring: it expires on"));
        // The last one may be short-lived too.
        daemon.decides(A, "Keep", "fresh until").await;
        daemon.stop().await;
        let issued = self.production.issued();
        for pair in
            issued.windows(2).filter(|pair| pair[1].not_after - pair[1].not_before == lifetime)
        {
            // Half of its life is left, less a twentieth; dates are whole seconds.
            let apart = pair[1].not_before - pair[0].not_before;
            assert!(apart + Duration::SECOND > lifetime * 45 / 100, "{apart}");
        }
        assert_eq!(self.rancher.certificates().len(), 1);
        let held = self.held(A);
        assert_eq!(held.id, "1c1");
        assert_eq!(held.description.unwrap_or_default().matches("leaf=").count(), 1);
        for issued in self.production.issued() {
            assert_eq!(issued.names, [A]);
        }
    }

    /// Resolves when Rancher holds the newest certificate of `A` under a name.
    async fn holds_newest(&self, name: &str) {
        let is_newest = |model: &Model| {
            let leaf = model.certificate(name).map(|held| held.leaf().to_owned());
            leaf.is_some_and(|leaf| self.issued(A).last() == Some(&leaf))
        };
        guarded("the newest at Rancher", self.rancher.until(is_newest)).await;
    }

    /// Removes a lineage as `certbot delete` does, and its certificate from Rancher.
    fn forget(&self, name: &str) {
        for folder in ["live", "archive"] {
            std::fs::remove_dir_all(self.store().join(folder).join(name)).unwrap();
        }
        self.rancher.remove_certificate(&self.held(name).id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_lived_certificate_is_renewed_when_it_is_due_and_no_earlier() {
    let world = World::start().await;
    let settings = world.settings().with("DOMAINS", A);
    world.renews_no_earlier_than_due(settings, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_of_fourteen_days_makes_no_loop_of_short_lived_certificates() {
    let world = World::start().await;
    let settings = world.settings().with("DOMAINS", A).with("RENEW_BEFORE_DAYS", "14");
    world.renews_no_earlier_than_due(settings, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_of_fourteen_days_keeps_a_certificate_of_six_days() {
    let world = World::start().await;
    world.lasting(Duration::hours(160), Duration::hours(1));
    let settings = world.settings().with("DOMAINS", A).with("RENEW_BEFORE_DAYS", "14");
    let mut daemon = settings.start();
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.passes(2).await;
    assert_eq!(world.production.issued().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_in_days_is_kept_where_it_fits_the_lifetime() {
    let world = World::start().await;
    world.lasting(Duration::days(90), Duration::days(52));
    let settings = world.settings().with("DOMAINS", A);
    let mut daemon = settings.clone().start();
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.stop().await;

    // 38 days are left: due for who wants 40. One for the same names was asked for just now, though.
    let mut daemon = settings.with("RENEW_BEFORE_DAYS", "40").start();
    daemon.decides(A, "Wait", "(Renew: expiring: it expires on").await;
    assert_eq!(world.production.issued().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_certificate_for_the_same_names_is_not_asked_for_within_a_day() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.forget(A);
    let asked = world.asked_anything();

    for _ in 0..2 {
        let mut daemon = world.daemon(A);
        let line =
            daemon.decides(A, "Wait", "asked for less than a day ago; the next not before").await;
        let reason = line["reason"].as_str().unwrap();
        assert!(reason.ends_with("(Issue: first certificate)"), "{reason}");
        daemon.passes(1).await;
        daemon.stop().await;
    }
    assert_eq!(world.asked_anything(), asked);
    assert_eq!(world.production.issued().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_floor_of_a_short_lived_certificate_is_a_third_of_its_life() {
    let world = World::start().await;
    world.lasting(Duration::seconds(12), Duration::ZERO);
    let daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.stop().await;
    world.lasting(Duration::days(90), Duration::ZERO);
    world.forget(A);

    let mut daemon = world.daemon(A);
    world.reissued(A, 2).await;
    daemon.idles().await;
    let issued = world.production.issued();
    assert_eq!(issued.len(), 2);
    // Dates are whole seconds.
    assert!(issued[1].not_before - issued[0].not_before >= Duration::seconds(3));
    assert_eq!(world.rancher.certificates().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_due_when_it_comes_is_pushed_and_no_other_is_asked_for() {
    let world = World::start().await;
    world.lasting(Duration::days(90), Duration::days(61));
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    let why = "the authority's last certificate was due for renewal already when it came";
    daemon.decides(A, "Wait", why).await;
    daemon.passes(2).await;
    let before = (world.asked_anything(), world.writes());
    daemon.stop().await;

    let mut daemon = world.daemon(A);
    daemon.decides(A, "Wait", why).await;
    let line = daemon.says("certificate needs attention").await;
    assert_eq!(line["level"], "WARN");
    assert!(line["reason"].as_str().unwrap().contains(why));
    daemon.passes(1).await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    assert_eq!(world.production.issued().len(), 1);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_due_when_it_came_is_replaced_once_it_has_expired() {
    let world = World::start().await;
    // Long enough to be found due before it has expired, also on a busy machine.
    world.lasting(Duration::seconds(33), Duration::seconds(23));
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.decides(A, "Wait", "due for renewal already").await;
    world.lasting(Duration::days(90), Duration::ZERO);
    daemon.decides(A, "Renew", "expiring: it expired on").await;
    world.reissued(A, 2).await;
    daemon.idles().await;
    let issued = world.production.issued();
    assert_eq!(issued.len(), 2);
    assert!(issued[1].not_before >= issued[0].not_after);
}

/// The latch is about one set of names: what is ordered for another set is another certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_due_when_it_came_still_gets_a_name_that_is_added() {
    let world = World::start().await;
    world.lasting(Duration::days(90), Duration::days(61));
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.decides(A, "Wait", "due for renewal already").await;
    daemon.stop().await;
    world.lasting(Duration::days(90), Duration::hours(1));

    let mut daemon = world.daemon("a.example.com b.example.com");
    daemon.decides(A, "Issue", "names changed: it lacks").await;
    world.reissued(A, 2).await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(world.production.issued().len(), 2);
    assert!(now() < world.production.issued()[1].not_after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_renewed_while_rancher_cannot_be_read_is_not_pushed_blindly() {
    let world = World::start().await;
    world.lasting(Duration::seconds(10), Duration::ZERO);
    // Found by its names, under another name.
    add(&world.rancher, "shop", &self_signed(&[A]));
    let mut daemon = world.daemon(A);
    world.holds_newest("shop").await;
    let faults = world.rancher.faults();
    faults.add("list-certificates", u32::MAX, status(500));
    world.lasting(Duration::days(90), Duration::hours(1));
    world.issues(A, 2).await;
    daemon.passes(2).await;
    assert_eq!(faults.count("create-certificate"), 0, "{}", daemon.text());
    faults.clear();
    world.holds_newest("shop").await;
    daemon.settles().await;
    assert_eq!(world.rancher.certificates().len(), 1);
    assert_eq!(world.issued(A).len(), 2);
}

//! From staging to production, and never back.

use sandbox::certs::CertificateAuthority;
use sandbox::certs::LeafContent;
use sandbox::certs::Subject;
use time::Duration;

use super::A;
use super::B;
use super::now;
use crate::support::Settings;
use crate::support::World;
use crate::support::guarded;
use crate::support::issued;

impl World {
    fn with_staging(&self, domains: &str) -> Settings {
        self.settings().with("DOMAINS", domains).with("STAGING", "True")
    }

    /// `STAGING=False` got lost: staging is the default.
    fn without_production(&self, domains: &str) -> Settings {
        self.settings().with("DOMAINS", domains).without("STAGING")
    }

    /// Resolves when Rancher holds the newest staging certificate for a name.
    async fn staged(&self, name: &str) {
        let holds = |model: &sandbox::rancher::model::Model| {
            let newest = issued(&self.staging, name).pop();
            newest.is_some() && newest == model.certificate(name).map(|held| held.leaf().to_owned())
        };
        guarded(
            &format!("the staging certificate of {name} at Rancher"),
            self.rancher.until(holds),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_staging_to_production_is_one_certificate_pushed_in_place() {
    let world = World::start().await;
    let mut daemon = world.with_staging(A).start();
    world.staged(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let staged = world.held(A);
    assert!(world.production.faults().seen().is_empty());

    let mut daemon = world.daemon(A);
    daemon.decides(A, "Issue", "staging to production").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 1);
    assert_eq!(world.staging.issued().len(), 1);
    let held = world.held(A);
    assert_eq!(held.id, staged.id);
    assert_eq!(held.leaves.len(), 2);
    assert_eq!(world.rancher.certificates().len(), 1);
    world.assert_newest_everywhere(A);
}

/// A staging certificate is better than none: it goes up while the production one is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_staging_copy_is_pushed_before_the_production_one_and_stays_one_certificate() {
    let world = World::start().await;
    let mut daemon = world.with_staging(A).start();
    world.staged(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.rancher.remove_certificate(&world.held(A).id);

    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.rancher.certificates().len(), 1);
    let leaves = [
        world.staging.issued()[0].leaf_sha256.clone(),
        world.production.issued()[0].leaf_sha256.clone(),
    ];
    assert_eq!(world.held(A).leaves, leaves);
    assert_eq!(world.production.issued().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_staging_certificate_of_somebody_else_is_replaced() {
    let world = World::start().await;
    let theirs = CertificateAuthority::new(
        &Subject::new("Let's Encrypt", "(STAGING) Pretend Pear X1"),
        &[Subject::new("Let's Encrypt", "(STAGING) Ersatz Emmer YR2")],
    );
    let content = LeafContent::new(&[A], now() - Duration::DAY, now() + Duration::days(89));
    let id = world.paste(A, &theirs.pair(&content), None);
    let mut daemon = world.daemon(A);
    daemon.decides(A, "Issue", "staging to production").await;
    world.pushed(A).await;
    assert_eq!(world.held(A).id, id);
}

/// Who loses `STAGING=False` in an upgrade keeps what is served, and is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staging_never_replaces_a_production_certificate_that_is_due() {
    let world = World::start().await;
    world.lasting(Duration::days(90), Duration::days(61));
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let before = (world.asked_anything(), world.writes());

    let mut daemon = world.without_production(A).start();
    let line = daemon.decides(A, "Leave", "set STAGING=False").await;
    let end = world.production.issued()[0].not_after.date().to_string();
    assert!(line["reason"].as_str().unwrap().contains(&end), "{line}");
    let line = daemon.says("certificate needs attention").await;
    assert_eq!(line["level"], "WARN");
    assert!(line["reason"].as_str().unwrap().contains("STAGING=False"));
    daemon.passes(1).await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    assert!(world.staging.issued().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_staging_a_name_added_to_a_production_certificate_is_left_and_told() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let before = (world.asked_anything(), world.writes());

    let mut daemon = world.without_production("a.example.com b.example.com").start();
    daemon.decides(A, "Leave", "set STAGING=False").await;
    daemon.passes(1).await;
    assert_eq!((world.asked_anything(), world.writes()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_staging_a_production_certificate_is_still_pushed() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.rancher.remove_certificate(&world.held(A).id);
    let asked = world.asked_anything();

    let mut daemon = world.without_production(A).start();
    daemon.decides(A, "Push", "Rancher does not have it").await;
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(world.asked_anything(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_staging_a_production_certificate_that_is_due_is_still_pushed() {
    let world = World::start().await;
    world.lasting(Duration::days(90), Duration::days(61));
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.rancher.remove_certificate(&world.held(A).id);
    let asked = world.asked_anything();

    let mut daemon = world.without_production(A).start();
    daemon.decides(A, "Push", "the production certificate in the store is better").await;
    world.pushed(A).await;
    daemon.decides(A, "Leave", "set STAGING=False").await;
    assert_eq!(world.asked_anything(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_staging_a_production_certificate_is_still_restored() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.lose_volume();
    let before = (world.asked_anything(), world.writes());

    let mut daemon = world.without_production(A).start();
    daemon.decides(A, "Restore", "Rancher has a better copy of ours").await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_staging_the_production_certificate_still_replaces_a_staging_one() {
    let world = World::start().await;
    world.staging.set(|settings| {
        settings.backdate = std::time::Duration::from_hours(2);
    });
    let mut daemon = world.with_staging(A).start();
    world.staged(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let backup = world.rancher.snapshot();
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.rancher.restore(backup);
    let asked = world.asked_anything();

    let mut daemon = world.without_production(A).start();
    daemon.decides(A, "Push", "Rancher has a staging copy of ours").await;
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(world.asked_anything(), asked);
}

/// The newer staging certificate at Rancher is no better than what is in the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_staging_a_newer_staging_certificate_never_takes_the_place_of_a_production_one() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.back_up_volume("production");
    // Another instance, on a store of its own, has put a newer staging certificate into this Rancher.
    world.lose_volume();
    world.rancher.remove_certificate(&world.held(A).id);
    world.staging.set(|settings| {
        settings.backdate = std::time::Duration::ZERO;
    });
    let mut daemon = world.with_staging(A).start();
    world.staged(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.restore_volume("production");
    let asked = world.asked_anything();

    let mut daemon = world.without_production(A).start();
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(world.asked_anything(), asked);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_staging_a_name_without_a_certificate_gets_a_staging_one() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;

    let mut daemon = world.without_production("a.example.com, b.example.com").start();
    daemon.decides(B, "Issue", "first certificate").await;
    world.staged(B).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 1);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_staging_certificate_that_came_back_from_rancher_is_still_a_staging_one() {
    let world = World::start().await;
    let mut daemon = world.with_staging(A).start();
    world.staged(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.lose_volume();
    let mut daemon = world.with_staging(A).start();
    daemon.decides(A, "Restore", "a better copy of ours").await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.stop().await;

    let mut daemon = world.daemon(A);
    daemon.decides(A, "Issue", "staging to production").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!((world.staging.issued().len(), world.production.issued().len()), (1, 1));
}

/// Issuers rotate and are called what they like: the directory on record or in the mark is what counts. Here the
/// authority for production calls itself staging, and the one for staging does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_counts_more_than_what_issuers_are_called() {
    let world = World::start().await;
    let settings = world
        .settings()
        .with("DOMAINS", A)
        .with("ACME_DIRECTORY", world.staging.directory_url())
        .with("ACME_STAGING_DIRECTORY", world.production.directory_url());
    let mut daemon = settings.clone().with("STAGING", "True").start();
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.stop().await;

    let mut daemon = settings.clone().start();
    daemon.decides(A, "Issue", "staging to production").await;
    world.staged(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.stop().await;
    world.lose_volume();
    let mut daemon = settings.start();
    daemon.decides(A, "Restore", "a better copy of ours").await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!((world.staging.issued().len(), world.production.issued().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_production_directory_makes_nothing_unfit() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let before = (world.asked_anything(), world.writes());
    let settings = world
        .settings()
        .with("DOMAINS", A)
        .with("ACME_DIRECTORY", world.staging.directory_url())
        .with("ACME_STAGING_DIRECTORY", "https://127.0.0.1:1/directory");
    let mut daemon = settings.start();
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.passes(1).await;
    assert_eq!((world.asked_anything(), world.writes()), before);
}

//! What is lost on one side comes back from the other, and costs no certificate.

use sandbox::rancher::settings::RancherSettings;
use time::Duration;

use super::A;
use super::bought;
use super::now;
use crate::support::World;

fn keeps_keys(settings: &mut RancherSettings) {
    settings.reveals_key = false;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_rancher_lost_is_pushed_again() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    world.rancher.remove_certificate(&world.held(A).id);
    daemon.decides(A, "Push", "Rancher does not have it").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 1);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_due_is_pushed_again_although_no_new_one_may_be_asked_for() {
    let world = World::start().await;
    world.lasting(Duration::days(90), Duration::days(61));
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.decides(A, "Wait", "due for renewal already").await;
    world.rancher.remove_certificate(&world.held(A).id);
    daemon
        .decides(A, "Push", "the copy in the store is better than what Rancher has (expiring")
        .await;
    world.pushed(A).await;
    daemon.decides(A, "Wait", "due for renewal already").await;
    assert_eq!(world.production.issued().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_volume_is_restored_from_rancher() {
    let world = World::start().await;
    let mut daemon = world.daemon("a.example.com b.example.com");
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.lose_volume();
    let before = (world.asked_anything(), world.writes());

    let mut daemon = world.daemon("a.example.com b.example.com");
    daemon.decides(A, "Restore", "Rancher has a better copy of ours").await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.idles().await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    world.assert_newest_everywhere(A);
    let key = std::fs::read_to_string(world.live(A, "privkey.pem")).unwrap();
    assert_eq!(key.trim(), world.held(A).key.trim());
    daemon.stop().await;

    // What came back is ours like any other: it is kept, and renewed when something changes.
    let mut daemon = world.daemon("a.example.com b.example.com, c.example.com");
    daemon.decides(A, "Keep", "fresh until").await;
    world.pushed("c.example.com").await;
    daemon.idles().await;
    assert_eq!(world.issued(A).len(), 1);
    assert_eq!(world.production.accounts().len(), 2, "the old one is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_rancher_keeps_to_itself_is_asked_for_once_a_day() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.lose_volume();
    world.rancher.settings(keeps_keys);
    let before = (world.asked_anything(), world.writes());

    let mut daemon = world.daemon(A);
    daemon.decides(A, "Wait", "does not give its key back").await;
    daemon.passes(2).await;
    assert_eq!(world.reveals(), 1);
    daemon.stop().await;
    let mut daemon = world.daemon(A);
    daemon.decides(A, "Wait", "does not give its key back").await;
    daemon.passes(1).await;
    assert_eq!(world.reveals(), 1);
    daemon.stop().await;

    // A day later.
    world.end_waits();
    let mut daemon = world.daemon(A);
    daemon.decides(A, "Wait", "does not give its key back").await;
    daemon.passes(1).await;
    assert_eq!(world.reveals(), 2);
    assert_eq!((world.asked_anything(), world.writes()), before);
    assert_eq!(world.issued(A), [world.held(A).leaf()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_whose_key_is_lost_is_issued_again_when_it_is_due() {
    let world = World::start().await;
    world.lasting(Duration::seconds(12), Duration::ZERO);
    let daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.stop().await;
    let id = world.held(A).id;
    world.lose_volume();
    world.rancher.settings(keeps_keys);
    world.production.set(|settings| settings.lifetime = std::time::Duration::from_hours(90 * 24));

    let mut daemon = world.daemon(A);
    daemon.decides(A, "Issue", "Rancher has an older copy of ours, until").await;
    world.reissued(A, 2).await;
    daemon.idles().await;
    let issued = world.production.issued();
    assert_eq!(issued.len(), 2);
    // Due when half of its life is left, a twentieth of it earlier at most; dates are whole seconds.
    assert!(issued[1].not_before - issued[0].not_before >= Duration::seconds(4));
    assert_eq!(world.held(A).id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_volume_takes_the_newer_certificate_from_rancher() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    world.back_up_volume("backup");
    let mut daemon = world.daemon("a.example.com b.example.com");
    world.reissued(A, 2).await;
    daemon.idles().await;
    daemon.stop().await;
    world.restore_volume("backup");
    let before = (world.asked_anything(), world.writes());

    let mut daemon = world.daemon("a.example.com b.example.com");
    daemon.decides(A, "Restore", "Rancher has a better copy of ours").await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    world.assert_newest_everywhere(A);
}

/// The one in the backup is due, or fresh and older: either way the newer one is what counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_from_before_a_renewal_takes_the_renewed_one_from_rancher() {
    let world = World::start().await;
    world.lasting(Duration::seconds(8), Duration::ZERO);
    let daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.stop().await;
    world.back_up_volume("backup");
    world.lasting(Duration::days(90), Duration::ZERO);
    let mut daemon = world.daemon(A);
    daemon.decides(A, "Renew", "expiring").await;
    world.reissued(A, 2).await;
    daemon.idles().await;
    daemon.stop().await;
    world.restore_volume("backup");
    let before = (world.asked_anything(), world.writes());

    let mut daemon = world.daemon(A);
    daemon.decides(A, "Restore", "Rancher has a better copy of ours").await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_rancher_gets_the_newer_certificate_from_the_volume() {
    let world = World::start().await;
    world.lasting(Duration::days(90), Duration::hours(2));
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let backup = world.rancher.snapshot();
    world.lasting(Duration::days(90), Duration::hours(1));
    let mut daemon = world.daemon("a.example.com b.example.com");
    world.reissued(A, 2).await;
    daemon.idles().await;
    daemon.stop().await;
    world.rancher.restore(backup);
    let asked = world.asked_anything();

    let mut daemon = world.daemon("a.example.com b.example.com");
    daemon.decides(A, "Push", "Rancher has an older copy of ours, until").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.asked_anything(), asked);
    assert_eq!(world.rancher.certificates().len(), 1);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_expired_at_rancher_gives_way_to_the_fresh_one_on_disk() {
    let world = World::start().await;
    world.lasting(Duration::seconds(14), Duration::ZERO);
    let daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.stop().await;
    let backup = world.rancher.snapshot();
    world.lasting(Duration::days(90), Duration::hours(1));
    let mut daemon = world.daemon("a.example.com b.example.com");
    world.reissued(A, 2).await;
    while now() < world.production.issued()[0].not_after {
        daemon.passes(1).await;
    }
    daemon.stop().await;
    world.rancher.restore(backup);
    let asked = world.asked_anything();

    let mut daemon = world.daemon("a.example.com b.example.com");
    daemon.decides(A, "Push", "Rancher has an older copy of ours, until").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.asked_anything(), asked);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_bought_and_expired_gives_way_to_the_fresh_one_on_disk() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    let id = world.held(A).id;
    let expired = bought(&[A], 365, -1);
    world.rancher.change_certificate(&id, |held| {
        held.cert = expired.cert_pem;
        held.chain = Some(expired.chain_pem);
        held.key = expired.key_pem;
    });
    daemon.decides(A, "Push", "replaced: not ours, and expired on").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 1);
    assert_eq!(world.held(A).id, id);
}

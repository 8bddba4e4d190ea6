//! Names that come, go, and change places.

use sandbox::faults::Gate;
use sandbox::faults::What;
use time::Duration;

use super::A;
use super::B;
use super::C;
use super::bought;
use super::now;
use crate::support::LABEL;
use crate::support::World;
use crate::support::guarded;

const AB: &str = "a.example.com b.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_added_brings_a_new_certificate_in_place() {
    let world = World::start().await;
    let service = world.announce("shop", "web", A);
    let mut daemon = world.daemon("");
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    let id = world.held(A).id;
    world.rancher.set_label(&service, LABEL, Some(AB));
    daemon.decides(A, "Issue", "names changed: it lacks b.example.com").await;
    world.reissued(A, 2).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 2);
    assert_eq!(world.production.issued()[1].names, [A, B]);
    assert_eq!(world.held(A).id, id);
    assert_eq!(world.rancher.certificates().len(), 1);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_removed_changes_nothing_before_the_renewal() {
    let world = World::start().await;
    let service = world.announce("shop", "web", AB);
    let mut daemon = world.daemon("");
    world.pushed(A).await;
    daemon.idles().await;
    let before = (world.asked_anything(), world.writes());
    world.rancher.set_label(&service, LABEL, Some(A));
    daemon.mentions("wanted names changed").await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.passes(1).await;
    daemon.stop().await;
    let mut daemon = world.daemon("");
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_was_removed_goes_with_the_renewal() {
    let world = World::start().await;
    world.lasting(Duration::seconds(8), Duration::ZERO);
    let daemon = world.daemon(AB);
    world.pushed(A).await;
    daemon.stop().await;
    world.lasting(Duration::days(90), Duration::ZERO);

    let mut daemon = world.daemon(A);
    daemon.decides(A, "Renew", "expiring").await;
    world.reissued(A, 2).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 2);
    assert_eq!(world.production.issued()[1].names, [A]);
    assert_eq!(world.rancher.certificates().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_the_same_names_are_one_certificate() {
    let world = World::start().await;
    let mut daemon = world.daemon("a.example.com b.example.com, b.example.com a.example.com");
    world.pushed(A).await;
    daemon.settles().await;
    assert_eq!(world.production.issued().len(), 1, "{}", daemon.text());
    assert_eq!(world.production.issued()[0].names, [A, B]);
    assert_eq!(world.rancher.certificates().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_another_order_are_the_same_certificate() {
    let world = World::start().await;
    let mut daemon = world.daemon(AB);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let before = (world.asked_anything(), world.writes());

    let mut daemon = world.daemon("b.example.com a.example.com");
    daemon.decides(B, "Keep", "fresh until").await;
    daemon.passes(1).await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    assert_eq!(world.rancher.certificates().len(), 1);
    assert!(!world.store().join("live").join(B).exists());
    daemon.stop().await;

    // Rancher's copy has another name than is wanted now, and is still the one that comes back.
    world.lose_volume();
    let mut daemon = world.daemon("b.example.com a.example.com");
    daemon.decides(B, "Restore", "a better copy of ours").await;
    daemon.decides(B, "Keep", "fresh until").await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    assert_eq!(world.live_leaf(B), world.held(A).leaf());
}

/// The certificate with the old primary name is not renamed: balancers list it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_another_order_are_renewed_under_the_name_that_rancher_has() {
    let world = World::start().await;
    world.lasting(Duration::seconds(8), Duration::ZERO);
    let daemon = world.daemon(AB);
    world.pushed(A).await;
    daemon.stop().await;
    world.lasting(Duration::days(90), Duration::ZERO);

    let mut daemon = world.daemon("b.example.com a.example.com");
    daemon.decides(B, "Renew", "expiring").await;
    world.reissued(A, 2).await;
    daemon.decides(B, "Keep", "fresh until").await;
    assert_eq!(world.rancher.certificates().len(), 1);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_name_that_is_removed_leaves_its_certificate_as_it_is() {
    let world = World::start().await;
    let mut daemon = world.daemon(AB);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let before = world.held(A);

    let mut daemon = world.daemon(B);
    world.pushed(B).await;
    daemon.mentions("nobody wants this certificate any more").await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 2);
    assert_eq!(world.held(A), before);
    world.assert_newest_everywhere(B);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_parted_keep_the_certificate_with_both() {
    let world = World::start().await;
    let mut daemon = world.daemon(AB);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let before = world.held(A);

    let mut daemon = world.daemon("a.example.com, b.example.com");
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.decides(B, "Issue", "first certificate").await;
    world.pushed(B).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 2);
    assert_eq!(world.production.issued()[1].names, [B]);
    assert_eq!(world.held(A), before);
    assert_eq!(world.held(B).leaf(), world.issued(B)[1]);
}

/// The narrower certificate is in the store, but what serves both names stays until the other one is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_served_name_is_not_taken_away_before_its_own_certificate_is_at_rancher() {
    let world = World::start().await;
    let id = world.paste(A, &bought(&[A, B], 10, 355), None);
    let gate = Gate::new();
    let is_order_of_b = |seen: &sandbox::faults::Seen| {
        seen.endpoint == "new-order" && seen.subject == "b.example.com"
    };
    let hold = What::Hold(gate.clone());
    world.production.faults().add_when(is_order_of_b, 0, 1, hold);
    let settings = world.settings().with("DOMAINS", "a.example.com, b.example.com");
    let mut daemon = settings.with("REPLACE_FOREIGN", "always").start();
    guarded("the order of b", gate.reached(1)).await;
    let reason = "covers b.example.com, which ours does not yet";
    daemon.decides(A, "Wait", reason).await;
    assert_eq!(world.held(A).puts, 0);
    gate.open();
    world.pushed(B).await;
    daemon.decides(A, "Push", "REPLACE_FOREIGN=always").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.held(A).id, id);
    assert_eq!(world.production.issued().len(), 2);
}

/// Each may leave out a name that the other covers, but not both at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_certificates_do_not_both_give_up_a_name_that_they_share() {
    const SHARED: &str = "shared.example.com";
    let world = World::start().await;
    let mut daemon =
        world.daemon("a.example.com shared.example.com, b.example.com shared.example.com");
    world.pushed(A).await;
    world.pushed(B).await;
    daemon.idles().await;
    daemon.stop().await;
    let account = world.production.accounts().pop().unwrap().url;
    let wait = serde_json::json!({
        "kind": "name", "directory": world.production.directory_url(), "account": account, "name": SHARED,
    });
    world.waits_until(wait, now() + Duration::HOUR, now());

    // Both are ordered by the first pass, for which the other one covers the name.
    let domains = "a.example.com c.example.com, b.example.com d.example.com, shared.example.com";
    let mut daemon = world.daemon(domains);
    world.issues(A, 2).await;
    world.issues(B, 2).await;
    daemon.mentions("which ours does not yet").await;
    daemon.passes(1).await;
    let covers = |name: &str| {
        let leaf = world.held(name).leaf().to_owned();
        let issued = world.production.issued();
        let held = issued.iter().find(|issued| issued.leaf_sha256 == leaf);
        held.unwrap().names.iter().any(|name| name == SHARED)
    };
    assert_ne!(covers(A), covers(B), "one has given it up, one still serves it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_nobody_wants_is_renewed_while_a_balancer_lists_it_and_else_told_once() {
    let world = World::start().await;
    let gone = world.announce("shop", "gone", C);
    let mut daemon = world.daemon("");
    world.pushed(C).await;
    world.lasting(Duration::seconds(8), Duration::ZERO);
    let listed = world.announce("shop", "listed", A);
    world.pushed(A).await;
    world.lasting(Duration::days(90), Duration::hours(1));
    world.rancher.add_balancer("front", None, &[&world.held(A).id], "active");
    // Those of services that are removed as a whole hold for some minutes.
    for service in [listed, gone] {
        world.rancher.set_label(&service, LABEL, None);
    }
    let line = daemon.mentions("nobody wants this certificate any more").await;
    assert_eq!(line["names"], C);
    daemon.decides(A, "Renew", "expiring").await;
    world.reissued(A, 2).await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(daemon.with("nobody wants this certificate any more").len(), 1);
    daemon.stop().await;

    let mut daemon = world.daemon("");
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.passes(1).await;
    assert_eq!(daemon.with("nobody wants this certificate any more").len(), 0);
    assert_eq!(world.issued(A).len(), 2);
    assert_eq!(world.issued(C), [world.held(C).leaf()], "left as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_comes_back_finds_its_certificate() {
    let world = World::start().await;
    let mut daemon = world.daemon("a.example.com, c.example.com");
    world.pushed(A).await;
    world.pushed(C).await;
    daemon.idles().await;
    daemon.stop().await;
    let before = (world.asked_anything(), world.writes());
    let mut daemon = world.daemon(A);
    daemon.mentions("nobody wants this certificate any more").await;
    daemon.stop().await;
    let mut daemon = world.daemon("a.example.com, c.example.com");
    daemon.decides(C, "Keep", "fresh until").await;
    assert_eq!((world.asked_anything(), world.writes()), before);
}

/// Whoever lists it in a balancer may have given it a better name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_an_operator_renamed_is_known_by_its_names_and_keeps_its_new_one() {
    let world = World::start().await;
    world.lasting(Duration::seconds(8), Duration::ZERO);
    let daemon = world.daemon(AB);
    world.pushed(A).await;
    daemon.stop().await;
    let id = world.held(A).id;
    let rename = |held: &mut sandbox::rancher::certificate::Held| {
        held.name = Some("the shop".to_owned());
    };
    world.rancher.change_certificate(&id, rename);
    world.lasting(Duration::days(90), Duration::ZERO);

    let mut daemon = world.daemon(AB);
    daemon.decides(A, "Renew", "expiring").await;
    world.issues(A, 2).await;
    daemon.decides(A, "Keep", "fresh until").await;
    let held = world.held("the shop");
    assert_eq!((held.id, held.leaves), (id, world.issued(A)));
    assert_eq!(world.rancher.certificates().len(), 1);
}

/// The restored Rancher serves two names with one certificate, and each has an entry of its own by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_rancher_from_before_names_were_parted_is_brought_up_to_date() {
    let world = World::start().await;
    world.lasting(Duration::seconds(8), Duration::ZERO);
    let daemon = world.daemon(AB);
    world.pushed(A).await;
    daemon.stop().await;
    let backup = world.rancher.snapshot();
    world.lasting(Duration::days(90), Duration::ZERO);
    let mut daemon = world.daemon(A);
    world.reissued(A, 2).await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.stop().await;
    world.rancher.restore(backup);

    let mut daemon = world.daemon("a.example.com, b.example.com");
    world.pushed(B).await;
    daemon.decides(B, "Keep", "fresh until").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.issued(A).len(), 2);
    assert_eq!(world.issued(B).len(), 2);
}

//! First certificates, and nothing after them.

use sandbox::rancher::service::ServiceSpec;

use super::A;
use super::B;
use super::C;
use crate::support::LABEL;
use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_labels_and_in_domains_get_their_first_certificates_together() {
    let world = World::start().await;
    world.announce("shop", "web", "shop.example.com, www.shop.example.com");
    world.announce("blog", "nginx", "blog.example.com www.blog.example.com");
    world.announce("wiki", "app", "wiki.example.com");
    let mut daemon = world.daemon("a.example.com, b.example.com");
    let names =
        [A, B, "shop.example.com", "www.shop.example.com", "blog.example.com", "wiki.example.com"];
    for name in names {
        world.pushed(name).await;
    }
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), names.len());
    assert_eq!(world.rancher.certificates().len(), names.len());
    for name in names {
        world.assert_newest_everywhere(name);
        assert!(daemon.has_decided(name, "Issue", "first certificate"));
    }
    assert!(world.staging.issued().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grouped_names_share_one_certificate_that_the_first_one_names() {
    let world = World::start().await;
    let mut daemon = world.daemon("a.example.com b.example.com c.example.com");
    world.pushed(A).await;
    daemon.idles().await;
    let issued = world.production.issued();
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].names, [A, B, C]);
    assert_eq!(world.rancher.certificates().len(), 1);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_names_from_two_sides_are_one_certificate() {
    let world = World::start().await;
    world.announce("shop", "web", "b.example.com a.example.com");
    let mut daemon = world.daemon("a.example.com b.example.com");
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 1);
    assert_eq!(world.rancher.certificates().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_asks_nobody_for_anything() {
    let world = World::start().await;
    world.announce("shop", "web", "shop.example.com");
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    world.pushed("shop.example.com").await;
    daemon.says("balancers woken").await;
    daemon.idles().await;
    daemon.stop().await;
    let before = (world.asked_anything(), world.writes(), world.reveals());
    let wakes = world.rancher.wakes();

    let mut daemon = world.daemon(A);
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.decides("shop.example.com", "Keep", "fresh until").await;
    daemon.passes(2).await;
    assert_eq!((world.asked_anything(), world.writes(), world.reveals()), before);
    assert_eq!(world.rancher.wakes(), wakes);
    assert_eq!(daemon.with("acting on a certificate").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_the_same_at_rancher_is_never_written() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    let writes = world.writes();
    // Whatever else happens in the environment.
    world.rancher.reload_metadata();
    let other = world.announce("shop", "web", "not_a_name");
    daemon.passes(2).await;
    world.rancher.remove_service(&other);
    daemon.passes(2).await;
    assert_eq!(world.writes(), writes);
    assert_eq!(world.held(A).puts, 0);
    assert_eq!(world.production.issued().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_without_a_common_name_is_pushed_kept_and_restored() {
    let world = World::start().await;
    world.production.set(|settings| settings.common_name = false);
    let mut daemon = world.daemon("a.example.com b.example.com");
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.stop().await;
    world.lose_volume();

    let mut daemon = world.daemon("a.example.com b.example.com");
    daemon.decides(A, "Restore", "Rancher has a better copy of ours").await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(world.production.issued().len(), 1);
    world.assert_newest_everywhere(A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domains_win_a_primary_name_and_the_label_keeps_its_other_names() {
    let world = World::start().await;
    world.announce("shop", "web", "a.example.com y.example.com www.y.example.com");
    let mut daemon = world.daemon("a.example.com x.example.com");
    world.pushed(A).await;
    world.pushed("y.example.com").await;
    daemon.mentions("become a certificate of their own").await;
    daemon.idles().await;
    let mut sets: Vec<_> = world.production.issued();
    sets.sort_by(|a, b| a.names.cmp(&b.names));
    let sets: Vec<_> = sets.into_iter().map(|issued| issued.names).collect();
    assert_eq!(sets[0], [A, "x.example.com"]);
    assert_eq!(sets[1], ["www.y.example.com", "y.example.com"]);
    assert_eq!(sets.len(), 2);
}

/// Lists of services change their order, and a new service may have any uuid: who held a name keeps it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_labels_with_one_primary_name_the_first_to_hold_it_keeps_it() {
    let world = World::start().await;
    let with_uuid = |name: &str, uuid: &str, hosts: &str| {
        let mut spec = ServiceSpec::new("shop", name).label(LABEL, hosts);
        spec.uuid = Some(uuid.to_owned());
        spec
    };
    let high = "ffffffff-0000-4000-8000-000000000000";
    world.rancher.add_service(with_uuid("old", high, "a.example.com b.example.com"));
    let mut daemon = world.daemon("");
    world.pushed(A).await;
    let low = "00000000-0000-4000-8000-000000000000";
    world.rancher.add_service(with_uuid("new", low, "a.example.com y.example.com"));
    world.pushed("y.example.com").await;
    daemon.mentions("belongs to shop/old: `y.example.com` become").await;
    daemon.idles().await;
    daemon.stop().await;

    let mut daemon = world.daemon("");
    daemon.idles().await;
    daemon.passes(1).await;
    assert_eq!(world.production.issued().len(), 2);
    assert_eq!(world.production.issued()[0].names, [A, B]);
    assert_eq!(world.production.issued()[1].names, ["y.example.com"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_usual_level_of_the_log_the_reason_is_told() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    let line = daemon.says("acting on a certificate").await;
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["names"], A);
    assert_eq!(line["action"], "Issue");
    assert_eq!(line["reason"], "first certificate");
    // The second time it is news again, because all was well in between.
    for _ in 0..2 {
        daemon.decides(A, "Keep", "fresh until").await;
        world.rancher.remove_certificate(&world.held(A).id);
        let line = daemon.says("acting on a certificate").await;
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["action"], "Push");
        assert_eq!(line["reason"], "Rancher does not have it");
    }
}

//! From a name to a certificate that Rancher holds.

use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_in_domains_gets_its_first_certificate() {
    let world = World::start().await;
    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(world.issued("a.example.com").len(), 1, "{}", daemon.text());
    assert_eq!(world.rancher.wakes(), [world.rancher.own_service()]);
}

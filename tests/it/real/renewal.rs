//! What becomes of certificates and accounts in time.

use crate::real::haproxy::Rules;
use crate::real::scene::Scene;
use crate::real::scene::leaf_of;
use crate::support::LABEL;
use sandbox::rancher::service::ServiceSpec;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_serves_the_renewed_certificate_after_a_reload() {
    let scene = Scene::with(|pebble| pebble.lifetime = Some(16)).await;
    let daemon = scene.settings().with("DOMAINS", "a.example.com").start();
    scene.pushed(&daemon, &["a.example.com"]).await;
    let first = scene.leaf("a.example.com");
    let rules = Rules::default();
    let mut balancer = scene.balancer(&rules).await;
    let root = scene.production.root_pem().await;
    let before = balancer.served("a.example.com", &root).await.unwrap();
    assert_eq!(leaf_of(&before), first);

    scene.replaced(&daemon, "a.example.com", &first).await;
    let certificates = scene.rancher.certificates();
    assert_eq!(certificates.len(), 1, "{}", daemon.text());
    balancer.load(&rules, &certificates).await.unwrap();
    let after = balancer.served("a.example.com", &root).await.unwrap();
    assert_eq!(leaf_of(&after), certificates[0].leaf());
    assert_ne!(after[0], before[0]);
    assert_eq!(scene.production.accounts(), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pebble_that_forgot_the_account_costs_no_certificate() {
    let mut scene = Scene::start().await;
    let mut daemon = scene.settings().with("DOMAINS", "a.example.com").start();
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    let first = scene.leaf("a.example.com");

    scene.production.restart().await;
    let spec = ServiceSpec::new("shop", "web").label(LABEL, "b.example.com");
    drop(scene.rancher.add_service(spec));
    scene.pushed(&daemon, &["b.example.com"]).await;
    daemon.settles().await;
    let pebble = &scene.production;
    let asked = (pebble.accounts(), pebble.orders(), pebble.issued());
    assert_eq!(asked, (1, 1, 1), "{}", daemon.text());
    assert_eq!(scene.leaf("a.example.com"), first);
}

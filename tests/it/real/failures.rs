//! What fails on the way, and what it costs.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use crate::real::haproxy::Rules;
use crate::real::nginx::Nginx;
use crate::real::scene::Scene;
use sandbox::parts::port::Port;

/// Nobody listens there.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_that_leads_elsewhere_costs_one_validation_however_often_the_daemon_starts() {
    let scene = Scene::start().await;
    scene.dns.resolve("b.example.com", ELSEWHERE).await;
    let settings = scene.settings().with("DOMAINS", "a.example.com, b.example.com");
    let mut daemon = settings.clone().start();
    daemon.mentions("validation of b.example.com failed").await;
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    assert_eq!(scene.production.issued(), 1, "{}", daemon.text());
    for _ in 0..2 {
        drop(daemon.kill().await);
        daemon = settings.clone().start();
        daemon.settles().await;
        assert_eq!(scene.production.validations("b.example.com"), 1, "{}", daemon.text());
        assert!(daemon.text().contains("validation of b.example.com failed"));
    }
    assert!(scene.rancher.certificate("b.example.com").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_that_leads_elsewhere_takes_no_certificate_from_its_neighbour() {
    let scene = Scene::start().await;
    scene.dns.resolve("b.example.com", ELSEWHERE).await;
    let settings = scene.settings().with("DOMAINS", "a.example.com b.example.com");
    let mut daemon = settings.start();
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    assert_eq!(scene.production.validations("b.example.com"), 1, "{}", daemon.text());
    assert_eq!(scene.production.issued(), 1, "{}", daemon.text());
    let balancer = scene.balancer(&Rules::default()).await;
    let root = scene.production.root_pem().await;
    drop(balancer.served("a.example.com", &root).await.unwrap());
    drop(balancer.served("b.example.com", &root).await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balancer_without_the_rule_for_challenges_costs_nothing_and_the_rule_heals_it() {
    let port = Port::claim();
    let scene = Scene::with(|pebble| pebble.http_port = port.number()).await;
    let settings = scene
        .settings()
        .with("HOST_CHECK_PORT", port.number().to_string())
        .with("DOMAINS", "a.example.com");
    let mut balancer = scene.balancer_on(port, &Rules::default()).await;
    let mut daemon = settings.start();
    daemon.mentions("self-check of a.example.com failed").await;
    daemon.passes(1).await;
    assert_eq!(scene.production.validations("a.example.com"), 0, "{}", daemon.text());

    let open = Rules { challenges: Some(scene.nginx.port()), ..Rules::default() };
    balancer.load(&open, &[]).await.unwrap();
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    let asked = (scene.production.orders(), scene.production.issued());
    assert_eq!(asked, (1, 1), "the order is used again: {}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_server_that_is_down_costs_nothing_and_its_return_heals_it() {
    let mut scene = Scene::start().await;
    scene.nginx.stop().await;
    let mut daemon = scene.settings().with("DOMAINS", "a.example.com").start();
    daemon.mentions("self-check of a.example.com failed").await;
    assert_eq!(scene.production.validations("a.example.com"), 0, "{}", daemon.text());
    scene.nginx.begin().await;
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    let asked = (scene.production.orders(), scene.production.issued());
    assert_eq!(asked, (1, 1), "the order is used again: {}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_of_an_nginx_that_does_not_have_the_token_is_told_as_404() {
    let scene = Scene::start().await;
    let root = scene.path("somewhere");
    std::fs::create_dir(&root).unwrap();
    let elsewhere = Nginx::start(&root, scene.path("elsewhere")).await;
    let settings = scene.settings().with("HOST_CHECK_PORT", elsewhere.port().to_string());
    let mut daemon = settings.with("DOMAINS", "a.example.com").start();
    let line = daemon.says("certificate not done").await;
    let error = line["error"].as_str().unwrap();
    assert!(
        error.contains("answered 404 Not Found: the path /.well-known/acme-challenge/"),
        "{line}"
    );
    assert_eq!(scene.production.validations("a.example.com"), 0);
}

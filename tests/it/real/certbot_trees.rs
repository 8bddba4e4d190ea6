//! The store is certbot's layout: certbot reads ours, and we take over certbot's.

use std::fs;

use crate::real::haproxy::Rules;
use crate::real::scene::Scene;
use crate::real::scene::leaf_of;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certbot_lists_the_store_and_renews_nothing_in_it() {
    // To certbot, everything that ends within 30 days is due.
    let scene = Scene::with(|pebble| pebble.lifetime = Some(3600)).await;
    let domains = "a.example.com www.a.example.com, b.example.com";
    let mut daemon = scene.settings().with("DOMAINS", domains).start();
    scene.pushed(&daemon, &["a.example.com", "b.example.com"]).await;
    daemon.settles().await;

    let said = scene.certbot().certificates().await;
    for line in [
        "Certificate Name: a.example.com",
        "Domains: a.example.com www.a.example.com",
        "Certificate Name: b.example.com",
        "(VALID: ",
    ] {
        assert!(said.contains(line), "{line}:\n{said}");
    }
    assert!(!said.contains("INVALID"), "{said}");
    let said = scene.certbot().renew().await;
    assert_eq!(scene.production.issued(), 2, "{said}");
    assert!(!said.contains("parse"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certbot_takes_the_store_over_once_autorenew_is_on() {
    let scene = Scene::with(|pebble| pebble.lifetime = Some(3600)).await;
    let mut daemon = scene.settings().with("DOMAINS", "a.example.com www.a.example.com").start();
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    drop(daemon.stop().await);

    let conf = scene.path("store").join("renewal/a.example.com.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, text.replace("autorenew = False\n", "")).unwrap();
    let said = scene.certbot().renew().await;
    assert_eq!(scene.production.issued(), 2, "{said}");
    let said = scene.certbot().certificates().await;
    assert!(said.contains("Domains: a.example.com www.a.example.com"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tree_of_certbots_is_taken_over_and_pushed_without_an_order() {
    let scene = Scene::with(|pebble| pebble.lifetime = Some(3600)).await;
    let certbot = scene.certbot();
    let directory = scene.production.directory_url();
    let names = ["a.example.com", "www.a.example.com"];
    drop(certbot.obtain(&directory, &names).await);
    let conf = scene.path("store").join("renewal/a.example.com.conf");
    let before = fs::read_to_string(&conf).unwrap();

    let settings = scene.settings().with("DOMAINS", "www.a.example.com a.example.com");
    let mut daemon = settings.start();
    daemon.says("certbot's lineage taken over").await;
    scene.pushed(&daemon, &["www.a.example.com"]).await;
    daemon.settles().await;
    assert_eq!(scene.production.orders(), 1, "{}", daemon.text());
    let balancer = scene.balancer(&Rules::default()).await;
    let root = scene.production.root_pem().await;
    for name in names {
        let chain = balancer.served(name, &root).await.unwrap();
        assert_eq!(leaf_of(&chain), scene.leaf("www.a.example.com"));
    }
    let after = fs::read_to_string(&conf).unwrap();
    assert_eq!(after.replace("autorenew = False\n", ""), before);
    let said = certbot.renew().await;
    assert_eq!(scene.production.orders(), 1, "{said}");
}

//! From a name to a certificate that HAProxy serves and that verifies against Pebble's root.

use std::collections::BTreeSet;

use crate::real::haproxy::Rules;
use crate::real::scene::Scene;
use crate::real::scene::leaf_of;
use crate::support::Daemon;
use crate::support::Settings;
use crate::support::daemon::command;
use sandbox::parts::pebble::PebbleSettings;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_serves_the_first_certificate_of_a_name() {
    let scene = Scene::start().await;
    let settings = scene.settings().with("DOMAINS", "a.example.com");
    let mut daemon = settings.start();
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    assert_eq!(scene.production.issued(), 1, "{}", daemon.text());
    assert_eq!(scene.rancher.wakes(), [scene.rancher.own_service()]);

    let balancer = scene.balancer(&Rules::default()).await;
    let root = scene.production.root_pem().await;
    let chain = balancer.served("a.example.com", &root).await.unwrap();
    assert_eq!(chain.len(), 2, "leaf and intermediate");
    assert_eq!(leaf_of(&chain), scene.leaf("a.example.com"));
    drop(balancer.served("b.example.com", &root).await.unwrap_err());
}

/// A umask of root's, as hardened hosts have it: nginx reads the challenge files as somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_reads_the_challenge_files_whatever_the_umask_is() {
    let scene = Scene::start().await;
    let settings = scene.settings().with("DOMAINS", "a.example.com");
    let daemon = with_umask("077", &settings);
    scene.pushed(&daemon, &["a.example.com"]).await;
    assert_eq!(scene.production.issued(), 1, "{}", daemon.text());
}

fn with_umask(umask: &str, settings: &Settings) -> Daemon {
    let daemon = command(settings);
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.arg("-c").arg(format!("umask {umask}; exec \"$0\""));
    shell.arg(daemon.as_std().get_program());
    shell.env_clear().envs(settings.vars()).kill_on_drop(true);
    Daemon::of(shell)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_one_entry_share_a_certificate_and_each_is_served() {
    let scene = Scene::start().await;
    let domains = "a.example.com www.a.example.com, b.example.com";
    let mut daemon = scene.settings().with("DOMAINS", domains).start();
    scene.pushed(&daemon, &["a.example.com", "b.example.com"]).await;
    daemon.settles().await;
    assert_eq!(scene.production.issued(), 2, "{}", daemon.text());

    let default = Some("b.example.com".to_owned());
    let balancer = scene.balancer(&Rules { default, ..Rules::default() }).await;
    let root = scene.production.root_pem().await;
    for (name, holder) in [
        ("a.example.com", "a.example.com"),
        ("www.a.example.com", "a.example.com"),
        ("b.example.com", "b.example.com"),
    ] {
        let chain = balancer.served(name, &root).await.unwrap();
        assert_eq!(leaf_of(&chain), scene.leaf(holder), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staging_certificates_give_way_to_production_ones() {
    let scene = Scene::start().await;
    let other = PebbleSettings::new(scene.nginx.port(), scene.dns.address());
    let staging = scene.pebble("staging", other).await;
    let settings = scene
        .settings()
        .with("DOMAINS", "a.example.com")
        .with("ACME_STAGING_DIRECTORY", staging.directory_url());
    let certbots = || {
        let path = scene.path("store").join("renewal/a.example.com.conf");
        std::fs::read_to_string(path).unwrap()
    };
    let mut daemon = settings.clone().with("STAGING", "True").start();
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    assert_eq!((staging.issued(), scene.production.issued()), (1, 0));
    assert!(certbots().contains(&staging.directory_url()));
    let (rules, first) = (Rules::default(), scene.leaf("a.example.com"));
    let mut balancer = scene.balancer(&rules).await;
    let roots = [staging.root_pem().await, scene.production.root_pem().await];
    let chain = balancer.served("a.example.com", &roots[0]).await.unwrap();
    assert_eq!(leaf_of(&chain), first);
    drop(daemon.stop().await);

    let mut daemon = settings.with("STAGING", "False").start();
    scene.replaced(&daemon, "a.example.com", &first).await;
    daemon.settles().await;
    assert_eq!((staging.issued(), scene.production.issued()), (1, 1));
    let text = certbots();
    assert!(text.contains(&scene.production.directory_url()), "{text}");
    assert!(!text.contains(&staging.directory_url()), "{text}");
    let certificates = scene.rancher.certificates();
    balancer.load(&rules, &certificates).await.unwrap();
    let chain = balancer.served("a.example.com", &roots[1]).await.unwrap();
    assert_eq!(leaf_of(&chain), scene.leaf("a.example.com"));
    drop(balancer.served("a.example.com", &roots[0]).await.unwrap_err());
    assert_eq!(certificates.len(), 1, "replaced in place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_nonces_cost_no_certificate() {
    let scene = Scene::with(|pebble| pebble.refused_nonces = 15).await;
    let names: Vec<String> = (0..6).map(|n| format!("n{n}.example.com")).collect();
    let settings = scene.settings().with("DOMAINS", names.join(","));
    let mut daemon = settings.start();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.pushed(&daemon, &names).await;
    daemon.settles().await;
    assert_eq!(scene.production.issued(), 6, "{}", daemon.text());
    assert_eq!(scene.production.orders(), 6, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chain_of_three_intermediates_is_served_whole() {
    let scene = Scene::with(|pebble| pebble.intermediates = 3).await;
    let mut daemon = scene.settings().with("DOMAINS", "a.example.com").start();
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    let balancer = scene.balancer(&Rules::default()).await;
    let root = scene.production.root_pem().await;
    let chain = balancer.served("a.example.com", &root).await.unwrap();
    let distinct: BTreeSet<&Vec<u8>> = chain.iter().collect();
    assert_eq!((chain.len(), distinct.len()), (4, 4), "{}", daemon.text());
    assert_eq!(leaf_of(&chain), scene.leaf("a.example.com"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valid_authorizations_are_not_validated_again() {
    let scene = Scene::with(|pebble| pebble.reused_authorizations = 100).await;
    let settings = scene.settings();
    let mut daemon = settings.clone().with("DOMAINS", "a.example.com, b.example.com").start();
    scene.pushed(&daemon, &["a.example.com", "b.example.com"]).await;
    daemon.settles().await;
    drop(daemon.stop().await);

    // An order that is ready when it is opened, and one with a name that is not.
    let first = scene.leaf("a.example.com");
    let grown = "a.example.com b.example.com, b.example.com c.example.com";
    let mut daemon = settings.with("DOMAINS", grown).start();
    scene.replaced(&daemon, "a.example.com", &first).await;
    scene.pushed(&daemon, &["b.example.com"]).await;
    daemon.settles().await;
    let validations = ["a.example.com", "b.example.com", "c.example.com"]
        .map(|name| scene.production.validations(name));
    assert_eq!(validations, [1, 1, 1], "{}", daemon.text());
    assert_eq!(scene.production.issued(), 4, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorizations_that_are_not_used_again_are_validated_again() {
    let scene = Scene::start().await;
    let settings = scene.settings();
    let mut daemon = settings.clone().with("DOMAINS", "a.example.com").start();
    scene.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    drop(daemon.stop().await);

    let first = scene.leaf("a.example.com");
    let mut daemon = settings.with("DOMAINS", "a.example.com b.example.com").start();
    scene.replaced(&daemon, "a.example.com", &first).await;
    daemon.settles().await;
    let validations =
        ["a.example.com", "b.example.com"].map(|name| scene.production.validations(name));
    assert_eq!(validations, [2, 1], "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_names_get_their_certificates_four_at_once() {
    let scene = Scene::start().await;
    let names: Vec<String> = (0..20).map(|n| format!("n{n}.example.com")).collect();
    let mut daemon = scene.settings().with("DOMAINS", names.join(",")).start();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.pushed(&daemon, &names).await;
    daemon.settles().await;
    assert_eq!(scene.production.issued(), 20, "{}", daemon.text());
    assert_eq!(scene.production.orders(), 20, "{}", daemon.text());

    let balancer = scene.balancer(&Rules::default()).await;
    let root = scene.production.root_pem().await;
    for name in names {
        let chain = balancer.served(name, &root).await.unwrap();
        assert_eq!(leaf_of(&chain), scene.leaf(name), "{name}");
    }
}

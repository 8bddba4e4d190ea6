//! What the daemon makes of Rancher's answers: pages, keys, addresses, errors, nonsense.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use rancher_lets_encrypt::backends::rancher::Rancher as Adapter;
use rancher_lets_encrypt::backends::rancher::api::Api;
use rancher_lets_encrypt::backends::rancher::base::Base;
use rancher_lets_encrypt::backends::rancher::metadata::Metadata;
use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::held::CertificateId;
use rancher_lets_encrypt::core::held::Held;
use rancher_lets_encrypt::core::held::Which;
use rancher_lets_encrypt::core::problem::DestinationError;
use rancher_lets_encrypt::ports::Destination;
use reqwest::Url;
use sandbox::certs;
use sandbox::faults::Faults;
use sandbox::faults::Gate;
use sandbox::faults::What;
use sandbox::rancher::settings::Role;
use sandbox::serve::Answers;
use sandbox::serve::Asked;
use sandbox::serve::Server;
use serde_json::Value;
use serde_json::json;

use crate::support::World;
use crate::support::daemon::command;
use crate::support::guarded;
use crate::support::platform::add;
use crate::support::platform::answer;
use crate::support::platform::bought;
use crate::support::platform::http_client;
use crate::support::platform::self_signed;
use crate::support::platform::status;

mod access;
mod front;
mod odd;

const LIST: &str = "list-certificates";
const CREATE: &str = "create-certificate";
const PUT: &str = "put-certificate";

/// A world whose Rancher gives small pages and holds `foreign` certificates of somebody else.
async fn crowded(foreign: usize) -> World {
    let world = World::start().await;
    world.rancher.settings(|settings| settings.max_page = 100);
    let pair = bought(&["shop.example.net"]);
    for number in 0..foreign {
        add(&world.rancher, &format!("foreign-{number}"), &pair);
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_certificate_is_found_behind_hundreds_of_foreign_ones_in_small_pages() {
    let world = crowded(220).await;
    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    daemon.stop().await;
    let pair = bought(&["shop.example.net"]);
    for number in 220..250 {
        add(&world.rancher, &format!("foreign-{number}"), &pair);
    }
    let before = world.rancher.certificates();
    assert_eq!(before[220].name.as_deref(), Some("a.example.com"), "on page 3");

    let mut daemon = world.daemon("a.example.com");
    daemon.settles().await;
    assert_eq!(world.rancher.faults().count(CREATE), 1);
    assert_eq!(world.rancher.faults().count(PUT), 0);
    assert_eq!(world.issued("a.example.com").len(), 1);
    assert_eq!(world.rancher.certificates(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_never_comes_is_given_up_and_read_again() {
    let world = World::start().await;
    let faults = world.rancher.faults();
    faults.add(LIST, 1, What::Stall);
    let settings = world.settings().with("CONNECT_TIMEOUT", "1");
    let mut daemon = settings.with("DOMAINS", "a.example.com").start();
    let line = daemon.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("timed out while waiting for the answer"), "{error}");
    assert_eq!(world.production.orders().len(), 0, "not there is not unknown");
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_takes_longer_than_connecting_may_is_waited_for() {
    let world = World::start().await;
    let faults = world.rancher.faults();
    faults.add(LIST, 1, What::Delay(Duration::from_millis(2500)));
    // A whole request may take three times as long.
    let settings = world.settings().with("CONNECT_TIMEOUT", "2");
    let daemon = settings.with("DOMAINS", "a.example.com").start();
    world.pushed("a.example.com").await;
    assert_eq!(daemon.with("cannot be read").len(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_vanish_while_the_list_is_read_hide_no_certificate() {
    let world = crowded(100).await;
    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    daemon.stop().await;
    let pair = bought(&["shop.example.net"]);
    for number in 100..150 {
        add(&world.rancher, &format!("foreign-{number}"), &pair);
    }
    // Ours is the first row behind the first page: a row less before it brings it under the offset.
    assert_eq!(world.rancher.certificates()[100].name.as_deref(), Some("a.example.com"));

    let gate = Gate::new();
    let faults = world.rancher.faults();
    let is_second_page =
        |seen: &sandbox::faults::Seen| seen.endpoint == LIST && seen.path.contains("marker=");
    faults.add_when(is_second_page, 0, 1, What::Hold(gate.clone()));
    let mut daemon = world.daemon("a.example.com");
    guarded("the second page", gate.reached(1)).await;
    let gone = world.rancher.certificate("foreign-7").unwrap().id;
    world.rancher.remove_certificate(&gone);
    gate.open();
    daemon.settles().await;
    assert_eq!(faults.count(CREATE), 1, "{}", daemon.text());
    assert_eq!(faults.count(PUT), 0);
    assert_eq!(world.rancher.certificates().len(), 150);
    assert_eq!(daemon.with("cannot be read").len(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_without_name_common_name_or_key_size_are_read_over() {
    let world = World::start().await;
    let id = add(&world.rancher, "x", &bought(&["shop.example.net"]));
    world.rancher.change_certificate(&id, |held| held.name = None);
    let id = add(&world.rancher, "y", &bought(&["a.example.com"]));
    world.rancher.change_certificate(&id, |held| {
        held.cert = "no certificate at all".to_owned();
        held.chain = None;
    });
    let content = certs::LeafContent::new(
        &["b.example.net"],
        time::macros::datetime!(2026-01-02 3:04:05 UTC),
        time::macros::datetime!(2046-11-22 0:00 UTC),
    );
    let company = certs::CertificateAuthority::new(&certs::Subject::new("Company", "Root"), &[]);
    add(&world.rancher, "z", &company.pair(&content.without_common_name()));
    let before = world.rancher.certificates();

    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(world.rancher.certificates()[..3], before);
    assert_eq!(world.issued("a.example.com").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_the_address_reaches_the_environment() {
    let world = World::start().await;
    for path in [
        "",
        "/",
        "/v1",
        "/v1/",
        "//v1",
        "/v1/schemas",
        "/v1/projects/1a5",
        "/v2-beta",
        "/v2-beta/",
        "//v2-beta//",
        "/v2-beta/projects/1a5",
        "/v2-beta/projects/1a5/schemas",
        "/v2-beta/projects/1a5/",
    ] {
        if let Some(held) = world.rancher.certificate("a.example.com") {
            world.rancher.remove_certificate(&held.id);
        }
        let daemon = world
            .settings()
            .with("CATTLE_URL", format!("{}{path}", world.rancher.origin()))
            .with("DOMAINS", "a.example.com")
            .start();
        world.pushed("a.example.com").await;
        daemon.stop().await;
    }
    assert_eq!(world.issued("a.example.com").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rancher_that_comes_after_the_daemon_gets_its_certificate() {
    let world = World::start().await;
    world.rancher.close_api().await;
    let mut daemon = world.daemon("a.example.com");
    let line = daemon.says("Rancher cannot be read").await;
    assert!(line["error"].as_str().unwrap().contains(&world.rancher.origin()), "{line}");
    daemon.passes(1).await;
    assert_eq!(world.production.orders().len(), 0, "whether there is a certificate is not known");
    assert_eq!(daemon.count("Rancher cannot be read"), 1, "told once");

    world.rancher.open_api().await.unwrap();
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(daemon.count("Rancher can be read again"), 1);
    assert_eq!(world.issued("a.example.com").len(), 1);

    // In the middle of its life the same.
    world.rancher.close_api().await;
    daemon.passes(1).await;
    world.rancher.open_api().await.unwrap();
    daemon.settles().await;
    assert_eq!(world.issued("a.example.com").len(), 1);
    assert_eq!(world.rancher.faults().count(CREATE), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_answers_of_rancher_are_waited_for() {
    let world = World::start().await;
    let faults = world.rancher.faults();
    faults.add_when(|_| true, 0, u32::MAX, What::Delay(Duration::from_millis(150)));
    let mut daemon = world.daemon("a.example.com, b.example.com");
    world.pushed("a.example.com").await;
    world.pushed("b.example.com").await;
    daemon.settles().await;
    assert_eq!(faults.count(CREATE), 2);
    assert_eq!(daemon.with("WARN").len(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_does_not_come_whole_is_no_empty_list() {
    let world = World::start().await;
    let faults = world.rancher.faults();
    let nonsense = [
        What::Truncate,
        What::Close,
        status(500),
        status(503),
        answer(200, ""),
        answer(200, "{}"),
        answer(200, r#"{"type":"collection","data":null,"pagination":null}"#),
        answer(200, r#"{"type":"error","status":200}"#),
        answer(200, "<html><body>maintenance</body></html>"),
        answer(302, ""),
    ];
    let count = nonsense.len();
    for what in nonsense {
        faults.add(LIST, 1, what);
    }
    let gate = Gate::new();
    faults.add_when(|seen| seen.endpoint == LIST, 0, 1, What::Hold(gate.clone()));
    let mut daemon = world.daemon("a.example.com");
    guarded("the first good list", gate.reached(1)).await;
    assert_eq!(faults.count(LIST), count + 1);
    assert_eq!(world.production.orders().len(), 0, "{}", daemon.text());
    gate.open();
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(world.issued("a.example.com").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn html_in_place_of_json_is_told_with_the_setting_to_check() {
    let world = World::start().await;
    let login = answer(200, "<!DOCTYPE html><html><title>Log in</title></html>");
    world.rancher.faults().add_when(|_| true, 0, u32::MAX, login);
    let mut daemon = world.daemon("a.example.com");
    let line = daemon.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("is CATTLE_URL the address of a Rancher 1.x server?"), "{error}");
    assert!(!error.contains("Log in"), "{error}");
    daemon.passes(1).await;
    assert_eq!(world.production.orders().len(), 0);
    world.rancher.faults().clear();
    world.pushed("a.example.com").await;
}

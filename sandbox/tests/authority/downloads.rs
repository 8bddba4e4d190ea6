//! Certificates that are lost for a while, and orders that do not say all of themselves.

use sandbox::authority::problem::Problem;
use sandbox::authority::settings::downloads::Download;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::authority::settings::shapes::OrderShape;
use serde_json::Value;

use crate::Client;
use crate::World;
use crate::chain;
use crate::request;
use crate::text;

/// An order that is valid: its URL and what it says.
async fn valid(world: &World, client: &Client, name: &str) -> (String, Value) {
    let (url, order) = world.ready(client, &[name]).await;
    let (_, csr) = request(&[name]);
    let answer = client.finalize(&order, &csr).await.expect_status(200);
    (url, answer.json())
}

#[tokio::test]
async fn certificate_is_lost_for_so_many_downloads() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = valid(&world, &client, "a.example").await;
    let certificate = text(&order["certificate"]);
    for (status, kind) in
        [(404, "malformed"), (410, "malformed"), (403, "unauthorized"), (500, "serverInternal")]
    {
        let lost = Download::Refuse(Problem::new(status, kind, "lost"));
        world.authority.set(|settings| settings.downloads = vec![Quirk::new(lost).times(2)]);
        for _ in 0..2 {
            let answer = client.get(certificate).await;
            answer.expect_problem(status, kind);
            let shown = client.get(&url).await.json();
            assert_eq!(shown["status"], "valid");
            assert_eq!(shown["certificate"], order["certificate"]);
        }
        let found = client.get(certificate).await.expect_status(200);
        assert_eq!(chain(&found.text()).len(), 3);
    }
}

#[tokio::test]
async fn certificate_is_garbage_until_that_is_switched_off() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (_, order) = valid(&world, &client, "a.example").await;
    let (_, other) = valid(&world, &client, "b.example").await;
    let garbage = Download::Text("<html>It works!</html>".to_owned());
    world.authority.set(|settings| settings.downloads = vec![Quirk::new(garbage).of("a.example")]);
    for _ in 0..3 {
        let answer = client.get(text(&order["certificate"])).await;
        let answer = answer.expect_status(200);
        assert_eq!(answer.text(), "<html>It works!</html>");
        assert_eq!(answer.header("content-type"), "application/pem-certificate-chain");
    }
    let found = client.get(text(&other["certificate"])).await;
    assert_eq!(chain(&found.text()).len(), 3, "others can be had");
    world.authority.set(|settings| settings.downloads.clear());
    let found = client.get(text(&order["certificate"])).await;
    assert_eq!(chain(&found.expect_status(200).text()).len(), 3);
}

#[tokio::test]
async fn valid_order_can_lack_all_but_its_certificate() {
    let world = World::start(|settings| {
        settings.shapes = vec![Quirk::new(OrderShape::OnlyCertificate)];
    })
    .await;
    let client = world.client().await;
    let fields = |order: &Value| -> Vec<String> {
        let object = order.as_object().expect("an object");
        object.keys().cloned().collect()
    };
    let (url, order) = world.ready(&client, &["a.example"]).await;
    assert!(fields(&order).contains(&"finalize".to_owned()));
    let (_, csr) = request(&["a.example"]);
    let answer = client.finalize(&order, &csr).await.expect_status(200);
    assert_eq!(fields(&answer.json()), ["status", "certificate"]);
    let whole = ["status", "expires", "identifiers", "authorizations"];
    world.authority.set(|settings| settings.shapes = vec![Quirk::new(OrderShape::WithoutFinalize)]);
    let shown = client.get(&url).await.expect_status(200).json();
    assert_eq!(fields(&shown)[..4], whole);
    assert_eq!(fields(&shown)[4..], ["certificate"]);
    world.authority.set(|settings| settings.shapes.clear());
    let shown = client.get(&url).await.expect_status(200).json();
    assert_eq!(fields(&shown)[4..], ["finalize", "certificate"]);
}

#[tokio::test]
async fn one_order_can_be_without_status() {
    let world = World::start(|settings| {
        settings.shapes = vec![Quirk::new(OrderShape::WithoutStatus).of("a.example")];
    })
    .await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    assert!(order.get("status").is_none());
    let shown = client.get(&url).await.expect_status(200).json();
    assert!(shown.get("status").is_none() && shown.get("finalize").is_some());
    let (_, other) = client.order(&["b.example"]).await;
    assert_eq!(other["status"], "pending");
}

//! Orders whose finalize does something else than issue.

use std::sync::Arc;
use std::time::Duration;

use sandbox::authority::problem::Problem;
use sandbox::authority::problem::RetryAfter;
use sandbox::authority::settings::finalizing::Finalizing;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::faults::Gate;
use serde_json::json;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;

use crate::World;
use crate::chain;
use crate::request;
use crate::text;

fn finalizing(world: &World, quirk: Quirk<Finalizing>) {
    world.authority.set(|settings| settings.finalizing = vec![quirk]);
}

#[tokio::test]
async fn order_sticks_in_processing_until_it_is_told_to_go_on() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = world.ready(&client, &["a.example"]).await;
    finalizing(&world, Quirk::new(Finalizing::Stick));
    let (key, csr) = request(&["a.example"]);
    let answer = client.finalize(&order, &csr).await.expect_status(200);
    assert_eq!(answer.json()["status"], "processing");
    assert!(answer.headers.get("retry-after").is_none());
    world
        .authority
        .set(|settings| settings.retry_after_processing = Some(RetryAfter::Seconds(3600)));
    let shown = client.get(&url).await.expect_status(200);
    assert_eq!(shown.json()["status"], "processing");
    assert_eq!(shown.header("retry-after"), "3600");
    client.finalize(&order, &csr).await.expect_problem(403, "orderNotReady");
    assert_eq!(world.authority.issued_for(&["a.example"]), 0);

    assert!(world.authority.go_on(&url));
    assert!(!world.authority.go_on(&url), "once only");
    let shown = client.get(&url).await.json();
    assert_eq!(shown["status"], "valid");
    let pem = client.get(text(&shown["certificate"])).await.text();
    let der = chain(&pem);
    let (_, leaf) = X509Certificate::from_der(&der[0]).expect("a certificate");
    let public_key = leaf.public_key().subject_public_key.data.as_ref();
    assert_eq!(public_key, key.public_key_raw());
    assert_eq!(world.authority.issued_for(&["a.example"]), 1);
}

#[tokio::test]
async fn order_that_sticks_can_become_invalid() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let stick = Quirk::new(Finalizing::Stick).of("a.example");
    finalizing(&world, stick);
    let (url, order) = world.ready(&client, &["a.example"]).await;
    let (_, csr) = request(&["a.example"]);
    client.finalize(&order, &csr).await.expect_status(200);
    let why = Problem::new(500, "serverInternal", "gave up");
    assert!(world.authority.give_up(&url, why));
    let shown = client.get(&url).await.json();
    assert_eq!(shown["status"], "invalid");
    assert_eq!(shown["error"]["detail"], "gave up");
    world.issue(&client, &["b.example"]).await;
    assert_eq!(world.authority.issued().len(), 1, "others go on");
}

#[tokio::test]
async fn refused_finalize_leaves_the_order_ready() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = world.ready(&client, &["a.example"]).await;
    let (_, csr) = request(&["a.example"]);
    for (status, kind) in [
        (400, "badCSR"),
        (403, "unauthorized"),
        (400, "rejectedIdentifier"),
        (500, "serverInternal"),
        (503, "serverInternal"),
    ] {
        let refusal = Finalizing::Refuse(Problem::new(status, kind, "not this one"));
        finalizing(&world, Quirk::new(refusal));
        let answer = client.finalize(&order, &csr).await;
        assert_eq!(answer.expect_problem(status, kind), "not this one");
        assert_eq!(client.get(&url).await.json()["status"], "ready");
    }
    let busy = Problem::new(429, "rateLimited", "later").retry_after(RetryAfter::Seconds(90));
    finalizing(&world, Quirk::new(Finalizing::Refuse(busy)).times(1));
    let answer = client.finalize(&order, &csr).await;
    answer.expect_problem(429, "rateLimited");
    assert_eq!(answer.header("retry-after"), "90");
    assert_eq!(world.authority.issued_for(&["a.example"]), 0);
    let answer = client.finalize(&order, &csr).await.expect_status(200);
    assert_eq!(answer.json()["status"], "valid");
}

#[tokio::test]
async fn failed_finalize_makes_the_order_invalid_without_a_certificate() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = world.ready(&client, &["a.example"]).await;
    let failed = Problem::new(500, "serverInternal", "enrollment failed");
    finalizing(&world, Quirk::new(Finalizing::Fail(failed)));
    let (_, csr) = request(&["a.example"]);
    let answer = client.finalize(&order, &csr).await;
    answer.expect_problem(500, "serverInternal");
    let shown = client.get(&url).await.json();
    assert_eq!(shown["status"], "invalid");
    assert_eq!(shown["error"]["detail"], "enrollment failed");
    let authorization = &client.authorizations(&order).await[0];
    assert_eq!(authorization["status"], "valid");
    assert!(world.authority.issued().is_empty());
}

#[tokio::test]
async fn finalize_can_issue_and_answer_500() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = world.ready(&client, &["a.example"]).await;
    let failed = Problem::new(500, "serverInternal", "Transaction Conflict");
    finalizing(&world, Quirk::new(Finalizing::IssueThenRefuse(failed)));
    let (_, csr) = request(&["a.example"]);
    let answer = client.finalize(&order, &csr).await;
    answer.expect_problem(500, "serverInternal");
    let shown = client.get(&url).await.json();
    assert_eq!(shown["status"], "valid");
    let certificate = client.get(text(&shown["certificate"])).await;
    assert_eq!(chain(&certificate.expect_status(200).text()).len(), 3);
    assert_eq!(world.authority.issued_for(&["a.example"]), 1);
}

#[tokio::test]
async fn order_is_forgotten_when_the_client_goes_away_while_it_is_issued() {
    let world = World::start(|_| {}).await;
    let client = Arc::new(world.client().await);
    let names = ["a.example", "b.example"];
    let (url, order) = world.ready(&client, &names).await;
    for times in 1..3 {
        let gate = Gate::new();
        finalizing(&world, Quirk::new(Finalizing::ForgetWhenCut(gate.clone())));
        let (_, csr) = request(&names);
        let (asking, asked) = (Arc::clone(&client), order.clone());
        let task = tokio::spawn(async move { asking.finalize(&asked, &csr).await });
        gate.reached(1).await;
        assert_eq!(world.authority.issued_for(&names), times);
        task.abort();
        world.authority.until(|state| state.cut_finalizes() == times).await;
        gate.open();
        let shown = client.get(&url).await.json();
        assert_eq!(shown["status"], "ready");
        assert!(shown.get("certificate").is_none());
    }
    assert_eq!(world.authority.issued_for(&["a.example"]), 0);

    let gate = Gate::new();
    gate.open();
    finalizing(&world, Quirk::new(Finalizing::ForgetWhenCut(gate)));
    let (_, csr) = request(&names);
    let answer = client.finalize(&order, &csr).await.expect_status(200);
    assert_eq!(answer.json()["status"], "valid");
    assert_eq!(world.authority.issued_for(&names), 3);
    assert_eq!(client.get(&url).await.json()["status"], "valid");
}

#[tokio::test]
async fn authority_can_be_done_long_before_it_says() {
    let world = World::start(|settings| {
        settings.retry_after_pending = Some(RetryAfter::Seconds(86_400));
        settings.retry_after_processing = Some(RetryAfter::Seconds(600));
        settings.processing = Duration::from_millis(1);
    })
    .await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    let pending = client.get(text(&order["authorizations"][0])).await;
    assert_eq!(pending.header("retry-after"), "86400");
    world.publish(&client, &order).await;
    assert_eq!(world.tell(&client, &url).await["status"], "ready");
    let (_, csr) = request(&["a.example"]);
    let answer = client.finalize(&order, &csr).await.expect_status(200);
    assert_eq!(answer.json()["status"], "processing");
    assert_eq!(answer.header("retry-after"), "600");
    world.settled(&url).await;
    assert_eq!(client.get(&url).await.json()["status"], json!("valid"));
}

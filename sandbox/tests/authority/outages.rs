//! Silence, refused nonces, authorities that are away, and those that come back without their state.

use sandbox::authority::outage::Outage;
use serde_json::json;

use crate::Signature;
use crate::World;
use crate::chain;
use crate::request;
use crate::text;

#[tokio::test]
async fn silence_is_for_one_name_only() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example", "b.example"]).await;
    let authorizations = client.authorizations(&order).await;
    world.authority.set(|settings| {
        settings.silent.insert("a.example".to_owned());
    });
    let authorization = text(&order["authorizations"][0]);
    let other = text(&order["authorizations"][1]);
    let heard = |count: usize| {
        world.authority.faults().until(move |seen| {
            let silent = seen.iter().filter(|seen| seen.status.is_none());
            silent.count() == count
        })
    };
    tokio::select! {
        _ = client.get(&url) => panic!("the order answered"),
        _ = client.get(authorization) => panic!("the authorization answered"),
        _ = client.respond(&authorizations[0]) => panic!("the challenge answered"),
        _ = client.new_order(&["x.example", "a.example"]) => panic!("the new order answered"),
        () = heard(4) => {}
    }
    client.get(other).await.expect_status(200);
    world.issue(&client, &["c.example"]).await;
    assert!(world.authority.validations().iter().all(|each| each.ok));
    world.authority.set(|settings| settings.silent.clear());
    client.get(&url).await.expect_status(200);
    assert_eq!(world.authority.orders().len(), 2, "x.example was not heard");
}

#[tokio::test]
async fn half_of_all_nonces_are_refused_and_always_the_same() {
    let mut refused = Vec::new();
    for seed in [7, 7, 8] {
        let world = World::start(|_| {}).await;
        let client = world.client().await;
        world.authority.set(|settings| {
            settings.bad_nonce_percent = 50;
            settings.nonce_seed = seed;
        });
        let account = client.account().expect("it is registered");
        let mut statuses = Vec::new();
        for _ in 0..60 {
            let answer = client.get(&account).await;
            if answer.status == 400 {
                answer.expect_problem(400, "badNonce");
                answer.header("replay-nonce");
            }
            statuses.push(answer.status == 400);
        }
        let count = statuses.iter().filter(|refused| **refused).count();
        assert!((20..=40).contains(&count), "{count}");
        refused.push(statuses);
    }
    assert_eq!(refused[0], refused[1]);
    assert_ne!(refused[0], refused[2]);

    let world = World::start(|_| {}).await;
    let client = world.client().await;
    world.authority.set(|settings| settings.bad_nonce_percent = 100);
    let account = client.account().expect("it is registered");
    for _ in 0..5 {
        client.get(&account).await.expect_problem(400, "badNonce");
    }
}

#[tokio::test]
async fn authority_goes_away_and_comes_back_as_it_was() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, _) = world.ready(&client, &["a.example"]).await;
    let directory = world.authority.directory_url();
    for how in [Outage::Refused, Outage::Closed, Outage::Refused] {
        world.authority.leave(how).await.expect("the port is ours");
        let error = client.http.get(&directory).send().await;
        let error = error.expect_err("nobody answers");
        let connected = tokio::net::TcpStream::connect(world.authority.address()).await;
        assert_eq!(connected.is_ok(), how == Outage::Closed, "{how:?}");
        assert!(error.is_connect(), "{error:?}");
    }
    world.authority.come_back().await.expect("the port is ours");
    assert_eq!(world.authority.directory_url(), directory);
    let order = client.get(&url).await.expect_status(200).json();
    let (_, csr) = request(&["a.example"]);
    client.finalize(&order, &csr).await.expect_status(200);
}

#[tokio::test]
async fn authority_comes_back_without_its_state() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    let before = world.authority.issuing_root_pem();
    let nonce = client.nonce().await;
    let first = client.account();
    world.authority.leave(Outage::Refused).await.expect("the port is ours");
    world.authority.lose_state();
    world.authority.come_back().await.expect("the port is ours");

    let asked = client.get(&url).await;
    asked.expect_problem(400, "accountDoesNotExist");
    let new_account = client.url("new-acct");
    let stale = Signature { url: &new_account, nonce, by_key: true };
    let payload = Some(json!({"termsOfServiceAgreed": true}));
    let answer = client.send(&new_account, &client.sign(&stale, payload.as_ref())).await;
    answer.expect_problem(400, "badNonce");
    client.register().await.expect_status(201);
    assert_ne!(client.account(), first);
    client.get(&url).await.expect_problem(404, "malformed");
    let authorization = text(&order["authorizations"][0]);
    let asked = client.get(authorization).await;
    asked.expect_problem(404, "malformed");
    let pem = world.issue(&client, &["a.example"]).await;
    assert_eq!(chain(&pem).len(), 3);
    assert_ne!(world.authority.issuing_root_pem(), before);
}

//! Accounts that are not to be had, and authorities that do not work.

use sandbox::authority::settings::doors::Door;
use serde_json::Value;
use serde_json::json;

use crate::Client;
use crate::World;

#[tokio::test]
async fn new_account_must_have_a_contact() {
    let world = World::start(|settings| settings.contact_required = true).await;
    let client = Client::new(&world.authority);
    let without = json!({"termsOfServiceAgreed": true});
    let new_account = client.url("new-acct");
    let answer = client.post(&new_account, Some(without.clone())).await;
    let detail = answer.expect_problem(400, "malformed");
    assert_eq!(detail, "Contact information is missing");
    client.register().await.expect_status(201);
    let answer = client.post(&new_account, Some(without)).await;
    answer.expect_status(200);
}

#[tokio::test]
async fn new_account_must_be_bound_until_that_is_switched_off() {
    let world = World::start(|settings| settings.binding_required = true).await;
    let client = Client::new(&world.authority);
    let directory = async || -> Value {
        let answer = client.http.get(world.authority.directory_url());
        let answer = answer.send().await.expect("it answers");
        answer.json().await.expect("JSON")
    };
    assert_eq!(directory().await["meta"]["externalAccountRequired"], true);
    let answer = client.register().await;
    answer.expect_problem(401, "externalAccountRequired");
    world.authority.set(|settings| settings.binding_required = false);
    client.register().await.expect_status(201);
    let meta = &directory().await["meta"];
    assert!(meta.get("externalAccountRequired").is_none());
}

#[tokio::test]
async fn sealed_authority_answers_everything_alike() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let open = |door: Door| world.authority.set(|settings| settings.door = door);
    let paths = [world.authority.directory_url(), client.url("new-nonce"), client.url("new-order")];
    for (door, status, body) in
        [(Door::Sealed, 503, r#"{"errors":["Vault is sealed"]}"#), (Door::Off, 404, "")]
    {
        open(door);
        for url in &paths {
            let answer = client.send(url, &json!({})).await.expect_status(status);
            assert_eq!(answer.text(), body);
            assert!(answer.headers.get("replay-nonce").is_none());
        }
        open(Door::Open);
        client.order(&["a.example"]).await;
    }
}

#[tokio::test]
async fn directory_alone_can_be_gone() {
    let world = World::start(|settings| settings.door = Door::WithoutDirectory).await;
    let client = world.client().await;
    let directory = client.http.get(world.authority.directory_url()).send();
    assert_eq!(directory.await.expect("it answers").status(), 404);
    client.order(&["a.example"]).await;
}

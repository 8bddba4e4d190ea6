//! Challenges whose failure is not final, and how they look meanwhile.

use std::time::Duration;

use sandbox::authority::settings::challenges::Answered;
use sandbox::authority::settings::challenges::Failing;
use sandbox::authority::settings::challenges::SecondTell;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::faults::Gate;
use sandbox::faults::What;
use serde_json::json;

use crate::World;
use crate::http01;
use crate::text;

#[tokio::test]
async fn failed_validation_leaves_all_pending_with_the_reason() {
    let world = World::start(|settings| {
        settings.failing = vec![Quirk::new(Failing::StayPending)];
        settings.answered = Answered::Validated;
    })
    .await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    for failures in 1..3 {
        let authorization = &client.authorizations(&order).await[0];
        let answer = client.respond(authorization).await.expect_status(200).json();
        assert_eq!(answer["status"], "pending");
        let error = answer["error"].clone();
        assert_eq!(error["type"], "urn:ietf:params:acme:error:unauthorized");
        let authorization = &client.authorizations(&order).await[0];
        assert_eq!(authorization["status"], "pending");
        let challenges = authorization["challenges"].as_array().expect("a list");
        assert_eq!(challenges.len(), 3, "none is decided");
        assert!(challenges[1].get("error").is_none(), "another challenge");
        assert_eq!(http01(authorization)["error"], error);
        assert_eq!(client.get(&url).await.json()["status"], "pending");
        assert_eq!(world.authority.validations().len(), failures);
    }

    world.publish(&client, &order).await;
    let authorization = &client.authorizations(&order).await[0];
    let answer = client.respond(authorization).await.expect_status(200).json();
    assert_eq!(answer["status"], "valid");
    assert!(answer.get("error").is_none());
    assert_eq!(client.get(&url).await.json()["status"], "ready");
}

#[tokio::test]
async fn failed_validation_is_tried_again_by_the_authority() {
    let world = World::start(|settings| {
        settings.failing =
            vec![Quirk::new(Failing::TryAgain { step: Duration::from_millis(1), tries: 100_000 })];
        settings.second_tell = SecondTell::Ignore;
        settings.shows_processing = true;
    })
    .await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    let authorization = &client.authorizations(&order).await[0];
    let answer = client.respond(authorization).await.expect_status(200).json();
    assert_eq!(answer["status"], "processing");
    world.authority.until(|state| state.validations().len() >= 3).await;
    let authorization = &client.authorizations(&order).await[0];
    assert_eq!(authorization["status"], "pending");
    let challenge = http01(authorization);
    assert_eq!(challenge["status"], "processing");
    assert!(text(&challenge["error"]["detail"]).ends_with(": 404"));
    let answer = client.respond(authorization).await.expect_status(200).json();
    assert_eq!(answer["status"], "processing", "nothing more begins");

    world.publish(&client, &order).await;
    world.settled(&url).await;
    assert_eq!(client.get(&url).await.json()["status"], "ready");
    let authorization = &client.authorizations(&order).await[0];
    assert!(http01(authorization).get("error").is_none());
}

#[tokio::test]
async fn authority_that_tries_again_gives_up_in_the_end() {
    let world = World::start(|settings| {
        settings.failing =
            vec![Quirk::new(Failing::TryAgain { step: Duration::from_millis(1), tries: 3 })];
    })
    .await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    assert_eq!(world.tell(&client, &url).await["status"], "invalid");
    let authorization = &client.authorizations(&order).await[0];
    assert_eq!(authorization["status"], "invalid");
    assert!(http01(authorization).get("error").is_some());
    assert_eq!(world.authority.validations().len(), 3);
}

#[tokio::test]
async fn challenge_is_pending_or_processing_until_it_is_decided() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    for (shows_processing, name, status) in
        [(false, "a.example", "pending"), (true, "b.example", "processing")]
    {
        world.authority.set(|settings| settings.shows_processing = shows_processing);
        let (url, order) = client.order(&[name]).await;
        world.publish(&client, &order).await;
        let authorization = &client.authorizations(&order).await[0];
        let gate = Gate::new();
        world.web_faults.add("page", 1, What::Hold(gate.clone()));
        let told = client.respond(authorization).await.expect_status(200);
        assert_eq!(told.json()["status"], status);
        gate.reached(1).await;
        let authorization = &client.authorizations(&order).await[0];
        assert_eq!(authorization["status"], "pending");
        assert_eq!(http01(authorization)["status"], status);
        assert!(http01(authorization).get("error").is_none());
        gate.open();
        world.settled(&url).await;
        let authorization = &client.authorizations(&order).await[0];
        assert_eq!(http01(authorization)["status"], "valid");
    }
}

#[tokio::test]
async fn challenge_that_was_never_heard_is_still_pending() {
    let world = World::start(|settings| settings.shows_processing = true).await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    world.publish(&client, &order).await;
    let faults = world.authority.faults();
    faults.add("challenge", 1, What::Close);
    let authorization = &client.authorizations(&order).await[0];
    let challenge = text(&http01(authorization)["url"]);
    let told = client.try_post(challenge, Some(json!({}))).await;
    told.expect_err("the connection is cut");
    let shown = &client.authorizations(&order).await[0];
    assert_eq!(http01(shown)["status"], "pending");
    assert!(world.authority.validations().is_empty());
    assert_eq!(world.tell(&client, &url).await["status"], "ready");
}

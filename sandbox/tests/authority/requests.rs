//! Nonces, signatures and accounts.

use super::*;

#[tokio::test]
async fn directory_says_where_everything_is() {
    let world = World::start(|_| {}).await;
    let client = Client::new(&world.authority);
    let mut keys = Vec::new();
    for _ in 0..2 {
        let answer = client.http.get(world.authority.directory_url()).send().await;
        let directory: Value = answer.expect("it answers").json().await.expect("JSON");
        for key in ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"] {
            assert!(text(&directory[key]).starts_with(&client.base), "{key}");
        }
        let object = directory.as_object().expect("an object");
        keys.extend(object.keys().next_back().cloned());
    }
    assert_ne!(keys[0], keys[1], "one key is random");
    let answer = client.http.get(client.url("new-nonce")).send().await;
    let answer = answer.expect("it answers");
    assert_eq!(answer.status(), 204);
    assert!(answer.headers().contains_key("replay-nonce"));
    for (path, status) in [("new-order", 405), ("nothing", 404)] {
        let answer = client.http.get(client.url(path)).send().await;
        assert_eq!(answer.expect("it answers").status(), status, "{path}");
    }
}

#[tokio::test]
async fn nonce_is_good_for_one_request() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let url = client.url("new-order");
    let nonce = client.nonce().await;
    let sign = |nonce: &str| {
        let signature = Signature { url: &url, nonce: nonce.to_owned(), by_key: false };
        client.sign(
            &signature,
            Some(&json!({"identifiers": [{"type": "dns", "value": "a.example"}]})),
        )
    };
    client.send(&url, &sign(&nonce)).await.expect_status(201);
    let refused = client.send(&url, &sign(&nonce)).await;
    refused.expect_problem(400, "badNonce");
    let fresh = refused.header("replay-nonce");
    client.send(&url, &sign(&fresh)).await.expect_status(201);
    client.send(&url, &sign("made-up")).await.expect_problem(400, "badNonce");
}

#[tokio::test]
async fn every_third_nonce_can_be_refused() {
    let world = World::start(|settings| settings.bad_nonce_every = Some(3)).await;
    let client = world.client().await;
    let account = client.account().expect("it is registered");
    client.get(&account).await.expect_status(200);
    client.get(&account).await.expect_problem(400, "badNonce");
    client.get(&account).await.expect_status(200);
}

#[tokio::test]
async fn signature_and_url_are_checked() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let url = client.url("new-order");
    let payload = json!({"identifiers": [{"type": "dns", "value": "a.example"}]});
    let signed_for = async |url: &str, by_key: bool| {
        let nonce = client.nonce().await;
        client.sign(&Signature { url, nonce, by_key }, Some(&payload))
    };

    let mut jws = signed_for(&url, false).await;
    let other = json!({"identifiers": [{"type": "dns", "value": "b.example"}]});
    jws["payload"] = json!(encoded(other.to_string()));
    let detail = client.send(&url, &jws).await.expect_problem(400, "malformed");
    assert!(detail.ends_with("JWS verification error"), "{detail}");
    let stranger = Client::new(&world.authority);
    *stranger.account.lock().expect("nobody panicked") = client.account();
    stranger.new_order(&["a.example"]).await.expect_problem(400, "malformed");
    let jws = signed_for(&client.url("new-acct"), false).await;
    let detail = client.send(&url, &jws).await.expect_problem(400, "malformed");
    assert!(detail.contains("'url' incorrect"), "{detail}");
    let jws = signed_for(&url, true).await;
    client.send(&url, &jws).await.expect_problem(400, "malformed");

    let mut jws = signed_for(&url, false).await;
    let protected = json!({"alg": "RS256", "nonce": client.nonce().await, "url": url, "kid": "x"});
    jws["protected"] = json!(encoded(protected.to_string()));
    let answer = client.send(&url, &jws).await;
    answer.expect_problem(400, "badSignatureAlgorithm");
    assert_eq!(answer.json()["algorithms"], json!(["ES256"]));

    let jws = signed_for(&url, false).await.to_string();
    let answer = client.http.post(&url).header("content-type", "application/json").body(jws);
    assert_eq!(answer.send().await.expect("it answers").status(), 415);
    assert!(world.authority.orders().is_empty());
}

#[tokio::test]
async fn same_key_is_the_same_account() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let url = client.account().expect("it is registered");
    let again = client.register().await.expect_status(200);
    assert_eq!(again.header("location"), url);
    assert_eq!(world.authority.accounts().len(), 1);

    let asks = json!({"onlyReturnExisting": true});
    let new_account = client.url("new-acct");
    client.post(&new_account, Some(asks.clone())).await.expect_status(200);
    let other = Client::new(&world.authority);
    let answer = other.post(&new_account, Some(asks)).await;
    answer.expect_problem(400, "accountDoesNotExist");
    let answer = other.post(&new_account, Some(json!({}))).await;
    answer.expect_problem(400, "malformed");
}

#[tokio::test]
async fn account_changes_its_contacts_and_goes() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let url = client.account().expect("it is registered");
    let contact = |address: &str| Some(json!({"contact": [address]}));
    client.post(&url, contact("mailto:new@a.example")).await.expect_status(200);
    assert_eq!(world.authority.accounts()[0].contact, ["mailto:new@a.example"]);
    client.post(&url, contact("mailto:nobody")).await.expect_problem(400, "invalidContact");
    client.post(&url, contact("tel:1")).await.expect_problem(400, "unsupportedContact");

    let answer = client.post(&url, Some(json!({"status": "deactivated"}))).await;
    assert_eq!(answer.expect_status(200).json()["status"], "deactivated");
    client.new_order(&["a.example"]).await.expect_problem(403, "unauthorized");
    client.register().await.expect_problem(403, "unauthorized");
}

#[tokio::test]
async fn forgotten_account_is_unknown_and_its_key_can_come_back() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let before = client.account();
    let (order, _) = client.order(&["a.example"]).await;
    world.authority.forget_accounts();
    client.get(&order).await.expect_problem(400, "accountDoesNotExist");
    client.register().await.expect_status(201);
    assert_ne!(client.account(), before);
    client.get(&order).await.expect_problem(404, "malformed");
    client.order(&["a.example"]).await;

    world.authority.deactivate_account(&client.account().expect("it is registered"));
    client.new_order(&["a.example"]).await.expect_problem(403, "unauthorized");
}

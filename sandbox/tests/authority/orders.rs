//! What becomes of an order, and what is refused.

use super::*;

#[tokio::test]
async fn unfinished_order_is_returned_again() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, _) = client.order(&["a.example", "b.example"]).await;
    let (again, _) = client.order(&["b.example", "A.example"]).await;
    assert_eq!(url, again);
    let (other, _) = client.order(&["a.example"]).await;
    assert_ne!(url, other);
    let stranger = world.client().await;
    assert_ne!(stranger.order(&["a.example", "b.example"]).await.0, url);

    let (ready, _) = world.ready(&client, &["a.example", "b.example"]).await;
    assert_eq!(ready, url);
    assert_eq!(client.order(&["a.example", "b.example"]).await.0, url);
    world.authority.set(|settings| settings.reuse_orders = false);
    let (other, order) = client.order(&["a.example", "b.example"]).await;
    assert_ne!(other, url);
    assert_eq!(order["status"], "ready", "its authorizations were valid already");
    world.authority.set(|settings| settings.reuse_authorizations = false);
    let (_, order) = client.order(&["a.example", "b.example"]).await;
    assert_eq!(order["status"], "pending");
    world.authority.set(|settings| settings.reuse_orders = true);
    stranger.get(&url).await.expect_problem(404, "malformed");
}

#[tokio::test]
async fn second_tell_is_a_conflict_or_a_second_validation() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (_, order) = client.order(&["a.example"]).await;
    let authorization = &client.authorizations(&order).await[0];
    let gate = Gate::new();
    world.web_faults.add("page", 2, What::Hold(gate.clone()));
    client.respond(authorization).await.expect_status(200);
    gate.reached(1).await;
    let shown = client.authorizations(&order).await[0]["status"].clone();
    assert_eq!(shown, "pending");
    client.respond(authorization).await.expect_problem(409, "conflict");
    world.authority.set(|settings| settings.second_tell = SecondTell::Accept);
    client.respond(authorization).await.expect_status(200);
    gate.reached(2).await;
    gate.open();
    world.authority.until(|state| state.validations().len() == 2).await;
    client.respond(authorization).await.expect_problem(400, "malformed");
    world.authority.set(|settings| settings.reuse_orders = false);
    let (_, order) = world.ready(&client, &["a.example"]).await;
    let authorization = &client.authorizations(&order).await[0];
    let answer = client.respond(authorization).await.expect_status(200);
    assert_eq!(answer.json()["status"], "valid");
    assert_eq!(world.authority.validations().len(), 3);
}

#[tokio::test]
async fn order_is_finalized_once_and_only_for_its_names() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (_, order) = world.ready(&client, &["a.example"]).await;
    let (_, other) = request(&["a.example", "b.example"]);
    let detail = client.finalize(&order, &other).await.expect_problem(403, "unauthorized");
    assert!(detail.contains("CSR does not specify same identifiers"), "{detail}");
    client.finalize(&order, "AAAA").await.expect_problem(400, "badCSR");
    let (_, csr) = request(&["a.example"]);
    let mut forged = BASE64_URL_SAFE_NO_PAD.decode(&csr).expect("it was just encoded");
    let last = forged.last_mut().expect("it is not empty");
    *last ^= 1;
    client.finalize(&order, &encoded(&forged)).await.expect_problem(400, "badCSR");
    client.finalize(&order, &csr).await.expect_status(200);
    let detail = client.finalize(&order, &csr).await.expect_problem(403, "orderNotReady");
    assert!(detail.contains("(\"valid\")"), "{detail}");
    assert_eq!(world.authority.issued().len(), 1);
}

#[tokio::test]
async fn processing_takes_its_time_and_says_when_to_come_back() {
    let world = World::start(|settings| {
        settings.processing = Duration::from_millis(20);
        settings.retry_after_pending = Some(RetryAfter::Seconds(7));
        settings.retry_after_processing = Some(RetryAfter::Date(Duration::from_secs(3)));
    })
    .await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    assert_eq!(client.get(&url).await.header("retry-after"), "7");
    let authorization = text(&order["authorizations"][0]);
    assert_eq!(client.get(authorization).await.header("retry-after"), "7");
    let (_, order) = world.ready(&client, &["a.example"]).await;
    assert!(client.get(&url).await.headers.get("retry-after").is_none());
    let (_, csr) = request(&["a.example"]);
    let answer = client.finalize(&order, &csr).await.expect_status(200);
    assert_eq!(answer.json()["status"], "processing");
    assert!(answer.json().get("certificate").is_none());
    let date = answer.header("retry-after");
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    assert_eq!(world.authority.issued().len(), 1, "it counts from then on");
    world.settled(&url).await;
    let order = client.get(&url).await.json();
    assert_eq!(order["status"], "valid");
    client.get(text(&order["certificate"])).await.expect_status(200);
}

#[tokio::test]
async fn deactivated_authorization_ends_its_order() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    let authorization = text(&order["authorizations"][0]);
    let give_up = Some(json!({"status": "deactivated"}));
    let answer = client.post(authorization, give_up.clone()).await.expect_status(200);
    assert_eq!(answer.json()["status"], "deactivated");
    assert_eq!(client.get(&url).await.json()["status"], "invalid");
    client.post(authorization, give_up).await.expect_problem(400, "malformed");
    assert_eq!(world.authority.authorizations()[0].status, AuthorizationStatus::Deactivated);
    let (next, _) = client.order(&["a.example"]).await;
    assert_ne!(next, url);
}

#[tokio::test]
async fn expired_and_forgotten_orders_are_unknown() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    world.authority.expire_order(&url);
    client.get(&url).await.expect_problem(404, "malformed");
    client.get(text(&order["authorizations"][0])).await.expect_problem(404, "malformed");
    let (_, csr) = request(&["a.example"]);
    client.finalize(&order, &csr).await.expect_problem(404, "malformed");
    let (next, _) = client.order(&["a.example"]).await;
    assert_ne!(next, url);
    world.authority.forget_order(&next);
    client.get(&next).await.expect_problem(404, "malformed");
    client.get(&client.url("order/1/2")).await.expect_problem(404, "malformed");
}

#[tokio::test]
async fn limits_say_when_to_come_back() {
    let hour = Duration::from_hours(1);
    let one = Some(Limit::new(1, hour));
    let world = World::start(|settings| {
        settings.limits = Limits {
            accounts_per_address: Some(Limit::new(2, hour)),
            failures_per_name: one,
            certificates_per_set: Some(Limit::new(2, hour)),
            certificates_per_domain: one,
            ..Limits::default()
        };
    })
    .await;
    let client = world.client().await;
    let limited = |answer: &Answer, words: &str| {
        let detail = answer.expect_problem(429, "rateLimited");
        assert!(detail.starts_with(words) && detail.contains(" UTC: see https://"), "{detail}");
        let wait: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((1..=3600).contains(&wait), "{wait}");
    };
    let (url, _) = client.order(&["broken.example"]).await;
    world.tell(&client, &url).await;
    let answer = client.new_order(&["broken.example", "fine.example"]).await;
    limited(&answer, "too many failed authorizations (1) for \"broken.example\"");

    world.issue(&client, &["a.example"]).await;
    let answer = client.new_order(&["b.a.example"]).await;
    limited(&answer, "too many certificates (1) already issued for \"a.example\"");
    world.issue(&client, &["a.example"]).await;
    let answer = client.new_order(&["a.example"]).await;
    limited(&answer, "too many certificates (2) already issued for this exact set");

    world.authority.set(|settings| settings.limits.orders_per_account = one);
    client.order(&["c.example"]).await;
    let answer = client.new_order(&["d.example"]).await;
    limited(&answer, "too many new orders (1) from this account in the last 1h0m0s");
    let other = world.client().await;
    other.order(&["broken.example"]).await;
    let third = Client::new(&world.authority);
    limited(&third.register().await, "too many new registrations (2) from this IP address");
    client.register().await.expect_status(200);
}

#[tokio::test]
async fn refused_names_are_told() {
    let world = World::start(|settings| {
        settings.paused.insert("paused.example".to_owned());
        settings.blocked.insert("bank.example".to_owned());
    })
    .await;
    let client = world.client().await;
    let answer = client.new_order(&["a.example", "paused.example"]).await;
    let detail = answer.expect_problem(429, "rateLimited");
    assert!(detail.contains("certificates for paused.example and"), "{detail}");
    assert!(detail.contains("Please visit: https://"), "{detail}");
    assert!(answer.headers.get("retry-after").is_none());
    let answer = client.new_order(&["a.example", "bank.example"]).await;
    answer.expect_problem(400, "rejectedIdentifier");
    let subproblems = answer.json()["subproblems"].clone();
    assert_eq!(subproblems.as_array().map(Vec::len), Some(1));
    assert_eq!(subproblems[0]["identifier"]["value"], "bank.example");
    client.new_order(&["bad_name.example"]).await.expect_problem(400, "malformed");
    client.new_order(&[]).await.expect_problem(400, "malformed");
}

#[tokio::test]
async fn certificates_can_be_wrong_or_without_common_name() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let leaf = |pem: &str| chain(pem).remove(0);
    let pem = world.issue(&client, &["a.example"]).await;
    let (der, before) = (leaf(&pem), world.authority.intermediates());
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    assert_eq!(certificate.subject().to_string(), "CN=a.example");

    world.authority.set(|settings| {
        settings.common_name = false;
        settings.wrong_names = Some(vec!["b.example".to_owned()]);
        settings.chain_length = 3;
        settings.lifetime = Duration::from_secs(60);
        settings.backdate = Duration::from_secs(120);
    });
    let pem = world.issue(&client, &["a.example"]).await;
    let der = leaf(&pem);
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    assert_eq!(certificate.subject().to_string(), "");
    assert_eq!(names_of(&certificate), ["DNSName(b.example)"]);
    assert_eq!(chain(&pem).len(), 4);
    assert_ne!(world.authority.intermediates()[0], before[0]);
    let issued = world.authority.issued();
    assert_eq!(issued[1].not_after - issued[1].not_before, Duration::from_secs(60));

    world.authority.set(|settings| settings.wrong_key = true);
    let (_, order) = client.order(&["a.example"]).await;
    let (key, csr) = request(&["a.example"]);
    let order = client.finalize(&order, &csr).await.expect_status(200).json();
    let pem = client.get(text(&order["certificate"])).await.text();
    let der = leaf(&pem);
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let public_key = certificate.public_key().subject_public_key.data.as_ref();
    assert_ne!(public_key, key.public_key_raw());
}

#[tokio::test]
async fn wildcard_has_no_http01() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = client.order(&["*.a.example"]).await;
    let authorization = &client.authorizations(&order).await[0];
    assert_eq!(authorization["identifier"]["value"], "a.example");
    assert_eq!(authorization["wildcard"], true);
    let challenges = authorization["challenges"].as_array().expect("a list");
    assert!(challenges.iter().all(|each| each["type"] != "http-01"));
    let dns = text(&challenges[1]["url"]);
    client.post(dns, Some(json!({}))).await.expect_status(200);
    world.settled(&url).await;
    let problem = world.authority.validations().remove(0).error;
    assert_eq!(problem.map(|problem| problem.kind), Some("dns"));
}

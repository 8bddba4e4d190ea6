//! The ACME authority, seen by a small client of its own. Here it is Boulder; below it is others, by subject.

#[path = "authority/accounts.rs"]
mod accounts;
#[path = "authority/challenges.rs"]
mod challenges;
#[path = "authority/downloads.rs"]
mod downloads;
#[path = "authority/finalizing.rs"]
mod finalizing;
#[path = "authority/model.rs"]
mod model;
#[path = "authority/outages.rs"]
mod outages;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderMap;
use http::Response;
use rcgen::CertificateParams;
use rcgen::KeyPair;
use ring::digest::SHA256;
use ring::digest::digest;
use ring::rand::SystemRandom;
use ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use ring::signature::EcdsaKeyPair;
use ring::signature::KeyPair as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sandbox::authority::Authority;
use sandbox::authority::limits::Limit;
use sandbox::authority::limits::Limits;
use sandbox::authority::problem::Problem;
use sandbox::authority::problem::RetryAfter;
use sandbox::authority::records::AuthorizationStatus;
use sandbox::authority::records::OrderStatus;
use sandbox::authority::settings::AuthoritySettings;
use sandbox::authority::settings::challenges::SecondTell;
use sandbox::certs;
use sandbox::faults::Faults;
use sandbox::faults::Gate;
use sandbox::faults::What;
use sandbox::serve::Answers;
use sandbox::serve::Asked;
use sandbox::serve::Server;
use serde_json::Value;
use serde_json::json;
use time::OffsetDateTime;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A page: status, `Location`, body.
type Page = (u16, Option<String>, Vec<u8>);

/// A web server that serves what it is given by path.
#[derive(Default)]
struct Web {
    pages: Mutex<BTreeMap<String, Page>>,
    hosts: Mutex<Vec<String>>,
}

impl Web {
    fn pages(&self) -> MutexGuard<'_, BTreeMap<String, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, path: impl Into<String>, body: impl Into<Vec<u8>>) {
        self.pages().insert(path.into(), (200, None, body.into()));
    }

    fn redirect(&self, path: impl Into<String>, status: u16, to: impl Into<String>) {
        let page = (status, Some(to.into()), Vec::new());
        self.pages().insert(path.into(), page);
    }

    fn hosts(&self) -> MutexGuard<'_, Vec<String>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers for Web {
    fn name(&self, _: &Asked) -> (&'static str, String) {
        ("page", String::new())
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        let host = request.headers()["host"].to_str().expect("a plain host");
        self.hosts().push(host.to_owned());
        let page = self.pages().get(request.uri().path()).cloned();
        let (status, location, body) =
            page.unwrap_or_else(|| (404, None, b"nothing here".to_vec()));
        let mut response = Response::builder().status(status);
        if let Some(location) = location {
            response = response.header("location", location);
        }
        response.body(body.into()).expect("a page is a response")
    }
}

/// An authority, and a web server that serves the tokens of all names.
struct World {
    authority: Authority,
    web: Arc<Web>,
    web_faults: Faults,
    web_server: Server,
}

impl World {
    async fn start(change: impl FnOnce(&mut AuthoritySettings)) -> Self {
        let (web, web_faults) = (Arc::new(Web::default()), Faults::default());
        let web_server =
            Server::start(None, web_faults.clone(), Arc::clone(&web)).await.expect("a free port");
        let mut settings = AuthoritySettings::staging();
        settings.validation_port = web_server.port();
        change(&mut settings);
        let authority = Authority::start(settings).await.expect("a free port");
        Self { authority, web, web_faults, web_server }
    }

    async fn client(&self) -> Client {
        let client = Client::new(&self.authority);
        client.register().await.expect_status(201);
        client
    }

    /// Publishes the tokens of an order.
    async fn publish(&self, client: &Client, order: &Value) {
        for authorization in client.authorizations(order).await {
            let challenge = http01(&authorization);
            let token = challenge["token"].as_str().expect("HTTP-01 has a token");
            let path = format!("/.well-known/acme-challenge/{token}");
            self.web.publish(path, client.key_authorization(token));
        }
    }

    /// Tells every authorization of an order and waits until it is settled.
    async fn tell(&self, client: &Client, url: &str) -> Value {
        let order = client.get(url).await.expect_status(200).json();
        for authorization in client.authorizations(&order).await {
            if authorization["status"] == "pending" {
                let challenge = http01(&authorization)["url"].clone();
                client.post(text(&challenge), Some(json!({}))).await.expect_status(200);
            }
        }
        self.settled(url).await;
        client.get(url).await.expect_status(200).json()
    }

    async fn settled(&self, url: &str) {
        let is_settled = |status| !matches!(status, OrderStatus::Pending | OrderStatus::Processing);
        self.authority
            .until(|state| {
                let mut orders = state.orders();
                orders.any(|order| order.url == url && is_settled(order.status))
            })
            .await;
    }

    /// An order that is ready.
    async fn ready(&self, client: &Client, names: &[&str]) -> (String, Value) {
        let (url, order) = client.order(names).await;
        self.publish(client, &order).await;
        let order = self.tell(client, &url).await;
        assert_eq!(order["status"], "ready");
        (url, order)
    }

    /// A whole issuance: the chain as it was downloaded.
    async fn issue(&self, client: &Client, names: &[&str]) -> String {
        let (_, order) = self.ready(client, names).await;
        let (_, csr) = request(names);
        let order = client.finalize(&order, &csr).await.expect_status(200).json();
        assert_eq!(order["status"], "valid");
        let chain = client.get(text(&order["certificate"])).await;
        chain.expect_status(200).text()
    }
}

fn http01(authorization: &Value) -> &Value {
    let challenges = authorization["challenges"].as_array().expect("a list");
    let mut of_kind = challenges.iter().filter(|each| each["type"] == "http-01");
    of_kind.next().expect("HTTP-01 is on offer")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// A key and a signing request for it, base64url.
fn request(names: &[&str]) -> (KeyPair, String) {
    let key = certs::new_key();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("plain names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = params.serialize_request(&key).expect("plain parameters");
    let der = encoded(request.der());
    (key, der)
}

/// An answer of the authority.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    #[track_caller]
    fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Checks a refusal and returns its detail.
    #[track_caller]
    fn expect_problem(&self, status: u16, kind: &str) -> String {
        let problem = self.json();
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        assert_eq!((self.status, text(&problem["type"])), (status, kind.as_str()), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        text(&problem["detail"]).to_owned()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    #[track_caller]
    fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).expect("the header is there");
        value.to_str().expect("a plain header").to_owned()
    }
}

/// How a request is signed.
struct Signature<'a> {
    url: &'a str,
    nonce: String,
    by_key: bool,
}

/// The smallest ACME client.
struct Client {
    http: reqwest::Client,
    base: String,
    key: EcdsaKeyPair,
    account: Mutex<Option<String>>,
}

impl Client {
    fn new(authority: &Authority) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .expect("random bytes");
        Self::with_key(authority, pkcs8.as_ref())
    }

    fn with_key(authority: &Authority, pkcs8: &[u8]) -> Self {
        // Whoever comes first installs it; all install the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let root = reqwest::Certificate::from_pem(authority.tls_root_pem().as_bytes())
            .expect("a PEM certificate");
        let http = reqwest::Client::builder()
            .tls_certs_only([root])
            .no_proxy()
            .build()
            .expect("a plain client");
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .expect("a P-256 key");
        let base = authority.directory_url().replace("/directory", "");
        Self { http, base, key, account: Mutex::default() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/acme/{path}", self.base)
    }

    fn account(&self) -> Option<String> {
        let account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.clone()
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({"crv": "P-256", "kty": "EC", "x": encoded(x), "y": encoded(y)})
    }

    fn key_authorization(&self, token: &str) -> String {
        let thumbprint = digest(&SHA256, self.jwk().to_string().as_bytes());
        format!("{token}.{}", encoded(thumbprint.as_ref()))
    }

    async fn nonce(&self) -> String {
        let answer = self.http.head(self.url("new-nonce")).send().await;
        let answer = answer.expect("the authority answers");
        assert_eq!(answer.status(), 200);
        let nonce = &answer.headers()["replay-nonce"];
        nonce.to_str().expect("a plain nonce").to_owned()
    }

    fn sign(&self, signature: &Signature<'_>, payload: Option<&Value>) -> Value {
        let mut protected = json!({
            "alg": "ES256",
            "nonce": signature.nonce,
            "url": signature.url,
        });
        match self.account() {
            Some(account) if !signature.by_key => protected["kid"] = json!(account),
            _ => protected["jwk"] = self.jwk(),
        }
        let protected = encoded(protected.to_string());
        let payload = payload.map_or_else(String::new, |payload| encoded(payload.to_string()));
        let input = format!("{protected}.{payload}");
        let signed = self.key.sign(&SystemRandom::new(), input.as_bytes());
        let signed = encoded(signed.expect("random bytes").as_ref());
        json!({"protected": protected, "payload": payload, "signature": signed})
    }

    async fn send(&self, url: &str, jws: &Value) -> Answer {
        let answer = self.try_send(url, jws).await;
        answer.expect("the authority answers")
    }

    async fn try_send(&self, url: &str, jws: &Value) -> reqwest::Result<Answer> {
        let request = self.http.post(url).header("content-type", "application/jose+json");
        let answer = request.body(jws.to_string()).send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await?,
        })
    }

    async fn post(&self, url: &str, payload: Option<Value>) -> Answer {
        let answer = self.try_post(url, payload).await;
        answer.expect("the authority answers")
    }

    async fn try_post(&self, url: &str, payload: Option<Value>) -> reqwest::Result<Answer> {
        let nonce = self.nonce().await;
        let by_key = url == self.url("new-acct");
        let signature = Signature { url, nonce, by_key };
        let jws = self.sign(&signature, payload.as_ref());
        self.try_send(url, &jws).await
    }

    /// POST-as-GET.
    async fn get(&self, url: &str) -> Answer {
        self.post(url, None).await
    }

    async fn register(&self) -> Answer {
        let payload = json!({"termsOfServiceAgreed": true, "contact": ["mailto:ops@a.example"]});
        let answer = self.post(&self.url("new-acct"), Some(payload)).await;
        if answer.status < 300 {
            let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            *account = Some(answer.header("location"));
        }
        answer
    }

    async fn new_order(&self, names: &[&str]) -> Answer {
        let identifiers: Vec<Value> =
            names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let payload = json!({"identifiers": identifiers});
        self.post(&self.url("new-order"), Some(payload)).await
    }

    /// A new order: its URL and what it says.
    async fn order(&self, names: &[&str]) -> (String, Value) {
        let answer = self.new_order(names).await.expect_status(201);
        (answer.header("location"), answer.json())
    }

    async fn authorizations(&self, order: &Value) -> Vec<Value> {
        let mut authorizations = Vec::new();
        for url in order["authorizations"].as_array().expect("a list") {
            let answer = self.get(text(url)).await;
            authorizations.push(answer.expect_status(200).json());
        }
        authorizations
    }

    async fn finalize(&self, order: &Value, csr: &str) -> Answer {
        self.post(text(&order["finalize"]), Some(json!({"csr": csr}))).await
    }

    /// Tells HTTP-01 of an authorization.
    async fn respond(&self, authorization: &Value) -> Answer {
        self.post(text(&http01(authorization)["url"]), Some(json!({}))).await
    }
}

/// Certificates of a chain, as DER.
fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("a PEM chain")
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().expect("readable");
    let names = names.expect("leaves have alternative names").value;
    names.general_names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn name_becomes_a_certificate() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = client.order(&["WWW.a.example", "a.example"]).await;
    assert_eq!(order["status"], "pending");
    let value = |index: usize| order["identifiers"][index]["value"].clone();
    assert_eq!([value(0), value(1)], ["a.example", "www.a.example"]);
    let authorization = &client.authorizations(&order).await[0];
    let kinds: Vec<&str> = authorization["challenges"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|challenge| text(&challenge["type"]))
        .collect();
    assert_eq!(kinds, ["dns-persist-01", "dns-01", "http-01"]);
    assert!(authorization["challenges"][0].get("token").is_none());

    world.publish(&client, &order).await;
    let order = world.tell(&client, &url).await;
    assert_eq!(order["status"], "ready");
    let (key, csr) = request(&["a.example", "www.a.example"]);
    let answer = client.finalize(&order, &csr).await.expect_status(200);
    assert_eq!(answer.header("location"), url);
    let certificate = client.get(text(&answer.json()["certificate"])).await.expect_status(200);
    assert_eq!(certificate.header("content-type"), "application/pem-certificate-chain");

    let chain = chain(&certificate.text());
    assert_eq!(chain.len(), 3);
    let (_, leaf) = X509Certificate::from_der(&chain[0]).expect("a certificate");
    assert_eq!(names_of(&leaf), ["DNSName(a.example)", "DNSName(www.a.example)"]);
    assert_eq!(leaf.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
    assert_eq!(leaf.issuer().to_string(), "C=US, O=Let's Encrypt, CN=(STAGING) Ersatz Emmer YR2");
    let root = self::chain(&world.authority.issuing_root_pem());
    for (below, above) in chain.iter().zip(chain.iter().skip(1).chain(&root)) {
        let (_, below) = X509Certificate::from_der(below).expect("a certificate");
        let (_, above) = X509Certificate::from_der(above).expect("a certificate");
        assert_eq!(below.issuer(), above.subject());
        below.verify_signature(Some(above.public_key())).expect("signed by the next");
    }

    let issued = world.authority.issued();
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].names, ["a.example", "www.a.example"]);
    assert_eq!(issued[0].order, url);
    assert_eq!(Some(&issued[0].account), client.account().as_ref());
    assert_eq!(issued[0].not_after - issued[0].not_before, Duration::from_hours(90 * 24));
    assert_eq!(leaf.validity().not_before.to_datetime(), issued[0].not_before);
    let hash = digest(&SHA256, &chain[0]);
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(issued[0].leaf_sha256, hex);
    let validations = world.authority.validations();
    assert!(validations.len() == 2 && validations.iter().all(|each| each.ok));
    let mut hosts = world.web.hosts().clone();
    hosts.sort();
    assert_eq!(hosts, ["a.example", "www.a.example"]);
    let seen = world.authority.faults().seen();
    let finalize = seen.iter().find(|seen| seen.endpoint == "finalize").expect("it was asked");
    assert_eq!(finalize.subject, "a.example,www.a.example");
    let order = seen.iter().find(|seen| seen.endpoint == "new-order").expect("it was asked");
    assert_eq!((order.subject.as_str(), order.status), ("a.example,www.a.example", Some(201)));
}

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

#[tokio::test]
async fn failed_validation_leaves_the_reason_in_the_challenge() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    let order_after = world.tell(&client, &url).await;
    assert_eq!(order_after["status"], "invalid");
    assert!(order_after.get("error").is_none(), "Boulder tells nothing in the order");
    let authorization = &client.authorizations(&order).await[0];
    assert_eq!(authorization["status"], "invalid");
    let error = &http01(authorization)["error"];
    assert_eq!(error["type"], "urn:ietf:params:acme:error:unauthorized");
    assert!(
        text(&error["detail"]).starts_with("127.0.0.1: Invalid response from http://a.example/")
    );
    assert!(text(&error["detail"]).ends_with(": 404"));
    client.respond(authorization).await.expect_problem(400, "malformed");
    let (_, csr) = request(&["a.example"]);
    client.finalize(&order, &csr).await.expect_problem(403, "orderNotReady");

    world.authority.set(|settings| settings.order_errors = true);
    let (url, _) = client.order(&["a.example"]).await;
    let order = world.tell(&client, &url).await;
    assert_eq!(order["error"]["type"], "urn:ietf:params:acme:error:unauthorized");
    let validations = world.authority.validations();
    assert_eq!(validations.iter().filter(|each| !each.ok).count(), 2);
}

/// Validates one name and returns the problem.
async fn validation(world: &World, name: &str, page: impl FnOnce(&str, &str)) -> Option<Problem> {
    let client = world.client().await;
    let (url, order) = client.order(&[name]).await;
    let authorization = &client.authorizations(&order).await[0];
    let token = text(&http01(authorization)["token"]);
    page(&format!("/.well-known/acme-challenge/{token}"), &client.key_authorization(token));
    world.tell(&client, &url).await;
    world.authority.validations().pop().and_then(|last| last.error)
}

#[tokio::test]
async fn tokens_are_fetched_by_the_rules_of_boulder() {
    let tls = certs::server_config(&[]);
    let web = Arc::new(Web::default());
    let secure = Server::start(Some(tls.config), Faults::default(), Arc::clone(&web))
        .await
        .expect("a free port");
    let world = World::start(|settings| settings.validation_tls_port = secure.port()).await;
    let other =
        Server::start(None, Faults::default(), Arc::clone(&web)).await.expect("a free port");
    let (port, other_port) = (world.web_server.port(), other.port());
    let serve = |path: &str, body: &str| world.web.publish(path, body);

    let check = async |what: &str, expected: Option<(&str, &str)>, page: &dyn Fn(&str, &str)| {
        let problem = validation(&world, "a.example", page).await;
        match (problem, expected) {
            (None, None) => {}
            (Some(problem), Some((kind, detail))) => {
                assert_eq!(problem.kind, kind, "{what}: {}", problem.detail);
                assert!(problem.detail.contains(detail), "{what}: {}", problem.detail);
            }
            (problem, _) => panic!("{what}: {problem:?}"),
        }
    };
    check("plain", None, &|path, key| serve(path, key)).await;
    check("white space behind", None, &|path, key| serve(path, &format!("{key} \r\n"))).await;
    let mismatch = Some(("unauthorized", "did not match this challenge"));
    check("white space before", mismatch, &|path, key| serve(path, &format!(" {key}"))).await;
    check("byte order mark", mismatch, &|path, key| serve(path, &format!("\u{feff}{key}"))).await;
    let longest = |key: &str, length: usize| format!("{key}{}", " ".repeat(length - key.len()));
    check("127 bytes", None, &|path, key| serve(path, &longest(key, 127))).await;
    let refused = Some(("unauthorized", "Invalid response from http://a.example/"));
    check("128 bytes", refused, &|path, key| serve(path, &longest(key, 128))).await;

    for status in [301, 302, 307, 308] {
        check("redirect", None, &|path, key| {
            world.web.redirect(path, status, "http://other.example/elsewhere?x=1");
            serve("/elsewhere", key);
        })
        .await;
    }
    assert_eq!(world.web.hosts().last().map(String::as_str), Some("other.example"));
    check("relative redirect", None, &|path, key| {
        world.web.redirect(path, 302, "/elsewhere");
        serve("/elsewhere", key);
    })
    .await;
    check("own port", None, &|path, key| {
        world.web.redirect(path, 302, format!("http://a.example:{port}/elsewhere"));
        serve("/elsewhere", key);
    })
    .await;
    check("to https", None, &|path, key| {
        world.web.redirect(path, 301, format!("https://a.example{path}"));
        web.publish(path, key);
    })
    .await;
    let to = |status: u16, to: String| {
        let web = Arc::clone(&world.web);
        move |path: &str, _: &str| web.redirect(path, status, to.clone())
    };
    for (what, status, target, why) in [
        ("303", 303, "/x".to_owned(), "disallowed redirect status code"),
        (
            "port",
            302,
            format!("http://a.example:{other_port}/x"),
            "Invalid port in redirect target",
        ),
        ("scheme", 302, "ftp://a.example/x".to_owned(), "Invalid protocol scheme"),
        ("address", 302, "http://127.0.0.1/x".to_owned(), "Invalid host in redirect target"),
        ("path", 302, format!("/{}", "x".repeat(2000)), "2001 bytes long"),
    ] {
        check(what, Some(("connection", why)), &to(status, target)).await;
    }
    check("loop", Some(("connection", "Redirect loop detected")), &|path, _| {
        world.web.redirect(path, 302, path);
    })
    .await;
    check("ten redirects", None, &|path, key| {
        world.web.redirect(path, 302, "/1");
        (1..10).for_each(|n| world.web.redirect(format!("/{n}"), 302, format!("/{}", n + 1)));
        serve("/10", key);
    })
    .await;
    check("eleven redirects", Some(("connection", "Too many redirects")), &|path, key| {
        world.web.redirect(path, 302, "/0");
        world.web.redirect("/0", 302, "/1");
        serve("/10", key);
    })
    .await;
}

#[tokio::test]
async fn unreachable_names_say_why() {
    let world = World::start(|settings| {
        settings.unresolved.insert("nowhere.example".to_owned());
    })
    .await;
    let failure = async |name: &str| {
        let problem = validation(&world, name, |_, _| {}).await;
        let problem = problem.expect("it fails");
        (problem.kind, problem.detail)
    };
    let (kind, detail) = failure("nowhere.example").await;
    assert_eq!(kind, "dns");
    assert!(detail.contains("NXDOMAIN looking up A for nowhere.example"), "{detail}");

    let nobody = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = nobody.local_addr().expect("it is bound");
    world.authority.resolve("silent.example", address);
    let patience = |time| {
        let authority = &world.authority;
        authority.set(|settings| settings.validation_timeout = time);
    };
    patience(Duration::from_millis(20));
    let (kind, detail) = failure("silent.example").await;
    assert_eq!(kind, "connection");
    assert!(detail.ends_with("Timeout after connect (your server may be slow or overloaded)"));
    drop(nobody);
    patience(Duration::from_secs(10));
    let (kind, detail) = failure("silent.example").await;
    assert_eq!(kind, "connection");
    assert!(detail.ends_with(": Connection refused"), "{detail}");

    world.web_faults.add("page", 1, What::Close);
    let (kind, detail) = failure("closed.example").await;
    assert_eq!(kind, "connection");
    assert!(detail.starts_with("127.0.0.1: Fetching http://closed.example/"), "{detail}");
}

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

#[tokio::test]
async fn two_authorities_know_nothing_of_each_other() {
    let staging = World::start(|_| {}).await;
    let port = staging.web_server.port();
    let mut settings = AuthoritySettings::production();
    settings.validation_port = port;
    let production = Authority::start(settings).await.expect("a free port");
    assert_ne!(staging.authority.issuing_root_pem(), production.issuing_root_pem());
    assert_ne!(staging.authority.directory_url(), production.directory_url());
    let client = Client::new(&production);
    client.register().await.expect_status(201);
    client.order(&["a.example"]).await;
    assert_eq!(production.orders().len(), 1);
    assert_eq!(staging.authority.orders().len(), 0);
}

#[tokio::test]
async fn faults_can_answer_with_problems() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let busy = Problem::new(503, "rateLimited", "Service busy; retry later.")
        .retry_after(RetryAfter::Seconds(60));
    world.authority.faults().add("new-order", 1, What::Answer(busy.response()));
    let answer = client.new_order(&["a.example"]).await;
    answer.expect_problem(503, "rateLimited");
    assert_eq!(answer.header("retry-after"), "60");
    client.order(&["a.example"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_orders_are_worked_on_at_once() {
    let world = Arc::new(World::start(|_| {}).await);
    let client = Arc::new(world.client().await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (world, client) = (Arc::clone(&world), Arc::clone(&client));
        tasks.spawn(async move { world.issue(&client, &[&format!("n{number}.example")]).await });
    }
    tasks.join_all().await;
    assert_eq!(world.authority.issued().len(), 50);
}

#[test]
fn certificates_of_others_verify() {
    let from = OffsetDateTime::UNIX_EPOCH;
    let until = from + Duration::from_hours(24);
    let bought = certs::bought(&["a.example", "b.example"], from, until);
    let own = certs::self_signed(&["a.example"], from, until);
    let key = KeyPair::from_pem(&bought.key_pem).expect("a PKCS#8 key");
    assert!(own.key_pem.starts_with("-----BEGIN PRIVATE KEY-----"));
    let der = chain(&bought.full_chain_pem());
    let (_, leaf) = X509Certificate::from_der(&der[0]).expect("a certificate");
    let (_, above) = X509Certificate::from_der(&der[1]).expect("a certificate");
    leaf.verify_signature(Some(above.public_key())).expect("signed by the intermediate");
    assert_eq!(leaf.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
    assert_eq!(leaf.validity().not_after.to_datetime(), until);
    let der = chain(&own.full_chain_pem());
    let (_, leaf) = X509Certificate::from_der(&der[0]).expect("a certificate");
    leaf.verify_signature(None).expect("signed by itself");
    assert_eq!((der.len(), leaf.issuer()), (1, leaf.subject()));
}

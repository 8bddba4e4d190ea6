//! The ACME authority, seen by a small client of its own. Here it is Boulder; below it is others, by subject.

#[path = "authority/accounts.rs"]
mod accounts;
#[path = "authority/challenges.rs"]
mod challenges;
#[path = "authority/client.rs"]
mod client;
#[path = "authority/downloads.rs"]
mod downloads;
#[path = "authority/finalizing.rs"]
mod finalizing;
#[path = "authority/model.rs"]
mod model;
#[path = "authority/orders.rs"]
mod orders;
#[path = "authority/outages.rs"]
mod outages;
#[path = "authority/requests.rs"]
mod requests;
#[path = "authority/validation.rs"]
mod validation;

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
use http::Response;
use rcgen::CertificateParams;
use rcgen::KeyPair;
use ring::digest::SHA256;
use ring::digest::digest;
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

use client::Answer;
use client::Client;
use client::Signature;

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

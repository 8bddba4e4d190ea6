//! What tests of Rancher and metadata share: odd answers, certificates, a direct way into the API.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::Response;
use rancher_lets_encrypt::client;
use rancher_lets_encrypt::client::Roots;
use rustls::ServerConfig;
use sandbox::certs;
use sandbox::certs::Pair;
use sandbox::faults::What;
use sandbox::rancher::Rancher;
use sandbox::rancher::settings::Role;
use sandbox::serve::Server;
use serde_json::Value;
use serde_json::json;
use time::macros::datetime;

use crate::support::Settings;
use crate::support::World;

/// A status with Cattle's error body.
pub(crate) fn status(status: u16) -> What {
    let error = json!({"type": "error", "status": status, "code": "Made up", "message": null, "detail": null});
    answer(status, error.to_string())
}

/// An answer word for word.
pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> What {
    What::Answer(Response::builder().status(status).body(body.into()).unwrap())
}

/// A good certificate of some company.
pub(crate) fn bought(names: &[&str]) -> Pair {
    certs::bought(names, datetime!(2026-01-02 3:04:05 UTC), datetime!(2046-11-22 0:00 UTC))
}

/// One that signs itself, as people put up until there is a better one.
pub(crate) fn self_signed(names: &[&str]) -> Pair {
    certs::self_signed(names, datetime!(2026-01-02 3:04:05 UTC), datetime!(2046-11-22 0:00 UTC))
}

/// Adds a certificate as an operator would have done long ago, and gives its id.
pub(crate) fn add(rancher: &Rancher, name: &str, pair: &Pair) -> String {
    let chain = Some(pair.chain_pem.as_str()).filter(|chain| !chain.is_empty());
    rancher.add_certificate(name, &pair.cert_pem, chain, &pair.key_pem, None)
}

impl World {
    /// Rancher's API over TLS, for as long as it is kept, and settings of a daemon that asks for one name there.
    pub(crate) async fn rancher_over_tls(&self, tls: Arc<ServerConfig>) -> (Server, Settings) {
        let front = self.rancher.api_over_tls(tls).await.unwrap();
        let url = format!("https://{}/v2-beta", front.address());
        let settings = self.settings().with("CATTLE_URL", url).with("DOMAINS", "a.example.com");
        (front, settings)
    }
}

/// A client that trusts public roots only, for what tests ask themselves.
pub(crate) fn http_client() -> reqwest::Client {
    // Every test may be the first; the others are told that it is there already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = client::builder(std::time::Duration::from_secs(60));
    client::with_roots(builder, &Roots::default()).unwrap().build().unwrap()
}

/// Asks the API as the daemon's own key may.
pub(crate) async fn call(rancher: &Rancher, method: Method, path: &str, body: &Value) -> Value {
    let (access, secret) = rancher.key(Role::Environment);
    let url = format!("{}/projects/{}/{path}", rancher.api_url(), rancher.project());
    let response = http_client()
        .request(method, url)
        .basic_auth(access, Some(secret))
        .header("Accept", "application/json")
        .json(body)
        .send()
        .await
        .unwrap();
    assert!(response.status().is_success(), "{response:?}");
    response.json().await.unwrap()
}

/// Makes a certificate through the API, so that it is `activating` first, and gives its id.
pub(crate) async fn create(rancher: &Rancher, name: &str, pair: &Pair) -> String {
    let body = json!({
        "name": name, "cert": pair.cert_pem, "certChain": pair.chain_pem, "key": pair.key_pem,
    });
    let made = call(rancher, Method::POST, "certificates", &body).await;
    made["id"].as_str().unwrap().to_owned()
}

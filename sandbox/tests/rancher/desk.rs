//! What all tests here need: a client, certificates, requests to the API.

use std::sync::LazyLock;
use std::time::Duration;

use http::Method;
use reqwest::Client;
use reqwest::RequestBuilder;
use reqwest::redirect;
use sandbox::certs::CertificateAuthority;
use sandbox::certs::LeafContent;
use sandbox::certs::Pair;
use sandbox::certs::Subject;
use sandbox::rancher::Rancher;
use sandbox::rancher::settings::RancherSettings;
use sandbox::rancher::settings::Role;
use serde_json::Value;
use serde_json::json;
use time::macros::datetime;

static AUTHORITY: LazyLock<CertificateAuthority> = LazyLock::new(|| {
    let subject = |name| Subject::new("Example Trust", name).in_country("US");
    CertificateAuthority::new(&subject("Example Root"), &[subject("XE1")])
});

/// A leaf of an authority with its intermediate, never the same twice.
pub(crate) fn pair(names: &[&str]) -> Pair {
    let (start, end) = (datetime!(2026-01-02 3:04:05 UTC), datetime!(2046-11-22 0:00 UTC));
    AUTHORITY.pair(&LeafContent::new(names, start, end))
}

/// The root that [`pair`] leads to.
pub(crate) fn root() -> String {
    AUTHORITY.root_pem()
}

/// A Rancher with the usual settings.
pub(crate) async fn rancher() -> Rancher {
    let rancher = Rancher::start(RancherSettings::default()).await;
    rancher.expect("ports are free")
}

/// A client that follows no redirects. Its time limit only ends a test that has failed.
pub(crate) fn client() -> Client {
    // Every test may be the first; the others are told that it is there already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(Duration::from_secs(120))
        .build()
        .expect("a plain client can be made")
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The names of the items of a list.
    pub(crate) fn names(&self) -> Vec<&str> {
        let items = self.body["data"].as_array().expect("it is a list");
        items.iter().filter_map(|item| item["name"].as_str()).collect()
    }
}

/// The API of a model, asked with the key of a role.
pub(crate) struct Caller<'a> {
    pub(crate) rancher: &'a Rancher,
    client: Client,
    key: (String, String),
}

impl<'a> Caller<'a> {
    pub(crate) fn new(rancher: &'a Rancher) -> Self {
        Self::with_role(rancher, Role::Environment)
    }

    pub(crate) fn with_role(rancher: &'a Rancher, role: Role) -> Self {
        Self::with_key(rancher, rancher.key(role))
    }

    pub(crate) fn with_key(rancher: &'a Rancher, key: (String, String)) -> Self {
        Self { rancher, client: client(), key }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PUT, path, Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, None).await
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        self.send(self.request(method, path), body).await
    }

    /// A request under `/v2-beta/projects/1a5`, or at the path itself if it begins with a slash.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = match path.starts_with('/') {
            true => format!("{}{path}", self.rancher.origin()),
            false => format!("{}/projects/1a5/{path}", self.rancher.api_url()),
        };
        let (access, secret) = &self.key;
        let request = self.client.request(method, url);
        request.basic_auth(access, Some(secret))
    }

    pub(crate) async fn send(&self, request: RequestBuilder, body: Option<String>) -> Answer {
        let request = match body {
            Some(body) => request.body(body),
            None => request,
        };
        let response = request.send().await.expect("the model answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("the answer has an end");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, headers, body }
    }
}

/// The body that creates a certificate.
pub(crate) fn creation(name: &str, pair: &Pair) -> Value {
    let mut body = renewal(pair);
    body["name"] = json!(name);
    body
}

/// The body that renews a certificate.
pub(crate) fn renewal(pair: &Pair) -> Value {
    json!({"cert": pair.cert_pem, "certChain": pair.chain_pem, "key": pair.key_pem})
}

/// Adds a certificate to a model.
pub(crate) fn add(rancher: &Rancher, name: &str, pair: &Pair) -> String {
    rancher.add_certificate(name, &pair.cert_pem, Some(&pair.chain_pem), &pair.key_pem, None)
}

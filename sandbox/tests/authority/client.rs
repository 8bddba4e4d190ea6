//! A small ACME client, which can also ask what no good one would.

use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use http::HeaderMap;
use ring::digest::SHA256;
use ring::digest::digest;
use ring::rand::SystemRandom;
use ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use ring::signature::EcdsaKeyPair;
use ring::signature::KeyPair as _;
use sandbox::authority::Authority;
use serde_json::Value;
use serde_json::json;

use crate::encoded;
use crate::http01;
use crate::text;

/// An answer of the authority.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(super) fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Checks a refusal and returns its detail.
    #[track_caller]
    pub(super) fn expect_problem(&self, status: u16, kind: &str) -> String {
        let problem = self.json();
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        assert_eq!((self.status, text(&problem["type"])), (status, kind.as_str()), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        text(&problem["detail"]).to_owned()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    #[track_caller]
    pub(super) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).expect("the header is there");
        value.to_str().expect("a plain header").to_owned()
    }
}

/// How a request is signed.
pub(super) struct Signature<'a> {
    pub(super) url: &'a str,
    pub(super) nonce: String,
    pub(super) by_key: bool,
}

/// The smallest ACME client.
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) base: String,
    pub(super) key: EcdsaKeyPair,
    pub(super) account: Mutex<Option<String>>,
}

impl Client {
    pub(super) fn new(authority: &Authority) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .expect("random bytes");
        Self::with_key(authority, pkcs8.as_ref())
    }

    pub(super) fn with_key(authority: &Authority, pkcs8: &[u8]) -> Self {
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

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/acme/{path}", self.base)
    }

    pub(super) fn account(&self) -> Option<String> {
        let account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.clone()
    }

    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({"crv": "P-256", "kty": "EC", "x": encoded(x), "y": encoded(y)})
    }

    pub(super) fn key_authorization(&self, token: &str) -> String {
        let thumbprint = digest(&SHA256, self.jwk().to_string().as_bytes());
        format!("{token}.{}", encoded(thumbprint.as_ref()))
    }

    pub(super) async fn nonce(&self) -> String {
        let answer = self.http.head(self.url("new-nonce")).send().await;
        let answer = answer.expect("the authority answers");
        assert_eq!(answer.status(), 200);
        let nonce = &answer.headers()["replay-nonce"];
        nonce.to_str().expect("a plain nonce").to_owned()
    }

    pub(super) fn sign(&self, signature: &Signature<'_>, payload: Option<&Value>) -> Value {
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

    pub(super) async fn send(&self, url: &str, jws: &Value) -> Answer {
        let answer = self.try_send(url, jws).await;
        answer.expect("the authority answers")
    }

    pub(super) async fn try_send(&self, url: &str, jws: &Value) -> reqwest::Result<Answer> {
        let request = self.http.post(url).header("content-type", "application/jose+json");
        let answer = request.body(jws.to_string()).send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await?,
        })
    }

    pub(super) async fn post(&self, url: &str, payload: Option<Value>) -> Answer {
        let answer = self.try_post(url, payload).await;
        answer.expect("the authority answers")
    }

    pub(super) async fn try_post(
        &self,
        url: &str,
        payload: Option<Value>,
    ) -> reqwest::Result<Answer> {
        let nonce = self.nonce().await;
        let by_key = url == self.url("new-acct");
        let signature = Signature { url, nonce, by_key };
        let jws = self.sign(&signature, payload.as_ref());
        self.try_send(url, &jws).await
    }

    /// POST-as-GET.
    pub(super) async fn get(&self, url: &str) -> Answer {
        self.post(url, None).await
    }

    pub(super) async fn register(&self) -> Answer {
        let payload = json!({"termsOfServiceAgreed": true, "contact": ["mailto:ops@a.example"]});
        let answer = self.post(&self.url("new-acct"), Some(payload)).await;
        if answer.status < 300 {
            let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            *account = Some(answer.header("location"));
        }
        answer
    }

    pub(super) async fn new_order(&self, names: &[&str]) -> Answer {
        let identifiers: Vec<Value> =
            names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let payload = json!({"identifiers": identifiers});
        self.post(&self.url("new-order"), Some(payload)).await
    }

    /// A new order: its URL and what it says.
    pub(super) async fn order(&self, names: &[&str]) -> (String, Value) {
        let answer = self.new_order(names).await.expect_status(201);
        (answer.header("location"), answer.json())
    }

    pub(super) async fn authorizations(&self, order: &Value) -> Vec<Value> {
        let mut authorizations = Vec::new();
        for url in order["authorizations"].as_array().expect("a list") {
            let answer = self.get(text(url)).await;
            authorizations.push(answer.expect_status(200).json());
        }
        authorizations
    }

    pub(super) async fn finalize(&self, order: &Value, csr: &str) -> Answer {
        self.post(text(&order["finalize"]), Some(json!({"csr": csr}))).await
    }

    /// Tells HTTP-01 of an authorization.
    pub(super) async fn respond(&self, authorization: &Value) -> Answer {
        self.post(text(&http01(authorization)["url"]), Some(json!({}))).await
    }
}

//! A bare ACME client: the least that gets certificates, for comparison. It writes nothing to a disk, keeps no
//! record, checks nothing, and never waits for more than a few milliseconds.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
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
use rcgen::KeyPair as CertificateKey;
use reqwest::Certificate;
use reqwest::Client;
use ring::digest::SHA256;
use ring::digest::digest;
use ring::rand::SystemRandom;
use ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use ring::signature::EcdsaKeyPair;
use ring::signature::KeyPair;
use serde_json::Value;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::faults::Faults;
use crate::serve::Answers;
use crate::serve::Asked;
use crate::serve::Server;

type Failure = Box<dyn Error + Send + Sync>;

/// Serves challenge answers out of memory.
#[derive(Default)]
pub struct Tokens(Mutex<BTreeMap<String, String>>);

impl Tokens {
    /// Starts to serve at an address.
    pub async fn serve(self: &Arc<Self>, at: SocketAddr) -> io::Result<Server> {
        Server::start_at(at, None, Faults::default(), Arc::clone(self)).await
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers for Tokens {
    fn name(&self, _: &Asked) -> (&'static str, String) {
        ("challenge", String::new())
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        let token = request.uri().path().rsplit('/').next().unwrap_or_default();
        let found = self.all().get(token).cloned();
        let mut response = Response::new(Bytes::from(found.clone().unwrap_or_default()));
        if found.is_none() {
            *response.status_mut() = http::StatusCode::NOT_FOUND;
        }
        response
    }
}

/// The client, with an account of its own.
pub struct Bare {
    client: Client,
    directory: Value,
    key: EcdsaKeyPair,
    account: String,
    thumbprint: String,
    nonces: Mutex<Vec<String>>,
    tokens: Arc<Tokens>,
}

struct Answer {
    location: String,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Bare {
    /// Registers at a directory whose TLS is trusted by these roots.
    pub async fn register(
        directory: &str,
        roots_pem: &str,
        tokens: Arc<Tokens>,
    ) -> Result<Self, Failure> {
        let roots = Certificate::from_pem_bundle(roots_pem.as_bytes())?;
        let client =
            Client::builder().tls_certs_only(roots).no_proxy().tcp_nodelay(true).build()?;
        let directory = client.get(directory).send().await?.json().await?;
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| "no key")?;
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .map_err(|_| "no key")?;
        let mut bare = Self {
            client,
            directory,
            thumbprint: encoded(digest(&SHA256, jwk(&key).to_string().as_bytes())),
            key,
            account: String::new(),
            nonces: Mutex::default(),
            tokens,
        };
        let url = text(&bare.directory["newAccount"]).to_owned();
        bare.account = bare.post(&url, Some(json!({"termsOfServiceAgreed": true}))).await?.location;
        Ok(bare)
    }

    /// Gets a certificate for each name, `at_once` orders at a time.
    pub async fn obtain_all(
        self: &Arc<Self>,
        names: &[String],
        at_once: usize,
    ) -> Result<(), Failure> {
        let places = Arc::new(Semaphore::new(at_once));
        let mut orders = JoinSet::new();
        for name in names {
            let (bare, places, name) = (Arc::clone(self), Arc::clone(&places), name.clone());
            orders.spawn(async move {
                let _place = places.acquire_owned().await;
                bare.obtain(&name).await
            });
        }
        while let Some(done) = orders.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Gets one certificate, and throws it away.
    pub async fn obtain(&self, name: &str) -> Result<(), Failure> {
        let identifiers = json!({"identifiers": [{"type": "dns", "value": name}]});
        let url = text(&self.directory["newOrder"]).to_owned();
        let opened = self.post(&url, Some(identifiers)).await?;
        let order = opened.json()?;
        let authorization_url = text(&order["authorizations"][0]).to_owned();
        let mut authorization = self.post(&authorization_url, None).await?.json()?;
        if authorization["status"] == "pending" {
            let challenges = authorization["challenges"].as_array().cloned().unwrap_or_default();
            let challenge =
                challenges.iter().find(|each| each["type"] == "http-01").ok_or("no HTTP-01")?;
            let token = text(&challenge["token"]);
            let answer = format!("{token}.{}", self.thumbprint);
            self.tokens.all().insert(token.to_owned(), answer);
            self.post(text(&challenge["url"]), Some(json!({}))).await?;
            let mut pause = Duration::from_millis(4);
            while authorization["status"] == "pending" || authorization["status"] == "processing" {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(64));
                authorization = self.post(&authorization_url, None).await?.json()?;
            }
            self.tokens.all().remove(token);
        }
        let key = CertificateKey::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        let csr = json!({"csr": encoded(request.der())});
        let mut order = self.post(text(&order["finalize"]), Some(csr)).await?.json()?;
        let mut pause = Duration::from_millis(4);
        while order["status"] == "processing" {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(64));
            order = self.post(&opened.location, None).await?.json()?;
        }
        let certificate = self.post(text(&order["certificate"]), None).await?;
        if certificate.body.starts_with(b"-----BEGIN CERTIFICATE-----") {
            Ok(())
        } else {
            Err(format!("no certificate for {name}: {order}").into())
        }
    }

    async fn post(&self, url: &str, payload: Option<Value>) -> Result<Answer, Failure> {
        let mut nonce = self.nonces().pop();
        for _ in 0..20 {
            let fresh = match nonce.take() {
                Some(nonce) => nonce,
                None => self.new_nonce().await?,
            };
            let jws = self.sign(url, &fresh, payload.as_ref())?;
            let request =
                self.client.post(url).header("Content-Type", "application/jose+json").body(jws);
            let response = request.send().await?;
            let status = response.status();
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default()
                    .to_owned()
            };
            let (location, replay) = (header("location"), header("replay-nonce"));
            let body = response.bytes().await?;
            if status == 400 && String::from_utf8_lossy(&body).contains("badNonce") {
                nonce = Some(replay);
                continue;
            }
            self.nonces().push(replay);
            if status.is_success() {
                return Ok(Answer { location, body });
            }
            return Err(format!("{url}: {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Err("every nonce is refused".into())
    }

    fn nonces(&self) -> MutexGuard<'_, Vec<String>> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn new_nonce(&self) -> Result<String, Failure> {
        let response = self.client.head(text(&self.directory["newNonce"])).send().await?;
        let nonce = response.headers().get("replay-nonce").ok_or("no nonce")?;
        Ok(nonce.to_str()?.to_owned())
    }

    fn sign(&self, url: &str, nonce: &str, payload: Option<&Value>) -> Result<String, Failure> {
        let mut header = json!({"alg": "ES256", "nonce": nonce, "url": url});
        if self.account.is_empty() {
            header["jwk"] = jwk(&self.key);
        } else {
            header["kid"] = self.account.clone().into();
        }
        let protected = encoded(header.to_string());
        let payload = payload.map(|payload| encoded(payload.to_string())).unwrap_or_default();
        let message = format!("{protected}.{payload}");
        let signature =
            self.key.sign(&SystemRandom::new(), message.as_bytes()).map_err(|_| "no signature")?;
        Ok(json!({"protected": protected, "payload": payload, "signature": encoded(signature)})
            .to_string())
    }
}

/// In the order of RFC 7638.
fn jwk(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let (x, y) = point[1..].split_at(32);
    json!({"crv": "P-256", "kty": "EC", "x": encoded(x), "y": encoded(y)})
}

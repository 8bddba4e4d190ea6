//! A proxy between the daemon and a server: it ends TLS, passes everything on, and does to it what its faults say.
//!
//! The server is told the `Host` that the client used. Pebble makes its URLs from it and holds the `url` of each JWS
//! against it (`wfe.go`: `relativeEndpoint`, `verifyPOST`), Cattle makes its links from it; so whatever a client
//! learns through the proxy leads back through it, and nothing in bodies or signatures has to be rewritten.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::Response;
use http::StatusCode;
use http::header;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::Value;

use crate::certs::ServerTls;
use crate::faults::Faults;
use crate::rancher;
use crate::serve::Answers;
use crate::serve::Asked;
use crate::serve::Cut;
use crate::serve::Server;

/// What stands behind a proxy.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Scheme, host and port.
    pub origin: String,
    /// Roots to trust there, PEM; none if it has no TLS.
    pub roots_pem: Option<String>,
    /// How its endpoints are called.
    pub kind: Kind,
}

/// Whose endpoints they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pebble's; called as those of [`crate::authority`].
    Pebble,
    /// Those of Rancher's API.
    Rancher,
    /// Those of Rancher's metadata.
    Metadata,
}

/// Something that was made by a request that passed the proxy.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its URL.
    pub url: String,
    /// What was answered about it.
    pub body: Value,
}

/// A running proxy. Dropping it closes its port; what it passed on already goes its way.
pub struct Proxy {
    server: Server,
    faults: Faults,
    is_tls: bool,
    made: Arc<Mutex<Vec<Made>>>,
}

impl Proxy {
    /// Starts on a free port of 127.0.0.1, with TLS or without.
    pub async fn start(upstream: Upstream, tls: Option<&ServerTls>) -> io::Result<Self> {
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            // Over HTTP/2 the authority of the URL would take the place of `Host`.
            .http1_only()
            // A connection that was closed in the meantime would look like a fault.
            .pool_max_idle_per_host(0);
        if let Some(pem) = &upstream.roots_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
            builder = builder.tls_certs_only(roots.map_err(io::Error::other)?);
        }
        // Somebody else may have installed one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let made = Arc::default();
        let faults = Faults::default();
        let passing = Passing {
            client: builder.build().map_err(io::Error::other)?,
            upstream,
            proto: if tls.is_some() { "https" } else { "http" },
            made: Arc::clone(&made),
        };
        let config = tls.map(|tls| Arc::clone(&tls.config));
        Ok(Self {
            server: Server::start(config, faults.clone(), Arc::new(passing)).await?,
            faults,
            is_tls: tls.is_some(),
            made,
        })
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.server.address())
    }

    /// What goes wrong, and the account of what was asked and what went wrong with it.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Everything that was made (201) by requests that passed, oldest first; also what nobody was told of.
    pub fn made(&self) -> Vec<Made> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.clone()
    }
}

#[derive(Clone)]
struct Passing {
    client: Client,
    upstream: Upstream,
    proto: &'static str,
    made: Arc<Mutex<Vec<Made>>>,
}

impl Answers for Passing {
    fn name(&self, request: &Asked) -> (&'static str, String) {
        let endpoint = match self.upstream.kind {
            Kind::Pebble => pebbles(request.uri().path()),
            Kind::Rancher => rancher::api::endpoint_of(request),
            Kind::Metadata => rancher::metadata::endpoint_of(request),
        };
        (endpoint, String::new())
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        let passing = self.clone();
        // What was sent is done, even if the client has gone away meanwhile: as on a real network.
        let passed = tokio::spawn(async move { passing.pass(request).await });
        match passed.await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) | Err(_) => {
                let mut cut = Response::new(Bytes::new());
                cut.extensions_mut().insert(Cut);
                cut
            }
        }
    }
}

impl Passing {
    async fn pass(&self, request: Asked) -> reqwest::Result<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.upstream.origin);
        let mut headers = end_to_end(&parts.headers);
        let proto = HeaderName::from_static("x-forwarded-proto");
        headers.insert(proto, self.proto.parse().expect("it is plain text"));
        let request = self.client.request(parts.method, url).headers(headers);
        let answer = request.body(body).send().await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = end_to_end(answer.headers());
        *response.body_mut() = answer.bytes().await?;
        self.note(&response);
        Ok(response)
    }

    fn note(&self, response: &Response<Bytes>) {
        let url = response.headers().get(header::LOCATION);
        let url = url.and_then(|url| url.to_str().ok());
        let body = serde_json::from_slice(response.body());
        if let (StatusCode::CREATED, Some(url), Ok(body)) = (response.status(), url, body) {
            let url = url.to_owned();
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.push(Made { url, body });
        }
    }
}

/// Headers but for those that are about one connection (RFC 9110, section 7.6.1), and the length, which is counted
/// anew.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    headers
}

/// Pebble's own paths (`wfe.go`).
fn pebbles(path: &str) -> &'static str {
    const PATHS: [(&str, &str); 10] = [
        ("/dir", "directory"),
        ("/nonce-plz", "new-nonce"),
        ("/sign-me-up", "new-account"),
        ("/order-plz", "new-order"),
        ("/my-account/", "account"),
        ("/my-order/", "order"),
        ("/finalize-order/", "finalize"),
        ("/authZ/", "authorization"),
        ("/chalZ/", "challenge"),
        ("/certZ/", "certificate"),
    ];
    let found = PATHS.iter().find(|(start, _)| path.starts_with(start));
    found.map_or("other", |(_, name)| name)
}

//! Who is told: a webhook, as Slack, ntfy or a heartbeat service offer one. It keeps what it took.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Response;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::sync::watch;

use crate::faults::Faults;
use crate::serve::Answers;
use crate::serve::Asked;
use crate::serve::Server;

/// What was taken.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it was sent.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Message {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A running receiver. Dropping it closes the port.
pub struct Receiver {
    scheme: &'static str,
    server: Server,
    faults: Faults,
    taken: Arc<watch::Sender<Vec<Message>>>,
}

impl Receiver {
    /// Starts on a free port.
    pub async fn start() -> io::Result<Self> {
        Self::start_with("http", None).await
    }

    /// The same over TLS.
    pub async fn start_over_tls(tls: Arc<ServerConfig>) -> io::Result<Self> {
        Self::start_with("https", Some(tls)).await
    }

    async fn start_with(scheme: &'static str, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let faults = Faults::default();
        let taken = Arc::new(watch::Sender::new(Vec::new()));
        let answers = Arc::new(Taking(Arc::clone(&taken)));
        let server = Server::start(tls, faults.clone(), answers).await?;
        Ok(Self { scheme, server, faults, taken })
    }

    /// An address of it; the path is the secret.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}/{path}", self.scheme, self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What goes wrong: `notice` for POST, `heartbeat` for anything else; the subject is the path.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The notices that were taken so far, oldest first.
    pub fn taken(&self) -> Vec<Message> {
        self.taken.borrow().clone()
    }

    /// Resolves when so many notices were taken, with all of them.
    pub async fn takes(&self, count: usize) -> Vec<Message> {
        let mut taken = self.taken.subscribe();
        let found = taken.wait_for(|all| count <= all.len()).await;
        found.expect("the sender lives as long as self").clone()
    }
}

struct Taking(Arc<watch::Sender<Vec<Message>>>);

impl Answers for Taking {
    fn name(&self, request: &Asked) -> (&'static str, String) {
        let endpoint = if request.method() == Method::POST { "notice" } else { "heartbeat" };
        (endpoint, request.uri().path().to_owned())
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        if request.method() == Method::POST {
            let message = Message {
                path: request.uri().path().to_owned(),
                headers: request.headers().clone(),
                body: String::from_utf8_lossy(request.body()).into_owned(),
            };
            self.0.send_modify(|taken| taken.push(message));
        }
        Response::new(Bytes::from_static(b"ok"))
    }
}

//! What stands before an authority and hangs up on it: a connection that closes in the middle of a finalize request.
//!
//! Unlike `sandbox::proxy`, it drops what it has passed on when its client goes away, as the authority sees it when
//! clients come directly.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::Response;
use http::header;
use reqwest::Client;
use sandbox::certs::server_config;
use sandbox::faults::Faults;
use sandbox::serve::Answers;
use sandbox::serve::Asked;
use sandbox::serve::Cut;
use sandbox::serve::Server;
use tokio::sync::oneshot;

/// How long a finalize request is let go on, and who is told when its connection was closed.
type Tear = (Duration, oneshot::Sender<()>);

/// It ends TLS on both sides. The authority has to be told that its URLs lead here.
pub(crate) struct Torn {
    server: Server,
    next: Arc<Mutex<Option<Tear>>>,
    root_pem: String,
}

impl Torn {
    /// Starts before an authority whose root is in a file.
    pub(crate) async fn start(origin: &str, roots: &Path) -> Self {
        let roots = std::fs::read(roots).unwrap();
        let roots = reqwest::Certificate::from_pem_bundle(&roots).unwrap();
        // Somebody else may have installed one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = Client::builder().no_proxy().tls_certs_only(roots);
        // A request that is dropped closes its connection.
        let builder = builder.http1_only().pool_max_idle_per_host(0);
        let next = Arc::default();
        let passing = Passing {
            client: builder.build().unwrap(),
            origin: origin.to_owned(),
            next: Arc::clone(&next),
        };
        let tls = server_config(&[]);
        let server = Server::start(Some(tls.config), Faults::default(), Arc::new(passing)).await;
        Self { server: server.unwrap(), next, root_pem: tls.root_pem }
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        format!("https://{}", self.server.address())
    }

    /// The root of its own certificate, PEM.
    pub(crate) fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Closes the connection of the next finalize request so long after it was opened; nobody learns what came of it.
    /// Resolves when that is done.
    pub(crate) fn tears_the_next(&self, after: Duration) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        *self.next.lock().unwrap() = Some((after, done));
        is_done
    }
}

impl Torn {
    /// Closes no connection any more.
    pub(crate) fn tears_none(&self) {
        *self.next.lock().unwrap() = None;
    }
}

struct Passing {
    client: Client,
    origin: String,
    next: Arc<Mutex<Option<Tear>>>,
}

impl Answers for Passing {
    fn name(&self, _request: &Asked) -> (&'static str, String) {
        ("passed", String::new())
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        let is_finalize = request.uri().path().ends_with("/finalize");
        let tear = is_finalize.then(|| self.next.lock().unwrap().take());
        let passing = self.pass(request);
        let Some((after, done)) = tear.flatten() else {
            return passing.await.unwrap_or_else(|_| {
                let mut cut = Response::new(Bytes::new());
                cut.extensions_mut().insert(Cut);
                cut
            });
        };
        drop(tokio::time::timeout(after, passing).await);
        // The test may have given up on it.
        let _ = done.send(());
        std::future::pending().await
    }
}

impl Passing {
    async fn pass(&self, request: Asked) -> reqwest::Result<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = self
            .client
            .request(parts.method, format!("{}{path}", self.origin))
            .headers(of_the_message(&parts.headers));
        let answer = request.body(body).send().await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = of_the_message(answer.headers());
        *response.body_mut() = answer.bytes().await?;
        Ok(response)
    }
}

/// Headers but for those that are about one connection, and the length, which is counted anew.
fn of_the_message(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in
        [header::CONNECTION, header::CONTENT_LENGTH, header::HOST, header::TRANSFER_ENCODING]
    {
        headers.remove(name);
    }
    headers
}

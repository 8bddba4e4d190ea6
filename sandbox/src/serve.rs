//! HTTP servers over plain sockets or TLS on free loopback ports, gone when dropped.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::faults::Faults;
use crate::faults::Seen;
use crate::faults::What;
use crate::faults::mangle::mangled;
use crate::rancher::origin::now;

/// A request whose body was read, and who sent it.
pub type Asked = Request<Bytes>;

/// The address of the peer, among the extensions of a request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Among the extensions of an answer: the connection is closed without one.
#[derive(Debug, Clone, Copy)]
pub struct Cut;

/// What a server answers with: requests in, answers out; every request passes the faults first.
pub trait Answers: Send + Sync + 'static {
    /// Names the request, for faults and tests: the endpoint and its subject.
    fn name(&self, request: &Asked) -> (&'static str, String);

    /// Does what was asked.
    fn answer(&self, request: Asked) -> impl Future<Output = Response<Bytes>> + Send;
}

/// A running server. Dropping it closes the port and every connection.
pub struct Server {
    address: SocketAddr,
    task: AbortOnDrop,
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start(
        tls: Option<Arc<ServerConfig>>,
        faults: Faults,
        answers: Arc<impl Answers>,
    ) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), tls, faults, answers).await
    }

    /// Starts at an address; port 0 is a free one.
    pub async fn start_at(
        at: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        faults: Faults,
        answers: Arc<impl Answers>,
    ) -> io::Result<Self> {
        Self::start_on(TcpListener::bind(at).await?, tls, faults, answers)
    }

    /// Starts on a socket that listens already.
    pub fn start_on(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        faults: Faults,
        answers: Arc<impl Answers>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), faults, answers));
        Ok(Self { address, task: AbortOnDrop(task) })
    }

    /// Ends it; when this resolves, the port refuses connections.
    pub async fn stop(mut self) {
        self.task.0.abort();
        // The task was told to end, so how it ended is no news.
        drop((&mut self.task.0).await);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The IP address it listens on.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    faults: Faults,
    answers: Arc<impl Answers>,
) {
    // Dropped with this task, so that no connection outlives its server.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, peer)) = accepted else { continue };
                // Small answers must not wait for the peer's delayed acknowledgement.
                drop(socket.set_nodelay(true));
                let (tls, faults, answers) = (tls.clone(), faults.clone(), answers.clone());
                connections.spawn(async move {
                    match tls {
                        None => connection(socket, peer, faults, answers).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(socket).await {
                                connection(stream, peer, faults, answers).await;
                            }
                        }
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    faults: Faults,
    answers: Arc<impl Answers>,
) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (faults, answers) = (faults.clone(), answers.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = Limited::new(body, 64 << 20).collect().await.map_err(io::Error::other)?;
            let mut request = Request::from_parts(parts, body.to_bytes());
            request.extensions_mut().insert(Peer(peer));
            answer(request, &faults, &*answers).await
        }
    });
    // A connection that was cut is the client's to notice.
    drop(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

async fn answer(
    request: Asked,
    faults: &Faults,
    answers: &impl Answers,
) -> io::Result<Response<Body>> {
    let (endpoint, subject) = answers.name(&request);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let user_agent = request.headers().get(http::header::USER_AGENT);
    let user_agent = user_agent.and_then(|name| name.to_str().ok());
    let seen = Seen {
        method: request.method().clone(),
        path,
        endpoint,
        subject,
        user_agent: user_agent.unwrap_or_default().to_owned(),
        status: None,
        at: now(),
        fault: None,
    };
    let (index, what) = faults.take(seen);
    let cut = || Err(io::Error::other("closed by the fault script"));
    match &what {
        Some(What::Answer(prepared)) => {
            faults.answered(index, prepared.status().as_u16());
            return Ok(prepared.clone().map(whole));
        }
        Some(What::Later { status, after, form }) => {
            faults.answered(index, *status);
            let later = Response::builder()
                .status(*status)
                .header(http::header::RETRY_AFTER, form.value(now(), *after))
                .body(whole(Bytes::new()));
            return later.map_err(io::Error::other);
        }
        Some(What::Close) => return cut(),
        Some(What::Stall) => std::future::pending().await,
        Some(What::Delay(time)) => tokio::time::sleep(*time).await,
        Some(What::Hold(gate)) => gate.pass().await,
        Some(What::Endless(block)) => {
            faults.answered(index, 200);
            return Ok(Response::new(endless(block.clone())));
        }
        Some(
            What::DoThenClose
            | What::DoThenStall
            | What::DoThenHold(_)
            | What::Truncate
            | What::Shorten
            | What::Mangle(_),
        )
        | None => {}
    }
    let response = answers.answer(request).await;
    if response.extensions().get::<Cut>().is_some() {
        return cut();
    }
    match &what {
        Some(What::DoThenClose) => return cut(),
        Some(What::DoThenStall) => std::future::pending().await,
        Some(What::DoThenHold(gate)) => gate.pass().await,
        Some(What::Truncate) => return Ok(response.map(half)),
        Some(What::Mangle(seed)) => {
            faults.answered(index, response.status().as_u16());
            return Ok(response.map(|body| whole(mangled(&body, *seed))));
        }
        Some(What::Shorten) => {
            faults.answered(index, response.status().as_u16());
            return Ok(response.map(|body| whole(body.slice(..body.len() / 2))));
        }
        Some(
            What::Answer(_)
            | What::Later { .. }
            | What::Close
            | What::Stall
            | What::Delay(_)
            | What::Hold(_)
            | What::Endless(_),
        )
        | None => {}
    }
    faults.answered(index, response.status().as_u16());
    Ok(response.map(whole))
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Half of the body, then an error, which closes the connection in the middle of the answer.
fn half(body: Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    let frames = vec![Ok(http_body::Frame::data(half)), Err(io::Error::other("cut"))];
    http_body_util::StreamBody::new(Frames(frames.into_iter())).boxed_unsync()
}

/// The same block again and again, for as long as the client reads.
fn endless(block: Bytes) -> Body {
    let frames = std::iter::repeat_with(move || Ok(http_body::Frame::data(block.clone())));
    http_body_util::StreamBody::new(Frames(frames)).boxed_unsync()
}

struct Frames<T>(T);

impl<T: Iterator<Item = io::Result<http_body::Frame<Bytes>>> + Unpin> futures_core::Stream
    for Frames<T>
{
    type Item = io::Result<http_body::Frame<Bytes>>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

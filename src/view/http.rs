//! What those who look from outside see. Read-only: GET alone, no cookies, no secrets.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRef;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::middleware;
use axum::middleware::Next;
use axum::response::Html;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::ports::counted::Counts;
use crate::view::http::limits::Limited;
use crate::view::metrics;
use crate::view::page;
use crate::view::status::Status;
use crate::work::daemon::Snapshot;
use crate::work::daemon::Stuck;

mod hosts;
pub mod limits;

pub use limits::Limits;

/// What is shown.
#[derive(Clone)]
pub struct Seen {
    /// How everything stands.
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
    /// What the loop does.
    pub snapshot: watch::Receiver<Snapshot>,
    /// How the destination, its metadata and the authorities answer.
    pub counts: Arc<Counts>,
    /// The time.
    pub now: fn() -> OffsetDateTime,
    /// Names of this host, as `STATUS_HOSTS` has them; none takes every name.
    pub hosts: Arc<[String]>,
}

/// Answers until `shutdown` resolves.
pub async fn serve(
    listener: TcpListener,
    seen: Seen,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_within(listener, seen, Limits::default(), shutdown).await
}

/// Answers within limits until `shutdown` resolves.
pub async fn serve_within(
    listener: TcpListener,
    seen: Seen,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let mut listener = Limited::new(listener, limits);
    let service = TowerToHyperService::new(router(seen));
    // HTTP/1.1 by itself: one that takes either version takes HTTP/2 as soon as any crate switches it on in hyper, and
    // lets each connection have hundreds of answers at once.
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head)
        .keep_alive(false);
    let (stops, stopped) = watch::channel(());
    tokio::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            (stream, _) = listener.accept() => stream,
        };
        let connection = protocol.serve_connection(TokioIo::new(stream), service.clone());
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            tokio::pin!(connection);
            // What goes wrong on a connection is known to whoever is at its other end.
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            drop(ended);
        });
    }
    drop((listener, stopped));
    stops.send_replace(());
    // Until every connection has ended.
    stops.closed().await;
    Ok(())
}

/// How many answers are made at once: with thousands of certificates one takes a moment.
const AT_ONCE: usize = 2;

/// What handlers share.
#[derive(Clone)]
struct Shared {
    seen: Seen,
    turns: Arc<Semaphore>,
}

impl FromRef<Shared> for Seen {
    fn from_ref(shared: &Shared) -> Self {
        shared.seen.clone()
    }
}

impl Shared {
    /// Makes an answer off the threads that serve everything else.
    async fn answer(self, make: impl FnOnce(&Seen) -> Response + Send + 'static) -> Response {
        let Self { seen, turns } = self;
        let turn = turns.acquire_owned().await;
        let made = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            make(&seen)
        });
        made.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

fn router(seen: Seen) -> Router {
    let guarded = middleware::from_fn_with_state(seen.clone(), guard);
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status.json", get(status_json))
        .merge(pages())
        .route("/metrics", get(prometheus))
        .fallback(nothing_here)
        .layer(guarded)
        .with_state(Shared { seen, turns: Arc::new(Semaphore::new(AT_ONCE)) })
}

/// The status page and what belongs to it.
fn pages() -> Router<Shared> {
    let fixed = |kind, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route("/", get(status_page))
        .route("/style.css", fixed("text/css; charset=utf-8", page::STYLE))
        .route("/refresh.js", fixed("text/javascript; charset=utf-8", page::SCRIPT))
        .route("/favicon.ico", fixed("image/svg+xml", page::ICON))
}

/// Headers of every answer: nothing from elsewhere is loaded, nothing is kept, nobody frames it.
const HEADERS: [(HeaderName, &str); 7] = [
    // Connections have an end of their own, which is not to come amid the next answer.
    (header::CONNECTION, "close"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

async fn guard(State(seen): State<Seen>, request: Request<Body>, next: Next) -> Response {
    let mut response = if hosts::is_meant(&request, &seen.hosts) {
        next.run(request).await
    } else {
        let text = "this is no name of the status page: STATUS_HOSTS has those that are\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Well while the loop turns and passes end within their time, and while another instance is stood by for: false only
/// when a restart would help.
async fn healthz(State(seen): State<Seen>) -> (StatusCode, &'static str) {
    let stuck = seen.snapshot.borrow().stuck((seen.now)());
    match stuck {
        Some(Stuck::Loop(_)) => (StatusCode::SERVICE_UNAVAILABLE, "the loop does not turn\n"),
        Some(Stuck::Pass(_)) => (StatusCode::SERVICE_UNAVAILABLE, "a pass is overdue\n"),
        None => (StatusCode::OK, "ok\n"),
    }
}

/// Ready once the first pass has ended.
async fn readyz(State(seen): State<Seen>) -> (StatusCode, &'static str) {
    if seen.snapshot.borrow().passes > 0 {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first pass has not ended yet\n")
    }
}

async fn status_json(State(shared): State<Shared>) -> Response {
    shared.answer(|seen| axum::Json((seen.status)()).into_response()).await
}

async fn status_page(State(shared): State<Shared>) -> Response {
    let make = |seen: &Seen| match page::render(&(seen.status)()) {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            let text = format!("the page cannot be shown: {error}; see /status.json\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    };
    shared.answer(make).await
}

async fn nothing_here() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "nothing here; the status page is at /\n")
}

async fn prometheus(State(shared): State<Shared>) -> Response {
    let make = |seen: &Seen| {
        let status = (seen.status)();
        // Copied, so that the loop never waits for whoever looks.
        let snapshot = seen.snapshot.borrow().clone();
        let text = metrics::render(&status, &snapshot, &seen.counts);
        ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
    };
    shared.answer(make).await
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;

    use futures_util::FutureExt;
    use time::macros::datetime;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;
    use crate::ports::counted::Directories;
    use crate::view::status::Phase;
    use crate::view::status::Program;

    const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

    /// Resolves with all that comes back from a server, asked by this text.
    async fn ask(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn whoever_holds_connections_keeps_nobody_else_out_and_has_to_leave() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { connections: 4, ..Limits::default() };
        let (stops, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = tokio::spawn(serve_within(
            listener,
            seen(Snapshot::default()),
            limits,
            stopped.map(drop),
        ));
        let mut idle = Vec::new();
        for text in ["", "GET /healthz HT", "", ""].iter().cycle().take(20) {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            idle.push(stream);
        }
        let answer = ask(address, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        // The first ones had to go, one by one.
        for mut stream in idle.drain(..16) {
            let read = stream.read(&mut [0; 512]).await;
            assert!(!matches!(read, Ok(1..)) || read.is_err(), "{read:?}");
        }
        drop(idle);
        stops.send(()).unwrap();
        served.await.unwrap().unwrap();
    }

    fn seen(snapshot: Snapshot) -> Seen {
        Seen {
            status: Arc::new(|| Status::before(&Program::default(), Phase::Starting, NOW)),
            snapshot: watch::Sender::new(snapshot).subscribe(),
            counts: Arc::new(Counts::new(Directories::default(), || NOW)),
            now: || NOW,
            hosts: Arc::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { lifetime: std::time::Duration::from_secs(3600), ..Limits::default() };
        let begun = tokio::time::Instant::now();
        tokio::spawn(serve_within(
            listener,
            seen(Snapshot::default()),
            limits,
            std::future::pending(),
        ));
        let answer = ask(address, "GET /healthz HTTP/1.1\r\nHost: a\r\nx: ").await;
        assert_eq!(answer, "");
        assert!(begun.elapsed() < 2 * limits.head_time);
    }

    #[track_caller]
    fn check(turned_at: Option<OffsetDateTime>, status: StatusCode) {
        let seen = seen(Snapshot { turned_at, ..Snapshot::default() });
        let answer = healthz(State(seen)).now_or_never().unwrap();
        assert_eq!(answer.0, status, "{turned_at:?}");
    }

    #[test]
    fn a_loop_that_stands_is_not_well() {
        check(None, StatusCode::OK);
        check(Some(datetime!(2026-01-01 11:59 UTC)), StatusCode::OK);
        check(Some(datetime!(2026-01-01 11:45 UTC)), StatusCode::OK);
        let stands = StatusCode::SERVICE_UNAVAILABLE;
        check(Some(datetime!(2026-01-01 11:44:59 UTC)), stands);
        // A clock that was set back says nothing.
        check(Some(datetime!(2026-01-01 13:00 UTC)), StatusCode::OK);
    }

    #[test]
    fn passes_that_do_not_end_in_their_time_are_not_well() {
        let check = |next, status| {
            let seen =
                seen(Snapshot { turned_at: Some(NOW), next: Some(next), ..Snapshot::default() });
            let answer = healthz(State(seen)).now_or_never().unwrap();
            assert_eq!(answer.0, status, "{next}");
        };
        check(datetime!(2026-01-02 12:00 UTC), StatusCode::OK);
        check(datetime!(2026-01-01 11:45 UTC), StatusCode::OK);
        let overdue = StatusCode::SERVICE_UNAVAILABLE;
        check(datetime!(2026-01-01 11:44:59 UTC), overdue);
    }

    #[test]
    fn the_first_pass_makes_ready() {
        for (passes, status) in [(0, StatusCode::SERVICE_UNAVAILABLE), (1, StatusCode::OK)] {
            let seen = seen(Snapshot { passes, ..Snapshot::default() });
            let answer = readyz(State(seen)).now_or_never().unwrap();
            assert_eq!(answer.0, status, "{passes}");
        }
    }
}

//! What those who look from outside see: `/healthz`. Read-only, no secrets.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use time::Duration;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::daemon::Snapshot;

/// The loop turns every few seconds; far beyond the time limits of everything it may wait for, only a restart helps.
const STUCK_AFTER: Duration = Duration::minutes(15);

#[derive(Clone)]
struct Seen {
    snapshot: watch::Receiver<Snapshot>,
    now: Arc<dyn Fn() -> OffsetDateTime + Send + Sync>,
}

/// Answers until `shutdown` resolves.
pub async fn serve(
    listener: TcpListener,
    snapshot: watch::Receiver<Snapshot>,
    now: impl Fn() -> OffsetDateTime + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .with_state(Seen {
            snapshot,
            now: Arc::new(now),
        });
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
}

/// Well while the loop turns, and while it stands by for another instance.
async fn healthz(State(seen): State<Seen>) -> (StatusCode, &'static str) {
    let turned_at = seen.snapshot.borrow().turned_at;
    match turned_at {
        Some(turned_at) if turned_at + STUCK_AFTER < (seen.now)() => {
            (StatusCode::SERVICE_UNAVAILABLE, "the loop does not turn\n")
        }
        Some(_) | None => (StatusCode::OK, "ok\n"),
    }
}

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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use time::macros::datetime;

    use super::*;

    #[track_caller]
    fn check(turned_at: Option<OffsetDateTime>, status: StatusCode) {
        let snapshot = Snapshot {
            turned_at,
            ..Snapshot::default()
        };
        let seen = Seen {
            snapshot: watch::Sender::new(snapshot).subscribe(),
            now: Arc::new(|| datetime!(2026-01-01 12:00 UTC)),
        };
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
}

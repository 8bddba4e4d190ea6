//! The built daemon over real sockets, against the sandbox and against real parts.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should say where"
)]

mod compose;
mod first_issue;
mod store_certbot;
mod store_lock;
mod store_quiet;
mod store_room;
mod store_takeover;
mod store_torn;
mod store_unreadable;
mod support;

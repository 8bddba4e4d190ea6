//! The built daemon over real sockets, against the sandbox and against real parts.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should say where"
)]

mod compose;
mod docker;
mod first_issue;
mod real;
mod support;

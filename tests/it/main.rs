//! The built daemon over real sockets, against the sandbox and against real parts.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should say where"
)]

mod compose;
mod decision;
mod first_issue;
mod labels;
mod metadata;
mod rancher_api;
mod rancher_push;
mod settings;
mod support;
mod tidy;
mod wake;

//! The built daemon over real sockets, against the sandbox and against real parts.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should say where"
)]

mod bad_certificates;
mod broken_names;
mod compose;
mod crash;
mod economy;
mod first_issue;
mod orders;
mod refusals;
mod self_check;
mod support;
mod tokens;

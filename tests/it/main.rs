//! The built daemon over real sockets, against the sandbox and against real parts.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should say where"
)]

mod account_refused;
mod acme;
mod bad_certificates;
mod broken_names;
mod budgets;
mod check;
mod cli;
mod compose;
mod crash;
mod decision;
mod docker;
mod economy;
mod fairness;
mod first_issue;
mod labels;
mod machine;
mod mangled;
mod metadata;
mod notify;
mod orders;
mod passes;
mod rancher_api;
mod rancher_push;
mod reactions;
mod real;
mod refusals;
mod self_check;
mod sets;
mod settings;
mod status_json;
mod store_certbot;
mod store_lock;
mod store_quiet;
mod store_room;
mod store_takeover;
mod store_torn;
mod store_unreadable;
mod support;
mod tidy;
mod tokens;
mod wake;

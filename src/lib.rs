//! Certificate daemon for Rancher 1.x: from a label to a certificate that balancers serve.
//!
//! # The way of one name
//!
//! 1. [`daemon`] begins a pass: at start, after `LOOP_TIME`, when a wait ends, when wanted names change.
//! 2. [`reconcile`] gathers: what is wanted ([`wanted`]), what the [`store`] has, what Rancher holds.
//! 3. [`decide`] turns both copies into one word each and looks the pair up in the table.
//! 4. [`issue`] obtains: order, challenge, finalize, keep, verify, store. [`push`] writes to Rancher, or takes back, and
//!    wakes the balancers.
//! 5. [`engine`] remembers failures in the ledger, so that no restart forgets a wait.
//! 6. Whoever looks reads one document, [`status`]: the [`page`], the [`metrics`], who is told ([`notify`]), the
//!    commands ([`cli`]).
//!
//! Everything outside is behind the [`ports`], whose methods are single effects; `main` alone names the adapters
//! ([`rancher`], [`acme`], [`webroot`], [`disk`]) and reads clock and environment.
//!
//! # What always holds
//!
//! - Modules are listed below in the order of their dependencies: each uses only those above it (a test keeps it so).
//! - Deciding is pure: no clock, no input, no output; `now` is an argument.
//! - "I could not tell" is never "it is not there": `Unknown` on either side waits.
//! - What costs something at the authority is on the disk before it is asked; what the authority has issued is on the
//!   disk before it is judged.
//! - A certificate's failure is data in a report; only bad settings or an address that cannot be listened on end the
//!   process.
//! - Private keys are [`bundle::Secret`]s: they have no way into a log line, an error or a URL.

pub mod text;
pub mod names;
pub mod fingerprint;
pub mod certificate;
pub mod bundle;
pub mod mark;
pub mod schedule;
pub mod budget;
pub mod config;
pub mod ports;
pub mod counted;
pub mod reaction;
pub mod setback;
pub mod wanted;
pub mod order;
pub mod decide;
pub mod client;
pub mod store;
pub mod disk;
pub mod acme;
pub mod probe;
pub mod webroot;
pub mod rancher;
pub mod engine;
pub mod issue;
pub mod push;
pub mod reconcile;
pub mod daemon;
pub mod status;
pub mod page;
pub mod notify;
pub mod metrics;
pub mod dry;
pub mod http;
pub mod cli;
pub mod start;

//! Certificate daemon for Rancher 1.x: from a label to a certificate that balancers serve.
//!
//! # The way of one name
//!
//! 1. [`work::daemon`] begins a pass: at start, after `LOOP_TIME`, when a wait ends, when wanted names change.
//! 2. [`work::reconcile`] gathers: what is wanted ([`core::wanted`]), what the [`store`] has, what the destination holds.
//! 3. [`decide`] turns both copies into one word each, looks the pair up in the table, and asks the filter.
//! 4. [`work::issue`] obtains, by the machine of [`decide::order`]: order, challenge, finalize, keep, verify, store.
//!    [`work::deliver`] writes to the destination, or takes back, and wakes the balancers.
//! 5. [`work::context`] remembers failures in the ledger, so that no restart forgets a wait.
//! 6. Whoever looks reads one document, [`view::status`]: the [`view::page`], the [`view::metrics`], who is told
//!    ([`view::notify`]), the commands ([`view::cli`]).
//!
//! Everything outside is behind the [`ports`], whose methods are single effects; `main` alone names the adapters
//! ([`backends`], [`acme`], [`solvers`], [`disk`]) and reads clock and environment.
//!
//! # What always holds
//!
//! - Rooms are listed below; what each may use stands in ARCHITECTURE.md (a test keeps it so).
//! - Deciding is pure: no clock, no input, no output; `now` is an argument. A rule about what is done is in one of three
//!   places: the machine ([`decide::order`]), the table ([`decide::table`]), the filter ([`decide::filter`]).
//! - "I could not tell" is never "it is not there": `Unknown` on either side waits.
//! - What costs something at the authority is on the disk before it is asked; what the authority has issued is on the
//!   disk before it is judged.
//! - A certificate's failure is data in a report; only bad settings or an address that cannot be listened on end the
//!   process.
//! - Private keys are [`core::bundle::Secret`]s: they have no way into a log line, an error or a URL.

pub mod core;
pub mod decide;
pub mod ports;
pub mod config;
pub mod store;
pub mod work;
pub mod client;
pub mod acme;
pub mod disk;
pub mod dry;
pub mod probe;
pub mod solvers;
pub mod backends;
pub mod view;

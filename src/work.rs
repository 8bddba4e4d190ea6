//! The procedures: they gather through the ports, ask [`decide`](crate::decide), act, and write down. No adapter is known here.

pub mod context;
pub mod issue;
pub mod deliver;
pub mod reconcile;
pub mod daemon;
pub mod check_token;
pub mod start;
pub mod watch;

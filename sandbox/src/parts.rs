//! Programs of Debian's packages and of PyPI's as child processes on ports of their own, which die with their owner.
//!
//! Whatever goes wrong with them is the end of a test or a benchmark, which then says where.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its parts should say where it stopped"
)]

pub mod acme2certifier;
pub mod caddy;
pub mod dns;
pub mod foreign;
pub mod openbao;
pub mod part;
pub mod pebble;
pub mod port;
pub mod web;

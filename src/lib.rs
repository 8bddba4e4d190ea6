//! rancher-lets-encrypt.

pub mod bundle;
pub mod certificate;
pub mod config;
pub mod decide;
pub mod fingerprint;
pub mod names;
pub mod ports;
pub mod schedule;

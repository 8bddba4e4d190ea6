//! rancher-lets-encrypt.

pub mod acme;
pub mod bundle;
pub mod certificate;
pub mod classify;
pub mod client;
pub mod config;
pub mod decide;
pub mod disk;
pub mod fingerprint;
pub mod mark;
pub mod names;
pub mod ports;
pub mod rancher;
pub mod schedule;
pub mod store;
pub mod wanted;
pub mod webroot;

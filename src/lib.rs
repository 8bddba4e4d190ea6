//! rancher-lets-encrypt.

pub mod acme;
pub mod bundle;
pub mod certificate;
pub mod classify;
pub mod client;
pub mod config;
pub mod daemon;
pub mod decide;
pub mod disk;
pub mod engine;
pub mod fingerprint;
pub mod http;
pub mod issue;
pub mod mark;
pub mod names;
pub mod ports;
pub mod push;
pub mod rancher;
pub mod reconcile;
pub mod schedule;
pub mod start;
pub mod store;
pub mod wanted;
pub mod webroot;

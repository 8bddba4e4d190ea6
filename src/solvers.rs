//! Adapters that answer the challenges of an authority.

pub mod webroot;

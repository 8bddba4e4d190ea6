//! Adapters to where names come from and where certificates go: a folder for each. Its own words stand there alone.

pub mod rancher;
pub mod host;

//! Everything for those who look or are told: one document, and what is made of it.

pub mod status;
pub mod page;
pub mod notify;
pub mod metrics;
pub mod http;
pub mod check;
pub mod cli;

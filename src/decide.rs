//! The decision in one place: facts and one `now` in, a verdict out. No port, no lock, no clock.
//!
//! [`classify`] turns facts into a row and a column, [`table`] looks the pair up.

pub mod classify;
pub mod table;

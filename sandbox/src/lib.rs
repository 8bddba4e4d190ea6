//! Stand-ins for tests and the demo: real sockets, real cryptography, state in memory. Never part of the image.
//!
//! - [`serve`]: HTTP servers over plain sockets or TLS on free loopback ports, gone when dropped
//! - [`faults`]: what a server does wrong, on which request, how often

pub mod faults;
pub mod serve;

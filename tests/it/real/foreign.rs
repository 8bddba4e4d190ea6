//! The daemon against authorities that are neither Let's Encrypt's nor Pebble nor ours: Caddy's, OpenBao's and
//! acme2certifier's servers.
//!
//! What each of them does otherwise is told in its module of `sandbox::parts`. All of them fetch HTTP-01 from port 80, so
//! each test has a network of its own.

mod acme2certifier;
mod caddy;
mod kills;
mod nonces;
mod openbao;
mod site;
mod torn;

//! Stand-ins for tests and the demo: real sockets, real cryptography, state in memory. Never part of the image.
//!
//! - [`authority`]: an ACME authority that validates, signs and refuses as Let's Encrypt does
//! - [`certs`]: authorities, leaves, self-signed certificates, TLS for servers
//! - [`rancher`]: Rancher's API and metadata, over one model
//! - [`balancer`]: a TLS server that serves what Rancher holds, once it is woken
//! - [`bare`]: the least that gets certificates, for comparison
//! - [`receiver`]: a webhook that keeps what it is told
//! - [`webserver`]: files of the webroot, as nginx serves them
//! - [`parts`]: programs of Debian's packages, Pebble among them
//! - [`town`]: all of them together, and the settings of a daemon that lives there
//! - [`serve`]: HTTP servers over plain sockets or TLS on free loopback ports, gone when dropped
//! - [`proxy`]: what stands between the daemon and a server, and what goes wrong there
//! - [`faults`]: what a server does wrong, on which request, how often

pub mod authority;
pub mod balancer;
pub mod bare;
pub mod certs;
pub mod faults;
pub mod parts;
pub mod proxy;
pub mod rancher;
pub mod receiver;
pub mod serve;
pub mod town;
pub mod webserver;

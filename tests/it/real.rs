//! The daemon against real parts: Pebble, stock nginx, HAProxy, certbot, from Debian's packages; and authorities that
//! are not Let's Encrypt's, from PyPI.
//!
//! The tests start them on ports of their own and end them, by their own ids. Rancher is the sandbox's.

pub(crate) mod certbot;
pub(crate) mod haproxy;
pub(crate) mod nginx;
pub(crate) mod scene;

mod certbot_trees;
mod check;
mod failures;
mod faults;
mod filesystems;
mod first_issue;
mod foreign;
mod home_made;
mod page;
mod metrics;
mod renewal;
mod serving;
mod soak;

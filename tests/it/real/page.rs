//! The status page as a browser shows it: Debian's Chromium, which runs its scripts and keeps its security policy.
//!
//! What the daemon shows of itself is shown by the built daemon in a world of the sandbox. What takes years to come
//! about, or two thousand certificates, is made (`made`) and served by the daemon's own `http::serve`.

mod browser;
mod daemon;
mod layout;
mod made;
mod picture;
mod served;

//! Years of the daemon in a second: its own code over parts in memory and a clock that stands still while there is
//! something to do, with faults, crashes and a changing world drawn by a seed. Never part of the image.
//!
//! - [`outside`]: what a crash does not touch: [`files`], [`authority`], [`rancher`], the [`domains`] of names, [`trouble`]
//! - [`life`]: one life of the process and its doors to the outside; [`process`] starts it again and again
//! - [`observer`]: what people hear of it
//! - [`promises`]: the promises of the daemon as invariants
//! - [`events`]: what people, machines and servers do; [`plan`] and [`run`]: one seed
//! - [`crash`]: a crash at every point of one certificate's life
//! - [`defects`]: what is wrong on purpose, and the promise that catches it
//! - [`costs`]: what a name costs at the authority in a year
//! - [`passes`]: how often everything is looked through while names are broken
//!
//! The process is the real [`Daemon`](rancher_lets_encrypt::work::daemon::Daemon) with everything below it; only its
//! longest rest is a day instead of ten seconds. The disk port is the daemon's own
//! [`sequence`](rancher_lets_encrypt::disk::sequence) over files in memory. Nothing depends on the machine: keys and
//! certificates follow from the seed (Ed25519), maps are sorted, selects are biased.

pub mod dice;
pub mod history;
pub mod issuer;
pub mod files;
pub mod trouble;
pub mod domains;
pub mod authority;
pub mod rancher;
pub mod promises;
pub mod outside;
pub mod life;
pub mod observer;
pub mod drive;
pub mod challenge;
pub mod process;
pub mod crash;
pub mod plan;
pub mod events;
pub mod run;
pub mod costs;
pub mod passes;
pub mod defects;

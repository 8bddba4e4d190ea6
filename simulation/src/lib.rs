//! Years of the daemon in a second: its own code over parts in memory and a clock that stands still while there is
//! something to do, with faults, crashes and a changing world drawn by a seed.

pub mod dice;
pub mod history;
pub mod issuer;
pub mod files;
pub mod trouble;
pub mod town;
pub mod authority;
pub mod rancher;
pub mod promises;
pub mod outside;
pub mod life;
pub mod drive;
pub mod challenge;
pub mod process;
pub mod crash;
pub mod plan;
pub mod weather;
pub mod run;
pub mod costs;
pub mod defects;

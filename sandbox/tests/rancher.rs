//! The model of Rancher against what a real Rancher answered, and against what it is known to do.
//!
//! `desk` and `recordings` are what the tests need; all others are tests, by subject.

#[path = "rancher/api_access.rs"]
mod api_access;
#[path = "rancher/api_replay.rs"]
mod api_replay;
#[path = "rancher/api_sequences.rs"]
mod api_sequences;
#[path = "rancher/balancers.rs"]
mod balancers;
#[path = "rancher/desk.rs"]
mod desk;
#[path = "rancher/metadata_ages.rs"]
mod metadata_ages;
#[path = "rancher/metadata_replay.rs"]
mod metadata_replay;
#[path = "rancher/metadata_sequences.rs"]
mod metadata_sequences;
#[path = "rancher/recordings.rs"]
mod recordings;
#[path = "rancher/webserver.rs"]
mod webserver;

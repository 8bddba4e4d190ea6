//! What a test may set: how the model answers where real servers differ, or where timing decides.

use std::time::Duration;

use crate::rancher::age::Age;

/// How the model behaves. Changed at any time by [`crate::rancher::Rancher::settings`].
#[derive(Debug, Clone)]
pub struct RancherSettings {
    /// Off, as on a fresh server: a request with a wrong key, or none, acts as the administrator.
    pub access_control: bool,
    /// Whether `X-Enforce-Authentication` makes the server refuse a wrong key all the same.
    pub enforces_authentication: bool,
    /// How long a resource stays in a state such as `activating`.
    pub activation: Activation,
    /// What a PUT gets that comes while the certificate is `activating`.
    pub conflict: Conflict,
    /// Whether the answer to `?action=update` on a certificate carries the private key.
    pub reveals_key: bool,
    /// The largest page of a list; also the size without `limit`, if it is below 100.
    pub max_page: usize,
    /// The database below, which decides whether names differ by case.
    pub database: Database,
    /// What metadata takes the asking container for.
    pub caller: Caller,
    /// Which rancher-metadata answers, with the rows of which Cattle.
    pub age: Age,
}

impl Default for RancherSettings {
    /// As Rancher 1.6.30 behaves once access control is on.
    fn default() -> Self {
        Self {
            access_control: true,
            enforces_authentication: true,
            activation: Activation::Reads(0),
            conflict: Conflict::Sometimes,
            reveals_key: true,
            max_page: 3000,
            database: Database::H2,
            caller: Caller::Own,
            age: Age::NEWEST,
        }
    }
}

/// When a process that was started (creation, update, removal) has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// After this many reads have seen it in between; with 0, the next read sees the end.
    Reads(u32),
    /// After this time.
    After(Duration),
    /// Not before the setting is changed.
    Held,
}

/// What a PUT gets while the certificate is `activating`; a real server does either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// 409.
    Always,
    /// 409 for the first of each three, 200 for the others.
    Sometimes,
    /// 200.
    Never,
}

/// The database below Cattle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// Names that differ by case are different.
    H2,
    /// Names that differ by case are the same, in the check for unique names and in `?name=`.
    MySql,
}

/// Whom metadata sees asking; in Rancher the source address decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The first container of the daemon's own sidekick.
    Own,
    /// The first container of this service.
    Service(String),
    /// An address it does not know, as with host networking.
    Unknown,
}

/// What an API key may do; Rancher decides it by the role label of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The label `environment`: the daemon's.
    Environment,
    /// The label `agent` or none: no certificates.
    AgentOnly,
    /// The label `environmentAdmin`, in system stacks and balancers: reads private keys.
    EnvironmentAdmin,
    /// An environment API key made by a user.
    ProjectKey,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Environment, Self::AgentOnly, Self::EnvironmentAdmin, Self::ProjectKey];
}

/// How the metadata service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It answers.
    Up,
    /// Its port is closed.
    Refused,
    /// It has started but has no data: 404 for everything but `/`.
    NoData,
    /// It answers 200 with JSON that is cut in half.
    Garbage,
    /// It answers, and its lists are `null`.
    NullLists,
    /// It takes requests and never answers.
    Stalls,
    /// It takes requests and closes the connection.
    Closes,
}

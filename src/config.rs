//! Settings: the environment as text, typed once; every fault of every variable at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use thiserror::Error;

use crate::config::typing::Typing;
use crate::core::budget;
use crate::core::budget::Limits;
use crate::core::bundle::KeyType;
use crate::core::bundle::Secret;
use crate::core::names::BadName;
use crate::core::names::Names;
use crate::decide::classify::ReplaceForeign;

mod table;
mod typing;
mod words;

pub use table::ANCESTORS;
pub use table::Kind;
pub use table::SETTINGS;
pub use table::Setting;
pub use table::render;

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DESTINATION`.
    pub delivery: Delivery,
    /// `CATTLE_URL`; what is Rancher's stands for nothing where certificates go elsewhere.
    pub rancher_url: Url,
    /// `CATTLE_ACCESS_KEY`, or `CATTLE_ENVIRONMENT_ACCESS_KEY`.
    pub rancher_access_key: Secret,
    /// `CATTLE_SECRET_KEY`, or `CATTLE_ENVIRONMENT_SECRET_KEY`.
    pub rancher_secret_key: Secret,
    /// PEM roots from `RANCHER_CA_FILE`, or from where Rancher puts its own.
    pub rancher_ca: Option<Vec<u8>>,
    /// `RANCHER_PROXY`; it may hold a password.
    pub rancher_proxy: Option<Secret>,
    /// `RANCHER_METADATA_URL`.
    pub metadata_url: Url,
    /// `DOMAINS`, the good ones.
    pub domains: Vec<Names>,
    /// `DOMAINS`, the refused ones.
    pub bad_domains: Vec<BadName>,
    /// `DYNAMIC_CONFIG`; only Rancher has labels.
    pub reads_labels: bool,
    /// `STAGING`.
    pub is_staging: bool,
    /// `CERTBOT_EMAIL` or `EMAIL`.
    pub email: Option<String>,
    /// `KEY_TYPE`.
    pub key_type: KeyType,
    /// `RENEW_BEFORE_DAYS`.
    pub renew_before: Option<time::Duration>,
    /// `LOOP_TIME`.
    pub loop_time: Duration,
    /// `CERTBOT_WEBROOT`.
    pub webroot: PathBuf,
    /// `LETSENCRYPT_ROOTDIR`.
    pub store: PathBuf,
    /// `ACME_DIRECTORY`.
    pub production_directory: Url,
    /// `ACME_STAGING_DIRECTORY`.
    pub staging_directory: Url,
    /// PEM roots from `ACME_CA_FILE`.
    pub acme_ca: Option<Vec<u8>>,
    /// `CA_LIMITS`.
    pub ca_limits: CaLimits,
    /// `SELF_CHECK`.
    pub self_check: SelfCheck,
    /// `HOST_CHECK_PORT`.
    pub self_check_port: u16,
    /// `SELF_CHECK_ADDRESS`.
    pub self_check_address: Option<String>,
    /// `CONNECT_TIMEOUT`.
    pub connect_timeout: Duration,
    /// `REPLACE_FOREIGN`.
    pub replace_foreign: ReplaceForeign,
    /// `CONCURRENCY`.
    pub concurrency: usize,
    /// `LISTEN`.
    pub listen: Option<SocketAddr>,
    /// `STATUS_HOSTS`; none stands for any.
    pub status_hosts: Vec<String>,
    /// `NOTIFY_URL`; it may hold a token.
    pub notify_url: Option<Secret>,
    /// `NOTIFY_FORMAT`.
    pub notify_format: NotifyFormat,
    /// PEM roots from `NOTIFY_CA_FILE`.
    pub notify_ca: Option<Vec<u8>>,
    /// `HEARTBEAT_URL`; it may hold a token.
    pub heartbeat_url: Option<Secret>,
    /// `LOG` or `RUST_LOG`.
    pub log: String,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// Accepted variables without effect, each with a sentence that says what happens instead.
    pub notes: Vec<String>,
    in_force: Vec<(&'static str, String)>,
}

impl Config {
    /// Every variable with the value that is in force, for people: secrets are only said to be set. In the order of
    /// [`SETTINGS`]; of two that mean the same only the first.
    pub fn in_force(&self) -> Vec<(&'static str, String)> {
        self.in_force.clone()
    }

    /// The directory URL that `STAGING` asks for.
    pub fn wanted_directory(&self) -> &Url {
        if self.is_staging { &self.staging_directory } else { &self.production_directory }
    }

    /// By which name CAA records call the wanted authority, if that is known without asking it.
    pub fn caa_identity(&self) -> Option<&'static str> {
        match self.wanted_directory().as_str() {
            table::LETS_ENCRYPT | table::LETS_ENCRYPT_STAGING => Some("letsencrypt.org"),
            _ => None,
        }
    }
}

/// Where certificates go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// To Rancher.
    Rancher,
    /// To the folder of `CERTIFICATES_DIR`.
    Host(PathBuf),
}

/// What `DESTINATION` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Rancher,
    Host,
}

/// Whose limits of use are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaLimits {
    /// Let's Encrypt's for its own directories, none elsewhere.
    Auto,
    /// Let's Encrypt's everywhere.
    LetsEncrypt,
    /// None.
    None,
}

impl CaLimits {
    /// The limits that are kept at a directory.
    pub fn of(self, directory: &str) -> Option<&'static Limits> {
        let own = match directory {
            table::LETS_ENCRYPT => Some(&budget::LETS_ENCRYPT),
            table::LETS_ENCRYPT_STAGING => Some(&budget::LETS_ENCRYPT_STAGING),
            _ => None,
        };
        match self {
            Self::Auto => own,
            Self::LetsEncrypt => own.or(Some(&budget::LETS_ENCRYPT)),
            Self::None => None,
        }
    }
}

/// What a failed fetch of our own token means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfCheck {
    /// The CA is not asked.
    Require,
    /// A warning; the CA is asked.
    Warn,
    /// Nothing is fetched.
    Off,
}

/// How notices are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyFormat {
    /// An object with a field `text`, which Slack and Mattermost show.
    Json,
    /// Plain text, for ntfy.
    Text,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors, an object a line.
    Json,
}

/// One wrong variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// Its value, unless it is missing or secret.
    pub value: Option<String>,
    /// What is accepted, and what to do.
    pub accepted: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}=`{}`: {}", self.name, value.escape_debug(), self.accepted),
            None => write!(f, "{}: {}", self.name, self.accepted),
        }
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} setting(s) cannot be used:", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Reads a file that a setting names.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

impl Config {
    /// Types the variables; an empty one counts as unset, as Rancher makes unset ones empty.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        read: ReadFile<'_>,
    ) -> Result<Self, Faults> {
        let (vars, unreadable) = texts(vars);
        let notes = table::notes(&vars);
        // Of a name in capital and in small letters the last one counts: the capital one.
        let vars = envy::from_iter(vars.into_iter().rev()).map_err(|error| {
            let accepted = error.to_string();
            Faults(vec![Fault { name: "environment", value: None, accepted }])
        })?;
        let typed = Typing::new(vars, read, notes).config();
        if unreadable.is_empty() {
            return typed;
        }
        let Faults(faults) = typed.err().unwrap_or(Faults(Vec::new()));
        // It was taken for unset, and is not.
        let is_told = |fault: &Fault| unreadable.iter().any(|other| other.name == fault.name);
        let others: Vec<Fault> = faults.into_iter().filter(|fault| !is_told(fault)).collect();
        Err(Faults(unreadable.into_iter().chain(others).collect()))
    }
}

/// Variables as text, and those of ours that are none. Their values are not shown: any of them may hold a secret.
fn texts(
    vars: impl IntoIterator<Item = (OsString, OsString)>,
) -> (BTreeMap<String, String>, Vec<Fault>) {
    let mut texts = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, value) in vars {
        let Ok(name) = name.into_string() else {
            continue;
        };
        match value.into_string() {
            Ok(value) if value.trim().is_empty() => {}
            Ok(value) => {
                texts.insert(name, value.trim().to_owned());
            }
            Err(_) => faults.extend(table::known(&name).map(|name| Fault {
                name,
                value: None,
                accepted: "text in UTF-8; it has bytes that are none".to_owned(),
            })),
        }
    }
    (texts, faults)
}

#[cfg(test)]
mod tests;

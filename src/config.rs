//! Settings: the environment as text, typed once; every fault of every variable at once.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use thiserror::Error;

use crate::budget;
use crate::budget::Limits;
use crate::bundle::Secret;
use crate::config::typing::Raw;
use crate::config::typing::Typing;
use crate::names::BadName;
use crate::names::Names;

mod table;
mod typing;

pub use table::ANCESTORS;
pub use table::SETTINGS;
pub use table::Setting;
pub use table::render;

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// `CATTLE_URL`.
    pub rancher_url: Url,
    /// `CATTLE_ACCESS_KEY`, or `CATTLE_ENVIRONMENT_ACCESS_KEY`.
    pub rancher_access_key: Secret,
    /// `CATTLE_SECRET_KEY`, or `CATTLE_ENVIRONMENT_SECRET_KEY`.
    pub rancher_secret_key: Secret,
    /// `RANCHER_CA_FILE`.
    pub rancher_ca_file: Option<PathBuf>,
    /// `RANCHER_METADATA_URL`.
    pub metadata_url: Url,
    /// `DOMAINS`, the good ones.
    pub domains: Vec<Names>,
    /// `DOMAINS`, the refused ones.
    pub bad_domains: Vec<BadName>,
    /// `DYNAMIC_CONFIG`.
    pub reads_labels: bool,
    /// `STAGING`.
    pub is_staging: bool,
    /// `CERTBOT_EMAIL` or `EMAIL`.
    pub email: Option<String>,
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
    /// `ACME_CA_FILE`.
    pub acme_ca_file: Option<PathBuf>,
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
    /// `LOG` or `RUST_LOG`.
    pub log: String,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// Accepted variables without effect, each with a sentence that says what happens instead.
    pub notes: Vec<String>,
}

impl Config {
    /// The directory URL that `STAGING` asks for.
    pub fn wanted_directory(&self) -> &Url {
        if self.is_staging {
            &self.staging_directory
        } else {
            &self.production_directory
        }
    }
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

/// When a valid certificate that is not ours is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceForeign {
    /// When it is expired or about to.
    Due,
    /// Not even when it is expired.
    Never,
    /// At once.
    Always,
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
            Some(value) => write!(
                f,
                "{}=`{}`: {}",
                self.name,
                value.escape_debug(),
                self.accepted
            ),
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

impl Config {
    /// Types the variables; an empty one counts as unset, as Rancher makes unset ones empty.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, Faults> {
        let vars: BTreeMap<String, String> = vars
            .into_iter()
            .map(|(name, value)| (name, value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let notes = table::notes(&vars);
        let raw: Raw = envy::from_iter(vars).map_err(|error| {
            Faults(vec![Fault {
                name: "environment",
                value: None,
                accepted: error.to_string(),
            }])
        })?;
        Typing::default().config(raw, notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Config, Faults> {
        let rancher = [
            ("CATTLE_URL", "http://rancher.test:8080/v1"),
            ("CATTLE_ACCESS_KEY", "access"),
            ("CATTLE_SECRET_KEY", "very-secret"),
        ];
        Config::from_vars(
            rancher
                .iter()
                .chain(vars)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn every_fault_of_every_variable_is_listed_at_once_without_secrets() {
        let wrong: Vec<(&str, &str)> = vec![
            ("CATTLE_URL", "ftp://user:very-secret@x"),
            ("RANCHER_CA_FILE", "relative.pem"),
            ("RANCHER_METADATA_URL", "metadata"),
            ("DYNAMIC_CONFIG", "maybe"),
            ("STAGING", "prod"),
            ("CERTBOT_EMAIL", "nobody"),
            ("RENEW_BEFORE_DAYS", "0"),
            ("LOOP_TIME", "0"),
            ("CERTBOT_WEBROOT", "www"),
            ("LETSENCRYPT_ROOTDIR", "le"),
            ("ACME_DIRECTORY", "http://insecure.test/directory"),
            ("ACME_STAGING_DIRECTORY", "x"),
            ("ACME_CA_FILE", "y"),
            ("CA_LIMITS", "some"),
            ("SELF_CHECK", "sometimes"),
            ("HOST_CHECK_PORT", "70000"),
            ("SELF_CHECK_ADDRESS", "a b"),
            ("CONNECT_TIMEOUT", "-1"),
            ("REPLACE_FOREIGN", "yes"),
            ("CONCURRENCY", "0"),
            ("LISTEN", "everywhere"),
            ("NOTIFY_URL", "very-secret"),
            ("NOTIFY_FORMAT", "xml"),
            ("HEARTBEAT_URL", "very-secret"),
            ("LOG", "=="),
            ("LOG_FORMAT", "xml"),
        ];
        let faults = config(&wrong).unwrap_err();
        let named: Vec<_> = faults.0.iter().map(|fault| fault.name).collect();
        for (name, _) in &wrong {
            assert!(named.contains(name), "{name} is not among {named:?}");
        }
        assert_eq!(named.len(), wrong.len());
        assert!(!faults.to_string().contains("very-secret"), "{faults}");
    }

    #[test]
    fn every_setting_is_in_the_table_and_has_a_fault_or_a_free_form() {
        let missing = Config::from_vars([]).unwrap_err();
        let named: Vec<_> = missing.0.iter().map(|fault| fault.name).collect();
        assert_eq!(
            named,
            ["CATTLE_URL", "CATTLE_ACCESS_KEY", "CATTLE_SECRET_KEY"]
        );
        assert!(
            missing
                .to_string()
                .contains("io.rancher.container.agent.role")
        );
    }

    #[test]
    fn empty_is_unset_and_defaults_are_those_of_the_table() {
        let empty: Vec<_> = SETTINGS
            .iter()
            .filter(|s| !s.injected)
            .map(|s| (s.name, " "))
            .collect();
        let config = config(&empty).unwrap();
        assert!(config.is_staging && config.reads_labels);
        assert_eq!(config.loop_time, Duration::from_secs(300));
        assert_eq!(
            config.wanted_directory().as_str(),
            table::LETS_ENCRYPT_STAGING
        );
        assert_eq!(config.listen, Some("0.0.0.0:8080".parse().unwrap()));
        assert_eq!((config.concurrency, config.self_check_port), (8, 80));
        assert_eq!(config.renew_before, None);
    }

    #[test]
    fn booleans_are_read_in_any_case_and_two_roles_win() {
        for (text, is_staging) in [
            ("False", false),
            ("no", false),
            ("0", false),
            ("TRUE", true),
            ("Yes", true),
        ] {
            assert_eq!(
                config(&[("STAGING", text)]).unwrap().is_staging,
                is_staging,
                "{text}"
            );
        }
        let two = [
            ("CATTLE_ENVIRONMENT_ACCESS_KEY", "a2"),
            ("CATTLE_ENVIRONMENT_SECRET_KEY", "s2"),
        ];
        let config = config(&two).unwrap();
        assert_eq!(config.rancher_access_key.reveal(), "a2");
        assert_eq!(config.rancher_secret_key.reveal(), "s2");
        assert!(!format!("{config:?}").contains("s2"));
    }

    #[test]
    fn ancestors_variables_are_accepted_with_a_note_each() {
        let vars: Vec<_> = ANCESTORS.iter().map(|(name, _)| (*name, "x")).collect();
        let notes = config(&vars).unwrap().notes;
        assert_eq!(notes.len(), ANCESTORS.len());
        assert!(
            config(&[("NOTIFY_URL", "http://a.test/x")]).unwrap().notes[0].contains("NOTIFY_URL")
        );
    }
}

//! Settings: the environment as text, typed once; every fault of every variable at once.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::bundle::Secret;
use crate::names::BadName;
use crate::names::Names;
use crate::names::parse_list;

mod table;

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

/// The variables as they come; envy gets nothing to refuse, so that all faults are found.
#[derive(Deserialize)]
struct Raw {
    cattle_url: Option<String>,
    cattle_access_key: Option<String>,
    cattle_secret_key: Option<String>,
    cattle_environment_access_key: Option<String>,
    cattle_environment_secret_key: Option<String>,
    cattle_config_url_scheme: Option<String>,
    rancher_ca_file: Option<String>,
    rancher_metadata_url: Option<String>,
    domains: Option<String>,
    dynamic_config: Option<String>,
    staging: Option<String>,
    certbot_email: Option<String>,
    email: Option<String>,
    renew_before_days: Option<String>,
    loop_time: Option<String>,
    certbot_webroot: Option<String>,
    letsencrypt_rootdir: Option<String>,
    acme_directory: Option<String>,
    acme_staging_directory: Option<String>,
    acme_ca_file: Option<String>,
    ca_limits: Option<String>,
    self_check: Option<String>,
    host_check_port: Option<String>,
    self_check_address: Option<String>,
    connect_timeout: Option<String>,
    replace_foreign: Option<String>,
    concurrency: Option<String>,
    listen: Option<String>,
    notify_url: Option<String>,
    notify_format: Option<String>,
    heartbeat_url: Option<String>,
    log: Option<String>,
    rust_log: Option<String>,
    log_format: Option<String>,
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

/// Types one variable after the other and keeps what was wrong.
#[derive(Default)]
struct Typing {
    faults: Vec<Fault>,
}

impl Typing {
    fn config(mut self, raw: Raw, notes: Vec<String>) -> Result<Config, Faults> {
        let rancher_url = self.rancher_url(raw.cattle_url, raw.cattle_config_url_scheme.is_some());
        let (access_name, access_key, secret_name, secret_key) =
            match raw.cattle_environment_access_key {
                Some(access) => (
                    "CATTLE_ENVIRONMENT_ACCESS_KEY",
                    Some(access),
                    "CATTLE_ENVIRONMENT_SECRET_KEY",
                    raw.cattle_environment_secret_key,
                ),
                None => (
                    "CATTLE_ACCESS_KEY",
                    raw.cattle_access_key,
                    "CATTLE_SECRET_KEY",
                    raw.cattle_secret_key,
                ),
            };
        let rancher_access_key = self.key(access_name, access_key);
        let rancher_secret_key = self.key(secret_name, secret_key);
        let (domains, bad_domains) = parse_list(&raw.domains.unwrap_or_default());
        let _: Option<()> = self.choice(
            "NOTIFY_FORMAT",
            raw.notify_format,
            &[("json", ()), ("text", ())],
        );
        let config = Config {
            rancher_ca_file: self.path("RANCHER_CA_FILE", raw.rancher_ca_file),
            metadata_url: self.url(
                "RANCHER_METADATA_URL",
                raw.rancher_metadata_url,
                table::METADATA,
                &["http", "https"],
            ),
            domains,
            bad_domains,
            reads_labels: self.boolean("DYNAMIC_CONFIG", raw.dynamic_config, true),
            is_staging: self.boolean("STAGING", raw.staging, true),
            email: self.email(raw.certbot_email, raw.email),
            renew_before: self
                .number("RENEW_BEFORE_DAYS", raw.renew_before_days, 1..=3650)
                .map(|days| time::Duration::days(i64::from(days))),
            loop_time: self.seconds("LOOP_TIME", raw.loop_time, 300, 86_400),
            webroot: self
                .path("CERTBOT_WEBROOT", raw.certbot_webroot)
                .unwrap_or_else(|| table::WEBROOT.into()),
            store: self
                .path("LETSENCRYPT_ROOTDIR", raw.letsencrypt_rootdir)
                .unwrap_or_else(|| table::STORE.into()),
            production_directory: self.url(
                "ACME_DIRECTORY",
                raw.acme_directory,
                table::PRODUCTION,
                &["https"],
            ),
            staging_directory: self.url(
                "ACME_STAGING_DIRECTORY",
                raw.acme_staging_directory,
                table::STAGING,
                &["https"],
            ),
            acme_ca_file: self.path("ACME_CA_FILE", raw.acme_ca_file),
            ca_limits: self
                .choice(
                    "CA_LIMITS",
                    raw.ca_limits,
                    &[
                        ("auto", CaLimits::Auto),
                        ("letsencrypt", CaLimits::LetsEncrypt),
                        ("none", CaLimits::None),
                    ],
                )
                .unwrap_or(CaLimits::Auto),
            self_check: self
                .choice(
                    "SELF_CHECK",
                    raw.self_check,
                    &[
                        ("require", SelfCheck::Require),
                        ("warn", SelfCheck::Warn),
                        ("off", SelfCheck::Off),
                    ],
                )
                .unwrap_or(SelfCheck::Require),
            self_check_port: self
                .number("HOST_CHECK_PORT", raw.host_check_port, 1..=65_535)
                .unwrap_or(80),
            self_check_address: self.address(raw.self_check_address),
            connect_timeout: self.seconds("CONNECT_TIMEOUT", raw.connect_timeout, 10, 300),
            replace_foreign: self
                .choice(
                    "REPLACE_FOREIGN",
                    raw.replace_foreign,
                    &[
                        ("due", ReplaceForeign::Due),
                        ("never", ReplaceForeign::Never),
                        ("always", ReplaceForeign::Always),
                    ],
                )
                .unwrap_or(ReplaceForeign::Due),
            concurrency: self
                .number("CONCURRENCY", raw.concurrency, 1..=100)
                .map_or(8, usize::from),
            listen: self.listen(raw.listen),
            log: self.log(raw.log, raw.rust_log),
            log_format: self
                .choice(
                    "LOG_FORMAT",
                    raw.log_format,
                    &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                )
                .unwrap_or(LogFormat::Text),
            notes,
            rancher_url,
            rancher_access_key,
            rancher_secret_key,
        };
        for (name, value) in [
            ("NOTIFY_URL", raw.notify_url),
            ("HEARTBEAT_URL", raw.heartbeat_url),
        ] {
            // May hold a token: checked, never shown.
            if value.is_some_and(|value| !is_url(&value, &["http", "https"])) {
                self.fault(name, None, "an http or https URL");
            }
        }
        if self.faults.is_empty() {
            Ok(config)
        } else {
            Err(Faults(self.faults))
        }
    }

    fn fault(&mut self, name: &'static str, value: Option<String>, accepted: impl Into<String>) {
        self.faults.push(Fault {
            name,
            value,
            accepted: accepted.into(),
        });
    }

    /// A stand-in is returned after a fault; it is never used, because a fault ends the start.
    fn rancher_url(&mut self, value: Option<String>, is_localhost: bool) -> Url {
        if value.is_none() {
            self.fault("CATTLE_URL", None, if is_localhost {
                "not set, because this host was registered at Rancher through `localhost`: set CATTLE_URL to the \
                 address of the Rancher server as containers reach it, like http://rancher.example:8080/v2-beta"
            } else {
                "not set: Rancher sets it for a container with the label io.rancher.container.create_agent: 'true'; \
                 outside of Rancher set it to the address of its API, like http://rancher.example:8080/v2-beta"
            });
        }
        self.url("CATTLE_URL", value, table::METADATA, &["http", "https"])
    }

    fn key(&mut self, name: &'static str, value: Option<String>) -> Secret {
        if value.is_none() {
            self.fault(name, None, "not set: Rancher sets it for a container with the labels \
                io.rancher.container.create_agent: 'true' and io.rancher.container.agent.role: environment; \
                outside of Rancher set it to an API key of the environment");
        }
        Secret::new(value.unwrap_or_default())
    }

    fn url(
        &mut self,
        name: &'static str,
        value: Option<String>,
        default: &str,
        schemes: &[&str],
    ) -> Url {
        match value {
            Some(value) if is_url(&value, schemes) => match Url::parse(&value).ok() {
                // These URLs are shown everywhere, and Rancher's has its own key.
                Some(url) if !url.username().is_empty() || url.password().is_some() => {
                    self.fault(name, None, "a URL without user name and password");
                    None
                }
                url => url,
            },
            Some(value) => {
                // A URL may carry a password.
                let shown = (!value.contains('@')).then_some(value);
                self.fault(
                    name,
                    shown,
                    format!("an {} URL with a host", schemes.join(" or ")),
                );
                None
            }
            None => None,
        }
        .unwrap_or_else(|| Url::parse(default).expect("the defaults in the table are URLs"))
    }

    fn boolean(&mut self, name: &'static str, value: Option<String>, default: bool) -> bool {
        let words = [
            ("true", true),
            ("false", false),
            ("yes", true),
            ("no", false),
            ("1", true),
            ("0", false),
        ];
        self.choice(name, value, &words).unwrap_or(default)
    }

    fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        value: Option<String>,
        words: &[(&str, T)],
    ) -> Option<T> {
        let value = value?;
        let found = words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(&value));
        if found.is_none() {
            let accepted: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.fault(name, Some(value), format!("one of {}", accepted.join(", ")));
        }
        found.map(|(_, meaning)| *meaning)
    }

    fn number(
        &mut self,
        name: &'static str,
        value: Option<String>,
        range: std::ops::RangeInclusive<u16>,
    ) -> Option<u16> {
        let value = value?;
        let number = value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.fault(
                name,
                Some(value),
                format!("a whole number from {} to {}", range.start(), range.end()),
            );
        }
        number
    }

    fn seconds(
        &mut self,
        name: &'static str,
        value: Option<String>,
        default: u64,
        most: u64,
    ) -> Duration {
        let Some(value) = value else {
            return Duration::from_secs(default);
        };
        let seconds = value
            .parse()
            .ok()
            .filter(|seconds| (1..=most).contains(seconds));
        if seconds.is_none() {
            self.fault(name, Some(value), format!("whole seconds from 1 to {most}"));
        }
        Duration::from_secs(seconds.unwrap_or(default))
    }

    fn path(&mut self, name: &'static str, value: Option<String>) -> Option<PathBuf> {
        let path = PathBuf::from(value?);
        if !path.is_absolute() {
            self.fault(name, Some(path.display().to_string()), "an absolute path");
        }
        Some(path)
    }

    fn email(&mut self, certbot: Option<String>, plain: Option<String>) -> Option<String> {
        let (name, value) = match certbot {
            Some(value) => ("CERTBOT_EMAIL", value),
            None => ("EMAIL", plain?),
        };
        // What Let's Encrypt takes as a contact: one plain ASCII address without header fields.
        let plausible = value.is_ascii()
            && !value.contains([' ', ',', '?', '<', '>'])
            && value
                .split_once('@')
                .is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
        if !plausible {
            self.fault(
                name,
                Some(value.clone()),
                "one plain mail address, or nothing",
            );
        }
        Some(value)
    }

    fn address(&mut self, value: Option<String>) -> Option<String> {
        let value = value?;
        let is_ip = value.parse::<std::net::IpAddr>().is_ok();
        let is_host = value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !is_ip && !is_host {
            self.fault(
                "SELF_CHECK_ADDRESS",
                Some(value.clone()),
                "an IP address or a host name, without port",
            );
        }
        Some(value)
    }

    fn listen(&mut self, value: Option<String>) -> Option<SocketAddr> {
        let value = value.unwrap_or_else(|| table::LISTEN.to_owned());
        if value.eq_ignore_ascii_case("off") {
            return None;
        }
        let address = value.parse().ok();
        if address.is_none() {
            self.fault(
                "LISTEN",
                Some(value),
                "an IP address with a port, like 0.0.0.0:8080, or off",
            );
        }
        address
    }

    fn log(&mut self, log: Option<String>, rust_log: Option<String>) -> String {
        let (name, value) = match (log, rust_log) {
            (Some(value), _) => ("LOG", value),
            (None, Some(value)) => ("RUST_LOG", value),
            (None, None) => return "info".to_owned(),
        };
        if EnvFilter::try_new(&value).is_err() {
            self.fault(
                name,
                Some(value.clone()),
                "a tracing filter, like info, debug or info,rancher_lets_encrypt=trace",
            );
        }
        value
    }
}

fn is_url(value: &str, schemes: &[&str]) -> bool {
    Url::parse(value).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host())
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
        assert_eq!(config.wanted_directory().as_str(), table::STAGING);
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

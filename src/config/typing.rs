//! Types one variable after the other, and keeps what was wrong.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::config::CaLimits;
use crate::config::Config;
use crate::config::Delivery;
use crate::config::Fault;
use crate::config::Faults;
use crate::config::LogFormat;
use crate::config::NotifyFormat;
use crate::config::ReadFile;
use crate::config::SelfCheck;
use crate::config::table;
use crate::core::bundle::Secret;
use crate::core::names::parse_list;
use crate::decide::classify::ReplaceForeign;

const REGISTERED_AT_LOCALHOST: &str = "not set, because this host was registered at Rancher through `localhost`: set \
     CATTLE_URL to the address of the Rancher server as containers reach it, like http://rancher.example:8080/v2-beta";
const NO_AGENT: &str = "not set: Rancher sets it for a container with the label io.rancher.container.create_agent: \
     'true'; outside of Rancher set it to the address of its API, like http://rancher.example:8080/v2-beta";

/// The variables as they come; envy gets nothing to refuse, so that all faults are found.
#[derive(Deserialize)]
pub(super) struct Raw {
    destination: Option<String>,
    certificates_dir: Option<String>,
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

/// Types one variable after the other and keeps what was wrong.
pub(super) struct Typing<'a> {
    read: ReadFile<'a>,
    faults: Vec<Fault>,
    notes: Vec<String>,
}

impl<'a> Typing<'a> {
    pub(super) fn new(read: ReadFile<'a>, notes: Vec<String>) -> Self {
        Self { read, faults: Vec::new(), notes }
    }

    pub(super) fn config(mut self, raw: Raw) -> Result<Config, Faults> {
        let delivery = self.delivery(raw.destination, raw.certificates_dir);
        let is_rancher = delivery == Delivery::Rancher;
        // Rancher gives a container the scheme, but no address that leads to `localhost`.
        let missing = match raw.cattle_config_url_scheme {
            Some(_) => REGISTERED_AT_LOCALHOST,
            None => NO_AGENT,
        };
        let rancher_url = self.rancher_url(raw.cattle_url, is_rancher.then_some(missing));
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
        let rancher_access_key = self.key(access_name, access_key, is_rancher);
        let rancher_secret_key = self.key(secret_name, secret_key, is_rancher);
        let (domains, bad_domains) = parse_list(&raw.domains.unwrap_or_default());
        let config = Config {
            rancher_ca: match raw.rancher_ca_file {
                Some(file) => self.roots("RANCHER_CA_FILE", file),
                None if is_rancher => self.ranchers_own_roots(),
                None => None,
            },
            metadata_url: self.url(
                "RANCHER_METADATA_URL",
                raw.rancher_metadata_url,
                table::METADATA,
                &["http", "https"],
            ),
            domains,
            bad_domains,
            reads_labels: self.boolean("DYNAMIC_CONFIG", raw.dynamic_config, true) && is_rancher,
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
                table::LETS_ENCRYPT,
                &["https"],
            ),
            staging_directory: self.url(
                "ACME_STAGING_DIRECTORY",
                raw.acme_staging_directory,
                table::LETS_ENCRYPT_STAGING,
                &["https"],
            ),
            acme_ca: raw.acme_ca_file.and_then(|file| self.roots("ACME_CA_FILE", file)),
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
            notify_url: self.secret_url("NOTIFY_URL", raw.notify_url),
            notify_format: self
                .choice(
                    "NOTIFY_FORMAT",
                    raw.notify_format,
                    &[("json", NotifyFormat::Json), ("text", NotifyFormat::Text)],
                )
                .unwrap_or(NotifyFormat::Json),
            heartbeat_url: self.secret_url("HEARTBEAT_URL", raw.heartbeat_url),
            log: self.log(raw.log, raw.rust_log),
            log_format: self
                .choice(
                    "LOG_FORMAT",
                    raw.log_format,
                    &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                )
                .unwrap_or(LogFormat::Text),
            notes: std::mem::take(&mut self.notes),
            delivery,
            rancher_url,
            rancher_access_key,
            rancher_secret_key,
        };
        if self.faults.is_empty() { Ok(config) } else { Err(Faults(self.faults)) }
    }

    fn fault(&mut self, name: &'static str, value: Option<String>, accepted: impl Into<String>) {
        self.faults.push(Fault { name, value, accepted: accepted.into() });
    }

    /// An address that may hold a token: checked, never shown.
    fn secret_url(&mut self, name: &'static str, value: Option<String>) -> Option<Secret> {
        let value = value?;
        if !is_url(&value, &["http", "https"]) {
            self.fault(name, None, "an http or https URL");
        }
        Some(Secret::new(value))
    }

    fn delivery(&mut self, destination: Option<String>, folder: Option<String>) -> Delivery {
        let is_host =
            self.choice("DESTINATION", destination, &[("rancher", false), ("host", true)]);
        let folder = self.path("CERTIFICATES_DIR", folder);
        match (is_host.unwrap_or(false), folder) {
            (true, Some(folder)) => Delivery::Host(folder),
            (true, None) => {
                let missing =
                    "not set: with DESTINATION=host it names the folder that certificates go to";
                self.fault("CERTIFICATES_DIR", None, missing);
                Delivery::Host(PathBuf::new())
            }
            (false, Some(_)) => {
                let note = "CERTIFICATES_DIR has no effect: certificates go to Rancher, not to a folder (DESTINATION)";
                self.notes.push(note.to_owned());
                Delivery::Rancher
            }
            (false, None) => Delivery::Rancher,
        }
    }

    /// A stand-in is returned after a fault, which ends the start, and where Rancher is not asked.
    fn rancher_url(&mut self, value: Option<String>, missing: Option<&str>) -> Url {
        if let (None, Some(missing)) = (&value, missing) {
            self.fault("CATTLE_URL", None, missing);
        }
        self.url("CATTLE_URL", value, table::METADATA, &["http", "https"])
    }

    fn key(&mut self, name: &'static str, value: Option<String>, is_needed: bool) -> Secret {
        if value.is_none() && is_needed {
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
                self.fault(name, shown, format!("an {} URL with a host", schemes.join(" or ")));
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
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&value));
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
        let seconds = value.parse().ok().filter(|seconds| (1..=most).contains(seconds));
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

    /// The roots in a file that a variable names.
    fn roots(&mut self, name: &'static str, value: String) -> Option<Vec<u8>> {
        let path = PathBuf::from(&value);
        let read = if path.is_absolute() {
            roots(self.read, &path)
        } else {
            Err("an absolute path".to_owned())
        };
        read.map_err(|why| self.fault(name, Some(value), why)).ok()
    }

    /// The roots that Rancher gives, if it does. A bad file is nobody's setting, so that it ends nothing.
    fn ranchers_own_roots(&mut self) -> Option<Vec<u8>> {
        let path = Path::new(table::RANCHER_CA);
        match roots(self.read, path) {
            Ok(pem) => Some(pem),
            Err(_)
                if (self.read)(path)
                    .is_err_and(|error| error.kind() == io::ErrorKind::NotFound) =>
            {
                None
            }
            Err(why) => {
                let path = path.display();
                self.notes.push(format!(
                    "{path} is not used, it is to be {why}; RANCHER_CA_FILE can name another file"
                ));
                None
            }
        }
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
            self.fault(name, Some(value.clone()), "one plain mail address, or nothing");
        }
        Some(value)
    }

    fn address(&mut self, value: Option<String>) -> Option<String> {
        let value = value?;
        let is_ip = value.parse::<std::net::IpAddr>().is_ok();
        let is_host =
            value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
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

/// Reads a file of roots; the error says what would have been accepted.
fn roots(read: ReadFile<'_>, path: &Path) -> Result<Vec<u8>, String> {
    let wanted = "a file of certificates as PEM that can be read";
    let pem = read(path).map_err(|error| format!("{wanted}: {error}"))?;
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|root| store.add(root).map_err(|error| error.to_string()))
            .map_err(|error| format!("{wanted}: certificate {number} in it: {error}"))?;
    }
    if store.is_empty() {
        return Err(format!("{wanted}: there is no certificate in it"));
    }
    Ok(pem)
}

fn is_url(value: &str, schemes: &[&str]) -> bool {
    Url::parse(value).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host())
}

/// The names of the variables that are read, as serde has them.
#[cfg(test)]
pub(super) fn variables() -> Vec<String> {
    struct Fields(Vec<String>);

    impl<'de> serde::Deserializer<'de> for &mut Fields {
        type Error = serde::de::value::Error;

        fn deserialize_struct<V: serde::de::Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            self.0 = fields.iter().map(|field| field.to_ascii_uppercase()).collect();
            Err(serde::de::Error::custom("the fields were wanted"))
        }

        fn deserialize_any<V: serde::de::Visitor<'de>>(
            self,
            _: V,
        ) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("not a struct"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields = Fields(Vec::new());
    drop(Raw::deserialize(&mut fields));
    fields.0
}

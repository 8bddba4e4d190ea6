//! Types one variable after the other, as the table says, and keeps what was wrong.

use std::collections::BTreeMap;
use std::io;
use std::mem::discriminant;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::config::Delivery;
use crate::config::Fault;
use crate::config::Faults;
use crate::config::Place;
use crate::config::ReadFile;
use crate::config::table;
use crate::config::table::Kind;
use crate::config::words::Words;
use crate::config::words::all;
use crate::core::bundle::Secret;
use crate::core::names::BadName;
use crate::core::names::Names;
use crate::core::names::parse_list;

const REGISTERED_AT_LOCALHOST: &str = "not set, because this host was registered at Rancher through `localhost`: set \
     CATTLE_URL to the address of the Rancher server as containers reach it, like http://rancher.example:8080/v2-beta";
const NO_AGENT: &str = "not set: Rancher sets it for a container with the label io.rancher.container.create_agent: \
     'true'; outside of Rancher set it to the address of its API, like http://rancher.example:8080/v2-beta";
/// Never asked: a fault ends the start.
const STAND_IN: &str = "http://stand-in.invalid";

/// What is not in force where certificates go elsewhere.
const OF_RANCHER: [&str; 5] = [
    "CATTLE_URL",
    "CATTLE_ACCESS_KEY",
    "CATTLE_SECRET_KEY",
    "RANCHER_METADATA_URL",
    "DYNAMIC_CONFIG",
];

const SET: &str = "set";
const UNSET: &str = "-";

/// Types one variable after the other and keeps what was wrong.
pub(super) struct Typing<'a> {
    vars: BTreeMap<String, String>,
    read: ReadFile<'a>,
    faults: Vec<Fault>,
    notes: Vec<String>,
    /// What holds, as it is shown.
    in_force: BTreeMap<&'static str, String>,
}

/// Why a value is not taken.
struct Refusal {
    accepted: String,
    is_hidden: bool,
}

impl<'a> Typing<'a> {
    pub(super) fn new(
        vars: BTreeMap<String, String>,
        read: ReadFile<'a>,
        notes: Vec<String>,
    ) -> Self {
        Self { vars, read, faults: Vec::new(), notes, in_force: BTreeMap::new() }
    }

    /// The settings, each read by its name in the table.
    pub(super) fn config(mut self) -> Result<Config, Faults> {
        let delivery = self.delivery();
        let is_rancher = delivery == Delivery::Rancher;
        let rancher_url = if is_rancher { self.rancher_url() } else { stand_in() };
        let has_two_roles = self.var("CATTLE_ENVIRONMENT_ACCESS_KEY").is_some();
        let (rancher_access_key, rancher_secret_key) = if !is_rancher {
            (Secret::new(""), Secret::new(""))
        } else if has_two_roles {
            (
                self.key("CATTLE_ACCESS_KEY", "CATTLE_ENVIRONMENT_ACCESS_KEY"),
                self.key("CATTLE_SECRET_KEY", "CATTLE_ENVIRONMENT_SECRET_KEY"),
            )
        } else {
            (
                self.key("CATTLE_ACCESS_KEY", "CATTLE_ACCESS_KEY"),
                self.key("CATTLE_SECRET_KEY", "CATTLE_SECRET_KEY"),
            )
        };
        let rancher_ca = if is_rancher { self.rancher_ca() } else { self.roots("RANCHER_CA_FILE") };
        let metadata_url = self.url("RANCHER_METADATA_URL");
        let (domains, bad_domains) = self.names("DOMAINS");
        let mut config = Config {
            delivery,
            rancher_url,
            rancher_access_key,
            rancher_secret_key,
            rancher_ca,
            metadata_url,
            domains,
            bad_domains,
            reads_labels: self.boolean("DYNAMIC_CONFIG") && is_rancher,
            is_staging: self.boolean("STAGING"),
            email: self.mail("CERTBOT_EMAIL"),
            key_type: self.word("KEY_TYPE"),
            renew_before: self
                .number("RENEW_BEFORE_DAYS")
                .map(|days| time::Duration::days(i64::from(days))),
            loop_time: self.seconds("LOOP_TIME"),
            webroot: self.path("CERTBOT_WEBROOT"),
            store: self.path("LETSENCRYPT_ROOTDIR"),
            production_directory: self.url("ACME_DIRECTORY"),
            staging_directory: self.url("ACME_STAGING_DIRECTORY"),
            acme_ca: self.roots("ACME_CA_FILE"),
            ca_limits: self.word("CA_LIMITS"),
            self_check: self.word("SELF_CHECK"),
            self_check_port: self.number("HOST_CHECK_PORT").unwrap_or_default(),
            self_check_address: self.host("SELF_CHECK_ADDRESS"),
            connect_timeout: self.seconds("CONNECT_TIMEOUT"),
            replace_foreign: self.word("REPLACE_FOREIGN"),
            concurrency: self.number("CONCURRENCY").map_or(0, usize::from),
            listen: self.listen("LISTEN"),
            notify_url: self.secret_url("NOTIFY_URL"),
            notify_format: self.word("NOTIFY_FORMAT"),
            heartbeat_url: self.secret_url("HEARTBEAT_URL"),
            log: self.filter("LOG"),
            log_format: self.word("LOG_FORMAT"),
            notes: Vec::new(),
            in_force: Vec::new(),
        };
        if !is_rancher {
            self.in_force.extend(OF_RANCHER.map(|name| (name, UNSET.to_owned())));
        }
        if !self.faults.is_empty() {
            return Err(Faults(self.faults));
        }
        config.notes = self.notes;
        let rows = table::SETTINGS.iter().map(|setting| setting.name);
        config.in_force =
            rows.filter_map(|name| Some((name, self.in_force.remove(name)?))).collect();
        Ok(config)
    }

    /// A variable; envy names them in small letters.
    fn var(&self, name: &str) -> Option<&String> {
        self.vars.get(&name.to_ascii_lowercase())
    }

    /// Reads a setting, or what holds without it. There is nothing after a fault, or where nothing holds.
    fn value<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str, Kind) -> Result<T, Refusal>,
        show: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let setting = table::setting(name);
        let given = setting.names().find_map(|name| Some((name, self.var(name)?.clone())));
        let (name_given, text) = match (given, setting.default_value()) {
            (Some(given), _) => given,
            (None, Some(default)) => (name, default.to_owned()),
            (None, None) => {
                let shown = match (setting.default, setting.kind) {
                    ("automatic", _) => setting.default,
                    (_, Kind::Names) => "",
                    _ => UNSET,
                };
                self.in_force.insert(name, shown.to_owned());
                return None;
            }
        };
        match read(&text, setting.kind) {
            Ok(value) => {
                let shown = if setting.kind.is_secret() { SET.to_owned() } else { show(&value) };
                self.in_force.insert(name, shown);
                Some(value)
            }
            Err(Refusal { accepted, is_hidden }) => {
                let is_shown = !is_hidden && !setting.kind.is_secret();
                self.faults.push(Fault {
                    name: name_given,
                    value: is_shown.then_some(text),
                    accepted,
                });
                None
            }
        }
    }

    /// A setting of a kind that needs to know no more.
    fn plain<T>(
        &mut self,
        name: &'static str,
        like: Kind,
        read: impl FnOnce(&str) -> Option<T>,
        show: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let read = |text: &str, kind: Kind| {
            if discriminant(&kind) != discriminant(&like) {
                unlike(name);
            }
            read(text).ok_or_else(|| Refusal::of(kind))
        };
        self.value(name, read, show)
    }

    fn delivery(&mut self) -> Delivery {
        const FOLDER: &str = "CERTIFICATES_DIR";
        let place = self.word::<Place>("DESTINATION");
        if !self.faults.is_empty() {
            // What else would be missing hangs on what was meant.
            return Delivery::Host(PathBuf::new());
        }
        let (is_named, folder) = (self.var(FOLDER).is_some(), self.path(FOLDER));
        match place {
            Place::Rancher if is_named => {
                self.notes.push(format!("{FOLDER} has no effect: certificates go to Rancher, not to a folder (DESTINATION)"));
                Delivery::Rancher
            }
            Place::Rancher => Delivery::Rancher,
            Place::Host => {
                if !is_named {
                    let accepted = "not set: with DESTINATION=host it names the folder that certificates go to";
                    self.faults.push(Fault {
                        name: FOLDER,
                        value: None,
                        accepted: accepted.to_owned(),
                    });
                }
                Delivery::Host(folder)
            }
        }
    }

    fn rancher_url(&mut self) -> Url {
        if self.var("CATTLE_URL").is_some() {
            return self.url("CATTLE_URL");
        }
        // Rancher gives a container the scheme, but no address that leads to `localhost`.
        let missing = match self.var("CATTLE_CONFIG_URL_SCHEME") {
            Some(_) => REGISTERED_AT_LOCALHOST,
            None => NO_AGENT,
        };
        self.faults.push(Fault { name: "CATTLE_URL", value: None, accepted: missing.to_owned() });
        stand_in()
    }

    /// A key, from the one of two variables that is used.
    fn key(&mut self, name: &'static str, used: &'static str) -> Secret {
        let kind = table::setting(name).kind;
        let value = self.var(used).cloned();
        if value.is_none() {
            self.faults.push(Fault { name: used, value: None, accepted: kind.accepted() });
        }
        self.in_force.insert(name, SET.to_owned());
        Secret::new(value.unwrap_or_default())
    }

    fn url(&mut self, name: &'static str) -> Url {
        let read = |text: &str, kind: Kind| {
            let Kind::Url(schemes) = kind else { unlike(name) };
            if !is_url(text, schemes) {
                // A URL may carry a password.
                return Err(Refusal { is_hidden: text.contains('@'), ..Refusal::of(kind) });
            }
            match Url::parse(text) {
                // These URLs are shown everywhere, and Rancher's has its own key.
                Ok(url) if url.username().is_empty() && url.password().is_none() => Ok(url),
                _ => Err(Refusal {
                    accepted: "a URL without user name and password".to_owned(),
                    is_hidden: true,
                }),
            }
        };
        self.value(name, read, Url::to_string).unwrap_or_else(stand_in)
    }

    /// An address that may hold a token: checked, never shown.
    fn secret_url(&mut self, name: &'static str) -> Option<Secret> {
        let read =
            |text: &str| is_url(text, &["http", "https"]).then(|| Secret::new(text.to_owned()));
        self.plain(name, Kind::SecretUrl, read, |_| SET.to_owned())
    }

    /// The good ones, and those that are refused by themselves.
    fn names(&mut self, name: &'static str) -> (Vec<Names>, Vec<BadName>) {
        let show = |(good, _): &(Vec<Names>, Vec<BadName>)| {
            good.iter().map(Names::to_string).collect::<Vec<_>>().join(", ")
        };
        let names = self.plain(name, Kind::Names, |text| Some(parse_list(text)), show);
        names.unwrap_or_default()
    }

    fn boolean(&mut self, name: &'static str) -> bool {
        let show = |is_on: &bool| if *is_on { "True" } else { "False" }.to_owned();
        self.plain(name, Kind::Boolean, bool::read, show).unwrap_or_default()
    }

    fn word<T: Words>(&mut self, name: &'static str) -> T {
        let word = self.plain(name, Kind::Word(all::<T>), T::read, |value| value.word().to_owned());
        word.unwrap_or(T::WORDS[0].1)
    }

    fn number(&mut self, name: &'static str) -> Option<u16> {
        let read = |text: &str, kind: Kind| {
            let Kind::Number(least, most) = kind else { unlike(name) };
            let number = text.parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| Refusal::of(kind))
        };
        self.value(name, read, u16::to_string)
    }

    fn seconds(&mut self, name: &'static str) -> Duration {
        let read = |text: &str, kind: Kind| {
            let Kind::Seconds(most) = kind else { unlike(name) };
            let seconds = text.parse().ok().filter(|seconds| (1..=most).contains(seconds));
            seconds.map(Duration::from_secs).ok_or_else(|| Refusal::of(kind))
        };
        self.value(name, read, |time| time.as_secs().to_string()).unwrap_or_default()
    }

    fn path(&mut self, name: &'static str) -> PathBuf {
        let read = |text: &str| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
        self.plain(name, Kind::Path, read, |path| path.display().to_string()).unwrap_or_default()
    }

    /// The roots in a file that a variable names.
    fn roots(&mut self, name: &'static str) -> Option<Vec<u8>> {
        let read_file = self.read;
        let read = |text: &str, _: Kind| {
            let path = Path::new(text);
            let read = if path.is_absolute() {
                roots(read_file, path)
            } else {
                Err(Kind::Path.accepted())
            };
            read.map_err(|accepted| Refusal { accepted, is_hidden: false })
        };
        self.value(name, read, |_| SET.to_owned())
    }

    fn rancher_ca(&mut self) -> Option<Vec<u8>> {
        const NAME: &str = "RANCHER_CA_FILE";
        if self.var(NAME).is_some() {
            return self.roots(NAME);
        }
        let own = self.ranchers_own_roots();
        let shown = if own.is_some() { SET } else { UNSET };
        self.in_force.insert(NAME, shown.to_owned());
        own
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

    fn mail(&mut self, name: &'static str) -> Option<String> {
        // What Let's Encrypt takes as a contact: one plain ASCII address without header fields.
        let is_plausible = |text: &str| {
            text.is_ascii()
                && !text.contains([' ', ',', '?', '<', '>'])
                && text
                    .split_once('@')
                    .is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
        };
        let read = |text: &str| is_plausible(text).then(|| text.to_owned());
        self.plain(name, Kind::Mail, read, String::clone)
    }

    fn host(&mut self, name: &'static str) -> Option<String> {
        let is_host = |text: &str| {
            text.parse::<std::net::IpAddr>().is_ok()
                || text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let read = |text: &str| is_host(text).then(|| text.to_owned());
        self.plain(name, Kind::Host, read, String::clone)
    }

    fn listen(&mut self, name: &'static str) -> Option<SocketAddr> {
        let read = |text: &str| match text.eq_ignore_ascii_case("off") {
            true => Some(None),
            false => text.parse().ok().map(Some),
        };
        let show = |listen: &Option<SocketAddr>| {
            listen.map_or_else(|| "off".to_owned(), |address| address.to_string())
        };
        self.plain(name, Kind::Listen, read, show).flatten()
    }

    fn filter(&mut self, name: &'static str) -> String {
        let read = |text: &str| EnvFilter::try_new(text).ok().map(|_| text.to_owned());
        self.plain(name, Kind::Filter, read, String::clone).unwrap_or_default()
    }
}

impl Refusal {
    /// The value is of another kind.
    fn of(kind: Kind) -> Self {
        Self { accepted: kind.accepted(), is_hidden: false }
    }
}

/// A setting is read as another kind than the table says: no start comes past it.
fn unlike(name: &str) -> ! {
    unreachable!("the table has another kind for {name}")
}

fn stand_in() -> Url {
    Url::parse(STAND_IN).expect("it is a URL")
}

/// Reads a file of roots; the error says what would have been accepted.
fn roots(read: ReadFile<'_>, path: &Path) -> Result<Vec<u8>, String> {
    let wanted = Kind::Roots.accepted();
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

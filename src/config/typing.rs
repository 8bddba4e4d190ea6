//! Types one variable after the other, as the table says, and keeps what was wrong.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use reqwest::Url;

use crate::config::Config;
use crate::config::Delivery;
use crate::config::Fault;
use crate::config::Faults;
use crate::config::Place;
use crate::config::ReadFile;
use crate::config::table;
use crate::config::table::Kind;
use crate::core::bundle::Secret;

mod kinds;

use kinds::roots;

const REGISTERED_AT_LOCALHOST: &str = "not set, because this host was registered at Rancher through `localhost`: set \
     CATTLE_URL to the address of the Rancher server as containers reach it, like http://rancher.example:8080/v2-beta";
const NO_AGENT: &str = "not set: Rancher sets it for a container with the label io.rancher.container.create_agent: \
     'true'; outside of Rancher set it to the address of its API, like http://rancher.example:8080/v2-beta";
/// Never asked: a fault ends the start.
const STAND_IN: &str = "http://stand-in.invalid";

/// What is not in force where certificates go elsewhere.
const OF_RANCHER: [&str; 6] = [
    "CATTLE_URL",
    "CATTLE_ACCESS_KEY",
    "CATTLE_SECRET_KEY",
    "RANCHER_PROXY",
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
            rancher_proxy: self.proxy("RANCHER_PROXY"),
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
            status_hosts: self.hosts("STATUS_HOSTS"),
            notify_url: self.secret_url("NOTIFY_URL"),
            notify_format: self.word("NOTIFY_FORMAT"),
            notify_ca: self.roots("NOTIFY_CA_FILE"),
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
}

impl Refusal {
    /// The value is of another kind.
    fn of(kind: Kind) -> Self {
        Self { accepted: kind.accepted(), is_hidden: false }
    }
}

fn stand_in() -> Url {
    Url::parse(STAND_IN).expect("it is a URL")
}

//! The table of settings: each is declared here once, and everything that tells of settings follows it.

use std::collections::BTreeMap;

use crate::config::CaLimits;
use crate::config::LogFormat;
use crate::config::NotifyFormat;
use crate::config::Place;
use crate::config::ReplaceForeign;
use crate::config::SelfCheck;
use crate::config::words::all;
use crate::core::bundle::KeyType;

pub(super) const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
pub(super) const LETS_ENCRYPT_STAGING: &str =
    "https://acme-staging-v02.api.letsencrypt.org/directory";
/// Where Rancher puts the certificate of its own server's CA into every container with an agent key.
pub(super) const RANCHER_CA: &str = "/var/lib/rancher/etc/ssl/ca.crt";

/// What a variable holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A key of an API, of any form; a secret.
    Key,
    /// An address with one of these schemes.
    Url(&'static [&'static str]),
    /// An http or https address that may hold a token; a secret.
    SecretUrl,
    /// Names of certificates.
    Names,
    /// Yes or no.
    Boolean,
    /// One of a few words.
    Word(fn() -> Vec<&'static str>),
    /// A whole number between two.
    Number(u16, u16),
    /// Whole seconds, up to so many.
    Seconds(u64),
    /// A folder.
    Path,
    /// A file of certificates.
    Roots,
    /// A mail address.
    Mail,
    /// An address or a name of a host.
    Host,
    /// Names of hosts, with commas between them.
    Hosts,
    /// An http or https address of a proxy, with or without a name and a password, which are not shown.
    Proxy,
    /// An address to listen on, or none.
    Listen,
    /// What is logged.
    Filter,
    /// The same as another variable, when that one is not set.
    Same(&'static str),
}

impl Kind {
    /// Whether a value is never shown.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Key | Self::SecretUrl)
    }

    /// What is told to somebody who has set it to something else.
    pub(super) fn accepted(self) -> String {
        match self {
            Self::Key => "not set: Rancher sets it for a container with the labels \
                io.rancher.container.create_agent: 'true' and io.rancher.container.agent.role: environment; \
                outside of Rancher set it to an API key of the environment".to_owned(),
            Self::Url(schemes) => format!("an {} URL with a host", schemes.join(" or ")),
            Self::SecretUrl => "an http or https URL".to_owned(),
            Self::Names => "host names".to_owned(),
            Self::Boolean => format!("one of {}", all::<bool>().join(", ")),
            Self::Word(words) => format!("one of {}", words().join(", ")),
            Self::Number(least, most) => format!("a whole number from {least} to {most}"),
            Self::Seconds(most) => format!("whole seconds from 1 to {most}"),
            Self::Path => "an absolute path".to_owned(),
            Self::Roots => "a file of certificates as PEM that can be read".to_owned(),
            Self::Mail => "one plain mail address, or nothing".to_owned(),
            Self::Host => "an IP address or a host name, without port".to_owned(),
            Self::Hosts => "host names with commas between them, without ports".to_owned(),
            Self::Proxy => "an http or https URL of host and port, like http://proxy.example:3128".to_owned(),
            Self::Listen => "an IP address with a port, like 0.0.0.0:8080, or off".to_owned(),
            Self::Filter => {
                "a tracing filter, like info, debug or info,rancher_lets_encrypt=trace".to_owned()
            }
            Self::Same(name) => setting(name).kind.accepted(),
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What holds when it is unset or empty, as Markdown: in backticks where it is a value.
    pub default: &'static str,
    /// What it does, as Markdown.
    pub meaning: &'static str,
    /// Whether Rancher itself gives it to the container.
    pub injected: bool,
}

impl Setting {
    /// The value that holds when it is unset or empty, if there is one.
    pub(super) fn default_value(&self) -> Option<&'static str> {
        match self.default {
            "Let's Encrypt" => Some(LETS_ENCRYPT),
            "Let's Encrypt staging" => Some(LETS_ENCRYPT_STAGING),
            text => text.strip_prefix('`')?.strip_suffix('`'),
        }
    }

    /// The variables that are read for it, the first that is set.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let own = self.name;
        let same = SETTINGS
            .iter()
            .filter(move |other| matches!(other.kind, Kind::Same(name) if name == own));
        std::iter::once(own).chain(same.map(|other| other.name))
    }
}

const fn given(name: &'static str, kind: Kind, meaning: &'static str) -> Setting {
    Setting { name, kind, default: "given by Rancher", meaning, injected: true }
}

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting { name, kind, default, meaning, injected: false }
}

/// The row of a variable.
pub(super) fn setting(name: &str) -> &'static Setting {
    let row = SETTINGS.iter().find(|setting| setting.name == name);
    row.expect("what is read is in the table")
}

/// Every variable that is read.
pub const SETTINGS: &[Setting] = &[
    row(
        "DESTINATION",
        Kind::Word(all::<Place>),
        "`rancher`",
        "where certificates go: `rancher`, or `host` (a folder that a server of this host reads; nothing of Rancher is needed then)",
    ),
    row(
        "CERTIFICATES_DIR",
        Kind::Path,
        "-",
        "with `DESTINATION=host`: that folder; each certificate is `<name>/{fullchain,privkey,cert,chain}.pem` in it, swapped in one step",
    ),
    given(
        "CATTLE_URL",
        Kind::Url(&["http", "https"]),
        "address of the Rancher API: `http://host:8080`, with or without `/v1`, `/v2-beta`, `/projects/1a5`",
    ),
    given(
        "CATTLE_ACCESS_KEY",
        Kind::Key,
        "API key; `CATTLE_ENVIRONMENT_ACCESS_KEY`, which Rancher gives to a container with two roles, wins",
    ),
    given("CATTLE_SECRET_KEY", Kind::Key, "its secret; `CATTLE_ENVIRONMENT_SECRET_KEY` likewise"),
    row(
        "RANCHER_CA_FILE",
        Kind::Roots,
        "-",
        "PEM roots to trust for `CATTLE_URL` besides the public ones, or the server's own certificate, which is taken whatever its form and dates; `/var/lib/rancher/etc/ssl/ca.crt` is used when it exists",
    ),
    row(
        "RANCHER_PROXY",
        Kind::Proxy,
        "-",
        "proxy for `CATTLE_URL`, like `http://proxy.example:3128`; without it Rancher is asked directly, whatever `HTTP_PROXY` and the like say",
    ),
    row(
        "RANCHER_METADATA_URL",
        Kind::Url(&["http", "https"]),
        "`http://rancher-metadata.rancher.internal`",
        "the metadata service, without a version",
    ),
    row(
        "DOMAINS",
        Kind::Names,
        "empty",
        "host names: commas part certificates, white space joins names in one (`a.example, b.example www.b.example`)",
    ),
    row(
        "DYNAMIC_CONFIG",
        Kind::Boolean,
        "`True`",
        "read the label `com.danieldent.rancher-lets-encrypt.hosts` of other services (same form as `DOMAINS`)",
    ),
    row(
        "STAGING",
        Kind::Boolean,
        "`True`",
        "use the staging directory, whose certificates no browser trusts; `False` when all works",
    ),
    row("CERTBOT_EMAIL", Kind::Mail, "empty", "contact of the ACME account"),
    row("EMAIL", Kind::Same("CERTBOT_EMAIL"), "empty", "the same, when `CERTBOT_EMAIL` is not set"),
    row(
        "KEY_TYPE",
        Kind::Word(all::<KeyType>),
        "`ec256`",
        "kind of the keys: `ec256` (ECDSA, P-256), or `rsa2048` for clients that know no ECDSA; new for each certificate, so a change holds from the next renewal on",
    ),
    row(
        "RENEW_BEFORE_DAYS",
        Kind::Number(1, 3650),
        "automatic",
        "days before expiry; automatic is a third of the lifetime (half, if it is under ten days), and a value of half the lifetime or more is not used",
    ),
    row(
        "LOOP_TIME",
        Kind::Seconds(86_400),
        "`300`",
        "longest time between two passes, seconds, at least 1",
    ),
    row("CERTBOT_WEBROOT", Kind::Path, "`/var/www`", "folder that nginx serves"),
    row("LETSENCRYPT_ROOTDIR", Kind::Path, "`/etc/letsencrypt`", "the store, in certbot's layout"),
    row("ACME_DIRECTORY", Kind::Url(&["https"]), "Let's Encrypt", "directory URL for production"),
    row(
        "ACME_STAGING_DIRECTORY",
        Kind::Url(&["https"]),
        "Let's Encrypt staging",
        "directory URL for staging",
    ),
    row(
        "ACME_CA_FILE",
        Kind::Roots,
        "-",
        "PEM roots to trust for the directory's TLS instead of the public ones (a private CA), or the server's own certificate",
    ),
    row(
        "CA_LIMITS",
        Kind::Word(all::<CaLimits>),
        "`auto`",
        "whose limits are kept: `auto` (Let's Encrypt's for its own directories, none elsewhere), `letsencrypt`, `none`",
    ),
    row(
        "SELF_CHECK",
        Kind::Word(all::<SelfCheck>),
        "`require`",
        "fetch our own token through the public name before asking the CA: `require`, `warn`, `off`",
    ),
    row("HOST_CHECK_PORT", Kind::Number(1, 65_535), "`80`", "port of that fetch"),
    row(
        "SELF_CHECK_ADDRESS",
        Kind::Host,
        "-",
        "IP address or host to connect to instead of resolving the name (hairpin NAT, split DNS)",
    ),
    row(
        "CONNECT_TIMEOUT",
        Kind::Seconds(300),
        "`10`",
        "seconds to connect, for every outgoing request; every request has a total limit as well",
    ),
    row(
        "REPLACE_FOREIGN",
        Kind::Word(all::<ReplaceForeign>),
        "`due`",
        "a certificate that is not ours: replace it when `due` (expired or about to), `never` (not even expired), `always`",
    ),
    row("CONCURRENCY", Kind::Number(1, 100), "`8`", "orders in flight at once, at most 100"),
    row(
        "LISTEN",
        Kind::Listen,
        "`0.0.0.0:8080`",
        "address of status page, metrics and health; `off` for none",
    ),
    row(
        "STATUS_HOSTS",
        Kind::Hosts,
        "-",
        "names under which they answer, with commas between them; addresses and `localhost` always do, other names get a 421. Without it they answer under any",
    ),
    row(
        "NOTIFY_URL",
        Kind::SecretUrl,
        "-",
        "webhook that is told what is wrong (`docs/notices.md`); it is a secret",
    ),
    row(
        "NOTIFY_FORMAT",
        Kind::Word(all::<NotifyFormat>),
        "`json`",
        "how: `json` (Slack, Mattermost and programs) or `text` (ntfy)",
    ),
    row(
        "NOTIFY_CA_FILE",
        Kind::Roots,
        "-",
        "PEM roots to trust for `NOTIFY_URL` and `HEARTBEAT_URL` besides the public ones",
    ),
    row(
        "HEARTBEAT_URL",
        Kind::SecretUrl,
        "-",
        "called (GET) after each pass that ran to its end, for a service that misses it when the daemon is dead; it is a secret",
    ),
    row("LOG", Kind::Filter, "`info`", "tracing filter: `error`, `warn`, `info`, `debug`, `trace`"),
    row("RUST_LOG", Kind::Same("LOG"), "-", "the same, when `LOG` is not set"),
    row("LOG_FORMAT", Kind::Word(all::<LogFormat>), "`text`", "`text` or `json`"),
];

/// What is read besides, because Rancher sets it: the rows above tell of it.
pub(super) const ALSO_READ: &[&str] =
    &["CATTLE_ENVIRONMENT_ACCESS_KEY", "CATTLE_ENVIRONMENT_SECRET_KEY", "CATTLE_CONFIG_URL_SCHEME"];

/// The name of a variable that is read, if it is one.
pub(super) fn known(name: &str) -> Option<&'static str> {
    let names = SETTINGS.iter().map(|setting| setting.name);
    names.chain(ALSO_READ.iter().copied()).find(|known| *known == name)
}

/// Variables of the ancestors that have no effect here, and what happens instead.
pub const ANCESTORS: &[(&str, &str)] = &[
    ("CONNECT_WAIT", "failed connections are tried again on a clock that survives restarts"),
    (
        "HOST_CHECK_LOOP_TIME",
        "nothing waits at start; each name is checked right before its own order",
    ),
    ("VALID_ISSUERS", "issuers are never judged by name, so nothing has to be listed"),
    ("CERT_VOLUME", "the volume is named in docker-compose.yml, its folder by LETSENCRYPT_ROOTDIR"),
    ("EULA", "running the daemon accepts the terms of the CA"),
    ("API_VERSION", "STAGING chooses the directory"),
    ("CERT_NAME", "the first name of each certificate names it at Rancher"),
    ("PUBLIC_KEY_TYPE", "KEY_TYPE is ec256 or rsa2048"),
    ("RENEWAL_TIME", "each certificate is renewed at a time of its own"),
    ("RENEWAL_PERIOD_DAYS", "RENEW_BEFORE_DAYS, or nothing: a third of the lifetime"),
    ("RUN_ONCE", "the daemon keeps running"),
    ("PROVIDER", "control is proven by HTTP-01 through the webroot"),
    (
        "DNS_RESOLVERS",
        "names are resolved as the container resolves them; SELF_CHECK_ADDRESS overrides",
    ),
    ("VOLUME_NAME", "the volume is named in docker-compose.yml"),
    ("STORAGE_DRIVER", "the volume driver stands in docker-compose.yml"),
    ("STORAGE_DRIVER_OPT", "the volume driver stands in docker-compose.yml"),
];

pub(super) fn notes(vars: &BTreeMap<String, String>) -> Vec<String> {
    let ancestors = ANCESTORS
        .iter()
        .filter(|(name, _)| vars.contains_key(*name))
        .map(|(name, instead)| format!("{name} has no effect: {instead}"));
    ancestors.collect()
}

/// The table as it stands in `README.md`.
pub fn render() -> String {
    let mut table = String::from("| variable | default | meaning |\n| --- | --- | --- |\n");
    for setting in SETTINGS {
        table += &format!("| `{}` | {} | {} |\n", setting.name, setting.default, setting.meaning);
    }
    table
}

//! The table of settings: the one that `README.md` shows.

use std::collections::BTreeMap;

pub(super) const METADATA: &str = "http://rancher-metadata.rancher.internal";
pub(super) const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
pub(super) const LETS_ENCRYPT_STAGING: &str =
    "https://acme-staging-v02.api.letsencrypt.org/directory";
pub(super) const WEBROOT: &str = "/var/www";
pub(super) const STORE: &str = "/etc/letsencrypt";
pub(super) const LISTEN: &str = "0.0.0.0:8080";
/// Where Rancher puts the certificate of its own server's CA into every container with an agent key.
pub(super) const RANCHER_CA: &str = "/var/lib/rancher/etc/ssl/ca.crt";

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// What holds when it is unset or empty.
    pub default: &'static str,
    /// What it does, as Markdown.
    pub meaning: &'static str,
    /// Whether Rancher itself gives it to the container.
    pub injected: bool,
}

const fn given(name: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default: "given by Rancher", meaning, injected: true }
}

const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default, meaning, injected: false }
}

/// Every variable that is read.
pub const SETTINGS: &[Setting] = &[
    setting(
        "DESTINATION",
        "`rancher`",
        "where certificates go: `rancher`, or `host` (a folder that a server of this host reads; nothing of Rancher is needed then)",
    ),
    setting(
        "CERTIFICATES_DIR",
        "-",
        "with `DESTINATION=host`: that folder; each certificate is `<name>/{fullchain,privkey,cert,chain}.pem` in it, swapped in one step",
    ),
    given(
        "CATTLE_URL",
        "address of the Rancher API: `http://host:8080`, with or without `/v1`, `/v2-beta`, `/projects/1a5`",
    ),
    given(
        "CATTLE_ACCESS_KEY",
        "API key; `CATTLE_ENVIRONMENT_ACCESS_KEY`, which Rancher gives to a container with two roles, wins",
    ),
    given("CATTLE_SECRET_KEY", "its secret; `CATTLE_ENVIRONMENT_SECRET_KEY` likewise"),
    setting(
        "RANCHER_CA_FILE",
        "-",
        "PEM roots to trust for `CATTLE_URL` besides the public ones; `/var/lib/rancher/etc/ssl/ca.crt` is used when it exists",
    ),
    setting(
        "RANCHER_METADATA_URL",
        "`http://rancher-metadata.rancher.internal`",
        "the metadata service, without a version",
    ),
    setting(
        "DOMAINS",
        "empty",
        "host names: commas part certificates, white space joins names in one (`a.example, b.example www.b.example`)",
    ),
    setting(
        "DYNAMIC_CONFIG",
        "`True`",
        "read the label `com.danieldent.rancher-lets-encrypt.hosts` of other services (same form as `DOMAINS`)",
    ),
    setting(
        "STAGING",
        "`True`",
        "use the staging directory, whose certificates no browser trusts; `False` when all works",
    ),
    setting("CERTBOT_EMAIL", "empty", "contact of the ACME account"),
    setting("EMAIL", "empty", "the same, when `CERTBOT_EMAIL` is not set"),
    setting(
        "RENEW_BEFORE_DAYS",
        "automatic",
        "days before expiry; automatic is a third of the lifetime (half, if it is under ten days), and a value of half the lifetime or more is not used",
    ),
    setting("LOOP_TIME", "`300`", "longest time between two passes, seconds, at least 1"),
    setting("CERTBOT_WEBROOT", "`/var/www`", "folder that nginx serves"),
    setting("LETSENCRYPT_ROOTDIR", "`/etc/letsencrypt`", "the store, in certbot's layout"),
    setting("ACME_DIRECTORY", "Let's Encrypt", "directory URL for production"),
    setting("ACME_STAGING_DIRECTORY", "Let's Encrypt staging", "directory URL for staging"),
    setting(
        "ACME_CA_FILE",
        "-",
        "PEM roots to trust for the directory's TLS instead of the public ones (a private CA)",
    ),
    setting(
        "CA_LIMITS",
        "`auto`",
        "whose limits are kept: `auto` (Let's Encrypt's for its own directories, none elsewhere), `letsencrypt`, `none`",
    ),
    setting(
        "SELF_CHECK",
        "`require`",
        "fetch our own token through the public name before asking the CA: `require`, `warn`, `off`",
    ),
    setting("HOST_CHECK_PORT", "`80`", "port of that fetch"),
    setting(
        "SELF_CHECK_ADDRESS",
        "-",
        "IP address or host to connect to instead of resolving the name (hairpin NAT, split DNS)",
    ),
    setting(
        "CONNECT_TIMEOUT",
        "`10`",
        "seconds to connect, for every outgoing request; every request has a total limit as well",
    ),
    setting(
        "REPLACE_FOREIGN",
        "`due`",
        "a certificate that is not ours: replace it when `due` (expired or about to), `never` (not even expired), `always`",
    ),
    setting("CONCURRENCY", "`8`", "orders in flight at once, at most 100"),
    setting(
        "LISTEN",
        "`0.0.0.0:8080`",
        "address of status page, metrics and health; `off` for none",
    ),
    setting(
        "NOTIFY_URL",
        "-",
        "webhook that is told what is wrong (`docs/notices.md`); it is a secret",
    ),
    setting(
        "NOTIFY_FORMAT",
        "`json`",
        "how: `json` (Slack, Mattermost and programs) or `text` (ntfy)",
    ),
    setting(
        "HEARTBEAT_URL",
        "-",
        "called (GET) after each pass that ran to its end, for a service that misses it when the daemon is dead; it is a secret",
    ),
    setting("LOG", "`info`", "tracing filter: `error`, `warn`, `info`, `debug`, `trace`"),
    setting("RUST_LOG", "-", "the same, when `LOG` is not set"),
    setting("LOG_FORMAT", "`text`", "`text` or `json`"),
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
    ("PUBLIC_KEY_TYPE", "keys are P-256, new for each certificate"),
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

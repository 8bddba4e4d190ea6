//! Everything around a daemon that goes to a foreign authority: name server, nginx on port 80, and the authority.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rancher_lets_encrypt::core::certificate::CertificateChain;
use rancher_lets_encrypt::core::certificate::Leaf;
use sandbox::certs::CertificateAuthority;
use sandbox::certs::Subject;
use sandbox::parts::acme2certifier::Acme2certifier;
use sandbox::parts::caddy::Caddy;
use sandbox::parts::dns::Dns;
use sandbox::parts::openbao::OpenBao;
use sandbox::parts::port::Port;
use sandbox::rancher::Rancher;
use sandbox::rancher::model::Model;
use sandbox::rancher::settings::RancherSettings;
use sandbox::rancher::settings::Role;
use serde_json::Value;
use tempfile::TempDir;

use crate::real::nginx::Nginx;
use crate::support::Daemon;
use crate::support::Settings;
use crate::support::look::look;
use crate::support::records::earlier;

/// Nobody listens there.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// An authority that is not Let's Encrypt's.
pub(crate) trait Foreign {
    /// Starts one with its files in a folder of its own.
    async fn begin(folder: PathBuf, dns: SocketAddr, tls: &CertificateAuthority) -> Self;

    fn directory_url(&self) -> String;

    /// The root of its web server, PEM.
    fn root_pem(&self, tls: &CertificateAuthority) -> String;

    /// How many certificates it has issued.
    async fn issued(&self) -> usize;
}

/// Far longer than a test takes.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Foreign for Caddy {
    async fn begin(folder: PathBuf, dns: SocketAddr, _tls: &CertificateAuthority) -> Self {
        Self::start(folder, dns, 24 * 60).await
    }

    fn directory_url(&self) -> String {
        self.directory_url()
    }

    fn root_pem(&self, _tls: &CertificateAuthority) -> String {
        self.root_pem()
    }

    async fn issued(&self) -> usize {
        self.issued()
    }
}

impl Foreign for OpenBao {
    async fn begin(folder: PathBuf, dns: SocketAddr, tls: &CertificateAuthority) -> Self {
        Self::start(folder, dns, tls, A_DAY).await
    }

    fn directory_url(&self) -> String {
        self.directory_url()
    }

    fn root_pem(&self, tls: &CertificateAuthority) -> String {
        tls.root_pem()
    }

    async fn issued(&self) -> usize {
        self.issued().await
    }
}

impl Foreign for Acme2certifier {
    async fn begin(folder: PathBuf, dns: SocketAddr, tls: &CertificateAuthority) -> Self {
        Self::start(folder, dns, tls).await
    }

    fn directory_url(&self) -> String {
        self.directory_url()
    }

    fn root_pem(&self, tls: &CertificateAuthority) -> String {
        tls.root_pem()
    }

    async fn issued(&self) -> usize {
        self.issued()
    }
}

/// What daemons share.
pub(crate) struct Site<Authority> {
    pub(crate) authority: Authority,
    pub(crate) dns: Dns,
    _nginx: Nginx,
    dir: TempDir,
}

impl<Authority: Foreign> Site<Authority> {
    pub(crate) async fn start() -> Self {
        Self::with(Authority::begin).await
    }

    /// The same with an authority of other settings.
    pub(crate) async fn with(
        begin: impl AsyncFnOnce(PathBuf, SocketAddr, &CertificateAuthority) -> Authority,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The workers of nginx are somebody else.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        let www = dir.path().join("www");
        std::fs::create_dir(&www).unwrap();
        let tls = CertificateAuthority::new(&Subject::new("Sandbox", "Test Web Root"), &[]);
        let dns = Dns::start_on(Port::known(53), &tls.root_pem()).await;
        let nginx = Nginx::start_on(Port::known(80), &www, dir.path().join("nginx")).await;
        let authority = begin(dir.path().join("authority"), dns.address(), &tls).await;
        let roots = authority.root_pem(&tls);
        let site = Self { authority, dns, _nginx: nginx, dir };
        std::fs::write(site.roots(), roots).unwrap();
        site
    }

    /// The way of a name leads elsewhere, where nobody listens; our own look still comes here.
    pub(crate) async fn lead_astray(&self, name: &str) {
        self.dns.resolve(name, ELSEWHERE).await;
    }

    /// A place for a daemon.
    pub(crate) async fn home(&self, name: &str) -> Home {
        let store = self.dir.path().join(name);
        std::fs::create_dir(&store).unwrap();
        let rancher = Rancher::start(RancherSettings::default()).await.unwrap();
        let (access, secret) = rancher.key(Role::Environment);
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let vars: [(&str, String); 19] = [
            ("CATTLE_URL", rancher.api_url()),
            ("CATTLE_ACCESS_KEY", access),
            ("CATTLE_SECRET_KEY", secret),
            ("RANCHER_METADATA_URL", rancher.metadata_url()),
            ("STAGING", "False".to_owned()),
            ("ACME_DIRECTORY", self.authority.directory_url()),
            // Nobody is there.
            ("ACME_STAGING_DIRECTORY", "https://127.0.0.1:9/dir".to_owned()),
            ("ACME_CA_FILE", text(&self.roots())),
            ("CERTBOT_EMAIL", "ops@example.com".to_owned()),
            ("CERTBOT_WEBROOT", text(&self.dir.path().join("www"))),
            ("LETSENCRYPT_ROOTDIR", text(&store)),
            ("HOST_CHECK_PORT", "80".to_owned()),
            ("SELF_CHECK_ADDRESS", "127.0.0.1".to_owned()),
            ("LOOP_TIME", "1".to_owned()),
            // A daemon that stands still in its log answers nobody.
            ("CONNECT_TIMEOUT", "100".to_owned()),
            ("CONCURRENCY", "20".to_owned()),
            ("LISTEN", "off".to_owned()),
            ("LOG", "info,rancher_lets_encrypt=debug".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        Home { rancher, settings: vars.into_iter().collect(), store }
    }

    /// The root of the authority's web server, PEM.
    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.path().join("acme-roots.pem")
    }

    /// The challenge files that are published.
    pub(crate) fn tokens(&self) -> usize {
        let folder = self.dir.path().join("www/.well-known/acme-challenge");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }
}

/// Where one daemon after the other lives.
pub(crate) struct Home {
    pub(crate) rancher: Rancher,
    pub(crate) settings: Settings,
    store: PathBuf,
}

impl Home {
    pub(crate) fn settings(&self, domains: &str) -> Settings {
        self.settings.clone().with("DOMAINS", domains)
    }

    /// Resolves when Rancher holds a certificate under each of the names.
    pub(crate) async fn pushed(&self, daemon: &Daemon, names: &[&str]) {
        let holds = |model: &Model| names.iter().all(|name| model.certificate(name).is_some());
        let what = format!("{names:?} at Rancher");
        daemon.brings(&what, self.rancher.until(holds)).await;
    }

    /// Resolves when Rancher holds another certificate under a name, which began to live before the one that it holds
    /// at present has ended.
    pub(crate) async fn renewed_in_time(&self, daemon: &Daemon, name: &str) {
        let (first, before) = self.held(name);
        let is_other = |model: &Model| {
            let held = model.certificate(name);
            held.is_some_and(|held| held.leaf() != first)
        };
        let what = format!("another certificate of {name} at Rancher");
        daemon.brings(&what, self.rancher.until(is_other)).await;
        let (_, after) = self.held(name);
        assert!(after.not_before < before.not_after, "{}", daemon.text());
    }

    /// The fingerprint of what Rancher holds under a name, and what it says.
    fn held(&self, name: &str) -> (String, Leaf) {
        let held = self.rancher.certificate(name).unwrap();
        let shown = CertificateChain::parse(&held.cert, "").unwrap();
        (held.leaf().to_owned(), shown.leaf)
    }

    /// The names of the certificate that Rancher holds under one of them.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let (_, leaf) = self.held(name);
        let mut names: Vec<String> = leaf.names().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Asks for a certificate, as a person does.
    pub(crate) async fn asks_for(&self, name: &str) {
        let ran = self.settings(name).runs(&["renew", name]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// A file beside the store.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.store.with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// How many orders are in flight.
    pub(crate) fn pending(&self) -> usize {
        let folder = self.store.join("rancher-lets-encrypt/pending");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    /// Lets time pass for a daemon that does not run: what is on record was asked so much earlier.
    pub(crate) fn let_pass(&self, time: time::Duration) {
        let own = self.store.join("rancher-lets-encrypt");
        make_earlier(&own.join("ledger.jsonl"), time);
        let orders = std::fs::read_dir(own.join("pending"));
        for order in orders.into_iter().flatten() {
            make_earlier(&order.unwrap().path(), time);
        }
    }
}

/// Moves each time in a file whose lines are JSON.
fn make_earlier(path: &Path, by: time::Duration) {
    let Ok(text) = std::fs::read_to_string(path) else {
        return;
    };
    // A line that was being written when the daemon was killed stays as it is.
    let lines = text.lines().map(|line| {
        let Ok(mut value) = serde_json::from_str::<Value>(line) else {
            return line.to_owned();
        };
        each_time(&mut value, by);
        value.to_string()
    });
    let lines: Vec<String> = lines.map(|line| line + "\n").collect();
    std::fs::write(path, lines.concat()).unwrap();
}

fn each_time(value: &mut Value, by: time::Duration) {
    match value {
        Value::String(text) => {
            let format = &time::format_description::well_known::Rfc3339;
            if time::OffsetDateTime::parse(text, format).is_ok() {
                *value = earlier(value, by);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_time(item, by)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_time(field, by)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What the status says of one certificate.
pub(crate) async fn status_of(port: &Port, name: &str) -> Value {
    let status: Value = serde_json::from_str(&look(port, "/status.json").await.body).unwrap();
    let certificates = status["certificates"].as_array().unwrap();
    let found = certificates.iter().find(|held| held["name"] == *name);
    found.unwrap_or_else(|| panic!("{status:#}")).clone()
}

/// One name, three names in one certificate, and twenty at once; each costs one certificate.
pub(crate) async fn first_certificates<Authority: Foreign>() {
    let site = Site::<Authority>::start().await;
    let home = site.home("store").await;
    let mut daemon = home.settings("one.example.com").start();
    home.pushed(&daemon, &["one.example.com"]).await;
    daemon.settles().await;
    assert_eq!(site.authority.issued().await, 1, "{}", daemon.text());
    drop(daemon.stop().await);

    let three = "one.example.com, a.example.com b.example.com c.example.com";
    let mut daemon = home.settings(three).start();
    home.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    assert_eq!(home.names("a.example.com"), ["a.example.com", "b.example.com", "c.example.com"]);
    assert_eq!(site.authority.issued().await, 2, "{}", daemon.text());
    drop(daemon.stop().await);

    let twenty: Vec<String> = (0..20).map(|n| format!("n{n}.example.com")).collect();
    let domains = format!("{three}, {}", twenty.join(", "));
    let mut daemon = home.settings(&domains).start();
    daemon.settles().await;
    drop(daemon.stop().await);
    // A finalize request that was answered with 500, as by Caddy when it is busy, is sent again after a minute.
    home.let_pass(time::Duration::minutes(2));
    let mut daemon = home.settings(&domains).start();
    let names: Vec<&str> = twenty.iter().map(String::as_str).collect();
    home.pushed(&daemon, &names).await;
    daemon.settles().await;
    assert_eq!(site.authority.issued().await, 22, "{}", daemon.text());
    assert_eq!((site.tokens(), home.pending()), (0, 0));
}

/// A name whose way leads elsewhere: by itself, and in one certificate with others. Who stands beside it gets what is
/// wanted, and its status says why it fails, in the authority's words.
pub(crate) async fn a_failing_name_beside_good_ones<Authority: Foreign>(words: &str) {
    let site = Site::<Authority>::start().await;
    for name in ["bad.example.com", "worse.example.com"] {
        site.lead_astray(name).await;
    }
    let home = site.home("store").await;
    let domains =
        "good.example.com, bad.example.com, a.example.com worse.example.com c.example.com";
    let (mut daemon, port) = home.settings(domains).start_seen().await;
    home.pushed(&daemon, &["good.example.com"]).await;
    daemon.mentions("validation of bad.example.com failed").await;
    home.pushed(&daemon, &["a.example.com"]).await;
    daemon.settles().await;
    assert_eq!(home.names("a.example.com"), ["a.example.com", "c.example.com"]);
    assert_eq!(site.authority.issued().await, 2, "{}", daemon.text());
    assert!(home.rancher.certificate("bad.example.com").is_none());

    for (certificate, name) in
        [("bad.example.com", "bad.example.com"), ("a.example.com", "worse.example.com")]
    {
        let status = status_of(&port, certificate).await;
        let said = status.to_string();
        let is_told = said.contains(&format!("validation of {name} failed"));
        assert!(is_told && said.contains(words), "{status:#}\n{}", daemon.text());
    }
    let status = status_of(&port, "bad.example.com").await;
    assert_ne!(status["health"], "working", "{status:#}");
    assert!(status["next"]["at"].is_string(), "{status:#}");
}

//! A world for one test: two authorities, a Rancher, a web server, a store; and daemons in it.

use std::path::Path;
use std::path::PathBuf;

use sandbox::authority::Authority;
use sandbox::authority::settings::AuthoritySettings;
use sandbox::rancher::Rancher;
use sandbox::rancher::age::Age;
use sandbox::rancher::service::ServiceSpec;
use sandbox::rancher::settings::RancherSettings;
use sandbox::rancher::settings::Role;
use sandbox::webserver::WebServer;
use tempfile::TempDir;

pub(crate) mod daemon;
pub(crate) mod look;
pub(crate) mod platform;
pub(crate) mod records;
pub(crate) mod requests;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod store;
pub(crate) mod tree;
pub(crate) mod stepped;

pub(crate) use daemon::Daemon;
pub(crate) use sandbox::parts::web::guarded;

pub(crate) const LABEL: &str = "com.danieldent.rancher-lets-encrypt.hosts";

/// Everything around the daemon.
pub(crate) struct World {
    pub(crate) production: Authority,
    pub(crate) staging: Authority,
    pub(crate) rancher: Rancher,
    pub(crate) web: WebServer,
    dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["store", "www"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let web = WebServer::start(dir.path().join("www")).await.unwrap();
        let mut production = AuthoritySettings::production();
        let mut staging = AuthoritySettings::staging();
        for settings in [&mut production, &mut staging] {
            settings.validation_port = web.port();
        }
        let pems =
            [Authority::start(production).await.unwrap(), Authority::start(staging).await.unwrap()];
        let [production, staging] = pems;
        let roots = format!("{}{}", production.tls_root_pem(), staging.tls_root_pem());
        std::fs::write(dir.path().join("acme-roots.pem"), roots).unwrap();
        let rancher = Rancher::start(RancherSettings::default()).await.unwrap();
        Self { production, staging, rancher, web, dir }
    }

    /// With the metadata of another Rancher than the newest.
    pub(crate) async fn of_age(age: Age) -> Self {
        let world = Self::start().await;
        world.rancher.settings(|settings| settings.age = age);
        world
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn webroot(&self) -> PathBuf {
        self.dir.path().join("www")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of the live view.
    pub(crate) fn live(&self, lineage: &str, file: &str) -> PathBuf {
        self.store().join("live").join(lineage).join(file)
    }

    /// The settings of a daemon in this world: production, a pass every second, everything on loopback.
    pub(crate) fn settings(&self) -> Settings {
        let (access, secret) = self.rancher.key(Role::Environment);
        let vars: [(&str, String); 17] = [
            ("CATTLE_URL", self.rancher.api_url()),
            ("CATTLE_ACCESS_KEY", access),
            ("CATTLE_SECRET_KEY", secret),
            ("RANCHER_METADATA_URL", self.rancher.metadata_url()),
            ("STAGING", "False".to_owned()),
            ("ACME_DIRECTORY", self.production.directory_url()),
            ("ACME_STAGING_DIRECTORY", self.staging.directory_url()),
            ("ACME_CA_FILE", text(&self.path("acme-roots.pem"))),
            ("CERTBOT_WEBROOT", text(&self.webroot())),
            ("LETSENCRYPT_ROOTDIR", text(&self.store())),
            ("HOST_CHECK_PORT", self.web.port().to_string()),
            ("SELF_CHECK_ADDRESS", "127.0.0.1".to_owned()),
            ("LOOP_TIME", "1".to_owned()),
            ("CONNECT_TIMEOUT", "2".to_owned()),
            ("LISTEN", "off".to_owned()),
            ("LOG", "info,rancher_lets_encrypt=debug".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        Settings {
            wrapper: Vec::new(),
            vars: vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// A daemon for `DOMAINS`.
    pub(crate) fn daemon(&self, domains: &str) -> Daemon {
        self.settings().with("DOMAINS", domains).start()
    }

    /// A service with the label, announced through metadata. Answers its name there.
    pub(crate) fn announce(&self, stack: &str, name: &str, hosts: &str) -> String {
        self.rancher.add_service(ServiceSpec::new(stack, name).label(LABEL, hosts))
    }

    /// Leaf fingerprints that the production authority has issued for a primary or other name.
    pub(crate) fn issued(&self, name: &str) -> Vec<String> {
        issued(&self.production, name)
    }

    /// Resolves when Rancher holds a certificate with this leaf under a name.
    pub(crate) async fn holds(&self, name: &str, leaf: &str) {
        let holds = |model: &sandbox::rancher::model::Model| {
            let held = model.certificate(name);
            held.is_some_and(|held| held.leaf() == leaf)
        };
        guarded(&format!("{leaf} at Rancher"), self.rancher.until(holds)).await;
    }

    /// Resolves when Rancher holds the newest certificate of the production authority for a name.
    pub(crate) async fn pushed(&self, name: &str) {
        let holds = |model: &sandbox::rancher::model::Model| {
            let leaf = model.certificate(name).map(|held| held.leaf().to_owned());
            leaf.is_some_and(|leaf| self.issued(name).last() == Some(&leaf))
        };
        guarded(&format!("the certificate of {name} at Rancher"), self.rancher.until(holds)).await;
    }
}

/// SHA-256 of the leaf of a PEM text, as the stand-ins show it.
pub(crate) fn leaf(pem: &str) -> String {
    let shown = rancher_lets_encrypt::core::certificate::CertificateChain::parse(pem, "").unwrap();
    shown.leaf.fingerprint.to_string()
}

pub(crate) fn issued(authority: &Authority, name: &str) -> Vec<String> {
    let issued =
        authority.issued().into_iter().filter(|issued| issued.names.iter().any(|own| own == name));
    issued.map(|issued| issued.leaf_sha256).collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The environment of a daemon that is not started yet.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The command, with arguments, that runs the daemon; none runs it as it is.
    wrapper: Vec<String>,
    vars: std::collections::BTreeMap<String, String>,
}

impl Settings {
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.vars.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.vars.remove(name);
        self
    }

    /// Runs the daemon by another command, which is given its path.
    pub(crate) fn within(mut self, wrapper: Vec<String>) -> Self {
        self.wrapper = wrapper;
        self
    }

    pub(crate) fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn start(self) -> Daemon {
        Daemon::start(&self)
    }

    /// Runs a command that ends by itself.
    pub(crate) async fn runs(&self, arguments: &[&str]) -> Ran {
        let mut command = daemon::command(self);
        let output = guarded("a command to end", command.args(arguments).output()).await;
        let output = output.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Starts it after a command of the shell, in the same process.
    pub(crate) fn start_in_shell(self, before: &str) -> Daemon {
        let script = format!("{before} && exec \"$0\"");
        self.within(["/bin/sh", "-c", &script].map(str::to_owned).to_vec()).start()
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.out.contains(word), "no `{word}` in {self:#?}");
        }
    }
}

impl<'a> FromIterator<(&'a str, String)> for Settings {
    fn from_iter<T: IntoIterator<Item = (&'a str, String)>>(vars: T) -> Self {
        let vars = vars.into_iter();
        Self {
            vars: vars.map(|(name, value)| (name.to_owned(), value)).collect(),
            wrapper: Vec::new(),
        }
    }
}

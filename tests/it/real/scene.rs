//! Everything real around the daemon for one test.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rancher_lets_encrypt::core::fingerprint::Fingerprint;
use sandbox::certs::CertificateAuthority;
use sandbox::certs::Subject;
use sandbox::rancher::Rancher;
use sandbox::rancher::model::Model;
use sandbox::rancher::settings::RancherSettings;
use sandbox::rancher::settings::Role;
use tempfile::TempDir;

use crate::real::certbot::Certbot;
use crate::real::haproxy::Haproxy;
use crate::real::haproxy::Rules;
use crate::real::nginx::Nginx;
use crate::support::Daemon;
use crate::support::Settings;
use sandbox::parts::dns::Dns;
use sandbox::parts::pebble::Pebble;
use sandbox::parts::pebble::PebbleSettings;
use sandbox::parts::port::Port;

/// A Pebble, its name server, an nginx on the webroot, a Rancher, a store.
pub(crate) struct Scene {
    pub(crate) production: Pebble,
    pub(crate) dns: Dns,
    pub(crate) nginx: Nginx,
    pub(crate) rancher: Rancher,
    tls: CertificateAuthority,
    dir: TempDir,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other settings of Pebble.
    pub(crate) async fn with(set: impl FnOnce(&mut PebbleSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The workers of nginx are somebody else.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        for name in ["store", "www"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let tls = CertificateAuthority::new(&Subject::new("Sandbox", "Test Web Root"), &[]);
        std::fs::write(dir.path().join("acme-roots.pem"), tls.root_pem()).unwrap();
        let dns = Dns::start(&tls.root_pem()).await;
        let nginx = Nginx::start(&dir.path().join("www"), dir.path().join("nginx")).await;
        let mut settings = PebbleSettings::new(nginx.port(), dns.address());
        set(&mut settings);
        let production = Pebble::start(settings, dir.path().join("production"), &tls).await;
        Self {
            production,
            dns,
            nginx,
            rancher: Rancher::start(RancherSettings::default()).await.unwrap(),
            tls,
            dir,
        }
    }

    /// Another authority.
    pub(crate) async fn pebble(&self, name: &str, settings: PebbleSettings) -> Pebble {
        Pebble::start(settings, self.path(name), &self.tls).await
    }

    /// A balancer with what Rancher holds.
    pub(crate) async fn balancer(&self, rules: &Rules) -> Haproxy {
        self.balancer_on(Port::claim(), rules).await
    }

    /// The same; `http` takes the place of port 80.
    pub(crate) async fn balancer_on(&self, http: Port, rules: &Rules) -> Haproxy {
        let certificates = self.rancher.certificates();
        Haproxy::start(self.path("haproxy"), http, rules, &certificates).await
    }

    pub(crate) fn certbot(&self) -> Certbot {
        Certbot {
            store: self.path("store"),
            webroot: self.path("www"),
            work: self.path("certbot"),
            roots: self.path("acme-roots.pem"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The settings of a daemon in this scene: production, a pass every second.
    pub(crate) fn settings(&self) -> Settings {
        let (access, secret) = self.rancher.key(Role::Environment);
        let text = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let vars: [(&str, String); 18] = [
            ("CATTLE_URL", self.rancher.api_url()),
            ("CATTLE_ACCESS_KEY", access),
            ("CATTLE_SECRET_KEY", secret),
            ("RANCHER_METADATA_URL", self.rancher.metadata_url()),
            ("STAGING", "False".to_owned()),
            ("ACME_DIRECTORY", self.production.directory_url()),
            // Nobody is there, unless a test has a second authority.
            ("ACME_STAGING_DIRECTORY", "https://127.0.0.1:9/dir".to_owned()),
            ("ACME_CA_FILE", text("acme-roots.pem")),
            ("CERTBOT_WEBROOT", text("www")),
            ("LETSENCRYPT_ROOTDIR", text("store")),
            ("HOST_CHECK_PORT", self.nginx.port().to_string()),
            ("SELF_CHECK_ADDRESS", "127.0.0.1".to_owned()),
            // Pebble may hang with many orders at once.
            ("CONCURRENCY", "4".to_owned()),
            ("LOOP_TIME", "1".to_owned()),
            ("CONNECT_TIMEOUT", "5".to_owned()),
            ("LISTEN", "off".to_owned()),
            ("LOG", "info,rancher_lets_encrypt=debug".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        vars.into_iter().collect()
    }

    /// Resolves when Rancher holds a certificate under each of the names.
    pub(crate) async fn pushed(&self, daemon: &Daemon, names: &[&str]) {
        let holds = |model: &Model| names.iter().all(|name| model.certificate(name).is_some());
        let what = format!("{names:?} at Rancher");
        daemon.brings(&what, self.rancher.until(holds)).await;
    }

    /// Resolves when Rancher holds another leaf under a name.
    pub(crate) async fn replaced(&self, daemon: &Daemon, name: &str, leaf: &str) {
        let is_other =
            |model: &Model| model.certificate(name).is_some_and(|held| held.leaf() != leaf);
        let what = format!("another certificate of {name} at Rancher");
        daemon.brings(&what, self.rancher.until(is_other)).await;
    }

    pub(crate) fn leaf(&self, name: &str) -> String {
        self.rancher.certificate(name).unwrap().leaf().to_owned()
    }
}

/// The fingerprint of the leaf of a chain that was served, as Rancher's model writes it.
pub(crate) fn leaf_of(chain: &[Vec<u8>]) -> String {
    Fingerprint::of(&[&chain[0]]).to_string()
}

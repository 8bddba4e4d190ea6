//! Everything around one daemon: two authorities, a Rancher, a web server, folders for store and webroot.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::authority::Authority;
use crate::authority::settings::AuthoritySettings;
use crate::rancher::Rancher;
use crate::rancher::service::ServiceSpec;
use crate::rancher::settings::RancherSettings;
use crate::rancher::settings::Role;
use crate::webserver::WebServer;

/// The label that announces names.
pub const LABEL: &str = "com.danieldent.rancher-lets-encrypt.hosts";

/// Everything around one daemon. Dropping it ends the servers and removes the folders.
pub struct Town {
    /// The authority that is wanted in the end.
    pub production: Authority,
    /// The authority for trying out.
    pub staging: Authority,
    /// The orchestrator.
    pub rancher: Rancher,
    /// The web server on the webroot.
    pub web: WebServer,
    folder: TempDir,
}

impl Town {
    /// Starts all of it on free ports.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(|_| {}).await
    }

    /// Starts all of it with its folder in another than that for temporary files.
    pub async fn start_in(above: &Path) -> io::Result<Self> {
        Self::build(tempfile::tempdir_in(above)?, |_| {}).await
    }

    /// Starts all of it, with changed settings of both authorities.
    pub async fn start_with(change: impl Fn(&mut AuthoritySettings)) -> io::Result<Self> {
        Self::build(tempfile::tempdir()?, change).await
    }

    async fn build(folder: TempDir, change: impl Fn(&mut AuthoritySettings)) -> io::Result<Self> {
        for name in ["store", "www"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let web = WebServer::start(folder.path().join("www")).await?;
        let mut settings = [AuthoritySettings::production(), AuthoritySettings::staging()];
        for settings in &mut settings {
            settings.validation_port = web.port();
            change(settings);
        }
        let [production, staging] = settings;
        let (production, staging) =
            (Authority::start(production).await?, Authority::start(staging).await?);
        let roots = format!("{}{}", production.tls_root_pem(), staging.tls_root_pem());
        fs::write(folder.path().join("acme-roots.pem"), roots)?;
        let rancher = Rancher::start(RancherSettings::default()).await?;
        Ok(Self { production, staging, rancher, web, folder })
    }

    /// A path in the folder of this town.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The webroot.
    pub fn webroot(&self) -> PathBuf {
        self.path("www")
    }

    /// The environment of a daemon that lives here and wants production.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let (access, secret) = self.rancher.key(Role::Environment);
        let vars = [
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
            ("LISTEN", "off".to_owned()),
        ];
        vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A service that announces names through metadata. Answers what to call it there.
    pub fn announce(&self, stack: &str, name: &str, hosts: &str) -> String {
        self.rancher.add_service(ServiceSpec::new(stack, name).label(LABEL, hosts))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

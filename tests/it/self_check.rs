//! What cannot be fetched through the public name costs nothing at the authority: it is never told.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http::Response;
use sandbox::faults::Seen;
use sandbox::faults::What;
use sandbox::parts::port::Port;
use sandbox::webserver::Redirect;
use sandbox::webserver::WebServer;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::support::World;
use crate::support::guarded;
use crate::support::tree::issued_before;
use crate::support::tree::lay;
use crate::support::tree::renewal_conf;

const NAME: &str = "a.example.com";

impl World {
    /// How often the daemon itself has fetched a token.
    fn own_fetches(&self) -> usize {
        let seen = self.web.faults().seen();
        let fetches = seen.iter().filter(|seen| seen.endpoint == "challenge");
        fetches.filter(|seen| seen.user_agent.starts_with("rancher-lets-encrypt/")).count()
    }

    /// Another server answers for the name.
    fn loses(&self, name: &str) {
        self.web.settings(|settings| settings.missing_hosts.push(name.to_owned()));
    }

    /// The challenge path is redirected to this host, on the same port.
    fn leads_to(&self, host: &str) {
        let from = "/.well-known/acme-challenge/".to_owned();
        let to = format!("http://{host}:{}/elsewhere/", self.web.port());
        self.web.settings(|settings| settings.redirect = Some(Redirect::Path { from, to }));
    }

    /// Shows that a daemon finds its own token in vain, says so with these words, and never tells the authority.
    async fn is_refused(&self, words: &str) {
        let mut daemon = self.daemon(NAME);
        daemon.mentions("self-check of a.example.com failed").await;
        let line = daemon.says("certificate not done").await;
        assert!(line["error"].as_str().unwrap().contains(words), "{line}");
        assert_eq!(self.production.faults().count("challenge"), 0, "{}", daemon.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_nginx_does_not_find_is_never_told_and_tried_again_with_the_same_order() {
    let world = World::start().await;
    world.loses(NAME);
    let mut daemon = world.daemon(NAME);
    for _ in 0..2 {
        daemon.says("job not done").await;
    }
    assert_eq!(daemon.count("certificate not done"), 1, "told once");
    assert_eq!(
        daemon
            .with("self-check of a.example.com failed")
            .iter()
            .filter(|line| line["level"] == "WARN")
            .count(),
        1
    );
    let text = daemon.text();
    assert!(text.contains("answered 404 Not Found: the path"), "{text}");
    assert_eq!(world.production.faults().count("challenge"), 0);
    world.web.settings(|settings| settings.missing_hosts.clear());
    world.pushed(NAME).await;
    assert_eq!(world.production.orders().len(), 1, "{}", daemon.text());
    assert_eq!(world.production.validations().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_is_asked_all_the_same_where_the_self_check_only_warns() {
    let world = World::start().await;
    // Nobody listens there, as behind a router that does not lead back.
    let nowhere = Port::claim();
    let settings = world.settings().with("HOST_CHECK_PORT", nowhere.number().to_string());
    let settings = settings.with("SELF_CHECK", "warn");
    let mut daemon = settings.with("DOMAINS", NAME).start();
    daemon.says("self-check failed, the authority is asked all the same").await;
    world.pushed(NAME).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_fetched_where_the_self_check_is_off() {
    let world = World::start().await;
    let settings = world.settings().with("SELF_CHECK", "off");
    let _daemon = settings.with("DOMAINS", NAME).start();
    world.pushed(NAME).await;
    assert_eq!(world.own_fetches(), 0);
    assert_eq!(world.web.faults().count("challenge"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_https_is_followed() {
    let world = World::start().await;
    let secure = WebServer::start_tls(world.webroot()).await.unwrap();
    let front = Front::start(world.web.port(), secure.port()).await;
    world.web.settings(|settings| settings.redirect = Some(Redirect::Https(front)));
    world.production.set(|settings| {
        settings.validation_port = front;
        settings.validation_tls_port = secure.port();
    });
    let settings = world.settings().with("HOST_CHECK_PORT", front.to_string());
    let _daemon = settings.with("DOMAINS", NAME).start();
    world.pushed(NAME).await;
    assert_eq!(world.own_fetches(), 1);
    assert_eq!(secure.faults().count("challenge"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_another_port_is_refused_as_the_authority_would() {
    let world = World::start().await;
    world.web.settings(|settings| settings.redirect = Some(Redirect::Https(8443)));
    world.is_refused("ports 80 and 443").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_an_address_or_into_a_private_network_is_refused_as_the_authority_would() {
    let addresses = "only host names, no IP addresses";
    let inside = "only names that end in a public suffix";
    for (host, words) in [
        ("127.0.0.1", addresses),
        ("2130706433", addresses),
        ("[::1]", addresses),
        ("localhost", inside),
        ("wiki.corp", inside),
    ] {
        let world = World::start().await;
        world.leads_to(host);
        let text = format!("where the CA would not go: {words}");
        world.is_refused(&text).await;
        assert_eq!(world.web.faults().count("file"), 0, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_behind_a_redirect_to_another_host_is_told_but_not_shown() {
    let world = World::start().await;
    world.leads_to("wiki.example.com");
    let page = Response::new(Bytes::from_static(b"for few"));
    world.web.faults().add("file", u32::MAX, What::Answer(page));
    let mut daemon = world.daemon(NAME);
    let line = daemon.says("certificate not done").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("another server answered"), "{line}");
    assert!(error.contains("http://wiki.example.com:"), "{line}");
    assert!(!daemon.text().contains("for few"), "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_in_a_circle_is_refused() {
    let world = World::start().await;
    let (from, to) = ("/.well-known".to_owned(), "/.well-known".to_owned());
    world.web.settings(|settings| settings.redirect = Some(Redirect::Path { from, to }));
    world.is_refused("the redirects never end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_with_status_303_is_refused_as_the_authority_would() {
    let world = World::start().await;
    let mut other = Response::new(Bytes::new());
    *other.status_mut() = http::StatusCode::SEE_OTHER;
    other.headers_mut().insert("location", "/elsewhere".parse().unwrap());
    world.web.faults().add("challenge", u32::MAX, What::Answer(other));
    world.is_refused("303").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_that_answers_for_the_name_is_found_out() {
    let world = World::start().await;
    let page = Response::new(Bytes::from_static(b"It works!"));
    world.web.faults().add("challenge", u32::MAX, What::Answer(page));
    world.is_refused("another server answers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_server_that_never_answers_is_not_waited_for_and_delays_no_other_name() {
    let world = World::start().await;
    let is_slow = |seen: &Seen| seen.subject == NAME;
    world.web.faults().add_when(is_slow, 0, u32::MAX, What::Stall);
    let mut daemon = world.daemon("a.example.com, b.example.com");
    world.pushed("b.example.com").await;
    let failure = daemon.mentions("self-check of a.example.com failed");
    guarded("the self-check to give up", failure).await;
    assert_eq!(world.production.validations().len(), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_page_of_another_server_is_told_as_such() {
    let world = World::start().await;
    let page = "It works! ".repeat(1000);
    let page = Response::new(Bytes::from(page));
    world.web.faults().add("challenge", u32::MAX, What::Answer(page));
    world.is_refused("something else than our token (`It works! ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_firewall_is_named_as_a_cause_where_the_name_was_certified_before() {
    const FIREWALL: &str = "only the user agent of the CA";
    let world = World::start().await;
    let server = world.production.directory_url();
    let conf = renewal_conf(&world.store(), NAME, &server, &[NAME]);
    lay(&world.store(), NAME, &conf, &[issued_before(&[NAME], 4)]);
    let mut forbidden = Response::new(Bytes::new());
    *forbidden.status_mut() = http::StatusCode::FORBIDDEN;
    let is_ours = |seen: &Seen| seen.user_agent.starts_with("rancher-lets-encrypt/");
    world.web.faults().add_when(is_ours, 0, u32::MAX, What::Answer(forbidden));
    let mut daemon = world.daemon("a.example.com, b.example.com");
    let line = daemon.mentions("self-check of a.example.com failed").await;
    assert!(line.to_string().contains(FIREWALL), "{line}");
    daemon.passes(1).await;
    let new = daemon.with("self-check of b.example.com failed");
    assert!(!new.is_empty() && !new[0].to_string().contains(FIREWALL), "{new:?}");
}

/// One port for HTTP and HTTPS, since a test has no port 80 and 443.
pub(crate) struct Front;

impl Front {
    pub(crate) async fn start(plain: u16, secure: u16) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut first = [0];
                    // A handshake of TLS begins with this byte.
                    let is_tls = matches!(socket.peek(&mut first).await, Ok(1) if first == [22]);
                    let port = if is_tls { secure } else { plain };
                    let mut behind = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                    copy_bidirectional(&mut socket, &mut behind).await
                });
            }
        });
        port
    }
}

//! What is shown at any moment is how things are then: between passes, in trouble, and when a loop or a port is not
//! there.

use std::net::Ipv4Addr;

use sandbox::authority::problem::Problem;
use sandbox::certs;
use sandbox::faults::What;
use sandbox::parts::port::Port;
use sandbox::rancher::settings::Availability;
use sandbox::receiver::Receiver;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::Daemon;
use crate::support::World;
use crate::support::look::look;
use crate::support::platform::status;

const A: &str = "a.example.com";

async fn shown(port: &Port) -> Value {
    serde_json::from_str(&look(port, "/status.json").await.body).unwrap()
}

#[track_caller]
fn part<'a>(status: &'a Value, name: &str) -> &'a Value {
    let parts = status["dependencies"].as_array().unwrap();
    parts.iter().find(|part| part["name"] == name).unwrap_or_else(|| panic!("no {name}: {status}"))
}

/// The lines that warn, or worse, and contain a text.
fn warnings(daemon: &Daemon, text: &str) -> usize {
    let lines = daemon.with(text);
    lines.iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_dies_between_passes_is_shown_and_so_is_that_it_answers_again() {
    let world = World::start().await;
    let settings = world.settings().with("CONNECT_TIMEOUT", "1").with("LOOP_TIME", "3600");
    let (mut daemon, port) = settings.with("DOMAINS", A).start_seen().await;
    world.pushed(A).await;
    daemon.says("balancers woken").await;
    let passes = shown(&port).await["last_pass"]["count"].clone();
    world.rancher.metadata_is(Availability::Refused).await.unwrap();
    daemon.says("labels not read, the names last known hold").await;
    let status = shown(&port).await;
    let source = part(&status, "source");
    assert_eq!(source["health"], "waiting", "{status}");
    assert!(source["since"].is_string(), "{status}");
    assert!(source["detail"].as_str().unwrap().ends_with("the names last known hold"));
    assert_ne!(status["health"], "ok");
    let page = look(&port, "/").await.body;
    assert!(!page.contains(">OK: ") && page.contains("out of order since"), "{page}");
    let metrics = look(&port, "/metrics").await.body;
    assert!(!metrics.contains("source_answers_total{answer=\"unavailable\"} 0"), "{metrics}");
    world.rancher.metadata_is(Availability::Up).await.unwrap();
    daemon.says("labels read again").await;
    let status = shown(&port).await;
    assert_eq!(part(&status, "source")["health"], "ok", "{status}");
    assert_eq!(part(&status, "source")["since"], Value::Null);
    assert_eq!(status["last_pass"]["count"], passes, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_is_looked_at_between_passes() {
    let world = World::start().await;
    // A fifth of it is how often it is looked at.
    let settings = world.settings().with("LOOP_TIME", "15").with("DOMAINS", A);
    let (mut daemon, port) = settings.start_seen().await;
    world.pushed(A).await;
    daemon.says("balancers woken").await;
    world.rancher.faults().add_when(|_| true, 0, u32::MAX, status(401));
    daemon.says("destination looked at between passes, it does not answer").await;
    let status = shown(&port).await;
    let destination = part(&status, "destination");
    assert_eq!(destination["health"], "attention", "{status}");
    assert!(destination["since"].is_string(), "{status}");
    // Whoever refuses us is there.
    let advice = destination["advice"].as_str().unwrap();
    assert!(advice.contains("variable, label or right"), "{advice}");
    assert!(status["sentence"].as_str().unwrap().ends_with("Trouble with: destination."));
    world.rancher.faults().clear();
    daemon.says("destination looked at between passes, it answers").await;
    let status = shown(&port).await;
    let destination = part(&status, "destination");
    assert!(["ok", "working"].contains(&destination["health"].as_str().unwrap()), "{status}");
    assert_eq!(destination["since"], Value::Null, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_is_one_line_and_is_shown_with_both_times() {
    let world = World::start().await;
    world.production.set(|settings| settings.clock_ahead = time::Duration::hours(-3));
    let names: Vec<String> = (0..6).map(|number| format!("n{number}.example.com")).collect();
    let settings = world.settings().with("DOMAINS", names.join(","));
    let (mut daemon, port) = settings.start_seen().await;
    let line = daemon.says("certificates not done").await;
    assert_eq!(line["certificates"], 6, "{}", daemon.text());
    daemon.passes(2).await;
    let told = warnings(&daemon, "the clock of this machine");
    assert_eq!(told, 1, "{}", daemon.text());
    let status = shown(&port).await;
    let clock = part(&status, "clock");
    assert_eq!(clock["health"], "attention");
    let detail = clock["detail"].as_str().unwrap();
    assert!(detail.contains(" here, ") && detail.contains(" there)"), "{detail}");
    for time in ["here", "at_ca"] {
        assert!(status["clock"][time].is_string(), "{status}");
    }
    let metrics = look(&port, "/metrics").await.body;
    let ahead = metrics.lines().find_map(|line| {
        line.strip_prefix("rancher_lets_encrypt_clock_ahead_seconds ")?.parse::<f64>().ok()
    });
    // Answers tell whole seconds.
    assert!((10_790.0..10_810.0).contains(&ahead.unwrap()), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_a_little_off_is_shown_and_holds_nothing_up() {
    let world = World::start().await;
    world.production.set(|settings| settings.clock_ahead = time::Duration::minutes(10));
    let (mut daemon, port) = world.settings().with("DOMAINS", A).start_seen().await;
    world.pushed(A).await;
    daemon.settles().await;
    let status = shown(&port).await;
    assert!(part(&status, "clock")["detail"].as_str().unwrap().contains("behind the authority's"));
    assert_eq!(warnings(&daemon, "the clock of this machine"), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_account_is_refused_for_is_one_line_for_all_certificates() {
    let world = World::start().await;
    let refused = Problem::new(403, "unauthorized", "not for you").response();
    world.production.faults().add("new-account", u32::MAX, What::Answer(refused));
    let names: Vec<String> = (0..6).map(|number| format!("n{number}.example.com")).collect();
    let mut daemon = world.settings().with("DOMAINS", names.join(",")).start();
    let line = daemon.says("certificates not done").await;
    assert_eq!(line["certificates"], 6, "{}", daemon.text());
    daemon.passes(2).await;
    assert_eq!(warnings(&daemon, "not for you"), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_gone_is_made_again_in_one_line() {
    let world = World::start().await;
    let names: Vec<String> = (0..6).map(|number| format!("n{number}.example.com")).collect();
    let gone = Problem::new(400, "accountDoesNotExist", "who are you").response();
    world.production.faults().add("new-order", 6, What::Answer(gone));
    let mut daemon = world.settings().with("DOMAINS", names.join(",")).start();
    daemon.says("account unknown to the authority, made again with the same key; its orders are gone with it").await;
    for name in &names {
        world.pushed(name).await;
    }
    daemon.settles().await;
    let told = warnings(&daemon, "account unknown to the authority");
    assert_eq!(told, 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_job_just_came_to_is_shown_before_the_next_pass() {
    let world = World::start().await;
    world.breaks(A);
    let settings = world.settings().with("LOOP_TIME", "3600").with("DOMAINS", A);
    let (mut daemon, port) = settings.start_seen().await;
    daemon.says("certificate not done").await;
    let status = shown(&port).await;
    let certificate = &status["certificates"][0];
    assert_eq!(certificate["health"], "attention", "{status}");
    assert_eq!(certificate["action"], "Wait");
    assert!(certificate["problem"]["what"].as_str().unwrap().contains("validation of"), "{status}");
    assert_eq!(status["needs_attention"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_address_the_daemon_works_and_serves_the_page_once_it_is_free() {
    let world = World::start().await;
    // One of the ports that are nobody's, so that nothing takes it when it is free.
    let port = Port::claim();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = world.settings().with("DOMAINS", A).with("LISTEN", address.clone());
    let mut daemon = settings.start();
    let line = daemon
        .says("no page: the address cannot be listened on, tried again: free it or change LISTEN")
        .await;
    assert_eq!((line["level"].as_str(), line["listen"].as_str()), (Some("WARN"), Some(&*address)));
    world.pushed(A).await;
    daemon.settles().await;
    drop(taken);
    daemon.says("page served").await;
    let status = shown(&port).await;
    assert_eq!(part(&status, "page")["health"], "ok");
    assert_eq!(status["health"], "ok", "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_with_a_ca_of_their_own_are_told() {
    let world = World::start().await;
    world.breaks(A);
    let tls = certs::server_config(&[]);
    let receiver = Receiver::start_over_tls(tls.config).await.unwrap();
    std::fs::write(world.path("people-ca.pem"), &tls.root_pem).unwrap();
    let settings = world.settings().with("DOMAINS", A);
    let settings = settings.with("NOTIFY_URL", receiver.url("hook"));
    let settings = settings.with("HEARTBEAT_URL", receiver.url("beat"));
    let mut stranger = settings.clone().start();
    let line = stranger.says("notice not delivered, tried again").await;
    assert!(line["error"].as_str().unwrap().contains("certificate"), "{line}");
    stranger.stop().await;
    let file = world.path("people-ca.pem");
    let daemon = settings.with("NOTIFY_CA_FILE", file.to_str().unwrap()).start();
    let taken = daemon.brings("a notice", receiver.takes(1)).await;
    assert_eq!(taken[0].json()["kind"], "failing");
    assert!(!receiver.faults().seen().is_empty());
}

//! Settings as a whole process takes them, its health page, and what never leaves it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

use http::Method;
use rancher_lets_encrypt::config::ANCESTORS;
use rancher_lets_encrypt::config::Kind;
use rancher_lets_encrypt::config::SETTINGS;
use sandbox::faults::What;
use sandbox::parts::port::Port;
use sandbox::rancher::service::ServiceSpec;
use sandbox::rancher::settings::Availability;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Daemon;
use crate::support::LABEL;
use crate::support::Settings;
use crate::support::World;
use crate::support::daemon::command;
use crate::support::guarded;
use crate::support::look::look;
use crate::support::platform::add;
use crate::support::platform::answer;
use crate::support::platform::http_client;
use crate::support::platform::self_signed;
use crate::support::platform::status;

mod secrets;

async fn output(settings: &Settings, arguments: &[&str]) -> Output {
    let mut command = command(settings);
    guarded("the program", command.args(arguments).output()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_settings_end_the_start_with_every_fault_and_no_secret() {
    let world = World::start().await;
    let missing = world.path("missing.pem");
    let missing = missing.to_str().unwrap();
    let booleans = "one of true, false, yes, no, 1, 0";
    // What is accepted; and whether the value is shown, which may hold a secret in some.
    let wrong = [
        ("STAGING", "prod", booleans, true),
        ("DYNAMIC_CONFIG", "maybe", booleans, true),
        ("LOOP_TIME", "0", "whole seconds from 1 to 86400", true),
        ("CONNECT_TIMEOUT", "-1", "whole seconds from 1 to 300", true),
        ("CONCURRENCY", "many", "a whole number from 1 to 100", true),
        ("LISTEN", "everywhere", "an IP address with a port, like 0.0.0.0:8080, or off", true),
        ("SELF_CHECK", "sometimes", "one of require, warn, off", true),
        ("HOST_CHECK_PORT", "70000", "a whole number from 1 to 65535", true),
        ("SELF_CHECK_ADDRESS", "a b", "an IP address or a host name, without port", true),
        ("REPLACE_FOREIGN", "yes", "one of due, never, always", true),
        ("CA_LIMITS", "some", "one of auto, letsencrypt, none", true),
        ("RENEW_BEFORE_DAYS", "-3", "a whole number from 1 to 3650", true),
        ("LETSENCRYPT_ROOTDIR", "relative", "an absolute path", true),
        ("CERTBOT_WEBROOT", "relative", "an absolute path", true),
        ("CERTBOT_EMAIL", "nobody", "one plain mail address, or nothing", true),
        ("RANCHER_CA_FILE", "relative", "an absolute path", true),
        (
            "ACME_CA_FILE",
            missing,
            "a file of certificates as PEM that can be read: No such file",
            true,
        ),
        ("ACME_DIRECTORY", "http://insecure.test/directory", "an https URL with a host", true),
        (
            "CATTLE_URL",
            "http://someone:top-secret@rancher.test/v1",
            "a URL without user name and password",
            false,
        ),
        (
            "RANCHER_METADATA_URL",
            "http://someone:top-secret@metadata.test",
            "a URL without user name and password",
            false,
        ),
        (
            "ACME_STAGING_DIRECTORY",
            "ftp://someone:top-secret@ca.test/directory",
            "an https URL with a host",
            false,
        ),
        ("NOTIFY_URL", "hooks.test/top-secret", "an http or https URL", false),
        ("NOTIFY_FORMAT", "xml", "one of json, text", true),
        ("NOTIFY_CA_FILE", "relative", "an absolute path", true),
        ("HEARTBEAT_URL", "top-secret", "an http or https URL", false),
        ("LOG", "==", "a tracing filter, like info, debug", true),
        ("LOG_FORMAT", "xml", "one of text, json", true),
    ];
    let mut settings =
        world.settings().with("CATTLE_ACCESS_KEY", "top-secret").with("CATTLE_SECRET_KEY", "");
    for (name, value, ..) in wrong {
        settings = settings.with(name, value);
    }
    let output = output(&settings, &[]).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    for (name, value, accepted, is_shown) in wrong {
        let shown = if is_shown { format!("=`{value}`") } else { String::new() };
        let line = format!("\n  {name}{shown}: {accepted}");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains("\n  CATTLE_SECRET_KEY: not set"), "{text}");
    assert!(text.starts_with(&format!("{} setting(s)", wrong.len() + 1)), "{text}");
    assert!(!text.contains("secret@") && !text.contains("top-secret"), "{text}");
    assert_eq!(output.stdout, b"", "nothing was started");
    assert_eq!(std::fs::read_dir(world.store()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_environment_is_told_what_a_container_needs() {
    let world = World::start().await;
    let mut settings = world.settings();
    let names: Vec<String> = settings.vars().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        settings = settings.without(&name);
    }
    let output = output(&settings, &[]).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    for part in [
        "CATTLE_URL",
        "CATTLE_ACCESS_KEY",
        "CATTLE_SECRET_KEY",
        "io.rancher.container.create_agent: 'true'",
        "io.rancher.container.agent.role: environment",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_of_the_ancestors_are_accepted_with_a_line_each() {
    let world = World::start().await;
    let mut settings = world.settings().with("DOMAINS", "a.example.com");
    for (name, _) in ANCESTORS {
        settings = settings.with(name, "5");
    }
    let mut daemon = settings.start();
    world.pushed("a.example.com").await;
    daemon.settles().await;
    for (name, instead) in ANCESTORS {
        let told = daemon.with(&format!("\"{name} has no effect"));
        assert_eq!(told.len(), 1, "{name}: {}", daemon.text());
        assert!(told[0].to_string().contains(instead), "{told:?}");
    }
    assert_eq!(daemon.count("setting without effect"), ANCESTORS.len());
}

/// Where each text stands, one after the other.
fn in_order(whole: &str, texts: impl IntoIterator<Item = String>) {
    let mut rest = whole;
    for text in texts {
        let Some(at) = rest.find(&text) else { panic!("{text} does not come next in {whole}") };
        rest = &rest[at + text.len()..];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_check_config_and_page_have_every_setting_of_the_table() {
    let world = World::start().await;
    let settings = world
        .settings()
        .with("NOTIFY_URL", "https://hooks.test/very-secret")
        .with("HEARTBEAT_URL", "https://hooks.test/very-secret");
    let said = async |arguments: &[&str]| {
        let output = output(&settings, arguments).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help = said(&["--help"]).await;
    let rows = SETTINGS.iter().map(|setting| {
        let row = "\n  {} (default: {})\n      {}\n";
        let row = row.replacen("{}", setting.name, 1).replacen("{}", setting.default, 1);
        row.replacen("{}", setting.meaning, 1).replace('`', "")
    });
    in_order(&help, rows);

    // Of two that mean the same, the one that is in force.
    let own = SETTINGS.iter().filter(|setting| !matches!(setting.kind, Kind::Same(_)));
    let own: Vec<&str> = own.map(|setting| setting.name).collect();
    let text = said(&["check-config"]).await;
    let first = text.lines().filter_map(|line| line.split(' ').next());
    assert_eq!(first.take(own.len()).collect::<Vec<_>>(), own, "{text}");
    let json: Value = serde_json::from_str(&said(&["check-config", "--json"]).await).unwrap();
    let shown = json["settings"].as_object().unwrap();
    let names: BTreeSet<&str> = shown.keys().map(String::as_str).collect();
    assert_eq!(names, own.iter().copied().collect());

    let (_daemon, port) = settings.clone().start_seen().await;
    let page = look(&port, "/").await.body;
    in_order(&page, own.iter().map(|name| format!("<code>{name}</code>")));
    for shown in [text, json.to_string(), page] {
        assert!(!shown.contains("very-secret"), "{shown}");
    }
}

/// An address of this machine that no other test, in this process or another, listens on.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    ([127, 1 + high % 250, low, next], 8080).into()
}

async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    guarded("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_shown_where_listen_says() {
    let world = World::start().await;
    let address = own_address();
    let settings =
        world.settings().with("LISTEN", address.to_string()).with("DOMAINS", "a.example.com");
    let health = async || output(&settings, &["healthcheck"]).await;
    assert_eq!(health().await.status.code(), Some(1), "nobody is there");

    let mut daemon = settings.clone().start();
    daemon.says("starting").await;
    let answer =
        raw(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // As Rancher's health check asks.
    let answer = raw(address, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let answer = raw(address, "GET /secret HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 404"), "{answer}");
    let answer = raw(address, "POST /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 405"), "{answer}");
    assert_eq!(health().await.status.code(), Some(0));
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(health().await.status.code(), Some(0));

    let (status, _) = daemon.stop().await;
    assert!(status.success());
    let output = health().await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address.to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_well_while_rancher_metadata_and_authority_are_not() {
    let world = World::start().await;
    let address = own_address();
    world.rancher.close_api().await;
    world.rancher.metadata_is(Availability::Stalls).await.unwrap();
    let mut daemon = world.settings().with("LISTEN", address.to_string()).start();
    daemon.passes(1).await;
    let answer = raw(address, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_of_the_machine_is_asked_at_the_local_one() {
    let world = World::start().await;
    let port = Port::claim();
    let number = port.number();
    for listen in [format!("0.0.0.0:{number}"), format!("[::1]:{number}")] {
        let settings = world.settings().with("LISTEN", listen);
        let mut daemon = settings.clone().start();
        daemon.says("starting").await;
        assert_eq!(output(&settings, &["healthcheck"]).await.status.code(), Some(0));
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_listens_when_listen_is_off() {
    let world = World::start().await;
    let settings = world.settings().with("DOMAINS", "a.example.com");
    let _daemon = settings.clone().start();
    world.pushed("a.example.com").await;
    let output = output(&settings, &["healthcheck"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("LISTEN is off"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_are_text_unless_asked_for_otherwise() {
    let world = World::start().await;
    let settings = world
        .settings()
        .without("LOG_FORMAT")
        .with("LOG", "")
        .with("RUST_LOG", "warn,rancher_lets_encrypt=info")
        .with("DOMAINS", "a.example.com");
    let mut daemon = settings.start();
    world.pushed("a.example.com").await;
    let line = daemon.mentions("certificate at Rancher").await;
    let line = line.as_str().expect("text, not JSON");
    assert!(line.contains("INFO") && !line.contains('\u{1b}'), "{line}");
    assert_eq!(daemon.with("DEBUG").len(), 0);
}

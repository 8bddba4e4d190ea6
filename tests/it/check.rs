//! `check NAME` without any installed program: bad words on the command line, and name servers that refuse.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::process::Output;
use std::sync::Arc;
use std::sync::Mutex;

use rancher_lets_encrypt::config::Config;
use rancher_lets_encrypt::core::names::DomainName;
use rancher_lets_encrypt::core::resource::Http01;
use rancher_lets_encrypt::core::resource::Token;
use rancher_lets_encrypt::disk::RealDisk;
use rancher_lets_encrypt::ports::Solver;
use rancher_lets_encrypt::store::Store;
use rancher_lets_encrypt::view::check::Preflight;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::support::Settings;
use crate::support::World;
use crate::support::daemon::command;
use crate::support::guarded;

const NAME: &str = "a.example.com";

/// What a check has printed.
pub(crate) struct Checked {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Checked {
    pub(crate) async fn run(settings: &Settings, arguments: &[&str]) -> Self {
        let mut command = command(settings);
        let running = command.arg("check").args(arguments).output();
        let Output { status, stdout, stderr } = guarded("the check", running).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// The answer as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|_| panic!("{}{}", self.stdout, self.stderr))
    }

    /// The steps about something: grade, what is said, what mends it.
    pub(crate) fn steps(&self, subject: &str) -> Vec<(String, String, String)> {
        let json = self.json();
        let steps = json["steps"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let steps = steps.filter(|step| step["subject"] == subject);
        steps.map(|step| (text(&step["grade"]), text(&step["says"]), text(&step["mend"]))).collect()
    }

    /// Shows that there is one step about something, with this grade and these words.
    #[track_caller]
    pub(crate) fn has(&self, subject: &str, grade: &str, says: &str, mend: &str) {
        let steps = self.steps(subject);
        let is_it = |step: &&(String, String, String)| {
            step.0 == grade && step.1.contains(says) && step.2.contains(mend)
        };
        assert_eq!(steps.iter().filter(is_it).count(), 1, "{}", self.stdout);
    }
}

/// A name server that answers every question with one code and no record.
async fn refusing(code: u8) -> String {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            // The question comes back as an answer (RFC 1035, section 4.1.1).
            packet[2] |= 0x80;
            packet[3] = 0x80 | code;
            socket.send_to(&packet[..length], from).await.unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_name_ends_with_the_rule_that_it_breaks() {
    let world = World::start().await;
    for (name, rule) in [
        ("*.example.com", "a wildcard name needs DNS-01"),
        ("192.0.2.1", "an IP address cannot be validated here"),
        ("localhost", "at least one dot"),
        ("a_b.example.com", "no underscore"),
        ("http://a.example.com/", "only letters, digits, hyphens and dots"),
        ("co.uk", "a public suffix"),
    ] {
        let checked = Checked::run(&world.settings(), &[name]).await;
        assert_eq!((checked.status, checked.stdout.as_str()), (64, ""), "{name}");
        assert!(checked.stderr.contains(rule), "{}", checked.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_name_server_or_setting_ends_with_what_is_accepted() {
    let world = World::start().await;
    let checked = Checked::run(&world.settings(), &[NAME, "--dns", "dns.test"]).await;
    assert_eq!(checked.status, 64);
    assert!(checked.stderr.contains("like 1.1.1.1"), "{}", checked.stderr);
    let settings = world.settings().with("STAGING", "prod");
    let checked = Checked::run(&settings, &[NAME]).await;
    assert_eq!(checked.status, 64);
    assert!(checked.stderr.contains("STAGING"), "{}", checked.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_of_a_name_server_to_say_nothing_is_told_apart() {
    let world = World::start().await;
    let settings = world.settings().without("SELF_CHECK_ADDRESS");
    for (code, says, mend) in [
        (0, "there is no such record", "make an A record for a.example.com"),
        (2, "(SERVFAIL)", "DNSSEC"),
        (3, "does not exist (NXDOMAIN)", "make an A record for a.example.com"),
        (5, "refuses to say", "must answer everybody"),
    ] {
        let server = refusing(code).await;
        let checked = Checked::run(&settings, &[NAME, "--json", "--dns", &server]).await;
        assert_eq!(checked.status, 1, "{}", checked.stdout);
        checked.has("a", "fail", says, mend);
        // What is not there allows everybody, what could not be read nobody.
        let caa = if matches!(code, 0 | 3) { "ok" } else { "fail" };
        checked.has("caa", caa, "", "");
        assert_eq!(checked.steps("fetch"), []);
    }
    assert!(!world.webroot().join(".well-known").exists(), "no token was needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_is_not_there_is_told_as_such() {
    let world = World::start().await;
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = silent.local_addr().unwrap().to_string();
    let settings = world.settings().with("CONNECT_TIMEOUT", "1");
    let settings = settings.without("SELF_CHECK_ADDRESS");
    let checked = Checked::run(&settings, &[NAME, "--json", "--dns", &server]).await;
    assert_eq!(checked.status, 1);
    checked.has("a", "fail", "does not answer", "--dns");
}

/// A challenge folder whose writes go on by themselves when nobody waits for them any more.
#[derive(Default)]
struct Slow {
    published: Arc<Mutex<BTreeMap<Token, String>>>,
    begun: Notify,
    /// Lets the write end.
    go: Arc<Notify>,
    ended: Arc<Notify>,
}

impl Solver for Slow {
    fn supports(&self, _name: &DomainName) -> bool {
        true
    }

    async fn present(&self, challenge: &Http01) -> io::Result<()> {
        let Http01 { token, key_authorization, .. } = challenge.clone();
        let (published, go, ended) = (self.published.clone(), self.go.clone(), self.ended.clone());
        let writing = tokio::spawn(async move {
            go.notified().await;
            published.lock().unwrap().insert(token, key_authorization);
            ended.notify_one();
        });
        self.begun.notify_one();
        writing.await.map_err(io::Error::other)
    }

    async fn verify(&self, _: &DomainName, _: &Http01) -> Result<(), String> {
        Ok(())
    }

    async fn clean_up(&self, token: &Token) -> io::Result<()> {
        self.published.lock().unwrap().remove(token);
        Ok(())
    }

    async fn presented(&self) -> io::Result<Vec<(Token, String)>> {
        Ok(self.published.lock().unwrap().clone().into_iter().collect())
    }
}

#[tokio::test]
async fn a_check_that_is_stopped_while_it_publishes_leaves_no_token() {
    // Somebody else may have installed it.
    drop(rustls::crypto::ring::default_provider().install_default());
    let world = World::start().await;
    let vars = [
        ("CATTLE_URL", "http://rancher.test:8080/v1"),
        ("CATTLE_ACCESS_KEY", "access"),
        ("CATTLE_SECRET_KEY", "secret"),
        // With it a token is published although DNS leads nowhere.
        ("SELF_CHECK_ADDRESS", "127.0.0.1"),
    ];
    let vars = vars.map(|(name, value)| (name.into(), value.into()));
    let config = Config::from_vars(vars, &|path| std::fs::read(path)).unwrap();
    let store =
        Arc::new(Store::new(Arc::new(RealDisk::default()), &world.store(), &world.webroot()));
    let slow = Slow::default();
    let server = refusing(3).await;
    let preflight = Preflight::new(&config, &slow, &store, NAME, Some(&server)).unwrap();
    let (stopped, stop) = tokio::sync::oneshot::channel();
    let stop = async { drop(stop.await) };
    let check = preflight.check(OffsetDateTime::UNIX_EPOCH, stop);
    let writing = async {
        slow.begun.notified().await;
        stopped.send(()).unwrap();
        // Whoever does not wait for the write takes its token away now.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        slow.go.notify_one();
        slow.ended.notified().await;
    };
    let (report, ()) = guarded("the check to end", async { tokio::join!(check, writing) }).await;
    assert!(report.is_none());
    assert_eq!(slow.presented().await.unwrap(), []);
}

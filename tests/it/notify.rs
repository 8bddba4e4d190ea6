//! People hear of trouble long before expiry, with the reason and the next step, once.

use sandbox::authority::problem::Problem;
use sandbox::faults::Gate;
use sandbox::faults::What;
use sandbox::parts::port::Port;
use sandbox::receiver::Message;
use sandbox::receiver::Receiver;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Daemon;
use crate::support::Settings;
use crate::support::World;
use crate::support::guarded;

const A: &str = "a.example.com";
const B: &str = "b.example.com";
const SECRET: &str = "very-secret-hook";

/// A world with somebody who is told.
struct Scene {
    world: World,
    receiver: Receiver,
}

impl Scene {
    async fn start() -> Self {
        Self { world: World::start().await, receiver: Receiver::start().await.unwrap() }
    }

    fn settings(&self, domains: &str) -> Settings {
        let settings = self.world.settings().with("DOMAINS", domains);
        settings.with("NOTIFY_URL", self.receiver.url(SECRET))
    }

    fn daemon(&self, domains: &str) -> Daemon {
        self.settings(domains).start()
    }

    /// The notices up to the one with this number.
    async fn told(&self, daemon: &Daemon, count: usize) -> Vec<Value> {
        let taken = daemon.brings("a notice", self.receiver.takes(count)).await;
        taken.iter().map(Message::json).collect()
    }

    /// What stands in the outbox.
    fn outbox(&self) -> Value {
        let text = std::fs::read_to_string(self.world.own("outbox.json")).unwrap_or_default();
        assert!(!text.contains(SECRET), "{text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits until the outbox on the disk is as it should be.
    async fn until_outbox(&self, daemon: &mut Daemon, is: impl Fn(&Value) -> bool) {
        while !is(&self.outbox()) {
            daemon.passes(0).await;
        }
    }
}

fn kinds(told: &[Value]) -> Vec<(&str, &str)> {
    told.iter()
        .map(|notice| (notice["kind"].as_str().unwrap(), notice["title"].as_str().unwrap()))
        .collect()
}

async fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    guarded(path, reading).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_told_once_over_passes_and_restarts_and_so_is_its_end() {
    let scene = Scene::start().await;
    scene.world.breaks(A);
    let mut daemon = scene.daemon(A);
    let told = scene.told(&daemon, 1).await;
    let text = told[0]["text"].as_str().unwrap();
    assert!(text.starts_with("a.example.com fails\nvalidation of a.example.com failed"), "{text}");
    assert!(text.contains("\nWhat to do: "), "{text}");
    assert!(text.contains("\nThere is no certificate yet"), "{text}");
    assert!(text.contains("\nNext try: Issue, at 20"), "{text}");
    assert_eq!(told[0]["certificate"], A);
    assert_eq!(told[0]["severity"], "warning");
    assert_eq!(told[0]["id"], 1);
    assert!(told[0]["at"].as_str().unwrap().ends_with('Z'));
    let taken = scene.receiver.taken();
    assert_eq!(taken[0].header("content-type"), "application/json");
    assert_eq!(taken[0].path, format!("/{SECRET}"));
    for _ in 0..2 {
        daemon.passes(2).await;
        let (_, text) = daemon.stop().await;
        assert!(!text.contains(SECRET), "{text}");
        daemon = scene.daemon(A);
    }
    // It fails again, in other words: a minute is over, or it seems so.
    daemon.passes(1).await;
    daemon.stop().await;
    scene.world.end_waits();
    let mut daemon = scene.daemon(A);
    daemon.says("certificate not done").await;
    daemon.passes(1).await;
    daemon.stop().await;
    scene.world.mends(A);
    scene.world.end_waits();
    let daemon = scene.daemon(A);
    scene.world.pushed(A).await;
    let told = scene.told(&daemon, 2).await;
    let expected =
        [("failing", "a.example.com fails"), ("recovered", "a.example.com has recovered")];
    assert_eq!(kinds(&told), expected);
    let text = told[1]["text"].as_str().unwrap();
    assert!(text.contains("\nBefore: validation of"), "{text}");
    assert!(text.contains("(89 days left)"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_person_can_mend_is_told_with_the_address_of_the_authority() {
    let address = "https://portal.test/unpause?jwt=abc";
    let detail = format!("temporarily prevented from requesting certificates. Visit: {address}");
    let paused = Problem::new(429, "rateLimited", detail);
    let action = Problem::new(403, "userActionRequired", "agree to the new terms");
    let action = action.instance(address);
    let cases = [
        (paused, "paused", "a.example.com is paused by the CA"),
        (action, "needs-person", "a.example.com needs a person"),
    ];
    for (problem, kind, title) in cases {
        let scene = Scene::start().await;
        let faults = scene.world.production.faults();
        faults.add("new-order", 1, What::Answer(problem.response()));
        let daemon = scene.daemon(A);
        let told = scene.told(&daemon, 1).await;
        assert_eq!(kinds(&told), [(kind, title)]);
        assert_eq!(told[0]["url"], address);
        let text = told[0]["text"].as_str().unwrap();
        assert!(text.contains(address), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_delivered_waits_on_the_disk_for_the_next_start() {
    let scene = Scene::start().await;
    let faults = scene.receiver.faults();
    faults.add("notice", u32::MAX, What::status(503));
    scene.world.breaks(A);
    let mut daemon = scene.daemon(A);
    let line = daemon.says("notice not delivered, tried again").await;
    assert_eq!(line["error"], "answered 503");
    let is_kept = |outbox: &Value| outbox["queue"][0]["tries"] == 1;
    scene.until_outbox(&mut daemon, is_kept).await;
    daemon.stop().await;
    assert!(scene.receiver.taken().is_empty());
    faults.clear();
    let mut daemon = scene.daemon(A);
    let told = scene.told(&daemon, 1).await;
    assert_eq!(kinds(&told), [("failing", "a.example.com fails")]);
    let is_empty = |outbox: &Value| outbox["queue"] == Value::Array(Vec::new());
    scene.until_outbox(&mut daemon, is_empty).await;
    assert!(!daemon.text().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_writing_down_and_delivering_loses_nothing() {
    let scene = Scene::start().await;
    let gate = Gate::new();
    let faults = scene.receiver.faults();
    faults.add("notice", 1, What::Hold(gate.clone()));
    scene.world.breaks(A);
    let daemon = scene.daemon(A);
    daemon.brings("a notice on its way", gate.reached(1)).await;
    daemon.kill().await;
    assert_eq!(scene.outbox()["queue"][0]["id"], 1);
    let daemon = scene.daemon(A);
    let told = scene.told(&daemon, 1).await;
    assert_eq!(kinds(&told), [("failing", "a.example.com fails")]);
    assert_eq!(told[0]["id"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_answers_delays_no_certificate() {
    let scene = Scene::start().await;
    let gate = Gate::new();
    let faults = scene.receiver.faults();
    for endpoint in ["notice", "heartbeat"] {
        faults.add(endpoint, u32::MAX, What::Hold(gate.clone()));
    }
    scene.world.breaks(A);
    let settings = scene.settings(A).with("CONNECT_TIMEOUT", "300");
    let settings = settings.with("HEARTBEAT_URL", scene.receiver.url("beat"));
    let mut daemon = settings.start();
    daemon.brings("both on their way", gate.reached(2)).await;
    scene.world.announce("shop", "web", B);
    scene.world.pushed(B).await;
    daemon.passes(2).await;
    // Never more than one of each.
    assert_eq!(faults.seen().len(), 2);
    let (status, _) = daemon.stop().await;
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_refuses_is_told_once_in_the_log_and_shown() {
    let scene = Scene::start().await;
    let port = Port::claim();
    let faults = scene.receiver.faults();
    faults.add("notice", u32::MAX, What::status(404));
    scene.world.breaks(A);
    let settings = scene.settings(A);
    let mut daemon = settings.with("LISTEN", format!("127.0.0.1:{}", port.number())).start();
    let refused = "notice refused, tried again daily: check NOTIFY_URL and NOTIFY_FORMAT";
    let line = daemon.says(refused).await;
    assert_eq!(line["error"], "answered 404");
    let is_kept = |outbox: &Value| outbox["queue"][0]["tries"] == 1;
    scene.until_outbox(&mut daemon, is_kept).await;
    daemon.passes(2).await;
    let shown = get(port.number(), "/status.json").await;
    assert!(!shown.contains(SECRET), "{shown}");
    let body = shown.split_once("\r\n\r\n").unwrap().1;
    let status: Value = serde_json::from_str(body).unwrap();
    let parts = status["dependencies"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == "notices").unwrap();
    assert_eq!(part["health"], "attention");
    assert_eq!(part["detail"], "1 waits to be delivered; not delivered: answered 404");
    assert_eq!(faults.count("notice"), 1);
    assert_eq!(daemon.count(refused), 1);
    assert!(!daemon.text().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ntfy_is_told_in_plain_text_with_headers() {
    let scene = Scene::start().await;
    let address = "https://portal.test/unpause";
    let detail = format!("prevented from requesting certificates. Visit: {address}");
    let paused = Problem::new(429, "rateLimited", detail).response();
    let faults = scene.world.production.faults();
    faults.add("new-order", 1, What::Answer(paused));
    let daemon = scene.settings(A).with("NOTIFY_FORMAT", "text").start();
    let taken = daemon.brings("a notice", scene.receiver.takes(1)).await;
    assert_eq!(taken[0].header("title"), "a.example.com is paused by the CA");
    assert_eq!(taken[0].header("priority"), "4");
    assert_eq!(taken[0].header("tags"), "warning,paused");
    assert_eq!(taken[0].header("click"), address);
    assert_eq!(taken[0].header("content-type"), "text/plain; charset=utf-8");
    assert!(taken[0].body.contains("prevented from requesting"), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_wants_notices_later_hears_only_what_is_new() {
    let scene = Scene::start().await;
    scene.world.breaks(A);
    let mut daemon = scene.settings(A).without("NOTIFY_URL").start();
    let is_told = |outbox: &Value| !outbox["notified"]["certificates"][A]["notified"].is_null();
    scene.until_outbox(&mut daemon, is_told).await;
    assert_eq!(scene.outbox()["queue"], Value::Array(Vec::new()));
    daemon.stop().await;
    scene.world.breaks(B);
    let daemon = scene.daemon(&format!("{A},{B}"));
    let told = scene.told(&daemon, 1).await;
    assert_eq!(kinds(&told), [("failing", "b.example.com fails")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_outbox_is_set_aside_and_holds_nothing_up() {
    let scene = Scene::start().await;
    scene.world.breaks(A);
    std::fs::create_dir_all(scene.world.own("")).unwrap();
    std::fs::write(scene.world.own("outbox.json"), "{\"queue\": 7").unwrap();
    let daemon = scene.daemon(&format!("{A},{B}"));
    scene.world.pushed(B).await;
    let told = scene.told(&daemon, 1).await;
    assert_eq!(kinds(&told), [("failing", "a.example.com fails")]);
    assert!(scene.world.own("outbox.json.broken").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_heart_beats_after_each_pass_of_the_instance_that_works() {
    let scene = Scene::start().await;
    let faults = scene.receiver.faults();
    let beats = |path: &'static str| {
        let seen = faults.seen();
        seen.iter().filter(|seen| seen.path == path).count()
    };
    let settings = scene.world.settings().with("DOMAINS", A);
    let with = |path| {
        let settings = settings.clone();
        settings.with("HEARTBEAT_URL", scene.receiver.url(path))
    };
    let mut first = with("first").start();
    first.brings("the heart to beat", faults.until(|seen| 3 <= seen.len())).await;
    let passes = first.count("pass ended");
    assert!(beats("/first") <= passes + 1, "{}", first.text());
    let mut second = with("second").start();
    second.says("not started yet").await;
    first.passes(2).await;
    assert_eq!(beats("/second"), 0);
    first.stop().await;
    let is_second = |seen: &[sandbox::faults::Seen]| seen.iter().any(|seen| seen.path == "/second");
    second.brings("the other heart to beat", faults.until(is_second)).await;
    assert!(second.text().contains("pass ended"));
    assert!(faults.seen().iter().all(|seen| seen.method == "GET"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_that_is_not_heard_is_called_once_more_and_told_once() {
    let scene = Scene::start().await;
    let faults = scene.receiver.faults();
    faults.add("heartbeat", 4, What::status(500));
    let settings = scene.world.settings().with("DOMAINS", A);
    let url = scene.receiver.url(SECRET);
    let mut daemon = settings.with("HEARTBEAT_URL", url).start();
    let line = daemon.says("heartbeat not called: check HEARTBEAT_URL").await;
    assert_eq!(line["error"], "answered 500");
    // Told after the second call of the same beat; the next beat may have begun by now.
    assert!(2 <= faults.count("heartbeat"), "{}", daemon.text());
    daemon.says("heartbeat called again").await;
    assert_eq!(daemon.count("heartbeat not called: check HEARTBEAT_URL"), 1);
    assert!(!daemon.text().contains(SECRET));
}

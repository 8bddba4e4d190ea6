//! The command line: what people run by hand, and what scripts read.

use sandbox::parts::port::Port;
use serde_json::Value;
use time::Duration;

use crate::support::Settings;
use crate::support::World;
use crate::support::records::earlier;

const A: &str = "a.example.com";
const B: &str = "b.example.com";

impl World {
    /// Settings for commands: no log among the answers.
    fn commands(&self, domains: &str) -> Settings {
        self.settings().without("LOG").with("DOMAINS", domains)
    }

    /// Every file of the store, with its content.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.store(), self.webroot()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.to_str().unwrap().to_owned();
                if path.is_symlink() {
                    let target = std::fs::read_link(&path).unwrap();
                    files.push((name, target.to_str().unwrap().into()));
                } else if path.is_dir() {
                    files.push((name, Vec::new()));
                    folders.push(path);
                } else {
                    files.push((name, std::fs::read(&path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }

    fn asked_authorities(&self) -> usize {
        self.production.faults().seen().len() + self.staging.faults().seen().len()
    }

    fn writes_at_rancher(&self) -> usize {
        let seen = self.rancher.faults().seen();
        seen.iter().filter(|seen| seen.method != "GET").count()
    }
}

fn row<'a>(status: &'a Value, name: &str) -> &'a Value {
    let rows = status["certificates"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_obtains_what_is_wanted_and_says_that_all_is_well() {
    let world = World::start().await;
    let settings = world.commands(&format!("{A}, {B} www.{B}"));
    let first = settings.runs(&["once"]).await;
    assert_eq!(first.code, 0, "{first:#?}");
    first.says(&["OK: 2 certificates", "STATE", A, B, "renewal "]);
    assert!(first.err.contains("2 issued, 0 failed"), "{first:#?}");
    world.pushed(A).await;
    world.pushed(B).await;
    let second = settings.runs(&["once", "--json"]).await;
    assert_eq!(second.code, 0, "{second:#?}");
    let status = second.json();
    assert_eq!(status["schema"], 1);
    assert_eq!(row(&status, B)["names"], serde_json::json!([B, format!("www.{B}")]));
    assert_eq!(row(&status, B)["health"], "ok");
    assert_eq!(row(&status, B)["origins"], serde_json::json!(["DOMAINS"]));
    assert_eq!(world.issued(A).len(), 1, "nothing is obtained twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_says_what_is_wrong_and_what_to_do_and_ends_with_1() {
    let world = World::start().await;
    world.breaks(A);
    let settings = world.commands(&format!("{A}, {B}"));
    let ran = settings.runs(&["once"]).await;
    assert_eq!(ran.code, 1, "{ran:#?}");
    ran.says(&[
        "1 of 2 certificates needs attention.",
        "what happened: validation of a.example.com failed",
        "what to do:    the name needs an A or AAAA record",
        "next try: Issue",
    ]);
    let status = settings.runs(&["once", "--json"]).await.json();
    let problem = &row(&status, A)["problem"];
    assert_eq!(problem["kind"], "no-address", "{problem}");
    assert_eq!(row(&status, B)["health"], "ok");
    assert_eq!(world.production.validations().len(), 2, "waits hold");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_ends_with_75_while_a_daemon_holds_the_store() {
    let world = World::start().await;
    let daemon = world.daemon(A);
    world.pushed(A).await;
    let ran = world.commands(A).runs(&["once"]).await;
    assert_eq!(ran.code, 75, "{ran:#?}");
    let holder = format!("another instance holds the store: process {} on ", daemon.pid());
    assert!(ran.err.contains(&holder), "{ran:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_shows_what_would_be_done_and_touches_nothing() {
    let world = World::start().await;
    let settings = world.commands(&format!("{A} www.{A}, not_a_name"));
    world.announce("shop", "web", B);
    let before = world.files();
    let plan = settings.runs(&["plan"]).await;
    assert_eq!(plan.code, 0, "{plan:#?}");
    plan.says(&["ACTION", "issue", "a.example.com www.a.example.com", B]);
    plan.says(&["first certificate", "Nothing was changed, and the CA was not asked."]);
    assert_eq!(world.files(), before);
    assert_eq!((world.asked_authorities(), world.writes_at_rancher()), (0, 0));

    // While a daemon runs, too, and about what it has.
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    daemon.stop().await;
    let (before, asked) = (world.files(), world.asked_authorities());
    let writes = world.writes_at_rancher();
    let _daemon = world.settings().with("DOMAINS", A).with("LOOP_TIME", "3600").start();
    let plan = world.commands(&format!("{A} www.{A}")).runs(&["plan", "--json"]).await;
    let row = row(&plan.json(), A).clone();
    assert_eq!(row["action"], "Issue", "{row}");
    assert_eq!(row["reason"], "names changed: it lacks www.a.example.com");
    let now = world.files();
    let of_plan = |files: &[(String, Vec<u8>)]| -> Vec<(String, Vec<u8>)> {
        let is_lock = |name: &str| name.ends_with("/lock");
        files.iter().filter(|(name, _)| !is_lock(name)).cloned().collect()
    };
    assert_eq!(of_plan(&now), of_plan(&before));
    assert_eq!((world.asked_authorities(), world.writes_at_rancher()), (asked, writes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_explain_come_from_the_daemon_or_else_from_the_store() {
    let world = World::start().await;
    let port = Port::claim();
    world.breaks(B);
    let settings = world
        .commands(&format!("{A}, {B}"))
        .with("LISTEN", format!("127.0.0.1:{}", port.number()))
        .with("LOG", "info,rancher_lets_encrypt=debug");
    let mut daemon = settings.clone().start();
    world.pushed(A).await;
    daemon.rests().await;
    let quiet = settings.clone().without("LOG");
    let status = quiet.runs(&["status"]).await;
    assert_eq!(status.code, 1, "{status:#?}");
    status.says(&["1 of 2 certificates needs attention", "by the daemon", A]);
    let explained = quiet.runs(&["explain", "A.Example.com"]).await;
    assert_eq!(explained.code, 0, "{explained:#?}");
    explained.says(&["wanted by", "DOMAINS", "decision", "keep", "none lists it", "obtain at"]);
    let explained = quiet.runs(&["explain", B, "--json"]).await.json();
    assert_eq!(explained["problem"]["kind"], "no-address");
    let unknown = quiet.runs(&["explain", "c.example.com"]).await;
    assert_eq!(unknown.code, 1);
    let known = "no certificate for c.example.com is wanted: it stands neither in DOMAINS nor in a label; \
                 wanted are ";
    assert!(unknown.err.contains(known), "{unknown:#?}");
    let bad = quiet.runs(&["explain", "no such name"]).await;
    assert_eq!(bad.code, 64, "{bad:#?}");
    daemon.stop().await;

    let before = world.files();
    let status = quiet.runs(&["status"]).await;
    assert_eq!(status.code, 1, "{status:#?}");
    status.says(&["No daemon runs here", "validation of b.example.com failed", "waiting"]);
    let explained = quiet.runs(&["explain", A]).await;
    explained.says(&["not asked, because no daemon runs", "until 20"]);
    assert_eq!(world.files(), before, "a look changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_is_asked_for_skips_waits_but_not_the_floor() {
    let world = World::start().await;
    let settings = world.commands(A);
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    let asked = settings.runs(&["renew", A]).await;
    assert_eq!(asked.code, 0, "{asked:#?}");
    asked.says(&["Asked for a new certificate of a.example.com", "At most one certificate"]);
    daemon
        .says("renewal asked for: waits after failures are skipped, the floor and every limit hold")
        .await;
    daemon.mentions("renewal asked for by a person").await;
    daemon.passes(2).await;
    assert_eq!(world.issued(A).len(), 1, "the floor holds");
    daemon.stop().await;

    // A day later.
    world.edit_ledger(|line| {
        if line["event"] == "finalizing" {
            line["at"] = earlier(&line["at"], Duration::hours(25));
        }
    });
    let mut daemon = world.daemon(A);
    daemon.says("renewal that was asked for is done").await;
    daemon.idles().await;
    assert_eq!(world.issued(A).len(), 2);
    world.pushed(A).await;
    daemon.passes(2).await;
    assert_eq!(world.issued(A).len(), 2, "asked for once, done once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_is_asked_for_is_tried_at_once_after_a_failure_and_then_waits_again() {
    let world = World::start().await;
    world.breaks(A);
    let settings = world.commands(A);
    let mut daemon = world.daemon(A);
    daemon.says("certificate not done").await;
    daemon.passes(1).await;
    assert_eq!(world.production.validations().len(), 1);
    let asked = settings.runs(&["renew", A]).await;
    assert_eq!(asked.code, 0, "{asked:#?}");
    daemon
        .says("renewal asked for: waits after failures are skipped, the floor and every limit hold")
        .await;
    daemon.says("job not done").await;
    daemon.passes(2).await;
    assert_eq!(world.production.validations().len(), 2);
    let failed = world.failures("name").pop().unwrap();
    assert_eq!((failed.count, failed.minutes()), (2, 10), "the clock goes on");
    let unknown = settings.runs(&["renew", B]).await;
    assert_eq!(unknown.code, 1, "{unknown:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_checked_and_shown_without_secrets() {
    let world = World::start().await;
    let settings = world
        .commands(&format!("{A}, bad_name"))
        .with("NOTIFY_URL", "https://hooks.test/very-secret");
    let checked = settings.runs(&["check-config"]).await;
    assert_eq!(checked.code, 0, "{checked:#?}");
    checked.says(&["DOMAINS", "left out of DOMAINS: ", "bad_name", "LOOP_TIME"]);
    let json = settings.runs(&["check-config", "--json"]).await;
    assert_eq!(json.json()["settings"]["NOTIFY_URL"], "set");
    let vars: Vec<(&str, &str)> = settings.vars().collect();
    for (name, value) in vars {
        if name.ends_with("_KEY") || name == "NOTIFY_URL" {
            assert!(!format!("{checked:?}{json:?}").contains(value), "{name}");
        }
    }
    assert_eq!(world.rancher.faults().seen().len(), 0, "nobody is asked");
    let bad = settings.with("STAGING", "perhaps").runs(&["check-config"]).await;
    assert_eq!(bad.code, 64, "{bad:#?}");
    assert!(bad.err.contains("STAGING=`perhaps`"), "{bad:#?}");
}

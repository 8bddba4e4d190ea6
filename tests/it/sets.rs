//! The names of a certificate that is served change seldom, and a dead one takes no other with it.

use sandbox::authority::state::State;
use sandbox::rancher::model::Model;
use serde_json::Value;
use time::Duration;
use time::OffsetDateTime;

use crate::support::Daemon;
use crate::support::World;
use crate::support::guarded;
use crate::support::look::look;
use crate::support::records::earlier;

const A: &str = "a.example.com";
const C: &str = "c.example.com";
const GROUP: &str = "a.example.com b.example.com c.example.com";

impl World {
    /// Ends the waits of one kind, as if their time had passed.
    fn end_waits_of(&self, kind: &str) {
        self.edit_ledger(|line| {
            if line["event"] == "failed" && line["subject"]["kind"] == *kind {
                line["until"] = line["at"].clone();
            }
        });
    }

    /// Resolves when the last certificate is at Rancher that was issued for exactly these names.
    async fn covers(&self, daemon: &Daemon, names: &[String]) {
        let what = format!("a certificate for {names:?}");
        let is_issued = |state: &State| state.issued().iter().any(|it| it.names == names);
        daemon.brings(&what, self.production.until(is_issued)).await;
        let issued = self.production.issued();
        let leaf = &issued.iter().rev().find(|it| it.names == names).unwrap().leaf_sha256;
        let is_there = |model: &Model| {
            let held = model.certificate(&names[0]);
            held.is_some_and(|held| held.leaf() == leaf.as_str())
        };
        daemon.brings(&what, self.rancher.until(is_there)).await;
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[expect(clippy::disallowed_methods, reason = "what is on record of tests is dated from here")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_names_that_recover_one_by_one_cost_three_certificates_in_an_hour() {
    let world = World::start().await;
    let names: Vec<String> = (0..8).map(|n| format!("n{n}.example.com")).collect();
    for name in &names[1..] {
        world.breaks(name);
    }
    let domains = names.join(" ");
    let mut daemon = world.daemon(&domains);
    world.covers(&daemon, &names[..1]).await;
    daemon.settles().await;
    drop(daemon.stop().await);

    // The first change is made at once, the others wait for each other.
    for recovered in 2..=8 {
        world.mends(&names[recovered - 1]);
        world.end_waits_of("name");
        let mut daemon = world.daemon(&domains);
        if recovered == 2 {
            world.covers(&daemon, &names[..2]).await;
        } else {
            daemon
                .mentions("the names of a certificate that is served change at once the first time")
                .await;
        }
        daemon.settles().await;
        let text = daemon.kill().await;
        assert_eq!(world.production.issued().len(), 2, "{text}");
    }
    let changes = world.failures("change");
    assert_eq!(changes.last().unwrap().minutes(), 60);

    world.end_waits_of("change");
    let mut daemon = world.daemon(&domains);
    world.covers(&daemon, &names).await;
    daemon.settles().await;
    assert_eq!(world.production.issued().len(), 3, "{}", daemon.text());
    let changes = world.failures("change");
    assert_eq!(changes.last().unwrap().minutes(), 6 * 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_set_wait_an_hour_then_six_then_a_day() {
    let world = World::start().await;
    let mut names = owned(&[A]);
    let mut waits = Vec::new();
    for n in 0..5 {
        let daemon = world.daemon(&names.join(" "));
        world.covers(&daemon, &names).await;
        drop(daemon.stop().await);
        waits.extend(world.failures("change").last().map(|it| it.minutes()));
        world.end_waits_of("change");
        names.push(format!("n{n}.example.com"));
    }
    assert_eq!(waits, [60, 6 * 60, 24 * 60, 24 * 60]);
}

/// In the last quarter of the time to renew, and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_name_of_a_group_takes_no_other_with_it() {
    for (age, is_left_out) in [(75, false), (86, true)] {
        let world = World::start().await;
        world.production.set(|settings| {
            settings.backdate = std::time::Duration::from_hours(24 * age);
        });
        let mut daemon = world.daemon(GROUP);
        world.covers(&daemon, &owned(&[A, "b.example.com", C])).await;
        daemon.settles().await;
        drop(daemon.stop().await);
        world.production.set(|settings| {
            settings.backdate = std::time::Duration::from_hours(1);
        });
        world.came_earlier(Duration::days(age.try_into().unwrap()));
        world.breaks(C);
        let account = world.production.accounts().pop().unwrap().url;
        let subject = serde_json::json!({
            "kind": "name", "directory": world.production.directory_url(), "account": account, "name": C,
        });
        world.waits_until(subject, now() + Duration::HOUR, now());
        world.edit_ledger(|line| {
            if line["event"] == "failed" && line["subject"]["name"] == *C {
                line["failures"] = 3.into();
            }
        });

        let mut daemon = world.daemon(GROUP);
        if is_left_out {
            world.covers(&daemon, &owned(&[A, "b.example.com"])).await;
            daemon.mentions("without c.example.com, which has failed again and again").await;
            drop(daemon.stop().await);
            // Taken back when it works again.
            world.mends(C);
            world.end_waits_of("name");
            let daemon = world.daemon(GROUP);
            let all =
                |state: &State| state.issued().iter().filter(|it| it.names.len() == 3).count() == 2;
            daemon.brings("all three", world.production.until(all)).await;
        } else {
            daemon.passes(2).await;
            assert_eq!(world.production.issued().len(), 1, "{}", daemon.text());
        }
    }
}

impl World {
    /// Lets what was issued have come earlier: on record, and for the floor.
    fn came_earlier(&self, by: Duration) {
        self.edit_ledger(|line| {
            if line["event"] == "finalizing" || line["event"] == "issued" {
                line["at"] = earlier(&line["at"], by);
            }
        });
        let path = self.own("certificates/a.example.com.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut record: Value = serde_json::from_str(&text).unwrap();
        for version in record["versions"].as_array_mut().unwrap() {
            version["stored_at"] = earlier(&version["stored_at"], by);
        }
        std::fs::write(path, record.to_string()).unwrap();
    }
}

/// A renewal is two months away; the name that is left out is tried again in a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_next_is_the_earliest_of_all_everywhere() {
    const NEXT: &str = "c.example.com is tried again";
    let world = World::start().await;
    world.breaks(C);
    let settings = world.settings().with("DOMAINS", GROUP);
    let (mut daemon, port) = settings.clone().start_seen().await;
    world.covers(&daemon, &owned(&[A, "b.example.com"])).await;
    daemon.settles().await;

    let status: Value = serde_json::from_str(&look(&port, "/status.json").await.body).unwrap();
    let next = &status["certificates"][0]["next"];
    assert_eq!(next["what"], NEXT, "{status:#}");
    let at = crate::support::records::moment(&next["at"]);
    assert!(at < now() + Duration::minutes(2), "{next}");
    let page = look(&port, "/").await.body;
    assert!(page.contains(NEXT), "{page}");
    let explained = guarded("explain", settings.without("LOG").runs(&["explain", A])).await;
    explained.says(&[NEXT]);
}

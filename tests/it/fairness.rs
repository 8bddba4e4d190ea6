//! Names that never come to an end, however they do that, keep no other name from its certificate.

use sandbox::authority::settings::challenges::Answered;
use sandbox::authority::settings::challenges::Failing;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::faults::Gate;
use sandbox::faults::Seen;
use sandbox::faults::What;
use sandbox::rancher::model::Model;
use serde_json::Value;

use crate::support::Daemon;
use crate::support::World;
use crate::support::guarded;
use crate::support::look::look;
use crate::support::requests::is_validation;

const GOOD: &str = "good.example.com";
const BAD: &str = "bad.example.com";

fn bad_names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("bad{n}.example.com")).collect()
}

/// With a good one at the end.
fn before_a_good_one(bad: &[String]) -> String {
    format!("{},{GOOD}", bad.join(","))
}

fn is_own_look(seen: &Seen) -> bool {
    seen.endpoint == "challenge" && !is_validation(seen)
}

impl World {
    /// Our own looks at names that begin with `bad` are taken and never answered.
    fn takes_our_looks(&self) -> Gate {
        let gate = Gate::new();
        let is_taken = |seen: &Seen| is_own_look(seen) && seen.subject.starts_with("bad");
        let hold = What::Hold(gate.clone());
        self.web.faults().add_when(is_taken, 0, u32::MAX, hold);
        gate
    }

    /// Resolves when a certificate of a name is at Rancher.
    async fn arrives(&self, daemon: &Daemon, name: &str) {
        let is_there = |model: &Model| model.certificate(name).is_some();
        let what = format!("{name} at Rancher");
        daemon.brings(&what, self.rancher.until(is_there)).await;
    }

    /// A validation that fails leaves its challenge as it is, with the reason.
    fn keeps_failed_challenges(&self, failing: Failing, answered: Answered) {
        self.production.set(|settings| {
            settings.failing = vec![Quirk::new(failing)];
            settings.answered = answered;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_accept_and_never_answer_keep_no_other_from_its_order() {
    let world = World::start().await;
    let gate = world.takes_our_looks();
    let bad = bad_names(40);
    let settings = world.settings().with("CONNECT_TIMEOUT", "100");
    let settings = settings.with("CONCURRENCY", "2");
    let daemon = settings.with("DOMAINS", before_a_good_one(&bad)).start();
    daemon.brings("looks at every bad name", gate.reached(40)).await;
    world.arrives(&daemon, GOOD).await;
    assert_eq!(world.asked("challenge"), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_the_authority_never_answers_keep_no_other_from_its_order() {
    let world = World::start().await;
    let bad = bad_names(6);
    world.production.set(|settings| settings.silent.extend(bad.iter().cloned()));
    let settings = world.settings().with("CONNECT_TIMEOUT", "1");
    let settings = settings.with("CONCURRENCY", "2");
    let daemon = settings.with("DOMAINS", before_a_good_one(&bad)).start();
    world.arrives(&daemon, GOOD).await;
    let alone = "authority left alone after several failures in a row";
    assert_eq!(daemon.count(alone), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_stay_pending_keep_no_other_from_its_order() {
    let kept = [
        (Failing::StayPending, Answered::Validated),
        (
            Failing::TryAgain { step: std::time::Duration::from_secs(600), tries: 7 },
            Answered::AtOnce,
        ),
    ];
    for (failing, answered) in kept {
        let world = World::start().await;
        world.keeps_failed_challenges(failing, answered);
        let bad = bad_names(24);
        for name in &bad {
            world.breaks(name);
        }
        let settings = world.settings().with("CONCURRENCY", "8");
        let mut daemon = settings.with("DOMAINS", before_a_good_one(&bad)).start();
        world.arrives(&daemon, GOOD).await;
        daemon.settles().await;
        assert_eq!(world.asked("challenge"), 25, "{}", daemon.text());
    }
}

/// Those that have failed are due again, and wait for longer; the new one goes first all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_that_was_never_tried_goes_before_those_that_were() {
    let world = World::start().await;
    let bad = bad_names(6);
    for name in &bad {
        world.breaks(name);
    }
    let mut daemon = world.daemon(&bad.join(","));
    for _ in &bad {
        daemon.says("certificate not done").await;
    }
    daemon.rests().await;
    drop(daemon.stop().await);
    world.end_waits();

    let settings = world.settings().with("CONCURRENCY", "1");
    let mut daemon = settings.with("DOMAINS", before_a_good_one(&bad)).start();
    let begun = daemon.says("job begun").await;
    assert_eq!(begun["domain"], GOOD, "{}", daemon.text());
    world.arrives(&daemon, GOOD).await;
}

/// Caddy and step-ca leave it `pending`, OpenBao `processing` (RFC 8555, section 8.2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenge_that_goes_on_with_an_error_is_a_failed_validation() {
    let kept = [
        (Failing::StayPending, Answered::Validated),
        (Failing::StayPending, Answered::AtOnce),
        (
            Failing::TryAgain { step: std::time::Duration::from_secs(600), tries: 7 },
            Answered::AtOnce,
        ),
    ];
    for (failing, answered) in kept {
        let what = format!("{failing:?}, {answered:?}");
        let world = World::start().await;
        world.keeps_failed_challenges(failing, answered);
        world.breaks(BAD);
        let mut minutes = Vec::new();
        for tells in 1..=2 {
            let settings = world.settings().with("DOMAINS", BAD);
            let (mut daemon, port) = settings.start_seen().await;
            let line = daemon.says("certificate not done").await;
            let error = line["error"].as_str().unwrap();
            let is_told = error.contains("validation of bad.example.com failed");
            assert!(is_told, "{what}: {line}");
            daemon.rests().await;
            let status = look(&port, "/status.json").await.body;
            let status: Value = serde_json::from_str(&status).unwrap();
            let problem = &status["certificates"][0]["problem"]["what"];
            let is_shown = problem.to_string().contains("validation of bad");
            assert!(is_shown, "{what}: {status:#}");
            let text = daemon.kill().await;
            assert_eq!(world.asked("challenge"), tells, "{what}: {text}");
            // One before it is told, and for ten seconds at most until the reason is there, or cannot be that of before.
            let looks = world.asked("authorization");
            assert!(looks <= 16 * tells, "{what}: {looks} looks: {text}");
            assert_eq!(world.asked("new-order"), 1, "{what}: {text}");
            minutes.push(world.failures("name").pop().unwrap().minutes());
            world.end_waits();
        }
        assert_eq!(minutes, [1, 10], "{what}");

        // The other authority tries again by itself, in ten minutes.
        if failing != Failing::StayPending {
            continue;
        }
        world.mends(BAD);
        let daemon = world.daemon(BAD);
        world.arrives(&daemon, BAD).await;
        assert_eq!(world.asked("new-order"), 1, "{what}: {}", daemon.text());
    }
}

/// Two certificates with one bad name, whose two looks at it overlap.
const SHARED: &str = "a.example.com bad.example.com, b.example.com bad.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn self_check_of_a_name_in_two_certificates_fails_once_for_one_look() {
    let world = World::start().await;
    world.web.settings(|settings| settings.missing_hosts.push(BAD.to_owned()));
    let gate = world.takes_our_looks();
    let mut daemon = world.daemon(SHARED);
    guarded("both looks", gate.reached(2)).await;
    gate.open();
    daemon.says("job not done").await;
    daemon.says("job not done").await;
    let text = daemon.kill().await;
    let counts: Vec<u64> = world.failures("self-check").iter().map(|it| it.count).collect();
    assert_eq!(counts, [1], "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validation_of_a_name_in_two_certificates_fails_once_for_one_look() {
    let world = World::start().await;
    world.breaks(BAD);
    // Both are told before either has failed.
    world.production.set(|settings| settings.validation_delay = std::time::Duration::from_secs(3));
    let mut daemon = world.daemon(SHARED);
    for name in ["a.example.com", "b.example.com"] {
        world.arrives(&daemon, name).await;
    }
    daemon.settles().await;
    let counts: Vec<u64> = world.failures("name").iter().map(|it| it.count).collect();
    assert_eq!(counts, [1], "{}", daemon.text());
}

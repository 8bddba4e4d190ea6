//! Pushing to a Rancher that is busy, forgets its answers, or stalls.

use sandbox::faults::Gate;
use sandbox::faults::What;
use sandbox::rancher::settings::Activation;
use sandbox::rancher::settings::Conflict;
use sandbox::rancher::settings::Database;

use crate::support::World;
use crate::support::guarded;
use crate::support::platform::add;
use crate::support::platform::bought;
use crate::support::platform::create;
use crate::support::platform::self_signed;
use crate::support::platform::status;

const LIST: &str = "list-certificates";
const GET: &str = "get-certificate";
const CREATE: &str = "create-certificate";
const PUT: &str = "put-certificate";
const WAKE: &str = "wake";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_meets_an_activating_certificate_is_tried_again() {
    let world = World::start().await;
    world.rancher.settings(|settings| {
        settings.activation = Activation::Held;
        settings.conflict = Conflict::Always;
    });
    let id = create(&world.rancher, "a.example.com", &self_signed(&["a.example.com"])).await;
    let mut daemon = world.daemon("a.example.com");
    let refused = world.rancher.faults().until(|seen| {
        let puts = seen.iter().filter(|seen| seen.endpoint == PUT);
        puts.filter(|put| put.status == Some(409)).count() >= 2
    });
    guarded("two conflicts", refused).await;
    world.rancher.settings(|settings| settings.activation = Activation::Reads(1));
    world.pushed("a.example.com").await;
    daemon.settles().await;
    let held = world.rancher.certificates();
    assert_eq!((held.len(), held[0].id.as_str(), held[0].puts), (1, id.as_str(), 1));
    assert_eq!(world.issued("a.example.com").len(), 1);
    assert_eq!(world.rancher.wakes().len(), 1);
    assert_eq!(daemon.count("certificate not done"), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_stays_busy_is_told_and_pushed_later() {
    let world = World::start().await;
    world.rancher.settings(|settings| {
        settings.activation = Activation::Held;
        settings.conflict = Conflict::Always;
    });
    create(&world.rancher, "a.example.com", &self_signed(&["a.example.com"])).await;
    let mut daemon = world.daemon("a.example.com");
    let line = daemon.says("certificate not done").await;
    assert!(line["error"].as_str().unwrap().contains("not pushed to Rancher"), "{line}");
    let wait = world.failures("push").pop().unwrap();
    assert_eq!(wait.failure_kind, "destination-busy", "{wait:?}");
    assert!(wait.detail.contains("409"), "it says what Rancher said: {wait:?}");
    world.rancher.settings(|settings| settings.activation = Activation::Reads(0));
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(world.issued("a.example.com").len(), 1);
    assert_eq!(world.rancher.certificates()[0].puts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_rancher_cost_a_try_and_no_certificate() {
    let world = World::start().await;
    add(&world.rancher, "b.example.com", &self_signed(&["b.example.com"]));
    let faults = world.rancher.faults();
    for (endpoint, times) in [(LIST, 2), (GET, 1), (CREATE, 2), (PUT, 2), (WAKE, 2)] {
        faults.add(endpoint, times, status(500));
    }
    let mut daemon = world.daemon("a.example.com, b.example.com");
    world.pushed("a.example.com").await;
    world.pushed("b.example.com").await;
    guarded("the wake-up", world.rancher.until(|model| !model.wakes().is_empty())).await;
    daemon.settles().await;
    for name in ["a.example.com", "b.example.com"] {
        assert_eq!(world.issued(name).len(), 1, "{}", daemon.text());
    }
    assert_eq!(world.rancher.certificates().len(), 2);
    assert!(!world.store().join("rancher-lets-encrypt/wake-owed").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_answer_is_lost_is_recognized() {
    let world = World::start().await;
    add(&world.rancher, "a.example.com", &self_signed(&["a.example.com"]));
    world.rancher.faults().add(PUT, 1, What::DoThenClose);
    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(world.rancher.faults().count(PUT), 1, "{}", daemon.text());
    assert_eq!(world.rancher.certificates()[0].puts, 1);
    assert_eq!(world.rancher.wakes().len(), 1);
    assert_eq!(daemon.count("certificate not done"), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_whose_creation_was_not_answered_is_not_made_twice() {
    let world = World::start().await;
    world.rancher.faults().add(CREATE, 1, What::DoThenClose);
    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(world.rancher.faults().count(CREATE), 1, "{}", daemon.text());
    assert_eq!(world.rancher.faults().count(PUT), 0);
    assert_eq!(world.rancher.certificates().len(), 1);
    assert_eq!(world.rancher.wakes().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_after_the_creation_makes_no_second_certificate() {
    let world = World::start().await;
    let gate = Gate::new();
    let faults = world.rancher.faults();
    faults.add(CREATE, 1, What::DoThenHold(gate.clone()));
    let daemon = world.daemon("a.example.com");
    guarded("the creation", gate.reached(1)).await;
    daemon.kill().await;
    let mut daemon = world.daemon("a.example.com");
    daemon.settles().await;
    assert_eq!(faults.count(CREATE), 1, "{}", daemon.text());
    assert_eq!(faults.count(PUT), 0);
    assert_eq!(world.issued("a.example.com").len(), 1);
    assert_eq!(world.rancher.wakes().len(), 1, "the balancers hear of it all the same");
}

/// Lets somebody else take the name while the daemon creates it.
async fn taken(
    world: &World,
    name: &str,
    pair: &sandbox::certs::Pair,
) -> (crate::support::Daemon, String) {
    let gate = Gate::new();
    world.rancher.faults().add(CREATE, 1, What::Hold(gate.clone()));
    let daemon = world.daemon("a.example.com");
    guarded("the creation", gate.reached(1)).await;
    let id = add(&world.rancher, name, pair);
    gate.open();
    (daemon, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_was_taken_in_the_meantime_is_replaced_in_place() {
    let world = World::start().await;
    let (mut daemon, id) = taken(&world, "a.example.com", &self_signed(&["a.example.com"])).await;
    world.pushed("a.example.com").await;
    daemon.settles().await;
    let held = world.rancher.certificates();
    assert_eq!((held.len(), held[0].id.as_str(), held[0].puts), (1, id.as_str(), 1));
    assert_eq!(world.rancher.faults().count(CREATE), 1);
    assert_eq!(daemon.count("certificate not done"), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_that_was_pasted_in_the_meantime_stays() {
    let world = World::start().await;
    let pair = bought(&["a.example.com"]);
    let (mut daemon, _) = taken(&world, "a.example.com", &pair).await;
    daemon.says("certificate not done").await;
    daemon.settles().await;
    let held = world.rancher.certificates();
    assert_eq!((held.len(), held[0].puts, &held[0].cert), (1, 0, &pair.cert_pem));
    assert_eq!(world.issued("a.example.com").len(), 1);
    // Were it not seen as left alone next, it would wait like any push that failed.
    let failures = world.failures("push");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(daemon.count("certificate left alone"), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_differs_by_case_only_is_found_where_the_database_folds_case() {
    let world = World::start().await;
    world.rancher.settings(|settings| settings.database = Database::MySql);
    // Of other names than ours, so that only its own name leads to it.
    let id = add(&world.rancher, "A.Example.com", &self_signed(&["old.example.com"]));
    let mut daemon = world.daemon("a.example.com");
    let is_ours = |model: &sandbox::rancher::model::Model| {
        model.certificate("A.Example.com").is_some_and(|held| held.puts > 0)
    };
    guarded("the change", world.rancher.until(is_ours)).await;
    daemon.settles().await;
    let held = world.rancher.certificates();
    assert_eq!(
        (held.len(), held[0].id.as_str(), held[0].puts),
        (1, id.as_str(), 1),
        "{}",
        daemon.text()
    );
    assert_eq!([held[0].leaf()], world.issued("a.example.com").as_slice());
    assert_eq!(world.rancher.faults().count(CREATE), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_whose_name_differs_by_case_only_is_left_alone_without_issuing() {
    let world = World::start().await;
    world.rancher.settings(|settings| settings.database = Database::MySql);
    let pair = bought(&["a.example.com"]);
    add(&world.rancher, "A.Example.com", &pair);
    let mut daemon = world.daemon("a.example.com");
    daemon.says("certificate left alone").await;
    daemon.settles().await;
    assert_eq!(world.asked("new-order"), 0, "{}", daemon.text());
    assert_eq!(world.rancher.faults().count(CREATE), 0);
    assert_eq!(world.rancher.certificates()[0].cert, pair.cert_pem);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_stalls_delays_no_other_certificate() {
    let world = World::start().await;
    add(&world.rancher, "a.example.com", &self_signed(&["a.example.com"]));
    let is_first =
        |seen: &sandbox::faults::Seen| seen.endpoint == PUT && seen.subject == "a.example.com";
    world.rancher.faults().add_when(is_first, 0, 1, What::Stall);
    let mut daemon = world
        .settings()
        .with("CONNECT_TIMEOUT", "100")
        .with("DOMAINS", "a.example.com, b.example.com")
        .start();
    guarded("the change", world.rancher.faults().until(|seen| seen.iter().any(is_first))).await;
    world.pushed("b.example.com").await;
    guarded("the wake-up", world.rancher.until(|model| !model.wakes().is_empty())).await;
    world.announce("web", "late", "c.example.com");
    world.pushed("c.example.com").await;
    daemon.passes(1).await;
    let line = daemon.says("pass ended").await;
    assert_eq!(line["in_hand"], 1, "the stalled one is still in hand");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_fails_is_asked_for_ever_more_seldom() {
    let world = World::start().await;
    let mut daemon = world.settled("a.example.com").await;
    let faults = world.rancher.faults();
    let before = faults.count(LIST);
    faults.add(LIST, u32::MAX, status(500));
    daemon.says("Rancher cannot be read").await;
    // After one second, two, four, eight.
    daemon.passes(8).await;
    let asked = faults.count(LIST) - before;
    assert!(asked <= 7, "{asked}: {}", daemon.text());
    faults.clear();
    daemon.says("Rancher can be read again").await;
}

//! Balancers hear of what was pushed, once, whatever happens in between.

use sandbox::balancer::Balancer;
use sandbox::balancer::handshake;
use sandbox::faults::Gate;
use sandbox::faults::Seen;
use sandbox::faults::What;
use sandbox::rancher::settings::Activation;
use sandbox::rancher::settings::Caller;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::World;
use crate::support::guarded;
use crate::support::platform::add;
use crate::support::platform::self_signed;
use crate::support::platform::status;

const GET: &str = "get-certificate";
const CREATE: &str = "create-certificate";
const PUT: &str = "put-certificate";
const WAKE: &str = "wake";

fn debt(world: &World) -> PathBuf {
    world.store().join("rancher-lets-encrypt/wake-owed")
}

async fn woken(world: &World, times: usize) {
    let is_woken = world.rancher.until(|model| model.wakes().len() >= times);
    guarded("a wake-up", is_woken).await;
}

/// Three balancers: one that lists the certificate of `a.example.com` between two that do not.
fn balancers(world: &World, state: &str) -> [String; 3] {
    let other = add(&world.rancher, "other", &self_signed(&["other.example.net"]));
    let id = add(&world.rancher, "a.example.com", &self_signed(&["a.example.com"]));
    [("lb-1", &other), ("lb-2", &id), ("lb-3", &other)]
        .map(|(name, id)| world.rancher.add_balancer(name, None, &[id], state))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_our_own_service_is_upgraded_a_balancer_with_the_certificate_is_woken() {
    let world = World::start().await;
    let balancers = balancers(&world, "active");
    for (times, state) in [(1, "upgraded"), (2, "upgrading")] {
        world.rancher.set_service_state(world.rancher.own_service(), state);
        let mut daemon = world.daemon("a.example.com");
        woken(&world, times).await;
        daemon.settles().await;
        assert_eq!(world.rancher.wakes(), vec![balancers[1].clone(); times], "{}", daemon.text());
        daemon.stop().await;
        // Something to push again: an operator who put the old one back.
        let id = world.rancher.certificate("a.example.com").unwrap().id;
        let pair = self_signed(&["a.example.com"]);
        world.rancher.change_certificate(&id, |held| {
            (held.cert, held.key, held.chain) = (pair.cert_pem, pair.key_pem, None);
        });
    }
    assert_eq!(world.issued("a.example.com").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_up_that_failed_goes_to_the_same_balancer_again() {
    let world = World::start().await;
    let balancers = balancers(&world, "active");
    world.rancher.set_service_state(world.rancher.own_service(), "upgraded");
    world.rancher.faults().add(WAKE, 2, status(500));
    let mut daemon = world.daemon("a.example.com");
    woken(&world, 1).await;
    daemon.settles().await;
    assert_eq!(world.rancher.wakes(), [balancers[1].clone()], "{}", daemon.text());
    assert_eq!(world.rancher.faults().count(WAKE), 3);
    let tried = world.rancher.faults().seen();
    let tried = tried.iter().filter(|seen| seen.endpoint == WAKE);
    assert!(tried.clone().all(|seen| seen.subject == "lb-2"), "{:?}", tried.collect::<Vec<_>>());
    assert!(!debt(&world).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_up_stays_owed_while_nobody_is_active() {
    let world = World::start().await;
    let balancers = balancers(&world, "inactive");
    world.rancher.set_service_state(world.rancher.own_service(), "upgraded");
    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    let line = daemon.says("balancers not woken").await;
    assert!(line["error"].as_str().unwrap().contains("no balancer is active"), "{line}");
    daemon.passes(1).await;
    assert!(debt(&world).exists());
    assert_eq!(world.rancher.wakes().len(), 0);

    // Not forgotten by a restart either.
    daemon.stop().await;
    let mut daemon = world.daemon("a.example.com");
    daemon.says("balancers not woken").await;
    assert!(debt(&world).exists());
    world.rancher.set_service_state(&balancers[2], "active");
    woken(&world, 1).await;
    daemon.settles().await;
    assert_eq!(world.rancher.wakes(), [balancers[2].clone()]);
    assert!(!debt(&world).exists());
    assert_eq!(world.rancher.faults().count(PUT), 1);
}

/// Stops the daemon with a power cut at the gate, and starts it again: the wake-up is made though there is nothing
/// left to push.
async fn check_crash(world: &World, gate: Gate) {
    let daemon = world.daemon("a.example.com");
    guarded("the gate", gate.reached(1)).await;
    daemon.kill().await;
    assert!(debt(world).exists());
    assert_eq!(world.rancher.wakes().len(), 0);
    let faults = world.rancher.faults();
    let writes = || faults.count(PUT) + faults.count(CREATE);
    let before = writes();
    let mut daemon = world.daemon("a.example.com");
    woken(world, 1).await;
    daemon.settles().await;
    assert_eq!(writes(), before, "nothing is left to push: {}", daemon.text());
    assert_eq!(world.rancher.wakes(), [world.rancher.own_service()]);
    assert!(!debt(world).exists());
    assert_eq!(world.issued("a.example.com").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_right_before_the_wake_up_does_not_lose_it() {
    let world = World::start().await;
    let gate = Gate::new();
    world.rancher.faults().add(WAKE, 1, What::Hold(gate.clone()));
    check_crash(&world, gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_the_push_is_looked_at_does_not_lose_the_wake_up() {
    let world = World::start().await;
    let gate = Gate::new();
    world.rancher.faults().add(GET, 1, What::Hold(gate.clone()));
    check_crash(&world, gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_the_answer_to_a_change_does_not_lose_the_wake_up() {
    let world = World::start().await;
    add(&world.rancher, "a.example.com", &self_signed(&["a.example.com"]));
    let gate = Gate::new();
    world.rancher.faults().add(PUT, 1, What::DoThenHold(gate.clone()));
    check_crash(&world, gate).await;
    assert_eq!(world.rancher.certificates()[0].puts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_while_balancers_are_woken_owes_another_wake_up() {
    let world = World::start().await;
    let gate = Gate::new();
    world.rancher.faults().add(WAKE, 1, What::DoThenHold(gate.clone()));
    let mut daemon =
        world.settings().with("CONNECT_TIMEOUT", "100").with("DOMAINS", "a.example.com").start();
    guarded("the wake-up", gate.reached(1)).await;
    world.announce("web", "late", "b.example.com");
    world.pushed("b.example.com").await;
    daemon.passes(1).await;
    assert!(debt(&world).exists());
    gate.open();
    woken(&world, 2).await;
    daemon.settles().await;
    assert_eq!(world.rancher.wakes().len(), 2);
    assert!(!debt(&world).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pushes_make_one_wake_up_and_all_are_served() {
    let world = World::start().await;
    let names: Vec<String> = ('a'..='e').map(|letter| format!("{letter}.example.com")).collect();
    let ids: Vec<String> =
        names.iter().map(|name| add(&world.rancher, name, &self_signed(&[name]))).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let lb = world.rancher.add_balancer("lb", Some(ids[0]), &ids[1..], "active");
    let balancer = Balancer::start(&world.rancher, &lb).await.unwrap();
    let gates: Vec<Gate> = names.iter().map(|_| Gate::new()).collect();
    for (name, gate) in names.clone().into_iter().zip(&gates) {
        let is_its = move |seen: &Seen| seen.endpoint == PUT && seen.subject == name;
        let faults = world.rancher.faults();
        faults.add_when(is_its, 0, 1, What::Hold(gate.clone()));
    }
    let mut daemon = world.daemon(&names.join(","));
    for gate in &gates {
        guarded("the change", gate.reached(1)).await;
    }
    // One after the other, each to its end.
    for gate in &gates {
        gate.open();
        daemon.says("job done").await;
    }
    for name in &names {
        world.pushed(name).await;
        let leaf = world.issued(name).remove(0);
        let is_served = balancer.until(|serving| serving.serving(name) == Some(&leaf));
        guarded("the new leaf", is_served).await;
        let root = world.production.issuing_root_pem();
        let chain = handshake(balancer.address(), name, Some(&root)).await.unwrap();
        assert_eq!(chain.len(), 3, "leaf and both intermediates");
    }
    daemon.settles().await;
    // One; two if the machine was so slow that the first pushes did not wait for the last.
    assert!(world.rancher.wakes().len() <= 2, "{:?}", world.rancher.wakes());
    assert_eq!(balancer.errors().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_is_served_without_any_other_change() {
    let world = World::start().await;
    let short = |settings: &mut sandbox::authority::settings::AuthoritySettings| {
        (settings.lifetime, settings.backdate) = (Duration::from_secs(8), Duration::ZERO);
    };
    world.production.set(short);
    let id = add(&world.rancher, "a.example.com", &self_signed(&["a.example.com"]));
    let lb = world.rancher.add_balancer("lb", Some(&id), &[], "active");
    let balancer = Balancer::start(&world.rancher, &lb).await.unwrap();
    let mut daemon = world.daemon("a.example.com");
    let issued = world.production.until(|state| state.issued().len() >= 2);
    guarded("the renewal", issued).await;
    let renewed = world.issued("a.example.com")[1].clone();
    let is_served = balancer.until(|serving| {
        let served = serving.serving("a.example.com");
        served.is_some_and(|leaf| leaf == renewed)
    });
    guarded("the new leaf", is_served).await;
    let chain = handshake(balancer.address(), "a.example.com", None).await.unwrap();
    assert_eq!(chain.len(), 3);
    // Nothing but wake-ups of our own has moved metadata, one for each push.
    daemon.says("balancers woken").await;
    let wakes = world.rancher.wakes();
    assert!(wakes.iter().all(|id| id == world.rancher.own_service()), "{wakes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balancers_are_woken_once_the_update_is_carried_out_and_not_when_it_is_taken() {
    let world = World::start().await;
    let (taken, looked) = (Gate::new(), Gate::new());
    let faults = world.rancher.faults();
    faults.add(WAKE, 1, What::Hold(taken.clone()));
    let is_look = |seen: &Seen| seen.endpoint == "get-service";
    faults.add_when(is_look, 2, 1, What::Hold(looked.clone()));
    let mut daemon =
        world.settings().with("CONNECT_TIMEOUT", "100").with("DOMAINS", "a.example.com").start();
    daemon.brings("the wake-up", taken.reached(1)).await;
    world.rancher.settings(|settings| settings.activation = Activation::Held);
    taken.open();
    daemon.brings("a third look", looked.reached(1)).await;
    assert_eq!(daemon.count("balancers woken"), 0, "{}", daemon.text());
    assert!(debt(&world).exists());
    world.rancher.settings(|settings| settings.activation = Activation::Reads(0));
    looked.open();
    daemon.says("balancers woken").await;
    daemon.settles().await;
    assert!(!debt(&world).exists());
    assert_eq!(world.rancher.wakes(), [world.rancher.own_service()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_metadata_does_not_know_us_a_balancer_is_woken() {
    let world = World::start().await;
    world.rancher.settings(|settings| settings.caller = Caller::Unknown);
    let balancers = balancers(&world, "active");
    let mut daemon = world.daemon("a.example.com");
    woken(&world, 1).await;
    daemon.settles().await;
    assert_eq!(world.rancher.wakes(), [balancers[1].clone()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_balancer_nothing_stays_owed() {
    let world = World::start().await;
    world.rancher.settings(|settings| settings.caller = Caller::Unknown);
    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.says("no balancer to wake").await;
    daemon.settles().await;
    assert!(!debt(&world).exists());
    assert_eq!(world.rancher.wakes().len(), 0);
    assert_eq!(daemon.with("WARN").len(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_up_beside_a_write_leaves_its_debt_on_the_disk() {
    let world = World::start().await;
    let gate = Gate::new();
    let is_of_b = |seen: &Seen| seen.endpoint == PUT && seen.subject == "b.example.com";
    let faults = world.rancher.faults();
    faults.add_when(is_of_b, 0, 1, What::DoThenHold(gate.clone()));
    for name in ["a.example.com", "b.example.com"] {
        add(&world.rancher, name, &self_signed(&[name]));
    }
    let mut daemon = world
        .settings()
        .with("CONNECT_TIMEOUT", "100")
        .with("DOMAINS", "a.example.com,b.example.com")
        .start();
    guarded("the change", gate.reached(1)).await;
    // The other one waits no longer.
    daemon.says("balancers woken").await;
    assert!(debt(&world).exists(), "{}", daemon.text());
    daemon.kill().await;
    let before = world.rancher.wakes().len();
    let mut daemon = world.daemon("a.example.com,b.example.com");
    woken(&world, before + 1).await;
    daemon.settles().await;
    assert!(!debt(&world).exists(), "{}", daemon.text());
}

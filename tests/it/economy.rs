//! No request that is not needed, no more orders at once than allowed, no certificate that waits for another.

use std::collections::BTreeMap;

use rustix::process::Signal;
use sandbox::faults::Gate;
use sandbox::faults::Seen;
use sandbox::faults::What;

use crate::support::World;
use crate::support::guarded;
use crate::support::requests::OWN_NAME;

const NAME: &str = "a.example.com";

fn counts(seen: &[Seen]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for seen in seen {
        *counts.entry(seen.endpoint).or_default() += 1;
    }
    counts
}

/// Obtains a certificate whose validation has ended when the authority has answered to the tell.
async fn obtain(world: &World, name: &str) -> Vec<Seen> {
    let before = world.production.faults().seen().len();
    let validated = world.production.validations().len();
    let gate = world.gates("challenge", What::DoThenHold);
    world.announce("shop", name.split('.').next().unwrap(), name);
    let is_validated =
        |state: &sandbox::authority::state::State| state.validations().len() > validated;
    guarded("the validation", world.production.until(is_validated)).await;
    gate.open();
    world.pushed(name).await;
    world.production.faults().seen().split_off(before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_costs_nine_requests_and_the_next_one_six() {
    let world = World::start().await;
    let mut daemon = world.daemon("");
    let each = [
        ("new-order", 1),
        ("authorization", 2),
        ("challenge", 1),
        ("finalize", 1),
        ("certificate", 1),
    ];
    let once = [("directory", 1), ("new-nonce", 1), ("new-account", 1)];
    let first = obtain(&world, "a.example.com").await;
    assert_eq!(counts(&first), each.into_iter().chain(once).collect(), "{}", daemon.text());
    let second = obtain(&world, "b.example.com").await;
    assert_eq!(counts(&second), each.into(), "{}", daemon.text());
    // Nothing is asked when nothing is to be done.
    let asked = world.production.faults().seen().len();
    daemon.rests().await;
    assert_eq!(world.production.faults().seen().len(), asked, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_says_who_asks() {
    let world = World::start().await;
    let mut daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    daemon.rests().await;
    let mut seen = world.production.faults().seen();
    seen.extend(world.rancher.faults().seen());
    seen.extend(world.rancher.metadata_faults().seen());
    assert!(seen.len() > 15, "{seen:?}");
    let other: Vec<_> = seen.iter().filter(|seen| !seen.user_agent.starts_with(OWN_NAME)).collect();
    assert!(other.is_empty(), "{other:?}");
    let fetched = world.web.faults().seen();
    assert_eq!(fetched.iter().filter(|seen| seen.user_agent.starts_with(OWN_NAME)).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_orders_are_in_flight_than_allowed() {
    let world = World::start().await;
    let gate = Gate::new();
    world.production.faults().add("finalize", u32::MAX, What::Hold(gate.clone()));
    let names: Vec<String> = (1..=6).map(|number| format!("n{number}.example.com")).collect();
    let settings = world.settings().with("CONCURRENCY", "2");
    let mut daemon = settings.with("DOMAINS", names.join(",")).start();
    guarded("two orders to be finalized", gate.reached(2)).await;
    daemon.passes(1).await;
    // Others may be opened meanwhile, whose names are looked at by ourselves; none of them is worked on there.
    assert_eq!(world.asked("challenge"), 2, "{}", daemon.text());
    gate.open();
    for name in &names {
        world.pushed(name).await;
    }
    assert_eq!(world.production.orders().len(), names.len(), "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_answer_delays_no_other_certificate_and_no_change_of_names() {
    let world = World::start().await;
    let is_of_a = |seen: &Seen| seen.endpoint == "finalize" && seen.subject == NAME;
    let gate = Gate::new();
    world.production.faults().add_when(is_of_a, 0, 1, What::Hold(gate.clone()));
    let settings = world.settings().without("CONNECT_TIMEOUT");
    let daemon = settings.with("DOMAINS", "a.example.com, b.example.com, c.example.com").start();
    guarded("the stalled request", gate.reached(1)).await;
    for name in ["b.example.com", "c.example.com"] {
        world.pushed(name).await;
    }
    world.announce("shop", "web", "d.example.com");
    world.pushed("d.example.com").await;
    // Balancers need not wait for it either.
    let is_woken = |model: &sandbox::rancher::model::Model| !model.wakes().is_empty();
    guarded("the wake-up", world.rancher.until(is_woken)).await;
    assert_eq!(world.issued(NAME), [""; 0], "{}", daemon.text());
    gate.open();
    world.pushed(NAME).await;
    assert_eq!(world.production.orders().len(), 4, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_comes_is_given_up_and_asked_for_again() {
    let world = World::start().await;
    for endpoint in ["new-order", "certificate"] {
        world.production.faults().add(endpoint, 1, What::DoThenStall);
    }
    let settings = world.settings().with("CONNECT_TIMEOUT", "1");
    let daemon = settings.with("DOMAINS", NAME).start();
    world.pushed(NAME).await;
    assert_eq!(world.production.issued().len(), 1, "{}", daemon.text());
    assert_eq!(world.production.orders().len(), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_an_order_ends_well_and_the_next_start_resumes_it() {
    for endpoint in
        ["new-account", "new-order", "authorization", "challenge", "finalize", "certificate"]
    {
        for signal in [Signal::TERM, Signal::INT] {
            let world = World::start().await;
            let gate = world.gates(endpoint, What::DoThenHold);
            let daemon = world.daemon(NAME);
            guarded("the order", gate.reached(1)).await;
            daemon.signal(signal);
            let (status, text) = daemon.ends().await;
            assert_eq!(status.code(), Some(0), "{endpoint}: {text}");
            assert!(text.contains("stopping, orders stay resumable"), "{endpoint}: {text}");
            let daemon = world.daemon(NAME);
            world.pushed(NAME).await;
            assert_eq!(world.production.issued().len(), 1, "{endpoint}: {}", daemon.text());
            assert_eq!(world.production.orders().len(), 1, "{endpoint}: {}", daemon.text());
            assert_eq!(world.production.accounts().len(), 1, "{endpoint}: {}", daemon.text());
            let orders = if endpoint == "new-order" { 2 } else { 1 };
            assert_eq!(world.asked("new-order"), orders, "{endpoint}: {}", daemon.text());
        }
    }
}

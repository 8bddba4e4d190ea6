//! Authorities that have lost their memory, or are gone for good.

use std::collections::BTreeSet;

use sandbox::authority::outage::Outage;
use sandbox::authority::problem::RetryAfter;
use sandbox::authority::records::Order;
use sandbox::authority::records::OrderStatus;
use sandbox::authority::settings::finalizing::Finalizing;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::authority::state::State;
use sandbox::faults::Gate;
use sandbox::faults::What;
use serde_json::Value;
use time::Duration;

use super::NAME;
use crate::support::World;
use crate::support::guarded;
use crate::support::records::moment;
use crate::support::tree::now;

const FORGOTTEN: &str =
    "account unknown to the authority, made again with the same key; its orders are gone with it";

/// An authority that comes back without its state has issued nothing for the orders in flight: one account is made again,
/// what is stored stays, and the rest is ordered at once; said once, as what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_lost_its_state_costs_one_account_and_no_day() {
    let world = World::start().await;
    let name = |number| format!("n{number:02}.example.com");
    let all: Vec<String> = (1..=20).map(name).collect();
    let (issued, in_flight) = all.split_at(5);
    let mut daemon = world.daemon(&issued.join(","));
    for name in issued {
        world.gets(&daemon, name).await;
    }
    daemon.settles().await;
    daemon.stop().await;

    world.finalizes(Quirk::new(Finalizing::Stick));
    world.behaves(|settings| settings.retry_after_processing = Some(RetryAfter::Seconds(3600)));
    let daemon = world.daemon(&all.join(","));
    let are_finalized = |state: &State| {
        let is_processing = |order: &&Order| order.status == OrderStatus::Processing;
        state.orders().filter(is_processing).count() == in_flight.len()
    };
    daemon.brings("all orders", world.production.until(are_finalized)).await;
    daemon.kill().await;

    world.production.lose_state();
    world.behaves(|settings| settings.finalizing.clear());
    world.let_pass(Duration::hours(2));
    let mut daemon = world.daemon(&all.join(","));
    for name in in_flight {
        world.gets(&daemon, name).await;
    }
    daemon.settles().await;
    for name in &all {
        assert_eq!(world.issued(name).len(), 1, "{name}: {}", daemon.text());
    }
    assert_eq!(world.asked("new-account"), 2, "{}", daemon.text());
    assert_eq!(daemon.count(FORGOTTEN), 1, "{}", daemon.text());
    let warnings = daemon.log();
    let warnings: Vec<&Value> = warnings.iter().filter(|line| line["level"] == "WARN").collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
}

/// An authority that is gone is asked ever more seldom for what it may have issued for names that nobody wants, up to once
/// a day, and no longer than an order lives; the key stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_gone_is_asked_ever_more_seldom_and_then_no_more() {
    let world = World::start().await;
    let gate = Gate::new();
    let faults = world.staging.faults();
    faults.add("finalize", 1, What::DoThenHold(gate.clone()));
    let daemon = world.wants(NAME).with("STAGING", "True").start();
    guarded("finalize", gate.reached(1)).await;
    daemon.kill().await;
    world.staging.leave(Outage::Closed).await.unwrap();

    // Somebody wants nothing any more, and production is wanted.
    let mut rests = Vec::new();
    for _ in 0..16 {
        let mut daemon = world.daemon("");
        daemon.says("pass ended").await;
        daemon.settles().await;
        let (_, text) = daemon.stop().await;
        let kept = std::fs::read_to_string(world.stuck_path(NAME));
        let kept = kept.unwrap_or_else(|error| panic!("{error}: {text}"));
        let kept: Vec<Value> = serde_json::from_str(&kept).unwrap();
        let rest = moment(&kept[0]["look_after"]) - now();
        rests.push(rest);
        world.end_waits();
        world.edit_stuck(NAME, |order| order["look_after"] = Value::Null);
        if rest > Duration::hours(12) {
            break;
        }
    }
    let is_growing = rests.windows(2).all(|pair| pair[0] + Duration::seconds(20) < pair[1]);
    assert!(is_growing && rests.len() > 4, "{rests:?}");
    let last = rests.pop().unwrap();
    assert!(Duration::hours(12) < last && last <= Duration::DAY, "{last}");

    // Its life has been over for days, and nobody answers.
    world.let_pass(Duration::days(13));
    let mut daemon = world.daemon("");
    let line = daemon.says("order is over without its certificate, its key is kept").await;
    assert_eq!(line["names"], NAME);
    daemon.settles().await;
    daemon.stop().await;
    assert!(!world.stuck_path(NAME).exists());
    let folder = world.stuck_path(NAME).parent().unwrap().to_owned();
    let kept: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert!(kept.iter().any(|text| text.contains("PRIVATE KEY")));
    // Nothing is asked of it any more.
    let mut daemon = world.daemon("");
    daemon.settles().await;
    let (_, text) = daemon.stop().await;
    assert!(!text.contains("no usable answer"), "{text}");
}

//! Names that services and containers announce, from the label to Rancher and back to nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use sandbox::faults::Gate;
use sandbox::faults::What;
use sandbox::rancher::age::Age;
use sandbox::rancher::age::Cattle;
use sandbox::rancher::service::ContainerSpec;
use sandbox::rancher::service::ServiceKind;
use sandbox::rancher::service::ServiceSpec;
use sandbox::rancher::settings::Availability;

use crate::support::LABEL;
use crate::support::World;
use crate::support::guarded;

/// Runs tests over every age of Rancher that a reader of labels could tell from the others: each name is that of a function
/// that is given a world of that age.
macro_rules! over_ages {
    ($($test:ident)*) => {
        over_ages!(v0_5_1 0, $($test)*);
        over_ages!(v0_6_8 1, $($test)*);
        over_ages!(v0_7_4 2, $($test)*);
        over_ages!(v0_9_5 3, $($test)*);
        over_ages!(v0_10_4 4, $($test)*);
    };
    ($age:ident $place:literal, $($test:ident)*) => {
        mod $age {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let age = sandbox::rancher::age::Age::DIFFERENT[$place];
                    super::$test(crate::support::World::of_age(age).await).await;
                }
            )*
        }
    };
}

mod containers;
mod gone;
mod odd;
mod own_environment;
mod polls;
mod recorded;

over_ages! {
    a_label_that_appears_is_acted_on_without_waiting_for_a_pass
    a_change_of_metadata_that_changes_no_names_starts_no_pass
    a_label_that_changes_brings_a_certificate_and_takes_none
    a_label_that_disappears_leaves_its_certificate_and_is_told_once
    a_version_stored_while_a_pass_asks_for_balancers_stays_on_record
    a_name_that_disappeared_is_renewed_while_a_balancer_lists_it
    services_of_every_kind_and_scale_announce_names
    a_container_without_a_service_announces_names_while_it_runs
    a_stopped_container_of_an_upgrade_does_not_bring_its_label_back
    names_on_record_hold_while_metadata_is_not_ready_at_boot
    another_order_of_the_same_names_is_the_same_certificate
    each_bad_name_of_a_label_is_told_once_and_the_rest_goes_on
    names_that_change_their_order_while_they_are_in_hand_cost_one_certificate
    a_bad_name_that_comes_back_is_told_again
}

fn announcing(stack: &str, name: &str, hosts: &str) -> ServiceSpec {
    ServiceSpec::new(stack, name).label(LABEL, hosts)
}

/// Every name that was ever ordered.
fn ordered(world: &World) -> BTreeSet<String> {
    let orders = world.production.orders();
    orders.into_iter().flat_map(|order| order.names).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

async fn a_label_that_appears_is_acted_on_without_waiting_for_a_pass(world: World) {
    let mut daemon =
        world.settings().with("LOOP_TIME", "3600").with("DOMAINS", "a.example.com").start();
    world.pushed("a.example.com").await;
    daemon.says("balancers woken").await;
    world.announce("web", "site", "b.example.com");
    world.pushed("b.example.com").await;
    daemon.next("the wake-up", |line| line["service"] == "letsencrypt-nginx").await;
    assert_eq!(daemon.count("pass ended"), 2, "{}", daemon.text());
}

async fn a_change_of_metadata_that_changes_no_names_starts_no_pass(world: World) {
    let service = world.announce("web", "site", "a.example.com");
    let mut daemon = world.settings().with("LOOP_TIME", "3600").start();
    world.pushed("a.example.com").await;
    daemon.next("the wake-up", |line| line["service"] == "letsencrypt-nginx").await;
    let metadata = world.rancher.metadata_faults();
    for _ in 0..2 {
        let before = metadata.count("containers");
        world.rancher.reload_metadata();
        // Also a label of no concern, on a service of ours.
        world.rancher.set_label(&service, "color", Some("blue"));
        let read = metadata.until(|seen| {
            let reads = seen.iter().filter(|seen| seen.endpoint == "containers");
            reads.count() > before
        });
        guarded("another reading", read).await;
    }
    world.rancher.set_label(&service, LABEL, Some("a.example.com,b.example.com"));
    world.pushed("b.example.com").await;
    assert_eq!(daemon.count("pass ended"), 2, "{}", daemon.text());
}

async fn a_label_that_changes_brings_a_certificate_and_takes_none(world: World) {
    let service = world.announce("web", "site", "a.example.com");
    let mut daemon = world.settings().with("LOOP_TIME", "3600").start();
    world.pushed("a.example.com").await;
    daemon.says("balancers woken").await;
    world.rancher.set_label(&service, LABEL, Some("b.example.com"));
    world.pushed("b.example.com").await;
    daemon.stop().await;
    let mut daemon = world.daemon("");
    daemon.settles().await;
    let held = world.rancher.certificates();
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|held| held.puts == 0));
    assert_eq!(world.issued("a.example.com").len(), 1);
}

async fn a_label_that_disappears_leaves_its_certificate_and_is_told_once(world: World) {
    let service = world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    let before = world.rancher.certificates();
    world.rancher.set_label(&service, LABEL, None);
    daemon.mentions("nobody wants this certificate any more").await;
    daemon.settles().await;
    world.rancher.remove_service(&service);
    daemon.settles().await;
    assert_eq!(daemon.with("nobody wants").len(), 1);
    daemon.stop().await;
    let mut daemon = world.daemon("");
    daemon.settles().await;
    assert_eq!(daemon.with("nobody wants").len(), 0);
    assert_eq!(world.rancher.certificates(), before);
    assert!(world.live("a.example.com", "fullchain.pem").exists());

    // Wanted again, it is there already.
    world.announce("web", "again", "a.example.com");
    daemon.mentions("fresh until").await;
    daemon.settles().await;
    assert_eq!(world.issued("a.example.com").len(), 1);
    assert_eq!(world.rancher.certificates(), before);
}

/// A pass that says of a certificate that nobody wants it knows the record of before the new version.
async fn a_version_stored_while_a_pass_asks_for_balancers_stays_on_record(world: World) {
    let service = world.announce("web", "site", "a.example.com");
    let settings = world.settings().with("LOOP_TIME", "3600");
    let mut daemon = settings.start();
    world.pushed("a.example.com").await;
    daemon.says("balancers woken").await;
    let download = Gate::new();
    let faults = world.production.faults();
    faults.add("certificate", 1, What::Hold(download.clone()));
    let both = "a.example.com b.example.com";
    world.rancher.set_label(&service, LABEL, Some(both));
    guarded("the download", download.reached(1)).await;

    let balancers = Gate::new();
    let faults = world.rancher.faults();
    faults.add("list-balancers", 1, What::Hold(balancers.clone()));
    world.rancher.set_label(&service, LABEL, None);
    // Names that only go start no pass.
    world.announce("web", "other", "c.example.com");
    guarded("the list of balancers", balancers.reached(1)).await;
    download.open();
    daemon.says("order cleared").await;
    balancers.open();
    daemon.says("pass ended").await;

    let record = world.own("certificates/a.example.com.json");
    let record = std::fs::read_to_string(record).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["live"], 2, "{record}");
    assert_eq!(record["versions"].as_array().unwrap().len(), 2, "{record}");
}

async fn a_name_that_disappeared_is_renewed_while_a_balancer_lists_it(world: World) {
    world.production.set(|settings| {
        (settings.lifetime, settings.backdate) = (Duration::from_secs(10), Duration::ZERO);
    });
    let service = world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    let id = world.rancher.certificate("a.example.com").unwrap().id;
    world.rancher.add_balancer("lb", Some(&id), &[], "active");
    world.rancher.set_label(&service, LABEL, None);
    let renewed = world.production.until(|state| state.issued().len() >= 2);
    guarded("the renewal", renewed).await;
    world.pushed("a.example.com").await;
    daemon.passes(1).await;
    assert_eq!(daemon.with("nobody wants").len(), 0, "{}", daemon.text());
}

/// Up to Rancher 1.3 metadata shows one environment only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_of_another_environment_are_none_of_ours() {
    let ages = Age::DIFFERENT.into_iter().filter(|age| age.cattle != Cattle::V0_174_3);
    for age in ages {
        linked_labels_are_none_of_ours(World::of_age(age).await).await;
    }
}

async fn linked_labels_are_none_of_ours(world: World) {
    let linked = Some("11111111-2222-3333-4444-555555555555".to_owned());
    let mut service = announcing("far", "site", "far.example.com");
    service.environment = linked.clone();
    let mut container = ContainerSpec::new("far-container").label(LABEL, "farther.example.com");
    container.environment = linked;
    world.rancher.add_container(container);
    world.rancher.add_services([service, announcing("web", "site", "a.example.com")]);
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["a.example.com"]));
}

async fn services_of_every_kind_and_scale_announce_names(world: World) {
    let primary = announcing("web", "primary", "primary.example.com");
    let mut sidekick = announcing("web", "sidekick", "sidekick.example.com");
    sidekick.sidekick_of = Some("primary".to_owned());
    let mut zero = announcing("web", "zero", "zero.example.com");
    zero.scale = 0;
    let mut external = announcing("web", "external", "external.example.com");
    external.kind = ServiceKind::External;
    let mut alias = announcing("web", "alias", "alias.example.com");
    alias.kind = ServiceKind::Dns;
    let mut inactive = announcing("web", "inactive", "inactive.example.com");
    inactive.state = "inactive".to_owned();
    world.rancher.add_services([primary, sidekick, zero, external, alias, inactive]);
    let _daemon = world.daemon("");
    for name in ["primary", "sidekick", "zero", "external", "alias", "inactive"] {
        world.pushed(&format!("{name}.example.com")).await;
    }
}

async fn a_container_without_a_service_announces_names_while_it_runs(world: World) {
    let mut stopped = ContainerSpec::new("old").label(LABEL, "old.example.com");
    stopped.state = "stopped".to_owned();
    world.rancher.add_container(stopped);
    world.rancher.add_container(ContainerSpec::new("new").label(LABEL, "new.example.com"));
    let mut daemon = world.daemon("");
    world.pushed("new.example.com").await;
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["new.example.com"]));
}

async fn a_stopped_container_of_an_upgrade_does_not_bring_its_label_back(world: World) {
    let moved = world.announce("web", "moved", "old.example.com");
    let gone = world.announce("web", "gone", "gone.example.com");
    // Upgraded before the daemon has seen the old labels at all.
    world.rancher.begin_upgrade(&moved, LABEL, Some("new.example.com"));
    world.rancher.begin_upgrade(&gone, LABEL, None);
    let mut daemon = world.daemon("");
    world.pushed("new.example.com").await;
    daemon.settles().await;
    world.rancher.finish_upgrade(&moved);
    world.rancher.finish_upgrade(&gone);
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["new.example.com"]));
}

async fn names_on_record_hold_while_metadata_is_not_ready_at_boot(world: World) {
    world.announce("web", "site", "b.example.com a.example.com");
    let mut daemon = world.daemon("c.example.com");
    world.pushed("b.example.com").await;
    daemon.settles().await;
    daemon.stop().await;

    world.rancher.metadata_is(Availability::NoData).await.unwrap();
    let id = world.rancher.certificate("b.example.com").unwrap().id;
    world.rancher.remove_certificate(&id);
    let mut daemon = world.daemon("c.example.com");
    world.pushed("b.example.com").await;
    daemon.settles().await;
    world.rancher.metadata_is(Availability::Up).await.unwrap();
    daemon.settles().await;
    assert_eq!(world.issued("a.example.com").len(), 1, "{}", daemon.text());
    assert_eq!(world.production.orders().len(), 2);
    assert_eq!(daemon.with("nobody wants").len(), 0);
}

async fn another_order_of_the_same_names_is_the_same_certificate(world: World) {
    let service = world.announce("web", "site", "b.example.com a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("b.example.com").await;
    daemon.settles().await;
    world.rancher.set_label(&service, LABEL, Some("a.example.com b.example.com"));
    daemon.settles().await;
    daemon.settles().await;
    assert_eq!(world.production.orders().len(), 1, "{}", daemon.text());
    assert_eq!(world.rancher.certificates().len(), 1);
}

async fn each_bad_name_of_a_label_is_told_once_and_the_rest_goes_on(world: World) {
    let long = "x".repeat(300);
    let bad = [
        ("*.example.com", "wildcard"),
        ("under_score.example.com", "underscore"),
        ("../etc", "empty"),
        ("a..example.com", "empty"),
        (&long, "longer than 63"),
        ("1.2.3.4.5.6.7.8.9.example.com", "at most 10 labels"),
        ("co.uk", "public suffix"),
        ("192.0.2.1", "IP address"),
        ("[2001:db8::1]", "IP address"),
        ("localhost", "one dot"),
        ("-a.example.com", "hyphen"),
        ("a/b.example.com", "only letters"),
        ("a.example.com:443", "only letters"),
    ];
    let names: Vec<&str> = bad.iter().map(|(name, _)| *name).collect();
    let label = format!("good.example.com {}, , rest.example.com", names.join(" "));
    world.announce("web", "site", &label);
    let mut daemon = world.daemon("own.example.com, *.own.example.com");
    for name in ["good.example.com", "rest.example.com", "own.example.com"] {
        world.pushed(name).await;
    }
    daemon.settles().await;
    world.rancher.reload_metadata();
    daemon.settles().await;
    for (name, rule) in bad {
        let shown = &name[..name.len().min(80)];
        let told: Vec<_> = daemon
            .log()
            .into_iter()
            .filter(|line| {
                let notice = line["notice"].as_str().unwrap_or_default();
                notice.starts_with(&format!("web/site announces `{shown}"))
            })
            .collect();
        assert_eq!(told.len(), 1, "{name}: {}", daemon.text());
        let notice = told[0]["notice"].as_str().unwrap();
        assert!(notice.contains(rule), "{notice}");
    }
    assert_eq!(daemon.with("`*.own.example.com`").len(), 1, "{}", daemon.text());
    let expected = ["good.example.com", "rest.example.com", "own.example.com"];
    assert_eq!(ordered(&world), set(&expected));
}

async fn names_that_change_their_order_while_they_are_in_hand_cost_one_certificate(world: World) {
    let gate = world.gates("finalize", What::DoThenHold);
    let service = world.announce("shop", "web", "a.example.com b.example.com");
    let mut daemon = world.daemon("");
    guarded("the order to be finalized", gate.reached(1)).await;
    world.rancher.set_label(&service, LABEL, Some("b.example.com a.example.com"));
    daemon.says("wanted names changed").await;
    daemon.passes(2).await;
    assert_eq!(daemon.count("job begun"), 1, "{}", daemon.text());
    gate.open();
    daemon.rests().await;
    assert_eq!(world.production.issued().len(), 1, "{}", daemon.text());
    assert_eq!(world.asked("finalize"), 1);
    assert_eq!(world.rancher.certificates().len(), 1);
}

async fn a_bad_name_that_comes_back_is_told_again(world: World) {
    let told = "name left out or moved";
    let service = world.announce("shop", "web", "no_name.example.com");
    let mut daemon = world.daemon("");
    daemon.says(told).await;
    daemon.passes(1).await;
    assert_eq!(daemon.count(told), 1, "{}", daemon.text());
    world.rancher.set_label(&service, LABEL, None);
    daemon.passes(1).await;
    world.rancher.set_label(&service, LABEL, Some("no_name.example.com"));
    daemon.says(told).await;
}

//! A metadata service that is away, slow, or talks nonsense.

use std::time::Duration;

use sandbox::faults::What;
use sandbox::rancher::settings::Availability;

use crate::support::LABEL;
use crate::support::World;
use crate::support::guarded;
use crate::support::platform::status;

const OWN: &str = "own.example.com";
const LABELLED: &str = "labelled.example.com";
const LATE: &str = "late.example.com";

/// Whatever metadata does, `DOMAINS` go on, and so do the names that labels announced before.
async fn check(availability: Availability) {
    let world = World::start().await;
    let service = world.announce("web", "site", LABELLED);
    let mut daemon = world.settings().with("CONNECT_TIMEOUT", "1").with("DOMAINS", OWN).start();
    for name in [OWN, LABELLED] {
        world.pushed(name).await;
    }
    daemon.settles().await;

    world.rancher.metadata_is(availability).await.unwrap();
    // A change, so that whoever waits for one looks.
    world.rancher.reload_metadata();
    daemon.passes(1).await;
    for name in [OWN, LABELLED] {
        let id = world.rancher.certificate(name).unwrap().id;
        world.rancher.remove_certificate(&id);
        world.pushed(name).await;
    }
    assert_eq!(daemon.with("nobody wants").len(), 0, "{}", daemon.text());

    world.rancher.metadata_is(Availability::Up).await.unwrap();
    let both = format!("{LABELLED}, {LATE}");
    world.rancher.set_label(&service, LABEL, Some(&both));
    world.pushed(LATE).await;
    daemon.settles().await;
    assert_eq!(world.production.orders().len(), 3, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_hold_while_metadata_refuses_connections() {
    check(Availability::Refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_hold_while_metadata_has_no_data() {
    check(Availability::NoData).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_hold_while_metadata_answers_garbage() {
    check(Availability::Garbage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_hold_while_the_lists_of_metadata_are_null() {
    check(Availability::NullLists).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_hold_while_metadata_does_not_answer() {
    check(Availability::Stalls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_hold_while_metadata_closes_connections() {
    check(Availability::Closes).await;
}

/// Metadata that is not well when the daemon starts delays only the names that it alone knows.
async fn check_start(availability: Availability) {
    let world = World::start().await;
    world.announce("web", "site", LABELLED);
    world.rancher.metadata_is(availability).await.unwrap();
    let daemon = world
        .settings()
        .with("CONNECT_TIMEOUT", "1")
        .with("LOOP_TIME", "3600")
        .with("DOMAINS", OWN)
        .start();
    world.pushed(OWN).await;
    assert_eq!(world.production.orders().len(), 1);
    world.rancher.metadata_is(Availability::Up).await.unwrap();
    world.pushed(LABELLED).await;
    assert_eq!(daemon.count("pass ended"), 2, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_has_no_data_at_start_is_read_when_it_has() {
    check_start(Availability::NoData).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_comes_after_the_daemon_is_read_when_it_comes() {
    check_start(Availability::Refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_stalls_at_start_is_read_when_it_answers() {
    check_start(Availability::Stalls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_answers_of_metadata_are_waited_for() {
    let world = World::start().await;
    let metadata = world.rancher.metadata_faults();
    metadata.add_when(|_| true, 0, u32::MAX, What::Delay(Duration::from_millis(300)));
    let service = world.announce("web", "site", LABELLED);
    let _daemon = world.settings().with("LOOP_TIME", "3600").start();
    world.pushed(LABELLED).await;
    world.rancher.set_label(&service, LABEL, Some(LATE));
    world.pushed(LATE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_lists_could_not_be_read_is_read_again() {
    let world = World::start().await;
    let mut daemon = world
        .settings()
        .with("CONNECT_TIMEOUT", "1")
        .with("LOOP_TIME", "3600")
        .with("DOMAINS", OWN)
        .start();
    world.pushed(OWN).await;
    daemon.says("balancers woken").await;
    let metadata = world.rancher.metadata_faults();
    for (endpoint, what) in [
        ("uuid", status(500)),
        ("services", What::Truncate),
        ("containers", What::Close),
        ("containers", What::Stall),
    ] {
        metadata.add(endpoint, 1, what);
    }
    world.announce("web", "site", LABELLED);
    world.pushed(LABELLED).await;
}

/// The version is told, and the lists that it is about never come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_lists_never_come_holds_nothing_else_up() {
    let world = World::start().await;
    let mut daemon = world.settings().with("CONNECT_TIMEOUT", "100").with("DOMAINS", OWN).start();
    world.pushed(OWN).await;
    daemon.settles().await;
    let metadata = world.rancher.metadata_faults();
    let lists = metadata.count("services");
    metadata.add("services", u32::MAX, What::Stall);
    world.rancher.reload_metadata();
    let is_asked = |seen: &[sandbox::faults::Seen]| {
        let asked = seen.iter().filter(|seen| seen.endpoint == "services");
        lists + 2 <= asked.count()
    };
    guarded("both readings of the lists", metadata.until(is_asked)).await;

    let wakes = world.rancher.wakes().len();
    let id = world.rancher.certificate(OWN).unwrap().id;
    world.rancher.remove_certificate(&id);
    world.pushed(OWN).await;
    let is_woken = |model: &sandbox::rancher::model::Model| wakes < model.wakes().len();
    guarded("the wake-up", world.rancher.until(is_woken)).await;

    metadata.clear();
    world.announce("web", "site", LABELLED);
    world.pushed(LABELLED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_not_asked_for_names_when_labels_are_switched_off() {
    let world = World::start().await;
    world.announce("web", "site", LABELLED);
    let mut daemon = world.settings().with("DYNAMIC_CONFIG", "False").with("DOMAINS", OWN).start();
    world.pushed(OWN).await;
    daemon.settles().await;
    assert_eq!(world.production.orders().len(), 1);
    let asked = world.rancher.metadata_faults().seen();
    assert!(asked.iter().all(|seen| seen.endpoint == "self"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_labels_stop_when_labels_are_switched_off_and_come_back() {
    let world = World::start().await;
    world.announce("web", "site", LABELLED);
    let mut daemon = world.daemon(OWN);
    world.pushed(LABELLED).await;
    daemon.settles().await;
    daemon.stop().await;

    let mut daemon = world.settings().with("DYNAMIC_CONFIG", "False").with("DOMAINS", OWN).start();
    guarded("the notice", daemon.mentions("nobody wants this certificate")).await;
    daemon.settles().await;
    daemon.stop().await;
    let mut daemon = world.daemon(OWN);
    daemon.settles().await;
    assert_eq!(world.production.orders().len(), 2, "{}", daemon.text());
    assert_eq!(world.rancher.certificates().len(), 2);
}

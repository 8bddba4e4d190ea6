//! Labels that only containers have: of their image, of a container by itself, of one that a selector takes up.

use sandbox::rancher::service::ContainerSpec;
use sandbox::rancher::service::ServiceSpec;
use serde_json::json;

use super::ordered;
use super::set;
use crate::support::LABEL;
use crate::support::World;

over_ages! {
    a_label_of_an_image_is_found
    the_label_of_a_service_wins_over_those_of_its_containers
    containers_of_a_service_announce_as_one
    containers_with_different_labels_announce_all_of_them
    a_container_that_a_selector_takes_up_announces_for_its_service
    containers_of_a_service_that_does_not_run_announce_nothing
    containers_that_only_their_service_lists_are_found
}

const IMAGE: &str = "image.example.com";

async fn a_label_of_an_image_is_found(world: World) {
    let daemon = world.settings().with("LOOP_TIME", "3600").start();
    world.rancher.add_service(ServiceSpec::new("web", "site").image_label(LABEL, IMAGE));
    world.pushed(IMAGE).await;
    assert_eq!(daemon.with("left out").len(), 0, "{}", daemon.text());
}

/// While a service is upgraded one container after the other, those of before still run.
async fn the_label_of_a_service_wins_over_those_of_its_containers(world: World) {
    let service = ServiceSpec::new("web", "site");
    world.rancher.add_service(service.label(LABEL, "new.example.com"));
    // As each age shows a container of it: the older ones without the service's UUID and the environment's.
    let old = json!({
        "uuid": "11111111-2222-3333-4444-555555555555", "name": "web-site-1", "state": "running",
        "service_name": "site", "stack_name": "web", "labels": {LABEL: "old.example.com"},
    });
    world.rancher.add_rows(&[], &[old]);
    let mut daemon = world.daemon("");
    world.pushed("new.example.com").await;
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["new.example.com"]), "{}", daemon.text());
}

async fn containers_of_a_service_announce_as_one(world: World) {
    let mut service = ServiceSpec::new("web", "site").image_label(LABEL, IMAGE);
    service.scale = 3;
    world.rancher.add_service(service);
    let mut daemon = world.daemon("");
    world.pushed(IMAGE).await;
    daemon.settles().await;
    assert_eq!(world.production.orders().len(), 1);
    assert_eq!(daemon.count("name left out or moved"), 0, "{}", daemon.text());
}

async fn containers_with_different_labels_announce_all_of_them(world: World) {
    world.rancher.add_service(ServiceSpec::new("web", "site").image_label(LABEL, IMAGE));
    let newer = json!({
        "uuid": "11111111-2222-3333-4444-555555555555", "name": "web-site-2", "state": "running",
        "service_name": "site", "stack_name": "web",
        "labels": {LABEL: format!("newer.example.com, {IMAGE}")},
    });
    world.rancher.add_rows(&[], &[newer]);
    let mut daemon = world.daemon("");
    for name in [IMAGE, "newer.example.com"] {
        world.pushed(name).await;
    }
    daemon.settles().await;
    assert_eq!(world.production.orders().len(), 2);
    assert_eq!(daemon.count("name left out or moved"), 0, "{}", daemon.text());
}

async fn a_container_that_a_selector_takes_up_announces_for_its_service(world: World) {
    let add = |name: &str, names: &str| {
        world.rancher.add_container(ContainerSpec::new(name).label(LABEL, names))
    };
    let selector = |name: &str| ServiceSpec { scale: 0, ..ServiceSpec::new("web", name) };
    let service = world.rancher.add_service(selector("site"));
    world.rancher.select(&service, &add("chosen", "chosen.example.com"));
    let labelled = selector("labelled").label(LABEL, "service.example.com");
    let service = world.rancher.add_service(labelled);
    world.rancher.select(&service, &add("hushed", "hushed.example.com"));
    let mut daemon = world.daemon("");
    for name in ["chosen.example.com", "service.example.com"] {
        world.pushed(name).await;
    }
    daemon.settles().await;
    let expected = ["chosen.example.com", "service.example.com"];
    assert_eq!(ordered(&world), set(&expected), "{}", daemon.text());
}

async fn containers_of_a_service_that_does_not_run_announce_nothing(world: World) {
    let service = ServiceSpec::new("web", "stopped").image_label(LABEL, "stopped.example.com");
    let service = world.rancher.add_service(service);
    world.rancher.set_service_state(&service, "inactive");
    world.announce("web", "site", "own.example.com");
    let mut daemon = world.daemon("");
    world.pushed("own.example.com").await;
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["own.example.com"]));

    // Started again, they are back.
    world.rancher.set_service_state(&service, "active");
    world.pushed("stopped.example.com").await;
}

async fn containers_that_only_their_service_lists_are_found(world: World) {
    let row = |name: &str, state: &str| {
        let labels = json!({LABEL: format!("{name}.example.com")});
        json!({"uuid": name, "name": name, "state": state, "labels": labels})
    };
    let service = json!({
        "uuid": "service", "name": "site", "stack_name": "web", "labels": {},
        "containers": [row("running", "running"), row("old", "stopped")],
    });
    world.rancher.add_rows(&[service], &[]);
    let mut daemon = world.daemon("");
    world.pushed("running.example.com").await;
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["running.example.com"]));
}

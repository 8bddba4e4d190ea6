//! Announcers that go, for a moment or for good.

use sandbox::rancher::service::ServiceSpec;

use super::ordered;
use super::set;
use crate::support::LABEL;
use crate::support::World;

over_ages! {
    a_service_whose_containers_start_again_loses_no_name_to_another
    a_service_that_is_removed_holds_its_names_over_a_restart_of_ours
    a_label_that_is_gone_from_running_containers_is_gone_at_once
}

const IMAGE: &str = "image.example.com";

fn of_image(world: &World) -> String {
    world.rancher.add_service(ServiceSpec::new("web", "site").image_label(LABEL, IMAGE))
}

/// With one container, a restart of it takes all its names away.
async fn a_service_whose_containers_start_again_loses_no_name_to_another(world: World) {
    let service = of_image(&world);
    let mut daemon = world.settings().with("LOOP_TIME", "3600").start();
    world.pushed(IMAGE).await;
    daemon.says("balancers woken").await;
    let passes = daemon.count("pass ended");
    world.rancher.set_service_state(&service, "inactive");
    world.rancher.set_service_state(&service, "active");
    world.rancher.set_service_state(&service, "inactive");
    // Its second name is the first thing that is new.
    world.announce("other", "site", &format!("{IMAGE} b.example.com"));
    world.pushed("b.example.com").await;
    daemon.says("balancers woken").await;
    let orders: Vec<_> = world.production.orders().into_iter().map(|order| order.names).collect();
    assert_eq!(orders, [[IMAGE], ["b.example.com"]], "{}", daemon.text());
    assert_eq!(daemon.with("nobody wants").len(), 0, "{}", daemon.text());
    assert_eq!(daemon.count("wanted names changed"), 1, "{}", daemon.text());
    assert_eq!(daemon.count("pass ended"), passes + 1, "{}", daemon.text());
}

async fn a_service_that_is_removed_holds_its_names_over_a_restart_of_ours(world: World) {
    let service = world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    world.rancher.remove_service(&service);
    daemon.settles().await;
    daemon.stop().await;
    world.announce("again", "site", "a.example.com b.example.com");
    let mut daemon = world.daemon("");
    world.pushed("b.example.com").await;
    daemon.settles().await;
    assert_eq!(daemon.with("nobody wants").len(), 0, "{}", daemon.text());
    assert_eq!(ordered(&world), set(&["a.example.com", "b.example.com"]));
    assert_eq!(world.issued("a.example.com").len(), 1);
}

async fn a_label_that_is_gone_from_running_containers_is_gone_at_once(world: World) {
    let service = world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    world.rancher.begin_upgrade(&service, LABEL, None);
    daemon.settles().await;
    // Which of the two is meant is not sure while the old container is there.
    assert_eq!(daemon.with("nobody wants").len(), 0, "{}", daemon.text());
    world.rancher.finish_upgrade(&service);
    daemon.mentions("nobody wants this certificate any more").await;
}

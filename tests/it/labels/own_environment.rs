//! Which environment is ours: linked ones stand in the same lists.

use std::time::Duration;

use rancher_lets_encrypt::ports::Source as _;
use sandbox::faults::Seen;
use sandbox::faults::What;
use sandbox::rancher::age::Age;
use sandbox::rancher::age::Cattle;
use sandbox::rancher::age::Server;
use sandbox::rancher::settings::Caller;
use serde_json::Value;
use serde_json::json;

use super::announcing;
use super::ordered;
use super::polls::source;
use super::set;
use crate::support::LABEL;
use crate::support::World;
use crate::support::guarded;
use crate::support::look::look;
use crate::support::platform::answer;
use crate::support::platform::http_client;
use crate::support::platform::status;

const OLD: Age = Age { server: Server::V0_9_5, cattle: Cattle::V0_183_83 };

const LINKED: &str = "11111111-2222-3333-4444-555555555555";

/// Whether it is asked which environment is ours.
fn names_environment(seen: &Seen) -> bool {
    seen.path.ends_with("/environment_uuid") || seen.path == "/2015-12-19/uuid"
}

/// Names of ours and of a linked environment, with metadata that does not know our address.
async fn strangers(age: Age) -> World {
    let world = World::of_age(age).await;
    world.rancher.settings(|settings| settings.caller = Caller::Unknown);
    let mut linked = announcing("far", "site", "far.example.com");
    linked.environment = Some(LINKED.to_owned());
    world.rancher.add_services([linked, announcing("web", "site", "a.example.com")]);
    world
}

/// Whatever the others answer, one of them is enough.
#[tokio::test]
async fn each_place_that_names_our_environment_is_enough() {
    let places = [
        "/2015-12-19/uuid",
        "/2015-12-19/self/stack/environment_uuid",
        "/2015-12-19/self/container/environment_uuid",
        "/2015-12-19/self/service/environment_uuid",
        "/2015-12-19/self/host/environment_uuid",
    ];
    let world = strangers(Age::NEWEST).await;
    world.rancher.settings(|settings| settings.caller = Caller::Own);
    let faults = world.rancher.metadata_faults();
    world.rancher.faults().add("projects", u32::MAX, status(500));
    let metadata = source(&world, Duration::from_secs(60));
    let empty = answer(200, r#""""#);
    for odd in [answer(404, "Not found"), answer(200, "null"), empty, What::Close] {
        for enough in places {
            faults.clear();
            let is_other = move |seen: &Seen| {
                seen.path != enough && places.iter().any(|place| seen.path == *place)
            };
            faults.add_when(is_other, 0, u32::MAX, odd.clone());
            let found = guarded(enough, metadata.announcements()).await.unwrap();
            let names = found.iter().map(|one| one.label.as_str());
            let names: Vec<&str> = names.filter(|label| !label.is_empty()).collect();
            assert_eq!(names, ["a.example.com"], "{enough}");
        }
        faults.clear();
        faults.add_when(move |seen| places.contains(&seen.path.as_str()), 0, u32::MAX, odd);
        let error = metadata.announcements().await.unwrap_err().to_string();
        assert!(error.contains("which environment is ours"), "{error}");
    }
}

/// As with host networking, and where the metadata of another host is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_names_our_environment_where_metadata_does_not_know_us() {
    for (server, cattle) in [
        (Server::V0_6_8, Cattle::V0_176_8),
        (Server::V0_9_5, Cattle::V0_183_83),
        (Server::V0_10_4, Cattle::V0_183_83),
    ] {
        let world = strangers(Age { server, cattle }).await;
        let metadata = world.rancher.metadata_faults();
        metadata.add_when(names_environment, 0, u32::MAX, answer(404, "Not found"));
        let mut daemon = world.daemon("");
        world.pushed("a.example.com").await;
        daemon.settles().await;
        assert_eq!(ordered(&world), set(&["a.example.com"]), "{server:?}");
        assert!(world.rancher.faults().count("projects") > 0, "{server:?}");
    }
}

/// A server up to v0.10.0 takes whoever has our address for us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_a_linked_environment_with_our_address_does_not_tell_ours() {
    let world = World::of_age(OLD).await;
    let mut linked = announcing("far", "site", "far.example.com");
    linked.environment = Some(LINKED.to_owned());
    let linked = world.rancher.add_service(linked);
    world.announce("web", "site", "a.example.com");
    world.rancher.settings(|settings| settings.caller = Caller::Service(linked));
    let about_us = "/2015-12-19/self/stack/environment_uuid";
    let url = format!("{}{about_us}", world.rancher.metadata_url().trim_end_matches('/'));
    let told = http_client().get(url).header("Accept", "application/json").send().await.unwrap();
    let told = told.text().await.unwrap();
    assert_eq!(told.trim(), format!("\"{LINKED}\""), "the model shows it");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["a.example.com"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_and_api_of_two_environments_are_no_data_and_both_are_named() {
    let world = World::start().await;
    let service = world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    let metadata = world.rancher.metadata_faults();
    metadata.add("uuid", u32::MAX, answer(200, format!("\"{LINKED}\"")));
    world.rancher.set_label(&service, LABEL, Some("b.example.com"));
    let line = daemon.mentions("and the API key of").await.to_string();
    assert!(line.contains(&format!("is of the environment {LINKED}, and the")), "{line}");
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["a.example.com"]));
    metadata.clear();
    world.pushed("b.example.com").await;
}

/// Of each reading of the lists, and not of each container.
#[tokio::test]
async fn who_told_our_environment_last_is_asked_first() {
    let world = strangers(OLD).await;
    let asked = || {
        let seen = world.rancher.metadata_faults().seen();
        let paths = seen.into_iter().map(|seen| seen.path);
        let places = paths.filter(|path| path.contains("/self/") || path.ends_with("/uuid"));
        (places.collect::<Vec<String>>(), world.rancher.faults().count("projects"))
    };
    let metadata = source(&world, Duration::from_secs(60));
    for _ in 0..3 {
        metadata.announcements().await.unwrap();
    }
    assert_eq!(asked(), (vec!["/2015-12-19/uuid".to_owned()], 1));

    // A key that is refused is refused in the next minute as well.
    let world = strangers(OLD).await;
    world.rancher.settings(|settings| settings.caller = Caller::Own);
    let refused = json!({"type": "error", "status": 401, "code": "Unauthorized"});
    world.rancher.faults().add("projects", u32::MAX, answer(401, refused.to_string()));
    let metadata = source(&world, Duration::from_secs(60));
    let service = "/2015-12-19/self/service/environment_uuid";
    let is_other = move |seen: &Seen| seen.path.contains("/self/") && seen.path != service;
    world.rancher.metadata_faults().add_when(is_other, 0, u32::MAX, answer(404, "Not found"));
    for _ in 0..3 {
        metadata.announcements().await.unwrap();
    }
    let seen = world.rancher.metadata_faults().seen();
    let count = |path: &str| seen.iter().filter(|seen| seen.path.ends_with(path)).count();
    assert_eq!(world.rancher.faults().count("projects"), 1);
    assert_eq!(count("/2015-12-19/uuid"), 1);
    assert_eq!((count("/self/container/environment_uuid"), count(service)), (1, 3));
}

/// Of several environments that a key sees, the one that `CATTLE_URL` names is ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_in_the_url_of_the_api_is_ours() {
    let world = strangers(OLD).await;
    let url = format!("{}/projects/{}", world.rancher.api_url(), world.rancher.project());
    let mut daemon = world.settings().with("CATTLE_URL", url).start();
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["a.example.com"]));
    // Itself is looked at, and no list.
    let own = format!("/projects/{}", world.rancher.project());
    let seen = world.rancher.faults().seen();
    let of_projects = seen.iter().filter(|seen| seen.endpoint == "projects");
    let paths: Vec<&str> = of_projects.map(|seen| seen.path.as_str()).collect();
    assert!(!paths.is_empty() && paths.iter().all(|path| path.ends_with(&own)), "{paths:?}");
}

/// Up to Rancher 1.3 no row names its environment, and there is but one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_without_an_environment_are_ours_and_nobody_is_asked_for_it() {
    let world = World::of_age(Age { server: Server::V0_6_8, cattle: Cattle::V0_174_3 }).await;
    world.rancher.settings(|settings| settings.caller = Caller::Unknown);
    world.announce("web", "site", "a.example.com");
    let url = format!("{}/projects/{}", world.rancher.api_url(), world.rancher.project());
    let _daemon = world.settings().with("CATTLE_URL", url).start();
    world.pushed("a.example.com").await;
    let seen = world.rancher.metadata_faults().seen();
    assert!(!seen.iter().any(names_environment), "{seen:?}");
    assert_eq!(world.rancher.faults().count("projects"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_wait_until_our_environment_is_known_and_the_page_says_so() {
    let world = strangers(OLD).await;
    let url = format!("{}/projects/{}", world.rancher.api_url(), world.rancher.project());
    world.rancher.faults().add("projects", u32::MAX, status(500));
    // The host is known for everybody.
    let metadata = world.rancher.metadata_faults();
    metadata.add_when(names_environment, 0, u32::MAX, answer(404, "Not found"));
    let settings = world.settings().with("CATTLE_URL", url).with("DOMAINS", "own.example.com");
    let (mut daemon, port) = settings.start_seen().await;
    world.pushed("own.example.com").await;
    daemon.settles().await;
    let told: Value = serde_json::from_str(&look(&port, "/status.json").await.body).unwrap();
    let parts = told["dependencies"].as_array().unwrap();
    let source = parts.iter().find(|part| part["name"] == "source").unwrap();
    assert_ne!(source["health"], "ok", "{source}");
    let detail = source["detail"].as_str().unwrap();
    assert!(detail.contains("which environment is ours"), "{source}");
    assert!(told["sentence"].as_str().unwrap().ends_with("Trouble with: source."), "{told}");
    assert_eq!(ordered(&world), set(&["own.example.com"]));

    world.rancher.faults().clear();
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["own.example.com", "a.example.com"]));
}

/// The API and metadata that were given do not belong together: nobody's names are taken for gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_none_but_other_environments_are_no_data() {
    let world = World::start().await;
    let other = json!({
        "uuid": "u", "name": "site", "stack_name": "far", "state": "active",
        "environment_uuid": "11111111-2222-3333-4444-555555555555",
        "labels": {LABEL: "far.example.com"},
    });
    let service = world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    let faults = world.rancher.metadata_faults();
    for (list, rows) in [("services", json!([other])), ("containers", json!([]))] {
        faults.add(list, u32::MAX, answer(200, rows.to_string()));
    }
    world.rancher.set_label(&service, LABEL, Some("b.example.com"));
    daemon.mentions("metadata shows nothing of our environment").await;
    daemon.settles().await;
    assert_eq!(daemon.with("nobody wants").len(), 0, "{}", daemon.text());
    faults.clear();
    world.pushed("b.example.com").await;
    assert_eq!(ordered(&world), set(&["a.example.com", "b.example.com"]));
}

/// It has no data, whatever it was asked: names that are known hold, and none is taken for gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_too_old_for_its_rancher_takes_no_name_away() {
    let world = World::start().await;
    let service = world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    world.rancher.settings(|settings| settings.age.server = Server::V0_8_0);
    world.rancher.set_label(&service, LABEL, Some("b.example.com"));
    daemon.mentions("labels not read, the names last known hold").await;
    daemon.settles().await;
    assert_eq!(daemon.with("nobody wants").len(), 0, "{}", daemon.text());

    world.rancher.settings(|settings| settings.age.server = Server::V0_8_11);
    world.pushed("b.example.com").await;
}

//! The long poll, and how metadata changes and fails.

use http::StatusCode;
use reqwest::Client;
use sandbox::rancher::Rancher;
use sandbox::rancher::service::ContainerSpec;
use sandbox::rancher::service::ServiceSpec;
use sandbox::rancher::settings::Availability;
use sandbox::rancher::settings::RancherSettings;
use serde_json::Value;
use serde_json::json;

use crate::desk::client;

const HOSTS: &str = "com.danieldent.rancher-lets-encrypt.hosts";

struct Metadata {
    rancher: Rancher,
    client: Client,
}

impl Metadata {
    async fn start() -> Self {
        let rancher = Rancher::start(RancherSettings::default()).await;
        Self { rancher: rancher.expect("ports are free"), client: client() }
    }

    async fn ask(&self, path: &str) -> reqwest::Result<(StatusCode, String)> {
        let url = format!("{}{path}", self.rancher.metadata_url());
        let request = self.client.get(url).header("accept", "application/json");
        let response = request.send().await?;
        let status = response.status();
        Ok((status, response.text().await?))
    }

    async fn json(&self, path: &str) -> Value {
        let (status, text) = self.ask(path).await.expect("metadata answers");
        assert_eq!(status, 200, "{path}");
        serde_json::from_str(&text).expect("it is JSON")
    }

    /// The entries of a list with a name, as many as there are.
    async fn entries(&self, list: &str, name: &str) -> Vec<Value> {
        let list = self.json(&format!("/2015-12-19/{list}")).await;
        let all = list.as_array().expect("it is a list");
        all.iter().filter(|entry| entry["name"] == name).cloned().collect()
    }
}

#[tokio::test]
async fn poll_wakes_at_a_change_of_labels() {
    let metadata = Metadata::start().await;
    let shop = metadata.rancher.add_service(ServiceSpec::new("shop", "web"));
    let version = metadata.rancher.metadata_version();
    let path = format!("/latest/version?wait=true&maxWait=60&value={version}");
    let (answer, ()) = tokio::join!(metadata.ask(&path), async {
        let faults = metadata.rancher.metadata_faults();
        faults.until(|seen| seen.iter().any(|seen| seen.endpoint == "wait")).await;
        metadata.rancher.set_label(&shop, HOSTS, Some("www.example.test"));
    });
    let (_, answer) = answer.expect("the poll ends");
    assert_ne!(answer, json!(version).to_string());
    assert_eq!(answer, json!(metadata.rancher.metadata_version()).to_string());
    for list in ["services/web", "containers/shop-web-1"] {
        let label = metadata.json(&format!("/2015-12-19/{list}/labels/{HOSTS}")).await;
        assert_eq!(label, "www.example.test");
    }
}

#[tokio::test]
async fn poll_answers_at_once_unless_the_bare_value_is_current() {
    let metadata = Metadata::start().await;
    let version = metadata.rancher.metadata_version();
    let at_once = [
        "/latest/version?wait=true&value=old&maxWait=60".to_owned(),
        "/latest/version?wait=true&value=&maxWait=60".to_owned(),
        "/latest/version?wait=true&maxWait=60".to_owned(),
        format!("/latest/version?wait=True&value={version}"),
        format!("/latest/version?wait=true&value=%22{version}%22"),
        format!("/latest/version?maxWait=-1&value={version}&wait=true"),
        "/latest/region_name?wait=true&value=null".to_owned(),
    ];
    for path in at_once {
        let (status, _) = metadata.ask(&path).await.expect("metadata answers");
        assert_eq!(status, 200, "{path}");
    }
    metadata.json("/latest/self/container?wait=true&value=x").await;
    metadata.json("/latest/region_name?wait=true&value=%3Cnil%3E&maxWait=-1").await;
    let missing = metadata.ask("/latest/nothing?wait=true&value=x&maxWait=-1").await;
    assert_eq!(missing.expect("metadata answers").0, 404);
}

#[tokio::test]
async fn lists_change_their_order_with_a_reload_only() {
    let metadata = Metadata::start().await;
    let names = (0..20).map(|number| ServiceSpec::new("many", &format!("service{number}")));
    metadata.rancher.add_services(names);
    let first = metadata.json("/latest/services").await;
    assert_eq!(metadata.json("/latest/services").await, first);
    metadata.rancher.reload_metadata();
    let second = metadata.json("/latest/services").await;
    assert_ne!(first, second);
    let sorted = |list: &Value| {
        let mut list = list.as_array().cloned().unwrap_or_default();
        list.sort_by_key(|entry| entry["name"].to_string());
        list
    };
    assert_eq!(sorted(&first), sorted(&second));
}

#[tokio::test]
async fn old_container_stands_beside_the_new_one_during_an_upgrade() {
    let metadata = Metadata::start().await;
    let spec = ServiceSpec::new("shop", "web").label(HOSTS, "old.example.test");
    let shop = metadata.rancher.add_service(spec);
    metadata.rancher.begin_upgrade(&shop, HOSTS, Some("new.example.test"));
    let service = metadata.entries("services", "web").await;
    assert_eq!(
        (&service[0]["labels"][HOSTS], &service[0]["state"]),
        (&json!("new.example.test"), &json!("upgraded"))
    );
    let mut containers: Vec<(String, String)> = metadata
        .entries("containers", "shop-web-1")
        .await
        .iter()
        .map(|entry| (entry["state"].to_string(), entry["labels"][HOSTS].to_string()))
        .collect();
    containers.sort();
    let expected = [("running", "new.example.test"), ("stopped", "old.example.test")];
    let expected = expected.map(|(state, label)| (format!("{state:?}"), format!("{label:?}")));
    assert_eq!(containers, expected);
    metadata.rancher.finish_upgrade(&shop);
    assert_eq!(metadata.entries("containers", "shop-web-1").await.len(), 1);
    metadata.rancher.remove_service(&shop);
    assert_eq!(metadata.entries("containers", "shop-web-1").await.len(), 0);
}

#[tokio::test]
async fn own_service_is_the_same_in_api_and_metadata() {
    let metadata = Metadata::start().await;
    let rancher = &metadata.rancher;
    let own = metadata.json("/latest/self/service").await;
    assert_eq!(
        (&own["name"], &own["primary_service_name"]),
        (&json!(Rancher::OWN_SIDEKICK), &json!(Rancher::OWN_PRIMARY))
    );
    assert!(own["token"].is_string(), "one's own token is shown");
    let api = crate::desk::Caller::new(rancher);
    let listed = api.get("services").await;
    assert_eq!(listed.names(), [Rancher::OWN_PRIMARY]);
    assert_eq!(listed.body["data"][0]["uuid"], own["uuid"]);
    let sidekick = &listed.body["data"][0]["secondaryLaunchConfigs"][0];
    assert_eq!(sidekick["name"], Rancher::OWN_SIDEKICK);
    let container = metadata.json("/latest/self/container").await;
    assert_eq!(container["environment_uuid"], rancher.environment());
    assert_eq!(container["service_uuid"], own["uuid"]);
}

#[tokio::test]
async fn update_of_a_service_does_not_show_in_its_state() {
    let metadata = Metadata::start().await;
    let rancher = &metadata.rancher;
    let version = rancher.metadata_version();
    let path = format!("services/{}/?action=update", rancher.own_service());
    let api = crate::desk::Caller::new(rancher);
    assert_eq!(api.post(&path, &json!({})).await.body["state"], "updating-active");
    assert_ne!(rancher.metadata_version(), version);
    let service = metadata.entries("services", Rancher::OWN_PRIMARY).await;
    assert_eq!(service[0]["state"], "active");
    rancher.set_service_state(rancher.own_service(), "updating-active");
    let service = metadata.entries("services", Rancher::OWN_PRIMARY).await;
    assert_eq!(service[0]["state"], "updating-active");
}

#[tokio::test]
async fn linked_environment_and_standalone_containers_are_there() {
    let metadata = Metadata::start().await;
    let linked = "11111111-2222-4333-8444-555555555555";
    metadata.rancher.add_service(ServiceSpec {
        environment: Some(linked.to_owned()),
        ..ServiceSpec::new("far", "away")
    });
    let service = metadata.entries("services", "away").await;
    assert_eq!(service[0]["environment_uuid"], linked);
    assert_eq!(metadata.json("/latest/environments/0/uuid").await, linked);
    let api = crate::desk::Caller::new(&metadata.rancher);
    assert_eq!(api.get("services").await.names(), [Rancher::OWN_PRIMARY]);

    let uuid =
        metadata.rancher.add_container(ContainerSpec::new("alone").label(HOSTS, "x.example.test"));
    let container = metadata.entries("containers", "alone").await;
    assert_eq!(container[0]["service_name"], Value::Null);
    assert!(container[0].get("service_uuid").is_none());
    let by_uuid = metadata.json(&format!("/2015-12-19/containers/{uuid}/name")).await;
    assert_eq!(by_uuid, "alone");
    let below_null = metadata.ask("/2015-12-19/containers/alone/links/x").await;
    assert!(below_null.is_err(), "the real one dies of it");
    metadata.rancher.remove_container(&uuid);
    assert_eq!(metadata.entries("containers", "alone").await.len(), 0);
}

#[tokio::test]
async fn unwell_metadata_recovers_on_the_same_port() {
    let metadata = Metadata::start().await;
    let url = metadata.rancher.metadata_url();
    let is = |availability| metadata.rancher.metadata_is(availability);
    let lists = "/2015-12-19/services";

    is(Availability::Refused).await.expect("it only closes");
    assert!(metadata.ask(lists).await.expect_err("nobody listens").is_connect());
    is(Availability::Closes).await.expect("the port is ours");
    let error = metadata.ask(lists).await.expect_err("no answer comes");
    assert!(!error.is_connect());
    is(Availability::NoData).await.expect("the port is ours");
    for (path, message) in [(lists, "Invalid version"), ("/latest/version", "Not found")] {
        let (status, text) = metadata.ask(path).await.expect("metadata answers");
        assert_eq!(status, 404);
        assert!(text.contains(message), "{text}");
    }
    assert_eq!(metadata.json("/").await, json!({"latest": "/latest"}));
    is(Availability::Garbage).await.expect("the port is ours");
    for path in [lists, "/latest/version", "/latest/uuid"] {
        let (status, text) = metadata.ask(path).await.expect("metadata answers");
        assert_eq!(status, 200);
        assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    }
    is(Availability::NullLists).await.expect("the port is ours");
    assert_eq!(metadata.json(lists).await, Value::Null);
    is(Availability::Up).await.expect("the port is ours");
    assert_eq!(metadata.entries("services", Rancher::OWN_PRIMARY).await.len(), 1);
    assert_eq!(metadata.rancher.metadata_url(), url);
}

#[tokio::test]
async fn poll_in_flight_ends_when_the_port_is_closed() {
    let metadata = Metadata::start().await;
    let version = metadata.rancher.metadata_version();
    let path = format!("/latest/version?wait=true&value={version}");
    let (answer, closed) = tokio::join!(metadata.ask(&path), async {
        let faults = metadata.rancher.metadata_faults();
        faults.until(|seen| !seen.is_empty()).await;
        metadata.rancher.metadata_is(Availability::Refused).await
    });
    assert!(answer.is_err());
    closed.expect("it only closes");
}

#[tokio::test]
async fn stalled_request_is_never_answered() {
    let metadata = Metadata::start().await;
    metadata.rancher.metadata_is(Availability::Stalls).await.expect("the port is ours");
    let faults = metadata.rancher.metadata_faults();
    let second = async {
        faults.until(|seen| !seen.is_empty()).await;
        // A reload wakes whatever still looks at the data.
        metadata.rancher.reload_metadata();
        metadata.rancher.metadata_is(Availability::Up).await.expect("the port is ours");
        metadata.json("/latest/uuid").await
    };
    tokio::select! {
        biased;
        stalled = metadata.ask("/latest/services") => panic!("{stalled:?}"),
        uuid = second => assert_eq!(uuid, metadata.rancher.environment()),
    }
}

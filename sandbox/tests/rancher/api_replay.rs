//! Every recorded exchange with the API, replayed in order.

use http::Method;
use sandbox::rancher::Rancher;
use sandbox::rancher::service::ServiceSpec;
use sandbox::rancher::settings::Conflict;
use sandbox::rancher::settings::RancherSettings;
use sandbox::rancher::settings::Role;
use serde_json::Value;

use crate::desk::Answer;
use crate::desk::Caller;
use crate::desk::pair;
use crate::recordings::Comparison;
use crate::recordings::files;
use crate::recordings::name;

/// What is not replayed, and why.
const LEFT_OUT: [(&str, &str); 3] = [
    ("80-create-service.json", "services are made by tests, not over the API"),
    ("81-create-load-balancer.json", "balancers are made by tests, not over the API"),
    ("85-list-containers.json", "containers are shown by metadata only"),
];

/// The host that the recordings were made with, and all links name.
const HOST: &str = "rancher.example.test:8080";

/// Stands where a recording hides a private key.
const HIDDEN_KEY: &str = "<private key PEM>";

/// What no two servers have in common.
const DIFFERENT: &[&str] = &[
    "id",
    "uuid",
    "created",
    "createdTS",
    "removed",
    "removedTS",
    "key",
    "instanceIds",
    "instanceId",
    "hostId",
    "ipAddress",
    "serviceId",
    "stackId",
    "environmentId",
    "hostname",
    "self",
    "account",
    "consumedbyservices",
    "consumedservices",
    "upgrade",
    "restart",
    "update",
    "remove",
    "deactivate",
    "removeservicelink",
    "addservicelink",
    "setservicelinks",
];

#[tokio::test]
async fn recorded_exchanges_are_answered_alike() {
    let settings = RancherSettings {
        access_control: false,
        conflict: Conflict::Never,
        ..RancherSettings::default()
    };
    let rancher = Rancher::start(settings).await.expect("ports are free");
    let mut replay = Replay { rancher: &rancher, ids: Vec::new(), wrong: Vec::new() };
    for path in files("rancher-api") {
        let name = name(&path);
        if LEFT_OUT.iter().any(|(left_out, _)| *left_out == name) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("it was listed");
        let recording: Value = serde_json::from_str(&text).expect("recordings are JSON");
        replay.one(&name, &recording).await;
    }
    assert!(replay.wrong.is_empty(), "{}", replay.wrong.join("\n"));
}

#[test]
fn what_is_left_out_is_there() {
    let names: Vec<String> = files("rancher-api").iter().map(|path| name(path)).collect();
    for (left_out, why) in LEFT_OUT {
        assert!(names.iter().any(|name| name == left_out), "{left_out} ({why}) is gone");
    }
}

struct Replay<'a> {
    rancher: &'a Rancher,
    /// Ids of services in recordings and in the model.
    ids: Vec<(&'static str, String)>,
    wrong: Vec<String>,
}

impl Replay<'_> {
    async fn one(&mut self, name: &str, recording: &Value) {
        self.prepare(name);
        let (request, expected) = (&recording["request"], &recording["response"]);
        let answer = self.send(name, request).await;
        let mut wrong = Vec::new();
        if expected["status"] != answer.status {
            wrong.push(format!("status {} became {}", expected["status"], answer.status));
        }
        headers(&expected["headers"], &answer, &mut wrong);
        let comparison = Comparison {
            types_only: DIFFERENT,
            free_maps: &["linkedServices"],
            may_be_null: &[],
            values: true,
        };
        wrong.extend(comparison.differences(&expected["body"], &answer.body));
        let length = |body: &Value| body["data"].as_array().map(Vec::len);
        // The recorder has shortened the one, and in the other the model has the daemon's stack too.
        let is_longer = ["63", "84"].iter().any(|number| name.starts_with(number));
        if !is_longer && length(&expected["body"]) != length(&answer.body) {
            wrong.push("the list is longer or shorter".to_owned());
        }
        for (certificate, ours) in certificates(&expected["body"]).zip(certificates(&answer.body)) {
            // Certificates are made in the recorded order, so that even their ids are the same.
            for field in ["id", "links", "actions"] {
                if certificate[field] != ours[field] {
                    wrong.push(format!("{} became {}", certificate[field], ours[field]));
                }
            }
            let shows_key = ours["key"].as_str().is_some_and(|key| key.contains("BEGIN PRIVATE"));
            if shows_key != (certificate["key"] == HIDDEN_KEY) {
                wrong.push(format!("key {} became {}", certificate["key"], ours["key"]));
            }
        }
        let wrong = wrong.iter().map(|wrong| format!("{name}: {wrong}"));
        self.wrong.extend(wrong);
    }

    /// What was done between two recordings.
    fn prepare(&mut self, name: &str) {
        if name != "82-list-load-balancers-v1.json" {
            return;
        }
        let shop = ServiceSpec::new("shop", "shop").label(
            "com.danieldent.rancher-lets-encrypt.hosts",
            "shop.example.test,www.shop.example.test",
        );
        let shop = self.rancher.add_service(shop);
        let balancer = self.rancher.add_balancer("lb", Some("1c3"), &["1c4"], "active");
        self.ids = vec![("1s2", shop), ("1s3", balancer)];
    }

    async fn send(&self, name: &str, request: &Value) -> Answer {
        let wrong_key = || ("nobody".to_owned(), "nothing".to_owned());
        let caller = match name.get(..2) {
            Some("60") => Caller::with_role(self.rancher, Role::AgentOnly),
            Some("63" | "64" | "65") => Caller::with_key(self.rancher, wrong_key()),
            _ => Caller::new(self.rancher),
        };
        let text = |field: &str| request[field].as_str().expect("it is recorded").to_owned();
        let method = Method::try_from(text("method").as_str()).expect("it is a method");
        let mut path = text("path");
        let known = |(recorded, _): &&(&str, String)| path.contains(&format!("/{recorded}/"));
        if let Some((recorded, ours)) = self.ids.iter().find(known) {
            path = path.replace(recorded, ours);
        }
        let mut sent = caller.request(method, &path).header("host", HOST);
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            sent = sent.header(name, value.as_str().expect("headers are text"));
        }
        caller.send(sent, body(&request["body"])).await
    }
}

/// The recorded body with a real key in place of the hidden one.
fn body(recorded: &Value) -> Option<String> {
    if recorded.is_null() {
        return None;
    }
    // What is no object was sent as it stands.
    if let Some(text) = recorded.as_str() {
        return Some(text.to_owned());
    }
    let mut body = recorded.clone();
    if body["key"] == HIDDEN_KEY {
        body["key"] = Value::String(pair(&["hidden.example.test"]).key_pem);
    }
    Some(body.to_string())
}

/// All headers about the account, and no others of that kind.
fn headers(recorded: &Value, answer: &Answer, wrong: &mut Vec<String>) {
    let recorded = recorded.as_object().expect("headers are recorded");
    for (name, value) in recorded {
        if answer.header(name) != value.as_str() {
            wrong.push(format!("{name} {value} became {:?}", answer.header(name)));
        }
    }
    for name in answer.headers.keys().filter(|name| name.as_str().starts_with("x-api-")) {
        if !recorded.keys().any(|key| key.eq_ignore_ascii_case(name.as_str())) {
            wrong.push(format!("the model adds {name}"));
        }
    }
}

/// The certificates of an answer, whether it is one or a list.
fn certificates(body: &Value) -> impl Iterator<Item = &Value> {
    let items = body["data"].as_array().into_iter().flatten();
    items.chain(Some(body)).filter(|item| item["type"] == "certificate")
}

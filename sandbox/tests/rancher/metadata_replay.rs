//! Recorded answers of metadata, compared with those of a model that holds the same environment.

use std::path::Path;

use http::Method;
use reqwest::Client;
use sandbox::rancher::Rancher;
use sandbox::rancher::service::ContainerSpec;
use sandbox::rancher::service::ServiceKind;
use sandbox::rancher::service::ServiceSpec;
use sandbox::rancher::settings::Caller;
use sandbox::rancher::settings::RancherSettings;
use serde_json::Value;

use crate::desk::client;
use crate::recordings::Comparison;
use crate::recordings::files;
use crate::recordings::name;

const HOSTS: &str = "com.danieldent.rancher-lets-encrypt.hosts";

/// The address of the sidekick whose `self` was recorded; others are strangers.
const SIDEKICK: &str = "10.42.206.54";

/// What was recorded when the shop had been scaled to nothing.
const LATER: [&str; 2] = ["scaled-to-zero-service", "nginx-service"];

/// The number of entries of lists that the model has a counterpart for, at least.
const COUNTERPARTS: usize = 9;

#[tokio::test]
async fn recorded_answers_of_metadata_have_the_same_shape() {
    let (now, sidekick) = environment(1).await;
    let (later, _) = environment(0).await;
    let client = client();
    let mut wrong = Vec::new();
    let mut replayed = 0;
    for head in files("metadata").iter().filter(|path| name(path).ends_with(".head.txt")) {
        let recording = Recording::read(head);
        let is_later = LATER.iter().any(|later| name(head).starts_with(later));
        let rancher = if is_later { &later } else { &now };
        rancher.settings(|settings| {
            settings.caller = match recording.source == SIDEKICK {
                true => Caller::Service(sidekick.clone()),
                false => Caller::Unknown,
            };
        });
        let differences = recording.differences(&client, &rancher.metadata_url()).await;
        wrong.extend(differences.iter().map(|wrong| format!("{}: {wrong}", name(head))));
        replayed += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(replayed > 50, "only {replayed} recordings were found");
}

/// The stacks of the recordings, as far as they show something of their own. The shop has been
/// scaled in between; without it, nothing runs of our own stack.
async fn environment(shop: u32) -> (Rancher, String) {
    let rancher = Rancher::start(RancherSettings::default()).await.expect("ports are free");
    rancher.remove_service(rancher.own_service());
    let service = |name: &str, hosts: &str| ServiceSpec::new("plat-User", name).label(HOSTS, hosts);
    let mut all = vec![
        ServiceSpec { scale: 2, ..service("web", "www.example.test") },
        ServiceSpec { scale: shop, ..service("shop", "shop.example.test, api.shop.example.test") },
        service("MixedCase", "Blog.Example.TEST,WWW.Blog.Example.Test"),
        service("stopme", "stopped.example.test"),
    ];
    all.push(ServiceSpec {
        state: "inactive".to_owned(),
        ..service("created-only", "created.example.test")
    });
    for (kind, name) in [(ServiceKind::External, "extsvc"), (ServiceKind::Dns, "aliassvc")] {
        all.push(ServiceSpec { kind, ..service(name, "external.example.test") });
    }
    let real = if shop == 0 { "inactive" } else { "active" };
    for (stack, state) in [("plat-real", real), ("plat-own-v2", "inactive")] {
        let primary = ServiceSpec {
            state: state.to_owned(),
            ..ServiceSpec::new(stack, Rancher::OWN_PRIMARY)
        };
        all.push(primary.clone());
        all.push(ServiceSpec {
            name: Rancher::OWN_SIDEKICK.to_owned(),
            sidekick_of: Some(Rancher::OWN_PRIMARY.to_owned()),
            health_check: true,
            ..primary
        });
    }
    let ids = rancher.add_services(all);
    rancher.set_service_state(&ids[3], "inactive");
    rancher.add_container(
        ContainerSpec::new("plat-standalone").label(HOSTS, "standalone.example.test"),
    );
    rancher.add_container(ContainerSpec::new("plat-metadata"));
    let certificate = rancher.add_certificate("somedomain.example.com", "", None, "", None);
    rancher.add_balancer("lb2", Some(&certificate), &[], "active");
    rancher.add_balancer("traffic-manager-80", None, &[], "inactive");
    (rancher, ids[8].clone())
}

/// A recorded exchange: what was asked, by whom, and the answer; none if the connection was closed.
struct Recording {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    source: String,
    status: Option<u16>,
    answer_headers: Vec<(String, String)>,
    body: String,
}

impl Recording {
    fn read(head: &Path) -> Self {
        let text = std::fs::read_to_string(head).expect("it was listed");
        let (asked, answered) = text.split_once("\n\n").expect("a blank line is in between");
        let mut lines = asked.lines();
        let mut line = lines.next().expect("there is a request line").split(' ');
        let (method, path) = (line.next(), line.next());
        let source = asked.lines().find_map(|line| line.strip_prefix("# source address: "));
        let status = answered.strip_prefix("HTTP/1.1 ").map(|status| {
            let number = status.get(..3).and_then(|number| number.parse().ok());
            number.expect("a status is a number")
        });
        let stem = head.to_string_lossy();
        let stem = stem.strip_suffix(".head.txt").expect("heads are so called");
        let body = ["json", "txt"]
            .iter()
            .find_map(|kind| std::fs::read_to_string(format!("{stem}.body.{kind}")).ok());
        Self {
            method: method.and_then(|method| method.parse().ok()).expect("it is a method"),
            path: path.expect("there is a path").to_owned(),
            headers: headers(asked),
            source: source.expect("the source is recorded").to_owned(),
            status,
            answer_headers: headers(answered),
            body: body.unwrap_or_default(),
        }
    }

    async fn differences(&self, client: &Client, url: &str) -> Vec<String> {
        let mut request = client.request(self.method.clone(), format!("{url}{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let (response, status) = match (request.send().await, self.status) {
            (Ok(response), Some(status)) => (response, status),
            (Err(_), None) => return Vec::new(),
            (Ok(response), None) => {
                return vec![format!("the model answers {}", response.status())];
            }
            (Err(error), Some(_)) => return vec![error.to_string()],
        };
        let mut wrong = Vec::new();
        if response.status() != status {
            wrong.push(format!("{status} became {}", response.status()));
        }
        for name in ["access-control-allow-origin", "content-type", "location"] {
            let recorded =
                self.answer_headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            let recorded = recorded.map(|(_, value)| value.as_str());
            let ours = response.headers().get(name).and_then(|value| value.to_str().ok());
            if recorded != ours {
                wrong.push(format!("{name} {recorded:?} became {ours:?}"));
            }
        }
        let ours = response.text().await.unwrap_or_else(|error| error.to_string());
        wrong.extend(bodies(&self.body, &ours));
        wrong
    }
}

fn headers(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().skip(1).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn bodies(recorded: &str, ours: &str) -> Vec<String> {
    let json = |text| serde_json::from_str::<Value>(text).ok();
    match (json(recorded), json(ours)) {
        (Some(recorded), Some(ours)) => {
            let comparison = Comparison {
                types_only: &[],
                free_maps: &["labels", "metadata", "links"],
                may_be_null: &["priority", "hostname", "path"],
                values: false,
            };
            let mut wrong = comparison.differences(&recorded, &ours);
            wrong.extend(few_counterparts(&recorded, &ours));
            wrong
        }
        (None, None) if kind(recorded) == kind(ours) => Vec::new(),
        _ => vec![format!("{recorded} became {ours}")],
    }
}

/// A comparison of two lists that have nothing in common would find nothing.
fn few_counterparts(recorded: &Value, ours: &Value) -> Option<String> {
    let names = |value: &Value| -> Vec<String> {
        let entries = value.as_array().into_iter().flatten();
        entries.filter_map(|entry| entry["name"].as_str().map(str::to_owned)).collect()
    };
    let is_long = recorded.as_array()?.len() > COUNTERPARTS && recorded[0]["state"].is_string();
    let ours = names(ours);
    let common = names(recorded).iter().filter(|name| ours.contains(name)).count();
    (is_long && common < COUNTERPARTS).then(|| format!("only {common} of the entries are there"))
}

/// What can be compared of a text: lines as they are, except that names and UUIDs are data.
fn kind(text: &str) -> Vec<String> {
    let is_list = text.lines().next().is_some_and(|line| line.starts_with("0="));
    if is_list {
        return vec!["0=name".to_owned()];
    }
    let line = |line: &str| match line.len() == 36 && line.matches('-').count() == 4 {
        true => "uuid".to_owned(),
        false => line.to_owned(),
    };
    text.lines().map(line).collect()
}

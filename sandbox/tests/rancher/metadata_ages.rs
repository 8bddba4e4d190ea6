//! What each version of rancher-metadata answered about one environment, and what the model of that age answers.

use std::path::Path;

use sandbox::rancher::Rancher;
use sandbox::rancher::age::Age;
use sandbox::rancher::age::Cattle;
use sandbox::rancher::age::Polls;
use sandbox::rancher::age::Server;
use sandbox::rancher::service::ServiceKind;
use sandbox::rancher::service::ServiceSpec;
use sandbox::rancher::settings::Caller;
use sandbox::rancher::settings::RancherSettings;
use serde_json::Value;

use crate::desk::client;
use crate::recordings::Comparison;
use crate::recordings::files;
use crate::recordings::name;

const FOLDER: &str = "metadata-versions";
const POLLS: &str = "longpoll.jsonl";

/// The server that stood on another host than the daemon, so that it did not know the daemon's address.
const ELSEWHERE: Age = Age { server: Server::V0_6_8, cattle: Cattle::V0_176_8 };

/// Of a file called `cattle-0.174.3.metadata-v0.6.8.jsonl`. One that was fed from a file has `.from-file` behind it.
fn age(file: &str) -> Age {
    let server = Server::ALL.into_iter().find(|(_, tag)| file.contains(&format!("-{tag}.")));
    let cattles = [
        ("-0.174.3.", Cattle::V0_174_3),
        ("-0.176.8.", Cattle::V0_176_8),
        ("-0.183.83.", Cattle::V0_183_83),
    ];
    let cattle = cattles.into_iter().find(|(number, _)| file.contains(number));
    let (server, _) = server.expect("its server is known");
    let (_, cattle) = cattle.expect("its Cattle is known");
    Age { server, cattle }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("it was listed");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// The stacks of the recordings, under their names.
async fn environment(age: Age) -> Rancher {
    let rancher = Rancher::start(RancherSettings { age, ..RancherSettings::default() });
    let rancher = rancher.await.expect("ports are free");
    rancher.remove_service(rancher.own_service());
    let primary = ServiceSpec::new("le", Rancher::OWN_PRIMARY);
    let sidekick = ServiceSpec {
        name: Rancher::OWN_SIDEKICK.to_owned(),
        sidekick_of: Some(Rancher::OWN_PRIMARY.to_owned()),
        health_check: true,
        ..primary.clone()
    };
    // Its driver has no containers, as services of these kinds have none.
    let driver = ServiceSpec {
        kind: ServiceKind::Dns,
        ..ServiceSpec::new("default-test-driver", "default-test-driver")
    };
    let system = ServiceSpec::new("network-services", "metadata-v0-8-0");
    let ids = rancher.add_services([primary, sidekick, driver, system]);
    rancher.settings(|settings| {
        settings.caller = match age == ELSEWHERE {
            true => Caller::Unknown,
            false => Caller::Service(ids[1].clone()),
        };
    });
    rancher
}

#[tokio::test]
async fn each_age_answers_as_the_real_servers_of_that_age_did() {
    let client = client();
    let mut wrong = Vec::new();
    let mut replayed = 0;
    for file in files(FOLDER).iter().filter(|file| name(file) != POLLS) {
        let rancher = environment(age(&name(file))).await;
        for recorded in lines(file) {
            let path = recorded["path"].as_str().expect("the path is recorded");
            let request = client.get(format!("{}{path}", rancher.metadata_url()));
            let answer = request.header("Accept", "application/json").send().await;
            let answer = answer.expect("metadata answers");
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.expect("it is JSON");
            let mut differences = comparison().differences(&recorded["body"], &body);
            if recorded["status"] != status {
                differences.push(format!("{} became {status}", recorded["status"]));
            }
            differences.extend(version_differs(path, &recorded["body"], &body));
            let differences =
                differences.iter().map(|said| format!("{} {path}: {said}", name(file)));
            wrong.extend(differences);
            replayed += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(replayed > 100, "only {replayed} answers were found");
}

/// Types only: whose containers were simulated has no addresses, and what depends on that is null.
fn comparison() -> Comparison {
    Comparison {
        types_only: &[],
        free_maps: &["labels", "metadata", "links"],
        may_be_null: &["health_state", "primary_ip", "token", "create_index", "scale"],
        values: false,
    }
}

/// A UUID since v0.10.1, before that a number and a checksum.
fn version_differs(path: &str, recorded: &Value, ours: &Value) -> Option<String> {
    let parts = |version: &Value| version.as_str().unwrap_or("").matches('-').count();
    let differs = path.ends_with("/version") && parts(recorded) != parts(ours);
    differs.then(|| format!("{recorded} became {ours}"))
}

/// `maxWait` was 4 s, which the servers round up to their next look.
#[test]
fn polls_end_as_those_of_the_real_servers_did() {
    let file = files(FOLDER).into_iter().find(|file| name(file) == POLLS);
    let recorded = lines(&file.expect("it is part of the crate"));
    for (server, tag) in Server::ALL {
        // This one had no data to wait for.
        let Some(poll) = recorded.iter().find(|poll| poll["server"] == tag) else {
            assert_eq!(server, Server::V0_8_0);
            continue;
        };
        let seconds = poll["same"]["seconds"].as_f64().expect("the time is recorded");
        let seen = match (poll["same"]["status"].as_u64(), seconds) {
            (None, _) => Polls::Never,
            (Some(_), seconds) if seconds < 1.0 => Polls::AtOnce,
            (Some(_), _) => Polls::InTime,
        };
        assert_eq!(server.polls(), seen, "{tag}");
    }
}

/// What the model does with that: each way to end a poll, on the wire.
#[tokio::test]
async fn a_poll_of_the_model_ends_at_once_or_with_the_next_change() {
    let client = client();
    for server in [Server::V0_5_1, Server::V0_6_8] {
        let rancher = environment(Age { server, ..Age::NEWEST }).await;
        let poll = || {
            let version = rancher.metadata_version();
            // Less than the least: over at once where it counts.
            let url = format!(
                "{}/latest/version?wait=true&value={version}&maxWait=-1",
                rancher.metadata_url()
            );
            let request = client.get(url).send();
            async { request.await.expect("metadata answers").text().await.expect("it is text") }
        };
        let version = rancher.metadata_version();
        if server.polls() == Polls::AtOnce {
            assert_eq!(poll().await, version);
            continue;
        }
        let faults = rancher.metadata_faults();
        let answered = poll();
        tokio::pin!(answered);
        let is_asked = faults.until(|seen| seen.iter().any(|seen| seen.endpoint == "wait"));
        tokio::select! {
            answer = &mut answered => panic!("{answer} came before anything changed"),
            () = is_asked => rancher.reload_metadata(),
        }
        assert_eq!(answered.await, rancher.metadata_version());
    }
}

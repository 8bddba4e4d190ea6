//! `/status.json` is what `docs/status.md` says, to the last field.

use std::collections::BTreeSet;

use rancher_lets_encrypt::view::status::Status;
use serde_json::Value;

use crate::support::World;
use crate::support::look::look;

const DOCUMENT: &str = include_str!("../../docs/status.md");
const A: &str = "a.example.com";
const B: &str = "b.example.com";

/// What stands between two marks.
fn block(name: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("<!-- {name} -->\n")).unwrap();
    rest.split_once(&format!("<!-- end of {name} -->")).unwrap().0
}

fn documented() -> BTreeSet<String> {
    let rows = block("fields").lines();
    rows.filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

fn example() -> Value {
    let json = block("example").trim();
    let json = json.strip_prefix("```json").unwrap();
    serde_json::from_str(json.strip_suffix("```").unwrap()).unwrap()
}

/// Every field of a document: lists as `[]`; an object is told by its fields, and by itself where it may be null.
fn fields(value: &Value) -> BTreeSet<String> {
    fn gather(value: &Value, path: &str, into: &mut BTreeSet<String>) {
        if !path.is_empty() {
            into.insert(path.to_owned());
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    gather(value, &format!("{path}{dot}{name}"), into);
                }
            }
            Value::Array(items) => {
                for item in items {
                    gather(item, &format!("{path}[]"), into);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut all = BTreeSet::new();
    gather(value, "", &mut all);
    // Each of them always is an object, whose fields are told.
    for object in ["certificates[]", "authorities[]", "dependencies[]", "settings[]", "phase"] {
        all.remove(object);
    }
    all.retain(|path| !path.ends_with("budgets[]") && !path.ends_with("waits[]"));
    all
}

#[track_caller]
fn check(answer: &Value) {
    let documented = documented();
    let unknown: Vec<_> =
        fields(answer).into_iter().filter(|path| !documented.contains(path)).collect();
    assert!(unknown.is_empty(), "not in docs/status.md: {unknown:?}");
}

#[test]
fn every_field_that_is_documented_is_one_of_the_document() {
    let example = example();
    // What the program does not know would be lost on the way.
    let known: Status = serde_json::from_value(example.clone()).unwrap();
    assert_eq!(serde_json::to_value(known).unwrap(), example);
    let mut shown = fields(&example);
    // Other phases, which no one document has together.
    for phase in [r#"{"is": "waiting", "reason": ""}"#, r#"{"is": "standing-by", "holder": ""}"#] {
        let phase: Value = serde_json::from_str(phase).unwrap();
        let known: rancher_lets_encrypt::view::status::Phase =
            serde_json::from_value(phase.clone()).unwrap();
        assert_eq!(serde_json::to_value(known).unwrap(), phase);
        shown.extend(fields(&serde_json::json!({ "phase": phase })));
    }
    assert_eq!(shown, documented());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_of_real_answers_is_documented() {
    let world = World::start().await;
    world.production.set(|settings| {
        settings.unresolved.insert(B.to_owned());
    });
    world.announce("web", "shop", "-bad-.example.com");
    let settings =
        world.settings().with("CA_LIMITS", "letsencrypt").with("DOMAINS", format!("{A}, {B}"));
    let (mut first, port) = settings.clone().start_seen().await;
    world.pushed(A).await;
    first.settles().await;
    let (mut second, second_port) = settings.start_seen().await;
    second.says("not started yet").await;
    let [working, standing_by] =
        [look(&port, "/status.json").await, look(&second_port, "/status.json").await];
    let head = working.head.to_lowercase();
    assert!(head.contains("\r\ncontent-type: application/json"), "{head}");
    let working: Value = serde_json::from_str(&working.body).unwrap();
    let standing_by: Value = serde_json::from_str(&standing_by.body).unwrap();
    assert_eq!(working["schema"], 1);
    assert_eq!(working["phase"]["is"], "running");
    assert_eq!(standing_by["phase"]["is"], "standing-by");
    assert_eq!(working["certificates"][0]["name"], B);
    assert_eq!(working["authorities"][0]["waits"][0]["kind"], "name");
    assert!(!working["authorities"][0]["budgets"].as_array().unwrap().is_empty());
    assert!(!working["notices"].as_array().unwrap().is_empty());
    check(&working);
    check(&standing_by);
}

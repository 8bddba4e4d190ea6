//! What nobody should send: it freezes nobody's names.

use serde_json::Value;
use serde_json::json;

use super::ordered;
use super::set;
use crate::support::LABEL;
use crate::support::World;

over_ages! {
    a_label_that_is_no_text_is_told_once_and_all_others_are_read
    rows_of_any_shape_are_passed_over
}

async fn a_label_that_is_no_text_is_told_once_and_all_others_are_read(world: World) {
    let odd = [
        ("number", json!(7)),
        ("fraction", json!(1.5)),
        ("boolean", json!(true)),
        ("list", json!(["list.example.com", "b.example.com"])),
        ("map", json!({"map.example.com": "x"})),
    ];
    let row = |name: &str, label: &Value| {
        let labels = json!({"other": [label], LABEL: label, "x": label});
        json!({"uuid": name, "name": name, "stack_name": "odd", "state": "active", "labels": labels})
    };
    let mut rows: Vec<Value> = odd.iter().map(|(name, label)| row(name, label)).collect();
    // One that is null is none at all.
    rows.push(row("null", &Value::Null));
    world.rancher.add_rows(&rows, &rows);
    world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    world.rancher.reload_metadata();
    daemon.settles().await;
    for (name, _) in odd {
        let told = daemon.with(&format!("odd/{name} announces `"));
        let first = told.first().unwrap_or_else(|| panic!("{name}: {}", daemon.text()));
        let again = told.iter().filter(|line| line["notice"] == first["notice"]).count();
        assert_eq!(again, 1, "{name}: {}", daemon.text());
    }
    assert_eq!(daemon.with("odd/null announces").len(), 0, "{}", daemon.text());
    assert_eq!(ordered(&world), set(&["a.example.com"]));
}

/// Ten thousand names, one entry of a megabyte, and text: told in a few lines, and everybody else's names are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_without_end_are_read_so_far_and_told_in_a_few_lines() {
    let world = World::start().await;
    let bad: Vec<String> = (0..10_000).map(|number| format!("name_{number}.example.com")).collect();
    let long: Vec<String> =
        (0..40_000).map(|number| format!("n{number}.huge.example.com")).collect();
    world.announce("many", "site", &format!("first.example.com, {}", bad.join(", ")));
    world.announce("huge", "site", &long.join(" "));
    world.announce("text", "site", &"x".repeat(1 << 20));
    world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    for name in ["first.example.com", "a.example.com"] {
        world.pushed(name).await;
    }
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["first.example.com", "a.example.com"]));
    for service in ["many", "huge", "text"] {
        let told = daemon.with(&format!("{service}/site announces ")).len();
        assert!((1..=25).contains(&told), "{service}: {told}");
    }
    assert!(daemon.text().len() < 100_000, "{}", daemon.text().len());
}

async fn rows_of_any_shape_are_passed_over(world: World) {
    let label = json!({LABEL: "odd.example.com"});
    let mut rows = vec![json!(7), json!(null), json!("text"), json!([]), json!({}), json!(true)];
    for odd in [json!(7), json!(false), json!([1, [2]]), json!({"a": {"b": 1}}), json!(null)] {
        // Nobody can be named who has no UUID.
        rows.push(json!({"uuid": odd, "name": "odd", "state": "active", "labels": label}));
        rows.push(json!({"uuid": "u", "name": odd, "stack_name": odd, "state": odd, "labels": odd,
            "containers": odd, "service_name": odd, "service_uuid": odd, "environment_uuid": odd}));
        rows.push(
            json!({"uuid": "u", "name": "odd", "labels": {"other": odd}, "containers": [odd]}),
        );
    }
    world.rancher.add_rows(&rows, &rows);
    world.announce("web", "site", "a.example.com");
    let mut daemon = world.daemon("");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(ordered(&world), set(&["a.example.com"]), "{}", daemon.text());
}

//! What the API does in sequences that were not recorded, but are known from its source.

use http::Method;
use sandbox::rancher::Rancher;
use sandbox::rancher::settings::Activation;
use sandbox::rancher::settings::Conflict;
use sandbox::rancher::settings::Database;
use serde_json::Value;
use serde_json::json;

use crate::desk::Caller;
use crate::desk::add;
use crate::desk::creation;
use crate::desk::pair;
use crate::desk::rancher;
use crate::desk::renewal;

#[tokio::test]
async fn list_shows_the_new_leaf_after_put() {
    let rancher = rancher().await;
    let api = Caller::new(&rancher);
    let (old, new) = (pair(&["a.example"]), pair(&["a.example", "b.example"]));
    let id = add(&rancher, "a.example", &old);
    let version = rancher.metadata_version();

    let answer = api.put(&format!("certificates/{id}"), &renewal(&new)).await;
    assert_eq!((answer.status, &answer.body["state"]), (200, &json!("updating-active")));

    let list = api.get("certificates?name=a.example").await;
    let row = &list.body["data"][0];
    assert_eq!(row["cert"], new.cert_pem);
    assert_eq!(row["subjectAlternativeNames"], json!(["a.example", "b.example"]));
    assert_eq!((&row["state"], &row["key"]), (&json!("active"), &Value::Null));
    let held = rancher.certificate("a.example").expect("it was not renamed");
    assert_eq!((held.puts, held.leaves.len(), held.key), (1, 2, new.key_pem));
    assert_eq!(held.leaves.last(), held.leaves.get(1));
    assert_eq!(rancher.metadata_version(), version, "certificates do not wake balancers");
}

#[tokio::test]
async fn rows_shift_between_pages_when_one_vanishes() {
    let rancher = rancher().await;
    let api = Caller::new(&rancher);
    let pair = pair(&["a.example"]);
    let ids = ["a", "b", "c", "d", "e"].map(|name| add(&rancher, name, &pair));

    let first = api.get("certificates?limit=2").await;
    assert_eq!(first.names(), ["a", "b"]);
    let next = first.body["pagination"]["next"].as_str().expect("there is more");
    let next = next.strip_prefix(&rancher.origin()).expect("links name the host that was asked");
    rancher.remove_certificate(&ids[0]);
    assert_eq!(api.get(next).await.names(), ["d", "e"], "c has moved to the first page");

    rancher.settings(|settings| settings.max_page = 3);
    for limit in ["1000", "0", "-1"] {
        let list = api.get(&format!("certificates?limit={limit}")).await;
        assert_eq!(list.names(), ["b", "c", "d"], "limit {limit}");
        assert_eq!(list.body["pagination"]["limit"], 3);
        assert_eq!(list.body["pagination"]["partial"], true);
    }
    assert_eq!(api.get("certificates").await.names().len(), 3);
}

#[tokio::test]
async fn put_conflicts_while_activating() {
    let rancher = rancher().await;
    let api = Caller::new(&rancher);
    rancher.settings(|settings| {
        settings.activation = Activation::Held;
        settings.conflict = Conflict::Always;
    });
    let pair = pair(&["a.example"]);
    let created = api.post("certificates", &creation("a.example", &pair)).await;
    assert_eq!((created.status, &created.body["state"]), (201, &json!("activating")));
    assert_eq!(created.body["key"], pair.key_pem);
    let path = format!("certificates/{}", created.body["id"].as_str().expect("it has an id"));

    for _ in 0..2 {
        assert_eq!(api.put(&path, &renewal(&pair)).await.status, 409);
    }
    assert_eq!(api.get(&path).await.body["transitioning"], "yes");
    rancher.settings(|settings| settings.conflict = Conflict::Sometimes);
    let statuses = [
        api.put(&path, &renewal(&pair)).await.status,
        api.put(&path, &renewal(&pair)).await.status,
    ];
    assert_eq!(statuses, [200, 200], "the third of three is let through, then it is updating");
    rancher.settings(|settings| settings.activation = Activation::Reads(1));
    assert_eq!(api.get(&path).await.body["state"], "updating-active");
    assert_eq!(api.get(&path).await.body["state"], "active");
}

#[tokio::test]
async fn put_changes_only_what_it_carries() {
    let rancher = rancher().await;
    let api = Caller::new(&rancher);
    let (old, new) = (pair(&["a.example"]), pair(&["a.example"]));
    let id = add(&rancher, "a.example", &old);
    let path = format!("certificates/{id}");
    let held = || rancher.certificate("a.example").expect("it keeps its name");

    let answer = api.put(&path, &json!({"cert": new.cert_pem, "description": "mine"})).await;
    assert_eq!((answer.status, &answer.body["state"]), (200, &json!("updating-active")));
    assert_eq!((held().key, held().chain), (old.key_pem, Some(old.chain_pem)));
    assert_eq!(held().description.as_deref(), Some("mine"));

    api.get(&path).await;
    let answer = api.put(&path, &json!({"cert": new.cert_pem, "certChain": null})).await;
    assert_eq!((answer.status, &answer.body["state"]), (200, &json!("active")));
    assert_eq!((held().chain, held().description.as_deref()), (None, Some("mine")));

    let refused = [
        (json!({"cert": null}), "NotNullable", json!("cert")),
        (json!({"cert": new.cert_pem, "key": null}), "NotNullable", json!("key")),
        (json!({"key": new.key_pem}), "InvalidFormat", Value::Null),
        (json!({"cert": new.key_pem}), "InvalidFormat", Value::Null),
        (
            json!({"cert": new.cert_pem, "description": "x".repeat(1025)}),
            "MaxLengthExceeded",
            json!("description"),
        ),
    ];
    for (body, code, field) in refused {
        let answer = api.put(&path, &body).await;
        assert_eq!((answer.status, &answer.body["code"]), (422, &json!(code)));
        assert_eq!(answer.body["fieldName"], field);
    }
    assert_eq!(held().puts, 2);
}

#[tokio::test]
async fn update_action_gives_the_key_back() {
    let rancher = rancher().await;
    let api = Caller::new(&rancher);
    let pair = pair(&["a.example"]);
    let id = add(&rancher, "a.example", &pair);
    let action = |name: &str| format!("certificates/{id}/?action={name}");

    let answer = api.post(&action("update"), &json!({})).await;
    assert_eq!((answer.status, &answer.body["key"]), (202, &json!(pair.key_pem)));
    let again = api.post(&action("update"), &json!({})).await;
    assert_eq!((again.status, &again.body["code"]), (422, &json!("ActionNotAvailable")));
    assert_eq!(api.delete(&format!("certificates/{id}")).await.status, 405, "it is updating");
    api.get("certificates").await;

    rancher.settings(|settings| settings.reveals_key = false);
    let answer = api.ask(Method::POST, &action("update"), None).await;
    assert_eq!((answer.status, &answer.body["key"]), (202, &Value::Null));
    let unknown = api.post(&action("renew"), &json!({})).await;
    assert_eq!((unknown.status, &unknown.body["code"]), (422, &json!("InvalidAction")));
    assert_eq!(rancher.faults().count("reveal-certificate"), 3);
}

#[tokio::test]
async fn names_fold_on_mysql_only() {
    let rancher = rancher().await;
    let api = Caller::new(&rancher);
    let pair = pair(&["a.example"]);
    add(&rancher, "a.example", &pair);
    rancher.settings(|settings| settings.database = Database::MySql);
    let answer = api.post("certificates", &creation("A.example", &pair)).await;
    assert_eq!((answer.status, &answer.body["code"]), (422, &json!("NotUnique")));
    assert_eq!(api.get("certificates?name=A.EXAMPLE").await.names(), ["a.example"]);
    rancher.settings(|settings| settings.database = Database::H2);
    assert_eq!(api.get("certificates?name=A.EXAMPLE").await.names().len(), 0);
    assert_eq!(api.post("certificates", &creation("A.example", &pair)).await.status, 201);
    let both = api.get("certificates?name_prefix=a&name_prefix=A&state=active").await;
    assert_eq!(both.names().len(), 0, "repeated filters must all fit");
}

#[tokio::test]
async fn removal_frees_the_name_and_keeps_the_row() {
    let rancher = rancher().await;
    let api = Caller::new(&rancher);
    let pair = pair(&["a.example"]);
    let (used, free) = (add(&rancher, "used", &pair), add(&rancher, "free", &pair));
    rancher.add_balancer("lb", Some(&used), &[&free], "active");

    let refused = api.delete(&format!("certificates/{used}")).await;
    assert_eq!((refused.status, &refused.body["code"]), (405, &json!("InvalidAction")));
    let removed = api.post(&format!("certificates/{free}/?action=remove"), &json!({})).await;
    assert_eq!((removed.status, &removed.body["state"]), (202, &json!("removing")));
    let by_id = api.get(&format!("certificates/{free}")).await;
    assert_eq!((by_id.status, &by_id.body["state"]), (200, &json!("removed")));
    assert_eq!(api.get("certificates").await.names(), ["used"]);
    assert_eq!(api.post("certificates", &creation("free", &pair)).await.status, 201);
    assert_eq!(api.delete(&format!("certificates/{free}")).await.status, 200, "as often as wanted");
}

#[tokio::test]
async fn backup_brings_old_certificates_back() {
    let rancher = rancher().await;
    let (old, new) = (pair(&["a.example"]), pair(&["a.example"]));
    let id = add(&rancher, "a.example", &old);
    let backup = rancher.snapshot();
    rancher.change_certificate(&id, |held| held.cert = new.cert_pem.clone());
    add(&rancher, "b.example", &new);
    let leaf = rancher.certificate("a.example").map(|held| held.leaves.len());
    assert_eq!(leaf, Some(2));
    rancher.restore(backup);
    let names: Vec<_> = rancher.certificates().iter().map(|held| held.cert.clone()).collect();
    assert_eq!(names, [old.cert_pem]);
}

#[tokio::test]
async fn update_of_a_service_is_a_wake() {
    let rancher = rancher().await;
    let api = Caller::new(&rancher);
    let own = rancher.own_service();
    let path = format!("services/{own}/?action=update");
    let before = rancher.metadata_version();
    let answer = api.post(&path, &json!({})).await;
    assert_eq!((answer.status, &answer.body["state"]), (202, &json!("updating-active")));
    rancher.until(|model| model.wakes() == [own] && model.version() != before).await;
    assert_eq!(api.get(&format!("services/{own}")).await.body["state"], "active");

    for state in ["upgraded", "removing"] {
        rancher.set_service_state(own, state);
        let answer = api.post(&path, &json!({})).await;
        assert_eq!((answer.status, &answer.body["code"]), (422, &json!("ActionNotAvailable")));
    }
    assert_eq!(rancher.wakes().len(), 1);
    let seen = rancher.faults().seen();
    let wakes: Vec<&str> = seen
        .iter()
        .filter(|seen| seen.endpoint == "wake")
        .map(|seen| seen.subject.as_str())
        .collect();
    assert_eq!(wakes, [Rancher::OWN_PRIMARY; 3]);
}

//! Who may do what with the API, and how it is reached.

use http::Method;
use sandbox::rancher::settings::Role;
use serde_json::Value;

use crate::desk::Caller;
use crate::desk::add;
use crate::desk::creation;
use crate::desk::pair;
use crate::desk::rancher;

#[tokio::test]
async fn keys_do_what_their_role_may() {
    let rancher = rancher().await;
    let id = add(&rancher, "a.example", &pair(&["a.example"]));
    let kinds = [
        (Role::Environment, "environment", 200, false),
        (Role::ProjectKey, "project", 200, false),
        (Role::EnvironmentAdmin, "projectadmin", 200, true),
        (Role::AgentOnly, "agent", 404, false),
    ];
    for (role, kind, status, reads_key) in kinds {
        let api = Caller::with_role(&rancher, role);
        for path in ["/v1/certificate", "/v2-beta/projects/1a5//Certificates/"] {
            let answer = api.get(path).await;
            assert_eq!((answer.status, answer.header("x-api-account-kind")), (status, Some(kind)));
        }
        let v1 = api.get(&format!("/v1/certificates/{id}")).await;
        assert_eq!(v1.body["key"], Value::Null);
        let v2 = api.get(&format!("/v2-beta/certificates/{id}")).await;
        assert_eq!(v2.body["key"].is_string(), reads_key, "{role:?}");
        assert_eq!(api.get("/v2-beta").await.body["type"], "apiVersion");
    }

    let old = Caller::new(&rancher);
    rancher.replace_key(Role::Environment);
    let answer = old.get("certificates").await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").is_some_and(|realm| realm.starts_with("Basic")));
    let quiet = old.request(Method::GET, "certificates").header("x-api-no-challenge", "true");
    assert_eq!(old.send(quiet, None).await.header("www-authenticate"), None);
    assert_eq!(Caller::new(&rancher).get("certificates").await.status, 200);
    assert_eq!(old.get("/ping").await.body, "pong");
}

#[tokio::test]
async fn wrong_key_is_the_administrator_without_access_control() {
    let rancher = rancher().await;
    let pair = pair(&["a.example"]);
    let wrong = ("wrong".to_owned(), "key".to_owned());
    let api = Caller::with_key(&rancher, wrong);
    assert_eq!(api.get("certificates").await.status, 401);
    rancher.settings(|settings| settings.access_control = false);

    let body = creation("a.example", &pair);
    let outside = api.post("/v2-beta/certificates", &body).await;
    assert_eq!(outside.status, 405, "the administrator only reads outside of a project");
    let inside = api.post("certificates", &body).await;
    assert_eq!((inside.status, inside.header("x-api-account-kind")), (201, Some("admin")));
    let list = api.get("/v2-beta/certificates").await;
    assert_eq!((list.names(), list.header("x-api-account-id")), (vec!["a.example"], Some("1a1")));

    let enforced =
        api.request(Method::GET, "certificates").header("x-enforce-authentication", "true");
    assert_eq!(api.send(enforced, None).await.status, 401);
    let own = Caller::new(&rancher).get("certificates").await;
    assert_eq!(own.header("x-api-account-kind"), Some("environment"));
}

#[tokio::test]
async fn browser_gets_html() {
    let rancher = rancher().await;
    let api = Caller::new(&rancher);
    let browser = |path| {
        let request = api.request(Method::GET, path);
        request.header("user-agent", "Mozilla/5.0")
    };
    let html = api.send(browser("certificates"), None).await;
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    let json = api.send(browser("certificates?_format=json"), None).await;
    assert_eq!(json.names().len(), 0);
}

#[tokio::test]
async fn closed_port_opens_again_at_the_same_place() {
    let rancher = rancher().await;
    let url = rancher.api_url();
    rancher.close_api().await;
    let request = Caller::new(&rancher).request(Method::GET, "certificates");
    assert!(request.send().await.expect_err("nobody listens").is_connect());
    rancher.open_api().await.expect("the port is ours");
    assert_eq!(rancher.api_url(), url);
    assert_eq!(Caller::new(&rancher).get("certificates").await.status, 200);
}

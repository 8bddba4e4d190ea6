//! What the daemon makes of Rancher's answers: pages, keys, addresses, errors, nonsense.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use rancher_lets_encrypt::backends::rancher::Rancher as Adapter;
use rancher_lets_encrypt::backends::rancher::api::Api;
use rancher_lets_encrypt::backends::rancher::base::Base;
use rancher_lets_encrypt::backends::rancher::metadata::Metadata;
use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::held::CertificateId;
use rancher_lets_encrypt::core::held::Held;
use rancher_lets_encrypt::core::held::Which;
use rancher_lets_encrypt::core::problem::DestinationError;
use rancher_lets_encrypt::ports::Destination;
use reqwest::Url;
use sandbox::certs;
use sandbox::faults::Faults;
use sandbox::faults::Gate;
use sandbox::faults::What;
use sandbox::rancher::settings::Role;
use sandbox::serve::Answers;
use sandbox::serve::Asked;
use sandbox::serve::Server;
use serde_json::Value;
use serde_json::json;

use crate::support::World;
use crate::support::daemon::command;
use crate::support::guarded;
use crate::support::platform::add;
use crate::support::platform::answer;
use crate::support::platform::bought;
use crate::support::platform::http_client;
use crate::support::platform::self_signed;
use crate::support::platform::status;

const LIST: &str = "list-certificates";
const CREATE: &str = "create-certificate";
const PUT: &str = "put-certificate";

/// A world whose Rancher gives small pages and holds `foreign` certificates of somebody else.
async fn crowded(foreign: usize) -> World {
    let world = World::start().await;
    world.rancher.settings(|settings| settings.max_page = 100);
    let pair = bought(&["shop.example.net"]);
    for number in 0..foreign {
        add(&world.rancher, &format!("foreign-{number}"), &pair);
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_certificate_is_found_behind_hundreds_of_foreign_ones_in_small_pages() {
    let world = crowded(220).await;
    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    daemon.stop().await;
    let pair = bought(&["shop.example.net"]);
    for number in 220..250 {
        add(&world.rancher, &format!("foreign-{number}"), &pair);
    }
    let before = world.rancher.certificates();
    assert_eq!(before[220].name.as_deref(), Some("a.example.com"), "on page 3");

    let mut daemon = world.daemon("a.example.com");
    daemon.settles().await;
    assert_eq!(world.rancher.faults().count(CREATE), 1);
    assert_eq!(world.rancher.faults().count(PUT), 0);
    assert_eq!(world.issued("a.example.com").len(), 1);
    assert_eq!(world.rancher.certificates(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_never_comes_is_given_up_and_read_again() {
    let world = World::start().await;
    let faults = world.rancher.faults();
    faults.add(LIST, 1, What::Stall);
    let settings = world.settings().with("CONNECT_TIMEOUT", "1");
    let mut daemon = settings.with("DOMAINS", "a.example.com").start();
    let line = daemon.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("timed out while waiting for the answer"), "{error}");
    assert_eq!(world.production.orders().len(), 0, "not there is not unknown");
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_takes_longer_than_connecting_may_is_waited_for() {
    let world = World::start().await;
    let faults = world.rancher.faults();
    faults.add(LIST, 1, What::Delay(Duration::from_millis(2500)));
    // A whole request may take three times as long.
    let settings = world.settings().with("CONNECT_TIMEOUT", "2");
    let daemon = settings.with("DOMAINS", "a.example.com").start();
    world.pushed("a.example.com").await;
    assert_eq!(daemon.with("cannot be read").len(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_vanish_while_the_list_is_read_hide_no_certificate() {
    let world = crowded(100).await;
    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    daemon.stop().await;
    let pair = bought(&["shop.example.net"]);
    for number in 100..150 {
        add(&world.rancher, &format!("foreign-{number}"), &pair);
    }
    // Ours is the first row behind the first page: a row less before it brings it under the offset.
    assert_eq!(world.rancher.certificates()[100].name.as_deref(), Some("a.example.com"));

    let gate = Gate::new();
    let faults = world.rancher.faults();
    let is_second_page =
        |seen: &sandbox::faults::Seen| seen.endpoint == LIST && seen.path.contains("marker=");
    faults.add_when(is_second_page, 0, 1, What::Hold(gate.clone()));
    let mut daemon = world.daemon("a.example.com");
    guarded("the second page", gate.reached(1)).await;
    let gone = world.rancher.certificate("foreign-7").unwrap().id;
    world.rancher.remove_certificate(&gone);
    gate.open();
    daemon.settles().await;
    assert_eq!(faults.count(CREATE), 1, "{}", daemon.text());
    assert_eq!(faults.count(PUT), 0);
    assert_eq!(world.rancher.certificates().len(), 150);
    assert_eq!(daemon.with("cannot be read").len(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_without_name_common_name_or_key_size_are_read_over() {
    let world = World::start().await;
    let id = add(&world.rancher, "x", &bought(&["shop.example.net"]));
    world.rancher.change_certificate(&id, |held| held.name = None);
    let id = add(&world.rancher, "y", &bought(&["a.example.com"]));
    world.rancher.change_certificate(&id, |held| {
        held.cert = "no certificate at all".to_owned();
        held.chain = None;
    });
    let content = certs::LeafContent::new(
        &["b.example.net"],
        time::macros::datetime!(2026-01-02 3:04:05 UTC),
        time::macros::datetime!(2046-11-22 0:00 UTC),
    );
    let company = certs::CertificateAuthority::new(&certs::Subject::new("Company", "Root"), &[]);
    add(&world.rancher, "z", &company.pair(&content.without_common_name()));
    let before = world.rancher.certificates();

    let mut daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(world.rancher.certificates()[..3], before);
    assert_eq!(world.issued("a.example.com").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_the_role_environment_wins_over_that_of_the_agent() {
    let world = World::start().await;
    let (agent, environment) =
        (world.rancher.key(Role::AgentOnly), world.rancher.key(Role::Environment));
    let _daemon = world
        .settings()
        .with("CATTLE_ACCESS_KEY", agent.0)
        .with("CATTLE_SECRET_KEY", agent.1)
        .with("CATTLE_ENVIRONMENT_ACCESS_KEY", environment.0)
        .with("CATTLE_ENVIRONMENT_SECRET_KEY", environment.1)
        .with("DOMAINS", "a.example.com")
        .start();
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_the_address_reaches_the_environment() {
    let world = World::start().await;
    for path in [
        "",
        "/",
        "/v1",
        "/v1/",
        "//v1",
        "/v1/schemas",
        "/v1/projects/1a5",
        "/v2-beta",
        "/v2-beta/",
        "//v2-beta//",
        "/v2-beta/projects/1a5",
        "/v2-beta/projects/1a5/schemas",
        "/v2-beta/projects/1a5/",
    ] {
        if let Some(held) = world.rancher.certificate("a.example.com") {
            world.rancher.remove_certificate(&held.id);
        }
        let daemon = world
            .settings()
            .with("CATTLE_URL", format!("{}{path}", world.rancher.origin()))
            .with("DOMAINS", "a.example.com")
            .start();
        world.pushed("a.example.com").await;
        daemon.stop().await;
    }
    assert_eq!(world.issued("a.example.com").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rancher_that_comes_after_the_daemon_gets_its_certificate() {
    let world = World::start().await;
    world.rancher.close_api().await;
    let mut daemon = world.daemon("a.example.com");
    let line = daemon.says("Rancher cannot be read").await;
    assert!(line["error"].as_str().unwrap().contains(&world.rancher.origin()), "{line}");
    daemon.passes(1).await;
    assert_eq!(world.production.orders().len(), 0, "whether there is a certificate is not known");
    assert_eq!(daemon.count("Rancher cannot be read"), 1, "told once");

    world.rancher.open_api().await.unwrap();
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(daemon.count("Rancher can be read again"), 1);
    assert_eq!(world.issued("a.example.com").len(), 1);

    // In the middle of its life the same.
    world.rancher.close_api().await;
    daemon.passes(1).await;
    world.rancher.open_api().await.unwrap();
    daemon.settles().await;
    assert_eq!(world.issued("a.example.com").len(), 1);
    assert_eq!(world.rancher.faults().count(CREATE), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_answers_of_rancher_are_waited_for() {
    let world = World::start().await;
    let faults = world.rancher.faults();
    faults.add_when(|_| true, 0, u32::MAX, What::Delay(Duration::from_millis(150)));
    let mut daemon = world.daemon("a.example.com, b.example.com");
    world.pushed("a.example.com").await;
    world.pushed("b.example.com").await;
    daemon.settles().await;
    assert_eq!(faults.count(CREATE), 2);
    assert_eq!(daemon.with("WARN").len(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_does_not_come_whole_is_no_empty_list() {
    let world = World::start().await;
    let faults = world.rancher.faults();
    let nonsense = [
        What::Truncate,
        What::Close,
        status(500),
        status(503),
        answer(200, ""),
        answer(200, "{}"),
        answer(200, r#"{"type":"collection","data":null,"pagination":null}"#),
        answer(200, r#"{"type":"error","status":200}"#),
        answer(200, "<html><body>maintenance</body></html>"),
        answer(302, ""),
    ];
    let count = nonsense.len();
    for what in nonsense {
        faults.add(LIST, 1, what);
    }
    let gate = Gate::new();
    faults.add_when(|seen| seen.endpoint == LIST, 0, 1, What::Hold(gate.clone()));
    let mut daemon = world.daemon("a.example.com");
    guarded("the first good list", gate.reached(1)).await;
    assert_eq!(faults.count(LIST), count + 1);
    assert_eq!(world.production.orders().len(), 0, "{}", daemon.text());
    gate.open();
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(world.issued("a.example.com").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn html_in_place_of_json_is_told_with_the_setting_to_check() {
    let world = World::start().await;
    let login = answer(200, "<!DOCTYPE html><html><title>Log in</title></html>");
    world.rancher.faults().add_when(|_| true, 0, u32::MAX, login);
    let mut daemon = world.daemon("a.example.com");
    let line = daemon.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("is CATTLE_URL the address of a Rancher 1.x server?"), "{error}");
    assert!(!error.contains("Log in"), "{error}");
    daemon.passes(1).await;
    assert_eq!(world.production.orders().len(), 0);
    world.rancher.faults().clear();
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_is_named_and_the_daemon_goes_on_when_it_is_accepted() {
    let world = World::start().await;
    let mut daemon = world
        .settings()
        .with("CATTLE_ACCESS_KEY", "LATEKEY")
        .with("CATTLE_SECRET_KEY", "late-secret")
        .with("DOMAINS", "a.example.com")
        .start();
    let line = daemon.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("CATTLE_ACCESS_KEY") && error.contains("401"), "{error}");
    daemon.passes(2).await;
    assert_eq!(world.production.orders().len(), 0);
    assert_eq!(daemon.count("Rancher cannot be read"), 1);

    world.rancher.add_key(Role::Environment, "LATEKEY", "late-secret");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(daemon.count("Rancher can be read again"), 1);
    assert!(!daemon.text().contains("late-secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_without_the_role_is_told_with_the_label_to_set() {
    let world = World::start().await;
    let (access, secret) = world.rancher.key(Role::AgentOnly);
    for url in [world.rancher.api_url(), format!("{}/projects/1a5", world.rancher.api_url())] {
        let mut daemon = world
            .settings()
            .with("CATTLE_URL", url)
            .with("CATTLE_ACCESS_KEY", access.clone())
            .with("CATTLE_SECRET_KEY", secret.clone())
            .with("DOMAINS", "a.example.com")
            .start();
        let line = daemon.says("Rancher cannot be read").await;
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("io.rancher.container.agent.role: environment"), "{error}");
        daemon.passes(1).await;
        daemon.stop().await;
    }
    assert_eq!(world.production.orders().len(), 0);
    assert_eq!(world.rancher.certificates().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_writes_nothing_while_access_control_is_off() {
    let world = World::start().await;
    world.rancher.settings(|settings| settings.access_control = false);
    // An older server may not know the header that asks it to be strict.
    for enforces in [true, false] {
        world.rancher.settings(|settings| settings.enforces_authentication = enforces);
        let mut daemon = world
            .settings()
            .with("CATTLE_ACCESS_KEY", "WRONG")
            .with("CATTLE_SECRET_KEY", "wrong-secret")
            .with("DOMAINS", "a.example.com")
            .start();
        let line = daemon.says("Rancher cannot be read").await;
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("CATTLE_ACCESS_KEY") && error.contains("access control"), "{error}");
        daemon.passes(1).await;
        daemon.stop().await;
    }
    assert_eq!(world.production.orders().len(), 0);
    assert_eq!(world.rancher.certificates().len(), 0);
    assert_eq!(world.rancher.wakes().len(), 0);

    let _daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_of_somebody_else_is_refused_by_name() {
    let world = World::start().await;
    let mut daemon = world
        .settings()
        .with("CATTLE_URL", format!("{}/projects/1a7", world.rancher.api_url()))
        .with("DOMAINS", "a.example.com")
        .start();
    let line = daemon.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(
        error.contains("403") && error.contains("1a7") && error.contains("CATTLE_URL"),
        "{error}"
    );
    daemon.passes(1).await;
    assert_eq!(world.production.orders().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rancher_with_a_ca_of_its_own_is_trusted_by_the_file_of_that_ca() {
    let world = World::start().await;
    let tls = certs::server_config(&[]);
    let front = world.rancher.api_over_tls(tls.config).await.unwrap();
    std::fs::write(world.path("rancher-ca.pem"), &tls.root_pem).unwrap();
    let settings = world
        .settings()
        .with("CATTLE_URL", format!("https://{}/v2-beta", front.address()))
        .with("DOMAINS", "a.example.com");

    let mut stranger = settings.clone().start();
    let line = stranger.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("certificate"), "{error}");
    stranger.stop().await;
    assert_eq!(world.production.orders().len(), 0);

    let _daemon =
        settings.with("RANCHER_CA_FILE", world.path("rancher-ca.pem").to_str().unwrap()).start();
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_file_that_is_not_there_or_holds_no_certificate_ends_the_start() {
    let world = World::start().await;
    std::fs::write(world.path("empty.pem"), "").unwrap();
    for (file, said) in [("missing.pem", "missing.pem"), ("empty.pem", "no certificate")] {
        let settings = world.settings().with("RANCHER_CA_FILE", world.path(file).to_str().unwrap());
        let output = command(&settings).output().await.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains("RANCHER_CA_FILE") && text.contains(said), "{text}");
    }
}

/// Answers every request by a function of its path and query.
struct Odd<F>(F);

impl<F: Fn(&str) -> Value + Send + Sync + 'static> Answers for Odd<F> {
    fn name(&self, _: &Asked) -> (&'static str, String) {
        ("odd", String::new())
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        let asked = request.uri().path_and_query().unwrap().as_str();
        Response::new(Bytes::from((self.0)(asked).to_string()))
    }
}

/// Metadata is somewhere else than where it is looked for.
fn with_metadata(api: Api, base: &Url) -> Adapter {
    let api = Arc::new(api);
    let metadata = Metadata::new(http_client(), base, Arc::clone(&api));
    Adapter::new(api, Arc::new(metadata))
}

/// What the adapter makes of the lists of an odd server.
async fn list(
    environment: &str,
    answers: impl Fn(&str) -> Value + Send + Sync + 'static,
) -> Result<Vec<Held>, DestinationError> {
    let server = Server::start(None, Faults::default(), Arc::new(Odd(answers))).await.unwrap();
    let base = Url::parse(&format!("http://{}/v2-beta{environment}", server.address())).unwrap();
    let secret = || Secret::new("secret".to_owned());
    let api = Api::new(http_client(), Base::parse(&base), secret(), secret());
    let adapter = with_metadata(api, &base);
    guarded("the list", adapter.list()).await
}

fn row(id: &str) -> Value {
    json!({"id": id, "name": id, "state": "active", "transitioning": "no"})
}

/// Of several that match, balancers take the lowest id.
#[tokio::test]
async fn certificates_are_listed_by_the_numbers_of_their_ids() {
    let rows = ["1c10", "1c9", "odd", "1c95"].map(row);
    let listed = list("/projects/1a5", move |_| json!({"data": rows})).await.unwrap();
    let ids: Vec<&str> = listed.iter().map(|held| held.id.as_str()).collect();
    assert_eq!(ids, ["1c9", "1c10", "1c95", "odd"]);
}

#[tokio::test]
async fn a_key_of_several_environments_is_asked_to_name_one() {
    let several = |_: &str| json!({"data": [{"id": "1a5", "name": "Default"}, {"id": "1a7", "name": "Shop"}]});
    let Err(DestinationError::Denied(error)) = list("", several).await else {
        panic!("a person must decide")
    };
    for part in ["Default=1a5", "Shop=1a7", "CATTLE_URL", "/v2-beta/projects/1a5"] {
        assert!(error.contains(part), "{error}");
    }
}

/// The adapter as the daemon has it.
fn adapter(world: &World) -> Adapter {
    let base = format!("{}/projects/{}", world.rancher.api_url(), world.rancher.project());
    let base = Url::parse(&base).unwrap();
    let (access, secret) = world.rancher.key(Role::Environment);
    let api = Api::new(http_client(), Base::parse(&base), Secret::new(access), Secret::new(secret));
    with_metadata(api, &base)
}

/// What stands before Rancher answers so as well while it is set up anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_rancher_itself_can_say_that_a_certificate_is_gone() {
    let world = World::start().await;
    let id = add(&world.rancher, "shop", &bought(&["shop.example.net"]));
    let id = CertificateId::from(id);
    let adapter = adapter(&world);
    assert!(adapter.look(Which::Id(&id)).await.unwrap().is_some());
    let unknown = adapter.look(Which::Id(&"1c999999".into())).await;
    assert!(matches!(unknown, Ok(None)), "{unknown:?}");
    for body in ["<html><h1>404 Not Found</h1></html>", "", "{}", "[]", "null"] {
        let faults = world.rancher.faults();
        faults.add("get-certificate", 1, answer(404, body));
        let looked = adapter.look(Which::Id(&id)).await;
        let is_unavailable = matches!(looked, Err(DestinationError::Unavailable(_)));
        assert!(is_unavailable, "{body}: {looked:?}");
    }
}

/// A balancer in front that leads elsewhere for a moment must not bring a second certificate for the same names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_404_of_something_before_rancher_makes_no_second_certificate() {
    let world = World::start().await;
    let id = add(&world.rancher, "web front", &self_signed(&["a.example.com"]));
    let faults = world.rancher.faults();
    let is_look = |seen: &sandbox::faults::Seen| seen.endpoint == "get-certificate";
    // The look before the order sees it; the one before the push does not.
    faults.add_when(is_look, 1, 1, answer(404, "<html>nothing here</html>"));
    let mut daemon = world.daemon("a.example.com");
    let is_replaced = |model: &sandbox::rancher::model::Model| {
        let held = model.certificate("web front");
        held.is_some_and(|held| held.puts == 1)
    };
    daemon.brings("the certificate", world.rancher.until(is_replaced)).await;
    daemon.settles().await;
    let held = world.rancher.certificates();
    let ids: Vec<&str> = held.iter().map(|held| held.id.as_str()).collect();
    assert_eq!(ids, [id]);
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    let endless = |marker: fn(u64) -> String| {
        move |asked: &str| {
            let digits = asked.rsplit(|char: char| !char.is_ascii_digit());
            let number: u64 = match asked.contains("marker=") {
                true => digits.map(str::parse).next().unwrap().unwrap(),
                false => 0,
            };
            let rows = [row(&format!("1c{number}")), row(&format!("1c{}", number + 1))];
            let next = format!("http://x/y?marker={}", marker(number));
            json!({"data": rows, "pagination": {"next": next}})
        }
    };
    // By a marker that is no offset, and by one: there each page begins with the last row of the one before.
    for marker in [|at| format!("x{}", at + 2), |at| format!("m{}", at + 2)] {
        let listed = list("/projects/1a5", endless(marker)).await;
        assert!(
            matches!(&listed, Err(DestinationError::Unavailable(_))),
            "{:?}",
            listed.map(|rows| rows.len())
        );
    }
}

#[tokio::test]
async fn a_list_whose_end_cannot_be_told_is_no_list() {
    let next = |next: Value, rows: &[&str]| {
        let rows: Vec<Value> = rows.iter().map(|id| row(id)).collect();
        json!({"data": rows, "pagination": {"next": next}})
    };
    let refused = |list: Result<_, _>| matches!(list, Err(DestinationError::Unavailable(_)));
    let environment = "/projects/1a5";

    let nowhere = list(environment, move |_| next(json!("http://x/y?limit=1"), &["1c1"])).await;
    assert!(refused(nowhere), "a next page that cannot be asked for");
    let in_place = list(environment, move |_| next(json!("http://x/y?marker=m1"), &["1c1"])).await;
    assert!(refused(in_place), "pages that do not go on");
    let first_again =
        list(environment, move |_| next(json!("http://x/y?marker=m2"), &["1c1", "1c2"])).await;
    assert!(refused(first_again), "the first page again and again");

    let good = list(environment, move |asked| match asked.contains("marker=") {
        false => next(json!("http://x/y?marker=m2"), &["1c1", "1c2"]),
        true => next(Value::Null, &["1c2", "1c3"]),
    });
    let listed = good.await.unwrap();
    let ids: Vec<&str> = listed.iter().map(|held| held.id.as_str()).collect();
    assert_eq!(ids, ["1c1", "1c2", "1c3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_signed_certificate_without_a_name_of_its_own_keeps_its_place() {
    let world = World::start().await;
    // Found by its set of names, because nothing at Rancher has the primary name.
    let id = add(&world.rancher, "web front", &self_signed(&["a.example.com"]));
    let mut daemon = world.daemon("a.example.com");
    world
        .rancher
        .until(|model| model.certificate("web front").is_some_and(|held| held.puts == 1))
        .await;
    daemon.settles().await;
    let held = world.rancher.certificates();
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].id.as_str(), held[0].name.as_deref()), (id.as_str(), Some("web front")));
    assert_eq!([held[0].leaf()], world.issued("a.example.com").as_slice());
}

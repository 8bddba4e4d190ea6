//! What the adapter alone makes of odd answers.

use super::*;

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

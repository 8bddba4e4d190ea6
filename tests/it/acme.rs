//! The adapter of the authority against one that answers oddly: what kind of failure each answer is, and whom it is
//! about.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::LINK;
use rancher_lets_encrypt::acme::AcmeAuthority;
use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::names::Names;
use rancher_lets_encrypt::core::problem::AuthorityErrorKind;
use rancher_lets_encrypt::core::resource::Account;
use rancher_lets_encrypt::core::resource::ChallengeStatus;
use rancher_lets_encrypt::core::resource::Order;
use rancher_lets_encrypt::core::resource::OrderStatus;
use rancher_lets_encrypt::ports::Authority as _;
use sandbox::authority::problem::Problem;
use sandbox::certs::new_key;
use sandbox::faults::What;
use serde_json::json;

use crate::mangled::trusting;
use crate::support::World;
use crate::support::tree::now;

const A: &str = "a.example.com";

/// An account at the authority of a world.
struct Client {
    authority: AcmeAuthority,
    account: Account,
}

/// The next request to an endpoint is answered like this.
fn refuses(world: &World, endpoint: &'static str, answer: Response<Bytes>) {
    let what = What::Answer(answer);
    world.production.faults().add(endpoint, 1, what);
}

fn shown(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    let answer = Response::builder().status(status);
    answer.body(body.into()).unwrap()
}

fn authority(world: &World) -> AcmeAuthority {
    AcmeAuthority::new(trusting(world), Arc::new(now))
}

impl Client {
    async fn new(world: &World) -> Self {
        let authority = authority(world);
        let key = Secret::new(new_key().serialize_pem());
        let directory = world.production.directory_url();
        let registered = authority.register(&directory, &key, None).await;
        let account = Account { directory, url: registered.unwrap(), key };
        Self { authority, account }
    }

    async fn open(&self) -> Order {
        let names = Names::new([A.parse().unwrap()]).unwrap();
        self.authority.open(&self.account, &names).await.unwrap()
    }

    /// Serves the token of an order, and tells.
    async fn prove(&self, world: &World, order: &Order) {
        let url = &order.authorizations[0];
        let shown = self.authority.look_at(&self.account, &order.url, url).await;
        let challenge = shown.unwrap().challenge.unwrap();
        assert_eq!(challenge.status, ChallengeStatus::Pending);
        let folder = world.webroot().join(".well-known/acme-challenge");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(challenge.token.as_str());
        std::fs::write(file, challenge.key_authorization).unwrap();
        let responded = self.authority.respond(&self.account, &order.url, url).await;
        responded.unwrap();
    }

    /// Looks until it is so.
    async fn until(&self, order: &str, status: OrderStatus) -> Order {
        loop {
            let shown = self.authority.look(&self.account, order).await.unwrap();
            if shown.status == status {
                return shown;
            }
            assert_ne!(shown.status, OrderStatus::Invalid, "{shown:?}");
            tokio::task::yield_now().await;
        }
    }

    /// An order whose certificate was issued.
    async fn issued(&self, world: &World) -> Order {
        let order = self.open().await;
        self.prove(world, &order).await;
        self.until(&order.url, OrderStatus::Ready).await;
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![A.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&key).unwrap();
        let request = request.der();
        let finalized = self.authority.finalize(&self.account, &order.url, request);
        finalized.await.unwrap();
        self.until(&order.url, OrderStatus::Valid).await
    }

    async fn download(&self, order: &Order) -> Result<String, AuthorityErrorKind> {
        let certificate = order.certificate.as_deref().unwrap();
        let asked = self.authority.download(&self.account, &order.url, certificate);
        asked.await.map_err(|error| error.kind)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contact_comes_with_the_new_account_in_one_request() {
    let world = World::start().await;
    let (authority, directory) = (authority(&world), world.production.directory_url());
    let key = Secret::new(new_key().serialize_pem());
    let register = || authority.register(&directory, &key, Some("a@example.com"));
    let url = register().await.unwrap();
    let account = world.production.accounts().pop().unwrap();
    assert_eq!(account.url, url);
    assert_eq!(account.contact, ["mailto:a@example.com"]);
    assert_eq!(world.asked("new-account"), 1);
    assert_eq!(register().await.unwrap(), url, "the same key");
    assert_eq!(world.production.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_survives_refused_nonces_and_is_left_out_where_it_is_refused_itself() {
    let world = World::start().await;
    let (authority, directory) = (authority(&world), world.production.directory_url());
    let bad_nonce = Problem::new(400, "badNonce", "no").response();
    let refusals = [
        ("badNonce", Some("mailto:a@example.com")),
        ("invalidContact", None),
        ("unsupportedContact", None),
    ];
    for (kind, contact) in refusals {
        refuses(&world, "new-account", Problem::new(400, kind, "no").response());
        refuses(&world, "new-account", bad_nonce.clone());
        let key = Secret::new(new_key().serialize_pem());
        let registered = authority.register(&directory, &key, Some("a@example.com"));
        registered.await.unwrap();
        let account = world.production.accounts().pop().unwrap();
        let kept: Vec<String> = contact.into_iter().map(str::to_owned).collect();
        assert_eq!(account.contact, kept, "{kind}");
    }
    refuses(
        &world,
        "new-account",
        Problem::new(400, "malformed", "Contact information is missing").response(),
    );
    let key = Secret::new(new_key().serialize_pem());
    let refused = authority.register(&directory, &key, None).await;
    assert_eq!(refused.unwrap_err().kind, AuthorityErrorKind::Refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_gets_through_where_half_of_all_nonces_are_refused() {
    let world = World::start().await;
    let every_second = |settings: &mut sandbox::authority::settings::AuthoritySettings| {
        settings.bad_nonce_every = Some(2);
    };
    world.production.set(every_second);
    let client = Client::new(&world).await;
    let order = client.issued(&world).await;
    client.download(&order).await.unwrap();
    // A fresh nonce comes with each refusal.
    assert_eq!(world.asked("new-nonce"), 1);

    let other = client.open().await;
    world.production.set(|settings| settings.bad_nonce_every = Some(1));
    let looks = world.asked("order");
    let looked = client.authority.look(&client.account, &other.url).await;
    assert_eq!(looked.unwrap_err().kind, AuthorityErrorKind::BadNonce);
    assert_eq!(world.asked("order"), looks + 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_with_gaps_is_used_as_far_as_it_goes() {
    let world = World::start().await;
    let client = Client::new(&world).await;
    let order = client.issued(&world).await;
    let certificate = order.certificate.clone().unwrap();
    let gone = "1997-13-41";
    for body in [
        json!({"status": "valid", "certificate": certificate}),
        json!({"certificate": certificate}),
        json!({"certificate": certificate, "status": null, "finalize": 7, "authorizations": "none"}),
        json!({"status": "valid", "certificate": certificate, "expires": gone, "error": "no", "identifiers": [1]}),
    ] {
        refuses(&world, "order", shown(200, body.to_string()));
        let looked = client.authority.look(&client.account, &order.url);
        let shown = looked.await.unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(shown.status, OrderStatus::Valid, "{body}");
        assert_eq!(shown.certificate.as_ref(), Some(&certificate), "{body}");
        assert_eq!(shown.expires, None);
    }
    for body in ["{}", "[]", "<html>", "", r#"{"status":"revoked"}"#, "7"] {
        refuses(&world, "order", shown(200, body));
        let looked = client.authority.look(&client.account, &order.url);
        assert_eq!(looked.await.unwrap_err().kind, AuthorityErrorKind::Failed, "{body}");
    }
    let shown = client.until(&order.url, OrderStatus::Valid).await;
    assert!(shown.expires.is_some_and(|at| now() < at), "{shown:?}");
    client.download(&order).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_come_says_why() {
    use AuthorityErrorKind as K;
    let world = World::start().await;
    let client = Client::new(&world).await;
    let order = client.issued(&world).await;
    let problem = |status, kind| Problem::new(status, kind, "no").response();
    let key = Bytes::from(new_key().serialize_pem());
    let mut with_alternate = problem(404, "malformed");
    let alternate = format!("<{}/1>;rel=\"alternate\"", order.certificate.as_ref().unwrap());
    let alternate = alternate.parse().unwrap();
    with_alternate.headers_mut().insert(LINK, alternate);
    let answers = [
        (problem(404, "malformed"), K::Gone),
        (problem(410, "malformed"), K::Gone),
        (problem(403, "unauthorized"), K::Refused),
        (problem(403, "orderNotReady"), K::NotReady),
        (problem(500, "serverInternal"), K::Failed),
        (shown(404, "<html>"), K::Failed),
        (shown(503, r#"{"errors":["Vault is sealed"]}"#), K::Unavailable),
        (shown(500, ""), K::Failed),
        (shown(200, ""), K::Failed),
        (shown(200, "<html>"), K::Failed),
        (shown(200, "-----BEGIN CERTIFICATE-----\nMIIB"), K::Failed),
        (Response::new(key), K::Failed),
        (with_alternate, K::Gone),
    ];
    for (answer, kind) in answers.clone() {
        let text = format!("{answer:?}");
        refuses(&world, "certificate", answer);
        assert_eq!(client.download(&order).await, Err(kind), "{text}");
    }
    let chain = client.download(&order).await.unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 3);
    assert_eq!(client.download(&order).await, Ok(chain), "once more");
    // No other chain is asked for than the one that the order names.
    assert_eq!(world.asked("certificate"), answers.len() + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_has_to_be_remembered_between_two_requests() {
    let world = World::start().await;
    let first = Client::new(&world).await;
    let order = first.open().await;
    // A process that was started in between.
    let again = |client: Client| Client { authority: authority(&world), ..client };
    let second = again(first);
    second.prove(&world, &order).await;
    let third = again(second);
    let url = &order.authorizations[0];
    let responded = third.authority.respond(&third.account, &order.url, url).await;
    // Validated or not by then, it was found where to tell.
    if let Err(error) = responded {
        assert!(error.problem.kind != "malformed" || error.status == Some(400), "{error}");
    }
    let order = third.until(&order.url, OrderStatus::Ready).await;
    let last = again(third);
    let finalized = last.authority.finalize(&last.account, &order.url, b"no request");
    assert_eq!(finalized.await.unwrap_err().problem.kind, "badCSR", "it was found where to ask");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_order_says_what_it_was_about() {
    let world = World::start().await;
    let client = Client::new(&world).await;
    let names = ["a.example.com", "b.example.com"].map(|name| name.parse().unwrap());
    let names = Names::new(names).unwrap();
    let detail = "Cannot issue for \"b.example.com\": policy forbids issuing for name";
    let refusal = Problem::new(400, "rejectedIdentifier", detail).response();
    refuses(&world, "new-order", refusal);
    let refused = client.authority.open(&client.account, &names).await;
    let problem = refused.unwrap_err().problem;
    assert_eq!(problem.detail, detail);
    let about: Vec<String> = problem.names.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(about, ["b.example.com"]);
}

//! Answers that nobody would send, to the adapters: no panic, no work without end, nothing secret in an error.

use std::fmt::Display;
use std::sync::Arc;

use proptest::prelude::any;
use proptest::test_runner::Config;
use proptest::test_runner::TestRunner;
use rancher_lets_encrypt::acme::AcmeAuthority;
use rancher_lets_encrypt::backends::rancher::Rancher;
use rancher_lets_encrypt::backends::rancher::api::Api;
use rancher_lets_encrypt::backends::rancher::base::Base;
use rancher_lets_encrypt::backends::rancher::metadata::Metadata;
use rancher_lets_encrypt::client;
use rancher_lets_encrypt::client::Roots;
use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::held::CertificateId;
use rancher_lets_encrypt::core::held::Upload;
use rancher_lets_encrypt::core::held::Which;
use rancher_lets_encrypt::core::resource::Account;
use rancher_lets_encrypt::ports::Authority as _;
use rancher_lets_encrypt::ports::Destination as _;
use rancher_lets_encrypt::ports::Source as _;
use reqwest::Client;
use sandbox::certs::new_key;
use sandbox::faults::Faults;
use sandbox::faults::What;
use sandbox::rancher::settings::Role;
use tokio::runtime::Runtime;

use crate::support::World;
use crate::support::guarded;
use crate::support::platform::add;
use crate::support::platform::bought;
use crate::support::tree::now;

const A: &str = "a.example.com";

/// Cases of many requests: so many fewer of them.
fn runner() -> TestRunner {
    let config = Config::default();
    TestRunner::new(Config { cases: config.cases.div_ceil(4), failure_persistence: None, ..config })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// One that trusts the stand-ins.
pub(crate) fn trusting(world: &World) -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    let roots = Roots {
        extra: Some(std::fs::read(world.path("acme-roots.pem")).unwrap()),
        is_extra_only: true,
        setting: None,
    };
    let builder = client::builder(std::time::Duration::from_secs(5));
    let builder = client::with_roots(builder, &roots).unwrap();
    builder.build().unwrap()
}

/// Whatever an error says fits into one line and gives no key away.
#[track_caller]
fn check<T, E: Display>(result: Result<T, E>, key: &str) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains('\n') && error.chars().count() < 10_000, "{error:?}");
            let part = key.lines().nth(1).unwrap();
            assert!(!error.contains(part), "a key in an error");
            None
        }
    }
}

/// All answers to one kind of request, or one answer in so many.
fn mangle(faults: &Faults, seed: u64) {
    faults.clear();
    let skip = u32::try_from(seed % 12).unwrap();
    let times = if seed.is_multiple_of(3) { u32::MAX } else { 1 };
    faults.add_when(|_| true, skip, times, What::Mangle(seed));
}

#[test]
fn any_answer_of_an_authority_is_used_or_refused() {
    let runtime = runtime();
    let world = runtime.block_on(World::start());
    let client = trusting(&world);
    let key = new_key().serialize_pem();
    let case = async |seed: u64| {
        mangle(world.production.faults(), seed);
        let authority = AcmeAuthority::new(client.clone(), Arc::new(now));
        let directory = world.production.directory_url();
        let secret = Secret::new(key.clone());
        let registered = authority.register(&directory, &secret, Some("a@example.com"));
        let Some(url) = check(registered.await, &key) else {
            return;
        };
        let account = Account { directory, url, key: secret };
        let names = format!("{A} www.{A}");
        let (lists, _) = rancher_lets_encrypt::core::names::parse_list(&names);
        let Some(order) = check(authority.open(&account, &lists[0]).await, &key) else {
            return;
        };
        for url in order.authorizations.iter().take(3) {
            let looked = authority.look_at(&account, &order.url, url).await;
            let challenge = check(looked, &key).and_then(|found| found.challenge);
            if let Some(challenge) = challenge {
                assert!(!challenge.token.as_str().contains(['/', '.', '\0']));
            }
            check(authority.respond(&account, &order.url, url).await, &key);
            check(authority.look_at(&account, &order.url, url).await, &key);
            check(authority.deactivate(&account, &order.url, url).await, &key);
        }
        check(authority.look(&account, &order.url).await, &key);
        let request = b"no signing request";
        check(authority.finalize(&account, &order.url, request).await, &key);
        let certificate = format!("{}cert/1", order.url);
        let downloaded = authority.download(&account, &order.url, &certificate);
        check(downloaded.await, &key);
    };
    let tested = runner().run(&any::<u64>(), |seed| {
        runtime.block_on(guarded("the authority's adapter", case(seed)));
        Ok(())
    });
    tested.unwrap();
}

#[test]
fn any_answer_of_rancher_is_used_or_refused() {
    let runtime = runtime();
    let world = runtime.block_on(World::start());
    let client = trusting(&world);
    let pair = bought(&[A]);
    let id = add(&world.rancher, A, &pair);
    world.announce("shop", "web", A);
    let (access, secret) = world.rancher.key(Role::Environment);
    let case = async |seed: u64| {
        mangle(world.rancher.faults(), seed);
        mangle(world.rancher.metadata_faults(), seed);
        let base = Base::parse(&world.rancher.api_url().parse().unwrap());
        let secrets = [&access, &secret].map(|text| Secret::new(text.clone()));
        let [access, secret] = secrets;
        let api = Arc::new(Api::new(client.clone(), base, access, secret));
        let url = world.rancher.metadata_url().parse().unwrap();
        let metadata = Arc::new(Metadata::new(client.clone(), &url, Arc::clone(&api)));
        let rancher = Rancher::new(api, Arc::clone(&metadata));
        let key = &pair.key_pem;
        check(metadata.announcements().await, key);
        check(rancher.list().await, key);
        let id = CertificateId::from(id.as_str());
        let there = check(rancher.look(Which::Id(&id)).await, key).flatten();
        check(rancher.look(Which::Named(A)).await, key);
        check(rancher.retrieve(&id).await, key);
        let upload = Upload {
            certificate: pair.cert_pem.clone(),
            chain: pair.chain_pem.clone(),
            key: Secret::new(key.clone()),
        };
        check(rancher.put(A, there.as_ref(), &upload, None).await, key);
        check(rancher.put("b.example.com", None, &upload, None).await, key);
        check(rancher.users().await, key);
        check(rancher.activate(&[id]).await, key);
    };
    let tested = runner().run(&any::<u64>(), |seed| {
        runtime.block_on(guarded("Rancher's adapter", case(seed)));
        Ok(())
    });
    tested.unwrap();
}

/// The self-check reads no more than the authority would.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_without_end_is_read_no_further_than_the_authority_reads() {
    let world = World::start().await;
    let block = bytes::Bytes::from(vec![b'a'; 1 << 16]);
    let faults = world.web.faults();
    faults.add("challenge", 1, What::Endless(block));
    let mut daemon = world.daemon(A);
    daemon.mentions("another server answers for this name").await;
    world.pushed(A).await;
    assert_eq!(world.issued(A).len(), 1, "{}", daemon.text());
}

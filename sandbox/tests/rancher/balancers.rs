//! What a balancer serves, and when.

use rustls::AlertDescription;
use sandbox::balancer::Balancer;
use sandbox::balancer::handshake;
use sandbox::rancher::Rancher;
use serde_json::json;

use crate::desk::Caller;
use crate::desk::add;
use crate::desk::pair;
use crate::desk::rancher;
use crate::desk::renewal;
use crate::desk::root;

async fn wake(rancher: &Rancher) {
    let path = format!("services/{}/?action=update", rancher.own_service());
    let answer = Caller::new(rancher).post(&path, &json!({})).await;
    assert_eq!(answer.status, 202);
}

async fn put(rancher: &Rancher, id: &str, body: &serde_json::Value) {
    let answer = Caller::new(rancher).put(&format!("certificates/{id}"), body).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn new_leaf_is_served_only_after_the_wake() {
    let rancher = rancher().await;
    let (old, new) = (pair(&["a.example"]), pair(&["a.example"]));
    let id = add(&rancher, "a.example", &old);
    let lb = rancher.add_balancer("lb", None, &[&id], "active");
    let balancer = Balancer::start(&rancher, &lb).await.expect("ports are free");
    let served = async || {
        let chain = handshake(balancer.address(), "a.example", Some(&root())).await;
        chain.expect("the chain is good")
    };
    let before = served().await;
    assert_eq!(before.len(), 2, "leaf and intermediate");

    put(&rancher, &id, &renewal(&new)).await;
    assert_eq!(served().await, before, "a PUT wakes nobody");
    wake(&rancher).await;
    let held = rancher.certificate("a.example").expect("it is there");
    balancer.until(|serving| serving.serving("a.example") == Some(held.leaf())).await;
    assert_ne!(served().await, before);
    assert_eq!(balancer.serving("a.example").as_deref(), Some(held.leaf()));
    assert_eq!(balancer.errors().len(), 0);
}

#[tokio::test]
async fn mismatched_key_keeps_everything_as_it_was() {
    let rancher = rancher().await;
    let (bad, good) = (pair(&["a.example"]), pair(&["b.example"]));
    let (a, b) = (add(&rancher, "a.example", &bad), add(&rancher, "b.example", &good));
    let lb = rancher.add_balancer("lb", Some(&a), &[&b], "active");
    let balancer = Balancer::start(&rancher, &lb).await.expect("ports are free");
    let before = [balancer.serving("a.example"), balancer.serving("b.example")];

    let mut mismatched = renewal(&pair(&["a.example"]));
    mismatched["key"] = json!(pair(&["a.example"]).key_pem);
    put(&rancher, &a, &mismatched).await;
    put(&rancher, &b, &renewal(&pair(&["b.example"]))).await;
    wake(&rancher).await;
    balancer.until(|serving| !serving.errors().is_empty()).await;
    assert!(balancer.errors()[0].contains("a.example: inconsistencies"), "{:?}", balancer.errors());
    assert_eq!([balancer.serving("a.example"), balancer.serving("b.example")], before);

    put(&rancher, &a, &renewal(&pair(&["a.example"]))).await;
    wake(&rancher).await;
    balancer.until(|serving| serving.reads() == 3).await;
    assert_eq!(balancer.errors().len(), 1);
    assert_ne!(balancer.serving("a.example"), before[0]);
    assert_ne!(balancer.serving("b.example"), before[1]);
}

#[tokio::test]
async fn name_decides_which_certificate_is_served() {
    let rancher = rancher().await;
    let id = |name: &str| add(&rancher, name, &pair(&[name]));
    let (a, wildcard) = (id("a.example"), id("*.b.example"));
    let lb = rancher.add_balancer("lb", None, &[&wildcard, &a], "active");
    let balancer = Balancer::start(&rancher, &lb).await.expect("ports are free");
    let leaf = |name: &str| rancher.certificate(name).map(|held| held.leaf().to_owned());

    assert_eq!(balancer.serving("A.example"), leaf("a.example"));
    assert_eq!(balancer.serving("www.b.example"), leaf("*.b.example"));
    for unknown in ["b.example", "x.www.b.example", "127.0.0.1"] {
        let error = handshake(balancer.address(), unknown, None).await;
        let error = error.expect_err("there is no default").into_inner();
        let alert = error.and_then(|error| error.downcast::<rustls::Error>().ok());
        let expected = rustls::Error::AlertReceived(AlertDescription::UnrecognisedName);
        assert_eq!(alert.as_deref(), Some(&expected), "{unknown}");
    }

    rancher.set_balancer_certificates(&lb, Some(&a), &[&wildcard]);
    balancer.until(|serving| serving.serving("b.example").is_some()).await;
    assert_eq!(balancer.serving("b.example"), leaf("a.example"));
    let chain = handshake(balancer.address(), "127.0.0.1", None).await;
    assert_eq!(chain.map(|chain| chain.len()).ok(), Some(2));

    rancher.remove_certificate(&wildcard);
    rancher.reload_metadata();
    let fallen_back = leaf("a.example");
    balancer.until(|serving| serving.serving("www.b.example") == fallen_back.as_deref()).await;
    assert_eq!(balancer.errors().len(), 0, "what is gone is left out");
}

#[tokio::test]
async fn only_haproxy_s_reasons_refuse_a_certificate() {
    let rancher = rancher().await;
    let good = pair(&["a.example"]);
    let id = add(&rancher, "a.example", &good);
    let lb = rancher.add_balancer("lb", Some(&id), &[], "active");
    let balancer = Balancer::start(&rancher, &lb).await.expect("ports are free");
    let full = format!("{}{}", good.cert_pem, good.chain_pem);
    let windows = full.replace('\n', "\r\n");
    let swapped = format!("{}{}", good.chain_pem, good.cert_pem);
    // Certificate, chain, key; length of the served chain, or none if it is refused.
    let cases = [
        (good.cert_pem.as_str(), Some(full.as_str()), good.key_pem.as_str(), Some(3)),
        (&full, None, &good.key_pem, Some(2)),
        (&windows, None, &good.key_pem, Some(2)),
        (&good.cert_pem, Some("garbage"), &good.key_pem, Some(1)),
        (&good.cert_pem, None, &good.key_pem, Some(1)),
        (&swapped, None, &good.key_pem, None),
        (&good.cert_pem, None, "no key", None),
        (" ", None, " ", None),
    ];
    for (index, (cert, chain, key, length)) in cases.into_iter().enumerate() {
        let errors = balancer.errors().len();
        rancher.change_certificate(&id, |held| {
            held.cert = cert.to_owned();
            held.chain = chain.map(str::to_owned);
            held.key = key.to_owned();
        });
        rancher.reload_metadata();
        balancer.until(|serving| serving.reads() as usize == index + 2).await;
        let refused = balancer.errors().len() > errors;
        assert_eq!(refused, length.is_none(), "case {index}: {:?}", balancer.errors());
        if let Some(length) = length {
            let chain = handshake(balancer.address(), "a.example", None).await;
            assert_eq!(chain.map(|chain| chain.len()).ok(), Some(length), "case {index}");
        }
    }
}

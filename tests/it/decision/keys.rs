//! What kind of key certificates are for, and that a change of it costs nothing.

use time::Duration;
use x509_parser::public_key::PublicKey;

use super::A;
use crate::support::World;

/// The kind of key in the certificate of a PEM text.
fn kind(pem: &str) -> &'static str {
    let der = pem::parse(pem).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(der.contents()).unwrap();
    let key = certificate.public_key().parsed().unwrap();
    if matches!(&key, PublicKey::RSA(key) if key.key_size() == 2048) {
        "rsa2048"
    } else if matches!(&key, PublicKey::EC(key) if key.key_size() == 256) {
        "ec256"
    } else {
        panic!("{key:?}")
    }
}

impl World {
    /// The kind of key of what Rancher holds.
    fn kind_at_rancher(&self) -> &'static str {
        kind(&self.held(A).cert)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_for_the_kind_of_key_that_is_asked_for() {
    let world = World::start().await;
    let mut daemon = world.settings().with("DOMAINS", A).with("KEY_TYPE", "rsa2048").start();
    world.pushed(A).await;
    daemon.settles().await;
    assert_eq!(world.kind_at_rancher(), "rsa2048");
    assert_eq!(kind(&std::fs::read_to_string(world.live(A, "cert.pem")).unwrap()), "rsa2048");
    assert_eq!(world.production.orders().len(), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_kind_of_key_is_no_reason_for_a_new_certificate() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.settles().await;
    daemon.stop().await;
    let mut daemon = world.settings().with("DOMAINS", A).with("KEY_TYPE", "rsa2048").start();
    daemon.settles().await;
    assert_eq!(world.production.orders().len(), 1, "{}", daemon.text());
    assert_eq!(world.kind_at_rancher(), "ec256");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_is_for_the_kind_of_key_that_is_set_by_then() {
    let world = World::start().await;
    world.lasting(Duration::seconds(10), Duration::ZERO);
    let daemon = world.settings().with("DOMAINS", A).with("KEY_TYPE", "rsa2048").start();
    world.issues(A, 1).await;
    world.pushed(A).await;
    daemon.stop().await;
    assert_eq!(world.kind_at_rancher(), "rsa2048");
    world.lasting(Duration::days(90), Duration::hours(1));
    let mut daemon = world.daemon(A);
    world.issues(A, 2).await;
    world.pushed(A).await;
    daemon.settles().await;
    assert_eq!(world.kind_at_rancher(), "ec256");
    assert_eq!(world.held(A).id, "1c1");
}

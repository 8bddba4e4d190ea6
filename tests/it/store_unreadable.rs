//! Files that cannot be read: nothing is issued for them, the others go on, and it works again when the cause is gone.

use sandbox::rancher::settings::Availability;

use crate::support::World;
use crate::support::tree::block;

const A: &str = "a.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_that_is_gone_is_no_reason_to_issue_where_rancher_keeps_the_key() {
    let world = World::start().await;
    let mut daemon = world.settled(A).await;
    world.rancher.settings(|settings| settings.reveals_key = false);
    let file = world.store().join("archive/a.example.com/privkey1.pem");
    let away = world.path("away");
    std::fs::rename(&file, &away).unwrap();
    daemon.mentions("does not give its key back").await;
    daemon.passes(1).await;
    assert_eq!(world.issued(A).len(), 1, "{}", daemon.text());
    assert!(!file.with_file_name("privkey2.pem").exists());
    std::fs::rename(away, file).unwrap();
    daemon.settles().await;
    assert_eq!(world.issued(A).len(), 1, "{}", daemon.text());
}

/// A file of a certificate becomes unreadable, Rancher loses the certificate, another name comes; then it can be
/// read again.
async fn check_unreadable(file: &str) {
    let world = World::start().await;
    let mut daemon = world.settled(A).await;
    let served = world.served();
    let unblock = block(&world.store().join(file));
    daemon.says("certificate needs attention").await;
    assert!(daemon.text().contains(file), "{}", daemon.text());
    let id = world.rancher.certificate(A).unwrap().id;
    world.rancher.remove_certificate(&id);
    world.announce("shop", "web", "b.example.com");
    world.pushed("b.example.com").await;
    daemon.passes(1).await;
    assert_eq!(world.issued(A).len(), 1, "{}", daemon.text());
    assert!(world.rancher.certificate(A).is_none(), "{}", daemon.text());
    unblock();
    world.holds(A, &served).await;
    daemon.settles().await;
    assert_eq!(world.issued(A), [served], "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_issued_while_a_record_cannot_be_read() {
    check_unreadable("rancher-lets-encrypt/certificates/a.example.com.json").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_issued_while_a_certificate_cannot_be_read() {
    check_unreadable("archive/a.example.com/fullchain1.pem").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_issued_while_a_key_cannot_be_read() {
    check_unreadable("archive/a.example.com/privkey1.pem").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_namesake_stops_nothing_that_is_well() {
    let world = World::start().await;
    world.settled(A).await.stop().await;
    let served = world.served();
    let conf = world.store().join("renewal/a.example.com-0001.conf");
    std::fs::create_dir(&conf).unwrap();
    let id = world.rancher.certificate(A).unwrap().id;
    world.rancher.remove_certificate(&id);
    let mut daemon = world.daemon(A);
    world.holds(A, &served).await;
    daemon.settles().await;
    assert_eq!(world.issued(A), [served], "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_while_the_records_cannot_be_listed() {
    let world = World::start().await;
    let mut daemon = world.settled(A).await;
    let served = world.served();
    let folder = world.own("certificates");
    let away = world.path("away");
    std::fs::rename(&folder, &away).unwrap();
    daemon.says("store cannot be read").await;
    let id = world.rancher.certificate(A).unwrap().id;
    world.rancher.remove_certificate(&id);
    daemon.passes(1).await;
    assert_eq!(world.issued(A).len(), 1, "{}", daemon.text());
    std::fs::rename(away, folder).unwrap();
    daemon.says("store can be read again").await;
    world.holds(A, &served).await;
    assert_eq!(world.issued(A), [served], "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_order_is_opened_while_the_one_in_flight_cannot_be_read() {
    let world = World::start().await;
    world.killed_at("finalize").await;
    assert_eq!(world.production.orders().len(), 1);
    let unblock = block(&world.order_file());
    let mut daemon = world.daemon("a.example.com,b.example.com");
    world.pushed("b.example.com").await;
    daemon.passes(1).await;
    let text = daemon.text();
    assert!(text.contains("pending/a.example.com.json"), "{text}");
    let orders = |world: &World| {
        let orders = world.production.orders();
        orders.iter().filter(|order| order.names == [A]).count()
    };
    assert_eq!(orders(&world), 1, "{text}");
    unblock();
    world.pushed(A).await;
    assert_eq!(orders(&world), 1, "{}", daemon.text());
    assert_eq!(world.issued(A).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_account_is_made_while_the_present_one_cannot_be_read() {
    let world = World::start().await;
    world.settled(A).await.stop().await;
    let file = world.account_file();
    let unblock = block(&file);
    let mut daemon = world.daemon("a.example.com,b.example.com");
    let line = daemon.says("certificate not done").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    assert_eq!(world.production.accounts().len(), 1);
    unblock();
    world.pushed("b.example.com").await;
    daemon.settles().await;
    assert_eq!(world.production.accounts().len(), 1, "{}", daemon.text());
    assert_eq!(world.production.issued().len(), 2, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_cannot_be_read_are_not_taken_for_gone() {
    let world = World::start().await;
    world.announce("shop", "web", A);
    let mut daemon = world.daemon("");
    world.pushed(A).await;
    daemon.settles().await;
    daemon.stop().await;
    // Metadata is not ready at boot.
    let metadata = world.rancher.metadata_is(Availability::Refused);
    metadata.await.unwrap();
    let file = world.own("names.json");
    let names = std::fs::read_to_string(&file).unwrap();
    assert!(names.contains(A) && names.contains("shop/web"), "{names}");
    let unblock = block(&file);
    let mut daemon = world.daemon("");
    daemon.passes(1).await;
    let text = daemon.text();
    assert!(text.contains("names.json"), "{text}");
    assert!(!text.contains("nobody wants"), "{text}");
    unblock();
    let is_wanted = |line: &serde_json::Value| line["message"] == "decided" && line["domain"] == A;
    daemon.next("a decision", is_wanted).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), names);
    assert!(!daemon.text().contains("nobody wants"), "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_begins_before_the_ledger_can_be_read() {
    let world = World::start().await;
    world.settled(A).await.stop().await;
    let file = world.own("ledger.jsonl");
    let unblock = block(&file);
    let mut daemon = world.daemon("a.example.com,b.example.com");
    let line = daemon.says("store not usable, tried again").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    unblock();
    world.pushed("b.example.com").await;
    daemon.settles().await;
    assert_eq!(world.production.issued().len(), 2, "{}", daemon.text());
}

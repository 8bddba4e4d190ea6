//! Orders for names that nobody wants any more.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_names_are_not_wanted_any_more_is_dropped_with_its_tokens() {
    let world = World::start().await;
    let gate = world.gates("challenge", What::Hold);
    let daemon = world.daemon("a.example.com b.example.com");
    guarded("the tell", gate.reached(1)).await;
    daemon.kill().await;
    let mut daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    daemon.rests().await;
    world.issued_once(&daemon.text());
    assert_eq!(world.production.issued()[0].names, [NAME]);
    assert!(world.tokens().is_empty(), "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_finalized_for_other_names_is_stored_before_the_next_one() {
    let world = World::start().await;
    let gate = world.gates("finalize", What::DoThenHold);
    let daemon = world.daemon("a.example.com b.example.com");
    guarded("the order to be finalized", gate.reached(1)).await;
    daemon.kill().await;
    let mut daemon = world.daemon("a.example.com c.example.com");
    let is_second = |state: &State| state.issued().len() == 2;
    guarded("the second certificate", world.production.until(is_second)).await;
    daemon.rests().await;
    let archive = world.store().join("archive").join(NAME);
    assert!(archive.join("cert2.pem").exists(), "{}", daemon.text());
    let issued: Vec<_> = world.production.issued().into_iter().map(|issued| issued.names).collect();
    assert_eq!(issued, [["a.example.com", "b.example.com"], ["a.example.com", "c.example.com"]]);
    assert_eq!(world.rancher.certificates().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_nobody_wants_any_more_goes_with_its_key_and_token_after_its_time() {
    let world = World::start().await;
    let gate = world.gates("challenge", What::Hold);
    let daemon = world.daemon(NAME);
    guarded("the tell", gate.reached(1)).await;
    daemon.kill().await;
    let mut daemon = world.daemon("");
    daemon.settles().await;
    daemon.stop().await;
    // It may be wanted again.
    assert!(world.pending(NAME).is_some());
    assert_eq!(world.tokens().len(), 1);
    world.edit_pending(NAME, |order| {
        order["intended_at"] = earlier(&order["intended_at"], time::Duration::days(9));
    });
    let mut daemon = world.daemon("");
    daemon.settles().await;
    assert!(world.pending(NAME).is_none(), "{}", daemon.text());
    assert!(world.tokens().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_issued_for_a_name_that_nobody_wants_any_more_is_stored() {
    let world = World::start().await;
    let gate = world.gates("finalize", What::DoThenHold);
    let daemon = world.daemon(NAME);
    guarded("the order to be finalized", gate.reached(1)).await;
    daemon.kill().await;
    world.edit_pending(NAME, |order| {
        order["intended_at"] = earlier(&order["intended_at"], time::Duration::days(9));
    });
    let mut daemon = world.daemon("");
    daemon.says("certificate issued").await;
    daemon.settles().await;
    world.issued_once(&daemon.text());
    assert!(world.pending(NAME).is_none(), "{}", daemon.text());
    assert!(world.live(NAME, "privkey.pem").exists());
    assert_eq!(world.rancher.certificates(), []);
}

//! What the authority refuses of account, contact and key.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_the_authority_has_closed_is_told_and_not_hammered() {
    let world = World::start().await;
    let mut daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    let account = world.production.accounts().pop().unwrap();
    world.production.deactivate_account(&account.url);
    world.announce("shop", "web", "b.example.com");
    daemon.mentions("has status").await;
    daemon.rests().await;
    assert_eq!(world.asked("new-order"), 2, "{}", daemon.text());
    assert_eq!(world.asked("new-account"), 1, "{}", daemon.text());
    // No other certificate needs to find out.
    assert_eq!(world.failures("account").pop().unwrap().minutes(), 1);
    assert!(world.failures("name").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_was_closed_is_not_hammered_by_an_order_in_flight() {
    let world = with_an_order_in_flight().await;
    let account = world.production.accounts().pop().unwrap();
    world.production.deactivate_account(&account.url);
    let looks = world.asked("order");
    let mut daemon = world.daemon(NAME);
    daemon.mentions("has status").await;
    daemon.passes(4).await;
    daemon.rests().await;
    assert_eq!(world.asked("order"), looks + 1, "{}", daemon.text());
    // That of one order says nothing of the account yet: the next one does.
    assert_eq!(world.failures("name").pop().unwrap().count, 1);
    daemon.stop().await;
    world.end_waits();
    let mut daemon = world.daemon(NAME);
    daemon.mentions("has status").await;
    daemon.passes(4).await;
    daemon.rests().await;
    assert_eq!(world.asked("order"), looks + 1, "{}", daemon.text());
    assert_eq!(world.failures("account").pop().unwrap().count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_the_authority_does_not_take_costs_no_account() {
    let world = World::start().await;
    let refusal = Problem::new(400, "invalidContact", "unable to parse email address").response();
    world.refuses("new-account", 1, refusal);
    let settings = world.settings().with("CERTBOT_EMAIL", "operator@example.com");
    let mut daemon = settings.with("DOMAINS", NAME).start();
    let line = daemon.says("contact not accepted by the authority").await;
    let advice = line["advice"].as_str().unwrap();
    assert!(advice.contains("correct `CERTBOT_EMAIL`"), "{line}");
    world.pushed(NAME).await;
    assert!(world.failures("account").is_empty(), "it is only told");
    assert_eq!(world.asked("new-account"), 2, "{}", daemon.text());
    assert_eq!(world.asked("account"), 0, "{}", daemon.text());
    assert_eq!(world.production.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_is_replaced_once_and_then_daily() {
    for (refusals, orders) in [(1, 2), (2, 2)] {
        let world = World::start().await;
        let refusal = Problem::new(400, "badPublicKey", "the key is on a list").response();
        world.refuses("finalize", refusals, refusal);
        let mut daemon = world.daemon(NAME);
        if refusals == 1 {
            world.pushed(NAME).await;
        } else {
            daemon.says("certificate not done").await;
        }
        daemon.rests().await;
        assert_eq!(world.asked("new-order"), orders, "{}", daemon.text());
        assert_eq!(world.asked("finalize"), 2, "{}", daemon.text());
        daemon.stop().await;
        world.end_waits();
        // Nothing was issued by what was refused: the floor holds nothing back.
        let mut daemon = world.daemon(NAME);
        world.pushed(NAME).await;
        daemon.idles().await;
        assert_eq!(
            world.asked("finalize"),
            1 + usize::try_from(refusals).unwrap(),
            "{}",
            daemon.text()
        );
        assert_eq!(world.production.issued().len(), 1, "{}", daemon.text());
    }
}

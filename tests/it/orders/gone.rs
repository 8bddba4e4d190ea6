//! What the authority has forgotten: accounts and orders.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_the_authority_forgot_is_made_again_once_with_the_same_key() {
    let world = World::start().await;
    let mut daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    daemon.rests().await;
    world.production.forget_accounts();
    let names: Vec<String> = (1..=5).map(|number| format!("n{number}.example.com")).collect();
    world.announce("shop", "web", &names.join(","));
    for name in &names {
        world.pushed(name).await;
        assert_eq!(world.issued(name).len(), 1, "{}", daemon.text());
    }
    let accounts = world.production.accounts();
    let keys: std::collections::BTreeSet<_> =
        accounts.iter().map(|account| &account.thumbprint).collect();
    assert_eq!((accounts.len(), keys.len()), (2, 1), "{}", daemon.text());
    assert_eq!(world.asked("new-account"), 2, "{}", daemon.text());
    assert_eq!(world.issued(NAME).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_about_a_forgotten_account_does_not_forget_the_one_made_after_it() {
    let world = World::start().await;
    let mut daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    daemon.rests().await;
    world.production.forget_accounts();
    let gate = Gate::new();
    let faults = world.production.faults();
    faults.add("new-order", 1, What::Hold(gate.clone()));
    world.announce("shop", "web", "n1.example.com,n2.example.com");
    guarded("the first order", gate.reached(1)).await;
    let other = world.production.until(|state| state.issued().len() == 2);
    guarded("the other certificate", other).await;
    gate.open();
    for name in ["n1.example.com", "n2.example.com"] {
        world.pushed(name).await;
    }
    assert_eq!(world.asked("new-account"), 2, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_forgotten_with_an_order_in_flight_costs_one_new_order() {
    let world = World::start().await;
    let gate = world.gates("challenge", What::Hold);
    let daemon = world.daemon(NAME);
    guarded("the tell", gate.reached(1)).await;
    daemon.kill().await;
    world.production.forget_accounts();
    let daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    assert_eq!(world.production.issued().len(), 1, "{}", daemon.text());
    assert_eq!(world.production.orders().len(), 2, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_gone_or_expired_is_opened_again() {
    for is_expired in [false, true] {
        let world = World::start().await;
        let gate = world.gates("challenge", What::Hold);
        let daemon = world.daemon(NAME);
        guarded("the tell", gate.reached(1)).await;
        daemon.kill().await;
        let order = world.production.orders().pop().unwrap().url;
        if is_expired {
            world.production.expire_order(&order);
        } else {
            world.production.forget_order(&order);
        }
        let mut daemon = world.daemon(NAME);
        world.pushed(NAME).await;
        daemon.rests().await;
        world.issued_once(&daemon.text());
        assert_eq!(world.production.orders().len(), 2, "{}", daemon.text());
        assert!(world.tokens().is_empty(), "{}", daemon.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_gone_after_it_was_finalized_is_not_replaced_for_a_day() {
    let world = World::start().await;
    let gate = world.gates("finalize", What::DoThenHold);
    let daemon = world.daemon(NAME);
    guarded("the order to be finalized", gate.reached(1)).await;
    daemon.kill().await;
    let order = world.production.orders().pop().unwrap().url;
    world.production.forget_order(&order);
    for _ in 0..2 {
        let mut daemon = world.daemon(NAME);
        let line = daemon
            .mentions("a certificate for these names was asked for less than a day ago")
            .await;
        daemon.idles().await;
        daemon.stop().await;
        assert_eq!(world.asked("new-order"), 1, "{line}");
    }
    // Its key is kept: the certificate may turn up.
    let aside = world.over_path(NAME);
    let order = std::fs::read_to_string(aside).unwrap();
    assert!(order.contains("PRIVATE KEY") && order.contains("finalized_at"));
    // A day later.
    world.edit_ledger(|line| {
        if line["event"] == "finalizing" {
            line["at"] = earlier(&line["at"], time::Duration::days(1));
        }
    });
    let daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    assert_eq!(world.asked("new-order"), 2, "{}", daemon.text());
}

//! Limits of the authority, and how long each is waited for.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_orders_is_waited_for_as_long_as_it_says_over_a_restart() {
    let hour = std::time::Duration::from_secs(3600);
    for retry_after in [RetryAfter::Seconds(3600), RetryAfter::Date(hour)] {
        let world = World::start().await;
        world.refuses("new-order", 1, limited(Some(retry_after)));
        let mut daemon = world.daemon(NAME);
        daemon.mentions("the authority limits these names until").await;
        daemon.rests().await;
        assert_eq!(world.asked("new-order"), 1, "{}", daemon.text());
        let wait = world.failures("name").pop().unwrap();
        assert_eq!(wait.minutes(), 60, "{retry_after:?}: {wait:?}");
        assert!(wait.detail.contains("too many of something"), "{wait:?}");
        world.is_silent_after_a_restart(daemon, NAME).await;
        world.end_waits();
        let _daemon = world.daemon(NAME);
        world.pushed(NAME).await;
        assert_eq!(world.asked("new-order"), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_tells_its_end_in_words_only_is_understood() {
    let world = World::start().await;
    let end = now().replace_nanosecond(0).unwrap() + time::Duration::days(5);
    let end = end.format(&Rfc3339).unwrap();
    let words = end.replace('T', " ").replace('Z', " UTC");
    let detail = format!(
        "too many new orders (300) from this account, retry after {words}: see https://x.test"
    );
    world.refuses("new-order", 1, Problem::new(429, "rateLimited", detail).response());
    let mut daemon = world.daemon(NAME);
    daemon.mentions(&format!("the authority limits this account until {end}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_limit_is_waited_for_without_a_restart() {
    let world = World::start().await;
    world.refuses("new-order", 1, limited(Some(RetryAfter::Seconds(1))));
    let _daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    assert_eq!(world.asked("new-order"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_ends_at_once_is_not_asked_about_again_and_again() {
    let world = World::start().await;
    for endpoint in ["new-account", "new-order"] {
        world.refuses(endpoint, 2, limited(Some(RetryAfter::Seconds(0))));
    }
    let domains = "a.example.com, b.example.com, c.example.com";
    let mut daemon = world.daemon(domains);
    daemon.says("certificate not done").await;
    daemon.rests().await;
    assert_eq!(world.asked("new-account"), 1, "{}", daemon.text());
    daemon.stop().await;
    world.production.faults().clear();
    world.refuses("new-order", 3, limited(Some(RetryAfter::Seconds(0))));
    world.end_waits();
    let mut daemon = world.daemon(domains);
    daemon.says("certificate not done").await;
    daemon.rests().await;
    assert_eq!(world.asked("new-order"), 3, "{}", daemon.text());
    assert_eq!(world.failures("name").pop().unwrap().minutes(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_accounts_is_met_once_for_all_certificates() {
    let world = World::start().await;
    world.refuses("new-account", 1, limited(Some(RetryAfter::Seconds(3600))));
    let names: Vec<String> = (1..=5).map(|number| format!("n{number}.example.com")).collect();
    let domains = names.join(",");
    let mut daemon = world.daemon(&domains);
    daemon.says("certificate not done").await;
    daemon.rests().await;
    let told = daemon.log();
    let told = told.iter().filter(|line| line["message"] == "certificate not done");
    assert_eq!(told.count(), names.len(), "{}", daemon.text());
    assert_eq!(world.asked("new-account"), 1, "{}", daemon.text());
    assert_eq!(world.failures("account").pop().unwrap().minutes(), 60);
    assert!(world.failures("name").is_empty());
    world.is_silent_after_a_restart(daemon, &domains).await;
    world.end_waits();
    let _daemon = world.daemon(&domains);
    for name in &names {
        world.pushed(name).await;
    }
    assert_eq!(world.asked("new-account"), 2);
    assert_eq!(world.production.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_kept_by_an_order_that_nobody_wants_any_more() {
    let world = World::start().await;
    let gate = world.gates("finalize", What::DoThenHold);
    let daemon = world.daemon(NAME);
    guarded("the order to be finalized", gate.reached(1)).await;
    daemon.kill().await;
    world.refuses("order", u32::MAX, limited(Some(RetryAfter::Seconds(600))));
    let looks = world.asked("order");
    let mut daemon = world.daemon("");
    daemon.mentions("too many of something").await;
    daemon.passes(4).await;
    daemon.rests().await;
    assert_eq!(world.asked("order"), looks + 1, "{}", daemon.text());

    world.production.faults().clear();
    daemon.stop().await;
    world.edit_stuck(NAME, |order| order["look_after"] = serde_json::Value::Null);
    let mut daemon = world.daemon("");
    daemon.says("certificate issued").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_without_an_end_that_can_be_is_waited_for_a_week_and_a_day() {
    let world = World::start().await;
    let decades = RetryAfter::Seconds(1_000_000_000);
    world.refuses("new-order", 1, limited(Some(decades)));
    let mut daemon = world.daemon(NAME);
    daemon.mentions("the authority limits these names until").await;
    daemon.rests().await;
    let wait = world.failures("name").pop().unwrap();
    assert_eq!(wait.minutes(), 8 * 24 * 60, "{wait:?}");
}

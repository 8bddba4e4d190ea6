//! An authority that limits, is overloaded, fails: what is asked again, when, and what a restart changes about it.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::Response;
use http::StatusCode;
use sandbox::authority::problem::Problem;
use sandbox::authority::problem::RetryAfter;
use sandbox::faults::Seen;
use sandbox::faults::What;
use time::format_description::well_known::Rfc3339;

use crate::support::Daemon;
use crate::support::World;
use crate::support::guarded;
use crate::support::tree::now;

const NAME: &str = "a.example.com";

fn limited(retry_after: Option<RetryAfter>) -> Response<Bytes> {
    let problem = Problem::new(429, "rateLimited", "too many of something");
    let problem = match retry_after {
        Some(retry_after) => problem.retry_after(retry_after),
        None => problem,
    };
    problem.response()
}

fn failing() -> Response<Bytes> {
    Problem::new(500, "serverInternal", "Error creating new order").response()
}

/// What a load balancer answers in front of an authority that is down.
fn page(retry_after: Option<&str>) -> Response<Bytes> {
    let mut page =
        Response::new(Bytes::from_static(b"<html>\n<h1>503 Service Unavailable</h1>\n</html>"));
    *page.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = page.headers_mut();
    headers.insert("content-type", "text/html".parse().unwrap());
    if let Some(retry_after) = retry_after {
        headers.insert("retry-after", retry_after.parse().unwrap());
    }
    page
}

/// What a web server answers where there is no directory.
fn not_found() -> Response<Bytes> {
    let mut page = page(None);
    *page.status_mut() = StatusCode::NOT_FOUND;
    page
}

impl World {
    fn refuses(&self, endpoint: &'static str, times: u32, answer: Response<Bytes>) {
        self.production.faults().add(endpoint, times, What::Answer(answer));
    }

    /// Starts a daemon again and shows that it asks the authority nothing before a wait ends; how long it was, is no
    /// longer on record then.
    async fn is_silent_after_a_restart(&self, daemon: Daemon, domains: &str) {
        daemon.stop().await;
        // On a busy machine a minute passes between two starts.
        self.lengthen_waits();
        let before = self.production.faults().seen().len();
        let mut daemon = self.daemon(domains);
        daemon.idles().await;
        daemon.stop().await;
        assert_eq!(self.production.faults().seen().len(), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_not_there_for_a_while_costs_no_order_in_flight() {
    for answer in [not_found(), Problem::not_found("Page not found").response()] {
        let world = World::start().await;
        let gate = world.gates("finalize", What::DoThenHold);
        let daemon = world.daemon(NAME);
        guarded("the order to be finalized", gate.reached(1)).await;
        daemon.kill().await;

        world.refuses("directory", u32::MAX, answer);
        let mut daemon = world.daemon(NAME);
        let line = daemon.says("more to do later").await.to_string();
        assert!(line.contains("is no ACME directory"), "{line}");
        assert!(line.contains(&world.production.directory_url()), "{line}");
        daemon.rests().await;
        daemon.stop().await;
        assert!(world.pending(NAME).is_some(), "the order is on record");

        world.production.faults().clear();
        world.end_waits();
        world.end_rests(NAME);
        let daemon = world.daemon(NAME);
        world.pushed(NAME).await;
        assert_eq!(world.production.issued().len(), 1, "{}", daemon.text());
        assert_eq!(world.asked("new-order"), 1);
    }
}

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
async fn an_overloaded_authority_that_says_when_is_left_alone_until_then() {
    for retry_after in ["600", "Fri, 01 Jan 2100 12:00:00 GMT"] {
        let world = World::start().await;
        world.refuses("new-order", 1, page(Some(retry_after)));
        let mut daemon = world.daemon(NAME);
        daemon.says("certificate not done").await;
        daemon.rests().await;
        assert_eq!(world.asked("new-order"), 1, "{}", daemon.text());
        let wait = world.failures("attempt").pop().unwrap();
        assert!(retry_after != "600" || wait.minutes() == 10, "{wait:?}");
        // Nonsense is not believed for longer than a day.
        assert!(retry_after == "600" || wait.minutes() == 24 * 60, "{wait:?}");
        assert!(world.failures("name").is_empty(), "it says nothing about a name");
        world.is_silent_after_a_restart(daemon, NAME).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_authority_that_does_not_say_when_is_asked_again_after_a_moment() {
    let world = World::start().await;
    world.refuses("new-order", 2, page(None));
    let daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    assert_eq!(world.asked("new-order"), 3, "{}", daemon.text());
    assert!(world.failures("name").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_fails_once_at_any_point_still_issues_once() {
    let endpoints = [
        "directory",
        "new-nonce",
        "new-account",
        "new-order",
        "authorization",
        "challenge",
        "order",
        "finalize",
        "certificate",
    ];
    for endpoint in endpoints {
        for answer in [failing(), page(None)] {
            let world = World::start().await;
            // So that the order is looked at as well.
            world
                .production
                .set(|settings| settings.processing = std::time::Duration::from_millis(50));
            world.refuses(endpoint, 1, answer);
            let mut daemon = world.daemon(NAME);
            if endpoint == "finalize" {
                // Sent again, it may bring another certificate: not before a minute is over.
                daemon.says("more to do later").await;
                daemon.stop().await;
                world.end_rests(NAME);
                daemon = world.daemon(NAME);
            }
            world.pushed(NAME).await;
            let is_hit = |seen: &Seen| {
                seen.endpoint == endpoint && seen.status.is_some_and(|status| status >= 500)
            };
            let seen = world.production.faults().seen();
            assert_eq!(seen.iter().filter(|seen| is_hit(seen)).count(), 1, "{endpoint}");
            assert_eq!(world.production.issued().len(), 1, "{endpoint}: {}", daemon.text());
            assert_eq!(world.production.accounts().len(), 1, "{endpoint}");
            assert_eq!(world.production.orders().len(), 1, "{endpoint}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_failures_in_a_row_leave_the_authority_alone_for_all_over_a_restart() {
    let world = World::start().await;
    world.refuses("new-order", u32::MAX, page(None));
    let names: Vec<String> = (1..=6).map(|number| format!("n{number}.example.com")).collect();
    let domains = names.join(",");
    let settings = world.settings().with("CONCURRENCY", "1");
    let mut daemon = settings.with("DOMAINS", &domains).start();
    daemon.says("authority left alone after several failures in a row").await;
    daemon.rests().await;
    assert_eq!(world.asked("new-order"), 3, "{}", daemon.text());
    assert!(daemon.text().contains("the authority cannot be used at present"), "{}", daemon.text());
    assert_eq!(world.failures("authority").pop().unwrap().minutes(), 1);
    assert!(world.failures("name").is_empty(), "it says nothing about a name");
    world.is_silent_after_a_restart(daemon, &domains).await;

    // The first that is asked again fails: nobody else needs to find out.
    world.end_waits();
    let mut daemon = world.daemon(&domains);
    daemon.says("authority left alone after several failures in a row").await;
    daemon.rests().await;
    daemon.stop().await;
    assert_eq!(world.failures("authority").pop().unwrap().minutes(), 2);

    world.production.faults().clear();
    world.end_waits();
    let _daemon = world.daemon(&domains);
    for name in &names {
        world.pushed(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_says_nothing_of_others_leaves_the_authority_open_for_them() {
    const GOOD: &str = "n6.example.com";
    let bad_nonce = Problem::new(400, "badNonce", "no").response();
    let senseless = Response::new(Bytes::from_static(b"<html>welcome</html>"));
    for answer in [failing(), senseless, bad_nonce] {
        let world = World::start().await;
        let is_bad = |seen: &Seen| seen.endpoint == "new-order" && seen.subject != GOOD;
        let faults = world.production.faults();
        faults.add_when(is_bad, 0, u32::MAX, What::Answer(answer));
        let bad = "n1.example.com, n2.example.com, n3.example.com, n4.example.com, n5.example.com";
        let mut daemon = world.daemon(bad);
        daemon.says("certificate not done").await;
        daemon.rests().await;
        assert_eq!(world.failures("attempt").len(), 5, "{}", daemon.text());
        assert!(world.failures("authority").is_empty(), "{}", daemon.text());
        world.announce("shop", "web", GOOD);
        world.pushed(GOOD).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_was_down_for_long_is_asked_again_within_the_hour() {
    // Nothing can be ordered; or what was ordered stays in the middle, and can be resumed. A time that is over is no
    // time: our clock may be ahead.
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    let outages = [
        ("new-order", failing()),
        ("new-order", page(Some("0"))),
        ("new-order", page(Some(past))),
        ("finalize", failing()),
        ("finalize", page(Some("0"))),
    ];
    let asked_again = async |(endpoint, answer)| {
        let world = World::start().await;
        world.refuses(endpoint, u32::MAX, answer);
        let rounds = if endpoint == "finalize" { 2 } else { 6 };
        for _ in 0..rounds {
            let mut daemon = world.daemon(NAME);
            daemon
                .says(if endpoint == "finalize" {
                    "more to do later"
                } else {
                    "certificate not done"
                })
                .await;
            daemon.kill().await;
            for kind in ["attempt", "authority", "name", "account"] {
                for wait in world.failures(kind) {
                    assert!(wait.minutes() <= 60, "{endpoint}: {wait:?}");
                }
            }
            world.end_waits();
            world.end_rests(NAME);
        }
        world.production.faults().clear();
        let _daemon = world.daemon(NAME);
        world.pushed(NAME).await;
        assert_eq!(world.production.issued().len(), 1, "{endpoint}");
        assert_eq!(world.production.orders().len(), 1, "{endpoint}");
    };
    let side_by_side = stream::iter(outages).for_each_concurrent(None, asked_again);
    side_by_side.await;
}

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

/// Leaves an order in flight, whose name does not lead to us.
async fn with_an_order_in_flight() -> World {
    let world = World::start().await;
    world.web.settings(|settings| settings.missing_hosts = vec![NAME.to_owned()]);
    let mut daemon = world.daemon(NAME);
    daemon.mentions("so the authority is not asked").await;
    daemon.stop().await;
    assert!(world.pending(NAME).is_some());
    world.web.settings(|settings| settings.missing_hosts.clear());
    world.end_waits();
    world
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

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

mod account;
mod limits;

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

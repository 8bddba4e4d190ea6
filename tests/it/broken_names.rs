//! A broken name costs at most a handful of failed validations and never delays another name.

use sandbox::authority::problem::Problem;
use sandbox::authority::problem::RetryAfter;
use sandbox::authority::settings::Subproblems;
use sandbox::authority::state::State;
use sandbox::faults::Seen;
use sandbox::faults::What;

use crate::support::World;
use crate::support::guarded;
use crate::support::stepped::Stepped;

const GROUP: &str = "a.example.com b.example.com c.example.com";

impl World {
    /// The authority cannot reach a name; our own check finds nothing wrong with it.
    pub(crate) fn breaks(&self, name: &str) {
        self.production.set(|settings| {
            settings.unresolved.insert(name.to_owned());
        });
    }

    pub(crate) fn mends(&self, name: &str) {
        self.production.set(|settings| {
            settings.unresolved.remove(name);
        });
    }

    pub(crate) fn failed_validations(&self, name: &str) -> usize {
        let validations = self.production.validations();
        let failed = validations.iter().filter(|done| done.name == name && !done.ok);
        failed.count()
    }

    /// How many orders were asked for with this name among theirs.
    fn orders_of(&self, name: &str) -> usize {
        let seen = self.production.faults().seen();
        let orders = seen.iter().filter(|seen| seen.endpoint == "new-order");
        orders.filter(|seen| seen.subject.split(',').any(|own| own == name)).count()
    }

    /// Resolves when a certificate for exactly these names is at Rancher.
    async fn obtained(&self, names: &[&str]) {
        let is_issued = |state: &State| state.issued().iter().any(|issued| issued.names == names);
        guarded(&format!("a certificate for {names:?}"), self.production.until(is_issued)).await;
        self.pushed(names[0]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_broken_name_delays_none_of_four_others_and_costs_one_validation_over_restarts() {
    let world = World::start().await;
    world.breaks("broken.example.com");
    let good = ["a.example.com", "b.example.com", "c.example.com", "d.example.com"];
    let domains = format!("broken.example.com,{}", good.join(","));
    let mut daemon = world.daemon(&domains);
    for name in good {
        world.pushed(name).await;
    }
    daemon.mentions("validation of broken.example.com failed").await;
    for _ in 0..3 {
        daemon.idles().await;
        daemon.stop().await;
        daemon = world.daemon(&domains);
    }
    daemon.mentions("validation of broken.example.com failed").await;
    daemon.rests().await;
    let text = daemon.text();
    assert_eq!(world.failed_validations("broken.example.com"), 1, "{text}");
    assert_eq!(world.orders_of("broken.example.com"), 1, "{text}");
    assert_eq!(world.production.issued().len(), 4, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_name_waits_a_minute_then_ten_then_a_hundred_then_a_day_over_restarts() {
    let world = World::start().await;
    world.breaks("broken.example.com");
    let mut minutes = Vec::new();
    for failed in 1..=5 {
        let mut daemon = world.daemon("broken.example.com");
        daemon.says("certificate not done").await;
        daemon.idles().await;
        daemon.kill().await;
        assert_eq!(world.failed_validations("broken.example.com"), failed);
        let wait = world.failures("name").pop().unwrap();
        assert_eq!(wait.count, failed as u64);
        minutes.push(wait.minutes());
        world.end_waits();
    }
    assert_eq!(minutes, [1, 10, 100, 24 * 60, 24 * 60]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validation_that_failed_right_before_a_crash_is_counted_once() {
    let world = World::start().await;
    world.breaks("broken.example.com");
    let settings = world.settings().with("DOMAINS", "broken.example.com");
    let killed = settings.clone();
    let killed = tokio::task::spawn_blocking(move || {
        let daemon = Stepped::start(&killed);
        while let Some(line) = daemon.line() {
            // Of the authorization that failed: its order is still in flight.
            if line["message"] == "token withdrawn" {
                daemon.kill();
                return true;
            }
            daemon.next();
        }
        false
    });
    assert!(guarded("the kill", killed).await.unwrap());
    let count = |world: &World| world.failures("name").iter().map(|it| it.count).max();
    assert_eq!(count(&world), Some(1));
    let in_flight = world.pending("broken.example.com");
    assert!(in_flight.is_some(), "the order had ended before the kill");

    // The daemon is away until the wait is over, and then its first look shows the same failure again.
    world.end_waits();
    world.mends("broken.example.com");
    let daemon = settings.start();
    world.obtained(&["broken.example.com"]).await;
    assert_eq!(count(&world), Some(1), "{}", daemon.text());
    assert_eq!(world.failed_validations("broken.example.com"), 1);
    assert_eq!(world.orders_of("broken.example.com"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validation_whose_end_was_limited_away_is_still_counted() {
    let world = World::start().await;
    world.breaks("broken.example.com");
    let limited = Problem::new(429, "rateLimited", "too many requests")
        .retry_after(RetryAfter::Seconds(600))
        .response();
    let is_look = |seen: &Seen| seen.endpoint == "authorization";
    let faults = world.production.faults();
    faults.add_when(is_look, 1, 1, What::Answer(limited));
    let mut daemon = world.daemon("broken.example.com");
    daemon.mentions("too many requests").await;
    daemon.idles().await;
    daemon.stop().await;
    assert_eq!(world.failed_validations("broken.example.com"), 1);

    world.end_waits();
    let mut daemon = world.daemon("broken.example.com");
    daemon.mentions("validation of broken.example.com failed").await;
    daemon.rests().await;
    assert_eq!(world.orders_of("broken.example.com"), 1, "{}", daemon.text());
    assert_eq!(world.failed_validations("broken.example.com"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_name_of_a_group_is_left_out_and_added_when_it_works_again() {
    // Told in the order as well, as by Pebble, or in the authorization only, as by Boulder.
    for order_errors in [false, true] {
        let world = World::start().await;
        world.production.set(|settings| settings.order_errors = order_errors);
        world.breaks("c.example.com");
        let mut daemon = world.daemon(GROUP);
        world.obtained(&["a.example.com", "b.example.com"]).await;
        daemon.mentions("validation of c.example.com failed").await;
        daemon.rests().await;
        daemon.stop().await;

        world.mends("c.example.com");
        world.end_waits();
        let mut daemon = world.daemon(GROUP);
        world.obtained(&["a.example.com", "b.example.com", "c.example.com"]).await;
        daemon.rests().await;
        let text = daemon.text();
        assert_eq!(world.production.issued().len(), 2, "{text}");
        assert_eq!(world.failed_validations("c.example.com"), 1, "{text}");
        assert_eq!(world.production.validations().len(), 4, "{text}");
        assert_eq!(world.rancher.certificates().len(), 1, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_a_group_that_fails_its_self_check_is_left_out_and_added_without_a_restart() {
    let world = World::start().await;
    let missing = "c.example.com".to_owned();
    world.web.settings(|settings| settings.missing_hosts = vec![missing]);
    let mut daemon = world.daemon(GROUP);
    world.obtained(&["a.example.com", "b.example.com"]).await;
    daemon.mentions("self-check of c.example.com failed").await;
    assert_eq!(world.production.validations().len(), 2, "{}", daemon.text());

    world.web.settings(|settings| settings.missing_hosts.clear());
    world.obtained(&["a.example.com", "b.example.com", "c.example.com"]).await;
    assert_eq!(world.production.issued().len(), 2, "{}", daemon.text());
    assert_eq!(world.failed_validations("c.example.com"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_name_stops_only_itself_however_the_authority_tells_it() {
    for subproblems in [Subproblems::Always, Subproblems::WhenSeveral] {
        let world = World::start().await;
        world.production.set(|settings| {
            settings.blocked.insert("b.example.com".to_owned());
            settings.subproblems = subproblems;
        });
        let mut daemon = world.daemon(&format!("{GROUP}, d.example.com"));
        world.obtained(&["a.example.com", "c.example.com"]).await;
        world.obtained(&["d.example.com"]).await;
        daemon.mentions("forbidden by policy").await;
        daemon.rests().await;
        daemon.stop().await;
        let mut daemon = world.daemon(&format!("{GROUP}, d.example.com"));
        daemon.idles().await;
        assert_eq!(world.orders_of("b.example.com"), 1, "{subproblems:?}: {}", daemon.text());
        let waiting = world.failures("name");
        let names: Vec<_> = waiting.iter().map(|wait| wait.subject["name"].clone()).collect();
        assert_eq!(names, ["b.example.com"], "{subproblems:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_authority_limits_stops_only_itself() {
    let world = World::start().await;
    let detail = "too many failed authorizations (5) for \"b.example.com\" in the last 1h0m0s";
    let refusal =
        Problem::new(429, "rateLimited", detail).retry_after(RetryAfter::Seconds(720)).response();
    let faults = world.production.faults();
    faults.add_when(
        |seen| seen.endpoint == "new-order" && seen.subject.contains("b.example.com"),
        0,
        u32::MAX,
        What::Answer(refusal),
    );
    let mut daemon = world.daemon(GROUP);
    world.obtained(&["a.example.com", "c.example.com"]).await;
    daemon.rests().await;
    assert_eq!(world.orders_of("b.example.com"), 1, "{}", daemon.text());
    let waits = world.failures("name");
    assert_eq!(waits.len(), 1);
    assert_eq!((&waits[0].subject["name"], waits[0].minutes()), (&"b.example.com".into(), 12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_name_waits_a_day_and_the_address_for_the_person_is_told_whole() {
    let world = World::start().await;
    // As long as the real ones are.
    let address = format!("https://portal.example/sfe/v1/unpause?jwt={}", "x".repeat(700));
    let detail = format!(
        "Your account is temporarily prevented from requesting certificates for a.example.com and possibly others. \
         Please visit: {address}"
    );
    let refusal = Problem::new(429, "rateLimited", detail).response();
    let faults = world.production.faults();
    let is_of_a = |seen: &Seen| seen.endpoint == "new-order" && seen.subject == "a.example.com";
    faults.add_when(is_of_a, 0, 1, What::Answer(refusal));
    let mut daemon = world.daemon("a.example.com, b.example.com");
    daemon.mentions(&address).await;
    world.obtained(&["b.example.com"]).await;
    for _ in 0..2 {
        daemon.idles().await;
        daemon.stop().await;
        assert_eq!(world.orders_of("a.example.com"), 1);
        daemon = world.daemon("a.example.com, b.example.com");
    }
    daemon.mentions(&address).await;
    daemon.stop().await;
    let waits = world.failures("name");
    assert_eq!(waits.len(), 1);
    assert_eq!(waits[0].minutes(), 24 * 60);
    assert!(waits[0].detail.contains("a person"), "{}", waits[0].detail);

    world.end_waits();
    let _daemon = world.daemon("a.example.com, b.example.com");
    world.obtained(&["a.example.com"]).await;
}

//! The limits of an authority are kept before it has to, over restarts and lost volumes, and never let a certificate
//! expire.

use sandbox::authority::limits::Limits;
use sandbox::authority::problem::Problem;
use sandbox::faults::Gate;
use sandbox::faults::What;
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use crate::support::Settings;
use crate::support::World;
use crate::support::guarded;
use crate::support::leaf;
use crate::support::tree::issued_before;
use crate::support::tree::issued_today;
use crate::support::tree::lay;
use crate::support::tree::now;
use crate::support::tree::renewal_conf;

const NAME: &str = "a.example.com";

fn many(from: usize, to: usize) -> String {
    let names: Vec<_> = (from..to).map(|number| format!("n{number}.example.com")).collect();
    names.join(",")
}

impl World {
    /// An authority that keeps Let's Encrypt's limits, and a daemon that knows them.
    async fn limited() -> Self {
        let world = Self::start().await;
        world.production.set(|settings| settings.limits = Limits::lets_encrypt());
        world
    }

    fn careful(&self, domains: &str) -> Settings {
        self.settings().with("CA_LIMITS", "letsencrypt").with("DOMAINS", domains)
    }

    /// So many certificates of the domain are on record.
    pub(crate) fn has_spent(&self, certificates: i32) {
        let level = json!({"bucket": "domain", "domain": "example.com"});
        self.has_level(level, time::Duration::days(7) * certificates / 50);
    }

    /// So many certificates of the name are on record.
    fn has_spent_set(&self, certificates: i32) {
        let level = json!({"bucket": "set", "names": [NAME]});
        self.has_level(level, time::Duration::days(7) * certificates / 5);
    }

    fn has_level(&self, mut level: serde_json::Value, full_in: time::Duration) {
        let own = self.own("");
        std::fs::create_dir_all(&own).unwrap();
        let text = |time: time::OffsetDateTime| time.format(&Rfc3339).unwrap();
        level["directory"] = self.production.directory_url().into();
        level["full_at"] = text(now() + full_in).into();
        let line = json!({"at": text(now()), "event": "levels", "levels": [level]});
        std::fs::write(own.join("ledger.jsonl"), format!("{line}\n")).unwrap();
    }

    /// The last one of a burst is left alone for a minute.
    fn is_all_of_a_domain(&self, certificates: usize) {
        assert!((49..=50).contains(&certificates), "{certificates}");
    }

    async fn has_issued(&self, count: usize) {
        let enough = move |state: &sandbox::authority::state::State| state.issued().len() >= count;
        guarded("the certificates", self.production.until(enough)).await;
    }

    fn limits_hit(&self) -> usize {
        let seen = self.production.faults().seen();
        seen.iter().filter(|seen| seen.status == Some(429)).count()
    }

    /// Lays a certificate of the production directory that has so many days left, as certbot would have.
    fn has_certificate(&self, days_left: i64) -> String {
        let pair = issued_before(&[NAME], days_left);
        let conf = renewal_conf(&self.store(), NAME, &self.production.directory_url(), &[NAME]);
        lay(&self.store(), NAME, &conf, std::slice::from_ref(&pair));
        leaf(&pair.cert_pem)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_a_domain_is_kept_over_restarts_and_stops_no_other_domain() {
    let world = World::limited().await;
    world.has_spent(46);
    let domains = many(0, 6);
    let mut daemon = world.careful(&domains).start();
    let used_up = "of 50 new certificates for example.com in 168 hours are used";
    let says_when = |line: &serde_json::Value| {
        line["next_try"].is_string() && line.to_string().contains(used_up)
    };
    daemon.next(used_up, says_when).await;
    daemon.settles().await;
    let issued = world.production.issued().len();
    world.is_all_of_a_domain(46 + issued);
    daemon.stop().await;
    let mut daemon = world.careful(&format!("{domains},a.example.org")).start();
    world.pushed("a.example.org").await;
    daemon.settles().await;
    world.is_all_of_a_domain(46 + world.production.issued().len() - 1);
    assert_eq!(world.limits_hit(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_volume_loses_no_account_of_what_was_issued() {
    let world = World::limited().await;
    let directory = world.production.directory_url();
    for number in 0..46 {
        let name = format!("before{number}.example.com");
        let pair = issued_today(&[&name]);
        let mark =
            format!("rancher-lets-encrypt leaf={} directory={directory}", leaf(&pair.cert_pem));
        let chain = Some(pair.chain_pem.as_str());
        world.rancher.add_certificate(&name, &pair.cert_pem, chain, &pair.key_pem, Some(&mark));
    }
    let mut daemon = world.careful(&many(0, 6)).start();
    daemon.mentions("of 50 new certificates for example.com in 168 hours are used").await;
    daemon.settles().await;
    world.is_all_of_a_domain(46 + world.production.issued().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_limits_nothing_is_held_back() {
    let world = World::start().await;
    world.has_spent(50);
    let _daemon = world.daemon(&many(0, 3));
    world.has_issued(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_the_model_does_not_know_of_is_heard_from_the_authority() {
    let world = World::start().await;
    let text = "too many new orders (300) from this account in the last 3h0m0s, retry after 2199-01-01 00:00:00 UTC: x";
    let limited = Problem::new(429, "rateLimited", text).response();
    world.production.faults().add("new-order", 1, What::Answer(limited));
    let mut daemon = world.careful("a.example.com, b.example.com").with("CONCURRENCY", "1").start();
    daemon.mentions("too many new orders").await;
    daemon.rests().await;
    // What one certificate hears about the account holds for all.
    assert_eq!(world.asked("new-order"), 1, "{}", daemon.text());
    daemon.stop().await;
    let mut daemon = world.careful("a.example.com, b.example.com").start();
    daemon.idles().await;
    assert_eq!(world.asked("new-order"), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_to_expiry_the_self_check_is_advice_and_the_authority_is_asked() {
    let world = World::start().await;
    world.has_certificate(1);
    // From inside the name cannot be reached.
    let settings = world.careful(NAME).with("HOST_CHECK_PORT", "1");
    let mut daemon = settings.start();
    daemon.mentions("about to expire, the authority is asked all the same").await;
    world.pushed(NAME).await;
    assert_eq!(world.issued(NAME).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_to_expiry_the_authority_is_asked_once_a_day_and_its_answer_wins() {
    let world = World::start().await;
    world.has_certificate(1);
    // The authority finds nothing either.
    world.production.set(|settings| settings.validation_port = 1);
    let settings = world.careful(NAME).with("HOST_CHECK_PORT", "1");
    let mut daemon = settings.clone().start();
    daemon.mentions("validation of a.example.com failed").await;
    daemon.stop().await;
    assert_eq!(world.production.validations().len(), 1);
    // Its minute is over: now our own look holds again, until the day is over.
    let end = |world: &World, kinds: &[&str]| {
        world.edit_ledger(|line| {
            let kind = line["subject"]["kind"].as_str().unwrap_or_default().to_owned();
            if line["event"] == "failed" && kinds.contains(&kind.as_str()) {
                line["until"] = line["at"].clone();
            }
        });
    };
    end(&world, &["name"]);
    let mut daemon = settings.clone().start();
    daemon.mentions("so the authority is not asked").await;
    daemon.stop().await;
    assert_eq!(world.production.validations().len(), 1);
    end(&world, &["name", "self-check", "overruled"]);
    let mut daemon = settings.start();
    daemon.mentions("validation of a.example.com failed").await;
    assert_eq!(world.production.validations().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_than_that_the_self_check_is_the_rule() {
    let world = World::start().await;
    world.has_certificate(3);
    let mut daemon = world.careful(NAME).with("HOST_CHECK_PORT", "1").start();
    daemon.mentions("so the authority is not asked").await;
    assert_eq!(world.production.validations().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_clock_that_is_hours_wrong_nothing_that_costs_is_asked() {
    let hour = time::Duration::HOUR;
    for (ahead, told) in [(-3 * hour, "ahead of"), (3 * hour, "behind")] {
        let world = World::start().await;
        world.production.set(|settings| settings.clock_ahead = ahead);
        let mut daemon = world.daemon(NAME);
        let line = daemon.mentions("the clock of this machine is").await;
        assert!(line.to_string().contains(told), "{line}");
        daemon.idles().await;
        daemon.stop().await;
        assert_eq!(world.asked("new-account"), 0, "{told}");
        assert_eq!(world.asked("new-order"), 0, "{told}");
        world.production.set(|settings| settings.clock_ahead = time::Duration::ZERO);
        let _daemon = world.daemon(NAME);
        world.pushed(NAME).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_clock_that_is_hours_wrong_an_order_in_flight_rests() {
    let world = World::start().await;
    let gate = world.gates("authorization", What::DoThenHold);
    let daemon = world.daemon(NAME);
    guarded("the order", gate.reached(1)).await;
    daemon.kill().await;
    gate.open();
    world.production.set(|settings| settings.clock_ahead = time::Duration::hours(3));
    let looks = world.asked("order");
    let mut daemon = world.daemon(NAME);
    daemon.mentions("nothing that costs is asked").await;
    daemon.passes(4).await;
    daemon.rests().await;
    daemon.stop().await;
    assert_eq!(world.asked("order"), looks + 1);
    assert_eq!(world.asked("challenge"), 0);
    assert_eq!(world.asked("finalize"), 0);
    world.production.set(|settings| settings.clock_ahead = time::Duration::ZERO);
    let _daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    assert_eq!(world.asked("new-order"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_away_at_the_first_start_costs_no_account() {
    let world = World::limited().await;
    let away = Problem::new(500, "serverInternal", "away").response();
    let faults = world.production.faults();
    faults.add("directory", u32::MAX, What::Answer(away));
    let domains = many(0, 12);
    let mut daemon = world.careful(&domains).start();
    daemon.says("authority left alone after several failures in a row").await;
    daemon.rests().await;
    daemon.stop().await;
    let ledger = world.ledger();
    let tried = ledger.iter().filter(|line| line["event"] == "registering");
    assert!(tried.count() <= 3, "{ledger:#?}");
    world.production.faults().clear();
    world.end_waits();
    let _daemon = world.careful(&domains).start();
    world.has_issued(12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_do_not_lead_to_us_cost_no_other_name_its_place() {
    let world = World::limited().await;
    world.has_spent(45);
    let broken: Vec<String> = (0..6).map(|number| format!("n{number}.example.com")).collect();
    let missing = broken.clone();
    world.web.settings(|settings| settings.missing_hosts = missing);
    let domains = broken.join(",");
    let settings = world.careful(&domains).with("CONCURRENCY", "1");
    let mut daemon = settings.start();
    for name in &broken {
        daemon.mentions(&format!("self-check of {name} failed")).await;
    }
    daemon.stop().await;
    assert_eq!(world.asked("new-order"), 6);
    let _daemon = world.careful(&format!("{domains},{NAME}")).start();
    world.pushed(NAME).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_to_expiry_a_limit_is_advice_and_earlier_it_is_the_rule() {
    for (days_left, orders) in [(1, 1), (3, 0)] {
        let world = World::start().await;
        world.has_certificate(days_left);
        world.has_spent_set(5);
        let mut daemon = world.careful(NAME).start();
        let said = if orders == 0 {
            "of 5 certificates for exactly a.example.com in 168 hours are used"
        } else {
            "about to expire, the authority is asked all the same"
        };
        daemon.mentions(said).await;
        daemon.settles().await;
        daemon.stop().await;
        assert_eq!(world.asked("new-order"), orders, "{days_left}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_go_first_by_expiry_and_then_first_certificates_by_wish() {
    let world = World::start().await;
    let due = |name: &str, days_left| {
        let pair = issued_before(&[name], days_left);
        let directory = world.production.directory_url();
        let conf = renewal_conf(&world.store(), name, &directory, &[name]);
        lay(&world.store(), name, &conf, &[pair]);
    };
    due("later.example.com", 3);
    due("soon.example.com", 2);
    let own = world.own("");
    std::fs::create_dir_all(&own).unwrap();
    let at = (now() - time::Duration::DAY).format(&Rfc3339).unwrap();
    let wished = json!({"at": at, "event": "wished", "certificate": "old-wish.example.com"});
    std::fs::write(own.join("ledger.jsonl"), format!("{wished}\n")).unwrap();
    let expected =
        ["soon.example.com", "later.example.com", "old-wish.example.com", "a-wish.example.com"];
    let domains = "a-wish.example.com,later.example.com,old-wish.example.com,soon.example.com";
    let settings = world.settings().with("DOMAINS", domains);
    let daemon = settings.with("CONCURRENCY", "1").start();
    for name in expected {
        world.pushed(name).await;
    }
    let seen = world.production.faults().seen();
    let orders = seen.iter().filter(|seen| seen.endpoint == "new-order");
    let orders: Vec<_> = orders.map(|seen| seen.subject.as_str()).collect();
    assert_eq!(orders, expected, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_minutes_wrong_is_told_and_stops_nothing() {
    let world = World::start().await;
    world.production.set(|settings| settings.clock_ahead = time::Duration::minutes(20));
    let mut daemon = world.daemon(NAME);
    daemon.mentions("minutes behind the authority's: set it right").await;
    world.pushed(NAME).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_instance_that_was_quicker_costs_no_second_order() {
    let world = World::start().await;
    let gate = Gate::new();
    // What the first instance sees of Rancher is old when it begins to work.
    let faults = world.rancher.faults();
    faults.add("list-certificates", 1, What::DoThenHold(gate.clone()));
    let mut slow = world.daemon(NAME);
    guarded("the first list", gate.reached(1)).await;
    let other = tempfile::tempdir().unwrap();
    let own = other.path().to_str().unwrap();
    let quick = world.settings().with("DOMAINS", NAME).with("LETSENCRYPT_ROOTDIR", own);
    let quick = quick.start();
    world.pushed(NAME).await;
    gate.open();
    slow.says("changed at Rancher since the pass, nothing is ordered").await;
    slow.settles().await;
    assert_eq!(world.asked("new-order"), 1, "{}", slow.text());
    drop(quick);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_with_a_broken_part_counts_as_one_attempt_for_each_name() {
    let world = World::start().await;
    let own = world.own("");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("ledger.jsonl"), "{}\n").unwrap();
    let mut daemon = world.daemon(NAME);
    daemon.mentions("a part of the ledger could not be read").await;
    daemon.idles().await;
    assert_eq!(world.asked("new-order"), 0);
    drop(daemon);
    // The broken line is passed over and stays; without it nothing waits.
    std::fs::write(own.join("ledger.jsonl"), "").unwrap();
    let _daemon = world.daemon(NAME);
    world.pushed(NAME).await;
}

//! Caddy's authority, which leaves a challenge that failed `pending`, with its reason in it (RFC 8555, section 8.2).

use std::io::Write;

use sandbox::parts::caddy::Caddy;

use crate::real::foreign::kills;
use crate::real::foreign::site;
use crate::real::foreign::site::Site;
use crate::support::network::alone;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_name_three_in_one_and_twenty_at_once_cost_one_certificate_each() {
    alone(async || site::first_certificates::<Caddy>().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_name_says_why_and_takes_nothing_from_those_beside_it() {
    alone(async || {
        site::a_failing_name_beside_good_ones::<Caddy>("could not connect").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_every_step_costs_no_certificate() {
    alone(async || kills::at_every_step::<Caddy>("Caddy", 0).await).await;
}

/// It validates each time that a challenge is answered, so whoever answers again and again fails again and again. The
/// clock of validations allows three tries in an hour: at once, after a minute, ten minutes after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenge_that_failed_is_answered_again_by_the_clock_of_validations() {
    alone(async || {
        let site = Site::<Caddy>::start().await;
        site.lead_astray("bad.example.com").await;
        let home = site.home("store").await;
        let settings = home.settings("bad.example.com");
        let mut daemon = settings.clone().start();
        daemon.says("challenge responded to").await;
        for _ in 0..12 {
            daemon.passes(1).await;
            drop(daemon.kill().await);
            home.let_pass(time::Duration::minutes(5));
            daemon = settings.clone().start();
        }
        let tries: usize = site.authority.answered().into_values().sum();
        // Past the capture of tests that pass.
        let line =
            format!("a name that stays pending at Caddy: {tries} failed validations in an hour\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        assert!((2..=3).contains(&tries), "{tries} tries:\n{}", daemon.text());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_names_that_stay_pending_keep_no_good_one_from_its_order() {
    alone(async || {
        let site = Site::<Caddy>::start().await;
        let mut names: Vec<String> = (0..24).map(|n| format!("bad{n}.example.com")).collect();
        for name in &names {
            site.lead_astray(name).await;
        }
        names.push("good.example.com".to_owned());
        let home = site.home("store").await;
        let settings = home.settings(&names.join(","));
        let daemon = settings.with("CONCURRENCY", "8").start();
        home.pushed(&daemon, &["good.example.com"]).await;
    })
    .await;
}

/// No shorter life can be had there: it is renewed when half of six minutes is left, two minutes after it was issued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes: `make soak` runs it"]
async fn soak_certificate_of_minutes_is_renewed_in_time() {
    alone(async || {
        let begin = async |folder, dns, _: &_| Caddy::start(folder, dns, 5).await;
        let site = Site::with(begin).await;
        let home = site.home("store").await;
        let mut daemon = home.settings("a.example.com").start();
        home.pushed(&daemon, &["a.example.com"]).await;
        // A pass every second.
        daemon.passes(90).await;
        home.renewed_in_time(&daemon, "a.example.com").await;
        assert_eq!(site.authority.issued(), 2, "{}", daemon.text());
    })
    .await;
}

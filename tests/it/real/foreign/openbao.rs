//! OpenBao's authority: it issues within the finalize request, and leaves a challenge that failed `processing`.

use std::io::Write;
use std::time::Duration;

use sandbox::parts::openbao::OpenBao;
use serde_json::Value;

use crate::real::foreign::kills;
use crate::real::foreign::site;
use crate::real::foreign::site::Site;
use crate::real::foreign::torn::Torn;
use crate::support::network::alone;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_name_three_in_one_and_twenty_at_once_cost_one_certificate_each() {
    alone(async || site::first_certificates::<OpenBao>().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_name_says_why_and_takes_nothing_from_those_beside_it() {
    alone(async || {
        site::a_failing_name_beside_good_ones::<OpenBao>("connection refused").await;
    })
    .await;
}

/// But for those that are killed while finalize is answered, which this authority forgets: several moments may lie there,
/// each with a name of its own. What one name costs at most is seen below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_every_step_costs_no_certificate() {
    alone(async || kills::at_every_step::<OpenBao>("OpenBao", 3).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_seconds_are_renewed_in_time() {
    alone(async || {
        let life = Duration::from_secs(20);
        let begin = async |folder, dns, tls: &_| OpenBao::start(folder, dns, tls, life).await;
        let site = Site::with(begin).await;
        let home = site.home("store").await;
        let daemon = home.settings("a.example.com").start();
        home.pushed(&daemon, &["a.example.com"]).await;
        for renewals in 1..=2 {
            home.renewed_in_time(&daemon, "a.example.com").await;
            assert_eq!(site.authority.issued().await, 1 + renewals, "{}", daemon.text());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_that_is_let_in_at_last_is_made_when_a_person_asks() {
    alone(async || {
        let site = Site::<OpenBao>::start().await;
        site.authority.requires_binding(true).await;
        let home = site.home("store").await;
        let (mut daemon, port) = home.settings("a.example.com").start_seen().await;
        daemon.mentions("externalAccountRequired").await;
        daemon.rests().await;
        let status = site::status_of(&port, "a.example.com").await;
        let said = status.to_string();
        assert!(said.contains("externalAccountRequired"), "{status:#}");

        site.authority.requires_binding(false).await;
        home.asks_for("a.example.com").await;
        home.pushed(&daemon, &["a.example.com"]).await;
    })
    .await;
}

/// So many kills in less than a day, each while the authority works on a finalize request.
const KILLS: usize = 50;

/// A connection that closes while it issues leaves the order `ready` although a certificate may be stored: what is sent
/// again may be paid again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_while_finalize_is_answered_costs_three_certificates_a_day_at_most() {
    alone(async || {
        let site = Site::<OpenBao>::start().await;
        let between = Torn::start(&site.authority.origin(), &site.roots()).await;
        site.authority.lead_through(&between.origin()).await;
        let home = site.home("store").await;
        let roots = home.write("torn-roots.pem", between.root_pem());
        let directory = format!("{}/v1/pki/acme/directory", between.origin());
        let settings = |name: &str| {
            let settings = home.settings(name).with("ACME_DIRECTORY", &directory);
            settings.with("ACME_CA_FILE", roots.to_str().unwrap())
        };
        // One that was done in spite of a kill is followed by the next.
        let mut names = vec!["n0.example.com".to_owned()];
        let mut torn = 0;
        for kill in 0..KILLS {
            let name = names.last().unwrap().clone();
            let is_torn = between.tears_the_next(moment(kill));
            let mut daemon = settings(&name).start();
            // It waits before it asks again, or is done.
            let rests = |line: &Value| {
                let is_rest = line["next"].as_str().is_some_and(|it| it.starts_with("Rest"));
                is_rest || line["message"] == "pass ended" && line["jobs"] == 0 && line["in_hand"] == 0
            };
            tokio::select! {
                closed = is_torn => torn += usize::from(closed.is_ok()),
                _ = daemon.next("a rest", rests) => {}
            }
            drop(daemon.kill().await);
            home.let_pass(time::Duration::minutes(25));
            if home.rancher.certificate(&name).is_some() {
                names.push(format!("n{}.example.com", names.len()));
            }
        }
        let issued = site.authority.issued_for().await;
        let line = format!(
            "{KILLS} kills at OpenBao, 25 minutes apart: {torn} while finalize was answered; certificates {issued:?}\n"
        );
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        assert!(torn > 0, "no kill hit");
        let most = issued.values().max().copied().unwrap_or_default();
        assert!(most <= 3, "{most} certificates for one name in a day");

        between.tears_none();
        home.let_pass(time::Duration::days(1));
        let name = names.last().unwrap();
        let mut daemon = settings(name).start();
        home.pushed(&daemon, &[name]).await;
        daemon.settles().await;
        assert_eq!(home.pending(), 0, "{}", daemon.text());
    })
    .await;
}

/// When the connection of a finalize request is closed after a kill: signing and storing take some milliseconds.
fn moment(kill: usize) -> Duration {
    Duration::from_micros(500 * (kill as u64 % 20))
}

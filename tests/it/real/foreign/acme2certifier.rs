//! acme2certifier's authority: it wants a contact in the first request, and answers 500 when its backend refuses.

use sandbox::parts::acme2certifier::Acme2certifier;

use crate::real::foreign::kills;
use crate::real::foreign::site;
use crate::real::foreign::site::Site;
use crate::real::foreign::site::status_of;
use crate::support::network::alone;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_name_three_in_one_and_twenty_at_once_cost_one_certificate_each() {
    alone(async || site::first_certificates::<Acme2certifier>().await).await;
}

/// Neither its authorizations nor its challenges have an error object: there is no reason to show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_name_says_why_and_takes_nothing_from_those_beside_it() {
    alone(async || {
        site::a_failing_name_beside_good_ones::<Acme2certifier>("failed").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_every_step_costs_no_certificate() {
    alone(async || kills::at_every_step::<Acme2certifier>("acme2certifier", 0).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_is_made_as_soon_as_there_is_a_contact() {
    alone(async || {
        let site = Site::<Acme2certifier>::start().await;
        let home = site.home("store").await;
        let settings = home.settings("a.example.com");
        let mut daemon = settings.clone().without("CERTBOT_EMAIL").start();
        daemon.mentions("Contact information is missing").await;
        daemon.rests().await;
        drop(daemon.stop().await);
        let daemon = settings.start();
        home.pushed(&daemon, &["a.example.com"]).await;
    })
    .await;
}

/// It answers 500, and its order is `invalid` then: nothing was issued, so nothing stands in the way of another try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backend_that_refuses_is_told_and_costs_no_day() {
    alone(async || {
        let site = Site::<Acme2certifier>::start().await;
        let home = site.home("store").await;
        site.authority.break_backend();
        let (mut daemon, port) = home.settings("a.example.com").start_seen().await;
        daemon.mentions("enrollment failed").await;
        daemon.rests().await;
        let status = status_of(&port, "a.example.com").await;
        assert!(status["problem"]["what"].is_string(), "{status:#}\n{}", daemon.text());
        let said = status.to_string();
        assert!(said.contains("enrollment failed"), "{status:#}\n{}", daemon.text());

        site.authority.mend();
        home.asks_for("a.example.com").await;
        home.pushed(&daemon, &["a.example.com"]).await;
        assert_eq!(site.authority.issued(), 1, "{}", daemon.text());
    })
    .await;
}

//! When an order is looked at that takes its time, and what is shown of that and of its end.

use sandbox::authority::problem::RetryAfter;
use sandbox::authority::settings::finalizing::Finalizing;
use sandbox::authority::settings::quirk::Quirk;
use time::Duration;

use super::NAME;
use super::shown;
use crate::support::World;
use crate::support::leaf;
use crate::support::records::moment;
use crate::support::tree::now;

/// Ten minutes that an authority asks for are shown with their end, and are no reason to let a person wait for ten
/// minutes: there is a look each two. Nobody waits for a renewal, which keeps them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_the_authority_asks_for_is_shown_and_cut_short_for_a_first_certificate() {
    let world = World::start().await;
    world.finalizes(Quirk::new(Finalizing::Stick).times(2));
    world.behaves(|settings| settings.retry_after_processing = Some(RetryAfter::Seconds(600)));
    let (mut daemon, port) = world.wants(NAME).start_seen().await;
    daemon.says("more to do later").await;
    daemon.settles().await;
    let asked_until = asked_until(&world);
    let certificate = shown(&port, NAME).await;
    let reason = certificate["reason"].as_str().unwrap();
    let says = format!(
        "the authority is still issuing, and asks to be left alone until {}",
        rancher_lets_encrypt::core::text::timestamp(asked_until)
    );
    assert!(reason.contains(&says), "{says}: {certificate:#}");
    let next = moment(&certificate["next"]["at"]);
    assert!(next <= now() + Duration::minutes(2), "{certificate:#}");
    assert!(asked_until - next > Duration::minutes(5), "{certificate:#}");
    daemon.stop().await;

    let order = world.production.orders().pop().unwrap().url;
    assert!(world.production.go_on(&order));
    world.let_pass(Duration::minutes(2));
    let mut daemon = world.daemon(NAME);
    world.gets(&daemon, NAME).await;
    world.asked_so_far(1, 1, &daemon.text());
    daemon.settles().await;
    daemon.stop().await;

    world.let_pass(Duration::days(2));
    world.stored_earlier(NAME, Duration::days(2));
    let renewed = world.wants(NAME).without("LOG");
    let asked = renewed.runs(&["renew", NAME]).await;
    assert_eq!(asked.code, 0, "{asked:#?}");
    let mut daemon = world.daemon(NAME);
    daemon.says("more to do later").await;
    let (_, text) = daemon.stop().await;
    let order = world.pending(NAME).unwrap();
    let rest = moment(&order["look_after"]) - now();
    assert!(Duration::minutes(5) < rest, "{rest}: {text}");
}

fn asked_until(world: &World) -> time::OffsetDateTime {
    moment(&world.pending(NAME).unwrap()["asked_until"])
}

/// A new certificate shows its end and its renewal as soon as it is there, however far the next pass is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_just_issued_shows_its_end_at_once() {
    let world = World::start().await;
    let (mut daemon, port) = world.wants(NAME).with("LOOP_TIME", "3600").start_seen().await;
    daemon.says("balancers woken").await;
    let certificate = shown(&port, NAME).await;
    let issued = world.production.issued().pop().unwrap();
    let print = leaf(&issued.chain_pem);
    for copy in ["on_disk", "at_destination"] {
        assert_eq!(certificate[copy]["fingerprint"], print.as_str(), "{certificate:#}");
    }
    let end = moment(&certificate["expires_at"]);
    assert_eq!(end.unix_timestamp(), issued.not_after.unix_timestamp());
    assert!(now() < moment(&certificate["renewal_due_at"]));
    assert_eq!(certificate["health"], "ok", "{certificate:#}");
    assert_eq!(daemon.count("pass ended"), 1, "{}", daemon.text());
}

//! What is not ours: left alone, unless it is self-signed or about to expire, or an operator says otherwise.

use sandbox::certs;
use sandbox::certs::Pair;
use time::Duration;

use super::A;
use super::B;
use super::bought;
use super::now;
use crate::support::Settings;
use crate::support::World;
use crate::support::tree::issued_today;
use crate::support::tree::lay;
use crate::support::tree::renewal_conf;

const MARK: &str = "rancher-lets-encrypt leaf=";

fn placeholder(names: &[&str]) -> Pair {
    certs::self_signed(names, now() - Duration::DAY, now() + Duration::days(3650))
}

impl World {
    fn replacing(&self, replace_foreign: &str) -> Settings {
        self.settings().with("DOMAINS", A).with("REPLACE_FOREIGN", replace_foreign)
    }

    /// The daemon says why it leaves what stands at Rancher under `name` alone, does so, and asks for nothing.
    async fn leaves(&self, settings: Settings, name: &str, reason: &str) {
        let before = self.held(name);
        let mut daemon = settings.start();
        daemon.decides(A, "Leave", reason).await;
        daemon.passes(1).await;
        assert_eq!(self.held(name), before);
        assert_eq!(self.asked_anything(), 0, "{}", daemon.text());
        assert_eq!((self.writes(), self.reveals()), (0, 0));
        assert_eq!(self.rancher.certificates().len(), 1);
        assert!(self.rancher.wakes().is_empty());
    }

    /// The daemon replaces what stands at Rancher under this id, once and in place.
    async fn replaces(&self, settings: Settings, id: &str, reason: &str) {
        let mut daemon = settings.start();
        daemon.decides(A, "Issue", reason).await;
        self.pushed(A).await;
        daemon.decides(A, "Keep", "fresh until").await;
        daemon.passes(1).await;
        let held = self.held(A);
        assert_eq!((held.id.as_str(), held.puts), (id, 1));
        assert_eq!(self.rancher.certificates().len(), 1);
        assert_eq!(self.production.issued().len(), 1);
        self.assert_newest_everywhere(A);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_signed_placeholder_is_replaced_in_place() {
    let world = World::start().await;
    let id = world.paste(A, &placeholder(&[A]), None);
    world.replaces(world.replacing("due"), &id, "self-signed at Rancher").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_signed_placeholder_is_replaced_even_if_nothing_foreign_may_be() {
    let world = World::start().await;
    let id = world.paste(A, &placeholder(&["localhost"]), None);
    world.replaces(world.replacing("never"), &id, "self-signed at Rancher").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_is_left_alone() {
    let world = World::start().await;
    world.paste(A, &bought(&[A], 100, 265), Some("bought in May"));
    let settings = world.replacing("due");
    world.leaves(settings, A, "`a.example.com` at Rancher is not ours, valid until").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_under_another_name_is_left_alone_and_none_is_put_beside_it() {
    let world = World::start().await;
    world.paste("the shop", &bought(&[A], 100, 265), None);
    let settings = world.replacing("due");
    world.leaves(settings, "the shop", "`the shop` at Rancher is not ours").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_that_covers_other_names_too_is_left_alone() {
    let world = World::start().await;
    world.paste(A, &bought(&[B, A, "www.a.example.com"], 100, 265), None);
    let settings = world.replacing("due");
    world.leaves(settings, A, "is not ours").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_wildcard_is_left_alone() {
    let world = World::start().await;
    world.paste(A, &bought(&["*.example.com"], 100, 265), None);
    let settings = world.replacing("due");
    world.leaves(settings, A, "is not ours").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_that_does_not_cover_the_name_is_left_alone_and_told() {
    let world = World::start().await;
    world.paste(A, &bought(&[B], 100, 265), None);
    let settings = world.replacing("due");
    world.leaves(settings, A, "it does not cover a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_under_a_wanted_name_is_left_alone() {
    let world = World::start().await;
    let mut broken = bought(&[A], 100, 265);
    broken.cert_pem = broken.cert_pem[..200].to_owned();
    world.paste(A, &broken, None);
    let settings = world.replacing("always");
    world.leaves(settings, A, "Rancher holds something else under `a.example.com`").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_that_is_about_to_expire_is_replaced() {
    let world = World::start().await;
    let id = world.paste(A, &bought(&[A], 360, 5), None);
    world.replaces(world.replacing("due"), &id, "replaced: not ours, and expires on").await;
}

/// Its key lies at Rancher only: nobody brings it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_that_only_a_wrong_clock_sees_expire_is_not_replaced() {
    let world = World::start().await;
    world.paste(A, &bought(&[A], 360, 5), None);
    let conf = renewal_conf(&world.store(), A, &world.production.directory_url(), &[A]);
    lay(&world.store(), A, &conf, &[issued_today(&[A])]);
    world.production.set(|settings| settings.clock_ahead = Duration::days(-30));
    let before = world.held(A);
    let mut daemon = world.replacing("due").start();
    daemon.decides(A, "Push", "not ours, and expires on").await;
    daemon.mentions("not pushed to Rancher: the clock of this machine").await;
    daemon.passes(1).await;
    daemon.stop().await;
    assert_eq!(world.held(A), before);

    world.production.set(|settings| settings.clock_ahead = Duration::ZERO);
    world.end_waits();
    let mut daemon = world.replacing("due").start();
    daemon.says("certificate written").await;
    daemon.settles().await;
    assert_eq!(world.held(A).leaf(), world.live_leaf(A));
}

/// Less than 14 days, but more than a tenth of its life: whoever has it renewed that late does so on purpose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_foreign_certificate_is_not_about_to_expire_before_its_last_tenth() {
    let world = World::start().await;
    world.paste(A, &bought(&[A], 80, 10), None);
    let settings = world.replacing("due");
    world.leaves(settings, A, "at risk: nothing here will renew it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_about_to_expire_that_covers_more_than_ours_is_left_and_told_as_at_risk()
 {
    let world = World::start().await;
    world.paste(A, &bought(&[A, B], 360, 5), None);
    let settings = world.replacing("due");
    world.leaves(settings, A, "at risk: nothing here will renew it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_risk_is_told_as_a_warning() {
    let world = World::start().await;
    world.paste(A, &bought(&["*.example.com"], 360, 5), None);
    let mut daemon = world.replacing("due").start();
    let line = daemon.says("certificate needs attention").await;
    assert_eq!(line["level"], "WARN");
    assert!(line["reason"].as_str().unwrap().contains("at risk"));
    daemon.passes(2).await;
    assert_eq!(daemon.with("certificate needs attention").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_that_has_expired_is_replaced_whatever_it_covers() {
    let world = World::start().await;
    let id = world.paste(A, &bought(&[A, B, "*.c.example.com"], 366, -1), None);
    world.replaces(world.replacing("due"), &id, "replaced: not ours, and expired on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_never_not_even_an_expired_certificate_is_replaced() {
    let world = World::start().await;
    world.paste(A, &bought(&[A], 366, -1), None);
    let settings = world.replacing("never");
    world.leaves(settings, A, "at risk").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_always_a_good_bought_certificate_is_replaced_at_once() {
    let world = World::start().await;
    let id = world.paste(A, &bought(&[A], 10, 355), None);
    world.replaces(world.replacing("always"), &id, "REPLACE_FOREIGN=always").await;
}

/// The mark still stands beside it, but it is about another leaf.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_certificate_pasted_over_ours_is_left_alone() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    let before = (world.asked_anything(), world.writes());
    let id = world.held(A).id;
    let pair = bought(&[A], 1, 364);
    world.rancher.change_certificate(&id, |held| {
        held.cert = pair.cert_pem;
        held.chain = Some(pair.chain_pem);
        held.key = pair.key_pem;
    });
    let pasted = world.held(A);
    assert!(world.description(A).contains(MARK));
    daemon.decides(A, "Leave", "is not ours").await;
    daemon.passes(1).await;
    daemon.stop().await;

    // Nor does a new volume make it ours.
    world.lose_volume();
    let mut daemon = world.daemon(A);
    daemon.decides(A, "Leave", "is not ours").await;
    daemon.passes(1).await;
    assert_eq!(world.held(A), pasted);
    assert_eq!((world.asked_anything(), world.writes()), before);
    assert_eq!(world.reveals(), 0, "its key is none of our business");
}

/// A mark that an operator copied with the description of another certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_copied_to_another_certificate_does_not_make_it_ours() {
    let world = World::start().await;
    let mut daemon = world.daemon(B);
    world.pushed(B).await;
    daemon.idles().await;
    daemon.stop().await;
    let mark = world.description(B);
    world.paste(A, &bought(&[A], 1, 364), Some(&mark));
    let before = (world.asked_anything(), world.writes());
    let mut daemon = world.daemon("a.example.com, b.example.com");
    daemon.decides(A, "Leave", "is not ours").await;
    daemon.passes(1).await;
    assert_eq!((world.asked_anything(), world.writes(), world.reveals()), (before.0, before.1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mark_stands_behind_the_operators_own_text() {
    let world = World::start().await;
    world.paste(A, &placeholder(&[A]), Some("for the shop, ask Ann"));
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    let mark = |world: &World| {
        let leaf = world.held(A).leaf().to_owned();
        let directory = world.production.directory_url();
        format!("{MARK}{leaf} directory={directory}")
    };
    assert_eq!(world.description(A), format!("for the shop, ask Ann {}", mark(&world)));

    // The next certificate brings its own mark, in the place of the other, and the text stays.
    let id = world.held(A).id;
    world.rancher.change_certificate(&id, |held| {
        let edited = held.description.take().unwrap_or_default();
        held.description = Some(edited.replace("Ann", "Bob"));
    });
    daemon.stop().await;
    let mut daemon = world.daemon("a.example.com b.example.com");
    world.reissued(A, 2).await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(world.description(A), format!("for the shop, ask Bob {}", mark(&world)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_that_leaves_no_room_is_cut_and_told() {
    let world = World::start().await;
    world.paste(A, &placeholder(&[A]), Some(&"ü".repeat(1024)));
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.mentions("description cut").await;
    let description = world.description(A);
    assert!(description.starts_with("üü") && description.contains(MARK));
    assert!(description.chars().count() <= 1024);
    assert!(description.contains(world.held(A).leaf()));
}

/// Without the mark and without the record nobody can tell it from a bought one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_mark_and_without_the_volume_ours_is_left_as_a_strangers() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    let id = world.held(A).id;
    world.rancher.change_certificate(&id, |held| held.description = Some("of the shop".to_owned()));
    let before = (world.asked_anything(), world.writes());
    // On record it is ours, and the same: there is nothing to write.
    daemon.passes(1).await;
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.stop().await;

    world.lose_volume();
    let mut daemon = world.daemon(A);
    daemon.decides(A, "Leave", "is not ours").await;
    daemon.passes(1).await;
    assert_eq!((world.asked_anything(), world.writes()), before);
    assert_eq!(world.reveals(), 0);
    assert_eq!(world.description(A), "of the shop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_that_was_pasted_behind_our_leaf_is_made_good() {
    let world = World::start().await;
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.decides(A, "Keep", "fresh until").await;
    let before = world.held(A);
    world.rancher.change_certificate(&before.id, |held| held.chain = None);
    daemon.decides(A, "Push", "Rancher has our certificate with another chain").await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(world.held(A).chain, before.chain);
    assert_eq!(world.production.issued().len(), 1);
}

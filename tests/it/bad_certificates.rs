//! A certificate that is not what was ordered is kept, not published, and stands in the way of another for a day.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use sandbox::authority::settings::AuthoritySettings;
use sandbox::faults::What;

use crate::support::World;
use crate::support::guarded;
use crate::support::records::earlier;

const NAME: &str = "a.example.com";
const REFUSED: &str = "the authority sent a certificate that cannot be used";
const ADVICE: &str = "looked at again in every pass; tell the CA";

/// Shows what becomes of a certificate that is wrong in one way; the words must be told.
async fn check(break_it: impl Fn(&mut AuthoritySettings, bool), words: &str) {
    let world = World::start().await;
    world.production.set(|settings| break_it(settings, true));
    let mut daemon = world.daemon(NAME);
    let line = daemon.says("certificate not done").await.to_string();
    assert!(line.contains(REFUSED) && line.contains(words), "{line}");
    assert!(line.contains(ADVICE), "{line}");
    daemon.rests().await;
    daemon.stop().await;
    for _ in 0..2 {
        let mut daemon = world.daemon(NAME);
        let line = daemon.mentions(REFUSED).await.to_string();
        assert!(line.contains(words) && line.contains(ADVICE), "{line}");
        daemon.idles().await;
        daemon.stop().await;
    }
    assert_eq!(world.asked("new-order"), 1, "{words}");
    assert_eq!(world.production.issued().len(), 1, "{words}");
    let kept = world.pending(NAME).unwrap();
    let issued = &world.production.issued()[0].chain_pem;
    assert_eq!(kept["received"]["chain"], issued.as_str());
    assert!(kept["received"]["refused"].as_str().unwrap().contains(words), "{kept}");
    assert!(!world.live(NAME, "cert.pem").exists());
    assert!(!world.store().join("archive").join(NAME).exists());
    assert_eq!(world.rancher.certificates(), []);

    // A day later, at an authority that has been put right.
    world.production.set(|settings| break_it(settings, false));
    let day = time::Duration::days(1);
    world.edit_pending(NAME, |order| {
        order["received"]["at"] = earlier(&order["received"]["at"], day);
    });
    world.edit_ledger(|line| line["at"] = earlier(&line["at"], day));
    let daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    assert_eq!(world.asked("new-order"), 2, "{}", daemon.text());
    let aside = world.over_path(NAME);
    let aside = std::fs::read_to_string(aside).unwrap();
    assert!(aside.contains("received"), "what was refused is never deleted: {}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_other_names_is_kept_and_blocks_for_a_day() {
    let names = || vec!["other.example.com".to_owned()];
    check(|settings, is_wrong| settings.wrong_names = is_wrong.then(names), "other.example.com")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_key_is_kept_and_blocks_for_a_day() {
    check(|settings, is_wrong| settings.wrong_key = is_wrong, "belongs to another certificate")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_whose_chain_does_not_link_is_kept_and_blocks_for_a_day() {
    check(|settings, is_wrong| settings.wrong_chain = is_wrong, "does not link").await;
}

/// The clock of the authority goes ahead of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_valid_yet_is_used_as_soon_as_it_is() {
    let world = World::start().await;
    world.production.set(|settings| {
        settings.backdate = Duration::ZERO;
        settings.postdate = Duration::from_secs(8);
    });
    let mut daemon = world.daemon(NAME);
    let line = daemon.mentions(REFUSED).await;
    assert!(line.to_string().contains("not valid before"), "{line}");
    daemon.idles().await;
    let state =
        || std::fs::metadata(world.pending_path(NAME)).map(|file| (file.ino(), file.ctime_nsec()));
    let kept = state().unwrap();
    daemon.passes(2).await;
    // Looked at and not written again, as long as it is there.
    assert!(state().is_ok_and(|seen| seen == kept) || world.pending(NAME).is_none());
    world.pushed(NAME).await;
    daemon.settles().await;
    assert_eq!(world.asked("new-order"), 1, "{}", daemon.text());
    assert_eq!(world.production.issued().len(), 1, "{}", daemon.text());
    assert_eq!(daemon.count("certificate not done"), 1, "{}", daemon.text());
    assert!(world.pending(NAME).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_wrong_takes_nothing_away_from_what_is_served() {
    let world = World::start().await;
    let mut daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    daemon.rests().await;
    daemon.stop().await;
    let served = world.rancher.certificate(NAME).unwrap();
    let live = std::fs::read(world.live(NAME, "fullchain.pem")).unwrap();

    world.production.set(|settings| settings.wrong_key = true);
    let mut daemon = world.daemon("a.example.com b.example.com");
    daemon.mentions(REFUSED).await;
    daemon.rests().await;
    assert_eq!(world.rancher.certificate(NAME).unwrap(), served);
    assert_eq!(std::fs::read(world.live(NAME, "fullchain.pem")).unwrap(), live);
    assert_eq!(world.asked("new-order"), 2, "{}", daemon.text());

    // Other names are another matter: they are ordered as soon as names may change again.
    daemon.stop().await;
    world.end_waits();
    world.production.set(|settings| settings.wrong_key = false);
    let daemon = world.daemon("a.example.com c.example.com");
    let is_there = |model: &sandbox::rancher::model::Model| {
        model.certificate(NAME).is_some_and(|held| held.leaf() != served.leaf())
    };
    guarded("the third certificate", world.rancher.until(is_there)).await;
    assert_eq!(world.asked("new-order"), 3, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_on_record_that_is_broken_is_set_aside_and_the_name_keeps_its_folder() {
    let world = World::start().await;
    let gate = world.gates("challenge", What::Hold);
    let daemon = world.daemon(NAME);
    guarded("the tell", gate.reached(1)).await;
    daemon.kill().await;
    std::fs::write(world.pending_path(NAME), "{").unwrap();
    let daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    assert!(world.live(NAME, "cert.pem").exists(), "{}", daemon.text());
    assert!(world.pending_path(NAME).with_extension("json.broken").exists());
}

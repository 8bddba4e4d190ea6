//! Killed between the note that the authority was told and the request: whether it heard, its own answer shows.

use sandbox::authority::settings::challenges::SecondTell;
use sandbox::faults::What;

use super::NAME;
use crate::support::World;
use crate::support::guarded;

/// Where the challenge is still pending, it never heard, and is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_never_heard_is_told_at_once_by_the_next_start() {
    let world = World::start().await;
    world.behaves(|settings| settings.shows_processing = true);
    let gate = world.gates("challenge", What::Hold);
    let daemon = world.daemon(NAME);
    guarded("the tell", gate.reached(1)).await;
    daemon.kill().await;
    let mut daemon = world.daemon(NAME);
    daemon.says("challenge responded to").await;
    world.gets(&daemon, NAME).await;
    world.asked_so_far(1, 1, &daemon.text());
    assert_eq!(world.asked("challenge"), 2, "{}", daemon.text());
    assert_eq!(world.production.validations().len(), 1);
}

/// Where the challenge is processing, it heard, and is not told before two minutes are over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_heard_is_not_told_again_by_the_next_start() {
    let world = World::start().await;
    world.behaves(|settings| {
        settings.shows_processing = true;
        settings.second_tell = SecondTell::Accept;
    });
    let validation = world.holds_validations_of(NAME);
    let gate = world.gates("challenge", What::DoThenHold);
    let daemon = world.daemon(NAME);
    guarded("the tell", gate.reached(1)).await;
    guarded("the validation", validation.reached(1)).await;
    daemon.kill().await;
    let mut daemon = world.daemon(NAME);
    for _ in 0..3 {
        daemon.says("authorization looked at").await;
    }
    assert_eq!(world.asked("challenge"), 1, "{}", daemon.text());
    validation.open();
    world.gets(&daemon, NAME).await;
    assert_eq!(world.asked("challenge"), 1, "{}", daemon.text());
    assert_eq!(world.production.validations().len(), 1);
}

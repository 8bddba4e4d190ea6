//! A certificate that was issued and could not be pushed is pushed later, and never issued again.

use bytes::Bytes;
use http::Response;
use sandbox::faults::What;

use super::A;
use crate::support::World;
use crate::support::guarded;

fn refused() -> What {
    let body = Bytes::from_static(br#"{"type":"error","status":422,"code":"InvalidFormat"}"#);
    let mut answer = Response::new(body);
    *answer.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
    What::Answer(answer)
}

/// A world where the daemon has just gone from staging to production.
async fn upgraded_world() -> World {
    let world = World::start().await;
    let settings = world.settings().with("DOMAINS", A);
    let mut daemon = settings.with("STAGING", "True").start();
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.stop().await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_push_of_an_upgrade_the_next_pass_pushes() {
    let world = upgraded_world().await;
    world.rancher.faults().add("put-certificate", 2, refused());
    let mut daemon = world.daemon(A);
    daemon.decides(A, "Issue", "staging to production").await;
    daemon.decides(A, "Push", "Rancher has a staging copy of ours, until").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 1);
    assert_eq!(world.held(A).leaves.len(), 2);
    assert_eq!(world.rancher.faults().count("put-certificate"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_push_of_an_upgrade_a_restart_pushes() {
    let world = upgraded_world().await;
    let faults = world.rancher.faults();
    faults.add("put-certificate", 1_000, refused());
    let mut daemon = world.daemon(A);
    daemon.mentions("not pushed to Rancher").await;
    daemon.kill().await;
    let asked = world.asked_anything();

    // Still refused: the wait is kept over the restart, and the reason with it.
    let mut daemon = world.daemon(A);
    guarded(
        "a second try",
        faults.until(|seen| {
            seen.iter().filter(|seen| seen.endpoint == "put-certificate").count() >= 2
        }),
    )
    .await;
    daemon.decides(A, "Wait", "(Push: Rancher has a staging copy of ours").await;
    daemon.stop().await;
    faults.clear();

    let mut daemon = world.daemon(A);
    daemon.decides(A, "Push", "Rancher has a staging copy of ours, until").await;
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.asked_anything(), asked);
    assert_eq!(world.production.issued().len(), 1);
}

/// The answer was lost and the change was made: that is not a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_whose_answer_was_lost_is_found_done() {
    let world = upgraded_world().await;
    world.rancher.faults().add("put-certificate", 1, What::DoThenClose);
    let mut daemon = world.daemon(A);
    world.pushed(A).await;
    daemon.idles().await;
    assert_eq!(world.production.issued().len(), 1);
    assert_eq!(world.held(A).puts, 1);
}

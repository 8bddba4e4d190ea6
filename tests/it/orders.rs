//! Orders in flight: answers that are lost, validations that take their time, orders and accounts that are gone.

use std::time::Duration;
use std::time::Instant;

use sandbox::authority::problem::Problem;
use sandbox::authority::problem::RetryAfter;
use sandbox::authority::records::AuthorizationStatus;
use sandbox::authority::records::OrderStatus;
use sandbox::authority::settings::challenges::SecondTell;
use sandbox::authority::state::State;
use sandbox::faults::Gate;
use sandbox::faults::Seen;
use sandbox::faults::What;

use crate::support::World;
use crate::support::guarded;
use crate::support::records::earlier;

mod gone;
mod unwanted;

const NAME: &str = "a.example.com";

impl World {
    #[track_caller]
    fn issued_once(&self, what: &str) {
        assert_eq!(self.production.issued().len(), 1, "{what}");
        assert_eq!(self.production.accounts().len(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_on_the_way_costs_no_certificate_and_no_account() {
    let endpoints = [
        "new-account",
        "new-order",
        "authorization",
        "challenge",
        "finalize",
        "order",
        "certificate",
    ];
    for processing in [Duration::ZERO, Duration::from_millis(100)] {
        for endpoint in
            endpoints.into_iter().filter(|endpoint| *endpoint != "order" || !processing.is_zero())
        {
            for what in [What::DoThenClose, What::Truncate] {
                let world = World::start().await;
                world.production.set(|settings| settings.processing = processing);
                world.production.faults().add(endpoint, 1, what.clone());
                let daemon = world.daemon(NAME);
                world.pushed(NAME).await;
                world.issued_once(&format!("{endpoint} {what:?}: {}", daemon.text()));
                assert_eq!(world.production.orders().len(), 1, "{endpoint} {what:?}");
                assert_eq!(world.production.validations().len(), 1, "{endpoint} {what:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_answer_never_came_is_returned_again_to_the_next_start() {
    let world = World::start().await;
    let gate = world.gates("new-order", What::DoThenHold);
    let daemon = world.daemon(NAME);
    guarded("the order", gate.reached(1)).await;
    daemon.kill().await;
    let daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    world.issued_once(&daemon.text());
    assert_eq!(world.asked("new-order"), 2);
    assert_eq!(world.production.orders().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_validating_already_is_told_again_and_waited_for() {
    let world = World::start().await;
    world.production.set(|settings| {
        settings.second_tell = SecondTell::Conflict409;
        settings.shows_processing = true;
    });
    let gate = world.holds_validations_of(NAME);
    let mut daemon = world.daemon(NAME);
    guarded("the validation", gate.reached(1)).await;
    daemon.says("challenge responded to").await;
    daemon.kill().await;

    // Not before two minutes.
    let mut daemon = world.daemon(NAME);
    daemon.says("authorization looked at").await;
    daemon.says("authorization looked at").await;
    daemon.kill().await;
    assert_eq!(world.asked("challenge"), 1);
    world.edit_pending(NAME, |order| {
        for challenge in order["challenges"].as_object_mut().unwrap().values_mut() {
            challenge["responded_at"] =
                earlier(&challenge["responded_at"], time::Duration::minutes(5));
        }
    });
    let mut daemon = world.daemon(NAME);
    daemon.says("challenge responded to").await;
    daemon.says("authorization looked at").await;
    let seen = world.production.faults().seen();
    let tells = seen.iter().filter(|seen| seen.endpoint == "challenge");
    let statuses: Vec<_> = tells.filter_map(|seen| seen.status).collect();
    assert_eq!(statuses, [200, 409], "{}", daemon.text());
    gate.open();
    world.pushed(NAME).await;
    world.issued_once(&daemon.text());
    assert_eq!(world.production.orders().len(), 1);
    assert_eq!(world.production.validations().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorization_that_stays_pending_frees_its_place_and_is_resumed_when_it_was_to_be() {
    let world = World::start().await;
    let gate = world.holds_validations_of(NAME);
    let hour = RetryAfter::Seconds(3600);
    world.production.set(|settings| settings.retry_after_pending = Some(hour));
    let settings = world.settings().with("CONCURRENCY", "1").with("DOMAINS", NAME);
    let mut daemon = settings.clone().start();
    daemon.says("more to do later").await;

    // Its place is free, and it is left alone as long as the authority wants it, over a restart.
    world.production.set(|settings| settings.retry_after_pending = None);
    world.announce("shop", "web", "b.example.com");
    world.pushed("b.example.com").await;
    daemon.rests().await;
    let looks = world.asked_about("authorization", NAME);
    assert!(looks <= 3, "{looks}: {}", daemon.text());
    daemon.stop().await;
    let mut daemon = settings.clone().start();
    daemon.idles().await;
    assert_eq!(world.asked_about("authorization", NAME), looks, "{}", daemon.text());
    daemon.stop().await;

    world.edit_pending(NAME, |order| {
        order["look_after"] = earlier(&order["look_after"], time::Duration::hours(2));
    });
    gate.open();
    let daemon = settings.start();
    world.pushed(NAME).await;
    assert_eq!(world.asked_about("new-order", NAME), 1, "{}", daemon.text());
    let validations = world.production.validations();
    assert_eq!(validations.iter().filter(|done| done.name == NAME).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorization_that_stays_pending_for_an_hour_is_given_up_with_its_order() {
    let world = World::start().await;
    let gate = world.holds_validations_of(NAME);
    let hour = RetryAfter::Seconds(3600);
    world.production.set(|settings| settings.retry_after_pending = Some(hour));
    let mut daemon = world.daemon(NAME);
    daemon.says("more to do later").await;
    daemon.stop().await;
    world.edit_pending(NAME, |order| {
        let two_hours = time::Duration::hours(2);
        order["look_after"] = earlier(&order["look_after"], two_hours);
        for challenge in order["challenges"].as_object_mut().unwrap().values_mut() {
            challenge["first_responded_at"] = earlier(&challenge["first_responded_at"], two_hours);
        }
    });
    let mut daemon = world.daemon(NAME);
    daemon.says("authorization pending for an hour, given up").await;
    // The first one is found out by what became of it at the authority.
    let is_given_up = |state: &State| {
        state
            .authorizations()
            .any(|authorization| authorization.status == AuthorizationStatus::Deactivated)
    };
    guarded("the authorization to be given up", world.production.until(is_given_up)).await;
    daemon.says("order saved").await;
    world.production.set(|settings| settings.retry_after_pending = None);
    gate.open();
    daemon.rests().await;
    daemon.stop().await;
    if let Some(order) = world.pending(NAME)
        && order.get("look_after").is_some_and(|at| !at.is_null())
    {
        // The second one was looked at while it still was to wait for an hour.
        world.edit_pending(NAME, |order| {
            order["look_after"] = earlier(&order["look_after"], time::Duration::hours(2));
        });
    }
    let daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    world.issued_once(&daemon.text());
    assert_eq!(world.production.orders().len(), 2, "{}", daemon.text());
    assert!(world.tokens().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_that_a_pending_authorization_asks_for_is_kept() {
    for retry_after in [RetryAfter::Seconds(1), RetryAfter::Date(Duration::from_secs(1))] {
        let world = World::start().await;
        world.production.set(|settings| {
            settings.retry_after_pending = Some(retry_after);
            settings.validation_delay = Duration::from_millis(1500);
        });
        let began = Instant::now();
        let daemon = world.daemon(NAME);
        world.pushed(NAME).await;
        // Before the tell, at once, then once a second, however long a busy machine takes.
        let looks = world.asked("authorization");
        let most = 3 + began.elapsed().as_secs();
        assert!(
            (2..=most).contains(&looks.try_into().unwrap()),
            "{retry_after:?}: {looks} looks: {}",
            daemon.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_that_a_processing_order_asks_for_is_kept() {
    for retry_after in [RetryAfter::Seconds(1), RetryAfter::Date(Duration::from_secs(1))] {
        let world = World::start().await;
        world.production.set(|settings| {
            settings.retry_after_processing = Some(retry_after);
            settings.processing = Duration::from_millis(1500);
        });
        let began = Instant::now();
        let daemon = world.daemon(NAME);
        world.pushed(NAME).await;
        // Once a second, however long a busy machine takes.
        let looks = world.asked("order");
        let most = 1 + began.elapsed().as_secs();
        assert!(
            (1..=most).contains(&looks.try_into().unwrap()),
            "{retry_after:?}: {looks} looks: {}",
            daemon.text()
        );
        world.issued_once(&daemon.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_takes_long_to_issue_frees_its_place_and_is_downloaded_later() {
    let world = World::start().await;
    world.production.set(|settings| {
        settings.retry_after_processing = Some(RetryAfter::Seconds(3600));
        settings.processing = Duration::from_millis(300);
    });
    let mut daemon = world.daemon(NAME);
    daemon.says("more to do later").await;
    daemon.rests().await;
    assert_eq!(world.asked("order"), 0, "{}", daemon.text());
    daemon.stop().await;
    let is_valid = |state: &State| state.orders().all(|order| order.status == OrderStatus::Valid);
    guarded("the order to be valid", world.production.until(is_valid)).await;
    world.edit_pending(NAME, |order| {
        order["look_after"] = earlier(&order["look_after"], time::Duration::hours(2));
    });
    let daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    world.issued_once(&daemon.text());
    assert_eq!(world.production.orders().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_still_processing_is_downloaded_by_the_next_start() {
    let world = World::start().await;
    world.production.set(|settings| settings.processing = Duration::from_millis(500));
    let mut daemon = world.daemon(NAME);
    daemon.says("order finalized").await;
    daemon.kill().await;
    let daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    world.issued_once(&daemon.text());
    assert_eq!(world.asked("finalize"), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_nonces_lose_no_certificate() {
    for every in [2, 3, 7] {
        let world = World::start().await;
        world.production.set(|settings| settings.bad_nonce_every = Some(every));
        let names: Vec<String> = (1..=8).map(|number| format!("n{number}.example.com")).collect();
        let daemon = world.daemon(&names.join(","));
        for name in &names {
            world.pushed(name).await;
        }
        assert_eq!(world.production.issued().len(), names.len(), "{every}: {}", daemon.text());
        assert_eq!(world.production.orders().len(), names.len(), "{every}");
        assert_eq!(world.production.accounts().len(), 1, "{every}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_at_another_directory_that_is_away_holds_up_nothing() {
    for endpoint in ["challenge", "finalize"] {
        let world = World::start().await;
        let gate = Gate::new();
        let held = What::DoThenHold(gate.clone());
        world.staging.faults().add(endpoint, 1, held);
        let settings = world.settings().with("DOMAINS", NAME);
        let daemon = settings.clone().with("STAGING", "True").start();
        guarded("the request", gate.reached(1)).await;
        daemon.kill().await;
        let before = world.staging.faults().seen().len();
        // Away for good, and told apart by its URL.
        let is_any = |_: &Seen| true;
        let faults = world.staging.faults();
        faults.add_when(is_any, 0, u32::MAX, What::Close);

        let mut daemon = settings.start();
        world.pushed(NAME).await;
        daemon.rests().await;
        world.issued_once(&daemon.text());
        assert!(world.tokens().is_empty(), "{}", daemon.text());
        let aside = world.stuck_path(NAME);
        let asked = world.staging.faults().seen().len() > before;
        let is_finalized = endpoint == "finalize";
        assert_eq!((asked, aside.exists()), (is_finalized, is_finalized));
        let told = daemon.with(&world.staging.directory_url());
        assert!(!told.is_empty(), "{}", daemon.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_stalls_delays_nobody_at_another() {
    let world = World::start().await;
    let gate = Gate::new();
    let faults = world.staging.faults();
    faults.add("finalize", 1, What::DoThenHold(gate.clone()));
    let settings = world.settings().with("DOMAINS", NAME);
    let daemon = settings.clone().with("STAGING", "True").start();
    guarded("the order to be finalized", gate.reached(1)).await;
    daemon.kill().await;
    faults.add("directory", 1, What::Stall);
    let before = faults.count("directory");
    let _daemon = settings.with("CONNECT_TIMEOUT", "100").start();
    let stalled = faults.until(|seen| {
        let directories = seen.iter().filter(|seen| seen.endpoint == "directory");
        directories.count() > before
    });
    guarded("the directory", stalled).await;
    world.announce("shop", "web", "b.example.com");
    world.pushed("b.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_deactivates_nothing_keeps_no_dead_order_alive() {
    let world = World::start().await;
    let _gate = world.holds_validations_of(NAME);
    let hour = RetryAfter::Seconds(3600);
    world.production.set(|settings| settings.retry_after_pending = Some(hour));
    let mut daemon = world.daemon(NAME);
    daemon.says("more to do later").await;
    daemon.stop().await;
    world.edit_pending(NAME, |order| {
        let two_hours = time::Duration::hours(2);
        order["look_after"] = earlier(&order["look_after"], two_hours);
        for challenge in order["challenges"].as_object_mut().unwrap().values_mut() {
            challenge["first_responded_at"] = earlier(&challenge["first_responded_at"], two_hours);
        }
    });
    // One look, then the request to deactivate it.
    let refusal = Problem::malformed("not supported").response();
    let is_authorization = |seen: &Seen| seen.endpoint == "authorization";
    let faults = world.production.faults();
    faults.add_when(is_authorization, 1, 1, What::Answer(refusal));
    let mut daemon = world.daemon(NAME);
    daemon.says("authorization not deactivated").await;
    daemon.says("order saved").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_issued_is_stored_though_one_of_its_names_has_to_wait() {
    let world = World::start().await;
    let gate = world.gates("finalize", What::DoThenHold);
    let daemon = world.daemon(NAME);
    guarded("the order to be finalized", gate.reached(1)).await;
    daemon.kill().await;
    // Both are wanted in one certificate by now, and the other one does not lead to us.
    let missing = "b.example.com".to_owned();
    world.web.settings(|settings| settings.missing_hosts = vec![missing]);
    let mut daemon = world.daemon("a.example.com b.example.com");
    daemon.says("certificate issued").await;
    daemon.settles().await;
    world.issued_once(&daemon.text());
    assert_eq!(world.production.issued()[0].names, [NAME]);
    world.pushed(NAME).await;
}

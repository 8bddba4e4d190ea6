//! A finalize that does not bring a certificate: what it costs depends on who says that nothing was issued.

use sandbox::authority::problem::Problem;
use sandbox::authority::problem::RetryAfter;
use sandbox::authority::settings::finalizing::Finalizing;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::authority::state::State;
use sandbox::faults::Gate;
use sandbox::faults::What;
use time::Duration;

use super::NAME;
use super::shown;
use crate::support::World;
use crate::support::guarded;

const WORDS: &str = "enrollment failed";
const FLOOR: &str = "a certificate for these names was asked for less than a day ago";

fn refused() -> Problem {
    Problem::unauthorized(WORDS)
}

fn internal() -> Problem {
    Problem::new(500, "serverInternal", WORDS)
}

impl World {
    /// After the refusal is on record, and its wait is over, a certificate is asked for at once.
    async fn asks_again_after_the_refusal(&self, what: &str) {
        let mut daemon = self.daemon(NAME);
        let line = daemon.says("certificate not done").await.to_string();
        assert!(line.contains(WORDS), "{what}: {line}");
        daemon.rests().await;
        daemon.stop().await;
        self.asked_so_far(1, 1, what);
        assert!(self.pending(NAME).is_none(), "{what}: the key goes with it");
        self.end_waits();
        let daemon = self.daemon(NAME);
        self.gets(&daemon, NAME).await;
        self.asked_so_far(2, 2, &format!("{what}: {}", daemon.text()));
        assert_eq!(self.issued(NAME).len(), 1, "{what}: {}", daemon.text());
    }
}

/// A finalize that the authority refuses in its own words has issued nothing: no day is waited for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalize_that_is_refused_counts_as_no_certificate() {
    for problem in
        [refused(), Problem::new(400, "rejectedIdentifier", WORDS), Problem::new(403, "caa", WORDS)]
    {
        let world = World::start().await;
        let what = format!("{problem:?}");
        world.finalizes(Quirk::new(Finalizing::Refuse(problem)).times(1));
        world.asks_again_after_the_refusal(&what).await;
    }
}

/// An order that becomes invalid after finalize has issued nothing, whatever finalize itself was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_becomes_invalid_after_finalize_counts_as_no_certificate() {
    for problem in [refused(), internal()] {
        let world = World::start().await;
        let what = format!("{problem:?}");
        world.finalizes(Quirk::new(Finalizing::Fail(problem)).times(1));
        world.asks_again_after_the_refusal(&what).await;
    }
    let world = World::start().await;
    world.finalizes(Quirk::new(Finalizing::Stick).times(1));
    world.behaves(|settings| settings.retry_after_processing = Some(RetryAfter::Seconds(3600)));
    let mut daemon = world.daemon(NAME);
    daemon.says("more to do later").await;
    daemon.stop().await;
    let order = world.production.orders().pop().unwrap().url;
    assert!(world.production.give_up(&order, internal()));
    world.let_pass(Duration::hours(2));
    world.asks_again_after_the_refusal("given up later").await;
}

/// A key that is refused is replaced at once, and a limit is waited for with the order that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalize_whose_key_or_time_is_refused_is_sent_again_with_what_is_good() {
    let world = World::start().await;
    let key = Problem::new(400, "badCSR", "the key is on a list of weak keys");
    world.finalizes(Quirk::new(Finalizing::Refuse(key)).times(1));
    let daemon = world.daemon(NAME);
    world.gets(&daemon, NAME).await;
    world.asked_so_far(2, 2, &daemon.text());
    assert_eq!(world.issued(NAME).len(), 1, "{}", daemon.text());

    let world = World::start().await;
    let limit = Problem::new(429, "rateLimited", "too many certificates today");
    let limit = limit.retry_after(RetryAfter::Seconds(3600));
    world.finalizes(Quirk::new(Finalizing::Refuse(limit)).times(1));
    let mut daemon = world.daemon(NAME);
    daemon.mentions("too many certificates today").await;
    daemon.rests().await;
    daemon.stop().await;
    world.asked_so_far(1, 1, "limited");
    world.end_waits();
    world.end_rests(NAME);
    let daemon = world.daemon(NAME);
    world.gets(&daemon, NAME).await;
    world.asked_so_far(1, 2, &daemon.text());
    assert_eq!(world.issued(NAME).len(), 1, "{}", daemon.text());
}

/// Silence, a torn connection and 5xx do not say that nothing was issued: where the order is gone then, a day is waited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalize_without_an_answer_counts_as_a_certificate() {
    let answers =
        [What::Answer(internal().response()), What::Close, What::DoThenClose, What::Truncate];
    for answer in answers {
        let world = World::start().await;
        let what = format!("{answer:?}");
        // It is not seen to be done either.
        world.behaves(|settings| {
            settings.processing = std::time::Duration::from_hours(1);
            settings.retry_after_processing = Some(RetryAfter::Seconds(3600));
        });
        world.production.faults().add("finalize", 1, answer);
        let mut daemon = world.daemon(NAME);
        daemon.says("more to do later").await;
        daemon.stop().await;
        let order = world.production.orders().pop().unwrap().url;
        world.production.forget_order(&order);
        world.end_rests(NAME);
        let mut daemon = world.daemon(NAME);
        daemon.mentions(FLOOR).await;
        daemon.idles().await;
        world.asked_so_far(1, 1, &format!("{what}: {}", daemon.text()));
        daemon.stop().await;
        world.behaves(|settings| settings.processing = std::time::Duration::ZERO);
        world.let_pass(Duration::hours(25));
        let daemon = world.daemon(NAME);
        world.gets(&daemon, NAME).await;
        world.asked_so_far(2, 2, &format!("{what}: {}", daemon.text()));
    }
}

/// A finalize that is answered 5xx is sent again after a minute where the order shows that nothing was done, and not at
/// all where it shows that it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalize_that_failed_is_sent_again_only_if_the_order_is_still_ready() {
    let world = World::start().await;
    world.finalizes(Quirk::new(Finalizing::Refuse(internal())).times(1));
    let mut daemon = world.daemon(NAME);
    daemon.says("more to do later").await;
    daemon.rests().await;
    daemon.stop().await;
    world.asked_so_far(1, 1, "failed");
    world.let_pass(Duration::minutes(2));
    let daemon = world.daemon(NAME);
    world.gets(&daemon, NAME).await;
    world.asked_so_far(1, 2, &daemon.text());
    assert_eq!(world.issued(NAME).len(), 1, "{}", daemon.text());

    let world = World::start().await;
    world.finalizes(Quirk::new(Finalizing::IssueThenRefuse(internal())).times(1));
    let daemon = world.daemon(NAME);
    world.gets(&daemon, NAME).await;
    world.asked_so_far(1, 1, &daemon.text());
    assert_eq!(world.issued(NAME).len(), 1, "{}", daemon.text());
}

/// Where finalize is answered 500 and the order is invalid then, the authority's words are the reason, and a person who
/// asks for a certificate gets one at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrollment_that_failed_is_shown_in_the_words_of_the_authority_and_tried_on_request() {
    let world = World::start().await;
    world.finalizes(Quirk::new(Finalizing::Fail(internal())).times(1));
    let (mut daemon, port) = world.wants(NAME).start_seen().await;
    let line = daemon.says("certificate not done").await.to_string();
    assert!(line.contains(WORDS), "{line}");
    daemon.settles().await;
    let certificate = shown(&port, NAME).await;
    let what = certificate["problem"]["what"].as_str().unwrap();
    assert!(what.contains(WORDS), "{certificate:#}");
    assert!(!what.contains("less than a day ago"), "{certificate:#}");
    let asked = world.wants(NAME).without("LOG").runs(&["renew", NAME]).await;
    assert_eq!(asked.code, 0, "{asked:#?}");
    world.gets(&daemon, NAME).await;
    world.asked_so_far(2, 2, &daemon.text());
    assert_eq!(world.issued(NAME).len(), 1, "{}", daemon.text());
}

/// An authority that issues within finalize and forgets it when the connection ends: a crash loop buys one certificate in
/// the first minute, two in the first hour and three in a day, and is stuck then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_at_an_authority_that_forgets_what_it_issued_buys_three_certificates_at_most()
{
    let world = World::start().await;
    let gate = Gate::new();
    world.finalizes(Quirk::new(Finalizing::ForgetWhenCut(gate.clone())));
    let waits = [Duration::minutes(2), Duration::hours(2), Duration::hours(2)];
    for (before, wait) in waits.into_iter().enumerate() {
        let round = before + 1;
        let daemon = world.daemon(NAME);
        let reached = gate.reached(round.try_into().unwrap());
        guarded("finalize", reached).await;
        daemon.kill().await;
        let is_cut = |state: &State| state.cut_finalizes() == round;
        guarded("the cut", world.production.until(is_cut)).await;
        for passed in [Duration::ZERO, wait / 8] {
            world.let_pass(passed);
            let mut daemon = world.daemon(NAME);
            daemon.idles().await;
            let (_, text) = daemon.stop().await;
            world.asked_so_far(1, round, &format!("{round}, {passed}: {text}"));
        }
        world.let_pass(wait);
    }
    for _ in 0..3 {
        let mut daemon = world.daemon(NAME);
        daemon.idles().await;
        let (_, text) = daemon.stop().await;
        world.asked_so_far(1, 3, &text);
        world.let_pass(Duration::hours(3));
    }
    assert_eq!(world.issued(NAME).len(), 3);
    world.behaves(|settings| settings.finalizing.clear());
    world.let_pass(Duration::DAY);
    let daemon = world.daemon(NAME);
    world.gets(&daemon, NAME).await;
    world.asked_so_far(2, 4, &daemon.text());
}

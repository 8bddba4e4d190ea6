//! An authority that refuses the account: asked again by a clock that begins with a minute, and at once when a person
//! asks or what it is asked with has changed.

use sandbox::authority::problem::Problem;
use sandbox::authority::problem::RetryAfter;
use sandbox::authority::settings::AuthoritySettings;
use sandbox::faults::What;

use crate::support::Daemon;
use crate::support::World;

const A: &str = "a.example.com";
const ASKED: &str =
    "renewal asked for: waits after failures are skipped, the floor and every limit hold";

/// Lets an authority refuse, or not.
type Refuse = fn(&mut AuthoritySettings, bool);

/// Who makes no account, and how that is called on record.
const REFUSALS: [(Refuse, &str); 2] = [
    (|settings, refuses| settings.binding_required = refuses, "action-required"),
    (|settings, refuses| settings.contact_required = refuses, "account-not-made"),
];

impl World {
    /// Asks for a certificate, as a person does. Answers what that person is told.
    async fn person_asks_for(&self, name: &str) -> String {
        let settings = self.settings().without("LOG").with("DOMAINS", name);
        let ran = settings.runs(&["renew", name]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    }

    /// A daemon whose account was refused once, and which waits.
    async fn refused(&self) -> Daemon {
        let mut daemon = self.daemon(A);
        daemon.says("certificate not done").await;
        daemon.rests().await;
        assert_eq!(self.asked("new-account"), 1, "{}", daemon.text());
        daemon
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_that_is_refused_is_asked_for_after_1_10_and_100_minutes_then_daily() {
    for (refuse, kind) in REFUSALS {
        let world = World::start().await;
        world.production.set(|settings| refuse(settings, true));
        let mut minutes = Vec::new();
        for asked in 1..=5 {
            let mut daemon = world.daemon(A);
            daemon.says("certificate not done").await;
            daemon.idles().await;
            let text = daemon.kill().await;
            assert_eq!(world.asked("new-account"), asked, "{kind}: {text}");
            let wait = world.failures("account").pop().unwrap();
            assert_eq!((wait.failure_kind.as_str(), wait.count), (kind, asked as u64));
            minutes.push(wait.minutes());
            world.end_waits();
        }
        assert_eq!(minutes, [1, 10, 100, 24 * 60, 24 * 60], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_that_was_refused_is_asked_for_at_once_when_a_person_asks() {
    for (refuse, kind) in REFUSALS {
        let world = World::start().await;
        world.production.set(|settings| refuse(settings, true));
        let mut daemon = world.refused().await;
        world.person_asks_for(A).await;
        daemon.says(ASKED).await;
        daemon.says("job not done").await;
        daemon.rests().await;
        assert_eq!(world.asked("new-account"), 2, "{kind}: {}", daemon.text());
        let wait = world.failures("account").pop().unwrap();
        assert_eq!((wait.count, wait.minutes()), (2, 10), "the clock goes on");

        world.production.set(|settings| refuse(settings, false));
        world.person_asks_for(A).await;
        world.pushed(A).await;
        assert_eq!(world.asked("new-account"), 3, "{kind}: {}", daemon.text());
    }
}

/// What holds at the authority holds for everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_of_accounts_is_lifted_by_nobody() {
    let world = World::start().await;
    let limit =
        Problem::new(429, "rateLimited", "too many new registrations (10) from this IP address");
    let limit = limit.retry_after(RetryAfter::Seconds(3600)).response();
    let faults = world.production.faults();
    faults.add("new-account", u32::MAX, What::Answer(limit));
    let mut daemon = world.refused().await;
    let told = world.person_asks_for(A).await;
    assert!(told.contains("limits of the CA hold"), "{told}");
    daemon.says(ASKED).await;
    daemon.rests().await;
    drop(daemon.stop().await);

    let settings = world.settings().with("DOMAINS", A);
    let mut daemon = settings.with("CERTBOT_EMAIL", "ops@example.com").start();
    daemon.passes(2).await;
    assert_eq!(world.asked("new-account"), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_that_was_refused_is_asked_for_at_once_with_another_contact() {
    let world = World::start().await;
    world.production.set(|settings| settings.contact_required = true);
    drop(world.refused().await.stop().await);

    let mut daemon = world.daemon(A);
    daemon.passes(2).await;
    assert_eq!(world.asked("new-account"), 1, "{}", daemon.text());
    drop(daemon.stop().await);

    let settings = world.settings().with("DOMAINS", A);
    let daemon = settings.with("CERTBOT_EMAIL", "ops@example.com").start();
    world.pushed(A).await;
    assert_eq!(world.asked("new-account"), 2, "{}", daemon.text());
}

/// An outage that was waited for is over as soon as somebody knows that it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authority_that_is_left_alone_is_asked_once_when_a_person_asks() {
    let world = World::start().await;
    let faults = world.production.faults();
    faults.add("new-nonce", u32::MAX, What::status(502));
    let mut daemon = world.daemon(A);
    daemon.says("authority left alone after several failures in a row").await;
    daemon.says("certificate not done").await;
    daemon.rests().await;
    let asked = world.asked("new-nonce");
    world.person_asks_for(A).await;
    daemon.says(ASKED).await;
    daemon.says("job not done").await;
    daemon.rests().await;
    assert_eq!(world.asked("new-nonce"), asked + 1, "{}", daemon.text());

    faults.clear();
    world.person_asks_for(A).await;
    world.pushed(A).await;
}

//! Certificates that were issued and are not to be had at once, and orders whose answers make no sense.

use std::time::Duration as StdDuration;

use sandbox::authority::problem::Problem;
use sandbox::authority::settings::downloads::Download;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::authority::settings::shapes::OrderShape;
use sandbox::faults::Seen;
use sandbox::faults::What;
use serde_json::Value;
use time::Duration;

use super::NAME;
use super::OTHER;
use super::shown;
use crate::support::World;
use crate::support::platform::answer;

const LOST: &str = "certificate not handed over by the authority, asked for again";

/// Whatever the URL of a certificate answers for a while, the certificate is not thrown away: the order is looked at, and
/// it is asked for again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_lost_for_a_while_is_fetched_later_and_no_other_is_ordered() {
    let downloads = [
        Download::Refuse(Problem::not_found("Certificate not found")),
        Download::Refuse(Problem::new(410, "malformed", "gone")),
        Download::Refuse(Problem::unauthorized("not yours")),
        Download::Refuse(Problem::new(500, "serverInternal", "no database")),
        Download::Text("<html>not a certificate</html>".to_owned()),
        Download::Text(String::new()),
    ];
    for download in downloads {
        let world = World::start().await;
        let what = format!("{download:?}");
        world.behaves(|settings| settings.downloads = vec![Quirk::new(download)]);
        let (mut daemon, port) = world.wants(NAME).start_seen().await;
        daemon.says(LOST).await;
        daemon.says("more to do later").await;
        daemon.settles().await;
        let asked = [world.asked("certificate"), world.asked("order")];
        assert!(asked.iter().all(|count| *count > 0), "{what}: {asked:?}");
        let reason = shown(&port, NAME).await["reason"].to_string();
        let says = "the authority does not hand the certificate over";
        assert!(reason.contains(says), "{what}: {reason}");
        daemon.stop().await;

        // Longer each time.
        let rest = |world: &World| world.pending(NAME).unwrap()["rests"].as_u64();
        assert_eq!(rest(&world), Some(1), "{what}");
        world.end_waits();
        world.end_rests(NAME);
        let mut daemon = world.daemon(NAME);
        daemon.says("more to do later").await;
        daemon.stop().await;
        assert_eq!(rest(&world), Some(2), "{what}");

        world.behaves(|settings| settings.downloads.clear());
        world.end_waits();
        world.end_rests(NAME);
        let daemon = world.daemon(NAME);
        world.gets(&daemon, NAME).await;
        world.asked_so_far(1, 1, &format!("{what}: {}", daemon.text()));
        assert_eq!(world.issued(NAME).len(), 1, "{what}: {}", daemon.text());
    }
}

/// A certificate that is not handed over for a day is parted with, with its key, and another is ordered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_lost_for_a_day_is_replaced_and_its_key_kept() {
    let world = World::start().await;
    let lost = Download::Refuse(Problem::not_found("Certificate not found"));
    world.behaves(|settings| settings.downloads = vec![Quirk::new(lost)]);
    let mut daemon = world.daemon(NAME);
    daemon.says(LOST).await;
    daemon.says("more to do later").await;
    daemon.stop().await;
    world.let_pass(Duration::hours(23));
    let mut daemon = world.daemon(NAME);
    daemon.says("more to do later").await;
    let (_, text) = daemon.stop().await;
    world.asked_so_far(1, 1, &text);
    world.let_pass(Duration::hours(2));
    // It is asked for once more before another is ordered, which is lost as well.
    let mut daemon = world.daemon(NAME);
    daemon.says("order is stuck, put aside with its key and looked at daily").await;
    daemon.says("finalize noted").await;
    daemon.says("more to do later").await;
    daemon.stop().await;
    world.behaves(|settings| settings.downloads.clear());
    world.end_waits();
    world.end_rests(NAME);
    let daemon = world.daemon(NAME);
    world.gets(&daemon, NAME).await;
    world.asked_so_far(2, 2, &daemon.text());
    assert_eq!(world.issued(NAME).len(), 2, "{}", daemon.text());
    let kept = std::fs::read_to_string(world.stuck_path(NAME)).unwrap();
    assert!(kept.contains("PRIVATE KEY"), "{kept}");
}

/// A valid order that lacks all but its certificate is fetched all the same, from the answer to finalize and from a look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_valid_order_is_fetched_though_its_object_lacks_the_rest() {
    for shape in [OrderShape::OnlyCertificate, OrderShape::WithoutFinalize] {
        for processing in [StdDuration::ZERO, StdDuration::from_millis(300)] {
            let world = World::start().await;
            world.behaves(|settings| {
                settings.shapes = vec![Quirk::new(shape)];
                settings.processing = processing;
            });
            let daemon = world.daemon(NAME);
            world.gets(&daemon, NAME).await;
            world.asked_so_far(1, 1, &format!("{shape:?}: {}", daemon.text()));
            assert_eq!(world.issued(NAME).len(), 1, "{shape:?}");
        }
    }
}

/// How the answers about one order make no sense.
#[derive(Debug, Clone, Copy)]
enum Nonsense {
    WithoutStatus,
    Text(&'static str),
    Page(&'static str),
    Failing(&'static str),
}

impl Nonsense {
    fn arrange(self, world: &World) {
        let (endpoint, what) = match self {
            Self::WithoutStatus => {
                let quirk = Quirk::new(OrderShape::WithoutStatus).of(NAME);
                world.behaves(|settings| settings.shapes = vec![quirk]);
                return;
            }
            Self::Text(endpoint) => (endpoint, answer(200, "{}")),
            Self::Page(endpoint) => (endpoint, answer(404, "<html>no such page</html>")),
            Self::Failing(endpoint) => {
                let problem = Problem::new(500, "serverInternal", "this one is broken");
                (endpoint, What::Answer(problem.response()))
            }
        };
        let is_asked = move |seen: &Seen| seen.endpoint == endpoint && seen.subject == NAME;
        let faults = world.production.faults();
        faults.add_when(is_asked, 0, u32::MAX, what);
    }
}

/// What makes no sense about one order is that order's failure, however often it is asked: the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_make_no_sense_for_one_order_stop_no_other() {
    let nonsense = [
        Nonsense::WithoutStatus,
        Nonsense::Text("authorization"),
        Nonsense::Text("order"),
        Nonsense::Text("certificate"),
        Nonsense::Page("authorization"),
        Nonsense::Page("order"),
        Nonsense::Page("certificate"),
        Nonsense::Failing("new-order"),
        Nonsense::Failing("authorization"),
        Nonsense::Failing("finalize"),
        Nonsense::Failing("order"),
        Nonsense::Failing("certificate"),
    ];
    for nonsense in nonsense {
        let world = World::start().await;
        world.behaves(|settings| settings.processing = StdDuration::from_millis(300));
        nonsense.arrange(&world);
        let mut daemon = world.daemon(NAME);
        let ends = |line: &Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message == "more to do later" || message == "job not done"
        };
        daemon.next("the end of a try", ends).await;
        let (_, text) = daemon.stop().await;
        let failures = world.failures("authority");
        assert!(failures.is_empty(), "{nonsense:?}: {failures:?} {text}");
        world.end_waits();
        world.end_rests(NAME);
        let daemon = world.daemon(&format!("{NAME}, {OTHER}"));
        world.gets(&daemon, OTHER).await;
        let failures = world.failures("authority");
        assert!(failures.is_empty(), "{nonsense:?}: {failures:?}");
        daemon.stop().await;

        world.behaves(|settings| settings.shapes.clear());
        world.production.faults().clear();
        world.end_waits();
        world.end_rests(NAME);
        let daemon = world.daemon(NAME);
        world.gets(&daemon, NAME).await;
        assert_eq!(world.issued(NAME).len(), 1, "{nonsense:?}: {}", daemon.text());
    }
}

//! The promises over every place where certificates go: the same bodies, once for each of them.

use std::fs;

use sandbox::certs;
use sandbox::certs::Pair;
use serde_json::Value;
use time::Duration;

use super::A;
use super::bought;
use super::now;
use crate::crash::Held;
use crate::crash::Moment;
use crate::crash::kill_at;
use crate::crash::slow_world;
use crate::support::Settings;
use crate::support::World;
use crate::support::guarded;
use crate::support::leaf;
use crate::support::look::look;

const BROKEN: &str = "broken.example.com";

/// A place where certificates go, as an operator sees it.
trait Place {
    /// What the daemon calls it.
    const NAME: &str;

    /// The settings of a daemon that brings certificates there.
    fn settings(world: &World) -> Settings;

    /// SHA-256 of the leaf that is there under a name.
    fn leaf(world: &World, name: &str) -> Option<String>;

    /// An operator puts a certificate of their own there.
    fn paste(world: &World, name: &str, pair: &Pair);

    /// Takes it away from everybody.
    async fn close(world: &World);

    /// Brings it back.
    async fn open(world: &World);
}

struct Rancher;

impl Place for Rancher {
    const NAME: &str = "Rancher";

    fn settings(world: &World) -> Settings {
        world.settings().with("DOMAINS", A)
    }

    fn leaf(world: &World, name: &str) -> Option<String> {
        Some(world.rancher.certificate(name)?.leaf().to_owned())
    }

    fn paste(world: &World, name: &str, pair: &Pair) {
        world.paste(name, pair, None);
    }

    async fn close(world: &World) {
        world.rancher.close_api().await;
    }

    async fn open(world: &World) {
        world.rancher.open_api().await.unwrap();
    }
}

struct Host;

impl Place for Host {
    const NAME: &str = "the folder";

    fn settings(world: &World) -> Settings {
        let folder = world.path("certificates");
        fs::create_dir_all(&folder).unwrap();
        let of_destination =
            ["CATTLE_URL", "CATTLE_ACCESS_KEY", "CATTLE_SECRET_KEY", "RANCHER_METADATA_URL"];
        let settings = of_destination.into_iter().fold(world.settings(), Settings::without);
        settings
            .with("DOMAINS", A)
            .with("DESTINATION", "host")
            .with("CERTIFICATES_DIR", folder.to_str().unwrap())
    }

    fn leaf(world: &World, name: &str) -> Option<String> {
        let path = world.path("certificates").join(name);
        let files = ["fullchain.pem", "cert.pem", "privkey.pem"];
        let texts = files.map(|file| fs::read_to_string(path.join(file)).ok());
        let [Some(fullchain), rest @ ..] = texts else {
            return None;
        };
        // What is ours is whole, and its key belongs to it.
        if let [Some(own), Some(key)] = rest {
            assert!(fullchain.starts_with(&own));
            let key = rancher_lets_encrypt::core::bundle::Secret::new(key);
            rancher_lets_encrypt::core::bundle::Bundle::parse(&fullchain, &key).unwrap();
        }
        Some(leaf(&fullchain))
    }

    fn paste(world: &World, name: &str, pair: &Pair) {
        let path = world.path("certificates").join(name);
        fs::create_dir_all(&path).unwrap();
        let fullchain = format!("{}{}", pair.cert_pem, pair.chain_pem);
        fs::write(path.join("fullchain.pem"), fullchain).unwrap();
        fs::write(path.join("privkey.pem"), &pair.key_pem).unwrap();
    }

    async fn close(world: &World) {
        fs::rename(world.path("certificates"), world.path("elsewhere")).unwrap();
    }

    async fn open(world: &World) {
        fs::rename(world.path("elsewhere"), world.path("certificates")).unwrap();
    }
}

/// Effects after which a kill could cost a certificate, or leave it undelivered.
const EFFECTS: [&str; 8] = [
    "key and intent saved",
    "order saved",
    "finalize noted",
    "order finalized: Processing",
    "chain downloaded",
    "record written",
    "certificate issued",
    "certificate written",
];

/// Promise 1.
async fn a_kill_costs_no_certificate<P: Place>() {
    for effect in EFFECTS {
        for moment in [Moment::Behind, Moment::BeforeNext] {
            let world = slow_world().await;
            let settings = P::settings(&world).with("CONNECT_TIMEOUT", "100");
            let held = Held::at(&world, effect);
            let (killed, owed) = (settings.clone(), world.own("wake-owed"));
            let kill = tokio::task::spawn_blocking(move || kill_at(&killed, &owed, effect, moment));
            assert!(guarded(effect, kill).await.unwrap(), "never killed at {effect}");
            held.go_on();
            world.let_minutes_pass();
            let mut daemon = settings.start();
            daemon.decides(A, "Keep", "fresh until").await;
            daemon.idles().await;
            let issued = world.issued(A);
            assert_eq!(issued.len(), 1, "{effect}, {moment:?}: {}", daemon.text());
            assert_eq!(P::leaf(&world, A), issued.last().cloned(), "{effect}, {moment:?}");
        }
    }
}

/// Promise 2.
async fn a_broken_name_costs_one_validation_over_restarts_and_delays_nobody<P: Place>() {
    let world = World::start().await;
    world.breaks(BROKEN);
    let settings = P::settings(&world).with("DOMAINS", format!("{BROKEN},{A}"));
    for start in 0..4 {
        let mut daemon = settings.clone().start();
        daemon.mentions(&format!("validation of {BROKEN} failed")).await;
        daemon.decides(A, "Keep", "fresh until").await;
        daemon.idles().await;
        assert_eq!(world.failed_validations(BROKEN), 1, "{start}: {}", daemon.text());
        assert_eq!(world.production.orders().len(), 2, "{start}: {}", daemon.text());
        daemon.stop().await;
    }
    assert_eq!(P::leaf(&world, A), world.issued(A).pop());
    assert_eq!(P::leaf(&world, BROKEN), None);
}

/// Promise 3.
async fn what_is_not_ours_is_left_alone<P: Place>() {
    let world = World::start().await;
    let settings = P::settings(&world);
    P::paste(&world, A, &bought(&[A], 100, 265));
    let before = P::leaf(&world, A);
    let mut daemon = settings.start();
    daemon.decides(A, "Leave", "is not ours").await;
    daemon.passes(1).await;
    assert_eq!(P::leaf(&world, A), before);
    assert_eq!(world.asked_anything(), 0, "{}", daemon.text());
}

async fn a_placeholder_is_replaced_in_one_step<P: Place>() {
    let world = World::start().await;
    let settings = P::settings(&world);
    let placeholder = certs::self_signed(&[A], now() - Duration::DAY, now() + Duration::days(3650));
    P::paste(&world, A, &placeholder);
    let mut daemon = settings.start();
    daemon.decides(A, "Issue", &format!("self-signed at {}", P::NAME)).await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(P::leaf(&world, A), world.issued(A).pop());
    assert_eq!(world.production.issued().len(), 1);
}

/// Promise 4.
async fn staging_never_replaces_what_is_better<P: Place>() {
    let world = World::start().await;
    world.lasting(Duration::days(90), Duration::days(61));
    let settings = P::settings(&world);
    let mut daemon = settings.clone().start();
    daemon.decides(A, "Wait", "due for renewal already").await;
    daemon.idles().await;
    daemon.stop().await;
    let before = P::leaf(&world, A);
    assert_eq!(before, world.issued(A).pop());
    let mut daemon = settings.with("STAGING", "True").start();
    daemon.decides(A, "Leave", "").await;
    daemon.passes(1).await;
    assert_eq!(P::leaf(&world, A), before);
    assert_eq!(world.staging.issued().len(), 0, "{}", daemon.text());
}

/// Promise 5.
async fn a_lost_volume_costs_no_certificate<P: Place>() {
    let world = World::start().await;
    let settings = P::settings(&world);
    let mut daemon = settings.clone().start();
    daemon.decides(A, "Keep", "fresh until").await;
    daemon.stop().await;
    world.lose_volume();
    let (before, asked) = (P::leaf(&world, A), world.asked_anything());
    let mut daemon = settings.start();
    daemon.decides(A, "Restore", &format!("{} has a better copy of ours", P::NAME)).await;
    daemon.says(&format!("certificate restored from {}", P::NAME)).await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(world.asked_anything(), asked, "{}", daemon.text());
    assert_eq!(P::leaf(&world, A), before);
    assert_eq!(Some(world.live_leaf(A)), before);
}

/// Promise 6.
async fn a_place_that_is_away_is_told_and_costs_nothing<P: Place>() {
    let world = World::start().await;
    let settings = P::settings(&world);
    P::close(&world).await;
    let (mut daemon, port) = settings.start_seen().await;
    let line = daemon.says(&format!("{} cannot be read", P::NAME)).await;
    assert!(line["error"].as_str().is_some_and(|error| !error.is_empty()), "{line}");
    daemon.passes(2).await;
    assert_eq!(daemon.count(&format!("{} cannot be read", P::NAME)), 1, "{}", daemon.text());
    let status: Value = serde_json::from_str(&look(&port, "/status.json").await.body).unwrap();
    let parts = status["dependencies"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == "destination").unwrap();
    assert_ne!(part["health"], "ok", "{part}");
    assert_ne!(status["health"], "ok", "{status:#}");
    assert!(!part["detail"].as_str().unwrap_or_default().is_empty(), "{part}");
    assert_eq!(world.asked_anything(), 0, "whether there is a certificate is not known");

    P::open(&world).await;
    daemon.decides(A, "Keep", "fresh until").await;
    assert_eq!(daemon.count(&format!("{} can be read again", P::NAME)), 1, "{}", daemon.text());
    assert_eq!(P::leaf(&world, A), world.issued(A).pop());
    assert_eq!(world.issued(A).len(), 1);
}

macro_rules! promises {
    ($module:ident, $place:ident) => {
        mod $module {
            use super::$place;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_kill_costs_no_certificate() {
                super::a_kill_costs_no_certificate::<$place>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_broken_name_costs_one_validation_over_restarts_and_delays_nobody() {
                let test =
                    super::a_broken_name_costs_one_validation_over_restarts_and_delays_nobody::<
                        $place,
                    >;
                test().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_place_that_is_away_is_told_and_costs_nothing() {
                super::a_place_that_is_away_is_told_and_costs_nothing::<$place>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_is_not_ours_is_left_alone() {
                super::what_is_not_ours_is_left_alone::<$place>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_placeholder_is_replaced_in_one_step() {
                super::a_placeholder_is_replaced_in_one_step::<$place>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn staging_never_replaces_what_is_better() {
                super::staging_never_replaces_what_is_better::<$place>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_lost_volume_costs_no_certificate() {
                super::a_lost_volume_costs_no_certificate::<$place>().await;
            }
        }
    };
}

promises!(rancher, Rancher);
promises!(host, Host);

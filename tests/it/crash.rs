//! A crash at any point costs no extra certificate: the daemon is killed between each two of its effects.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sandbox::authority::settings::finalizing::Finalizing;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::faults::Gate;
use sandbox::faults::Seen;
use sandbox::faults::What;
use sandbox::rancher::settings::Activation;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::Daemon;
use crate::support::Settings;
use crate::support::World;
use crate::support::guarded;
use crate::support::records::earlier;
use crate::support::stepped::Stepped;

const NAME: &str = "a.example.com";

/// What is done for a certificate, as the log tells it. Each of these is followed by a gap that must be hit.
const EFFECTS: [&str; 33] = [
    "account key saved",
    "account made",
    "account on record",
    "key and intent saved",
    "order opened",
    "order saved",
    "authorization looked at: Pending",
    "tokens saved",
    "token published",
    "self-check passed",
    "response noted",
    "challenge responded to",
    "authorization looked at: Pending, responded",
    "authorization looked at: Valid, responded",
    "token withdrawn",
    "finalize noted",
    "order finalized: Processing",
    "order looked at: Processing",
    "order looked at: Valid",
    "chain downloaded",
    "chain kept",
    "files archived",
    "record written",
    "live view linked",
    "renewal file written",
    "issue noted",
    "order cleared",
    "certificate issued",
    "wake owed",
    "certificate written",
    "change carried out",
    "balancers told to read again",
    "balancers woken",
];

/// Where between two lines the kill lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Right behind the line, in the middle of what comes next or before it.
    Behind,
    /// When what comes next is done and not told yet.
    BeforeNext,
}

/// What a line tells of; lines that tell of an effect more than once are told apart by what came before.
fn effect(line: &Value, is_told: bool) -> String {
    let message = line["message"].as_str().unwrap().to_owned();
    match line["status"].as_str() {
        Some(status) if is_told && message.starts_with("authorization") => {
            format!("{message}: {status}, responded")
        }
        Some(status) => format!("{message}: {status}"),
        None => message,
    }
}

/// Runs the daemon until it has told of an effect, and kills it there. Answers whether it came to that before nothing
/// more was to be done. `owed` is the file that is there while balancers are to be woken.
pub(crate) fn kill_at(settings: &Settings, owed: &Path, wanted: &str, moment: Moment) -> bool {
    let daemon = Stepped::start(settings);
    let (mut is_told, mut is_waking) = (false, false);
    while let Some(line) = daemon.line() {
        let effect = effect(&line, is_told);
        if effect == wanted {
            if moment == Moment::BeforeNext {
                daemon.wait_until_stuck();
            }
            daemon.kill();
            return true;
        }
        is_told |= effect == "challenge responded to";
        match effect.as_str() {
            "balancers told to read again" => is_waking = true,
            "balancers woken" => is_waking = false,
            _ => {}
        }
        // Passes go on beside the work: how many there are until it is done is up to the machine.
        let is_idle = effect == "pass ended" && line["jobs"] == 0 && line["in_hand"] == 0;
        if is_idle && !is_waking && !owed.exists() {
            break;
        }
        daemon.next();
    }
    false
}

/// A world whose authority and Rancher take their time, so that there is something to look at in between.
pub(crate) async fn slow_world() -> World {
    let short = Duration::from_millis(20);
    let world = World::start().await;
    world.production.set(|settings| {
        settings.request_delay = Duration::from_millis(2);
        settings.validation_delay = short;
        settings.validation_timeout = LONG;
        settings.processing = short;
    });
    world.rancher.settings(|settings| settings.activation = Activation::Reads(1));
    world.rancher.add_balancer("edge", None, &[], "active");
    world
}

/// What the authority is busy with when an effect is told of, and does not end before it may: else a daemon on a busy
/// machine would find it done.
pub(crate) struct Held<'a> {
    world: &'a World,
    gate: Gate,
}

impl<'a> Held<'a> {
    pub(crate) fn at(world: &'a World, wanted: &str) -> Self {
        let gate = Gate::new();
        match wanted {
            "authorization looked at: Pending, responded" => {
                let is_validation =
                    |seen: &Seen| seen.user_agent.contains("sandbox validation server");
                let faults = world.web.faults();
                faults.add_when(is_validation, 0, u32::MAX, What::Hold(gate.clone()));
            }
            "order finalized: Processing" | "order looked at: Processing" => {
                world.production.set(|settings| {
                    settings.finalizing = vec![Quirk::new(Finalizing::Stick).times(1)];
                });
            }
            _ => {}
        }
        Self { world, gate }
    }

    pub(crate) fn go_on(self) {
        self.gate.open();
        for order in self.world.production.orders() {
            // Only what sticks.
            self.world.production.go_on(&order.url);
        }
    }
}

impl World {
    /// The authority is told again only when it had two minutes to validate, and finalize is sent again after a minute:
    /// they are over.
    pub(crate) fn let_minutes_pass(&self) {
        if self.pending(NAME).is_none() {
            return;
        }
        self.edit_pending(NAME, |order| {
            for time in
                order.get_mut("finalized_at").and_then(Value::as_array_mut).into_iter().flatten()
            {
                *time = earlier(time, time::Duration::minutes(3));
            }
            let challenges = order.get_mut("challenges").and_then(Value::as_object_mut);
            for challenge in challenges.into_iter().flat_map(|all| all.values_mut()) {
                if challenge["responded_at"].is_string() {
                    challenge["responded_at"] =
                        earlier(&challenge["responded_at"], time::Duration::minutes(3));
                }
            }
        });
    }
}

/// Lets a daemon finish what was begun, and shows that nothing was lost, doubled or left behind.
async fn finish(
    world: &World,
    daemon: &mut Daemon,
    names: &[&str],
    certificates: usize,
    what: &str,
) {
    let is_there = |state: &sandbox::authority::state::State| {
        state.issued().iter().any(|issued| issued.names == names)
    };
    guarded(&format!("the certificate: {what}"), world.production.until(is_there)).await;
    world.pushed(NAME).await;
    daemon.settles().await;
    let what = format!("{what}:\n{}", daemon.text());

    let issued = world.production.issued();
    assert_eq!(issued.len(), certificates, "{what}");
    let accounts = world.production.accounts();
    assert_eq!(accounts.len(), 1, "{what}");

    let held = world.rancher.certificates();
    assert_eq!(held.len(), 1, "{what}");
    let live = |file| std::fs::read_to_string(world.live(NAME, file)).unwrap();
    assert_eq!(held[0].leaf(), issued.last().unwrap().leaf_sha256, "{what}");
    assert_eq!(held[0].cert, live("cert.pem"), "{what}");
    assert_eq!(held[0].chain.as_deref(), Some(live("chain.pem").as_str()), "{what}");
    assert_eq!(held[0].key, live("privkey.pem"), "{what}");
    assert_eq!(live("fullchain.pem"), live("cert.pem") + &live("chain.pem"), "{what}");

    let asked = world.rancher.faults().seen();
    let last = |is: &dyn Fn(&Seen) -> bool| asked.iter().rposition(is);
    let written = last(&|seen| matches!(seen.endpoint, "create-certificate" | "put-certificate"));
    let woken =
        last(&|seen| seen.endpoint == "wake" && seen.status.is_some_and(|status| status < 300));
    assert!(written < woken, "balancers were not woken after the last change: {what}");

    let own = world.store().join("rancher-lets-encrypt");
    assert!(!own.join("wake-owed").exists(), "{what}");
    assert_eq!(std::fs::read_dir(own.join("pending")).unwrap().count(), 0, "{what}");
    assert!(world.tokens().is_empty(), "{what}");
    assert!(world.store().join("renewal").join(format!("{NAME}.conf")).exists(), "{what}");
    let record =
        std::fs::read_to_string(own.join("certificates").join(format!("{NAME}.json"))).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let leaves: Vec<&str> = record["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["leaf"].as_str().unwrap())
        .collect();
    let expected: Vec<&str> = issued.iter().map(|issued| issued.leaf_sha256.as_str()).collect();
    assert_eq!(leaves, expected, "each certificate is one version: {what}");
    let noted = world.ledger().iter().filter(|line| line["event"] == "issued").count();
    assert!(noted >= certificates, "{what}");
    let failed: Vec<_> = world
        .ledger()
        .into_iter()
        // That names were changed is noted for the next change.
        .filter(|line| line["event"] == "failed" && line["subject"]["kind"] != "change")
        .collect();
    assert!(failed.is_empty(), "a crash is nobody's failure: {failed:?} {what}");
}

/// A daemon that stands still in its log answers nobody, and on a busy machine it is long before it goes on: no answer
/// is too late for it, nor for those who wait meanwhile.
const LONG: Duration = Duration::from_secs(100);

fn settings(world: &World, domains: &str) -> Settings {
    let settings = world.settings().with("CONNECT_TIMEOUT", LONG.as_secs().to_string());
    settings.with("DOMAINS", domains)
}

/// Kills at one place and starts again. Answers whether the place was there.
async fn kill_once(is_change: bool, wanted: &str, moment: Moment) -> bool {
    let world = slow_world().await;
    let what = format!("killed at {wanted}, {moment:?}, change of names: {is_change}");
    let (domains, names, certificates): (_, &[&str], _) = if is_change {
        let mut daemon = settings(&world, NAME).start();
        finish(&world, &mut daemon, &[NAME], 1, &what).await;
        daemon.stop().await;
        ("a.example.com b.example.com", &[NAME, "b.example.com"], 2)
    } else {
        (NAME, &[NAME], 1)
    };
    let settings = settings(&world, domains);
    let held = Held::at(&world, wanted);
    let (killed, owed, wanted) = (settings.clone(), world.own("wake-owed"), wanted.to_owned());
    let is_hit = tokio::task::spawn_blocking(move || kill_at(&killed, &owed, &wanted, moment));
    let is_hit = guarded(&what, is_hit).await.unwrap();
    held.go_on();
    world.let_minutes_pass();
    let mut daemon = settings.start();
    finish(&world, &mut daemon, names, certificates, &what).await;
    is_hit
}

/// How many worlds there are at once; mostly they wait.
const AT_ONCE: usize = 12;

async fn kill_everywhere(is_change: bool, effects: &[&'static str]) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut trials = JoinSet::new();
    for effect in effects.iter().copied() {
        for moment in [Moment::Behind, Moment::BeforeNext] {
            let places = Arc::clone(&places);
            trials.spawn(async move {
                let _place = places.acquire().await;
                (effect, moment, kill_once(is_change, effect, moment).await)
            });
        }
    }
    let mut hits: BTreeMap<(&str, Moment), u32> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    while let Some(trial) = trials.join_next().await {
        match trial {
            Ok((effect, moment, is_hit)) => {
                *hits.entry((effect, moment)).or_default() += u32::from(is_hit);
            }
            // It has told why on its own thread.
            Err(error) => drop(failed.insert(error.to_string())),
        }
    }
    let mut table =
        format!("{:42} {:>12} {:>16}\n", "kill after", "right behind", "before next line");
    for effect in effects {
        let count = |moment| hits.get(&(*effect, moment)).copied().unwrap_or(0);
        let (behind, before_next) = (count(Moment::Behind), count(Moment::BeforeNext));
        table += &format!("{effect:42} {behind:>12} {before_next:>16}\n");
    }
    // Past the capture of tests that pass: how often each place was hit is to be seen.
    std::io::stderr().write_all(table.as_bytes()).unwrap();
    let failed: Vec<_> =
        failed.iter().map(|text| text.chars().take(200).collect::<String>()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let missed: BTreeSet<_> =
        hits.iter().filter(|(_, count)| **count == 0).map(|(place, _)| place).collect();
    assert!(missed.is_empty(), "never killed at {missed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_between_any_two_effects_of_a_first_certificate_costs_none() {
    kill_everywhere(false, &EFFECTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_between_any_two_effects_of_a_replacement_costs_none() {
    // The account is there already, and so is the file for certbot.
    let effects: Vec<_> =
        EFFECTS.into_iter().filter(|effect| !effect.starts_with("account")).collect();
    kill_everywhere(true, &effects).await;
}

/// Lets the daemon write so many lines after it began to work, and kills it. Answers whether it came to an end before.
fn kill_after(settings: &Settings, lines: usize) -> bool {
    let daemon = Stepped::start(settings);
    let mut left = None;
    while let Some(line) = daemon.line() {
        match (line["message"].as_str(), &mut left) {
            (Some("balancers woken"), _) => return true,
            // Passes run beside the work, on a slow machine one in each of these.
            (Some("pass ended"), Some(_)) => {}
            (_, Some(0)) => return false,
            (_, Some(left)) => *left -= 1,
            (Some("job begun"), None) => left = Some(lines),
            (Some("pass ended"), None) if line["jobs"] == 0 => return true,
            _ => {}
        }
        daemon.next();
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_again_and_again_costs_no_certificate() {
    let mut trials = JoinSet::new();
    // With one line less it is always killed between the note that the authority is told and the telling.
    for lines in 7..14 {
        trials.spawn(async move {
            let world = slow_world().await;
            let settings = settings(&world, NAME);
            let mut kills = 0;
            loop {
                let killed = settings.clone();
                let run = tokio::task::spawn_blocking(move || kill_after(&killed, lines));
                if guarded("a run of the daemon", run).await.unwrap() {
                    break;
                }
                world.let_minutes_pass();
                kills += 1;
                assert!(kills < 30, "it gets nowhere in {lines} lines");
            }
            let what = format!("killed {kills} times, after {lines} lines");
            let mut daemon = settings.start();
            finish(&world, &mut daemon, &[NAME], 1, &what).await;
            kills
        });
    }
    let kills: Vec<u32> = trials.join_all().await;
    assert!(kills.iter().all(|kills| *kills > 0), "{kills:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_before_a_certificate_is_looked_at_hides_not_that_it_is_wrong() {
    let world = slow_world().await;
    world.production.set(|settings| settings.wrong_key = true);
    let settings = settings(&world, NAME);
    let (killed, owed) = (settings.clone(), world.own("wake-owed"));
    let run =
        tokio::task::spawn_blocking(move || kill_at(&killed, &owed, "chain kept", Moment::Behind));
    assert!(guarded("the kill", run).await.unwrap());
    for _ in 0..2 {
        let mut daemon = settings.clone().start();
        let line = daemon.mentions("the authority sent a certificate that cannot be used").await;
        assert!(line.to_string().contains("belongs to another certificate"), "{line}");
        daemon.idles().await;
        daemon.stop().await;
    }
    assert_eq!(world.asked("new-order"), 1);
    assert!(world.pending(NAME).unwrap()["received"]["refused"].is_string());
    assert_eq!(world.rancher.certificates(), []);
}

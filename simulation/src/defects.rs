//! Deliberate defects, and the promise that catches each: what is not caught would not be known to be checked.
//! [`faults`] has those that were there once.

use rancher_lets_encrypt::config::SelfCheck;
use time::Duration;

use crate::crash::LONG;
use crate::crash::Scenario;
use crate::crash::every_effect;
use crate::crash::while_missing;
use crate::crash::wish;
use crate::defects::faults::Ordeal;
use crate::dice::Dice;
use crate::domains::Route;
use crate::files::Files;
use crate::issuer::Issuer;
use crate::issuer::Validity;
use crate::outside::Outside;
use crate::process::Habits;
use crate::process::live;
use crate::process::on_virtual_clock;
use crate::promises::Promise;
use crate::promises::Violation;
use crate::trouble::Defect;
use crate::trouble::Events;
use crate::trouble::Port;

pub mod faults;

/// How a defect comes to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// By a crash after each effect.
    Crash(Scenario),
    /// By restarts while a name is broken.
    Restarts,
    /// By a restart while metadata does not answer, for longer than a certificate lives.
    Silence,
    /// By a certificate that somebody bought.
    Bought,
    /// By a renewal of one name, and of two that a label wants.
    Renewal,
    /// By the renewal that follows a renewal.
    SecondRenewal,
    /// By a name that is added, and another one.
    MoreNames,
    /// By the loss of the volume.
    LostVolume,
    /// By a broken name beside a healthy one, and one place for orders.
    Queue,
    /// By a name that breaks once it has its certificate, until that has expired.
    Expiry,
    /// By a name that never has a certificate.
    Broken,
    /// By more names in one certificate than any authority takes.
    Overfull,
    /// By more names of one registered domain than an authority certifies in a week.
    Crowd,
    /// By what an authority or a name does that is not as it should be.
    Ordeal(Ordeal),
}

/// A defect, how it comes to light, and what it breaks.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is wrong.
    pub name: &'static str,
    /// How that is done.
    pub defect: Defect,
    /// How it comes to light.
    pub trial: Trial,
    /// What it breaks.
    pub breaks: Promise,
    /// What the text of that says, where a promise has several sides.
    pub says: &'static str,
}

const NONE: Defect = Defect::NONE;

/// All defects.
pub fn cases() -> impl Iterator<Item = Case> {
    CASES.into_iter().chain(faults::CASES)
}

const CASES: [Case; 20] = [
    Case {
        name: "the order in flight is not synced",
        defect: Defect { unsynced: Some("/pending"), ..NONE },
        trial: Trial::Crash(Scenario::FirstIssue),
        breaks: Promise::NoExtraCertificate,
        says: "",
    },
    Case {
        name: "the order in flight is not synced and the floor is forgotten",
        defect: Defect {
            unsynced: Some("/pending"),
            forgotten: Some("/store/rancher-lets-encrypt/ledger.jsonl"),
            ..NONE
        },
        trial: Trial::Crash(Scenario::FirstIssue),
        breaks: Promise::FloorHolds,
        says: "",
    },
    Case {
        name: "a certificate is pushed before its files are on the disk",
        defect: Defect { unsynced: Some("/archive/"), ..NONE },
        trial: Trial::Crash(Scenario::FirstIssue),
        breaks: Promise::StoredFirst,
        says: "",
    },
    Case {
        name: "the account key is not on the disk before it is used",
        defect: Defect { unsynced: Some("/accounts"), ..NONE },
        trial: Trial::Crash(Scenario::FirstIssue),
        breaks: Promise::NoExtraCertificate,
        says: "",
    },
    Case {
        name: "the debt of a wake-up is not written down",
        defect: Defect { unwritten: Some("/wake-owed"), ..NONE },
        trial: Trial::Crash(Scenario::Push),
        breaks: Promise::FreshInTheEnd,
        says: "",
    },
    Case {
        name: "tokens are left in the webroot",
        defect: Defect { keeps_tokens: true, ..NONE },
        trial: Trial::Crash(Scenario::FirstIssue),
        breaks: Promise::FreshInTheEnd,
        says: "",
    },
    Case {
        name: "waits are forgotten at a restart",
        defect: Defect { forgotten: Some("/store/rancher-lets-encrypt/ledger.jsonl"), ..NONE },
        trial: Trial::Restarts,
        breaks: Promise::BrokenNameIsCheap,
        says: "",
    },
    Case {
        name: "names learned from labels are not kept",
        defect: Defect { forgotten: Some("/store/rancher-lets-encrypt/names.json"), ..NONE },
        trial: Trial::Silence,
        breaks: Promise::FreshInTheEnd,
        says: "",
    },
    Case {
        name: "nobody looks whose certificate it is",
        defect: Defect { replaces_all: true, ..NONE },
        trial: Trial::Bought,
        breaks: Promise::ForeignIsLeft,
        says: "",
    },
    Case {
        name: "a staging certificate passes for a better one",
        defect: Defect { trusts_staging: true, ..NONE },
        trial: Trial::Renewal,
        breaks: Promise::NeverWorse,
        says: "",
    },
    Case {
        name: "the first certificate is pushed again when that has expired",
        defect: Defect { replays: true, ..NONE },
        trial: Trial::SecondRenewal,
        breaks: Promise::NeverWorse,
        says: "an expired certificate over a valid one",
    },
    Case {
        name: "the first certificate is pushed again while that is valid",
        defect: Defect { replays: true, ..NONE },
        trial: Trial::MoreNames,
        breaks: Promise::NeverWorse,
        says: "an older certificate over a newer one",
    },
    Case {
        name: "a name of a label is overlooked",
        defect: Defect { curtails_labels: true, ..NONE },
        trial: Trial::Renewal,
        breaks: Promise::NeverWorse,
        says: "loses b.example.com, which is wanted",
    },
    Case {
        name: "nobody looks what Rancher holds",
        defect: Defect { overlooks: true, ..NONE },
        trial: Trial::LostVolume,
        breaks: Promise::LostVolumeIsFree,
        says: "",
    },
    Case {
        name: "a request has no time limit",
        defect: Defect { unanswered: Some("broken.example.com"), ..NONE },
        trial: Trial::Queue,
        breaks: Promise::NobodyWaits,
        says: "",
    },
    Case {
        name: "nothing is ever at risk",
        defect: Defect { hides_risk: true, ..NONE },
        trial: Trial::Expiry,
        breaks: Promise::HeardInTime,
        says: "",
    },
    Case {
        name: "what is told of a certificate that comes to expire gets lost",
        defect: Defect { swallows_notices: true, ..NONE },
        trial: Trial::Expiry,
        breaks: Promise::HeardInTime,
        says: "",
    },
    Case {
        name: "what is told of a name that cannot be certified gets lost",
        defect: Defect { swallows_notices: true, ..NONE },
        trial: Trial::Broken,
        breaks: Promise::HeardInTime,
        says: "",
    },
    Case {
        name: "nobody counts the names of a certificate",
        defect: Defect { ignores_limits: true, ..NONE },
        trial: Trial::Overfull,
        breaks: Promise::LimitsAreKnown,
        says: "an order for 101 names was opened",
    },
    Case {
        name: "nobody keeps account of the authority's limits",
        defect: Defect { ignores_limits: true, ..NONE },
        trial: Trial::Crowd,
        breaks: Promise::LimitsAreKnown,
        says: "",
    },
];

/// Tries a defect, or the same without it; answers what was broken.
pub fn attempt(trial: Trial, defect: Defect) -> Option<Violation> {
    let Trial::Crash(scenario) = trial else {
        return on_virtual_clock(attempt_over_time(trial, defect));
    };
    every_effect(scenario, defect, LONG).err().map(|(_, violation)| violation)
}

async fn attempt_over_time(trial: Trial, defect: Defect) -> Option<Violation> {
    let outside = Outside::new(Dice::new(7), 1);
    let fixed = "www.example.com";
    match trial {
        Trial::Crash(_) => {}
        Trial::Ordeal(ordeal) => faults::attempt(ordeal, defect, &outside).await,
        Trial::Restarts => {
            {
                let mut state = outside.state();
                let now = state.now();
                state.domains.lead(fixed, Route::BrokenOutside, now);
                state.trouble.defect = defect;
            }
            wish(&outside, fixed);
            restart_often(&outside).await;
        }
        Trial::Silence => {
            // The second entry is announced by a label.
            wish(&outside, &format!("{fixed}, shop.example.com"));
            while_missing(&outside, LONG).await;
            {
                let mut state = outside.state();
                state.trouble.set(Port::Metadata, Events::Down);
                state.trouble.defect = defect;
            }
            live_for(&outside, Duration::days(75)).await;
            while_missing(&outside, LONG).await;
        }
        Trial::Bought => {
            wish(&outside, fixed);
            {
                let mut state = outside.state();
                let now = state.now();
                let mut dice = state.dice.fork();
                let validity =
                    Validity { from: now - Duration::days(10), until: now + Duration::days(380) };
                let bought =
                    Issuer::new("Bought", &mut dice).pems(&[fixed.to_owned()], validity, &mut dice);
                state.rancher.paste(fixed, &bought, now);
                state.trouble.defect = defect;
            }
            live_for(&outside, Duration::days(2)).await;
        }
        Trial::Renewal => {
            wish(&outside, &format!("{fixed}, shop.example.com b.example.com"));
            while_missing(&outside, LONG).await;
            outside.state().trouble.defect = defect;
            live_for(&outside, Duration::days(70)).await;
        }
        Trial::SecondRenewal => {
            wish(&outside, fixed);
            live_for(&outside, Duration::days(100)).await;
            outside.state().trouble.defect = defect;
            live_for(&outside, Duration::days(30)).await;
        }
        Trial::MoreNames => {
            for names in ["", " b.example.com", " b.example.com c.example.com"] {
                // What was written a moment ago could not be seen by everybody yet.
                live_for(&outside, Duration::HOUR).await;
                if names.contains("c.") {
                    outside.state().trouble.defect = defect;
                }
                wish(&outside, &format!("{fixed}{names}"));
                while_missing(&outside, LONG).await;
            }
        }
        Trial::LostVolume => {
            wish(&outside, fixed);
            while_missing(&outside, LONG).await;
            // What was written a moment ago could not be seen by everybody yet.
            live_for(&outside, Duration::HOUR).await;
            {
                let mut state = outside.state();
                state.destroy("wiped", |state| state.places[0].volume = Files::default());
                state.promises.store_lost_at = Some(state.now());
                state.trouble.defect = defect;
            }
            live_for(&outside, Duration::DAY).await;
        }
        Trial::Queue => queue_up(&outside, defect).await,
        Trial::Expiry => {
            wish(&outside, fixed);
            while_missing(&outside, LONG).await;
            {
                let mut state = outside.state();
                let now = state.now();
                state.domains.lead(fixed, Route::BrokenOutside, now);
                state.trouble.defect = defect;
            }
            listen_for(&outside, Duration::days(100)).await;
        }
        Trial::Broken => {
            {
                let mut state = outside.state();
                let now = state.now();
                state.domains.lead(fixed, Route::BrokenOutside, now);
                state.trouble.defect = defect;
            }
            wish(&outside, fixed);
            listen_for(&outside, Duration::days(4)).await;
        }
        Trial::Overfull => {
            outside.state().trouble.defect = defect;
            let names: Vec<String> = (0..101).map(|it| format!("www{it}.example.com")).collect();
            wish(&outside, &names.join(" "));
            live_for(&outside, Duration::DAY).await;
        }
        Trial::Crowd => {
            outside.state().trouble.defect = defect;
            let names: Vec<String> = (0..60).map(|it| format!("www{it}.example.com")).collect();
            wish(&outside, &names.join(", "));
            live_for(&outside, Duration::DAY).await;
            outside.state().check_limits();
        }
    }
    outside.state().promises.violation.clone()
}

/// The broken name is the first in the only place that there is.
async fn queue_up(outside: &Outside, defect: Defect) {
    let habits = Habits { concurrency: 1, ..Habits::default() };
    let broken = "broken.example.com";
    let begun = {
        let mut state = outside.state();
        let now = state.now();
        state.domains.lead(broken, Route::BrokenOutside, now);
        state.trouble.defect = defect;
        now
    };
    wish(outside, &format!("{broken}, www.example.com"));
    tokio::select! {
        biased;
        () = live(outside, 0, habits) => {}
        () = tokio::time::sleep(Duration::days(2).unsigned_abs()) => {}
    }
    let mut state = outside.state();
    state.promises.calm_since = Some(begun);
    state.check_waiting(Duration::DAY);
}

async fn live_for(outside: &Outside, time: Duration) {
    tokio::select! {
        biased;
        () = live(outside, 0, Habits::default()) => {}
        () = tokio::time::sleep(time.unsigned_abs()) => {}
    }
}

/// Lives and looks from time to time whether people heard what they had to.
async fn listen_for(outside: &Outside, time: Duration) {
    let looks = async {
        let until = outside.state().now() + time;
        loop {
            tokio::time::sleep(Duration::hours(6).unsigned_abs()).await;
            let mut state = outside.state();
            let now = state.now();
            state.promises.calm_since.get_or_insert(now);
            state.check_heard();
            if until < now || state.promises.violation.is_some() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = live(outside, 0, Habits::default()) => {}
        () = looks => {}
    }
}

async fn restart_often(outside: &Outside) {
    let habits = Habits { self_check: SelfCheck::Off, ..Habits::default() };
    for _ in 0..200 {
        tokio::select! {
            biased;
            () = live(outside, 0, habits) => {}
            () = tokio::time::sleep(Duration::minutes(10).unsigned_abs()) => {}
        }
    }
}

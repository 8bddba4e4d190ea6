//! A crash after every single effect, in turn, of each part of one certificate's life.

use rancher_lets_encrypt::core::names::parse_list;
use time::Duration;

use crate::dice::Dice;
use crate::domains::Wanted;
use crate::files::loss::Loss;
use crate::issuer::Issuer;
use crate::issuer::Validity;
use crate::outside::Outside;
use crate::outside::State;
use crate::process::Habits;
use crate::process::live;
use crate::process::on_virtual_clock;
use crate::promises::Promise;
use crate::promises::Violation;
use crate::trouble::Crash;
use crate::trouble::Defect;

/// A part of one certificate's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Nothing is there.
    FirstIssue,
    /// The certificate becomes due.
    Renewal,
    /// A staging certificate is there and production is wanted.
    Upgrade,
    /// The volume was lost, Rancher has everything.
    Restore,
    /// The volume has everything, Rancher has something older.
    Push,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::FirstIssue, Self::Renewal, Self::Upgrade, Self::Restore, Self::Push];

    /// How many certificates it is worth.
    fn certificates(self) -> u64 {
        match self {
            Self::FirstIssue | Self::Renewal | Self::Upgrade => 1,
            Self::Restore | Self::Push => 0,
        }
    }
}

/// How long everything takes at most, a crash and the start after it included.
pub const PROMISED: Duration = Duration::hours(2);
/// In this time even what was lost by a defect is made good, at a cost that is seen then.
pub const LONG: Duration = Duration::days(3);
/// What is wanted: a name for itself, and a group.
const WISHES: [&str; 2] = ["www.example.com", "www.example.com shop.example.com pay.example.com"];

/// Runs a scenario for some names and crashes once; answers how many effects there were and what was broken.
pub fn run(
    scenario: Scenario,
    crash: Option<Crash>,
    names: &str,
    patience: Duration,
    prepare: impl FnOnce(&mut State),
) -> (u64, Option<Violation>) {
    on_virtual_clock(async {
        let outside = Outside::new(Dice::new(1), 1);
        prepare(&mut outside.state());
        wish(&outside, names);
        before(&outside, scenario).await;
        let (begun, issued) = {
            let mut state = outside.state();
            state.trouble.crashes = vec![crash];
            state.note(format!("{scenario:?} begins"));
            (state.effects, state.promises.issued)
        };
        while_missing(&outside, patience).await;
        let mut state = outside.state();
        let more = state.promises.issued - issued;
        if more > scenario.certificates() {
            let text = format!("{more} certificates where {} do", scenario.certificates());
            state.break_promise(Promise::NoExtraCertificate, text);
        }
        let accounts = state.authority.all()[0].accounts();
        if accounts > 1 && scenario != Scenario::Restore {
            let text = format!("{accounts} accounts were made where one does");
            state.break_promise(Promise::NoExtraCertificate, text);
        }
        (state.effects - begun, state.promises.violation.clone())
    })
}

/// Wants these names, every other one of them by a label.
pub fn wish(outside: &Outside, names: &str) {
    let mut state = outside.state();
    let now = state.now();
    for (number, names) in (0..).zip(parse_list(names).0) {
        let wish = Wanted { names, is_fixed: number % 2 == 0, since: now };
        state.domains.wish(number, Some(wish), now);
    }
}

/// Brings everything to where the scenario begins.
async fn before(outside: &Outside, scenario: Scenario) {
    match scenario {
        Scenario::FirstIssue => {}
        Scenario::Renewal => {
            while_missing(outside, LONG).await;
            tokio::time::sleep(Duration::days(65).unsigned_abs()).await;
        }
        Scenario::Upgrade => {
            outside.state().promises.rules.is_staging = true;
            while_missing(outside, LONG).await;
            outside.state().promises.rules.is_staging = false;
        }
        Scenario::Restore => {
            while_missing(outside, LONG).await;
            let mut state = outside.state();
            state.destroy("wiped", |state| state.places[0].volume = Default::default());
            state.promises.store_lost_at = Some(state.now());
        }
        Scenario::Push => {
            while_missing(outside, LONG).await;
            let mut state = outside.state();
            let now = state.now();
            let mut dice = state.dice.fork();
            let validity =
                Validity { from: now - Duration::days(400), until: now - Duration::days(1) };
            let old = Issuer::new("Bought", &mut dice).pems(
                &["www.example.com".to_owned()],
                validity,
                &mut dice,
            );
            state.rancher.paste("www.example.com", &old, now);
        }
    }
}

/// Lets the process live, again after each crash, until nothing is missing, or for as long as that may take.
pub async fn while_missing(outside: &Outside, patience: Duration) {
    let until = outside.state().now() + patience;
    let lives = async {
        loop {
            live(outside, 0, Habits::default()).await;
            tokio::time::sleep(Duration::minutes(2).unsigned_abs()).await;
        }
    };
    let looks = async {
        loop {
            tokio::time::sleep(Duration::minutes(5).unsigned_abs()).await;
            let mut state = outside.state();
            let missing = state.missing(Duration::HOUR);
            let is_crash_over = state.trouble.crashes.iter().all(Option::is_none);
            if missing.is_none() && is_crash_over || state.promises.violation.is_some() {
                return;
            }
            if until < state.now() {
                let text = missing.unwrap_or_else(|| "the crash never came".to_owned());
                return state.break_promise(Promise::FreshInTheEnd, text);
            }
        }
    };
    tokio::select! {
        biased;
        () = looks => {}
        () = lives => {}
    }
}

/// Crashes after, and before, each effect of a scenario; answers how many crashes that were.
pub fn every_effect(
    scenario: Scenario,
    defect: Defect,
    patience: Duration,
) -> Result<u64, (Crash, Violation)> {
    let prepare = |state: &mut State| state.trouble.defect = defect;
    let mut crashes = 0;
    for names in WISHES {
        crashes += every_effect_for(scenario, names, patience, &prepare)?;
    }
    Ok(crashes)
}

fn every_effect_for(
    scenario: Scenario,
    names: &str,
    patience: Duration,
    prepare: &impl Fn(&mut State),
) -> Result<u64, (Crash, Violation)> {
    let (effects, _) = run(scenario, None, names, patience, prepare);
    let mut crashes = 0;
    for after in 1..=effects {
        for (is_before, loss) in [
            (false, Loss::Nothing),
            (false, Loss::Everything),
            (false, Loss::Some),
            (true, Loss::Some),
        ] {
            let crash = Crash { after, is_before, loss };
            let (_, violation) = run(scenario, Some(crash), names, patience, prepare);
            crashes += 1;
            if let Some(violation) = violation {
                return Err((crash, violation));
            }
        }
    }
    Ok(crashes)
}

//! What a seed draws before it begins.

use rancher_lets_encrypt::config::SelfCheck;
use rancher_lets_encrypt::decide::classify::ReplaceForeign;
use time::Duration;

use crate::dice::Dice;
use crate::process::Habits;
use crate::promises::Rules;

/// A simulation as it is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How long it takes.
    pub length: Duration,
    /// How long certificates live.
    pub lifetime: Duration,
    /// How many certificates are wanted at first.
    pub wishes: u32,
    /// How many names each has at most.
    pub names: u64,
    /// How many registered domains they lie in; zero if each has one of its own.
    pub domains: u64,
    /// Whether somebody wants more names in one certificate than any authority takes.
    pub overfills: bool,
    /// Whether clocks are turned.
    pub turns_clock: bool,
    /// Whether authorities turn odd.
    pub is_odd: bool,
    /// How often something happens, on average.
    pub pace: Duration,
    /// Settings that the promises depend on.
    pub rules: Rules,
    /// The other settings.
    pub habits: Habits,
    /// Whether Rancher gives keys back.
    pub gives_keys: bool,
}

/// Two years.
pub const LENGTH: Duration = Duration::days(730);

impl Plan {
    /// Draws a plan.
    pub fn draw(seed: u64) -> (Self, Dice) {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let lifetime = *dice.pick(&[90, 90, 90, 45, 45, 6]);
        let renewals = 730 * 3 / (2 * lifetime);
        let most = u64::try_from(200 / renewals).unwrap_or(1);
        let wishes = match dice.below(100) {
            0..70 => 1 + dice.below(4),
            70..96 => 1 + dice.below(16),
            _ => 1 + dice.below(60),
        };
        let names = match dice.below(20) {
            0..12 => 1,
            12..18 => 4,
            18 => 12,
            _ => 40,
        };
        let domains = match dice.below(10) {
            0..6 => 0,
            6..8 => 1,
            _ => 1 + dice.below(3),
        };
        // More than Let's Encrypt certifies in a week of one registered domain.
        let is_crowd = lifetime == 90 && dice.chance(30);
        let (wishes, names, domains) = if is_crowd {
            (52 + dice.below(12), 1, 1)
        } else {
            (wishes.min(most.max(1)), names, domains)
        };
        // Hundreds of certificates, for less than two years, or of names in a few.
        let (lifetime, most_days, wishes, names, domains) = match dice.below(100) {
            0..2 => (90, 250, 100 + dice.below(100), 1, 0),
            2..6 => (90, 730, 2 + dice.below(3), 100, domains),
            _ => (lifetime, 730, wishes, names, domains),
        };
        let hours = match wishes {
            _ if lifetime == 6 => *dice.pick(&[4, 6]),
            0..6 => *dice.pick(&[4, 12]),
            _ => 12,
        };
        let rules = Rules {
            is_staging: dice.chance(150),
            replace_foreign: *dice.pick(&[
                ReplaceForeign::Due,
                ReplaceForeign::Due,
                ReplaceForeign::Always,
                ReplaceForeign::Never,
            ]),
            renew_before: dice.chance(150).then_some(Duration::days(21)),
            loop_time: Duration::hours(hours),
        };
        let habits = Habits {
            self_check: *dice.pick(&[SelfCheck::Require, SelfCheck::Warn, SelfCheck::Off]),
            concurrency: *dice.pick(&[1, 2, 8]),
        };
        let plan = Self {
            seed,
            length: LENGTH.min(Duration::days(most_days)),
            lifetime: Duration::days(lifetime),
            wishes: u32::try_from(wishes).unwrap_or(1),
            names,
            domains,
            overfills: dice.chance(80),
            turns_clock: dice.chance(400),
            is_odd: dice.chance(500),
            pace: Duration::days(*dice.pick(&[4, 7, 10, 30])),
            rules,
            habits,
            gives_keys: dice.chance(800),
        };
        (plan, dice)
    }
}

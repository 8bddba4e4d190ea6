//! A long run in bad weather: labels come and go, requests fail, the daemon is killed, the disk is full or read-only,
//! a second instance runs. When the weather clears, everything that is wanted is there, and nothing was paid twice.
//!
//! `make soak MINUTES=30 SEED=7` runs it for as long as asked. The seed decides about faults and events; moments are
//! counted in requests, not in seconds, so that a seed brings much the same again.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use sandbox::faults::RetryAfter;
use sandbox::faults::What;
use sandbox::faults::chance::Chance;
use sandbox::faults::chance::Draw;

use crate::real::soak::weather::Weather;

mod account;
mod place;
mod weather;

/// What is run by `make test`.
const SHORT: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_and_nothing_was_paid_twice_when_the_weather_clears() {
    let minutes = asked("SOAK_MINUTES").map(|minutes| Duration::from_secs(minutes * 60));
    let seed = asked("SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    // Past the capture of test output: whatever happens, the seed is known.
    say(&format!("soak: SEED={seed}"));
    let ends = Instant::now() + minutes.unwrap_or(SHORT);
    let mut weather = Weather::start(seed).await;
    while Instant::now() < ends {
        weather.turn().await;
    }
    weather.clear_up().await;
    say(&format!("soak: SEED={seed}: {}", weather.account().await));
}

#[expect(clippy::disallowed_methods, reason = "a test has no other way to be told how long")]
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What goes wrong on the way to the authority.
fn of_the_authority(seed: u64, percent: u64) -> Chance {
    Chance::new(seed, percent, faults())
}

/// What goes wrong on the way to Rancher, where an answer may also be short without saying so.
fn of_destination(seed: u64, percent: u64) -> Chance {
    let mut faults = faults();
    faults.extend([What::Shorten, What::status(429), What::status(404)]);
    Chance::new(seed, percent, faults)
}

fn faults() -> Vec<What> {
    let later =
        |status, seconds, form| What::Later { status, after: Duration::from_secs(seconds), form };
    vec![
        What::Close,
        What::DoThenClose,
        What::Stall,
        What::DoThenStall,
        What::Delay(Duration::from_millis(100)),
        What::Delay(Duration::from_millis(700)),
        What::Truncate,
        What::Truncate,
        What::status(500),
        What::status(503),
        later(503, 1, RetryAfter::Seconds),
        later(503, 3, RetryAfter::Date),
        later(429, 2, RetryAfter::Seconds),
        later(429, 1, RetryAfter::Date),
    ]
}

/// How often what happened.
#[derive(Debug, Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> =
            self.0.iter().map(|(what, count)| format!("{what} {count}")).collect();
        formatter.write_str(&parts.join(", "))
    }
}

/// One of a few, by their weights.
fn one_of<T: Copy>(draw: &mut Draw, choices: &[(u64, T)]) -> T {
    let all = choices.iter().map(|(weight, _)| weight).sum();
    let mut left = draw.below(all);
    for (weight, choice) in choices {
        if left < *weight {
            return *choice;
        }
        left -= weight;
    }
    choices[0].1
}

//! What one name costs at the authority in a year, by lifetime of certificates and by what goes wrong.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use rancher_lets_encrypt::core::names::Names;
use time::Duration;

use crate::dice::Dice;
use crate::domains::Route;
use crate::domains::Wanted;
use crate::files::loss::Loss;
use crate::outside::Outside;
use crate::outside::State;
use crate::process::Habits;
use crate::process::Switch;
use crate::process::on_virtual_clock;
use crate::process::supervise;
use crate::promises::Promise;
use crate::promises::Violation;
use crate::rancher::Balancer;
use crate::rancher::Entry;
use crate::trouble::Crash;
use crate::trouble::Events;
use crate::trouble::Port;

/// What goes wrong, for a whole year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// Nothing.
    Calm,
    /// The process is restarted every day.
    Restarts,
    /// The power fails every day, most often in the middle of something if there is something to do.
    PowerFailures,
    /// Five of a hundred calls to anything fail, half of them after their effect.
    Flaky,
    /// The authority does not answer on one day of each week.
    Outages,
    /// The volume is lost every thirty days.
    LostVolumes,
    /// Rancher is restored every thirty days from a backup that is thirty days old.
    RestoredRancher,
    /// The authority cannot reach the name, and our own check does not see it.
    BrokenName,
}

impl Story {
    /// All of them, with what they are called.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Calm, "nothing goes wrong"),
        (Self::Restarts, "restarted every day"),
        (Self::PowerFailures, "power fails every day"),
        (Self::Flaky, "5 % of all calls fail"),
        (Self::Outages, "authority down one day a week"),
        (Self::LostVolumes, "volume lost every 30 days"),
        (Self::RestoredRancher, "Rancher restored every 30 days"),
        (Self::BrokenName, "name broken for the authority only"),
    ];
}

/// What was asked of the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Certificates.
    pub certificates: u64,
    /// Orders.
    pub orders: u64,
    /// Failed validations.
    pub failed: u64,
}

/// How many days certificates live.
pub const LIFETIMES: [i64; 3] = [90, 45, 6];
/// How long it may take after the year until the name is served fresh.
const PATIENCE: Duration = Duration::days(3);

/// Lets one name live through a year; answers what it cost, or which promise was broken by it. A name that is not
/// broken must be served fresh in the end, else its costs would say nothing.
pub fn year(story: Story, lifetime: i64) -> Result<Cost, Violation> {
    on_virtual_clock(async {
        let outside = Outside::new(Dice::new(1), 1);
        begin(&mut outside.state(), story, lifetime);
        let switch: Arc<Switch> = Arc::default();
        switch.turn(true);
        let lives = supervise(outside.clone(), 0, Habits::default(), Arc::clone(&switch));
        tokio::spawn(lives);
        let mut backup: Option<Vec<Entry>> = None;
        for day in 0..365 {
            tokio::time::sleep(Duration::DAY.unsigned_abs()).await;
            let mut state = outside.state();
            match story {
                Story::Calm | Story::Flaky | Story::BrokenName => {}
                Story::Restarts => switch.restart(),
                Story::PowerFailures => fail_power(&mut state),
                Story::Outages => {
                    let events = if day % 7 == 0 { Events::Down } else { Events::Fair };
                    state.trouble.set(Port::Authority, events);
                }
                Story::LostVolumes if day % 30 == 29 => {
                    state.destroy("wiped", |state| state.places[0].volume = Default::default());
                    state.promises.store_lost_at = Some(state.now());
                    switch.restart();
                }
                Story::RestoredRancher if day % 30 == 29 => {
                    let present = state.rancher.entries.clone();
                    if let Some(old) = backup.replace(present) {
                        state.destroy("Rancher restored", |state| state.rancher.entries = old);
                    }
                }
                Story::LostVolumes | Story::RestoredRancher => {}
            }
            if story == Story::BrokenName {
                state.check_heard();
            }
        }
        let cost = {
            let state = outside.state();
            Cost {
                certificates: state.promises.issued,
                orders: state.authority.all().iter().map(|it| it.opened).sum(),
                failed: state.promises.failed,
            }
        };
        end(&outside, story, &switch).await;
        match outside.state().promises.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(cost),
        }
    })
}

/// All trouble ends, but for a name that is broken. What a faulty disk left behind goes with the next start.
async fn end(outside: &Outside, story: Story, switch: &Switch) {
    outside.state().trouble.end();
    if story == Story::BrokenName {
        return;
    }
    switch.restart();
    let until = outside.state().now() + PATIENCE;
    loop {
        tokio::time::sleep(Duration::HOUR.unsigned_abs()).await;
        let mut state = outside.state();
        let Some(missing) = state.missing(Duration::DAY) else {
            return;
        };
        if until < state.now() {
            return state.break_promise(Promise::FreshInTheEnd, missing);
        }
    }
}

fn begin(state: &mut State, story: Story, lifetime: i64) {
    let now = state.now();
    for directory in state.authority.all_mut() {
        directory.lifetime = Duration::days(lifetime);
    }
    state.trouble.crashes = vec![None];
    let name = "www.example.com";
    let names: Option<Names> = name.parse().ok().and_then(|name| Names::new([name]));
    let wish = names.map(|names| Wanted { names, is_fixed: true, since: now });
    state.domains.wish(1, wish, now);
    // Somebody who is to be woken: where there is nobody, a debt may end without.
    state.rancher.balancers = vec![Balancer { lists: Vec::new(), is_active: true }];
    if story == Story::BrokenName {
        state.domains.lead(name, Route::BrokenOutside, now);
    }
    if story == Story::Flaky {
        for port in [Port::Authority, Port::Challenge, Port::Disk, Port::Metadata, Port::Rancher] {
            state.trouble.set(port, Events::Flaky(50));
        }
    }
}

fn fail_power(state: &mut State) {
    let after = 1 + state.dice.below(80);
    state.trouble.crashes[0] = Some(Crash { after, is_before: false, loss: Loss::Some });
}

/// The table as it stands in `README.md`: certificates / orders / failed validations; or the promise that was broken
/// by one of the stories.
pub fn render() -> Result<String, Violation> {
    let cells: Vec<(Story, i64)> = LIFETIMES
        .into_iter()
        .rev()
        .flat_map(|lifetime| Story::ALL.map(|(story, _)| (story, lifetime)))
        .collect();
    let costs = all_years(&cells);
    let mut table = String::from("| for one name in a year |");
    for lifetime in LIFETIMES {
        table += &format!(" {lifetime} days |");
    }
    table += "\n| --- | --- | --- | --- |\n";
    for (story, name) in Story::ALL {
        table += &format!("| {name} |");
        for lifetime in LIFETIMES {
            let is_it = |((of, days), _): &(&(Story, i64), _)| *of == story && *days == lifetime;
            let found = cells.iter().zip(&costs).find(is_it);
            if let Some((_, cost)) = found {
                let cost = cost.clone()?;
                let (certificates, orders, failed) = (cost.certificates, cost.orders, cost.failed);
                table += &format!(" {certificates} / {orders} / {failed} |");
            }
        }
        table += "\n";
    }
    Ok(table)
}

/// Many years side by side, the ones with most to do first.
fn all_years(cells: &[(Story, i64)]) -> Vec<Result<Cost, Violation>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((story, lifetime)) = cells.get(at) else {
                return done;
            };
            done.push((at, year(*story, *lifetime)));
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, cost)| cost).collect()
}

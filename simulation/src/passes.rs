//! How often the daemon looks through everything while names are broken.

use std::sync::Arc;

use rancher_lets_encrypt::core::names::Names;
use time::Duration;

use crate::dice::Dice;
use crate::domains::Route;
use crate::domains::Wanted;
use crate::outside::Outside;
use crate::process::Habits;
use crate::process::Switch;
use crate::process::on_virtual_clock;
use crate::process::supervise;

/// How many names are broken, each with a certificate of its own.
const BROKEN: u32 = 50;
/// The default of the setting.
const LOOP_TIME: Duration = Duration::minutes(5);
/// How long they are watched, hour by hour.
const HOURS: usize = 24;

/// Passes while some names are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passes {
    /// In the hour after the start.
    pub first: u64,
    /// In the hour with most of them after that.
    pub most: u64,
    /// In all hours together.
    pub all: u64,
}

/// How many passes there are with so many names of one kind.
pub fn count(names: u32, route: Route) -> Passes {
    on_virtual_clock(async {
        let outside = Outside::new(Dice::new(1), 1);
        {
            let mut state = outside.state();
            let now = state.now();
            state.trouble.crashes = vec![None];
            state.promises.rules.loop_time = LOOP_TIME;
            for number in 1..=names {
                let name = format!("n{number}.example.com");
                let names: Option<Names> = name.parse().ok().and_then(|name| Names::new([name]));
                let wish = names.map(|names| Wanted { names, is_fixed: true, since: now });
                state.domains.wish(number, wish, now);
                state.domains.lead(&name, route, now);
            }
        }
        let switch: Arc<Switch> = Arc::default();
        switch.turn(true);
        let lives = supervise(outside.clone(), 0, Habits::default(), switch);
        tokio::spawn(lives);
        let mut hours = Vec::new();
        let mut before = 0;
        for _ in 0..HOURS {
            tokio::time::sleep(Duration::HOUR.unsigned_abs()).await;
            let lists = outside.state().rancher.lists;
            hours.push(lists - before);
            before = lists;
        }
        Passes {
            first: hours[0],
            most: hours.iter().skip(1).copied().max().unwrap_or(0),
            all: before,
        }
    })
}

/// The figures, for people.
pub fn render() -> String {
    let cases = [
        ("nothing to do", 1, Route::Well),
        ("50 names that nobody reaches", BROKEN, Route::Broken),
        ("50 names that the authority does not reach", BROKEN, Route::BrokenOutside),
    ];
    let mut text = String::from(
        "| passes per hour | in the first | in the one with most after it | on average in a day |\n| --- | --- | --- | --- |\n",
    );
    for (what, names, route) in cases {
        let passes = count(names, route);
        let average = passes.all / HOURS as u64;
        text += &format!("| {what} | {} | {} | {average} |\n", passes.first, passes.most);
    }
    text
}

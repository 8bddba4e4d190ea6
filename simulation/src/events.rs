//! The world changes on its own: what people, machines and servers do.

use std::collections::BTreeMap;
use std::sync::Arc;

use rancher_lets_encrypt::core::names::DomainName;
use rancher_lets_encrypt::core::names::Names;
use time::Duration;
use time::OffsetDateTime;

use crate::dice::Dice;
use crate::domains::Route;
use crate::domains::Wanted;
use crate::files::Files;
use crate::outside::DiskState;
use crate::outside::Outside;
use crate::outside::Place;
use crate::outside::State;
use crate::plan::Plan;
use crate::process::Switch;
use crate::promises::issuing::ACCOUNTS_LOST;
use crate::rancher::Entry;
use crate::trouble::Events;
use crate::trouble::Port;

mod machines;
mod odd;
mod people;

/// What ends something that began before.
#[derive(Debug, Clone)]
enum End {
    Route(String),
    Port(Port),
    Balancers,
    Disk,
    Clock,
    Slowness,
    Odd,
    Second,
}

/// The world.
pub struct World {
    outside: Outside,
    dice: Dice,
    plan: Plan,
    /// Turns the instances on and off.
    pub switches: Vec<Arc<Switch>>,
    ends: BTreeMap<(OffsetDateTime, u64), End>,
    numbers: u64,
    rancher_backup: Option<Vec<Entry>>,
    volume_backup: Option<Files>,
}

/// How often it is looked whether anybody waits.
const LOOK: Duration = Duration::hours(6);

impl World {
    /// A world with what is wanted at first.
    pub fn new(outside: Outside, dice: Dice, plan: Plan, switches: Vec<Arc<Switch>>) -> Self {
        let mut world = Self {
            outside,
            dice,
            plan,
            switches,
            ends: BTreeMap::new(),
            numbers: 0,
            rancher_backup: None,
            volume_backup: None,
        };
        for _ in 0..plan.wishes {
            world.adds_wish();
        }
        if plan.overfills {
            world.overfills();
        }
        world
    }

    /// Lets time pass until the end of the plan, or until a promise is broken.
    pub async fn go_on(&mut self) {
        let (until, mut next) = {
            let now = self.now();
            (now + self.plan.length, now + self.pause())
        };
        while self.now() < until {
            let end = self.ends.keys().next().map_or(until, |(at, _)| *at);
            let at = next.min(end).min(self.now() + LOOK).max(self.now());
            let wait = at - self.now();
            tokio::time::sleep(wait.unsigned_abs()).await;
            let now = self.now();
            while let Some(entry) = self.ends.first_entry() {
                if now < entry.key().0 {
                    break;
                }
                let end = entry.remove();
                self.end(end);
            }
            if next <= now {
                self.happen().await;
                next = now + self.pause();
            }
            if self.look() {
                return;
            }
        }
    }

    /// Ends all trouble; from now on everything must come right.
    pub async fn calm_down(&mut self) {
        while let Some((_, end)) = self.ends.pop_first() {
            self.end(end);
        }
        for switch in &self.switches {
            switch.turn(false);
        }
        tokio::time::sleep(Duration::days(4).unsigned_abs()).await;
        {
            let mut state = self.outside.state();
            state.trouble.end();
            state.end_oddities();
            state.rancher.own_is_active = true;
            state.note("everything is well from now on");
        }
        self.switches[0].turn(true);
    }

    fn now(&self) -> OffsetDateTime {
        self.outside.state().now()
    }

    fn pause(&mut self) -> Duration {
        self.dice.time(Duration::ZERO, self.plan.pace * 2)
    }

    fn later(&mut self, from: Duration, to: Duration, end: End) {
        let at = self.now() + self.dice.time(from, to);
        self.numbers += 1;
        self.ends.insert((at, self.numbers), end);
    }

    /// Looks at what depends on time; answers whether a promise is broken.
    fn look(&mut self) -> bool {
        let patience = patience(&self.plan);
        let mut state = self.outside.state();
        let now = state.now();
        let is_right = |place: &Place| place.skew.is_zero() && place.disk == DiskState::Well;
        let running = || state.places.iter().filter(|place| place.is_running);
        let is_quiet = state.trouble.is_fair()
            && state.places.iter().all(is_right)
            && running().count() == 1
            && running().all(|place| place.home == 0)
            && state.authority.all()[0].stuck_per_mille == 0
            && !state.authority.all().iter().any(|it| it.oddities.is_any());
        if running().any(|place| place.home != 0) {
            state.promises.other_at = Some(now);
        }
        if !is_quiet {
            state.promises.calm_since = None;
        } else if state.promises.calm_since.is_none() {
            state.promises.calm_since = Some(now);
        }
        if state.trouble.events(Port::Metadata) != Events::Fair {
            state.unread(now, patience);
        }
        state.check_limits();
        state.check_heard();
        state.check_waiting(patience);
        state.check_groups(patience);
        state.check_pestered();
        state.promises.violation.is_some()
    }

    /// Something happens.
    async fn happen(&mut self) {
        if self.plan.is_odd && self.dice.chance(300) {
            return self.turns_odd();
        }
        match self.dice.below(28) {
            0 | 1 => self.adds_wish(),
            2 => self.removes_wish(),
            3 | 4 => self.changes_wish(),
            5 | 6 => self.breaks_route(),
            7 => self.stops_balancers(),
            8 => self.restores_rancher(),
            9 => self.loses_volume().await,
            10 => self.fills_disk(),
            11 => self.turns_clock(),
            12 | 13 => self.pastes(),
            14 => self.switches_staging().await,
            15 | 16 => self.spoils(Port::Authority),
            17 => self.spoils(Port::Rancher),
            18 => self.spoils_another(),
            19..22 => self.crashes(),
            22 => self.starts_second(),
            23 => self.slows_authority(),
            24 => self.fills_disk(),
            25 => self.loses_accounts(),
            _ if self.plan.turns_clock => self.turns_clock(),
            _ => self.changes_wish(),
        }
    }

    fn end(&mut self, end: End) {
        let patience = patience(&self.plan);
        let mut state = self.outside.state();
        let now = state.now();
        state.note(format!("ends: {end:?}"));
        if matches!(end, End::Port(Port::Metadata)) {
            state.unread(now, patience);
        }
        match end {
            End::Route(name) => state.domains.lead(&name, Route::Well, now),
            End::Port(port) => state.trouble.set(port, Events::Fair),
            End::Balancers => {
                state.rancher.own_is_active = true;
                for balancer in &mut state.rancher.balancers {
                    balancer.is_active = true;
                }
            }
            End::Disk => state.places[0].disk = DiskState::Well,
            End::Clock => {
                state.places[0].skew = Duration::ZERO;
                state.promises.jumped_at = Some(now);
            }
            End::Slowness => {
                for directory in state.authority.all_mut() {
                    directory.slowness = Duration::seconds(5);
                    directory.stuck_per_mille = 0;
                }
            }
            End::Odd => state.end_oddities(),
            End::Second => {
                self.switches[1].turn(false);
                if state.places[1].is_running && state.places[1].home != 0 {
                    state.promises.other_at = Some(now);
                }
                state.destroy("the second instance is gone", |state| {
                    state.places[1].is_there = false;
                });
            }
        }
    }

    fn breaks_route(&mut self) {
        let route = *self.dice.pick(&[Route::Broken, Route::BrokenOutside, Route::Silent]);
        let Some(name) = self.any_name() else {
            return;
        };
        {
            let mut state = self.outside.state();
            let now = state.now();
            state.note(format!("the way to {name} is {route:?}"));
            state.domains.lead(&name, route, now);
        }
        self.later(Duration::hours(1), Duration::days(60), End::Route(name));
    }

    fn any_name(&mut self) -> Option<String> {
        let state = self.outside.state();
        let wishes = state.domains.wishes.values();
        let names: Vec<String> =
            wishes.flat_map(|wish| wish.names.iter().map(ToString::to_string)).collect();
        (!names.is_empty()).then(|| self.dice.pick(&names).clone())
    }

    fn stops_balancers(&mut self) {
        {
            let mut state = self.outside.state();
            state.note("balancers and own service are not active");
            state.rancher.own_is_active = false;
            for balancer in &mut state.rancher.balancers {
                balancer.is_active = false;
            }
        }
        self.later(Duration::hours(1), Duration::days(5), End::Balancers);
    }

    fn restores_rancher(&mut self) {
        let mut state = self.outside.state();
        match self.rancher_backup.take() {
            Some(backup) if self.dice.chance(600) => {
                state.note("Rancher is restored from a backup");
                state.destroy("Rancher restored", |state| state.rancher.entries = backup);
                state.promises.calm_since = None;
                state.promises.restored_at = Some(state.now());
            }
            _ => self.rancher_backup = Some(state.rancher.entries.clone()),
        }
    }

    fn spoils(&mut self, port: Port) {
        let events = match self.dice.below(3) {
            0 => Events::Down,
            1 => Events::Flaky(300),
            _ => Events::Flaky(50),
        };
        {
            let patience = patience(&self.plan);
            let mut state = self.outside.state();
            state.note(format!("{port:?} is {events:?}"));
            state.trouble.set(port, events);
            let now = state.now();
            if port == Port::Metadata {
                state.unread(now, patience);
            }
        }
        self.later(Duration::minutes(10), Duration::days(4), End::Port(port));
    }

    fn spoils_another(&mut self) {
        let port = *self.dice.pick(&[Port::Metadata, Port::Challenge, Port::Disk]);
        self.spoils(port);
    }

    fn loses_accounts(&mut self) {
        let mut state = self.outside.state();
        state.note("the authority knows no account any more");
        state.destroy(ACCOUNTS_LOST, |state| {
            for directory in state.authority.all_mut() {
                directory.lose_accounts();
            }
        });
        state.promises.calm_since = None;
    }

    fn slows_authority(&mut self) {
        {
            let mut state = self.outside.state();
            state.note("the authority is slow");
            for directory in state.authority.all_mut() {
                directory.slowness = Duration::hours(3);
                directory.stuck_per_mille = 100;
            }
        }
        self.later(Duration::hours(1), Duration::days(3), End::Slowness);
    }
}

/// How long somebody who is well waits at most, in calm times: the longest wait after a failure is a day.
pub fn patience(plan: &Plan) -> Duration {
    Duration::hours(26) + plan.rules.loop_time * 3
}

fn new_names(names: Vec<DomainName>) -> Option<Names> {
    Names::new(names)
}

/// Somebody's wish, in a state that is being changed.
fn set_wish(state: &mut State, number: u32, names: Option<Names>, is_fixed: bool) {
    let now = state.now();
    let wish = names.map(|names| Wanted { names, is_fixed, since: now });
    state.domains.wish(number, wish, now);
}

//! What people do: they want names, paste certificates, switch to staging and back.

use rancher_lets_encrypt::core::names::DomainName;
use time::Duration;

use crate::events::World;
use crate::events::new_names;
use crate::events::set_wish;
use crate::issuer;
use crate::issuer::Issuer;
use crate::issuer::Validity;

/// How many certificates that nobody wants any more are still served.
const LISTED: usize = 2;

impl World {
    fn fresh_name(&mut self) -> Option<DomainName> {
        self.numbers += 1;
        let number = self.numbers;
        let name = match self.plan.domains {
            0 => format!("www.site{number}.com"),
            domains => format!("www{number}.shop{}.com", number % domains),
        };
        name.parse().ok()
    }

    pub(super) fn adds_wish(&mut self) {
        let count = 1 + self.dice.below(self.plan.names);
        let names: Vec<DomainName> = (0..count).filter_map(|_| self.fresh_name()).collect();
        self.numbers += 1;
        let number = u32::try_from(self.numbers).unwrap_or(u32::MAX);
        let is_fixed = self.dice.chance(300);
        let mut state = self.outside.state();
        // Bounded, so that a seed takes no longer than others.
        if state.domains.wishes.len() > usize::try_from(self.plan.wishes).unwrap_or(0) + 3 {
            return;
        }
        let names = new_names(names);
        if let Some(names) = &names {
            state.note(format!("wanted: {names}"));
        }
        set_wish(&mut state, number, names, is_fixed);
        drop(state);
        self.tell(is_fixed);
    }

    /// Somebody wants too much at once.
    pub(super) fn overfills(&mut self) {
        let count = 101 + self.dice.below(30);
        let names: Vec<DomainName> = (0..count).filter_map(|_| self.fresh_name()).collect();
        self.numbers += 1;
        let number = u32::try_from(self.numbers).unwrap_or(u32::MAX);
        let mut state = self.outside.state();
        state.note(format!("wanted in one certificate: {count} names"));
        set_wish(&mut state, number, new_names(names), false);
    }

    pub(super) fn removes_wish(&mut self) {
        let Some((number, is_fixed)) = self.any_wish() else {
            return;
        };
        {
            let mut state = self.outside.state();
            if state.domains.wishes.len() < 2 {
                return;
            }
            let names = state.domains.wishes[&number].names.clone();
            state.note(format!("no longer wanted: {names}"));
            set_wish(&mut state, number, None, is_fixed);
            // A balancer may go on to serve it, and then it is still renewed.
            if self.dice.chance(300) {
                let listed = &mut state.rancher.balancers[0].lists;
                listed.insert(0, names.primary().to_string());
                listed.truncate(LISTED);
            }
        }
        self.tell(is_fixed);
    }

    /// A name is added to a wish, or taken from it.
    pub(super) fn changes_wish(&mut self) {
        let Some((number, is_fixed)) = self.any_wish() else {
            return;
        };
        let fresh = self.fresh_name();
        {
            let mut state = self.outside.state();
            let mut names: Vec<DomainName> =
                state.domains.wishes[&number].names.iter().cloned().collect();
            if names.len() > 1 && self.dice.chance(500) {
                let at = self.dice.index(names.len());
                names.remove(at);
            } else {
                names.extend(fresh);
            }
            let names = new_names(names);
            if let Some(names) = &names {
                state.note(format!("wanted from now on: {names}"));
            }
            set_wish(&mut state, number, names, is_fixed);
        }
        self.tell(is_fixed);
    }

    fn any_wish(&mut self) -> Option<(u32, bool)> {
        let state = self.outside.state();
        let wishes: Vec<(u32, bool)> =
            state.domains.wishes.iter().map(|(number, wish)| (*number, wish.is_fixed)).collect();
        (!wishes.is_empty()).then(|| *self.dice.pick(&wishes))
    }

    /// Labels are seen, `DOMAINS` only by a new process.
    fn tell(&mut self, is_fixed: bool) {
        if is_fixed {
            for switch in &self.switches {
                switch.restart();
            }
        }
        self.outside.labels.notify_waiters();
    }

    pub(super) fn pastes(&mut self) {
        let Some((number, _)) = self.any_wish() else {
            return;
        };
        let mut state = self.outside.state();
        let now = state.now();
        let names: Vec<String> =
            state.domains.wishes[&number].names.iter().map(ToString::to_string).collect();
        let (what, from, until) = *self.dice.pick(&[
            ("bought", -10, 380),
            ("bought", -360, 5),
            ("bought", -80, 20),
            ("self-signed", -10, 3000),
        ]);
        let validity =
            Validity { from: now + Duration::days(from), until: now + Duration::days(until) };
        let pems = if what == "bought" {
            Issuer::new("Bought", &mut self.dice).pems(&names, validity, &mut self.dice)
        } else {
            issuer::self_signed(&names, validity, &mut self.dice)
        };
        state.note(format!(
            "a {what} certificate is pasted over {} until {}",
            names[0], validity.until
        ));
        state.destroy("pasted over", |state| state.rancher.paste(&names[0], &pems, now));
        state.promises.calm_since = None;
    }

    /// `STAGING` is changed, which needs a new process.
    pub(super) async fn switches_staging(&mut self) {
        let stopped = self.stops_processes().await;
        {
            let mut state = self.outside.state();
            let is_staging = !state.promises.rules.is_staging && self.dice.chance(300);
            state.promises.rules.is_staging = is_staging;
            state.note(format!("STAGING={is_staging}"));
            state.promises.calm_since = None;
        }
        self.starts_processes(&stopped);
        self.switches[1].restart();
    }
}

//! Promises 2 and 4 seen from the other side: what is wanted and possible is there, in time and in the end.

use std::collections::BTreeSet;

use rancher_lets_encrypt::core::certificate::Leaf;
use rancher_lets_encrypt::decide::classify::ReplaceForeign;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::Hit;
use crate::authority::MOST_NAMES;
use crate::authority::PRODUCTION;
use crate::domains::Route;
use crate::domains::Wanted;
use crate::outside::State;
use crate::promises::Promise;
use crate::rancher::Entry;
use crate::rancher::Owner;

/// What was refused for a limit may be had after a week, and somewhat later.
const LIMITED: Duration = Duration::days(9);

/// Whether no authority certifies so many names at once.
pub(super) fn is_overfull(wish: &Wanted) -> bool {
    MOST_NAMES < wish.names.iter().count()
}

fn registered_domain(name: &str) -> &str {
    let dots = name.rmatch_indices('.').nth(1);
    dots.map_or(name, |(at, _)| &name[at + 1..])
}

impl State {
    /// What Rancher holds for a wish.
    pub(super) fn served(&self, wish: &Wanted) -> Option<&Entry> {
        let primary = wish.names.primary().as_str();
        let set: Vec<String> = wish.names.set().iter().map(ToString::to_string).collect();
        let has_set = |entry: &&Entry| {
            entry
                .content
                .as_ref()
                .is_ok_and(|shown| shown.leaf.names().eq(set.iter().map(String::as_str)))
        };
        self.rancher.of(primary).or_else(|| self.rancher.entries.iter().find(has_set))
    }

    /// Whether something stands in the way of a wish that the daemon must not touch.
    fn is_blocked(&self, wish: &Wanted, now: OffsetDateTime) -> bool {
        if self.was_better(wish) {
            return true;
        }
        let Some(entry) = self.served(wish) else {
            return false;
        };
        let Ok(shown) = &entry.content else {
            return true;
        };
        let leaf = &shown.leaf;
        let rules = &self.promises.rules;
        let may_go = leaf.is_self_signed
            || leaf.is_marked_staging && !rules.is_staging
            || match rules.replace_foreign {
                ReplaceForeign::Always => true,
                ReplaceForeign::Due => {
                    leaf.not_after + Duration::hours(26) + rules.loop_time * 3 < now
                }
                ReplaceForeign::Never => false,
            };
        entry.owner == Owner::Person && !may_go
    }

    /// Whether staging is wanted where there was something better, which it never replaces.
    fn was_better(&self, wish: &Wanted) -> bool {
        let is_one = |(directory, names): &(String, Vec<String>)| {
            directory == PRODUCTION
                && wish.names.iter().any(|name| names.iter().any(|own| own == name.as_str()))
        };
        let is_held = self
            .served(wish)
            .and_then(|entry| entry.content.as_ref().ok())
            .is_some_and(|shown| !shown.leaf.is_marked_staging && !shown.leaf.is_self_signed);
        self.promises.rules.is_staging && (is_held || self.promises.certificates.keys().any(is_one))
    }

    /// Why a wish is not fulfilled, if so.
    fn lacks(&self, wish: &Wanted, now: OffsetDateTime, slack: Duration) -> Option<String> {
        let Some(entry) = self.served(wish) else {
            return Some(format!("{}: Rancher has nothing", wish.names));
        };
        let leaf = match &entry.content {
            Ok(shown) => &shown.leaf,
            Err(flaw) => return Some(format!("{}: {flaw}", wish.names)),
        };
        let covers = |name: &str| leaf.names().any(|own| own == name);
        let lacking = wish.names.iter().find(|name| {
            self.domains.route(name.as_str()) == Route::Well && !covers(name.as_str())
        });
        if let Some(name) = lacking {
            return Some(format!("{}: what Rancher has lacks {name}", wish.names));
        }
        if !self.promises.rules.is_staging && leaf.is_marked_staging {
            return Some(format!("{}: still a staging certificate", wish.names));
        }
        // What is only due waits for an order that may still bring it.
        let latest = if self.is_withheld(wish, now - slack) {
            self.overdue(leaf)
        } else {
            self.latest_renewal(leaf)
        };
        if latest + slack < now {
            return Some(format!("{}: not renewed, it ends {}", wish.names, leaf.not_after));
        }
        None
    }

    /// Whether an authority may have refused a certificate in the last time, because others for the same registered
    /// domain or the same names were issued.
    pub(super) fn is_short(&self, wish: &Wanted, now: OffsetDateTime, patience: Duration) -> bool {
        let mut names: Vec<String> = wish.names.iter().map(ToString::to_string).collect();
        names.sort();
        let directories = self.authority.all();
        directories.iter().any(|it| it.is_short(&names, now - patience))
    }

    /// Whether the authority has lately refused it, or something else for the same registered domain, for a limit; or
    /// an account, without which nothing can be had.
    fn was_limited(&self, wish: &Wanted, now: OffsetDateTime) -> bool {
        let domains: BTreeSet<&str> =
            wish.names.iter().map(|name| registered_domain(name.as_str())).collect();
        let is_about = |hit: &Hit| {
            let mut names = hit.names.iter();
            hit.names.is_empty()
                || names.any(|name| domains.contains(registered_domain(name.as_str())))
        };
        let hits = self.authority.all().iter().flat_map(|it| it.hits.iter().rev());
        hits.into_iter().filter(|hit| now - hit.at < LIMITED).any(is_about)
    }

    pub(super) fn latest_renewal(&self, leaf: &Leaf) -> OffsetDateTime {
        let lifetime = leaf.not_after - leaf.not_before;
        self.promises.rules.earliest_renewal(leaf) + lifetime / 20
    }

    /// When a certificate is overdue at the latest.
    pub(super) fn overdue(&self, leaf: &Leaf) -> OffsetDateTime {
        let due = self.latest_renewal(leaf);
        due + (leaf.not_after - due) / 2
    }

    /// Whether an authority was asked for a certificate and does not hand it over, or did not until after `since`.
    fn is_withheld(&self, wish: &Wanted, since: OffsetDateTime) -> bool {
        let names: Vec<String> = wish.names.iter().map(ToString::to_string).collect();
        let mut directories = self.authority.all().iter();
        directories.any(|directory| directory.withholds(&names, since))
    }

    /// Names cannot be read at this moment. Times that follow each other closely count as one.
    pub(crate) fn unread(&mut self, now: OffsetDateTime, patience: Duration) {
        let before = self.promises.unread;
        let since = match before {
            Some((since, until)) if now <= until + patience => since,
            Some(_) | None => now,
        };
        self.promises.unread = Some((since, now));
    }

    /// Promise 2: who is well, and has been long enough in calm times, has what he wants.
    pub fn check_waiting(&mut self, patience: Duration) {
        let now = self.now();
        let Some(calm) = self.promises.calm_since else {
            return;
        };
        let unread = self.promises.unread;
        let loop_time = self.promises.rules.loop_time;
        let is_settled = |wish: &&Wanted| {
            // Nobody could know of it before names were read again.
            let is_unknown = |(since, until): (OffsetDateTime, OffsetDateTime)| {
                since <= wish.since + loop_time && now <= until + patience
            };
            if unread.is_some_and(is_unknown) {
                return false;
            }
            // A name that another wish has taken over still stands in the present certificate.
            let served = self.served(wish).and_then(|entry| entry.content.as_ref().ok());
            let is_unwell = |name: &str| {
                self.domains
                    .leads
                    .get(name)
                    .is_some_and(|lead| lead.since + patience >= now || lead.route != Route::Well)
            };
            if served.is_some_and(|shown| shown.leaf.names().any(is_unwell)) {
                return false;
            }
            let healthy = wish.names.iter().all(|name| {
                let lead = self.domains.leads.get(name.as_str());
                lead.is_none_or(|lead| lead.route == Route::Well && lead.since + patience < now)
            });
            healthy && wish.since.max(calm) + patience < now
        };
        let wishes: Vec<Wanted> =
            self.domains.wishes.values().filter(is_settled).cloned().collect();
        let late = wishes
            .iter()
            .filter(|wish| !self.is_blocked(wish, now) && !self.is_short(wish, now, patience))
            .filter(|wish| !is_overfull(wish) && !self.was_limited(wish, now))
            .find_map(|wish| self.lacks(wish, now, patience));
        if let Some(late) = late {
            self.break_promise(Promise::NobodyWaits, late);
        }
    }

    /// Promise 2: a name that is broken for long takes no other name of its certificate with it.
    pub fn check_groups(&mut self, patience: Duration) {
        let now = self.now();
        let Some(calm) = self.promises.calm_since else {
            return;
        };
        let lost = self.domains.wishes.values().find_map(|wish| {
            let entry = self.served(wish)?;
            let leaf = &entry.content.as_ref().ok()?.leaf;
            let due = self.promises.rules.earliest_renewal(leaf);
            let is_settled = |at: OffsetDateTime| at + patience < due;
            let route = |name: &&str| self.domains.route(name);
            let since =
                |name: &str| self.domains.leads.get(name).is_none_or(|it| is_settled(it.since));
            let names: Vec<&str> = wish.names.iter().map(|name| name.as_str()).collect();
            let is_ours = entry.owner != Owner::Person || self.is_issued(leaf);
            let unread = self.promises.unread;
            let is_over = leaf.not_after < now
                && is_ours
                && is_settled(calm)
                && is_settled(wish.since)
                && unread.is_none_or(|(_, until)| is_settled(until))
                && leaf.names().all(since)
                && names.iter().all(|name| since(name))
                && !self.is_blocked(wish, now)
                && !self.is_short(wish, now, patience)
                && !is_overfull(wish)
                && !self.was_limited(wish, now);
            let well = names.iter().find(|name| route(name) == Route::Well)?;
            let dead = names.iter().find(|name| route(name) != Route::Well)?;
            is_over.then(|| format!("{well} has lost its certificate, since {dead} is broken"))
        });
        if let Some(lost) = lost {
            self.break_promise(Promise::NobodyWaits, lost);
        }
    }

    /// What is still missing when everything has been well for long; none when all is as it should be.
    pub fn missing(&self, slack: Duration) -> Option<String> {
        let now = self.now();
        let mut wishes = self.domains.wishes.values();
        let lacking = wishes
            .by_ref()
            .filter(|wish| !self.is_blocked(wish, now) && !is_overfull(wish))
            .find_map(|wish| self.lacks(wish, now, slack));
        if lacking.is_some() {
            return lacking;
        }
        if self.rancher.woken_at < self.rancher.written_at {
            return Some("balancers were not woken after the last write".to_owned());
        }
        for place in self.places.iter().filter(|place| place.is_running) {
            if let Some(token) = place.webroot.keys().next() {
                return Some(format!("a token is left: {}", token.as_str()));
            }
            // The key of what may have been issued is kept, and so is what was broken.
            let is_kept = |path: &str| path.contains(".broken") || path.contains("/over-");
            let is_left = |path: &str| {
                path.contains("/pending/") && !is_kept(path)
                    || path.ends_with("/wake-owed")
                    || path.ends_with(".tmp")
            };
            let files = place.volume.walk();
            let mut left = files.iter().filter_map(|(path, _)| path.to_str());
            if let Some(path) = left.find(|path| is_left(path)) {
                return Some(format!("a file is left: {path}"));
            }
        }
        None
    }
}

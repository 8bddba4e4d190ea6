//! Promise 6: you hear of trouble long before expiry.
//!
//! What is served, and when that was to be renewed, is seen outside; what people know is in their
//! [`Observer`].

use std::collections::BTreeSet;

use rancher_lets_encrypt::core::certificate::Leaf;
use rancher_lets_encrypt::view::notify::notice::Kind;
use time::Duration;
use time::OffsetDateTime;

use crate::domains::Route;
use crate::domains::Wanted;
use crate::observer::Observer;
use crate::outside::Place;
use crate::outside::State;
use crate::promises::Promise;
use crate::promises::freshness::is_overfull;
use crate::rancher::Entry;
use crate::rancher::Owner;
use crate::trouble::Events;
use crate::trouble::Port;

/// What the daemon leaves alone is at risk when there is less of it.
const LEFT: Duration = Duration::days(30);
/// A pass, what lasts, and the rounds in which many are told.
const SLACK: Duration = Duration::hours(2);

impl State {
    /// When everybody must have heard that what is served for a wish is at risk. A third of a certificate's life is
    /// there to renew it (half of a short one), and when half of that is over something is wrong.
    fn risky_at(&self, entry: &Entry, leaf: &Leaf) -> OffsetDateTime {
        if entry.owner == Owner::Person && !self.is_issued(leaf) {
            return leaf.not_after - LEFT;
        }
        self.overdue(leaf)
    }

    /// Looks whether what had to be told was told, by each instance that could.
    pub fn check_heard(&mut self) {
        let now = self.now();
        let slack = self.promises.rules.loop_time + SLACK;
        self.note_rancher(now, slack);
        let is_old = |since: OffsetDateTime| since + slack < now;
        let could = |place: &&Place| {
            place.is_running && place.skew.is_zero() && place.turns_since.is_some_and(is_old)
        };
        let shocks = [self.promises.jumped_at, self.promises.restored_at];
        if shocks.into_iter().flatten().any(|at| !is_old(at)) {
            return;
        }
        let places = self.places.iter().filter(could);
        let mut heard = 0;
        let text = places.map(|place| &self.places[place.home].observer).find_map(|observer| {
            let unheard = self.unheard_part(observer, now, slack);
            unheard.or_else(|| self.unheard_wish(observer, now, slack, &mut heard))
        });
        self.promises.risks_heard += heard;
        if let Some(text) = text {
            self.break_promise(Promise::HeardInTime, text);
        }
    }

    /// Times out of order that follow each other closely count as one.
    fn note_rancher(&mut self, now: OffsetDateTime, slack: Duration) {
        let events = self.trouble.events(Port::Rancher);
        if events != Events::Down {
            self.promises.rancher_down = None;
        } else if self.promises.rancher_down.is_none() {
            self.promises.rancher_down = Some(now);
        }
        if events == Events::Fair {
            let away = self.promises.rancher_away;
            self.promises.rancher_away = away.filter(|(_, until)| now <= *until + slack);
            return;
        }
        let since = self.promises.rancher_away.map_or(now, |(since, _)| since);
        self.promises.rancher_away = Some((since, now));
    }

    /// While Rancher cannot be read nobody knows what is served, and that is what people must hear.
    fn unheard_part(
        &self,
        observer: &Observer,
        now: OffsetDateTime,
        slack: Duration,
    ) -> Option<String> {
        let since = self.promises.rancher_down?;
        let is_unheard = since + slack < now && !observer.dependencies.contains("destination");
        is_unheard.then(|| format!("Rancher is away since {since}, and nobody was told"))
    }

    fn unheard_wish(
        &self,
        observer: &Observer,
        now: OffsetDateTime,
        slack: Duration,
        heard: &mut u64,
    ) -> Option<String> {
        if self.promises.rancher_away.is_some() {
            return None;
        }
        let is_old = |since: OffsetDateTime| since + slack < now;
        for wish in self.domains.wishes.values() {
            // One of a label is told where it is left out.
            if !wish.is_fixed && wish.names.iter().count() > 100 {
                continue;
            }
            let primary = wish.names.primary().as_str();
            let told = observer.certificates.get(primary);
            // Nobody could know of it before names were read again.
            let is_unknown = self
                .promises
                .unread
                .is_some_and(|(since, until)| since <= wish.since + slack && now <= until + slack);
            if is_unknown || !is_old(wish.since) {
                continue;
            }
            let Some(entry) = self.served(wish) else {
                if self.cannot_be_had(wish, now) && told.is_none_or(BTreeSet::is_empty) {
                    return Some(format!("nobody heard that {primary} cannot be obtained"));
                }
                continue;
            };
            let Ok(shown) = &entry.content else { continue };
            let risky_at = self.risky_at(entry, &shown.leaf);
            if !is_old(risky_at) || !is_old(entry.written_at) {
                continue;
            }
            if told.is_none_or(|told| !told.contains(&Kind::AtRisk)) {
                return Some(format!(
                    "nobody heard that {primary} is at risk: it ends {}",
                    shown.leaf.not_after
                ));
            }
            *heard += 1;
        }
        None
    }

    /// Whether a wish was refused for long, all else being well.
    fn cannot_be_had(&self, wish: &Wanted, now: OffsetDateTime) -> bool {
        let long = Duration::hours(26) + self.promises.rules.loop_time * 3;
        let is_old = |since: OffsetDateTime| since + long < now;
        let lead = self.domains.leads.get(wish.names.primary().as_str());
        let is_broken = lead.is_some_and(|lead| lead.route != Route::Well && is_old(lead.since))
            || is_overfull(wish);
        is_broken
            && is_old(wish.since)
            && self.promises.calm_since.is_some_and(is_old)
            && !self.is_short(wish, now, long)
    }
}

//! Promises 1, 2 and 5, and the authority's limits: what is asked of the authority.

use std::collections::BTreeSet;

use rancher_lets_encrypt::core::certificate::CertificateChain;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::answers::Issued;
use crate::domains::Wanted;
use crate::outside::State;
use crate::promises::Certificate;
use crate::promises::Promise;
use crate::promises::SWITCHES;
use crate::rancher::Entry;
use crate::trouble::Events;
use crate::trouble::Port;

/// Failed validations of a name on its first day.
const FIRST_DAY: usize = 5;
/// And on any day after it.
const LATER_DAYS: usize = 2;
/// How long anything counts for a limit, and a day.
const LIMITS: Duration = Duration::days(8);

/// How often an order is finalized, each time perhaps for another certificate.
const MOST_FINALIZES: usize = 3;
/// After this an order that was finalized is stuck.
const STUCK: Duration = Duration::hours(23);
/// How long it takes at most until it is looked at again, with a pass.
const LOOKED_AT_AFTER: Duration = Duration::hours(50);
/// Certificates of one wish within a day.
const CHANGES: usize = 5;
/// What destroys certificates that an authority has in flight, in its own words.
const FORGOTTEN: [&str; 2] = [ACCOUNTS_LOST, STATE_LOST];
/// An authority knows no account any more.
pub(crate) const ACCOUNTS_LOST: &str = "accounts lost";
/// An authority knows nothing any more.
pub(crate) const STATE_LOST: &str = "the authority has lost its state";

/// Directory and names.
type Key = (String, Vec<String>);

/// A line of a PEM text that is part of the signature.
pub(super) fn line(pem: &str) -> String {
    let lines: Vec<&str> = pem.lines().filter(|line| line.len() == 64).collect();
    lines.last().copied().unwrap_or_default().to_owned()
}

/// What may be a line of a certificate or the URL of an order, in PEM or in JSON, where ends of lines are `\n`.
pub(super) fn words(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = content.split(|byte| b"\"\n\\".contains(byte));
    words.flat_map(|word| [Some(word), word.strip_prefix(b"n")].into_iter().flatten())
}

impl State {
    /// A certificate was issued.
    pub(crate) fn issued(&mut self, directory: &str, issued: &Issued, instance: usize) {
        let now = self.now();
        self.promises.issued += 1;
        let Ok(shown) = CertificateChain::parse(&issued.leaf, "") else {
            return;
        };
        let names = issued.names.join(" ");
        let kind = self.authority.of(directory).map_or("", |it| it.name());
        self.note(format!("authority issues a {kind} certificate for {names}"));
        let key = (directory.to_owned(), issued.names.clone());
        let before = self.promises.certificates.get(&key).and_then(|all| {
            let is_good = |certificate: &&Certificate| now < certificate.leaf.not_after;
            all.iter().rfind(is_good).cloned()
        });
        let home = self.places[instance].home;
        if let Some(before) = before
            && let Some((promise, text)) = self.judge(directory, &before, issued, instance, now)
        {
            self.break_promise(promise, text);
        }
        if let Some(text) = self.judge_changes(directory, issued, now) {
            self.break_promise(Promise::NoExtraCertificate, text);
        }
        let certificate = Certificate {
            leaf: shown.leaf,
            line: line(&issued.leaf),
            order: issued.order.clone(),
            at: now,
            home,
            destroyed: None,
        };
        let all = self.promises.certificates.entry(key).or_default();
        all.push(certificate);
        let old = all.len().saturating_sub(4);
        all.drain(..old);
    }

    /// Whether a certificate was issued that another one, which is still valid, made needless.
    fn judge(
        &self,
        directory: &str,
        before: &Certificate,
        issued: &Issued,
        instance: usize,
        now: OffsetDateTime,
    ) -> Option<(Promise, String)> {
        let names = issued.names.join(" ");
        let is_since = |at: Option<OffsetDateTime>| at.is_some_and(|at| before.at <= at);
        let has_jumped = is_since(self.promises.jumped_at);
        let is_another = before.home != self.places[instance].home;
        let lifetime = before.leaf.not_after - before.leaf.not_before;
        let floor = (lifetime / 3_i32).min(Duration::DAY);
        let age = now - before.at;
        // The ledger went with its store, and the other instance has its own.
        let has_ledger = !is_another && !is_since(self.promises.store_lost_at);
        // One that the authority has forgotten within its finalize is asked for again, each time on record.
        let is_asked_again =
            before.order == issued.order && self.times_issued(directory, issued) < MOST_FINALIZES;
        // An authority that knows neither order nor account has issued nothing that anybody could get.
        let is_forgotten = before.destroyed.is_some_and(|why| FORGOTTEN.contains(&why))
            || self.is_denied(&before.order);
        if has_ledger
            && !has_jumped
            && !is_asked_again
            && !is_forgotten
            && age + Duration::minutes(1) < floor
        {
            let text = format!("two certificates for {names} within {age}");
            return Some((Promise::FloorHolds, text));
        }
        let due = self.promises.rules.earliest_renewal(&before.leaf);
        // With an old store, or one of its own, and a Rancher that cannot be read nobody knows of it.
        let is_blind = (is_another || is_since(self.promises.store_lost_at))
            && self.trouble.events(Port::Rancher) != Events::Fair;
        let is_due = due <= self.shown(instance).max(now) + Duration::minutes(1);
        let wish_changed = self
            .domains
            .changed
            .iter()
            .any(|(name, at)| before.at <= *at && names.split(' ').any(|own| own == name));
        let is_hidden = is_another && !self.was_at_rancher(before, issued.opened_at);
        if is_due
            || is_asked_again
            || self.was_withheld(before, issued)
            || wish_changed
            || has_jumped
            || before.destroyed.is_some()
            || is_hidden
            || is_blind
        {
            return None;
        }
        let promise = if is_since(self.promises.store_lost_at) {
            Promise::LostVolumeIsFree
        } else {
            Promise::NoExtraCertificate
        };
        let text = format!(
            "a needless certificate for {names}: the one of {} is due at {due} only",
            before.at
        );
        Some((promise, text))
    }

    /// Whether an authority that has forgotten what it has issued says that nothing was.
    fn is_denied(&self, order: &str) -> bool {
        let (now, mut directories) = (self.now(), self.authority.all().iter());
        directories.any(|directory| directory.denies(order, now))
    }

    /// How often the certificate of an order was issued before.
    fn times_issued(&self, directory: &str, issued: &Issued) -> usize {
        let key = (directory.to_owned(), issued.names.clone());
        let all = self.promises.certificates.get(&key);
        let of_order = |it: &&Certificate| it.order == issued.order;
        all.map_or(0, |all| all.iter().filter(of_order).count())
    }

    /// Whether a certificate was not to be had for a day after it was issued: then the order is stuck, and another one
    /// may be opened until somebody looks again, which is daily.
    fn was_withheld(&self, before: &Certificate, issued: &Issued) -> bool {
        let mut directories = self.authority.all().iter();
        let handed_out_at =
            directories.find_map(|it| it.handed_out_at(&before.order, &before.line));
        match handed_out_at {
            Some(at) => before.at + STUCK < at && issued.opened_at < at + LOOKED_AT_AFTER,
            None => true,
        }
    }

    /// Whether the names of a certificate were changed more often within a day than changes are to be collected for:
    /// at once, after an hour, after six, and daily; besides, the first and one that was due anyway.
    fn judge_changes(
        &self,
        directory: &str,
        issued: &Issued,
        now: OffsetDateTime,
    ) -> Option<String> {
        let day = now - Duration::DAY;
        let is_late = |at: Option<OffsetDateTime>| at.is_some_and(|at| day <= at);
        let shocks = [
            self.promises.jumped_at,
            self.promises.store_lost_at,
            self.promises.other_at,
            self.promises.restored_at,
        ];
        if shocks.into_iter().any(is_late) || self.places.iter().skip(1).any(|it| it.is_there) {
            return None;
        }
        let has = |wish: &&Wanted| {
            let mut names = wish.names.iter().map(|name| name.as_str());
            names.any(|name| issued.names.iter().any(|own| own == name))
        };
        let mut wishes = self.domains.wishes.values().filter(has);
        let wish = wishes.next().filter(|_| wishes.next().is_none())?;
        let changed = |name: &str| self.domains.changed.get(name).is_some_and(|at| day <= *at);
        if wish.names.iter().any(|name| changed(name.as_str())) {
            return None;
        }
        let is_part = |names: &[String]| {
            let of_wish = |name: &String| wish.names.iter().any(|own| own.as_str() == name);
            names.iter().any(of_wish)
        };
        let all = self.promises.certificates.iter();
        let of_wish = all.filter(|((at, names), _)| at == directory && is_part(names));
        let lately: BTreeSet<&str> = of_wish
            .flat_map(|(_, all)| all)
            .filter(|it| day < it.at && it.destroyed.is_none())
            .map(|it| it.order.as_str())
            .collect();
        let count = lately.len() + usize::from(!lately.contains(issued.order.as_str()));
        (CHANGES < count).then(|| format!("{count} certificates for {} within a day", wish.names))
    }

    /// Whether somebody else could take a certificate from Rancher at a time.
    fn was_at_rancher(&self, certificate: &Certificate, at: OffsetDateTime) -> bool {
        let is_it =
            |shown: &CertificateChain| shown.leaf.fingerprint == certificate.leaf.fingerprint;
        let was_there = |entry: &Entry| {
            entry.content.as_ref().is_ok_and(is_it) && entry.written_at + Duration::minutes(1) < at
        };
        self.rancher.gives_keys && self.rancher.entries.iter().any(was_there)
    }

    /// The certificates of a list that can be had without issuing: with their key at Rancher or on a volume, or by
    /// their order.
    fn within_reach(&self, all: Vec<(Key, Certificate)>) -> Vec<(Key, Certificate)> {
        let now = self.now();
        let places = self.places.iter().filter(|place| place.is_there);
        let files = places.flat_map(|place| place.volume.walk());
        let words: BTreeSet<&[u8]> = files.flat_map(|(_, content)| words(content)).collect();
        let is_shown = |certificate: &Certificate| {
            let mut directories = self.authority.all().iter();
            directories.any(|directory| directory.shows(&certificate.order))
        };
        let is_on_volume = |certificate: &Certificate| {
            words.contains(certificate.line.as_bytes())
                || words.contains(certificate.order.as_bytes()) && is_shown(certificate)
        };
        all.into_iter().filter(|(_, it)| is_on_volume(it) || self.was_at_rancher(it, now)).collect()
    }

    /// The outside changes something on its own. Certificates that are out of reach afterwards may be issued anew.
    pub fn destroy(&mut self, why: &'static str, change: impl FnOnce(&mut Self)) {
        let now = self.now();
        let live = self
            .promises
            .certificates
            .iter()
            .flat_map(|(key, all)| all.iter().map(move |certificate| (key, certificate)))
            .filter(|(_, certificate)| {
                now < certificate.leaf.not_after && certificate.destroyed.is_none()
            })
            .map(|(key, certificate)| (key.clone(), certificate.clone()))
            .collect();
        let before = self.within_reach(live);
        change(self);
        let after: BTreeSet<String> = self
            .within_reach(before.clone())
            .into_iter()
            .map(|(_, certificate)| certificate.order)
            .collect();
        for (key, certificate) in before {
            if after.contains(&certificate.order) {
                continue;
            }
            let all = self.promises.certificates.get_mut(&key);
            let found = all.and_then(|all| all.iter_mut().find(|it| it.at == certificate.at));
            if let Some(found) = found {
                found.destroyed = Some(why);
            }
        }
    }

    /// The first promise that is broken ends the simulation.
    pub(crate) fn break_promise(&mut self, promise: Promise, text: String) {
        self.note(format!("BROKEN {promise:?}: {text}"));
        let history = self.history.last();
        self.promises.break_promise(promise, text, history);
    }

    /// A validation failed at the authority.
    pub(crate) fn failed_validation(&mut self, account: &str, name: &str) {
        let now = self.now();
        self.promises.failed += 1;
        let is_since =
            |at: Option<OffsetDateTime>, first: OffsetDateTime| at.is_some_and(|at| first <= at);
        let (jumped, lost) = (self.promises.jumped_at, self.promises.store_lost_at);
        let key = (account.to_owned(), name.to_owned());
        let failures = self.promises.failures.entry(key).or_default();
        // What was known was lost: it begins again.
        if failures.first().is_some_and(|first| is_since(jumped, *first) || is_since(lost, *first))
        {
            failures.clear();
        }
        failures.push(now);
        let first = failures[0];
        let day = |from: OffsetDateTime| {
            let end = from + Duration::DAY;
            failures.iter().filter(|at| from <= **at && **at < end).count()
        };
        let on_first = day(first);
        // A process that was down goes on with its first tries when it is back.
        let lately =
            failures.iter().skip(FIRST_DAY).filter(|at| now - Duration::DAY < **at).count();
        let text = format!("{name}: {on_first} on the first day, {lately} in the last day");
        if failures.len() > 100 {
            failures.remove(FIRST_DAY);
        }
        if on_first > FIRST_DAY || lately > LATER_DAYS {
            self.break_promise(Promise::BrokenNameIsCheap, text);
        }
    }

    /// Looks for limits that were hit since the last time.
    pub fn check_limits(&mut self) {
        let hits: Vec<_> =
            self.authority.all().iter().flat_map(|directory| &directory.hits).cloned().collect();
        let new = hits.get(self.promises.limits_seen..).unwrap_or_default();
        self.promises.limits_seen = hits.len();
        if !SWITCHES.knows_limits {
            return;
        }
        for hit in new {
            // What was asked by somebody else, or is on a ledger that was lost, could not be known, and times that a
            // wrong clock wrote down neither.
            let is_recent = |at: Option<OffsetDateTime>| at.is_some_and(|at| hit.at < at + LIMITS);
            let is_known =
                ![self.promises.other_at, self.promises.store_lost_at, self.promises.jumped_at]
                    .into_iter()
                    .any(is_recent);
            let is_urgent = self.promises.certificates.iter().any(|((_, names), all)| {
                let is_same =
                    hit.names.iter().all(|name| names.iter().any(|own| own == name.as_str()));
                let is_late = |certificate: &Certificate| {
                    let due = self.promises.rules.earliest_renewal(&certificate.leaf);
                    due + (certificate.leaf.not_after - due) / 2 <= hit.at
                };
                // It may have been renewed since.
                let mut before = all.iter().rev().filter(|it| it.at <= hit.at);
                is_same && before.next().is_some_and(is_late)
            });
            if is_known && !is_urgent {
                let text = format!(
                    "{} asked for what was knowably too much: {}",
                    hit.instance, hit.detail
                );
                self.break_promise(Promise::LimitsAreKnown, text);
            }
        }
    }
}

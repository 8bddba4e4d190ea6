//! The ledger: an append-only account of what must not be forgotten by a restart.
//!
//! Waits after failures, when a certificate of a set of names was last asked for, and what is left of the limits of
//! an authority. What costs something is written down before it is asked, and completed after the answer.

use std::collections::BTreeMap;

use time::Duration;
use time::OffsetDateTime;

use crate::core::budget::Level;
use crate::core::budget::Levels;
use crate::core::budget::Limits;
use crate::core::budget::OrderCost;
use crate::core::budget::Reserved;
use crate::core::budget::UsedUp;
use crate::core::certificate::Leaf;
use crate::core::fingerprint::Fingerprint;
use crate::core::names::NameSet;
use crate::core::schedule;
use crate::store::ledger::event::Event;
use crate::store::ledger::rollback::Rollback;

pub mod event;
pub(super) mod file;
mod rollback;
mod waits;

pub use event::Line;
pub use event::Subject;
pub use event::Wait;

#[derive(Debug, Clone, Copy)]
struct LastIssue {
    at: OffsetDateTime,
    /// The last certificate of the set, and its lifetime.
    issued: Option<(Fingerprint, Duration)>,
}

/// The ledger as it is remembered.
#[derive(Debug, Default)]
pub struct Ledger {
    waits: BTreeMap<Subject, Wait>,
    issues: BTreeMap<(String, NameSet), LastIssue>,
    levels: Levels,
    /// Since when first certificates are wished for that have to wait, by primary name.
    wishes: BTreeMap<String, OffsetDateTime>,
    /// When it was found that a part of it could not be read.
    doubted_at: Option<OffsetDateTime>,
    rollback: Vec<Rollback>,
}

/// What was asked for and not issued.
#[derive(Debug, Clone, Copy)]
pub struct NotIssued {
    /// When it was asked for the last time.
    pub last: OffsetDateTime,
    /// How often that came to nothing.
    pub times: usize,
    /// When it was asked for before that, and may have been issued.
    pub before: Option<OffsetDateTime>,
}

/// How long a certificate that was asked for is remembered: by then neither the floor nor a limit asks for it.
const KNOWN: Duration = Duration::days(8);

/// How long a wish is remembered that nothing came of.
const WISHED: Duration = Duration::days(400);

/// How long a failure that is over still counts as one in a row.
const REMEMBERED: Duration = Duration::days(60);

impl Ledger {
    /// What is left of the limits of an authority.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// What a look at how everything stands shows of it: not what was asked for, nor what waits for a clock.
    pub fn shown(&self) -> Self {
        Self {
            waits: self.waits.clone(),
            levels: self.levels.clone(),
            doubted_at: self.doubted_at,
            issues: BTreeMap::new(),
            wishes: BTreeMap::new(),
            rollback: Vec::new(),
        }
    }

    /// Until when every name counts as just tried, because nobody knows what was tried.
    pub fn doubt(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let until = self.doubted_at?.saturating_add(schedule::after_refusal(1));
        (now < until).then_some(until)
    }

    /// Whether anything is on record about certificates of a set of names.
    pub fn knows(&self, directory: &str, names: &NameSet) -> bool {
        self.issues.contains_key(&(directory.to_owned(), names.clone()))
    }

    /// Since when a first certificate is wished for.
    pub fn wished(&self, certificate: &str) -> Option<OffsetDateTime> {
        self.wishes.get(certificate).copied()
    }

    /// Notes a wish that has to wait, if it is new.
    pub fn wish(&mut self, certificate: String, now: OffsetDateTime) -> Option<Line> {
        let is_new = !self.wishes.contains_key(&certificate);
        is_new.then(|| self.note(Event::Wished { certificate }, now))
    }

    /// Cuts what lies later than it can: a clock that was ahead has written it. What was there is kept for a while,
    /// for the case that the clock is behind now ([`Self::recall`]).
    pub fn clamp_future(&mut self, now: OffsetDateTime) {
        let rollback = self.rollback(now);
        self.rollback.extend(rollback);
        self.doubted_at = self.doubted_at.map(|at| at.min(now));
        for (subject, wait) in &mut self.waits {
            if let Some(failed_at) = wait.failed_at.filter(|at| now < *at) {
                wait.until = now.saturating_add(wait.until - failed_at);
                wait.failed_at = Some(now);
            }
            wait.until = wait.until.min(now.saturating_add(subject.longest()));
        }
        for last in self.issues.values_mut() {
            last.at = last.at.min(now);
        }
        self.levels.clamp_future(now);
    }

    /// Whether nothing is lost when only what is remembered is written down: not while a cut may turn out to be wrong.
    pub(crate) fn is_all(&self) -> bool {
        self.rollback.is_empty()
    }

    /// Takes what an account costs, or says why it must not be made. Nothing may be asked before the line is written.
    pub fn registering(
        &mut self,
        directory: &str,
        limits: Option<&Limits>,
        now: OffsetDateTime,
    ) -> Result<Line, UsedUp> {
        let mut levels = Vec::new();
        if let Some(limits) = limits {
            self.levels.check_account(directory, limits, now)?;
            levels.push(self.levels.spend_account(directory, limits, now));
        }
        let directory = directory.to_owned();
        Ok(self.note(Event::Registering { directory, levels }, now))
    }

    /// Notes the account that was made.
    pub fn registered(&mut self, directory: &str, account: &str, now: OffsetDateTime) -> Line {
        let (directory, account) = (directory.to_owned(), account.to_owned());
        self.note(Event::Registered { directory, account }, now)
    }

    /// Takes what an order costs. Nothing may be asked before the line is written.
    pub fn ordering(
        &mut self,
        asked: &OrderCost<'_>,
        limits: Option<&Limits>,
        now: OffsetDateTime,
    ) -> Line {
        let take = |limits| self.levels.spend_order(asked, limits, now);
        let event = Event::Ordering {
            directory: asked.directory.to_owned(),
            names: asked.names.clone(),
            is_renewal: asked.is_renewal,
            levels: limits.map_or_else(Vec::new, take),
        };
        self.note(event, now)
    }

    /// Gives back what an order took that was not asked for, because the line could not be written.
    pub fn not_ordered(&mut self, asked: &OrderCost<'_>, limits: &Limits, now: OffsetDateTime) {
        self.levels.give_back_order(asked, limits, now);
    }

    /// Keeps the place of a certificate that an order at work will ask for: in memory, since no order is at work
    /// after a restart.
    pub fn reserve(&mut self, asked: &OrderCost<'_>) -> Reserved {
        self.levels.reserve(asked)
    }

    /// Gives a place back.
    pub fn release(&mut self, reserved: Reserved) {
        self.levels.release(reserved);
    }

    /// Notes the order that was opened.
    pub fn ordered(&mut self, asked: &OrderCost<'_>, order: &str, now: OffsetDateTime) -> Line {
        let event = Event::Ordered {
            directory: asked.directory.to_owned(),
            names: asked.names.clone(),
            order: order.to_owned(),
        };
        self.note(event, now)
    }

    /// Gives back what a certificate took that was asked for and was not issued: the floor, unless another was asked for
    /// since, and the limits.
    pub fn not_issued(
        &mut self,
        asked: &OrderCost<'_>,
        limits: Option<&Limits>,
        back: NotIssued,
        now: OffsetDateTime,
    ) -> Line {
        let NotIssued { last, times, before } = back;
        let mut levels = Vec::new();
        for _ in 0..times {
            levels =
                limits.map_or_else(Vec::new, |limits| self.levels.give_back(asked, limits, now));
        }
        let event = Event::NotIssued {
            directory: asked.directory.to_owned(),
            names: asked.names.clone(),
            last,
            before,
            levels,
        };
        self.note(event, now)
    }

    /// Notes a certificate that is known from elsewhere: the store was lost, or another instance asked for it.
    pub fn seed(
        &mut self,
        asked: &OrderCost<'_>,
        leaf: &Leaf,
        limits: Option<&Limits>,
        now: OffsetDateTime,
    ) -> Vec<Line> {
        // An authority dates certificates back by an hour.
        let at = leaf.not_before.saturating_add(Duration::HOUR).min(now);
        let finalizing = self.finalizing(asked, limits, at);
        let issued = self.issued(asked.directory, asked.names.clone(), leaf, at);
        vec![finalizing, issued]
    }

    /// When the next certificate of a set of names may be asked for at an authority, if not now.
    pub fn floor(
        &self,
        directory: &str,
        names: &NameSet,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let last = self.issues.get(&(directory.to_owned(), names.clone()))?;
        // The file may hold any date.
        let opens =
            last.at.saturating_add(schedule::floor(last.issued.map(|(_, lifetime)| lifetime)));
        (now < opens).then_some(opens)
    }

    /// Takes what a certificate costs that is about to be asked for. Nothing may be asked before the line is written.
    pub fn finalizing(
        &mut self,
        asked: &OrderCost<'_>,
        limits: Option<&Limits>,
        now: OffsetDateTime,
    ) -> Line {
        let take = |limits| self.levels.spend_certificate(asked, limits, now);
        let event = Event::Finalizing {
            directory: asked.directory.to_owned(),
            names: asked.names.clone(),
            levels: limits.map_or_else(Vec::new, take),
        };
        self.note(event, now)
    }

    /// Notes a certificate that was issued.
    pub fn issued(
        &mut self,
        directory: &str,
        names: NameSet,
        leaf: &Leaf,
        now: OffsetDateTime,
    ) -> Line {
        let event = Event::Issued {
            directory: directory.to_owned(),
            names,
            leaf: leaf.fingerprint,
            lifetime: leaf.lifetime().whole_seconds(),
        };
        self.note(event, now)
    }

    fn note(&mut self, event: Event, at: OffsetDateTime) -> Line {
        self.apply(at, event.clone());
        Line { at, event }
    }

    fn apply(&mut self, at: OffsetDateTime, event: Event) {
        match event {
            Event::Failed { subject, wait, levels } => {
                self.waits.insert(subject, wait);
                self.raise_levels(levels);
            }
            Event::Cleared { subject } => {
                self.waits.remove(&subject);
                if let Subject::Name { directory, account, name } = &subject {
                    self.levels.succeed(directory, account, name);
                }
            }
            Event::Validated { directory, account, name } => {
                self.levels.succeed(&directory, &account, &name);
                self.waits.remove(&Subject::Name { directory, account, name });
            }
            Event::Wished { certificate } => drop(self.wishes.entry(certificate).or_insert(at)),
            // Of lines that are written side by side the earlier one may come last.
            Event::Registering { levels, .. } | Event::Ordering { levels, .. } => {
                self.raise_levels(levels);
            }
            Event::Levels { levels } => {
                for level in levels {
                    self.levels.set(level);
                }
            }
            Event::NotIssued { directory, names, last, before, levels } => {
                for level in levels {
                    self.levels.set(level);
                }
                let key = (directory, names);
                if let Some(issue) = self.issues.get_mut(&key).filter(|issue| issue.at <= last) {
                    // The floor of the certificate before was over when this one was asked for.
                    let floor = schedule::floor(issue.issued.map(|(_, lifetime)| lifetime));
                    issue.at = before.unwrap_or_else(|| last.saturating_sub(floor));
                    if before.is_none() && issue.issued.is_none() {
                        self.issues.remove(&key);
                    }
                }
            }
            Event::Registered { .. } | Event::Ordered { .. } => {}
            Event::Finalizing { directory, names, levels } => {
                self.raise_levels(levels);
                let last =
                    self.issues.entry((directory, names)).or_insert(LastIssue { at, issued: None });
                last.at = at;
            }
            Event::Issued { directory, names, lifetime, leaf } => {
                for name in &names {
                    self.wishes.remove(name.as_str());
                }
                let last =
                    self.issues.entry((directory, names)).or_insert(LastIssue { at, issued: None });
                last.issued = Some((leaf, Duration::seconds(lifetime)));
            }
        }
    }

    fn raise_levels(&mut self, levels: Vec<Level>) {
        for level in levels {
            self.levels.raise(level);
        }
    }

    /// The shortest account of what still matters at `now`.
    pub fn compacted(&self, now: OffsetDateTime) -> Vec<Line> {
        let matters = |(_, wait): &(&Subject, &Wait)| now < wait.until.saturating_add(REMEMBERED);
        let failed = self.waits.iter().filter(matters).map(|(subject, wait)| Line {
            at: now,
            event: Event::Failed {
                subject: subject.clone(),
                wait: wait.clone(),
                levels: Vec::new(),
            },
        });
        let levels = self
            .levels
            .iter(now)
            .map(|level| Line { at: now, event: Event::Levels { levels: vec![level] } });
        let wishes = self.wishes.iter();
        let wishes = wishes.filter(|(_, at)| now < at.saturating_add(WISHED));
        let wishes = wishes.map(|(certificate, at)| Line {
            at: *at,
            event: Event::Wished { certificate: certificate.clone() },
        });
        let issues = self.issues.iter().filter(|(_, last)| now < last.at.saturating_add(KNOWN));
        let issued = issues.flat_map(|((directory, names), last)| {
            let finalizing = Event::Finalizing {
                directory: directory.clone(),
                names: names.clone(),
                // They have lines of their own.
                levels: Vec::new(),
            };
            let lifetime = last.issued.map(|(leaf, lifetime)| Event::Issued {
                directory: directory.clone(),
                names: names.clone(),
                leaf,
                lifetime: lifetime.whole_seconds(),
            });
            std::iter::once(finalizing).chain(lifetime).map(|event| Line { at: last.at, event })
        });
        failed.chain(levels).chain(wishes).chain(issued).collect()
    }
}

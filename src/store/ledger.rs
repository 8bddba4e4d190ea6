//! The ledger: an append-only account of what must not be forgotten by a restart.
//!
//! Waits after failures, when a certificate of a set of names was last asked for, and what is left of the limits of
//! an authority. What costs something is written down before it is asked, and completed after the answer.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::budget::Asked;
use crate::budget::Level;
use crate::budget::Levels;
use crate::budget::Limits;
use crate::budget::UsedUp;
use crate::certificate::Leaf;
use crate::fingerprint::Fingerprint;
use crate::names::DomainName;
use crate::names::NameSet;
use crate::ports::Disk;
use crate::schedule;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::While;

/// What a wait is about: one clock each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Subject {
    /// A validation that failed, or a refusal by the authority.
    Name {
        /// Directory URL of the authority.
        directory: String,
        /// URL of the account; empty before there is one.
        account: String,
        /// The name.
        name: DomainName,
    },
    /// Our own token could not be fetched through the name.
    SelfCheck {
        /// The name.
        name: DomainName,
    },
    /// An attempt that came to nothing for reasons that are nobody's: a full disk, a stalled answer.
    Attempt {
        /// The lineage or primary name.
        certificate: String,
    },
    /// A certificate could not be written to Rancher, or taken back from it.
    Push {
        /// Its name at Rancher.
        certificate: String,
    },
    /// Balancers could not be woken.
    Wake,
    /// Rancher gave no key with a certificate of ours.
    Key {
        /// Its leaf.
        leaf: Fingerprint,
    },
    /// No account could be made.
    Account {
        /// Directory URL of the authority.
        directory: String,
    },
    /// The authority cannot be reached, or fails: one breaker for all.
    Authority {
        /// Directory URL of the authority.
        directory: String,
    },
    /// A certificate is about to expire, and the authority was asked in spite of our own brakes: once a day.
    Overruled {
        /// Its primary name.
        certificate: String,
    },
}

impl Subject {
    /// The longest that anything of this kind is ever waited for; what says more was written by a clock that was
    /// ahead.
    fn longest(&self) -> Duration {
        match self {
            // An authority may say a week, and a little.
            Self::Name { .. } | Self::Account { .. } => Duration::days(8),
            // The settings allow a `LOOP_TIME` of a day.
            Self::SelfCheck { .. }
            | Self::Attempt { .. }
            | Self::Push { .. }
            | Self::Wake
            | Self::Key { .. }
            | Self::Authority { .. }
            | Self::Overruled { .. } => Duration::DAY,
        }
    }
}

/// A wait after failures in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// How many failures in a row.
    pub failures: u32,
    /// When to try again.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// What happened the last time, in plain words.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Failed {
        subject: Subject,
        #[serde(flatten)]
        wait: Wait,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        levels: Vec<Level>,
    },
    Cleared {
        subject: Subject,
    },
    Registering {
        directory: String,
        levels: Vec<Level>,
    },
    Ordering {
        directory: String,
        names: NameSet,
        is_renewal: bool,
        levels: Vec<Level>,
    },
    Wished {
        certificate: String,
    },
    /// An order came to nothing, or only levels are left of what was asked.
    Levels {
        levels: Vec<Level>,
    },
    Finalizing {
        directory: String,
        names: NameSet,
    },
    Issued {
        directory: String,
        names: NameSet,
        leaf: Fingerprint,
        /// Seconds from start to end of validity.
        lifetime: i64,
    },
}

/// One line of the ledger, to be written down.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(flatten)]
    event: Event,
}

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

    /// Until when every name counts as just tried, because nobody knows what was tried.
    pub fn doubt(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let until = self.doubted_at?.saturating_add(schedule::after_refusal(1));
        (now < until).then_some(until)
    }

    /// Whether anything is on record about certificates of a set of names.
    pub fn knows(&self, directory: &str, names: &NameSet) -> bool {
        self.issues
            .contains_key(&(directory.to_owned(), names.clone()))
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

    /// Cuts what lies later than it can: a clock that was ahead has written it.
    pub fn cut(&mut self, now: OffsetDateTime) {
        for (subject, wait) in &mut self.waits {
            wait.until = wait.until.min(now.saturating_add(subject.longest()));
        }
        for last in self.issues.values_mut() {
            last.at = last.at.min(now);
        }
        self.levels.cut(now);
    }

    /// Takes what an account costs, or says why it must not be made. Nothing may be asked before the line is written.
    pub fn registering(
        &mut self,
        directory: &str,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Result<Line, UsedUp> {
        self.levels.check_account(directory, limits, now)?;
        let levels = vec![self.levels.spend_account(directory, limits, now)];
        let directory = directory.to_owned();
        Ok(self.note(Event::Registering { directory, levels }, now))
    }

    /// Takes what an order and its certificate cost. Nothing may be asked before the line is written.
    pub fn ordering(&mut self, asked: &Asked<'_>, limits: &Limits, now: OffsetDateTime) -> Line {
        let event = Event::Ordering {
            directory: asked.directory.to_owned(),
            names: asked.names.clone(),
            is_renewal: asked.is_renewal,
            levels: self.levels.spend(asked, limits, now),
        };
        self.note(event, now)
    }

    /// Gives back what an order took that came to nothing.
    pub fn came_to_nothing(
        &mut self,
        asked: &Asked<'_>,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Line {
        let levels = self.levels.give_back(asked, limits, now);
        self.note(Event::Levels { levels }, now)
    }

    /// Notes a validation that failed, which takes from the limits of its name.
    pub fn fail_validation(
        &mut self,
        subject: Subject,
        wait: Wait,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Line {
        let levels = if let Subject::Name {
            directory,
            account,
            name,
        } = &subject
        {
            self.levels.fail(directory, account, name, limits, now)
        } else {
            Vec::new()
        };
        self.note_failure(subject, wait, levels, now)
    }

    fn note_failure(
        &mut self,
        subject: Subject,
        wait: Wait,
        levels: Vec<Level>,
        now: OffsetDateTime,
    ) -> Line {
        let event = Event::Failed {
            subject,
            wait,
            levels,
        };
        self.note(event, now)
    }

    /// Notes a certificate that is known from elsewhere: the store was lost, or another instance asked for it.
    pub fn seed(
        &mut self,
        asked: &Asked<'_>,
        leaf: &Leaf,
        limits: Option<&Limits>,
        now: OffsetDateTime,
    ) -> Vec<Line> {
        // An authority dates certificates back by an hour.
        let at = leaf.not_before.saturating_add(Duration::HOUR).min(now);
        let levels = limits.map_or_else(Vec::new, |limits| self.levels.spend(asked, limits, at));
        let finalizing = self.finalizing(asked.directory, asked.names.clone(), at);
        let issued = self.issued(asked.directory, asked.names.clone(), leaf, at);
        vec![finalizing, issued, self.note(Event::Levels { levels }, at)]
    }

    /// The wait that is on record for a subject, over or not.
    pub fn wait(&self, subject: &Subject) -> Option<&Wait> {
        self.waits.get(subject)
    }

    /// The wait for a subject, if it is not over.
    pub fn waiting(&self, subject: &Subject, now: OffsetDateTime) -> Option<&Wait> {
        self.waits.get(subject).filter(|wait| now < wait.until)
    }

    /// How often a subject has failed in a row.
    pub fn failures(&self, subject: &Subject) -> u32 {
        let on_record = self.waits.get(subject).map(|wait| wait.failures);
        let doubted =
            u32::from(self.doubted_at.is_some() && matches!(subject, Subject::Name { .. }));
        on_record.unwrap_or(doubted)
    }

    /// An account at an authority whose names have failed.
    pub fn waiting_account(&self, directory: &str) -> Option<String> {
        let account = |subject: &Subject| match subject {
            Subject::Name {
                directory: there,
                account,
                ..
            } if there == directory && !account.is_empty() => Some(account.clone()),
            _ => None,
        };
        self.waits.keys().rev().find_map(account)
    }

    /// The end of the first wait that is not over.
    pub fn next_end(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.waits
            .values()
            .map(|wait| wait.until)
            .filter(|until| now < *until)
            .min()
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
        let opens = last
            .at
            .saturating_add(schedule::floor(last.issued.map(|(_, lifetime)| lifetime)));
        (now < opens).then_some(opens)
    }

    /// Notes a failure.
    pub fn fail(&mut self, subject: Subject, wait: Wait, now: OffsetDateTime) -> Line {
        self.note_failure(subject, wait, Vec::new(), now)
    }

    /// Notes that a subject is well again; nothing is to be written if it was.
    pub fn clear(&mut self, subject: &Subject, now: OffsetDateTime) -> Option<Line> {
        self.wait(subject)?;
        Some(self.note(
            Event::Cleared {
                subject: subject.clone(),
            },
            now,
        ))
    }

    /// Notes that a certificate is about to be asked for. Nothing may be asked before the line is written.
    pub fn finalizing(&mut self, directory: &str, names: NameSet, now: OffsetDateTime) -> Line {
        self.note(
            Event::Finalizing {
                directory: directory.to_owned(),
                names,
            },
            now,
        )
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
            Event::Failed {
                subject,
                wait,
                levels,
            } => {
                self.waits.insert(subject, wait);
                self.set_levels(levels);
            }
            Event::Cleared { subject } => {
                self.waits.remove(&subject);
                if let Subject::Name {
                    directory,
                    account,
                    name,
                } = &subject
                {
                    self.levels.succeed(directory, account, name);
                }
            }
            Event::Wished { certificate } => drop(self.wishes.entry(certificate).or_insert(at)),
            Event::Registering { levels, .. }
            | Event::Ordering { levels, .. }
            | Event::Levels { levels } => self.set_levels(levels),
            Event::Finalizing { directory, names } => {
                let last = self
                    .issues
                    .entry((directory, names))
                    .or_insert(LastIssue { at, issued: None });
                last.at = at;
            }
            Event::Issued {
                directory,
                names,
                lifetime,
                leaf,
            } => {
                for name in &names {
                    self.wishes.remove(name.as_str());
                }
                let last = self
                    .issues
                    .entry((directory, names))
                    .or_insert(LastIssue { at, issued: None });
                last.issued = Some((leaf, Duration::seconds(lifetime)));
            }
        }
    }

    fn set_levels(&mut self, levels: Vec<Level>) {
        for level in levels {
            self.levels.set(level);
        }
    }

    /// The shortest account of what still matters at `now`.
    pub fn compacted(&self, now: OffsetDateTime) -> Vec<Line> {
        let matters = |(_, wait): &(&Subject, &Wait)| now < wait.until.saturating_add(REMEMBERED);
        let failed = self
            .waits
            .iter()
            .filter(matters)
            .map(|(subject, wait)| Line {
                at: now,
                event: Event::Failed {
                    subject: subject.clone(),
                    wait: wait.clone(),
                    levels: Vec::new(),
                },
            });
        let levels = self.levels.iter(now).map(|level| Line {
            at: now,
            event: Event::Levels {
                levels: vec![level],
            },
        });
        let wishes = self.wishes.iter();
        let wishes = wishes.filter(|(_, at)| now < at.saturating_add(WISHED));
        let wishes = wishes.map(|(certificate, at)| Line {
            at: *at,
            event: Event::Wished {
                certificate: certificate.clone(),
            },
        });
        let issues = self
            .issues
            .iter()
            .filter(|(_, last)| now < last.at.saturating_add(KNOWN));
        let issued = issues.flat_map(|((directory, names), last)| {
            let finalizing = Event::Finalizing {
                directory: directory.clone(),
                names: names.clone(),
            };
            let lifetime = last.issued.map(|(leaf, lifetime)| Event::Issued {
                directory: directory.clone(),
                names: names.clone(),
                leaf,
                lifetime: lifetime.whole_seconds(),
            });
            std::iter::once(finalizing)
                .chain(lifetime)
                .map(|event| Line { at: last.at, event })
        });
        failed.chain(levels).chain(wishes).chain(issued).collect()
    }
}

/// Lines above which the file is rewritten, if most of them no longer matter.
const COMPACTED_ABOVE: usize = 1000;

/// How long the file is. Locked while it is written: a line that fails is taken back, and must not take another
/// one with it.
#[derive(Debug)]
pub(super) struct Length {
    lines: usize,
    /// From here on it is worth a look how many of them matter.
    looked_at_above: usize,
}

impl Default for Length {
    fn default() -> Self {
        Self {
            lines: 0,
            looked_at_above: COMPACTED_ABOVE,
        }
    }
}

const LEDGER: &str = "ledger.jsonl";

impl<D: Disk> Store<D> {
    fn ledger_path(&self) -> PathBuf {
        self.own(LEDGER)
    }

    /// Reads the ledger. A line that is broken is told and passed over; a torn last one is closed.
    pub fn read_ledger(&self, now: OffsetDateTime) -> Result<Ledger, StoreError> {
        let path = self.ledger_path();
        let content = match self.read(&path) {
            Err(error) if error.is_not_found() => return Ok(Ledger::default()),
            content => content?,
        };
        let mut ledger = Ledger::default();
        let mut lines = 0;
        let texts = content.split(|byte| *byte == b'\n');
        let texts: Vec<_> = texts.filter(|line| !line.is_empty()).collect();
        let is_torn = content.last().is_some_and(|byte| *byte != b'\n');
        for line in &texts {
            lines += 1;
            match serde_json::from_slice::<Line>(line) {
                Ok(line) => ledger.apply(line.at, line.event),
                Err(error) => {
                    tracing::warn!(path = %path.display(), line = lines, %error, "broken line of the ledger passed over");
                    // What was being written when the power went was not asked for yet.
                    if !(is_torn && lines == texts.len()) {
                        ledger.doubted_at = Some(now);
                    }
                }
            }
        }
        if is_torn {
            self.disk.append(&path, b"\n").during("write", &path)?;
        }
        ledger.cut(now);
        self.ledger_length().lines = lines;
        self.compact_ledger(|| ledger.compacted(now))?;
        Ok(ledger)
    }

    /// Writes a line down, with those that others want written at the same moment: one sync serves all.
    pub fn append_ledger(&self, line: &Line) -> Result<(), StoreError> {
        let path = self.ledger_path();
        let text = text(std::slice::from_ref(line), &path)?;
        let ticket = self.queue().push(&text);
        let mut length = self.ledger_length();
        // Whoever comes first writes for all that queue behind.
        let (batch, lines) = match self.queue().take(ticket) {
            Taken::Done(result) => return result.during("write", &path),
            Taken::Batch(batch, lines) => (batch, lines),
        };
        let written = self.disk.append(&path, &batch);
        if written.is_ok() {
            length.lines += lines;
        }
        self.queue().done(lines, &written);
        written.during("write", &path)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rewrites a ledger that has grown long, if most of it no longer matters; `matters` is what does.
    pub fn compact_ledger(&self, matters: impl FnOnce() -> Vec<Line>) -> Result<(), StoreError> {
        let mut length = self.ledger_length();
        if length.lines <= length.looked_at_above {
            return Ok(());
        }
        // What is noted from here on is appended behind it.
        let matters = matters();
        if matters.len() * 2 < length.lines {
            let path = self.ledger_path();
            let text = text(&matters, &path)?;
            self.disk
                .write(&self.own(""), &[(LEDGER, &text)])
                .during("write", &path)?;
            length.lines = matters.len();
        }
        length.looked_at_above = COMPACTED_ABOVE.max(2 * matters.len());
        Ok(())
    }

    fn ledger_length(&self) -> MutexGuard<'_, Length> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<u8>,
    /// How many lines were ever queued, and how many of them are dealt with.
    queued: usize,
    done: usize,
    /// What went wrong with the lines of each batch that was not written.
    failed: Vec<(std::ops::RangeInclusive<usize>, io::ErrorKind, String)>,
}

enum Taken {
    /// Somebody else wrote it, or failed to.
    Done(io::Result<()>),
    /// So many lines are to be written now, this one among them.
    Batch(Vec<u8>, usize),
}

impl Queue {
    fn push(&mut self, line: &[u8]) -> usize {
        self.waiting.extend_from_slice(line);
        self.queued += 1;
        self.queued
    }

    fn take(&mut self, ticket: usize) -> Taken {
        if ticket > self.done {
            return Taken::Batch(std::mem::take(&mut self.waiting), self.queued - self.done);
        }
        let failed = self
            .failed
            .iter()
            .find(|(tickets, ..)| tickets.contains(&ticket));
        Taken::Done(failed.map_or(Ok(()), |(_, kind, text)| {
            Err(io::Error::new(*kind, text.clone()))
        }))
    }

    fn done(&mut self, lines: usize, written: &io::Result<()>) {
        /// Nobody waits for a batch that is this many batches old.
        const REMEMBERED: usize = 64;
        let tickets = self.done + 1..=self.done + lines;
        self.failed.extend(
            written
                .as_ref()
                .err()
                .map(|error| (tickets, error.kind(), error.to_string())),
        );
        if self.failed.len() > REMEMBERED {
            self.failed.remove(0);
        }
        self.done += lines;
    }
}

fn text(lines: &[Line], path: &std::path::Path) -> Result<Vec<u8>, StoreError> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)
            .map_err(io::Error::other)
            .during("write", path)?;
        text.push(b'\n');
    }
    Ok(text)
}

//! The ledger: an append-only account of what must not be forgotten by a restart.
//!
//! Waits after failures, and when a certificate of a set of names was last asked for. What costs something is
//! written down before it is asked.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

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
    },
    Cleared {
        subject: Subject,
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
}

impl Ledger {
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
        self.waits.get(subject).map_or(0, |wait| wait.failures)
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
        self.note(Event::Failed { subject, wait }, now)
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
            Event::Failed { subject, wait } => drop(self.waits.insert(subject, wait)),
            Event::Cleared { subject } => drop(self.waits.remove(&subject)),
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
                let last = self
                    .issues
                    .entry((directory, names))
                    .or_insert(LastIssue { at, issued: None });
                last.issued = Some((leaf, Duration::seconds(lifetime)));
            }
        }
    }

    /// The shortest account of what still matters at `now`.
    pub fn compacted(&self, now: OffsetDateTime) -> Vec<Line> {
        let failed = self.waits.iter().map(|(subject, wait)| Line {
            at: now,
            event: Event::Failed {
                subject: subject.clone(),
                wait: wait.clone(),
            },
        });
        let issues = self
            .issues
            .iter()
            .filter(|((directory, names), _)| self.floor(directory, names, now).is_some());
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
        failed.chain(issued).collect()
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
        for line in content
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            lines += 1;
            match serde_json::from_slice::<Line>(line) {
                Ok(line) => ledger.apply(line.at, line.event),
                Err(error) => {
                    tracing::warn!(path = %path.display(), line = lines, %error, "broken line of the ledger passed over")
                }
            }
        }
        if content.last().is_some_and(|byte| *byte != b'\n') {
            self.disk.append(&path, b"\n").during("write", &path)?;
        }
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

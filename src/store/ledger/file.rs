//! The file of the ledger: read at start, appended to, and rewritten when most of it no longer matters.

use std::io;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use time::OffsetDateTime;

use crate::ports::Disk;
use crate::ports::Safe;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::While;
use crate::store::ledger::Ledger;
use crate::store::ledger::Line;

/// Lines above which the file is rewritten, if most of them no longer matter.
const COMPACTED_ABOVE: usize = 1000;

/// How long the file is. Locked while it is written: a line that fails is taken back, and must not take another
/// one with it.
#[derive(Debug)]
pub(in crate::store) struct Length {
    lines: usize,
    /// From here on it is worth a look how many of them matter.
    looked_at_above: usize,
    /// Whether the last line has no end: the next one must not become a part of it.
    is_torn: bool,
}

impl Default for Length {
    fn default() -> Self {
        Self { lines: 0, looked_at_above: COMPACTED_ABOVE, is_torn: false }
    }
}

const LEDGER: &str = "ledger.jsonl";

impl<D: Disk> Store<D> {
    fn ledger_path(&self) -> PathBuf {
        self.own(LEDGER)
    }

    /// Reads the ledger. A line that is broken is told and passed over; a torn last one is closed
    /// by the next that is written: a disk that is full keeps nobody from starting.
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
        ledger.clamp_future(now);
        {
            let mut length = self.ledger_length();
            length.lines = lines;
            length.is_torn = is_torn;
        }
        if ledger.is_all()
            && let Err(error) = self.compact_ledger(|| ledger.compacted(now))
        {
            tracing::warn!(%error, "ledger not rewritten, it stays as long as it is");
        }
        Ok(ledger)
    }

    /// Writes a line down: see [`Self::append_lines`].
    pub fn append_ledger(&self, line: &Line) -> Result<(), StoreError> {
        self.append_lines(std::slice::from_ref(line))
    }

    /// Writes lines down, with those that others want written at the same moment: one sync serves all. What a restart
    /// may forget without harm is not waited for (`Line::safe`).
    pub fn append_lines(&self, lines: &[Line]) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.ledger_path();
        let text = text(lines, &path)?;
        let is_urgent = lines.iter().any(|line| line.safe() == Safe::Now);
        let ticket = self.queue().push(&text, lines.len(), is_urgent);
        let mut length = self.ledger_length();
        // Whoever comes first writes for all that queue behind.
        let (mut batch, lines, safe) = match self.queue().take(ticket) {
            Taken::Done(result) => return result.during("write", &path),
            Taken::Batch(batch, lines, safe) => (batch, lines, safe),
        };
        if length.is_torn {
            batch.insert(0, b'\n');
        }
        let written = self.disk.append(&path, &batch, safe);
        if written.is_ok() {
            length.lines += lines;
            length.is_torn = false;
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
            self.disk.write(&self.own(""), &[(LEDGER, &text)], Safe::Now).during("write", &path)?;
            length.lines = matters.len();
            length.is_torn = false;
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
pub(in crate::store) struct Queue {
    waiting: Vec<u8>,
    /// Whether a restart must not forget one of them.
    is_urgent: bool,
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
    Batch(Vec<u8>, usize, Safe),
}

impl Queue {
    fn push(&mut self, text: &[u8], lines: usize, is_urgent: bool) -> usize {
        self.waiting.extend_from_slice(text);
        self.is_urgent |= is_urgent;
        self.queued += lines;
        self.queued
    }

    fn take(&mut self, ticket: usize) -> Taken {
        if ticket > self.done {
            let safe = match std::mem::take(&mut self.is_urgent) {
                true => Safe::Now,
                false => Safe::Later,
            };
            let waiting = std::mem::take(&mut self.waiting);
            return Taken::Batch(waiting, self.queued - self.done, safe);
        }
        let failed = self.failed.iter().find(|(tickets, ..)| tickets.contains(&ticket));
        Taken::Done(
            failed.map_or(Ok(()), |(_, kind, text)| Err(io::Error::new(*kind, text.clone()))),
        )
    }

    fn done(&mut self, lines: usize, written: &io::Result<()>) {
        /// Nobody waits for a batch that is this many batches old.
        const REMEMBERED: usize = 64;
        let tickets = self.done + 1..=self.done + lines;
        self.failed
            .extend(written.as_ref().err().map(|error| (tickets, error.kind(), error.to_string())));
        if self.failed.len() > REMEMBERED {
            self.failed.remove(0);
        }
        self.done += lines;
    }
}

fn text(lines: &[Line], path: &std::path::Path) -> Result<Vec<u8>, StoreError> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).map_err(io::Error::other).during("write", path)?;
        text.push(b'\n');
    }
    Ok(text)
}

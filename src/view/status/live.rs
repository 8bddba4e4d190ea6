//! How everything stands right now, for whoever asks while the program runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::ports::World;
use crate::ports::counted::Counts;
use crate::view::status::Heard;
use crate::view::status::OnRecord;
use crate::view::status::Part;
use crate::view::status::Phase;
use crate::view::status::Program;
use crate::view::status::Status;
use crate::work::context::Context;
use crate::work::daemon::Snapshot;

/// What is needed to tell how everything stands, as far as it is there by now.
pub struct Live<W: World> {
    program: Program,
    snapshot: watch::Receiver<Snapshot>,
    counts: Arc<Counts>,
    phase: Mutex<Phase>,
    context: OnceLock<Arc<Context<W>>>,
    /// What tells by itself how it stands, by name.
    parts: Mutex<BTreeMap<String, Part>>,
    now: fn() -> OffsetDateTime,
}

impl<W: World> Live<W> {
    /// A program that is starting.
    pub fn new(
        program: Program,
        snapshot: watch::Receiver<Snapshot>,
        counts: Arc<Counts>,
        now: fn() -> OffsetDateTime,
    ) -> Self {
        Self {
            program,
            snapshot,
            counts,
            phase: Mutex::new(Phase::Starting),
            context: OnceLock::new(),
            parts: Mutex::default(),
            now,
        }
    }

    /// Tells what the program does before the loop turns.
    pub fn is_in(&self, phase: Phase) {
        *self.phase() = phase;
    }

    /// The loop turns from now on.
    pub fn runs(&self, context: Arc<Context<W>>) {
        // Only the first one runs.
        let _ = self.context.set(context);
        self.is_in(Phase::Running);
    }

    /// How everything stands.
    pub fn status(&self) -> Status {
        let now = (self.now)();
        let Some(context) = self.context.get() else {
            return Status::before(&self.program, self.phase().clone(), now);
        };
        // Copied, so that the loop never waits for whoever looks.
        let snapshot = self.snapshot.borrow().clone();
        let parts: Vec<Part> = self.parts().values().cloned().collect();
        let tally = self.counts.tally();
        let heard = Heard { parts: &parts, answers: Some(&tally) };
        of(context, &self.program, &snapshot, heard, now)
    }

    /// Takes note of how a part of the dependencies stands that no pass looks at.
    pub fn stands(&self, part: Part) {
        self.parts().insert(part.name.clone(), part);
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How everything stands by a context, what a pass has found, and what was heard since.
pub fn of<W: World>(
    context: &Context<W>,
    program: &Program,
    snapshot: &Snapshot,
    heard: Heard<'_>,
    now: OffsetDateTime,
) -> Status {
    let clock = context.clock_seen();
    let is_wake_owed = context.is_wake_owed();
    // Copied, so that nothing that is noted waits for whoever looks.
    let ledger = context.ledger().shown();
    let on_record = OnRecord {
        ledger: &ledger,
        policy: &context.settings.policy,
        limits: &|directory| context.limits(directory),
        clock,
        is_wake_owed,
        heard,
    };
    Status::gather(program, snapshot, on_record, now)
}

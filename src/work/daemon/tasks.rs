//! What runs beside the loop: jobs and wake-ups, from their start to what they come back with.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::core::held::CertificateId;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::daemon::COLLECTING_ROUND;
use crate::work::daemon::Daemon;
use crate::work::daemon::Ended;
use crate::work::daemon::LONGEST_DEBT;
use crate::work::daemon::SHORTEST_ROUND;
use crate::work::daemon::Try;
use crate::work::deliver::wake::wake;
use crate::work::reconcile::job::Done;

/// What a spawned task comes back with.
pub(super) enum Finished {
    Job(Box<Done>),
    Wake {
        /// Ids of pushed certificates that balancers have not heard of.
        unheard: Vec<CertificateId>,
        /// The state of the debt when they were woken, if they were.
        paid: Option<u64>,
    },
}

impl<W: World> Daemon<W> {
    /// Starts what is due as far as there is room, the most urgent first.
    pub(super) fn start_work(&mut self) {
        for (queue, places) in self.queues.iter_mut().zip([&self.room.orders, &self.room.pushes]) {
            while !queue.is_empty()
                && let Some(place) = places.take()
                && let Some(job) = queue.pop_front()
            {
                self.in_hand.insert(job.primary.clone());
                let context = Arc::clone(&self.context);
                let (primary, room) = (job.primary.clone(), self.room.clone());
                let (names, what) = (job.target.names.clone(), job.word());
                self.running.spawn(async move {
                    // A bug that one certificate meets must not end the others.
                    let done =
                        AssertUnwindSafe(job.run(&context, place, &room)).catch_unwind().await;
                    let done = done.unwrap_or_else(|_| Done::after_panic(primary, names, what));
                    Finished::Job(Box::new(done))
                });
            }
        }
        self.start_wake();
    }

    /// Wakes the balancers once all pushes are through, or when they have waited long enough.
    fn start_wake(&mut self) {
        if !self.context.is_wake_owed() {
            self.owed_since = None;
            return;
        }
        let now = self.context.now();
        let since = *self.owed_since.get_or_insert(now);
        let is_quiet = self.in_hand.is_empty() && self.queues.iter().all(VecDeque::is_empty);
        let is_late = since + LONGEST_DEBT <= now;
        let is_waiting = self.context.ledger().waiting(&Subject::Wake, now).is_some();
        let generation = self.context.wake_generation();
        // Before the first pass nothing is known of what else there is to push.
        if self.is_waking
            || is_waiting
            || self.last.is_none()
            || self.paid == Some(generation)
            || !(is_quiet || is_late)
        {
            return;
        }
        self.is_waking = true;
        let context = Arc::clone(&self.context);
        let pushed = std::mem::take(&mut self.pushed);
        self.running.spawn(async move {
            let woken = AssertUnwindSafe(wake(&context, &pushed)).catch_unwind().await;
            match woken {
                Ok(Ok(())) => {
                    return Finished::Wake { unheard: Vec::new(), paid: Some(generation) };
                }
                Ok(Err(setback)) => {
                    tracing::warn!(error = setback.sentence(), "balancers not woken")
                }
                Err(_) => tracing::error!("waking the balancers panicked"),
            }
            Finished::Wake { unheard: pushed, paid: None }
        });
    }

    pub(super) fn finish(&mut self, finished: Result<Finished, tokio::task::JoinError>) {
        match finished {
            Ok(Finished::Job(done)) => {
                self.in_hand.remove(&done.primary);
                self.note_try(&done);
                if let Some(setback) = &done.setback {
                    self.reconciler.tell_setback(&done.names, setback);
                }
                self.pushed.extend(done.brought.pushed);
                let round = if done.is_new { SHORTEST_ROUND } else { COLLECTING_ROUND };
                // Another name of the same certificate, or another certificate, may have become possible.
                if done.follow_up {
                    self.plan(self.context.now(), round);
                }
                if let Some(until) = done.setback.and_then(|setback| setback.until) {
                    self.plan(until, round);
                }
            }
            Ok(Finished::Wake { unheard, paid }) => {
                self.is_waking = false;
                self.paid = paid;
                self.pushed.extend(unheard);
                self.owed_since = None;
            }
            // Jobs and wake-ups catch their own panics; nothing else ends a task before its time.
            Err(error) => tracing::error!(%error, "a task ended"),
        }
    }

    fn note_try(&self, done: &Done) {
        let last = Try {
            at: self.context.now(),
            what: done.what,
            setback: done.setback.clone(),
            brought: done.brought.clone(),
        };
        self.snapshot.send_modify(|snapshot| {
            *snapshot.ended.entry((last.what, last.ended())).or_insert(0) += 1;
            if last.ended() == Ended::Ok {
                snapshot.succeeded.insert(done.primary.clone(), last.at);
            }
            snapshot.tries.insert(done.primary.clone(), last);
        });
    }
}

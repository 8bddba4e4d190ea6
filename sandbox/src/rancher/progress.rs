//! How far a process is that takes a resource from one state to the next.

use tokio::time::Instant;

use crate::rancher::settings::Activation;

/// A process under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    since: Instant,
    reads: u32,
}

impl Progress {
    /// Begins.
    pub(crate) fn begin() -> Self {
        Self { since: Instant::now(), reads: 0 }
    }

    /// Counts a read; says whether that read sees the end of the process.
    pub(crate) fn ends_at_read(&mut self, activation: Activation) -> bool {
        let Activation::Reads(between) = activation else {
            return self.has_ended(activation);
        };
        self.reads = self.reads.saturating_add(1);
        self.reads > between
    }

    /// Whether it has ended without being looked at.
    pub(crate) fn has_ended(&self, activation: Activation) -> bool {
        match activation {
            Activation::After(time) => self.since.elapsed() >= time,
            Activation::Reads(_) | Activation::Held => false,
        }
    }
}

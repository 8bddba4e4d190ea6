//! The debt of a wake-up: owed before each write to the destination, until balancers have heard of it.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::ports::World;
use crate::store::StoreError;
use crate::store::record::WakeOwed;
use crate::work::context::Context;

/// The debt of a wake-up.
pub(super) struct Wake {
    pub(super) is_owed: bool,
    pub(super) generation: u64,
    /// Writes to the destination that are under way: as long as there is one, the debt is not paid.
    pub(super) writing: u32,
}

/// A write to the destination that is under way. From its end on, however it ends, balancers are to be woken.
pub struct Writing<'a> {
    wake: &'a Mutex<Wake>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        wake.writing -= 1;
        wake.generation += 1;
    }
}

impl<W: World> Context<W> {
    /// Whether balancers are to be woken.
    pub fn is_wake_owed(&self) -> bool {
        self.wake().is_owed
    }

    /// Notes that balancers are to be woken, before a write to the destination: the debt stays on the disk as long as the
    /// answer is held, and however a wake-up runs beside it, they will hear of what is written.
    pub async fn owe_wake(&self) -> Writing<'_> {
        let _one_at_a_time = self.writing_wake.lock().await;
        let (writing, was_owed) = {
            let mut wake = self.wake();
            wake.writing += 1;
            wake.generation += 1;
            let was_owed = std::mem::replace(&mut wake.is_owed, true);
            (Writing { wake: &self.wake }, was_owed)
        };
        if was_owed {
            return writing;
        }
        let owed = WakeOwed { since: self.now() };
        match self.store.run(move |store| store.owe_wake(&owed)).await {
            Ok(()) => tracing::debug!("wake owed"),
            // A full disk must not keep a good certificate from the destination.
            Err(error) => {
                tracing::warn!(%error, "wake-up not written down, a restart would forget it")
            }
        }
        writing
    }

    /// Tells one state of the debt from another; taken before balancers are woken.
    pub fn wake_generation(&self) -> u64 {
        self.wake().generation
    }

    /// Notes that balancers were woken, unless something was written to the destination since `generation` was taken, or is
    /// being written.
    pub async fn clear_wake(&self, generation: u64) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing_wake.lock().await;
        {
            let wake = self.wake();
            if wake.generation != generation || wake.writing > 0 {
                return Ok(());
            }
        }
        let cleared = self.store.run(|store| store.clear_wake()).await;
        // Paid even if the file stays: on a read-only store the balancers would be woken without end.
        self.wake().is_owed = false;
        cleared
    }

    fn wake(&self) -> MutexGuard<'_, Wake> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The place of a certificate among the limits of an authority, while an attempt works on its order.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::core::budget::OrderCost;
use crate::core::budget::Reserved;
use crate::store::ledger::Ledger;

/// Kept from when an order is opened until its certificate is asked for, or nobody works on it any more: what counts
/// as used up meanwhile is used up by certificates that come at once, never by an order that waits for its name.
pub(super) struct Reservation {
    ledger: Arc<Mutex<Ledger>>,
    kept: Mutex<Option<Reserved>>,
}

impl Reservation {
    pub(super) fn new(ledger: Arc<Mutex<Ledger>>) -> Self {
        Self { ledger, kept: Mutex::default() }
    }

    /// Keeps a place instead of the one that was kept before; `ledger` is the one that is locked already.
    pub(super) fn keep(&self, ledger: &mut Ledger, asked: &OrderCost<'_>) {
        let reserved = ledger.reserve(asked);
        if let Some(before) = lock(&self.kept).replace(reserved) {
            ledger.release(before);
        }
    }

    pub(super) fn give_back(&self) {
        let kept = lock(&self.kept).take();
        if let Some(kept) = kept {
            lock(&self.ledger).release(kept);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

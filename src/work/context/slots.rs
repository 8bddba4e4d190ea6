//! How many pieces of work run at once.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

/// One of the places that work may take at the same time; whoever waits for one hears of it when it is given back.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    freed: Arc<Notify>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.freed.notify_one();
    }
}

/// Slots for one kind of work.
#[derive(Debug, Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    freed: Arc<Notify>,
}

impl Slots {
    /// So many places.
    pub fn new(count: usize, freed: Arc<Notify>) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), freed }
    }

    /// Takes a place, if one is free.
    pub fn take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit, freed: Arc::clone(&self.freed) })
    }

    /// Waits for a place.
    pub async fn wait(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Slot { _permit: permit, freed: Arc::clone(&self.freed) })
    }
}

/// All the places that work takes.
#[derive(Debug, Clone)]
pub struct Workplaces {
    /// Orders at work at the authority.
    pub orders: Slots,
    /// Orders whose names are looked at by ourselves: names that never answer keep no other from its order.
    pub checks: Slots,
    /// Pushes and restores.
    pub pushes: Slots,
}

impl Workplaces {
    /// Those of orders.
    pub fn of_orders(&self) -> Room<'_> {
        Room { orders: &self.orders, checks: &self.checks }
    }
}

/// The places that an order takes, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// See [`Workplaces::orders`].
    pub orders: &'a Slots,
    /// See [`Workplaces::checks`].
    pub checks: &'a Slots,
}

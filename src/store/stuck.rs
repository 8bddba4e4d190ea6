//! Orders that are stuck: out of the way of another, with their keys, in one file for each lineage.

use std::path::PathBuf;

use crate::decide::order::PendingOrder;
use crate::ports::Disk;
use crate::store::STUCK;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::While;

impl<D: Disk> Store<D> {
    /// Reads the orders of a lineage that are stuck. A broken file is set aside.
    pub fn stuck(&self, name: &str) -> Result<Vec<PendingOrder>, StoreError> {
        let path = self.own(STUCK).join(format!("{name}.json"));
        match self.read_json(&path)? {
            Some(Ok(orders)) => Ok(orders),
            Some(Err(why)) => {
                self.set_aside(&path, &why)?;
                Ok(Vec::new())
            }
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn stuck_or_none(&self, name: &str) -> Vec<PendingOrder> {
        self.stuck(name).unwrap_or_else(|error| {
            tracing::warn!(lineage = name, %error, "orders that are stuck not read");
            Vec::new()
        })
    }

    /// Keeps an order that is stuck, in place of what was kept of it before.
    pub fn save_stuck(&self, name: &str, order: &PendingOrder) -> Result<(), StoreError> {
        let mut orders = self.stuck(name)?;
        orders.retain(|other| !other.is_same_as(order));
        orders.push(order.clone());
        self.write_stuck(name, &orders)
    }

    /// Forgets an order that was stuck.
    pub fn clear_stuck(&self, name: &str, order: &PendingOrder) -> Result<(), StoreError> {
        let mut orders = self.stuck(name)?;
        orders.retain(|other| !other.is_same_as(order));
        if !orders.is_empty() {
            return self.write_stuck(name, &orders);
        }
        let folder = self.own(STUCK);
        self.disk.clear(&folder, &[&format!("{name}.json")]).during("remove from", &folder)
    }

    /// Keeps the key of an order that was stuck and is over where nothing looks for it any more.
    pub fn part_with_stuck(&self, name: &str, order: &PendingOrder) -> Result<(), StoreError> {
        self.keep_over(name, order)?;
        self.clear_stuck(name, order)
    }

    /// The same for the order in flight, so that another can be opened.
    pub fn part_with_pending(&self, name: &str, order: &PendingOrder) -> Result<(), StoreError> {
        self.keep_over(name, order)?;
        self.clear_pending(name)
    }

    fn keep_over(&self, name: &str, order: &PendingOrder) -> Result<(), StoreError> {
        let folder = self.stuck_folder()?;
        let file = format!("{name}.{}.over", order.intended_at().unix_timestamp());
        self.write_json(&folder, &file, order)?;
        let path = folder.join(file);
        tracing::debug!(path = %path.display(), "order is over without a certificate, its key is kept");
        Ok(())
    }

    fn stuck_folder(&self) -> Result<PathBuf, StoreError> {
        let folder = self.own(STUCK);
        self.disk.make_folder(&folder).during("make the folder", &folder)?;
        Ok(folder)
    }

    fn write_stuck(&self, name: &str, orders: &[PendingOrder]) -> Result<(), StoreError> {
        let folder = self.stuck_folder()?;
        self.write_json(&folder, &format!("{name}.json"), &orders)
    }
}

//! What the ledger should know, seen at the destination: after a lost volume, or of another instance on a volume of its own.

use time::Duration;
use time::OffsetDateTime;

use crate::core::budget::OrderCost;
use crate::core::names::NameSet;
use crate::decide::classify::provenance;
use crate::ports::World;
use crate::work::deliver::View;
use crate::work::reconcile::Reconciler;

/// What is older matters to no limit: the longest window is a week.
const MATTERS: Duration = Duration::days(7);

impl<W: World> Reconciler<W> {
    /// Notes certificates of ours that the destination holds and the ledger has never heard of.
    pub(super) async fn seed_ledger(&self, view: &View, now: OffsetDateTime) {
        for held in &view.held {
            let Ok(shown) = &held.content else { continue };
            let leaf = &shown.leaf;
            let is_recent = now < leaf.not_before.saturating_add(MATTERS);
            let directory = provenance(&view.known, held, shown).flatten();
            let (true, Some(directory)) = (is_recent, directory) else {
                continue;
            };
            let names: NameSet = leaf.domain_names();
            if self.context.ledger().knows(directory, &names) {
                continue;
            }
            let place = self.context.settings.policy.place;
            tracing::debug!(name = held.name, "ledger seeded from {place}");
            let asked = OrderCost { directory, account: "", names: &names, is_renewal: false };
            self.context.seed(&asked, leaf).await;
        }
    }
}

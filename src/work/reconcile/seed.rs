//! What the ledger should know, seen at Rancher: after a lost volume, or of another instance on a volume of its own.

use time::Duration;
use time::OffsetDateTime;

use crate::core::budget::Asked;
use crate::core::names::NameSet;
use crate::decide::classify::provenance;
use crate::ports::World;
use crate::work::deliver::View;
use crate::work::reconcile::Reconciler;

/// What is older matters to no limit: the longest window is a week.
const MATTERS: Duration = Duration::days(7);

impl<W: World> Reconciler<W> {
    /// Notes certificates of ours that Rancher holds and the ledger has never heard of.
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
            if self.engine.ledger().knows(directory, &names) {
                continue;
            }
            let place = self.engine.settings.policy.place;
            tracing::debug!(name = held.name, "ledger seeded from {place}");
            let asked = Asked { directory, account: "", names: &names, is_renewal: false };
            self.engine.seed(&asked, leaf).await;
        }
    }
}

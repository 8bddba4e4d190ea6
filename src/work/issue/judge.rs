//! What an authority has issued: verified, stored, or kept where it is. Verifying decides about publishing, never about
//! keeping.

use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::bundle::Bundle;
use crate::core::text::timestamp;
use crate::decide::filter::unusable;
use crate::decide::order::End;
use crate::decide::order::PendingOrder;
use crate::decide::order::Wanted;
use crate::ports::World;
use crate::store::publish::Late;
use crate::store::publish::Origin;
use crate::store::record::Source;
use crate::work::issue::Attempt;
use crate::work::issue::Obtained;
use crate::work::issue::drive::Driven;
use crate::work::issue::drive::Work;
use crate::work::issue::stop::Stop;

impl<W: World> Attempt<'_, W> {
    pub(super) async fn judge(&self, mut work: Work, wanted: Wanted) -> Result<Driven, Stop> {
        let now = self.context.now();
        let verified = work.order.verified(now);
        let received_at = work.order.received().map_or(now, |received| received.at);
        let bundle = match verified {
            Ok(bundle) => bundle,
            Err(why) => {
                if work.order.refuse(&why) {
                    self.save(&work.order, work.slot).await?;
                }
                let blocks = wanted.is_wanted && !self.plan.standing.is_asked;
                if blocks && let Some((why, until)) = work.order.block(now) {
                    return Err(unusable(why, until).into());
                }
                self.keep_key(&work.order, work.slot).await?;
                warn!(names = %work.order.names, error = why, "order of a certificate that cannot be used parted with, its key is kept");
                return Ok(Driven::Ended(End::Lapsed));
            }
        };
        let (directory, set) = (work.order.directory.clone(), work.order.names.set());
        if self.is_stored(&bundle).await? {
            debug!(lineage = self.lineage, "stored before, order cleared now");
            self.context.note_issued(&directory, set, bundle.leaf(), received_at).await;
            self.forget(&work.order, work.slot).await?;
            return Ok(Driven::Ended(End::Lapsed));
        }
        let origin = Origin {
            directory: Some(directory.clone()),
            source: Source::Issued,
            // One that is late was not due already when it was issued.
            at: work.order.first_finalized_at().map_or(received_at, |asked| asked.min(received_at)),
        };
        self.store_bundle(&work.order, wanted, &bundle, &origin).await?;
        self.context.note_issued(&directory, set, bundle.leaf(), received_at).await;
        debug!(lineage = self.lineage, "issue noted");
        self.forget_stored(&work.order, work.slot).await?;
        debug!(lineage = self.lineage, "order cleared");
        info!(names = %work.order.names, not_after = %timestamp(bundle.leaf().not_after), directory, "certificate issued");
        Ok(Driven::Stored(Box::new(Obtained { bundle, directory })))
    }

    /// Stores it as the live version. What comes late, or is not wanted any more, is live only if it is better than what is
    /// there.
    async fn store_bundle(
        &self,
        order: &PendingOrder,
        wanted: Wanted,
        bundle: &Bundle,
        origin: &Origin,
    ) -> Result<(), Stop> {
        // Names that waited were left out: it is this certificate all the same.
        let is_part = order.names.set().is_subset(&self.plan.entry.set());
        let names =
            if is_part || wanted.is_wanted { self.plan.entry.clone() } else { order.names.clone() };
        let (lineage, bundle, origin) = (self.lineage.clone(), bundle.clone(), origin.clone());
        let now = self.context.now();
        let policy = self.context.settings.policy.clone();
        let is_wanted = wanted.is_wanted;
        let stored = self.context.store.run(move |store| {
            let late = Late {
                names: &names,
                bundle: &bundle,
                directory: origin.directory.as_deref(),
                policy: &policy,
                now,
            };
            if !is_wanted && store.has_better(&lineage, &late)? {
                return store.keep(&lineage, &bundle, &origin);
            }
            store.publish(&lineage, &names, &bundle, &origin).map(drop)
        });
        Ok(stored.await?)
    }

    /// Whether it is in the store: a crash came before the order was cleared.
    async fn is_stored(&self, bundle: &Bundle) -> Result<bool, Stop> {
        let (lineage, leaf) = (self.lineage.clone(), bundle.leaf().fingerprint);
        let is_stored = self.context.store.run(move |store| store.is_stored(&lineage, &leaf));
        Ok(is_stored.await?)
    }
}

//! What an authority has issued: verified, stored, or kept where it is.

use time::OffsetDateTime;
use tracing::debug;
use tracing::info;

use crate::bundle::Bundle;
use crate::classify::timestamp;
use crate::engine::Setback;
use crate::issue::Attempt;
use crate::issue::Obtained;
use crate::issue::gate::BLOCKED_FOR;
use crate::issue::gate::refused;
use crate::issue::stop::Stop;
use crate::ports::Authority;
use crate::ports::AuthorityError;
use crate::ports::OrderStatus;
use crate::ports::World;
use crate::reaction::Failure;
use crate::reaction::Trouble;
use crate::store::publish::Origin;
use crate::store::record::PendingOrder;
use crate::store::record::Source;

impl<W: World> Attempt<'_, W> {
    /// Looks again at what was issued. Refused for the names that are wanted, it stands in the way for a day.
    pub(super) async fn settle_again(
        &self,
        mut order: PendingOrder,
    ) -> Result<Option<Obtained>, Stop> {
        let is_wanted = self.is_wanted(&order);
        if let (Some(bundle), Some(received)) = (self.stored(&order).await?, &order.received) {
            debug!(lineage = self.lineage, "stored before, order cleared now");
            let (directory, names) = (&order.directory, order.names.set());
            self.engine
                .note_issued(directory, names, bundle.leaf(), received.at)
                .await;
            self.drop_order(&order).await?;
            return Ok(None);
        }
        match self.settle(&mut order).await {
            Err(Stop::Setback(_))
                if !is_wanted
                    || self.wish.standing.is_asked
                    || refused(&order, self.engine.now()).is_none() =>
            {
                self.set_aside("its certificate was refused".to_owned())
                    .await?;
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Downloads and stores what was issued for an order that nobody resumes; else there is nothing to come back to.
    pub(super) async fn collect(&self, order: PendingOrder) -> Result<(), Stop> {
        let account = self.account_of(&order).await?;
        let (Some(account), Some(url)) = (account, order.url.clone()) else {
            let why = "its account is another by now".to_owned();
            return self.part_with(&order, why).await;
        };
        let state = self
            .ask(&account.directory, || self.authority().look(&account, &url))
            .await?;
        match state.status {
            OrderStatus::Processing | OrderStatus::Valid => {
                self.finish(order, state).await.map(drop)
            }
            OrderStatus::Invalid => {
                self.drop_order(&order).await?;
                self.give_back_budget(&account, &order).await;
                Ok(())
            }
            // The answer may be late: a certificate may come all the same.
            OrderStatus::Pending | OrderStatus::Ready => {
                let why = format!("it is {:?} after it was finalized", state.status);
                self.part_with(&order, why).await
            }
        }
    }

    /// What was issued for an order, if it is in the store: a crash came before the order was cleared.
    async fn stored(&self, order: &PendingOrder) -> Result<Option<Bundle>, Stop> {
        let chain = order.received.as_ref().map(|received| &received.chain);
        let Some(Ok(bundle)) = chain.map(|chain| Bundle::parse(chain, &order.key)) else {
            return Ok(None);
        };
        let (lineage, leaf) = (self.lineage.clone(), bundle.leaf().fingerprint);
        let is_stored = self
            .engine
            .store
            .run(move |store| store.is_stored(&lineage, &leaf))
            .await?;
        Ok(is_stored.then_some(bundle))
    }

    /// Verifies what was issued and stores it. From here on nothing can be lost: refused, it stays where it is.
    pub(super) async fn settle(&self, order: &mut PendingOrder) -> Result<Obtained, Stop> {
        let now = self.engine.now();
        let verified = verified(order, now);
        let Some(received) = &mut order.received else {
            return Err(AuthorityError::Gone("no certificate was received".to_owned()).into());
        };
        let at = received.at;
        let bundle = match verified {
            Ok(bundle) => bundle,
            Err(why) => {
                let is_news = received.refused.as_ref() != Some(&why);
                received.refused = Some(why.clone());
                let until = received.at.min(now).saturating_add(BLOCKED_FOR);
                if is_news {
                    self.save(order).await?;
                }
                return Err(unusable(&why, until).into());
            }
        };
        // Names that waited were left out: it is this certificate all the same.
        let is_part = order.names.set().is_subset(&self.wish.entry.set());
        let names = if is_part || self.is_wanted(order) {
            self.wish.entry.clone()
        } else {
            order.names.clone()
        };
        let origin = Origin {
            directory: Some(order.directory.clone()),
            source: Source::Issued,
            // One that is late was not due already when it was issued.
            at: order.finalized_at.map_or(at, |asked| asked.min(at)),
        };
        let (lineage, stored) = (self.lineage.clone(), bundle.clone());
        self.engine
            .store
            .run(move |store| {
                // A power failure may bring an order back without its chain.
                if store.is_stored(&lineage, &stored.leaf().fingerprint)? {
                    return Ok(());
                }
                store.publish(&lineage, &names, &stored, &origin).map(drop)
            })
            .await?;
        self.engine
            .note_issued(&order.directory, order.names.set(), bundle.leaf(), at)
            .await;
        debug!(lineage = self.lineage, "issue noted");
        self.clear_stored(order).await?;
        debug!(lineage = self.lineage, "order cleared");
        let directory = order.directory.clone();
        info!(names = %order.names, not_after = %timestamp(bundle.leaf().not_after), directory, "certificate issued");
        Ok(Obtained { bundle, directory })
    }
}

/// A certificate that was refused, and stands in the way of another until then.
pub(super) fn unusable(why: &str, until: OffsetDateTime) -> Setback {
    let text = format!("the authority sent a certificate that cannot be used: {why}");
    Setback::failure_until(Failure::of(Trouble::WrongCertificate, text), until)
}

/// What an authority issued for an order, if it is what was ordered and can be used by now.
pub(crate) fn verified(order: &PendingOrder, now: OffsetDateTime) -> Result<Bundle, String> {
    let received = order.received.as_ref();
    let chain = received.map_or("", |received| &received.chain);
    let bundle = Bundle::parse(chain, &order.key).map_err(|flaw| flaw.to_string())?;
    bundle.verify(&order.names.set(), now)?;
    Ok(bundle)
}

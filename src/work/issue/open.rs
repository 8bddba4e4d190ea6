//! Opening an order: key and intent are on record before, its URL before anything else is asked.

use tracing::debug;

use crate::core::problem::AuthorityErrorKind;
use crate::core::setback::Setback;
use crate::decide::order::PendingOrder;
use crate::decide::order::Shown;
use crate::ports::Authority;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::issue::Attempt;
use crate::work::issue::drive::OrderSlot;
use crate::work::issue::drive::Work;
use crate::work::issue::stop::Stop;

impl<W: World> Attempt<'_, W> {
    /// Makes the key and saves it with the intent. What an order costs is taken from the limits before.
    pub(super) async fn intend(&self) -> Result<PendingOrder, Stop> {
        let directory = self.context.settings.policy.wanted_directory();
        self.trust_clock(directory).await?;
        let account = self.account().await?;
        self.take_budget(&account).await?;
        let made = self.context.world.new_key(self.context.settings.key_type);
        let key =
            made.map_err(|error| Setback::failure(format!("no key could be made: {error}")))?;
        let order = PendingOrder::intend(
            self.plan.order.clone(),
            account.directory,
            account.url,
            key,
            self.plan.standing.is_renewal,
            self.context.now(),
        );
        self.save(&order, OrderSlot::Current).await?;
        debug!(lineage = self.lineage, "key and intent saved");
        Ok(order)
    }

    /// Opens the order, and saves its URL. One whose answer never came was paid for, and is asked for with the same key.
    pub(super) async fn open(&self, work: &mut Work) -> Result<Shown, Stop> {
        let Some(account) = self.account_of(work).await? else {
            return Ok(Shown::Gone);
        };
        self.reserve(&account, &work.order);
        let opened =
            self.ask(&account, || self.authority().open(&account, &work.order.names)).await;
        let state = match opened {
            Ok(state) => state,
            Err(Stop::Authority(error)) => {
                let is_refused = matches!(
                    error.kind,
                    AuthorityErrorKind::Refused | AuthorityErrorKind::RateLimited(_)
                );
                if is_refused {
                    // There is no order to come back to.
                    self.forget(&work.order, work.slot).await?;
                }
                return Err(error.into());
            }
            Err(stop) => return Err(stop),
        };
        debug!(lineage = self.lineage, order = state.url, "order opened");
        let directory = account.directory.clone();
        self.context.clear(&Subject::Account { directory }).await;
        work.order.opened(&state);
        self.save(&work.order, work.slot).await?;
        debug!(lineage = self.lineage, "order saved");
        self.note_ordered(&account, &state.url).await;
        Ok(work.show(state, self.context.now()))
    }
}

//! What an order, an account and a certificate take from the limits of the authority, on record before they are asked for.

use time::Duration;
use time::OffsetDateTime;
use tracing::warn;

use crate::core::budget::OrderCost;
use crate::core::names::NameSet;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::resource::Account;
use crate::core::setback::Setback;
use crate::decide::order::PendingOrder;
use crate::ports::World;
use crate::store::ledger::NotIssued;
use crate::store::ledger::Subject;
use crate::work::issue::Attempt;
use crate::work::issue::stop::Stop;

/// An order as it was opened: whether it is a renewal, the authority decides then.
pub(super) fn of_order<'a>(
    order: &PendingOrder,
    account: &'a Account,
    names: &'a NameSet,
) -> OrderCost<'a> {
    OrderCost {
        directory: &account.directory,
        account: &account.url,
        names,
        is_renewal: order.is_renewal,
    }
}

impl<W: World> Attempt<'_, W> {
    fn asked<'a>(&self, account: &'a Account, names: &'a NameSet) -> OrderCost<'a> {
        OrderCost {
            directory: &account.directory,
            account: &account.url,
            names,
            is_renewal: self.plan.standing.is_renewal,
        }
    }

    /// Takes what an order costs, before it is opened.
    pub(super) async fn take_budget(&self, account: &Account) -> Result<(), Stop> {
        let limits = self.context.limits(&account.directory);
        let names = self.plan.order.set();
        let asked = self.asked(account, &names);
        let now = self.context.now();
        let (line, overruled) = {
            let mut ledger = self.context.ledger();
            let used_up =
                limits.and_then(|limits| ledger.levels().check(&asked, limits, now).err());
            if let Some(used_up) = &used_up
                && !self.plan.standing.overrules
            {
                return Err(Setback::from(used_up.clone()).into());
            }
            self.reservation.keep(&mut ledger, &asked);
            (ledger.ordering(&asked, limits, now), used_up)
        };
        if let Some(used_up) = overruled {
            self.overrule(&used_up.reason).await;
        }
        let write = move |store: &crate::store::Store<W::Disk>| store.append_ledger(&line);
        let written = self.context.store.run(write).await;
        if let (Err(_), Some(limits)) = (&written, limits) {
            // A disk that was full for long must not stop orders for hours.
            self.context.ledger().not_ordered(&asked, limits, now);
        }
        Ok(written?)
    }

    /// Keeps the place of an order that was opened, or paid for, before: it is not asked whether there is one.
    pub(super) fn reserve(&self, account: &Account, order: &PendingOrder) {
        let names = order.names.set();
        let asked = of_order(order, account, &names);
        self.reservation.keep(&mut self.context.ledger(), &asked);
    }

    /// Notes the order that was opened.
    pub(super) async fn note_ordered(&self, account: &Account, url: &str) {
        let names = self.plan.order.set();
        let asked = self.asked(account, &names);
        let now = self.context.now();
        let line = self.context.ledger().ordered(&asked, url, now);
        self.context.write(line).await;
    }

    /// Takes what an account costs, before it is made.
    pub(super) async fn take_account_budget(&self, directory: &str) -> Result<(), Stop> {
        let (limits, now) = (self.context.limits(directory), self.context.now());
        let registering = self.context.ledger().registering(directory, limits, now);
        let line = match registering {
            Ok(line) => line,
            Err(used_up) => {
                // All the others need not find out by themselves.
                let subject = Subject::Account { directory: directory.to_owned() };
                let until = used_up.opens.unwrap_or(now + Duration::DAY);
                let what = Failure::of(FailureKind::AccountLimited, used_up.reason);
                let wait = self.context.fail_until(subject, until, what).await;
                return Err(Setback::from(wait).into());
            }
        };
        let write = move |store: &crate::store::Store<W::Disk>| store.append_ledger(&line);
        Ok(self.context.store.run(write).await?)
    }

    /// Gives back what the certificate of an order took, floor and limits: the authority has said that nothing was issued.
    pub(super) async fn give_back(&self, order: &PendingOrder) {
        self.not_issued(order, order.times_finalized(), None).await;
        if self.plan.is_change {
            self.context.take_back_change(self.plan.entry.primary()).await;
        }
    }

    /// The same for the last finalize only; the floor is that of the one `before`, if there was one.
    pub(super) async fn give_back_last(
        &self,
        order: &PendingOrder,
        before: Option<OffsetDateTime>,
    ) {
        self.not_issued(order, 1, before).await;
    }

    async fn not_issued(&self, order: &PendingOrder, times: usize, before: Option<OffsetDateTime>) {
        let Some(last) = order.last_finalized_at() else {
            return;
        };
        let names = order.names.set();
        let asked = OrderCost {
            directory: &order.directory,
            account: &order.account,
            names: &names,
            is_renewal: order.is_renewal,
        };
        let limits = self.context.limits(&order.directory);
        let now = self.context.now();
        let back = NotIssued { last, times, before };
        let line = self.context.ledger().not_issued(&asked, limits, back, now);
        self.context.write(line).await;
    }

    /// Notes that the authority is asked in spite of our own brakes.
    pub(super) async fn overrule(&self, brake: &str) {
        let certificate = self.plan.entry.primary().to_string();
        let until = self.context.now() + Duration::DAY;
        warn!(names = %self.plan.entry, brake, "about to expire, the authority is asked all the same");
        self.context.fail_until(Subject::Overruled { certificate }, until, brake).await;
    }
}

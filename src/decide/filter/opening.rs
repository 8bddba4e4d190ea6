//! What must hold when an order is opened: the store, what is stuck, the authority, the floor, the limits.

use time::OffsetDateTime;

use crate::core::names::Names;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::setback::Setback;
use crate::core::text::timestamp;
use crate::decide::classify::Facts;
use crate::decide::filter::Around;
use crate::decide::filter::OnRecord;
use crate::decide::filter::OrderPlan;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;

/// What is said of a store in the container's own layer.
pub const EPHEMERAL: &str = "the store is not on a volume: certificates and account would be lost with this container, so \
                             no production certificate is ordered; mount a volume at LETSENCRYPT_ROOTDIR";

/// Whether an order may be opened now, and if not: why, and until when. One that is opened already waits for no limit.
pub fn may_open(
    facts: &Facts<'_>,
    plan: &OrderPlan,
    around: &Around<'_>,
    record: &impl OnRecord,
    now: OffsetDateTime,
) -> Result<(), Setback> {
    Opening {
        is_staging: facts.policy.is_staging,
        directory: facts.policy.wanted_directory(),
        is_ephemeral: around.is_ephemeral,
        pending: around.pending,
        aside: around.aside,
    }
    .is_allowed(plan, record, now)
}

/// What the opening of an order depends on beside the record.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// Whether staging is wanted.
    pub is_staging: bool,
    /// The directory URL that is wanted.
    pub directory: &'a str,
    /// Whether the store would be lost with the container.
    pub is_ephemeral: bool,
    /// The order in flight.
    pub pending: &'a Pending,
    /// Orders that are stuck, and out of the way.
    pub aside: &'a [PendingOrder],
}

impl Opening<'_> {
    /// Whether the order may be opened now, and if not: why, and until when.
    pub fn is_allowed(
        &self,
        plan: &OrderPlan,
        record: &impl OnRecord,
        now: OffsetDateTime,
    ) -> Result<(), Setback> {
        if self.is_ephemeral && !self.is_staging {
            return Err(Setback::failure(EPHEMERAL));
        }
        let names = plan.order.set();
        match self.pending {
            Pending::Unreadable(why) => {
                return Err(Setback::failure(format!("the order in flight cannot be read: {why}")));
            }
            Pending::Order(order)
                if order.directory == self.directory
                    && order.names.set() == names
                    && !plan.standing.is_asked =>
            {
                if let Some((why, until)) = order.block(now) {
                    return Err(unusable(why, until));
                }
            }
            Pending::Order(_) | Pending::None => {}
        }
        if plan.standing.can_wait {
            stuck_holds(self.aside, self.directory, &plan.order)?;
        }
        if let Some(setback) = record.authority() {
            return Err(setback);
        }
        if let Some(opens) = record.floor(&names) {
            return Err(floor_holds(opens));
        }
        if let Some(until) = record.doubt() {
            let reason = "a part of the ledger could not be read: every name counts as just tried";
            return Err(Setback::failure_until(reason, until));
        }
        if plan.standing.overrules {
            return Ok(());
        }
        match record.limits(&names, plan.standing.is_renewal) {
            Some(used_up) => Err(used_up.into()),
            None => Ok(()),
        }
    }
}

/// A certificate for the same names was asked for a short time ago.
pub fn floor_holds(opens: OffsetDateTime) -> Setback {
    let reason = format!(
        "a certificate for these names was asked for less than a day ago; the next not before {}",
        timestamp(opens)
    );
    Setback::later(reason, opens)
}

/// A certificate that was refused, and stands in the way of another until then.
pub fn unusable(why: &str, until: OffsetDateTime) -> Setback {
    let text = format!("the authority sent a certificate that cannot be used: {why}");
    Setback::failure_until(Failure::of(FailureKind::WrongCertificate, text), until)
}

/// What is only due waits for an order that may still bring a certificate; what has none, or is overdue, does not.
fn stuck_holds(aside: &[PendingOrder], directory: &str, names: &Names) -> Result<(), Setback> {
    let set = names.set();
    let stuck = aside.iter().find(|order| order.directory == directory && order.names.set() == set);
    match stuck {
        Some(order) => {
            Err(Setback::failure(Failure::of(FailureKind::OrderStuck, order.why_it_is_stuck())))
        }
        None => Ok(()),
    }
}

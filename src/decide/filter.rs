//! The one filter behind the table: the only place where an action is held back or changed.
//!
//! In this order: staging never replaces better; which names are ordered, and whether they may change; what is pending or
//! stuck; the clock, the authority, the floor, the limits; a store that would be lost. Pure: what is on record is asked
//! through [`OnRecord`].

use time::Duration;
use time::OffsetDateTime;

use crate::core::budget::UsedUp;
use crate::core::fingerprint::Fingerprint;
use crate::core::held::Held;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::schedule;
use crate::core::setback::Setback;
use crate::core::text::timestamp;
use crate::decide::classify::AT_RISK;
use crate::decide::classify::Facts;
use crate::decide::classify::Judged;
use crate::decide::classify::Stored;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;
use crate::decide::order::Stage;
use crate::decide::table::Action;
use crate::decide::table::AtDestination;
use crate::decide::table::OnDisk;

mod names;
mod opening;

pub use names::may_be_given_up;
pub use opening::EPHEMERAL;
pub use opening::Opening;
pub use opening::floor_holds;
pub use opening::may_open;
pub use opening::unusable;

use names::Ordered;
use names::names_to_order;

/// What is asked of the authority.
#[derive(Debug, Clone)]
pub struct OrderPlan {
    /// The lineage, or none while it has no folder yet.
    pub lineage: Option<String>,
    /// What the certificate is for; the first name is the one at the destination.
    pub entry: Names,
    /// What is ordered: the same, but for names that wait and surplus names that somebody wants.
    pub order: Names,
    /// How the order stands to the certificate that is there.
    pub standing: Standing,
    /// Whether anybody wants it by now.
    pub is_wanted: bool,
    /// Whether a person could be waiting for it: no valid certificate is there.
    pub is_first: bool,
    /// Whether an order for it is in flight.
    pub is_resumed: bool,
    /// Whether it changes the names of a certificate that is served.
    pub is_change: bool,
    /// Names of the present certificate that are left out, so that the others live on.
    pub left_out: NameSet,
}

/// The wait of a name after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameWait {
    /// Why, and until when.
    pub setback: Setback,
    /// Whether the authority has refused it, not our own look at it.
    pub is_refused: bool,
}

/// What is on record, as the filter asks for it: waits that are not over, the floor, the limits. Of one certificate, and
/// of the wanted authority, unless it says otherwise.
pub trait OnRecord {
    /// The wait of a name.
    fn name(&self, name: &DomainName) -> Option<NameWait>;
    /// How often a name has failed in a row, whether or not it waits.
    fn failures(&self, name: &DomainName) -> u32;
    /// The wait after an attempt that came to nothing.
    fn attempt(&self) -> Option<Setback>;
    /// The wait after a push that failed.
    fn push(&self) -> Option<Setback>;
    /// The wait after the destination gave no key with a certificate.
    fn key(&self, leaf: &Fingerprint) -> Option<Setback>;
    /// Why nothing new is asked of the authority: our clock, the account, an outage.
    fn authority(&self) -> Option<Setback>;
    /// Why nothing is asked of an authority about an order that is opened already: no limit holds that up.
    fn authority_of_opened(&self, directory: &str) -> Option<Setback>;
    /// When the next certificate of a set of names may be asked for.
    fn floor(&self, names: &NameSet) -> Option<OffsetDateTime>;
    /// Until when every name counts as just tried, because the ledger could not be read.
    fn doubt(&self) -> Option<OffsetDateTime>;
    /// Which limit is used up by an order.
    fn limits(&self, names: &NameSet, is_renewal: bool) -> Option<UsedUp>;
    /// When the names of a certificate that is served may change again.
    fn next_change(&self) -> Option<OffsetDateTime>;
    /// Whether the authority was asked in spite of our own brakes within a day.
    fn is_overruled(&self) -> bool;
}

/// What stands around one wanted certificate.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// Its lineage, if it has one.
    pub lineage: Option<&'a str>,
    /// The order in flight.
    pub pending: &'a Pending,
    /// Orders that are stuck, and out of the way.
    pub aside: &'a [PendingOrder],
    /// Every name that somebody wants.
    pub wanted: &'a NameSet,
    /// Every certificate at the destination.
    pub held: &'a [Held],
    /// Whether the store would be lost with the container.
    pub is_ephemeral: bool,
}

/// What the table says, after the first rule of the filter.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// The row.
    pub on_disk: OnDisk,
    /// The column.
    pub at_destination: AtDestination,
    /// What is to be done.
    pub action: Action,
    /// Whether the copy on disk is pushed before a new one is obtained.
    pub pushes_first: bool,
    /// Why, in plain words.
    pub why: String,
    /// Whether a person should look at it.
    pub needs_attention: bool,
}

/// Staging never replaces better; what is better on disk is still brought to the destination. What is left alone and about to
/// expire is told.
pub fn staging(facts: &Facts<'_>, judged: Judged, now: OffsetDateTime) -> Allowed {
    let Judged { on_disk, at_destination, action, pushes_first, why } = judged;
    let mut allowed = Allowed {
        on_disk,
        at_destination,
        action,
        pushes_first,
        why,
        needs_attention: action == Action::Wait,
    };
    if facts.policy.is_staging && would_replace_better(facts, action) {
        allowed.needs_attention = true;
        if pushes_first && facts.disk_is_production() {
            allowed.action = Action::Push;
            let place = facts.policy.place;
            allowed.why =
                format!("the production certificate in the store is better than what {place} has");
        } else {
            let ends = [facts.disk_leaf(), facts.held_leaf()];
            let end = ends.into_iter().flatten().map(|leaf| leaf.not_after).max();
            allowed.action = Action::Leave;
            allowed.why = format!(
                "a staging certificate never replaces a better one, and this one ends on {}: set STAGING=False",
                timestamp(end.unwrap_or(now))
            );
        }
        allowed.pushes_first = false;
    }
    let left = facts.held_leaf().map(|leaf| leaf.not_after - now);
    if allowed.action == Action::Leave && left.is_some_and(|left| left < AT_RISK) {
        allowed.needs_attention = true;
        allowed.why += "; at risk: nothing here will renew it";
    }
    allowed
}

fn would_replace_better(facts: &Facts<'_>, action: Action) -> bool {
    match action {
        Action::Issue | Action::Renew => facts.disk_is_production() || facts.remote_is_production(),
        Action::Push => !facts.disk_is_production() && facts.remote_is_production(),
        Action::Keep | Action::Restore | Action::Leave | Action::Wait => false,
    }
}

/// How an order stands to the certificate that is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the authority has certified exactly these names lately, which its limits favour.
    pub is_renewal: bool,
    /// Whether our own brakes are advice only, because the certificate would expire by them: the authority is asked
    /// once a day, and its answer wins.
    pub overrules: bool,
    /// Whether a person has asked for it, which skips waits of ours.
    pub is_asked: bool,
    /// Whether what is there is only due: it can wait for an order that is stuck.
    pub can_wait: bool,
}

/// Whether and what may be ordered for `Issue` and `Renew`, or what holds that back.
pub(super) fn may_obtain(
    facts: &Facts<'_>,
    allowed: &Allowed,
    around: &Around<'_>,
    record: &impl OnRecord,
    now: OffsetDateTime,
) -> Result<OrderPlan, Setback> {
    if let Some(setback) = record.attempt() {
        return Err(setback);
    }
    let policy = facts.policy;
    let directory = policy.wanted_directory();
    let stored_well = facts.disk.whole().filter(|stored| {
        policy.is_staging || policy.is_production(&stored.shown.leaf, stored.directory.as_deref())
    });
    let present = stored_well.map(|stored| &stored.shown.leaf).filter(|leaf| leaf.is_current(now));
    let is_overdue =
        |stored: &Stored| schedule::overdue_at(&stored.shown.leaf, policy.renew_before) <= now;
    let overrules = stored_well.is_some_and(is_overdue) && !record.is_overruled();
    let Ordered { names, left_out } =
        names_to_order(facts, around, present, overrules, record, now)?;
    let is_renewal = stored_well.is_some_and(|stored| {
        let leaf = &stored.shown.leaf;
        leaf.names_equal(&names.set())
            && stored.directory.as_deref() == Some(directory)
            && now < leaf.not_before.saturating_add(crate::core::budget::RENEWAL_WITHIN)
    });
    let mut plan = OrderPlan {
        lineage: around.lineage.map(str::to_owned),
        entry: facts.names.clone(),
        order: names,
        standing: Standing {
            is_renewal,
            overrules,
            is_asked: facts.is_asked,
            can_wait: allowed.on_disk == OnDisk::Due && !facts.is_asked,
        },
        is_wanted: true,
        is_first: facts.disk.whole().is_none_or(|stored| !stored.shown.leaf.is_current(now)),
        is_resumed: false,
        is_change: allowed.on_disk == OnDisk::Unfit && present.is_some(),
        left_out,
    };
    if let Pending::Order(order) = around.pending {
        let is_this = order.directory == directory && order.names.set() == plan.order.set();
        let stage = order.stage(now);
        plan.is_resumed = match stage {
            Stage::Opened => is_this,
            Stage::Finalized { .. } | Stage::Issued | Stage::Stuck { .. } => true,
            Stage::Intended | Stage::Received | Stage::Lapsed { .. } => false,
        };
        if is_this && !facts.is_asked && !matches!(stage, Stage::Stuck { .. }) {
            resting(order, now)?;
        }
        if plan.is_resumed {
            return match record.authority_of_opened(&order.directory) {
                Some(setback) => Err(setback),
                None => Ok(plan),
            };
        }
    }
    if !facts.is_asked {
        if allowed.action == Action::Renew {
            latch(facts.disk.whole(), policy.renew_before, now)?;
        }
        if plan.is_change {
            change_holds(record, now)?;
        }
    }
    may_open(facts, &plan, around, record, now)?;
    Ok(plan)
}

/// The order in flight is left alone for a while.
fn resting(order: &PendingOrder, now: OffsetDateTime) -> Result<(), Setback> {
    match order.rests_until(now) {
        Some(until) => Err(Setback::later(order.why_it_rests(now), until)),
        None => Ok(()),
    }
}

fn change_holds(record: &impl OnRecord, now: OffsetDateTime) -> Result<(), Setback> {
    match record.next_change().filter(|at| now < *at) {
        Some(at) => {
            let reason = format!(
                "the names of a certificate that is served change at once the first time, then after 1 h, 6 h and daily, \
                 each time with all that is wanted by then: next on {}",
                timestamp(at)
            );
            Err(Setback::later(reason, at))
        }
        None => Ok(()),
    }
}

/// A leaf that was due already when it was stored would be renewed without end: it stops issuing for its names, as
/// long as it is valid.
fn latch(
    stored: Option<&Stored>,
    renew_before: Option<Duration>,
    now: OffsetDateTime,
) -> Result<(), Setback> {
    let Some(stored) = stored else { return Ok(()) };
    let leaf = &stored.shown.leaf;
    // A clock that was ahead may have stored it.
    let was_due = stored
        .stored_at
        .filter(|at| *at <= now)
        .is_some_and(|at| schedule::due_at(leaf, renew_before) <= at);
    if !was_due || leaf.not_after <= now {
        return Ok(());
    }
    let reason = format!(
        "the authority's last certificate was due for renewal already when it came (from {} to {}): asking again would \
         bring another like it, so nothing is asked before it has expired",
        timestamp(leaf.not_before),
        timestamp(leaf.not_after)
    );
    Err(Setback::failure_until(reason, leaf.not_after))
}

//! From a verdict to what is done now, and to what happens next by itself.

use time::OffsetDateTime;

use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::schedule;
use crate::core::setback::Setback;
use crate::decide::Next;
use crate::decide::Verdict;
use crate::decide::classify::Facts;
use crate::decide::filter::Allowed;
use crate::decide::filter::Around;
use crate::decide::filter::OnRecord;
use crate::decide::filter::OrderPlan;
use crate::decide::filter::Standing;
use crate::decide::filter::may_obtain;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;
use crate::decide::order::Stage;
use crate::decide::table::Action;

/// What is done about one certificate now.
#[derive(Debug, Clone)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// Push the copy in the store.
    Push,
    /// Take it back from the destination.
    Restore,
    /// See to what the authority has issued or may have issued already; the next pass sees what is to be done about it.
    Settle(OrderPlan),
    /// Obtain a new one and push it.
    Obtain {
        /// What is ordered.
        plan: OrderPlan,
        /// Whether the copy in the store is pushed before.
        pushes_first: bool,
    },
}

/// What is done now, or what holds it back.
pub(super) fn plan(
    facts: &Facts<'_>,
    allowed: &Allowed,
    around: &Around<'_>,
    record: &impl OnRecord,
    now: OffsetDateTime,
) -> Result<Work, Setback> {
    // Issuing resumes what is in flight by itself.
    let is_idle = matches!(allowed.action, Action::Keep | Action::Leave | Action::Wait);
    let unsettled = unsettled(facts.names, true, around, record, now);
    let has_received =
        matches!(around.pending, Pending::Order(order) if order.received().is_some());
    let may_push = || record.push().map_or(Ok(()), Err);
    Ok(match allowed.action {
        // What was issued is stored first, whatever is wanted by now.
        _ if let Some(plan) = unsettled.clone().filter(|_| is_idle || has_received) => {
            Work::Settle(plan)
        }
        Action::Keep | Action::Leave | Action::Wait => Work::Nothing,
        Action::Push => {
            may_push()?;
            Work::Push
        }
        Action::Restore => {
            may_push()?;
            let key = facts.held_leaf().and_then(|leaf| record.key(&leaf.fingerprint));
            key.map_or(Ok(()), Err)?;
            Work::Restore
        }
        Action::Issue | Action::Renew => match may_obtain(facts, allowed, around, record, now) {
            Ok(plan) => {
                Work::Obtain { plan, pushes_first: allowed.pushes_first && may_push().is_ok() }
            }
            // What is valid goes up even while a better one has to wait.
            Err(_) if allowed.pushes_first && may_push().is_ok() => Work::Push,
            // What may have been issued does not wait for a name that has to.
            Err(setback) => match unsettled {
                Some(plan) => Work::Settle(plan),
                None => return Err(setback),
            },
        },
    })
}

/// What is to be seen to of orders that were finalized, or whose life is over; unless the authority would have to be asked
/// for it and cannot be. `is_wanted` says whether anybody wants these names.
pub fn unsettled(
    wanted: &Names,
    is_wanted: bool,
    around: &Around<'_>,
    record: &impl OnRecord,
    now: OffsetDateTime,
) -> Option<OrderPlan> {
    if record.attempt().is_some() {
        return None;
    }
    let is_open = |order: &PendingOrder| {
        let asks_nobody = matches!(
            order.stage(now),
            Stage::Received | Stage::Lapsed { may_be_issued: false, .. }
        );
        order.is_to_be_seen_to(now)
            && (asks_nobody || record.authority_of_opened(&order.directory).is_none())
    };
    let pending = match around.pending {
        Pending::Order(order) => Some(&**order),
        Pending::None | Pending::Unreadable(_) => None,
    };
    let order = pending.into_iter().chain(around.aside).find(|order| is_open(order))?;
    let is_part = order.names.set().is_subset(&wanted.set());
    Some(OrderPlan {
        lineage: around.lineage.map(str::to_owned),
        entry: wanted.clone(),
        order: if is_part { &order.names } else { wanted }.clone(),
        standing: Standing::default(),
        is_wanted,
        is_first: false,
        is_resumed: true,
        is_change: false,
        left_out: NameSet::new(),
    })
}

/// The earliest of all that happens by itself: the next try of what is held back, of a name that is left out, of an order
/// that rests, or the renewal.
pub(super) fn next(
    facts: &Facts<'_>,
    verdict: &Verdict,
    around: &Around<'_>,
    record: &impl OnRecord,
    now: OffsetDateTime,
) -> Option<Next> {
    let mut all: Vec<Next> = Vec::new();
    let mut add = |at: Option<OffsetDateTime>, what: String| {
        all.extend(at.filter(|at| now < *at).map(|at| Next { at, what }));
    };
    if verdict.held_back.is_some() {
        add(verdict.until(), format!("next try: {}", verdict.action));
    }
    // What is left alone is asked for by nobody.
    if verdict.action != Action::Leave {
        let covers = |name| facts.disk_leaf().is_some_and(|leaf| leaf.covers(name));
        for name in facts.names.iter().filter(|name| !covers(name)) {
            if let Some(wait) = record.name(name) {
                add(wait.setback.until, format!("{name} is tried again"));
            }
        }
    }
    let pending = match around.pending {
        Pending::Order(order) => Some(&**order),
        Pending::None | Pending::Unreadable(_) => None,
    };
    for order in pending.into_iter().chain(around.aside) {
        add(order.rests_until(now), "the order in flight is looked at again".to_owned());
    }
    if verdict.action == Action::Keep {
        let due = facts.disk_leaf().map(|leaf| schedule::due_at(leaf, facts.policy.renew_before));
        add(due, "renewal".to_owned());
    }
    all.into_iter().min_by_key(|next| next.at)
}

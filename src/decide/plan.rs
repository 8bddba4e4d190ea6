//! From a verdict to what is done now, and to what happens next by itself.

use time::OffsetDateTime;

use crate::decide::Next;
use crate::decide::Verdict;
use crate::decide::after::Allowed;
use crate::decide::after::Around;
use crate::decide::after::OnRecord;
use crate::decide::after::Standing;
use crate::decide::after::may_obtain;
use crate::decide::classify::Facts;
use crate::decide::table::Action;
use crate::names::NameSet;
use crate::names::Names;
use crate::order::Pending;
use crate::order::PendingOrder;
use crate::order::Stage;
use crate::schedule;
use crate::setback::Setback;

/// What is done about one certificate now.
#[derive(Debug, Clone)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// Push the copy in the store.
    Push,
    /// Take it back from Rancher.
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

/// What is asked of the authority.
#[derive(Debug, Clone)]
pub struct OrderPlan {
    /// The lineage, or none while it has no folder yet.
    pub lineage: Option<String>,
    /// What the certificate is for; the first name is the one at Rancher.
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

//! Which names the next certificate is ordered for.

use time::Duration;
use time::OffsetDateTime;

use crate::core::certificate::Leaf;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::schedule;
use crate::core::setback::Setback;
use crate::decide::classify::Facts;
use crate::decide::classify::provenance;
use crate::decide::filter::Around;
use crate::decide::filter::OnRecord;

/// A name that has failed this often in a row is left out when the others would expire with it.
const HOPELESS: u32 = 3;

/// Whether a name that a certificate covers, and that has failed so often in a row, goes so that the others of the
/// certificate live on.
pub fn may_be_given_up(
    leaf: &Leaf,
    failures: u32,
    renew_before: Option<Duration>,
    now: OffsetDateTime,
) -> bool {
    HOPELESS <= failures && schedule::last_quarter_at(leaf, renew_before) <= now
}

/// Which names the next certificate is ordered for.
pub(super) struct Ordered {
    pub(super) names: Names,
    /// Names of the present certificate that go, because they fail again and again.
    pub(super) left_out: NameSet,
}

/// Names that wait after a failure are left out, but one that the present, current certificate covers only when the others
/// would expire with it. A surplus name of the present one stays as long as another entry wants it, unless it fails and
/// another certificate of ours covers it.
pub(super) fn names_to_order(
    facts: &Facts<'_>,
    around: &Around<'_>,
    present: Option<&Leaf>,
    overrules: bool,
    record: &impl OnRecord,
    now: OffsetDateTime,
) -> Result<Ordered, Setback> {
    let waits = |name: &DomainName| record.name(name).filter(|wait| wait.is_refused || !overrules);
    let mut names = facts.names.clone();
    if let Some(leaf) = present {
        let surplus = leaf.domain_names().into_iter().filter(|name| {
            around.wanted.contains(name)
                && !(waits(name).is_some() && is_covered_elsewhere(facts, around, name, now))
        });
        names.extend(surplus);
    }
    let is_served = |name: &DomainName| present.is_some_and(|leaf| leaf.covers(name));
    let last_quarter =
        present.map(|leaf| schedule::last_quarter_at(leaf, facts.policy.renew_before));
    let is_hopeless = |name: &DomainName| HOPELESS <= record.failures(name);
    let renew_before = facts.policy.renew_before;
    let goes = |name: &DomainName| {
        present.is_none_or(|leaf| {
            !leaf.covers(name) || may_be_given_up(leaf, record.failures(name), renew_before, now)
        })
    };
    let (waiting, order): (Vec<_>, Vec<_>) =
        names.iter().cloned().partition(|name| waits(name).is_some());
    let order = Names::new(order).filter(|_| waiting.iter().all(goes));
    let Some(names) = order else {
        let longest = waiting.iter().filter_map(waits).map(|wait| wait.setback);
        let Some(mut setback) = longest.max_by_key(|setback| setback.until) else {
            return Err(Setback::failure("its names have to wait"));
        };
        // When it goes on without the names that fail, or has expired.
        let others = waiting.len() < facts.names.iter().count();
        let is_hopeless = waiting.iter().all(|name| !is_served(name) || is_hopeless(name));
        let ends = match (last_quarter, present) {
            (Some(quarter), _) if others && is_hopeless => Some(quarter),
            (_, Some(leaf)) => Some(leaf.not_after),
            _ => None,
        };
        if let Some(ends) = ends.filter(|at| now < *at) {
            setback.until = setback.until.map(|until| until.min(ends));
        }
        return Err(setback);
    };
    Ok(Ordered { names, left_out: waiting.into_iter().filter(is_served).collect() })
}

fn is_covered_elsewhere(
    facts: &Facts<'_>,
    around: &Around<'_>,
    name: &DomainName,
    now: OffsetDateTime,
) -> bool {
    let id = facts.held_id();
    let others = around.held.iter().filter(|held| Some(&held.id) != id);
    others.into_iter().any(|held| {
        held.content.as_ref().is_ok_and(|shown| {
            provenance(facts.known, held, shown).is_some()
                && shown.leaf.is_current(now)
                && shown.leaf.covers(name)
        })
    })
}

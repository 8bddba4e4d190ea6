//! The decision in one place: facts and one `now` in, a verdict out. No port, no lock, no clock.
//!
//! [`classify`] turns facts into a row and a column, [`table`] looks the pair up, [`filter`] is the one filter behind the
//! table, the only place where an action is held back or changed, and [`plan`] says what is to be asked of whom. The pass
//! calls [`decide`] for each certificate; an attempt asks [`filter::may_open`] again right before it opens an order, and a
//! push asks [`classify::judge`] again right before it writes.

use time::OffsetDateTime;

use crate::core::setback::Setback;
use crate::decide::classify::Facts;
use crate::decide::classify::judge;
use crate::decide::filter::Around;
use crate::decide::filter::OnRecord;
use crate::decide::plan::Work;
use crate::decide::table::Action;
use crate::decide::table::AtDestination;
use crate::decide::table::OnDisk;

pub mod order;
pub mod table;
pub mod classify;
pub mod filter;
pub mod plan;

/// What is to be done about one wanted certificate, and why.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The row.
    pub on_disk: OnDisk,
    /// The column.
    pub at_destination: AtDestination,
    /// What is to be done, as the table and the filter say.
    pub action: Action,
    /// Why, in plain words.
    pub why: String,
    /// Whether a person should look at it.
    pub needs_attention: bool,
    /// What holds the action back at present.
    pub held_back: Option<Setback>,
    /// What is done now.
    pub asks: Work,
    /// The earliest of all that happens by itself, where that is known.
    pub next: Option<Next>,
}

/// Something that happens by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// When.
    pub at: OffsetDateTime,
    /// What, in plain words.
    pub what: String,
}

impl Verdict {
    /// When something is tried again or looked at again, if that holds it up.
    pub fn until(&self) -> Option<OffsetDateTime> {
        self.held_back.as_ref().and_then(|setback| setback.until)
    }
}

/// Decides about one wanted certificate.
pub fn decide(
    facts: &Facts<'_>,
    around: &Around<'_>,
    record: &impl OnRecord,
    now: OffsetDateTime,
) -> Verdict {
    let judged = filter::staging(facts, judge(facts, now), now);
    let mut verdict = Verdict {
        on_disk: judged.on_disk,
        at_destination: judged.at_destination,
        action: judged.action,
        needs_attention: judged.needs_attention,
        why: judged.why.clone(),
        held_back: None,
        asks: Work::Nothing,
        next: None,
    };
    match plan::plan(facts, &judged, around, record, now) {
        Ok(work) => {
            if let Work::Obtain { plan, .. } = &work
                && !plan.left_out.is_empty()
            {
                let names: Vec<&str> = plan.left_out.iter().map(|name| name.as_str()).collect();
                verdict.why = format!(
                    "{}; without {}, which has failed again and again: the other names are not to expire with it",
                    verdict.why,
                    names.join(" ")
                );
            }
            if matches!(work, Work::Push) && verdict.action != Action::Push {
                verdict.action = Action::Push;
                verdict.why = format!(
                    "the copy in the store is better than what {} has ({})",
                    facts.policy.place, verdict.why
                );
            }
            verdict.asks = work;
        }
        Err(setback) => verdict.held_back = Some(setback),
    }
    verdict.next = plan::next(facts, &verdict, around, record, now);
    verdict
}

#[cfg(test)]
mod tests;

//! What has become of a certificate since the last pass looked.

use std::borrow::Cow;

use time::Duration;

use crate::core::certificate::Leaf;
use crate::core::setback::Setback;
use crate::decide;
use crate::decide::Verdict;
use crate::decide::plan::Work;
use crate::decide::table::Action;
use crate::decide::table::AtDestination;
use crate::decide::table::OnDisk;
use crate::work::daemon::Snapshot;
use crate::work::daemon::Try;
use crate::work::reconcile::report;
use crate::work::reconcile::report::Row;

/// What the last pass found, and what was done since: nobody waits for the next pass to see when a new certificate
/// ends, or that it could not be had.
pub(in crate::view::status) fn since<'a>(
    row: &'a Row,
    snapshot: &Snapshot,
    renew_before: Option<Duration>,
) -> Cow<'a, Row> {
    let name = row.entry.names.primary().as_str();
    let Some(last) = tried_since(name, snapshot) else {
        return Cow::Borrowed(row);
    };
    let brought = &last.brought;
    let renewal = |leaf: &Leaf| Some(report::Renewal::of(leaf, renew_before));
    let mut row = Cow::Borrowed(row);
    if let Some(leaf) = &brought.on_disk {
        let row = row.to_mut();
        row.renewal = renewal(leaf);
        row.on_disk = report::Copy::Whole(leaf.clone());
    }
    if let Some(leaf) = &brought.at_destination {
        let row = row.to_mut();
        row.renewal_at_destination = renewal(leaf);
        row.at_destination = report::Copy::Whole(leaf.clone());
    }
    if let Some(setback) = &last.setback {
        let row = row.to_mut();
        let verdict = row.verdict.take().unwrap_or_else(was_in_hand);
        row.verdict = Some(held_back(verdict, setback));
    }
    row
}

/// Of a certificate that was worked on when the last pass looked.
fn was_in_hand() -> Verdict {
    Verdict {
        on_disk: OnDisk::Unknown,
        at_destination: AtDestination::Unknown,
        action: Action::Wait,
        why: "the next pass looks at it again".to_owned(),
        needs_attention: false,
        held_back: None,
        asks: Work::Nothing,
        next: None,
    }
}

fn held_back(verdict: Verdict, setback: &Setback) -> Verdict {
    let what = format!("next try: {}", verdict.action);
    Verdict {
        next: setback.until.map(|at| decide::Next { at, what }),
        held_back: Some(setback.clone()),
        ..verdict
    }
}

/// What was tried since the last pass looked.
fn tried_since<'a>(name: &str, snapshot: &'a Snapshot) -> Option<&'a Try> {
    let (report, last) = (snapshot.report.as_ref()?, snapshot.tries.get(name)?);
    (report.at <= last.at).then_some(last)
}

/// Whether what the last pass wanted done has come to its end since.
pub(super) fn is_done(name: &str, snapshot: &Snapshot) -> bool {
    tried_since(name, snapshot).is_some_and(|last| last.setback.is_none())
}

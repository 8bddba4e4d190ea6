//! What a pass has found, for those who look: log, health, later the page.

use time::OffsetDateTime;

use crate::classify::DiskCopy;
use crate::classify::RemoteCopy;
use crate::classify::Verdict;
use crate::decide::Action;
use crate::decide::AtRancher;
use crate::decide::OnDisk;
use crate::engine::Setback;
use crate::wanted::Entry;

/// What one pass has found.
#[derive(Debug, Clone)]
pub struct Report {
    /// When.
    pub at: OffsetDateTime,
    /// Every certificate that is wanted, or still served.
    pub rows: Vec<Row>,
    /// When the next wait ends.
    pub next: Option<OffsetDateTime>,
    /// Why Rancher could not be read, if it could not.
    pub rancher_fault: Option<String>,
}

/// One certificate.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is wanted, and by whom.
    pub entry: Entry,
    /// The verdict; none while its job still runs.
    pub verdict: Option<Verdict>,
    /// What holds the verdict back.
    pub held_back: Option<Setback>,
    /// When something happens next, where that is known.
    pub until: Option<OffsetDateTime>,
    /// End of validity of the copy in the store.
    pub disk_ends: Option<OffsetDateTime>,
    /// End of validity of the copy at Rancher.
    pub rancher_ends: Option<OffsetDateTime>,
}

impl Row {
    pub(super) fn in_hand(entry: Entry) -> Self {
        Self {
            entry,
            verdict: None,
            held_back: None,
            until: None,
            disk_ends: None,
            rancher_ends: None,
        }
    }

    pub(super) fn new(
        entry: Entry,
        disk: &DiskCopy,
        remote: RemoteCopy<'_>,
        verdict: Verdict,
        held_back: Option<Setback>,
    ) -> Self {
        let disk_ends = match disk {
            DiskCopy::Whole(stored) => Some(stored.shown.leaf.not_after),
            DiskCopy::Unknown(_) | DiskCopy::Lost(_) | DiskCopy::Absent | DiskCopy::Broken(_) => None,
        };
        let rancher_ends = match remote {
            RemoteCopy::Held(held) => held.content.as_ref().ok().map(|shown| shown.leaf.not_after),
            RemoteCopy::Unknown(_) | RemoteCopy::Absent => None,
        };
        let until = held_back
            .as_ref()
            .and_then(|setback| setback.until)
            .or(verdict.until);
        Self {
            entry,
            verdict: Some(verdict),
            held_back,
            until,
            disk_ends,
            rancher_ends,
        }
    }

    /// What is to be done; `Wait` while something holds it back or its job still runs.
    pub fn action(&self) -> Action {
        match (&self.verdict, &self.held_back) {
            (Some(verdict), None) => verdict.action,
            (Some(_), Some(_)) | (None, _) => Action::Wait,
        }
    }

    /// Why, in plain words.
    pub fn reason(&self) -> String {
        match (&self.verdict, &self.held_back) {
            (Some(verdict), None) => verdict.reason.clone(),
            (Some(verdict), Some(setback)) => format!(
                "{} ({}: {})",
                setback.reason, verdict.action, verdict.reason
            ),
            (None, _) => "in hand".to_owned(),
        }
    }

    /// Whether it waits only because Rancher cannot be read.
    pub fn waits_for_rancher(&self) -> bool {
        let is_unknown = |verdict: &Verdict| {
            verdict.at_rancher == AtRancher::Unknown && verdict.on_disk != OnDisk::Unknown
        };
        self.held_back.is_none() && self.verdict.as_ref().is_some_and(is_unknown)
    }

    /// Whether a person should look at it.
    pub fn needs_attention(&self) -> bool {
        self.verdict
            .as_ref()
            .is_some_and(|verdict| verdict.needs_attention)
            || self
                .held_back
                .as_ref()
                .is_some_and(|setback| setback.is_failure)
    }
}

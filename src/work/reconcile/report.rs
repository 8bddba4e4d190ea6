//! What a pass has found, for those who look: log, page, metrics, command line.

use std::sync::Arc;

use time::Duration;
use time::OffsetDateTime;

use crate::core::certificate::Leaf;
use crate::core::held::CertificateId;
use crate::core::held::User;
use crate::core::reaction::Failure;
use crate::core::schedule;
use crate::core::setback::Setback;
use crate::core::wanted::Entry;
use crate::decide::Next;
use crate::decide::Verdict;
use crate::decide::classify::DiskCopy;
use crate::decide::classify::Known;
use crate::decide::classify::RemoteCopy;
use crate::decide::classify::provenance;
use crate::decide::table::Action;
use crate::decide::table::AtDestination;
use crate::decide::table::OnDisk;

/// What one pass has found.
#[derive(Debug, Clone)]
pub struct Report {
    /// When it ended.
    pub at: OffsetDateTime,
    /// Every certificate that is wanted, or still served.
    pub rows: Vec<Row>,
    /// When the next wait ends.
    pub next: Option<OffsetDateTime>,
    /// Why the destination could not be read, if it could not.
    pub destination_fault: Option<Failure>,
    /// Why the store could not be read, if it could not.
    pub store_fault: Option<String>,
    /// Whether everything in the store is lost with the container.
    pub is_ephemeral: bool,
    /// Why the folder of challenge files could not be read, if it could not.
    pub webroot_fault: Option<String>,
    /// What is known of the labels.
    pub labels: Labels,
    /// The balancers, or why they could not be read; none if that was not tried, because the destination could not be.
    pub balancers: Option<Result<Arc<[User]>, Failure>>,
    /// Whether the destination has such users at all.
    pub has_users: bool,
    /// Names that were left out or moved, and why.
    pub notices: Vec<String>,
}

/// What is known of the labels of other services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Whether they are read at all.
    pub are_read: bool,
    /// Whether anything is known of them, from metadata or from the store.
    pub are_known: bool,
    /// When they were last read.
    pub read_at: Option<OffsetDateTime>,
    /// Why they could not be read the last time, if they could not.
    pub fault: Option<String>,
}

/// One certificate.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is wanted, and by whom.
    pub entry: Entry,
    /// The verdict; none while its job still runs.
    pub verdict: Option<Verdict>,
    /// An order that is stuck, and what it is about.
    pub stuck: Option<Setback>,
    /// The copy in the store.
    pub on_disk: Copy,
    /// The copy at the destination.
    pub at_destination: Copy,
    /// Its id at the destination, if it is there.
    pub id: Option<CertificateId>,
    /// When the copy in the store is to be renewed, and when half of the time for that is over.
    pub renewal: Option<Renewal>,
    /// The same of the copy at the destination, if that is ours.
    pub renewal_at_destination: Option<Renewal>,
}

/// A copy, as it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copy {
    /// It could not be read or judged, and why.
    Unknown(String),
    /// There is none.
    Absent,
    /// There is something that is no certificate, and how it is broken.
    Broken(String),
    /// A certificate.
    Whole(Leaf),
}

impl Copy {
    /// Its leaf, if it is whole.
    pub fn leaf(&self) -> Option<&Leaf> {
        match self {
            Self::Whole(leaf) => Some(leaf),
            Self::Unknown(_) | Self::Absent | Self::Broken(_) => None,
        }
    }
}

impl From<&DiskCopy> for Copy {
    fn from(copy: &DiskCopy) -> Self {
        match copy {
            DiskCopy::Unknown(unread) | DiskCopy::Lost(unread) => Self::Unknown(unread.why.clone()),
            DiskCopy::Absent => Self::Absent,
            DiskCopy::Broken(why) => Self::Broken(why.clone()),
            DiskCopy::Whole(stored) => Self::Whole(stored.shown.leaf.clone()),
        }
    }
}

impl From<RemoteCopy<'_>> for Copy {
    fn from(copy: RemoteCopy<'_>) -> Self {
        match copy {
            RemoteCopy::Unknown(why) => Self::Unknown(why.to_owned()),
            RemoteCopy::Absent => Self::Absent,
            RemoteCopy::Held(held) => match &held.content {
                Ok(shown) => Self::Whole(shown.leaf.clone()),
                Err(flaw) => Self::Broken(flaw.to_string()),
            },
        }
    }
}

/// When a certificate is to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// From when on.
    pub due_at: OffsetDateTime,
    /// When half of the time to renew it is over.
    pub overdue_at: OffsetDateTime,
}

impl Renewal {
    /// Of a certificate that was or will be renewed so long before its end, if somebody has said how long.
    pub fn of(leaf: &Leaf, renew_before: Option<Duration>) -> Self {
        Self {
            due_at: schedule::due_at(leaf, renew_before),
            overdue_at: schedule::overdue_at(leaf, renew_before),
        }
    }
}

impl Row {
    pub(super) fn new(
        entry: Entry,
        disk: &DiskCopy,
        remote: RemoteCopy<'_>,
        known: &Known,
        renew_before: Option<Duration>,
    ) -> Self {
        let id = match remote {
            RemoteCopy::Held(held) => Some(held.id.clone()),
            RemoteCopy::Unknown(_) | RemoteCopy::Absent => None,
        };
        let on_disk = Copy::from(disk);
        let renewal = |leaf: &Leaf| Renewal::of(leaf, renew_before);
        let ours = match remote {
            RemoteCopy::Held(held) => {
                held.content.as_ref().ok().filter(|shown| provenance(known, held, shown).is_some())
            }
            RemoteCopy::Unknown(_) | RemoteCopy::Absent => None,
        };
        let renewal_at_destination = ours.map(|shown| renewal(&shown.leaf));
        let renewal = on_disk.leaf().map(renewal);
        Self {
            entry,
            verdict: None,
            stuck: None,
            on_disk,
            at_destination: remote.into(),
            id,
            renewal,
            renewal_at_destination,
        }
    }

    pub(super) fn judged(mut self, verdict: Verdict, stuck: Option<Setback>) -> Self {
        self.verdict = Some(verdict);
        self.stuck = stuck;
        self
    }

    /// What holds the verdict back.
    pub fn held_back(&self) -> Option<&Setback> {
        self.verdict.as_ref()?.held_back.as_ref()
    }

    /// When it is tried again, if something holds it back for a time.
    pub fn until(&self) -> Option<OffsetDateTime> {
        self.verdict.as_ref().and_then(Verdict::until)
    }

    /// The earliest of all that happens by itself.
    pub fn next(&self) -> Option<&Next> {
        self.verdict.as_ref()?.next.as_ref()
    }

    /// What is to be done; `Wait` while something holds it back or its job still runs.
    pub fn action(&self) -> Action {
        match &self.verdict {
            Some(verdict) if verdict.held_back.is_none() => verdict.action,
            Some(_) | None => Action::Wait,
        }
    }

    /// Why, in plain words.
    pub fn reason(&self) -> String {
        let Some(verdict) = &self.verdict else {
            return "in hand".to_owned();
        };
        match &verdict.held_back {
            None => verdict.why.clone(),
            Some(setback) => {
                format!("{} ({}: {})", setback.sentence(), verdict.action, verdict.why)
            }
        }
    }

    /// Whether it waits only because the destination cannot be read.
    pub fn waits_for_destination(&self) -> bool {
        let is_unknown = |verdict: &Verdict| {
            verdict.at_destination == AtDestination::Unknown && verdict.on_disk != OnDisk::Unknown
        };
        self.held_back().is_none() && self.verdict.as_ref().is_some_and(is_unknown)
    }

    /// Whether a person should look at it.
    pub fn needs_attention(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.needs_attention)
            || self.held_back().is_some_and(|setback| setback.is_failure)
    }
}

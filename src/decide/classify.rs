//! From facts to a verdict: what each copy is, what is to be done, and why in plain words. Pure; takes `now`.
//!
//! Never judges by a list of issuer names: they rotate without notice.

use std::collections::BTreeMap;

use time::Duration;
use time::OffsetDateTime;

use crate::core::certificate::CertificateChain;
use crate::core::certificate::Leaf;
use crate::core::fingerprint::Fingerprint;
use crate::core::held::CertificateId;
use crate::core::held::Held;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::schedule::Life;
use crate::core::schedule::due_at;
use crate::core::schedule::overdue_at;
use crate::core::text::timestamp;
use crate::decide::table::Action;
use crate::decide::table::AtDestination;
use crate::decide::table::OnDisk;
use crate::decide::table::decide;

mod destination;
mod policy;

pub use destination::provenance;
pub use policy::Policy;
pub use policy::ReplaceForeign;

/// A copy that is on record or should be there, and was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Why.
    pub why: String,
    /// What is on record of it.
    pub life: Option<Life>,
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self { why, life: None }
    }
}

/// The copy in the store.
#[derive(Debug, Clone)]
pub enum DiskCopy {
    /// It could not be read, and why.
    Unknown(Unread),
    /// It is on record, but its files are certainly not there, and which.
    Lost(Unread),
    /// There is none.
    Absent,
    /// It was read whole and is broken, and how.
    Broken(String),
    /// A certificate with its key.
    Whole(Stored),
}

impl DiskCopy {
    /// The certificate, if it is whole.
    pub fn whole(&self) -> Option<&Stored> {
        match self {
            Self::Whole(stored) => Some(stored),
            Self::Unknown(_) | Self::Lost(_) | Self::Absent | Self::Broken(_) => None,
        }
    }
}

/// A certificate with its key in the store.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Leaf and chain.
    pub shown: CertificateChain,
    /// Directory URL of the authority it came from, where that is on record.
    pub directory: Option<String>,
    /// When it was stored, if it came from the authority.
    pub stored_at: Option<OffsetDateTime>,
}

/// The copy at the destination.
#[derive(Debug, Clone, Copy)]
pub enum RemoteCopy<'a> {
    /// There is no whole, trusted list, and why.
    Unknown(&'a str),
    /// There is none.
    Absent,
    /// A certificate.
    Held(&'a Held),
}

/// Every leaf on record, with the directory URL it came from where that is known.
pub type Known = BTreeMap<Fingerprint, Option<String>>;

/// Everything that the verdict on one wanted certificate depends on, but for `now`.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What is wanted.
    pub names: &'a Names,
    /// Names that wait after a failure.
    pub waiting: &'a NameSet,
    /// The copy in the store.
    pub disk: &'a DiskCopy,
    /// The copy at the destination.
    pub remote: RemoteCopy<'a>,
    /// Every leaf on record.
    pub known: &'a Known,
    /// What the settings say.
    pub policy: &'a Policy,
    /// Whether a person has asked for a renewal.
    pub is_asked: bool,
}

/// What a pair of copies is, what the table says of it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The row.
    pub on_disk: OnDisk,
    /// The column.
    pub at_destination: AtDestination,
    /// What the table says.
    pub action: Action,
    /// Whether the copy on disk is better than what the destination has, and valid: it is pushed before a new one is obtained.
    pub pushes_first: bool,
    /// Why, in plain words.
    pub why: String,
}

/// What is left alone and has less than this left is at risk; the destination's own expiry warnings begin here too.
pub const AT_RISK: Duration = Duration::days(30);

/// Looks one pair of copies up in the table.
pub fn judge(facts: &Facts<'_>, now: OffsetDateTime) -> Judged {
    let (on_disk, disk_reason) = facts.on_disk(now);
    let (at_destination, remote_reason) = facts.at_destination(on_disk, now);
    // What the destination holds is compared with what the copy on disk really is.
    let (on_disk, disk_reason) = match (on_disk, at_destination) {
        (
            OnDisk::Fresh,
            AtDestination::Replaceable | AtDestination::Same | AtDestination::Foreign,
        ) if facts.is_asked => {
            let reason = "renewal asked for by a person";
            (OnDisk::Due, reason.to_owned())
        }
        _ => (on_disk, disk_reason),
    };
    let action = decide(on_disk, at_destination);
    let why = match action {
        Action::Keep => format!(
            "fresh until {}",
            timestamp(facts.disk_leaf().map_or(now, |leaf| leaf.not_after))
        ),
        Action::Restore if on_disk == OnDisk::Lost => format!("{disk_reason}; {remote_reason}"),
        Action::Push | Action::Restore | Action::Leave => remote_reason,
        Action::Issue => facts.issue_reason(on_disk, disk_reason, remote_reason),
        Action::Renew if at_destination == AtDestination::Unknown => format!(
            "{disk_reason}, and half of the time to renew it is over; pushed when {} can be read ({remote_reason})",
            facts.policy.place
        ),
        Action::Renew => disk_reason,
        Action::Wait if matches!(on_disk, OnDisk::Unknown | OnDisk::Lost) => disk_reason,
        Action::Wait => remote_reason,
    };
    let pushes_first = matches!(action, Action::Issue | Action::Renew)
        && at_destination == AtDestination::Replaceable
        && facts.disk_is_better(now);
    Judged { on_disk, at_destination, action, pushes_first, why }
}

impl<'a> Facts<'a> {
    pub(super) fn disk_leaf(&self) -> Option<&'a Leaf> {
        self.disk.whole().map(|stored| &stored.shown.leaf)
    }

    /// The leaf at the destination, if there is one that can be read.
    pub(super) fn held_leaf(&self) -> Option<&'a Leaf> {
        self.held().map(|(_, shown)| &shown.leaf)
    }

    /// Its id at the destination.
    pub(super) fn held_id(&self) -> Option<&'a CertificateId> {
        match self.remote {
            RemoteCopy::Held(held) => Some(&held.id),
            RemoteCopy::Unknown(_) | RemoteCopy::Absent => None,
        }
    }

    fn held(&self) -> Option<(&'a Held, &'a CertificateChain)> {
        match self.remote {
            RemoteCopy::Held(held) => held.content.as_ref().ok().map(|shown| (held, shown)),
            RemoteCopy::Unknown(_) | RemoteCopy::Absent => None,
        }
    }

    fn on_disk(&self, now: OffsetDateTime) -> (OnDisk, String) {
        match self.disk {
            DiskCopy::Unknown(unread) | DiskCopy::Lost(unread)
                if let Some(life) = unread.life.filter(|life| self.is_overdue(life, now))
                    && (matches!(self.disk, DiskCopy::Unknown(_)) || !self.is_kept_there(now)) =>
            {
                (
                    OnDisk::Overdue,
                    format!(
                        "{}, and it cannot be read: {}",
                        expiring(life.not_after, now),
                        unread.why
                    ),
                )
            }
            DiskCopy::Unknown(unread) => {
                (OnDisk::Unknown, format!("the store cannot tell: {}", unread.why))
            }
            DiskCopy::Lost(unread) if self.is_kept_there(now) => {
                (OnDisk::Lost, format!("the store has lost what is on record: {}", unread.why))
            }
            DiskCopy::Lost(unread) => (
                OnDisk::Missing,
                format!(
                    "the store has lost what is on record, and {} has no copy of it that lasts: {}",
                    self.policy.place, unread.why
                ),
            ),
            DiskCopy::Absent => {
                (OnDisk::Missing, "there is no certificate in the store".to_owned())
            }
            DiskCopy::Broken(why) => {
                (OnDisk::Missing, format!("the certificate in the store is broken: {why}"))
            }
            DiskCopy::Whole(stored) => {
                self.fitness(&stored.shown.leaf, stored.directory.as_deref(), now)
            }
        }
    }

    fn is_overdue(&self, life: impl Into<Life>, now: OffsetDateTime) -> bool {
        overdue_at(life, self.policy.renew_before) <= now
    }

    /// Whether the destination holds a copy of ours that is not overdue: what the store has lost is not asked for again
    /// meanwhile.
    fn is_kept_there(&self, now: OffsetDateTime) -> bool {
        self.held().is_some_and(|(held, shown)| {
            self.ours(held, shown).is_some() && !self.is_overdue(&shown.leaf, now)
        })
    }

    /// The disk's own test, for either side.
    fn fitness(
        &self,
        leaf: &Leaf,
        directory: Option<&str>,
        now: OffsetDateTime,
    ) -> (OnDisk, String) {
        if self.is_overdue(leaf, now) {
            return (OnDisk::Overdue, expiring(leaf.not_after, now));
        }
        if !self.policy.is_staging && self.policy.is_staging(leaf, directory) {
            return (OnDisk::Unfit, "staging to production".to_owned());
        }
        let lacks = |name: &&DomainName| !leaf.covers(name) && !self.waiting.contains(*name);
        let lacking: Vec<&str> = self.names.iter().filter(lacks).map(DomainName::as_str).collect();
        if !lacking.is_empty() {
            return (OnDisk::Unfit, format!("names changed: it lacks {}", lacking.join(" ")));
        }
        if due_at(leaf, self.policy.renew_before) <= now {
            return (OnDisk::Due, expiring(leaf.not_after, now));
        }
        (OnDisk::Fresh, format!("fresh until {}", timestamp(leaf.not_after)))
    }

    fn issue_reason(&self, on_disk: OnDisk, disk_reason: String, remote_reason: String) -> String {
        match (on_disk, self.disk, self.remote) {
            (OnDisk::Missing, DiskCopy::Absent, RemoteCopy::Absent) => {
                "first certificate".to_owned()
            }
            (OnDisk::Missing, DiskCopy::Absent, _) => remote_reason,
            _ => disk_reason,
        }
    }

    /// Whether the copy on disk is valid, and better than what the destination has.
    fn disk_is_better(&self, now: OffsetDateTime) -> bool {
        let Some(leaf) = self.disk_leaf().filter(|leaf| leaf.is_current(now)) else {
            return false;
        };
        match self.remote {
            RemoteCopy::Unknown(_) => false,
            RemoteCopy::Absent => true,
            RemoteCopy::Held(held) => held.content.as_ref().is_ok_and(|shown| {
                let there = &shown.leaf;
                let is_worse_kind = self.remote_is_production() && !self.disk_is_production();
                let is_better_kind = self.disk_is_production() && !self.remote_is_production();
                !is_worse_kind && (is_better_kind || there.not_after < leaf.not_after)
            }),
        }
    }

    /// Neither self-signed nor staging.
    pub(super) fn disk_is_production(&self) -> bool {
        self.disk.whole().is_some_and(|stored| {
            self.policy.is_production(&stored.shown.leaf, stored.directory.as_deref())
        })
    }

    pub(super) fn remote_is_production(&self) -> bool {
        self.held().is_some_and(|(held, shown)| {
            self.policy.is_production(&shown.leaf, self.ours(held, shown).flatten())
        })
    }
}

fn expiring(not_after: OffsetDateTime, now: OffsetDateTime) -> String {
    let word = if not_after <= now { "expired" } else { "expires" };
    format!("expiring: it {word} on {}", timestamp(not_after))
}

#[cfg(test)]
mod tests;

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

/// When a valid certificate that is not ours is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceForeign {
    /// When it is expired or about to.
    Due,
    /// Not even when it is expired.
    Never,
    /// At once.
    Always,
}

/// What the settings say about deciding.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What the destination is called.
    pub place: &'static str,
    /// Whether staging certificates are wanted.
    pub is_staging: bool,
    /// Directory URL for production.
    pub production_directory: String,
    /// Directory URL for staging.
    pub staging_directory: String,
    /// When to renew, if that is set.
    pub renew_before: Option<Duration>,
    /// What happens to certificates that are not ours.
    pub replace_foreign: ReplaceForeign,
}

impl Policy {
    /// The directory URL that is wanted.
    pub fn wanted_directory(&self) -> &str {
        if self.is_staging { &self.staging_directory } else { &self.production_directory }
    }

    /// Whether it is neither self-signed nor staging, given the directory URL it came from where that is known.
    pub fn is_production(&self, leaf: &Leaf, directory: Option<&str>) -> bool {
        !leaf.is_self_signed && !self.is_staging(leaf, directory)
    }

    /// By record or mark, else by the CA's own marks; what came from the wanted production directory never is.
    fn is_staging(&self, leaf: &Leaf, directory: Option<&str>) -> bool {
        match directory {
            Some(directory) if !self.is_staging && directory == self.production_directory => false,
            Some(directory) if directory == self.staging_directory => true,
            Some(directory) if directory == self.production_directory => false,
            Some(_) | None => leaf.is_marked_staging,
        }
    }
}

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
/// A foreign certificate is about to expire when it has less than this left, and less than a tenth of its life.
const FOREIGN_DUE: Duration = Duration::days(14);

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

    fn at_destination(&self, on_disk: OnDisk, now: OffsetDateTime) -> (AtDestination, String) {
        let place = self.policy.place;
        let held = match self.remote {
            RemoteCopy::Unknown(why) => {
                return (AtDestination::Unknown, format!("{place} cannot tell: {why}"));
            }
            RemoteCopy::Absent => {
                return (AtDestination::Replaceable, format!("{place} does not have it"));
            }
            RemoteCopy::Held(held) => held,
        };
        let shown = match &held.content {
            Ok(shown) => shown,
            Err(flaw) => {
                let why = format!("{place} holds something else under `{}`: {flaw}", held.name);
                return (AtDestination::Foreign, why);
            }
        };
        if let DiskCopy::Whole(stored) = self.disk
            && stored.shown.leaf.fingerprint == shown.leaf.fingerprint
            && stored.shown.chain == shown.chain
        {
            return (AtDestination::Same, format!("{place} has it"));
        }
        let ours = self.ours(held, shown);
        let is_worse_kind = ours
            .is_some_and(|directory| !self.policy.is_production(&shown.leaf, directory))
            && self.disk_is_production()
            && self.disk_leaf().is_some_and(|leaf| leaf.is_current(now));
        if let Some(directory) = &ours
            && !is_worse_kind
            && self.is_newer(&shown.leaf, *directory, on_disk, now)
        {
            return (AtDestination::Newer, format!("{place} has a better copy of ours"));
        }
        self.replaceability(held, shown, ours, now)
    }

    /// Whether a certificate of ours at the destination is as it should be, and the one on disk is not or is older.
    ///
    /// Two instances differ by the jitter in when a certificate is due: one that is due here, and lasts at least as
    /// long as the older one on disk that is not, is never given up for it.
    fn is_newer(
        &self,
        there: &Leaf,
        directory: Option<&str>,
        on_disk: OnDisk,
        now: OffsetDateTime,
    ) -> bool {
        let older = self.disk_leaf().filter(|leaf| leaf.not_before < there.not_before);
        match self.fitness(there, directory, now).0 {
            OnDisk::Fresh => on_disk != OnDisk::Fresh || older.is_some(),
            OnDisk::Due => {
                on_disk == OnDisk::Fresh
                    && there.is_current(now)
                    && older.is_some_and(|leaf| leaf.not_after <= there.not_after)
            }
            OnDisk::Unknown | OnDisk::Lost | OnDisk::Missing | OnDisk::Overdue | OnDisk::Unfit => {
                false
            }
        }
    }

    fn replaceability(
        &self,
        held: &Held,
        shown: &CertificateChain,
        ours: Option<Option<&str>>,
        now: OffsetDateTime,
    ) -> (AtDestination, String) {
        let place = self.policy.place;
        let leaf = &shown.leaf;
        if let Some(directory) = ours {
            let until = timestamp(leaf.not_after);
            let is_same = |own: &Leaf| own.fingerprint == leaf.fingerprint;
            let what = if self.disk_leaf().is_some_and(is_same) {
                "our certificate with another chain".to_owned()
            } else if self.policy.is_production(leaf, directory) {
                format!("an older copy of ours, until {until}")
            } else {
                format!("a staging copy of ours, until {until}")
            };
            return (AtDestination::Replaceable, format!("{place} has {what}"));
        }
        if leaf.is_self_signed {
            return (AtDestination::Replaceable, format!("self-signed at {place}"));
        }
        if !self.policy.is_staging && self.policy.is_staging(leaf, None) {
            return (AtDestination::Replaceable, "staging to production".to_owned());
        }
        let until = timestamp(leaf.not_after);
        let left = leaf.not_after - now;
        let is_ours_to_cover = |name: &str| self.names.iter().any(|own| own.as_str() == name);
        let is_about_to_expire =
            left < FOREIGN_DUE && left < leaf.lifetime() / 10 && leaf.names().all(is_ours_to_cover);
        match self.policy.replace_foreign {
            ReplaceForeign::Always => (
                AtDestination::Replaceable,
                "replaced: not ours, and REPLACE_FOREIGN=always".to_owned(),
            ),
            ReplaceForeign::Due if left <= Duration::ZERO => {
                (AtDestination::Replaceable, format!("replaced: not ours, and expired on {until}"))
            }
            ReplaceForeign::Due if is_about_to_expire => {
                (AtDestination::Replaceable, format!("replaced: not ours, and expires on {until}"))
            }
            ReplaceForeign::Due | ReplaceForeign::Never => {
                let missing: Vec<&str> = self
                    .names
                    .iter()
                    .filter(|name| !leaf.covers(name))
                    .map(DomainName::as_str)
                    .collect();
                let lacks = if missing.is_empty() {
                    String::new()
                } else {
                    format!("; it does not cover {}", missing.join(" "))
                };
                let why =
                    format!("`{}` at {place} is not ours, valid until {until}{lacks}", held.name);
                (AtDestination::Foreign, why)
            }
        }
    }

    /// Whether it is ours: its leaf is on record, or the destination says so of this very leaf. Then the
    /// directory URL it came from, where that is known.
    fn ours(&self, held: &'a Held, shown: &CertificateChain) -> Option<Option<&'a str>> {
        provenance(self.known, held, shown)
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

/// Whether a certificate at the destination is ours, and then the directory URL it came from where that is known.
pub fn provenance<'a>(
    known: &'a Known,
    held: &'a Held,
    shown: &CertificateChain,
) -> Option<Option<&'a str>> {
    if let Some(directory) = known.get(&shown.leaf.fingerprint) {
        return Some(directory.as_deref());
    }
    let owner = held.owner.as_ref()?;
    (owner.leaf == shown.leaf.fingerprint).then_some(Some(owner.directory.as_str()))
}

#[cfg(test)]
mod tests;

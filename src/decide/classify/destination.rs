//! The column: what the copy at the destination is to us, and why.

use time::Duration;
use time::OffsetDateTime;

use crate::core::certificate::CertificateChain;
use crate::core::certificate::Leaf;
use crate::core::held::Held;
use crate::core::names::DomainName;
use crate::core::text::timestamp;
use crate::decide::classify::DiskCopy;
use crate::decide::classify::Facts;
use crate::decide::classify::Known;
use crate::decide::classify::RemoteCopy;
use crate::decide::classify::ReplaceForeign;
use crate::decide::table::AtDestination;
use crate::decide::table::OnDisk;

/// A foreign certificate is about to expire when it has less than this left, and less than a tenth of its life.
const FOREIGN_DUE: Duration = Duration::days(14);

impl<'a> Facts<'a> {
    pub(super) fn at_destination(
        &self,
        on_disk: OnDisk,
        now: OffsetDateTime,
    ) -> (AtDestination, String) {
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
    pub(super) fn ours(&self, held: &'a Held, shown: &CertificateChain) -> Option<Option<&'a str>> {
        provenance(self.known, held, shown)
    }
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

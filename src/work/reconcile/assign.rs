//! Which lineage and which certificate at the destination belong to which wanted certificate.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::core::fingerprint::Fingerprint;
use crate::core::held::CertificateId;
use crate::core::held::Held;
use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::wanted::Entry;
use crate::decide::classify::DiskCopy;
use crate::decide::classify::Known;
use crate::decide::classify::Policy;
use crate::decide::classify::provenance;
use crate::decide::order::Pending;
use crate::store::lineage::Lineage;
use crate::store::publish::folder_name;
use crate::store::record::Record;

/// What belongs to one wanted certificate.
#[derive(Debug, Clone, Default)]
pub struct Assigned {
    /// In the store.
    pub lineage: Option<Arc<Lineage>>,
    /// At the destination.
    pub remote: Option<Held>,
}

/// What belongs to every wanted certificate, in their order, and the lineages that nobody wants.
#[derive(Debug, Default)]
pub struct Assignment {
    /// One for each entry.
    pub entries: Vec<Assigned>,
    /// The rest.
    pub left: Vec<Arc<Lineage>>,
}

/// Finds what belongs to each entry; nothing belongs to two.
///
/// In the store by names and primary name, then by an equal set of names, then by primary name. At the destination by
/// certificate name, then by an equal set of names; of several the first in the destination's order.
pub fn assign(
    entries: &[Entry],
    lineages: &[Arc<Lineage>],
    held: &[Held],
    policy: &Policy,
    now: OffsetDateTime,
) -> Assignment {
    let stores = assign_lineages(entries, lineages, |lineage| worth(lineage, policy, now));
    let remotes = assign_held(entries, held);
    let taken: BTreeSet<&str> =
        stores.iter().flatten().map(|lineage| lineage.name.as_str()).collect();
    let left =
        lineages.iter().filter(|lineage| !taken.contains(lineage.name.as_str())).cloned().collect();
    let entries = stores
        .iter()
        .zip(remotes)
        .map(|(lineage, remote)| Assigned { lineage: lineage.clone(), remote: remote.cloned() });
    Assignment { entries: entries.collect(), left }
}

fn assign_lineages<O: Ord>(
    entries: &[Entry],
    lineages: &[Arc<Lineage>],
    worth: impl Fn(&Lineage) -> O,
) -> Vec<Option<Arc<Lineage>>> {
    let mut by_set: BTreeMap<NameSet, Vec<&Arc<Lineage>>> = BTreeMap::new();
    let mut by_primary: BTreeMap<Cow<'_, str>, Vec<&Arc<Lineage>>> = BTreeMap::new();
    for lineage in lineages {
        if let Some(names) = names(lineage) {
            by_set.entry(names.set()).or_default().push(lineage);
        }
        by_primary.entry(folder(lineage)).or_default().push(lineage);
    }
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut found: Vec<Option<Arc<Lineage>>> = vec![None; entries.len()];
    let is_primary =
        |lineage: &Lineage, entry: &Entry| folder(lineage) == folder_name(entry.names.primary());
    type Candidates<'a> = Box<dyn Fn(&Entry) -> Vec<&'a Arc<Lineage>> + 'a>;
    let equal = |entry: &Entry| by_set.get(&entry.names.set()).cloned().unwrap_or_default();
    let primary = |entry: &Entry| {
        by_primary.get(&folder_name(entry.names.primary())).cloned().unwrap_or_default()
    };
    let rounds: [Candidates<'_>; 3] = [
        Box::new(|entry| {
            equal(entry).into_iter().filter(|lineage| is_primary(lineage, entry)).collect()
        }),
        Box::new(equal),
        Box::new(primary),
    ];
    for candidates in &rounds {
        for (entry, found) in entries.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let free = candidates(entry)
                .into_iter()
                .filter(|lineage| !taken.contains(lineage.name.as_str()));
            if let Some(best) = free.max_by_key(|lineage| worth(lineage)) {
                taken.insert(&best.name);
                *found = Some(Arc::clone(best));
            }
        }
    }
    found
}

/// Of several lineages a production one that is valid, then the one that lasts longest; what cannot be read counts
/// most, because nothing may be issued in its place.
fn worth(
    lineage: &Lineage,
    policy: &Policy,
    now: OffsetDateTime,
) -> (u8, bool, Option<OffsetDateTime>) {
    match &lineage.copy {
        DiskCopy::Unknown(_) | DiskCopy::Lost(_) => (3, false, None),
        DiskCopy::Whole(stored) => {
            let leaf = &stored.shown.leaf;
            let is_good =
                leaf.is_current(now) && policy.is_production(leaf, stored.directory.as_deref());
            (2, is_good, Some(leaf.not_after))
        }
        DiskCopy::Broken(_) => (1, false, None),
        DiskCopy::Absent => (0, false, None),
    }
}

fn names(lineage: &Lineage) -> Option<&Names> {
    match (&lineage.record, &lineage.pending) {
        (Some(record), _) => Some(&record.names),
        (None, Pending::Order(order)) => Some(&order.names),
        (None, Pending::None | Pending::Unreadable(_)) => None,
    }
}

/// The name of its folder is all that is known without a record: an order may leave out a primary name that waits.
fn folder(lineage: &Lineage) -> Cow<'_, str> {
    match &lineage.record {
        Some(record) => folder_name(record.names.primary()),
        None => base_name(&lineage.name).into(),
    }
}

/// A folder's name without certbot's `-0001`.
fn base_name(lineage: &str) -> &str {
    match lineage.rsplit_once('-') {
        Some((base, number))
            if number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            base
        }
        Some(_) | None => lineage,
    }
}

/// Whether a folder has the name that certbot would give to a lineage of this primary name.
pub fn is_named_after(lineage: &str, primary: &str) -> bool {
    lineage == primary || base_name(lineage) == primary
}

fn assign_held<'a>(entries: &[Entry], held: &'a [Held]) -> Vec<Option<&'a Held>> {
    let mut by_name: BTreeMap<&str, &Held> = BTreeMap::new();
    let mut by_names: BTreeMap<Vec<&str>, Vec<&Held>> = BTreeMap::new();
    for held in held {
        let first = by_name.entry(&held.occupies).or_insert(held);
        // Of several the one that has this name as it is written.
        if held.name == held.occupies && first.name != held.occupies {
            *first = held;
        }
        if let Ok(shown) = &held.content {
            by_names.entry(shown.leaf.names().collect()).or_default().push(held);
        }
    }
    let mut taken: BTreeSet<&CertificateId> = BTreeSet::new();
    let named = |entry: &Entry| by_name.get(entry.names.primary().as_str()).copied();
    let mut found: Vec<Option<&Held>> = entries.iter().map(named).collect();
    taken.extend(found.iter().flatten().map(|held| &held.id));
    for (entry, found) in entries.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
        let set = entry.names.set();
        let sorted: Vec<&str> = set.iter().map(|name| name.as_str()).collect();
        let mut equal = by_names.get(&sorted).into_iter().flatten();
        *found = equal.find(|held| !taken.contains(&held.id)).copied();
        taken.extend(found.map(|held| &held.id));
    }
    found
}

/// What is at the destination, by leaf and by name, so that nobody looks through all of it.
#[derive(Debug, Default)]
pub struct Index<'a> {
    by_leaf: BTreeMap<Fingerprint, Vec<(usize, &'a Held)>>,
    by_name: BTreeMap<&'a str, Vec<(usize, &'a Held)>>,
}

impl<'a> Index<'a> {
    /// Sorts all of it.
    pub fn new(held: &'a [Held]) -> Self {
        let mut index = Self::default();
        for (place, held) in held.iter().enumerate() {
            let Ok(shown) = &held.content else { continue };
            let leaf = shown.leaf.fingerprint;
            index.by_leaf.entry(leaf).or_default().push((place, held));
            index.by_name.entry(&held.occupies).or_default().push((place, held));
        }
        index
    }

    /// What has one of the leaves of a record, or its name, and where it stands in the destination's order.
    fn of(&self, record: &Record) -> impl Iterator<Item = (usize, &'a Held)> {
        let leaves = record.versions.iter().filter_map(|version| version.leaf);
        let by_leaf = leaves.filter_map(|leaf| self.by_leaf.get(&leaf));
        let name = record.names.primary().as_str();
        by_leaf.chain(self.by_name.get(name)).flatten().copied()
    }
}

/// The certificate at the destination of a lineage that nobody wants: one of its own, never what somebody put in its place,
/// nor what belongs to another by now. `taken` are the ids of the latter.
pub fn of_lineage<'a>(
    lineage: &Lineage,
    held: &Index<'a>,
    known: &Known,
    taken: &BTreeSet<CertificateId>,
) -> Option<&'a Held> {
    let record = lineage.record.as_ref()?;
    let is_named = |held: &Held| held.occupies == record.names.primary().as_str();
    let is_ours = |held: &&Held| {
        let Ok(shown) = &held.content else {
            return false;
        };
        let leaf = shown.leaf.fingerprint;
        let is_on_record = record.versions.iter().any(|version| version.leaf == Some(leaf));
        // A mark says that it is ours, not of which lineage; the name does.
        let is_marked = || {
            is_named(held) && !known.contains_key(&leaf) && provenance(known, held, shown).is_some()
        };
        !taken.contains(&held.id) && (is_on_record || is_marked())
    };
    let ours = held.of(record).filter(|(_, held)| is_ours(held));
    ours.min_by_key(|(place, held)| (!is_named(held), *place)).map(|(_, held)| held)
}

#[cfg(test)]
mod tests;

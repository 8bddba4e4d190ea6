//! Lineages as they stand on the disk.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::core::bundle::Bundle;
use crate::core::bundle::Secret;
use crate::core::certificate::Flaw;
use crate::core::fingerprint::Fingerprint;
use crate::core::resource::Token;
use crate::decide::classify::DiskCopy;
use crate::decide::classify::Stored;
use crate::decide::classify::Unread;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;
use crate::ports::Disk;
use crate::ports::Safe;
use crate::ports::Stamp;
use crate::store::CERTIFICATES;
use crate::store::PENDING;
use crate::store::STUCK;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::While;
use crate::store::file_name;
use crate::store::json;
use crate::store::record::Record;
use crate::store::record::Source;
use crate::store::record::Version;

/// A lineage, read whole.
#[derive(Debug)]
pub struct Lineage {
    /// The name of its folders.
    pub name: String,
    /// What is on record; none while its first order is in flight.
    pub record: Option<Record>,
    /// Its live version.
    pub copy: DiskCopy,
    /// Its order in flight.
    pub pending: Pending,
    /// Its orders that are stuck, and out of the way of another.
    pub aside: Vec<PendingOrder>,
}

/// A lineage as it was read, and the versions of the files it was read from.
#[derive(Debug)]
pub(super) struct Cached {
    stamps: [Stamp; 3],
    lineage: Arc<Lineage>,
}

/// The last line that is whole; a torn one behind it was never relied on.
fn last_line(content: &[u8]) -> Result<PendingOrder, String> {
    let mut lines = content.rsplit(|byte| *byte == b'\n');
    if let Some(last) = lines.find(|line| !line.is_empty())
        && let Ok(order) = serde_json::from_slice(last)
    {
        return Ok(order);
    }
    let mut last = Err("it is empty".to_owned());
    for order in serde_json::Deserializer::from_slice(content).into_iter() {
        match order {
            Ok(order) => last = Ok(order),
            Err(error) => return last.map_err(|_: String| error.to_string()),
        }
    }
    last
}

/// How the name of the file of an order in flight ends.
const ORDER: &str = ".json";

/// The lineages whose orders stand in a folder of such names.
pub(super) fn ordered(names: Vec<String>) -> BTreeSet<String> {
    names
        .iter()
        .filter(|name| !name.starts_with('.'))
        .filter_map(|name| name.strip_suffix(ORDER))
        .map(str::to_owned)
        .collect()
}

impl<D: Disk> Store<D> {
    /// Reads every lineage. Files that did not change since the last time are not read again.
    pub fn lineages(&self, now: OffsetDateTime) -> Result<Vec<Arc<Lineage>>, StoreError> {
        let folder = self.own(CERTIFICATES);
        let names = self.disk.list(&folder).during("list", &folder)?;
        let mut pending = ordered(self.list_or_nothing(&self.own(PENDING))?);
        pending.extend(ordered(self.list_or_nothing(&self.own(STUCK))?));
        let mut lineages = Vec::with_capacity(names.len());
        let visible = names.iter().filter(|name| !name.starts_with('.'));
        for name in visible.filter_map(|name| name.strip_suffix(".json")) {
            if let Some(lineage) = self.lineage(name, pending.contains(name), now) {
                pending.remove(name);
                lineages.push(lineage);
            }
        }
        for name in pending {
            let order = self.pending(&name);
            let aside = self.stuck_or_none(&name);
            if !matches!(order, Pending::None) || !aside.is_empty() {
                lineages.push(Arc::new(Lineage {
                    name,
                    record: None,
                    copy: DiskCopy::Absent,
                    pending: order,
                    aside,
                }));
            }
        }
        let present: BTreeSet<&str> =
            lineages.iter().map(|lineage| lineage.name.as_str()).collect();
        self.with_cache(|cache| cache.retain(|name, _| present.contains(name.as_str())));
        drop(present);
        Ok(lineages)
    }

    /// Reads one lineage; none if it has no record, or a broken one that cannot be made again.
    fn lineage(&self, name: &str, is_pending: bool, now: OffsetDateTime) -> Option<Arc<Lineage>> {
        let path = self.record_path(name);
        if !is_pending && let Some(cached) = self.cached(name, &path) {
            return Some(cached);
        }
        let stamp = self.disk.stamp(&path);
        let record = match self.record_or_remade(name, now) {
            Ok(Some(record)) => record,
            Ok(None) => return None,
            Err(error) => {
                let copy = DiskCopy::Unknown(error.to_string().into());
                let lineage = Lineage {
                    name: name.to_owned(),
                    record: None,
                    copy,
                    pending: Pending::None,
                    aside: Vec::new(),
                };
                return Some(Arc::new(lineage));
            }
        };
        let [chain, key] = self.live_files(name, record.live);
        let stamps = [stamp, self.disk.stamp(&chain), self.disk.stamp(&key)];
        let copy = self.copy(name, &record);
        let (pending, aside) = if is_pending {
            (self.pending(name), self.stuck_or_none(name))
        } else {
            (Pending::None, Vec::new())
        };
        // What could not be told is asked again, whether the file has changed or not.
        let is_settled = !is_pending
            && matches!(pending, Pending::None)
            && !matches!(copy, DiskCopy::Unknown(_) | DiskCopy::Lost(_));
        let lineage =
            Arc::new(Lineage { name: name.to_owned(), record: Some(record), copy, pending, aside });
        if let (true, [Ok(record), Ok(chain), Ok(key)]) = (is_settled, stamps) {
            let cached = Cached { stamps: [record, chain, key], lineage: Arc::clone(&lineage) };
            self.with_cache(|cache| cache.insert(name.to_owned(), cached));
        }
        Some(lineage)
    }

    /// Reads a record. A broken one is set aside and made again from the certificates beside it, as if certbot had
    /// left them: they are as good as before.
    fn record_or_remade(
        &self,
        name: &str,
        now: OffsetDateTime,
    ) -> Result<Option<Record>, StoreError> {
        let path = self.record_path(name);
        match self.read_json::<Record>(&path)? {
            Some(Ok(record)) => Ok(Some(record)),
            Some(Err(_)) => self.alone(name, || self.remade(name, &path, now)),
            None => Ok(None),
        }
    }

    fn remade(
        &self,
        name: &str,
        path: &Path,
        now: OffsetDateTime,
    ) -> Result<Option<Record>, StoreError> {
        // Another version may have been stored over it meanwhile.
        let why = match self.read_json::<Record>(path)? {
            Some(Ok(record)) => return Ok(Some(record)),
            Some(Err(why)) => why,
            None => return Ok(None),
        };
        match self.found(name, now)? {
            Ok(found) => {
                let record = self.archived_record(name, found)?;
                self.set_record_aside(name, &record, &why)?;
                Ok(Some(record))
            }
            Err(nothing) => {
                self.set_aside(path, &format!("{why}, and {nothing}"))?;
                Ok(None)
            }
        }
    }

    fn cached(&self, name: &str, record: &Path) -> Option<Arc<Lineage>> {
        let (stamps, lineage) = self.with_cache(|cache| {
            cache.get(name).map(|cached| (cached.stamps, Arc::clone(&cached.lineage)))
        })?;
        let [chain, key] = self.live_files(name, lineage.record.as_ref()?.live);
        let is_same = |path: &Path, stamp| self.disk.stamp(path).is_ok_and(|now| now == stamp);
        let [record_stamp, chain_stamp, key_stamp] = stamps;
        (is_same(record, record_stamp) && is_same(&chain, chain_stamp) && is_same(&key, key_stamp))
            .then_some(lineage)
    }

    fn copy(&self, name: &str, record: &Record) -> DiskCopy {
        let unread =
            |why: String| Unread { why, life: record.live_version().and_then(Version::life) };
        match self.read_bundle(name, record.live) {
            Ok(Ok(bundle)) => {
                let leaf = bundle.leaf().fingerprint;
                let is_own = |version: &&Version| version.leaf == Some(leaf);
                let version = record.live_version().filter(is_own);
                DiskCopy::Whole(Stored {
                    shown: bundle.shown().clone(),
                    directory: version.and_then(|version| version.directory.clone()),
                    stored_at: version
                        .filter(|version| version.source == Source::Issued)
                        .map(|version| version.stored_at),
                })
            }
            Ok(Err(Flaw(why))) => DiskCopy::Broken(self.in_version(name, record, &why)),
            Err(error) if error.is_not_found() && self.is_wiped(name) => DiskCopy::Absent,
            Err(error) if error.is_not_found() && self.is_lost(name) => {
                DiskCopy::Lost(unread(error.to_string()))
            }
            Err(error) => DiskCopy::Unknown(unread(error.to_string())),
        }
    }

    /// Whether the folder of a file that is not there could be read: the file is gone, not out of reach.
    fn is_lost(&self, name: &str) -> bool {
        self.disk.list(&self.archive(name)).is_ok()
    }

    fn in_version(&self, name: &str, record: &Record, why: &str) -> String {
        let archive = self.archive(name);
        format!("version {} in {}: {why}", record.live, archive.display())
    }

    /// Whether somebody removed the whole lineage, as `certbot delete` does; one file that is not there where it
    /// should be is something else.
    fn is_wiped(&self, name: &str) -> bool {
        [self.archive(name), self.live(name)]
            .iter()
            .all(|folder| matches!(self.disk.exists(folder), Ok(false)))
    }

    /// Reads a version with its key; an error inside if it was read whole and is no bundle.
    pub fn read_bundle(&self, name: &str, number: u32) -> Result<Result<Bundle, Flaw>, StoreError> {
        let [chain, key] = self.live_files(name, number);
        let text = |content: Vec<u8>| String::from_utf8_lossy(&content).into_owned();
        let chain = text(self.read(&chain)?);
        let key = Secret::new(text(self.read(&key)?));
        Ok(Bundle::parse(&chain, &key))
    }

    /// Whether a version of a lineage has this leaf, and can be used.
    pub fn is_stored(&self, name: &str, leaf: &Fingerprint) -> Result<bool, StoreError> {
        let record = self.record(name)?;
        let versions = record.iter().flat_map(|record| &record.versions);
        for version in versions.filter(|version| version.leaf.as_ref() == Some(leaf)) {
            match self.read_bundle(name, version.number) {
                Ok(Ok(bundle)) if bundle.leaf().fingerprint == *leaf => return Ok(true),
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Reads an order in flight.
    pub fn pending(&self, name: &str) -> Pending {
        let path = self.order_path(name);
        let content = match self.read(&path) {
            Ok(content) => content,
            Err(error) if error.is_not_found() => return Pending::None,
            Err(error) => return Pending::Unreadable(error.to_string()),
        };
        match last_line(&content) {
            Ok(order) => Pending::Order(Box::new(order)),
            Err(why) => match self.set_aside(&path, &why) {
                Ok(()) => Pending::None,
                Err(error) => Pending::Unreadable(error.to_string()),
            },
        }
    }

    /// The tokens of all orders in flight.
    pub fn published_tokens(&self) -> Result<BTreeSet<Token>, StoreError> {
        let names = ordered(self.list_or_nothing(&self.own(PENDING))?);
        let orders = names.iter().filter_map(|name| match self.pending(name) {
            Pending::Order(order) => Some(order.challenges.into_values()),
            Pending::None | Pending::Unreadable(_) => None,
        });
        Ok(orders.flatten().map(|challenge| challenge.token).collect())
    }

    /// Keeps an order in flight: a line with all of it, behind those that were kept before.
    ///
    /// What this process did not begin is begun anew, whole or not at all: behind a torn line nothing could be read.
    pub fn save_pending(&self, name: &str, order: &PendingOrder) -> Result<(), StoreError> {
        self.save_order(name, order, Safe::Now)
    }

    /// The same for what a power failure may take, because nothing that costs rests on it: the next line that is kept
    /// says it again.
    pub fn note_pending(&self, name: &str, order: &PendingOrder) -> Result<(), StoreError> {
        self.save_order(name, order, Safe::Later)
    }

    fn save_order(&self, name: &str, order: &PendingOrder, safe: Safe) -> Result<(), StoreError> {
        let path = self.order_path(name);
        let mut line =
            serde_json::to_vec(order).map_err(io::Error::other).during("write", &path)?;
        line.push(b'\n');
        if self.with_begun(|begun| begun.remove(name)) {
            self.disk.append(&path, &line, safe).during("write", &path)?;
        } else {
            self.disk
                .write(&self.own(PENDING), &[(file_name(&path), &line)], Safe::Now)
                .during("write", &path)?;
        }
        self.with_begun(|begun| begun.insert(name.to_owned()));
        Ok(())
    }

    /// Forgets an order in flight.
    pub fn clear_pending(&self, name: &str) -> Result<(), StoreError> {
        self.forget_order(name, Safe::Now)
    }

    /// The same when its certificate is in the store: an order that comes back with a power failure is known by that.
    pub fn clear_stored(&self, name: &str) -> Result<(), StoreError> {
        self.forget_order(name, Safe::Later)
    }

    fn forget_order(&self, name: &str, safe: Safe) -> Result<(), StoreError> {
        self.with_begun(|begun| begun.remove(name));
        let path = self.order_path(name);
        self.disk.remove(&path, safe).during("remove", &path)
    }

    /// Reads a record; none if there is none, or it is broken.
    pub fn record(&self, name: &str) -> Result<Option<Record>, StoreError> {
        Ok(self.read_json(&self.record_path(name))?.and_then(Result::ok))
    }

    /// Keeps a record as it is.
    pub fn save_record(&self, name: &str, record: &Record) -> Result<(), StoreError> {
        self.write_json(&self.own(CERTIFICATES), &format!("{name}.json"), record)
    }

    /// Puts a new record in the place of a broken one, which is kept beside it.
    fn set_record_aside(&self, name: &str, record: &Record, why: &str) -> Result<(), StoreError> {
        let path = self.record_path(name);
        let broken = self.read(&path)?;
        let aside = self.aside(&path)?;
        let (aside, file) = (file_name(&aside), file_name(&path));
        // Both or none: without a record the certificate would be missing, and be issued anew.
        let record = json(record, &path)?;
        self.disk
            .write(&self.own(CERTIFICATES), &[(aside, &broken), (file, &record)], Safe::Now)
            .during("write", &path)?;
        tracing::warn!(path = %path.display(), aside, error = why, "broken record set aside and made again");
        Ok(())
    }

    pub(super) fn record_path(&self, name: &str) -> PathBuf {
        self.own(CERTIFICATES).join(format!("{name}.json"))
    }

    pub(super) fn order_path(&self, name: &str) -> PathBuf {
        self.own(PENDING).join(format!("{name}{ORDER}"))
    }

    pub(super) fn archive(&self, name: &str) -> PathBuf {
        self.root.join("archive").join(name)
    }

    pub(super) fn live(&self, name: &str) -> PathBuf {
        self.root.join("live").join(name)
    }

    pub(super) fn renewal(&self, name: &str) -> PathBuf {
        self.root.join("renewal").join(format!("{name}.conf"))
    }

    fn live_files(&self, name: &str, number: u32) -> [PathBuf; 2] {
        ["fullchain", "privkey"].map(|file| self.archived_file(name, file, number))
    }
}

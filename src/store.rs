//! The store: a folder in certbot's layout with our records beside it.
//!
//! Calls block; [`Store::run`] brings them off the threads that serve everything else.
//! `rancher-lets-encrypt/certificates/<lineage>.json` is the truth about which version is live; `live/` is a view of
//! it that is repaired at start. What an interrupted write leaves behind is always the state before it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::core::bundle::KeyType;
use crate::core::labels::LabelsRecord;
use crate::core::unsupported;
use crate::ports::Disk;
use crate::ports::Safe;
use crate::store::ledger::file::Length;
use crate::store::ledger::file::Queue;
use crate::store::lineage::Cached;
use crate::store::record::AccountRecord;
use crate::store::record::WakeOwed;

pub mod ledger;
pub mod lineage;
pub mod publish;
pub mod record;
pub mod request;
pub mod renewal;
mod stuck;
mod takeover;
mod view;

/// The folder that holds everything of ours that certbot does not know.
const OWN: &str = "rancher-lets-encrypt";
const CERTIFICATES: &str = "certificates";
const PENDING: &str = "pending";
/// Folder of orders that are stuck.
const STUCK: &str = "stuck";
const ACCOUNTS: &str = "accounts";
const LABELS: &str = "names.json";
const WAKE_OWED: &str = "wake-owed";
const OUTBOX: &str = "outbox.json";

/// What takes the lock, in [`StoreError::new`].
pub const LOCK: &str = "lock";
/// What makes links.
const LINK: &str = "link in";

/// What could not be done with which file.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}{}", path.display(), hint(action, source))]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StoreError {
    /// What could not be done with which file; the action is a verb.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    /// Whether the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

fn hint(action: &str, error: &io::Error) -> &'static str {
    use io::ErrorKind;
    let kind = error.kind();
    if action == LOCK && unsupported::is_no_lock(error) {
        return ": the file system of the store has no locks (flock): put the store on a local disk, or mount the share \
                with them (NFS: without `nolock`, with its lock service running)";
    }
    if action == LINK && unsupported::is_no_link(error) {
        return ": the file system of the store has no symbolic links: put the store on one of Linux' own, or mount the \
                share with them (CIFS: `mfsymlinks`)";
    }
    if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        ": make room on the volume of the store"
    } else if kind == ErrorKind::ReadOnlyFilesystem {
        ": mount the volume of the store writable"
    } else if kind == ErrorKind::PermissionDenied {
        ": the daemon runs as root with the capabilities in docker-compose.yml"
    } else {
        ""
    }
}

/// Names what was being done to what, where an operation of the disk failed.
trait While<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> While<T> for io::Result<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::new(action, path, source))
    }
}

/// The store on a disk.
#[derive(Debug)]
pub struct Store<D> {
    disk: Arc<D>,
    root: PathBuf,
    webroot: PathBuf,
    key_type: KeyType,
    cache: Mutex<BTreeMap<String, Cached>>,
    ledger: Mutex<Length>,
    /// Lines that wait to be written into it.
    queue: Mutex<Queue>,
    /// Lineages whose live view is not in line with the record, and why not.
    stale: Mutex<BTreeMap<String, String>>,
    /// Lineages whose order in flight this process has written whole, so that lines may be added.
    begun: Mutex<BTreeSet<String>>,
    /// One lock for each lineage, held while its record is read and written.
    writing: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

impl<D: Disk> Store<D> {
    /// The store at `root`; certbot is told of `webroot`.
    pub fn new(disk: Arc<D>, root: &Path, webroot: &Path) -> Self {
        Self {
            disk,
            root: root.to_owned(),
            webroot: webroot.to_owned(),
            key_type: KeyType::Ec256,
            cache: Mutex::default(),
            ledger: Mutex::default(),
            queue: Mutex::default(),
            stale: Mutex::default(),
            begun: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// Certbot is told of this kind of keys, for the day when it takes over; of [`KeyType::Ec256`] without.
    #[must_use]
    pub fn with_key_type(self, key_type: KeyType) -> Self {
        Self { key_type, ..self }
    }

    /// Runs blocking work on the store. It ends even if nobody waits for it any more.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let store = Arc::clone(self);
        self.disk.run(move |_| work(&store)).await
    }

    /// Makes the folders that are always there. What was found in them may have been made by a process that was killed
    /// before it was safe from a power failure, and it is relied upon from here on.
    pub fn prepare(&self) -> Result<(), StoreError> {
        let own = [CERTIFICATES, PENDING, STUCK, ACCOUNTS].map(|name| self.own(name));
        let certbots = ["live", "archive", "renewal"].map(|name| self.root.join(name));
        for folder in own.iter().chain(&certbots) {
            self.disk.make_folder(folder).during("make the folder", folder)?;
        }
        let above = [self.root.clone(), self.root.join(OWN)];
        let root = self.root.parent().map(Path::to_owned);
        for folder in root.iter().chain(&above).chain(&own).chain(&certbots) {
            if let Err(error) = self.disk.settle(folder) {
                tracing::debug!(folder = %folder.display(), %error, "folder not synced");
            }
        }
        Ok(())
    }

    /// Where the lock is.
    pub fn lock_path(&self) -> PathBuf {
        self.own("lock")
    }

    /// Whether everything in it is lost with the container.
    pub fn is_ephemeral(&self) -> bool {
        self.disk.is_ephemeral(&self.root)
    }

    /// The account at an authority, if there is one on record.
    pub fn account(&self, directory: &str) -> Result<Option<AccountRecord>, StoreError> {
        let path = self.own(ACCOUNTS).join(account_file(directory));
        match self.read_json::<AccountRecord>(&path)? {
            // Two directories may share a file name only if somebody made them to.
            Some(Ok(record)) if record.directory == directory => Ok(Some(record)),
            Some(Ok(_)) => Ok(None),
            Some(Err(why)) => {
                self.set_aside(&path, &why)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// All accounts on record, as far as they can be read.
    pub fn accounts(&self) -> Result<Vec<AccountRecord>, StoreError> {
        let folder = self.own(ACCOUNTS);
        let names = self.list_or_nothing(&folder)?;
        let mut records = Vec::new();
        for name in names.iter().filter(|name| name.ends_with(".json") && !name.starts_with('.')) {
            if let Some(Ok(record)) = self.read_json(&folder.join(name))? {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Keeps an account.
    pub fn save_account(&self, record: &AccountRecord) -> Result<(), StoreError> {
        self.write_json(&self.own(ACCOUNTS), &account_file(&record.directory), record)
    }

    /// What was last learned from labels, if that is on record.
    pub fn labels(&self) -> Result<Option<LabelsRecord>, StoreError> {
        let path = self.own(LABELS);
        match self.read_json(&path)? {
            Some(Ok(record)) => Ok(Some(record)),
            Some(Err(why)) => {
                self.set_aside(&path, &why)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Keeps what was learned from labels.
    pub fn save_labels(&self, record: &LabelsRecord) -> Result<(), StoreError> {
        self.write_json(&self.own(""), LABELS, record)
    }

    /// The outbox of notices, if there is one. One that is broken is set aside.
    pub fn outbox<T: DeserializeOwned>(&self) -> Result<Option<T>, StoreError> {
        let path = self.own(OUTBOX);
        match self.read_json(&path)? {
            Some(Ok(outbox)) => Ok(Some(outbox)),
            Some(Err(why)) => {
                self.set_aside(&path, &why)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Keeps the outbox of notices.
    pub fn save_outbox(&self, outbox: &impl Serialize) -> Result<(), StoreError> {
        self.write_json(&self.own(""), OUTBOX, outbox)
    }

    /// Whether balancers are still to be woken.
    pub fn is_wake_owed(&self) -> Result<bool, StoreError> {
        let path = self.own(WAKE_OWED);
        self.disk.exists(&path).during("look for", &path)
    }

    /// Notes that balancers are to be woken.
    pub fn owe_wake(&self, owed: &WakeOwed) -> Result<(), StoreError> {
        self.write_json(&self.own(""), WAKE_OWED, owed)
    }

    /// Notes that balancers were woken.
    pub fn clear_wake(&self) -> Result<(), StoreError> {
        let path = self.own(WAKE_OWED);
        self.disk.remove(&path, Safe::Now).during("remove", &path)
    }

    fn own(&self, name: &str) -> PathBuf {
        let own = self.root.join(OWN);
        if name.is_empty() { own } else { own.join(name) }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        self.disk.read(path).during("read", path)
    }

    /// None if there is no such file; an error inside if it was read whole and is not what it should be.
    fn read_json<T: DeserializeOwned>(
        &self,
        path: &Path,
    ) -> Result<Option<Result<T, String>>, StoreError> {
        match self.read(path) {
            Ok(content) => {
                Ok(Some(serde_json::from_slice(&content).map_err(|error| error.to_string())))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_json(
        &self,
        folder: &Path,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), StoreError> {
        let path = folder.join(name);
        let text = json(value, &path)?;
        self.disk.write(folder, &[(name, &text)], Safe::Now).during("write", &path)
    }

    fn list_or_nothing(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        match self.disk.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.during("list", folder),
        }
    }

    /// A file that is broken is never deleted: somebody may want to look at it.
    fn set_aside(&self, path: &Path, why: &str) -> Result<(), StoreError> {
        let aside = self.aside(path)?;
        self.disk.rename(path, &aside).during("set aside", path)?;
        tracing::warn!(path = %path.display(), aside = %aside.display(), error = why, "broken file set aside");
        Ok(())
    }

    /// A free name for a file that is set aside.
    fn aside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let name = file_name(path);
        let mut aside = path.with_file_name(format!("{name}.broken"));
        for number in 2.. {
            if !self.disk.exists(&aside).during("look for", &aside)? {
                break;
            }
            aside = path.with_file_name(format!("{name}.broken-{number}"));
        }
        Ok(aside)
    }

    /// Works on a lineage while nobody else writes its record or its view.
    fn alone<T>(&self, lineage: &str, work: impl FnOnce() -> T) -> T {
        let lock = {
            let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(writing.entry(lineage.to_owned()).or_default())
        };
        let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    fn with_begun<T>(&self, work: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        work(&mut self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_cache<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Cached>) -> T) -> T {
        work(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn json(value: &impl Serialize, path: &Path) -> Result<Vec<u8>, StoreError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(io::Error::other).during("write", path)?;
    text.push(b'\n');
    Ok(text)
}

/// The last part of one of our paths.
fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("file")
}

/// Whether a power failure may have left this of `whole`: its beginning, or less, behind which nothing was written.
fn is_torn(present: &[u8], whole: &[u8]) -> bool {
    let length = present.iter().rposition(|byte| *byte != 0);
    let length = length.map_or(0, |last| last + 1);
    length < whole.len() && present.len() <= whole.len() && whole.starts_with(&present[..length])
}

/// A file name that an operator recognizes: host and path of the directory URL.
fn account_file(directory: &str) -> String {
    let place = directory.split_once("://").map_or(directory, |(_, place)| place);
    let safe: String = place
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() || ".-".contains(char) { char } else { '_' })
        .take(200)
        .collect();
    format!("{}.json", safe.trim_start_matches('.'))
}

#[cfg(test)]
mod tests;

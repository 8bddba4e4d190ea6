//! The destination port over a folder of one host: each certificate is a folder of files that a server reads.
//!
//! `<folder>/<name>` is a link to `.versions/<name>-<number>`, a folder that is written whole and synced before the link
//! is swapped by one rename: who opens that folder once finds the old files or the new ones, never a mix. Ownership stands
//! in a file among them. Nobody is told of a change.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Once;
use std::sync::PoisonError;
use std::time::Duration;

use rustix::fs::CWD;
use rustix::fs::RenameFlags;
use rustix::fs::renameat_with;
use serde::Deserialize;
use serde::Serialize;
use tracing::debug;
use tracing::warn;

use crate::core::bundle::Secret;
use crate::core::certificate::CertificateChain;
use crate::core::certificate::Flaw;
use crate::core::fingerprint::Fingerprint;
use crate::core::held::Abilities;
use crate::core::held::Activated;
use crate::core::held::CertificateId;
use crate::core::held::Held;
use crate::core::held::Ownership;
use crate::core::held::Retrieved;
use crate::core::held::Upload;
use crate::core::held::User;
use crate::core::held::UserId;
use crate::core::held::Which;
use crate::core::held::Words;
use crate::core::names::DomainName;
use crate::core::problem::DestinationError;
use crate::core::unsupported;
use crate::ports::Destination;

/// Leaf and chain, as servers read them.
const FULLCHAIN: &str = "fullchain.pem";
const KEY: &str = "privkey.pem";
const LEAF: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
/// Which of ours it is.
const OWNERSHIP: &str = "ownership.json";
/// Where the versions are.
const VERSIONS: &str = ".versions";
/// Many times what a chain or a key takes.
const LARGEST: u64 = 1 << 20;

/// A disk of another host may never answer.
const TOTAL: Duration = Duration::from_secs(60);
/// Of longer names only so much stands in the name of a version: names of files have 255 bytes.
const LONGEST_NAME: usize = 200;

/// What people call it.
pub const NAME: &str = "the folder";

/// A folder that servers of this host read certificates from.
pub struct Host {
    folder: Arc<Folder>,
}

impl Host {
    /// The folder; it is to be there, so that a folder below a mount that is not there is never taken for an empty one.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(Folder { path: folder, writing: Mutex::default() }) }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let folder = Arc::clone(&self.folder);
        let path = folder.path.display().to_string();
        let work = tokio::task::spawn_blocking(move || work(&folder));
        let Ok(done) = tokio::time::timeout(TOTAL, work).await else {
            let text = format!("{path}: no answer within {} seconds", TOTAL.as_secs());
            return Err(DestinationError::Unavailable(text));
        };
        done.map_err(|error| DestinationError::Unavailable(error.to_string()))?
    }
}

struct Folder {
    path: PathBuf,
    /// Held while a version is written: the next one has the next number.
    writing: Mutex<()>,
}

/// What stands in the file of ownership.
#[derive(Serialize, Deserialize)]
struct Owner {
    leaf: String,
    directory: String,
}

fn fault(path: &Path, error: &io::Error) -> DestinationError {
    let text = format!("{}: {error}", path.display());
    let is_forbidden = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem]
        .contains(&error.kind());
    if is_forbidden {
        DestinationError::Denied(format!("{text}: the daemon must be able to read and write it"))
    } else {
        DestinationError::Unavailable(text)
    }
}

/// None if it is not there.
fn read(path: &Path) -> Result<Option<String>, DestinationError> {
    let is_absent = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= LARGEST => {}
        Ok(_) => return Ok(None),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(fault(path, &error)),
    }
    match fs::read(path) {
        // What is no text is no PEM either, and is told so.
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(fault(path, &error)),
    }
}

fn is_there(path: &Path) -> Result<bool, DestinationError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(fault(path, &error)),
    }
}

fn write(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Goes on where folders cannot be synced, and says so once.
fn sync(folder: &Path) -> io::Result<()> {
    static TOLD: Once = Once::new();
    match fs::File::open(folder)?.sync_all() {
        Err(error) if unsupported::is_no_folder_sync(&error) => {
            TOLD.call_once(|| {
                warn!(folder = %folder.display(), %error, "folders cannot be synced here: a power failure may take what was written last");
            });
            Ok(())
        }
        synced => synced,
    }
}

impl Folder {
    fn absent(&self) -> DestinationError {
        DestinationError::Denied(format!(
            "{} is not there: mount or make the folder that CERTIFICATES_DIR names",
            self.path.display()
        ))
    }

    fn names(&self) -> Result<BTreeSet<String>, DestinationError> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.absent());
            }
            entries => entries.map_err(|error| fault(&self.path, &error))?,
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(|error| fault(&self.path, &error))?;
            // A name that is no text is none of a certificate that anybody wants.
            names.extend(entry.file_name().into_string().ok().filter(|name| is_name(name)));
        }
        Ok(names)
    }

    /// What is there under a name; none if nothing is.
    fn held(&self, name: &str) -> Result<Option<Held>, DestinationError> {
        if !is_name(name) {
            return Ok(None);
        }
        let path = self.path.join(name);
        if !is_there(&path)? {
            // Gone with everything that was mounted there, it is not gone.
            return if is_there(&self.path)? { Ok(None) } else { Err(self.absent()) };
        }
        // The key is not read where nobody asks for it.
        let has_no_key = is_there(&path.join(KEY)).is_ok_and(|is_there| !is_there);
        let fullchain = read(&path.join(FULLCHAIN));
        if is_ours(&path) && (has_no_key || matches!(fullchain, Ok(None))) {
            // One of ours that has lost what a server needs: nothing is served there.
            return Ok(None);
        }
        let content = match fullchain {
            Ok(Some(text)) => CertificateChain::parse(&text, ""),
            Ok(None) => Err(Flaw(format!("there is no {FULLCHAIN} in it"))),
            // It is there, and keeps no other from being looked at.
            Err(error) => Err(Flaw(error.to_string())),
        };
        let owner = read(&path.join(OWNERSHIP)).ok().flatten().and_then(|text| {
            let owner: Owner = serde_json::from_str(&text).ok()?;
            Some(Ownership { leaf: owner.leaf.parse().ok()?, directory: owner.directory })
        });
        Ok(Some(Held {
            id: name.into(),
            name: name.to_owned(),
            occupies: name.to_owned(),
            owner,
            is_changing: false,
            content,
            note: String::new(),
        }))
    }

    fn put(
        &self,
        name: &str,
        replaces: Option<&Held>,
        upload: &Upload,
        ownership: Option<&Ownership>,
    ) -> Result<Held, DestinationError> {
        if !is_name(name) {
            return Err(DestinationError::Refused(format!("`{name}` is no name of a folder")));
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.held(name)?.as_ref() != replaces {
            return Err(DestinationError::Conflict(format!("`{name}` was changed meanwhile")));
        }
        let written = self.replace(name, upload, ownership);
        written.map_err(|error| fault(&self.path.join(name), &error))?;
        let gone = || DestinationError::Conflict(format!("`{name}` was removed meanwhile"));
        self.held(name)?.ok_or_else(gone)
    }

    /// Writes the next version, syncs it, and swaps the link. What fails leaves nothing behind.
    fn replace(
        &self,
        name: &str,
        upload: &Upload,
        ownership: Option<&Ownership>,
    ) -> io::Result<()> {
        let versions = self.path.join(VERSIONS);
        let link = self.path.join(name);
        make_folder(&versions)?;
        let before = fs::read_link(&link).ok();
        let stem = stem(name);
        let present = numbers(&versions, &stem)?;
        let number = present.last().map_or(1, |last| last + 1);
        let version = format!("{stem}-{number}");
        let (folder, new) = (versions.join(&version), versions.join(format!("{stem}.new")));
        fs::DirBuilder::new().mode(0o755).create(&folder)?;
        let swapped = write_version(&folder, upload, ownership)
            .and_then(|()| self.swap(&link, &version, &new));
        if let Err(error) = swapped {
            if is_ours(&new) {
                let _ = fs::remove_file(&new);
            }
            let _ = fs::remove_dir_all(&folder);
            return Err(error);
        }
        sync(&self.path)?;
        // A reader that has just followed the link still finds the version before.
        let kept = before.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        for number in present {
            let old = format!("{stem}-{number}");
            let folder = versions.join(&old);
            if kept != Some(old.as_str())
                && folder.is_dir()
                && let Err(error) = fs::remove_dir_all(folder)
            {
                debug!(old, %error, "version left behind");
            }
        }
        Ok(())
    }

    /// Makes the link lead to a version, by way of a new one that is renamed.
    fn swap(&self, link: &Path, version: &str, new: &Path) -> io::Result<()> {
        let versions = self.path.join(VERSIONS);
        if is_ours(new) {
            // A crash has left it.
            fs::remove_file(new)?;
        }
        // It leads there from beside the versions, where it is going to be.
        symlink(Path::new(VERSIONS).join(version), new).map_err(|error| {
            if unsupported::is_no_link(&error) {
                let text = format!(
                    "its file system has no symbolic links, use one of Linux' own: {error}"
                );
                return io::Error::new(io::ErrorKind::PermissionDenied, text);
            }
            error
        })?;
        sync(&versions)?;
        let is_free = fs::symlink_metadata(link).is_err();
        if is_free || is_ours(link) {
            return fs::rename(new, link);
        }
        // What somebody else had there stays aside, whatever it is.
        renameat_with(CWD, new, CWD, link, RenameFlags::EXCHANGE)?;
        fs::rename(new, versions.join(format!("{version}.before")))?;
        sync(&versions)
    }
}

fn write_version(folder: &Path, upload: &Upload, ownership: Option<&Ownership>) -> io::Result<()> {
    let fullchain = format!("{}{}", upload.certificate, upload.chain);
    write(&folder.join(FULLCHAIN), &fullchain, 0o644)?;
    write(&folder.join(LEAF), &upload.certificate, 0o644)?;
    write(&folder.join(CHAIN), &upload.chain, 0o644)?;
    write(&folder.join(KEY), upload.key.reveal(), 0o600)?;
    if let Some(Ownership { leaf, directory }) = ownership {
        let owner = Owner { leaf: leaf.to_string(), directory: directory.clone() };
        write(&folder.join(OWNERSHIP), &serde_json::to_string(&owner)?, 0o644)?;
    }
    sync(folder)
}

/// Whether it is a link of ours, to one of the versions.
fn is_ours(link: &Path) -> bool {
    fs::read_link(link).is_ok_and(|to| to.parent() == Some(Path::new(VERSIONS)))
}

/// What the versions of a name begin with.
fn stem(name: &str) -> String {
    match name.get(..LONGEST_NAME) {
        Some(begin) if LONGEST_NAME < name.len() => {
            let fingerprint = Fingerprint::of(&[name.as_bytes()]).to_string();
            format!("{begin}-{}", &fingerprint[..16])
        }
        _ => name.to_owned(),
    }
}

/// Whether it may be the name of a certificate's folder: in this one, and no hidden one.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The numbers of the versions that begin with a stem, and of what was put aside for them.
fn numbers(versions: &Path, stem: &str) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(versions)? {
        let file = entry?.file_name();
        let number = file.to_str().and_then(|file| file.rsplit_once('-'));
        let number = number.filter(|(own, _)| *own == stem).and_then(|(_, number)| {
            number.strip_suffix(".before").unwrap_or(number).parse::<u64>().ok()
        });
        numbers.extend(number);
    }
    Ok(numbers)
}

impl Destination for Host {
    fn describe(&self) -> Words {
        Words { name: NAME, users: "servers" }
    }

    fn can(&self) -> Abilities {
        Abilities { returns_keys: true, carries_mark: true, has_users: false }
    }

    /// In the order of names; no two have the same one.
    async fn list(&self) -> Result<Vec<Held>, DestinationError> {
        self.run(|folder| {
            let names = folder.names()?;
            names.iter().filter_map(|name| folder.held(name).transpose()).collect()
        })
        .await
    }

    async fn look(&self, which: Which<'_>) -> Result<Option<Held>, DestinationError> {
        let name = match which {
            Which::Id(id) => id.as_str(),
            Which::Named(name) => name,
        };
        let name = name.to_owned();
        self.run(move |folder| folder.held(&name)).await
    }

    /// What was judged and what is there must still be the same.
    async fn put(
        &self,
        name: &str,
        replaces: Option<&Held>,
        upload: &Upload,
        ownership: Option<&Ownership>,
    ) -> Result<Held, DestinationError> {
        let name = replaces.map_or(name, |held| held.id.as_str()).to_owned();
        let (replaces, upload, ownership) = (replaces.cloned(), upload.clone(), ownership.cloned());
        self.run(move |folder| folder.put(&name, replaces.as_ref(), &upload, ownership.as_ref()))
            .await
    }

    async fn retrieve(&self, id: &CertificateId) -> Result<Retrieved, DestinationError> {
        let id = id.clone();
        self.run(move |folder| {
            let path = folder.path.join(id.as_str());
            let gone = || DestinationError::Conflict(format!("`{id}` was removed meanwhile"));
            Ok(Retrieved {
                chain: read(&path.join(FULLCHAIN))?.ok_or_else(gone)?,
                key: read(&path.join(KEY))?.map(Secret::new),
            })
        })
        .await
    }

    async fn users(&self) -> Result<Vec<User>, DestinationError> {
        Ok(Vec::new())
    }

    async fn activate(&self, _changed: &[CertificateId]) -> Result<Activated, DestinationError> {
        Ok(Activated::NobodyThere)
    }

    /// Not known yet: no server is named to this program.
    async fn served(
        &self,
        _user: &UserId,
        _name: &DomainName,
    ) -> Result<Vec<SocketAddr>, DestinationError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests;

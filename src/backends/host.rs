//! The destination port over a folder of one host: each certificate is a folder of files that a server reads.
//!
//! `<folder>/<name>` is a link to `.versions/<name>-<number>`, a folder that is written whole and synced before the link
//! is swapped by one rename: a reader sees the old files or the new ones, never a mix. Ownership stands in a file among
//! them. Nobody is told of a change.

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
use std::sync::PoisonError;

use rustix::fs::CWD;
use rustix::fs::RenameFlags;
use rustix::fs::renameat_with;
use serde::Deserialize;
use serde::Serialize;
use tracing::debug;

use crate::core::bundle::Secret;
use crate::core::certificate::CertificateChain;
use crate::core::certificate::Flaw;
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

/// What people call it.
pub const NAME: &str = "the folder";

/// A folder that servers of this host read certificates from.
pub struct Host {
    folder: Arc<Folder>,
}

impl Host {
    /// The folder; it is to be there, so that one that is not mounted is never taken for an empty one.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(Folder { path: folder, writing: Mutex::default() }) }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let folder = Arc::clone(&self.folder);
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
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

fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
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
        let content = match read(&path.join(FULLCHAIN))? {
            Some(text) => CertificateChain::parse(&text, ""),
            None => Err(Flaw(format!("there is no {FULLCHAIN} in it"))),
        };
        let owner = read(&path.join(OWNERSHIP))?.and_then(|text| {
            let owner: Owner = serde_json::from_str(&text).ok()?;
            Some(Ownership { leaf: owner.leaf.parse().ok()?, directory: owner.directory })
        });
        Ok(Some(Held {
            id: name.into(),
            name: name.to_owned(),
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

    /// Writes the next version, syncs it, and swaps the link.
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
        let present = numbers(&versions, name)?;
        let number = present.last().map_or(1, |last| last + 1);
        let version = format!("{name}-{number}");
        let folder = versions.join(&version);
        make_folder(&folder)?;
        let fullchain = format!("{}{}", upload.certificate, upload.chain);
        write(&folder.join(FULLCHAIN), &fullchain, 0o644)?;
        write(&folder.join(LEAF), &upload.certificate, 0o644)?;
        write(&folder.join(CHAIN), &upload.chain, 0o644)?;
        write(&folder.join(KEY), upload.key.reveal(), 0o600)?;
        if let Some(Ownership { leaf, directory }) = ownership {
            let owner = Owner { leaf: leaf.to_string(), directory: directory.clone() };
            write(&folder.join(OWNERSHIP), &serde_json::to_string(&owner)?, 0o644)?;
        }
        sync(&folder)?;
        // It leads there from beside the versions, where it is going to be.
        let aside = versions.join(format!("{version}.before"));
        symlink(Path::new(VERSIONS).join(&version), &aside)?;
        sync(&versions)?;
        if fs::symlink_metadata(&link).is_ok_and(|metadata| !metadata.is_symlink()) {
            // No link can be renamed over a folder. What somebody else had there stays aside.
            renameat_with(CWD, &aside, CWD, &link, RenameFlags::EXCHANGE)?;
            sync(&versions)?;
        } else {
            fs::rename(&aside, &link)?;
        }
        sync(&self.path)?;
        // A reader that has just followed the link still finds the version before.
        let kept = before.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        for number in present {
            let old = format!("{name}-{number}");
            if kept != Some(old.as_str())
                && let Err(error) = fs::remove_dir_all(versions.join(&old))
            {
                debug!(old, %error, "version left behind");
            }
        }
        Ok(())
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

/// The numbers of the versions of a name.
fn numbers(versions: &Path, name: &str) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(versions)? {
        let file = entry?.file_name();
        let number = file.to_str().and_then(|file| file.rsplit_once('-'));
        let number = number.filter(|(own, _)| *own == name).and_then(|(_, number)| {
            // A link or a folder that was put aside has its number too.
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
        Abilities {
            returns_keys: true,
            carries_mark: true,
            lists_foreign: true,
            has_users: false,
            checks_content: false,
        }
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

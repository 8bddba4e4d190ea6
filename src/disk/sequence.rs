//! In which order files are written, synced and renamed, so that a crash leaves the state before or the one after.
//!
//! Written once over single operations of a file system: the kernel's, or one in memory that forgets what was not
//! synced.

use std::future::Future;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::core::fingerprint::Fingerprint;
use crate::ports::Disk;
use crate::ports::Safe;
use crate::ports::Stamp;

/// What a path leads to, not looking through links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file or a link.
    Other,
}

/// A file that is open for writing at its end.
pub trait OpenFile {
    /// Writes behind what is there.
    fn write(&mut self, content: &[u8]) -> io::Result<()>;

    /// Brings content and mode to the disk.
    fn sync(&self) -> io::Result<()>;

    /// Brings the content to the disk, and no more than is needed to read it back.
    fn sync_content(&self) -> io::Result<()>;

    /// How long it is.
    fn length(&self) -> io::Result<u64>;

    /// Cuts it.
    fn set_length(&self, length: u64) -> io::Result<()>;
}

/// Single operations of a file system. What they change may be lost or torn by a crash until it is synced: content
/// by its file, names by the folder that they stand in.
pub trait FileSystem: Send + Sync + 'static {
    /// A file that is open for writing.
    type File: OpenFile;

    /// See [`Disk::run`]; on a thread of its own, unless everything is to happen in one.
    fn detach<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        let disk = Arc::clone(self);
        async move {
            match tokio::task::spawn_blocking(move || work(&disk)).await {
                Ok(done) => done,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The program is ending: whoever waits here is about to be dropped.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    /// Does pieces of work that do not depend on each other, in any order; all of them, even if one fails.
    fn side_by_side<T: Sync>(
        &self,
        works: &[T],
        work: impl Fn(&T) -> io::Result<()> + Sync,
    ) -> io::Result<()>;

    /// Reads a file whole, up to a size that nothing of ours reaches.
    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Tells which version of a file it is, through links.
    fn stamp_of(&self, path: &Path) -> io::Result<Stamp>;

    /// Looks what a path leads to, not through links.
    fn kind(&self, path: &Path) -> io::Result<Kind>;

    /// Whether a path leads to a folder, through links.
    fn is_folder(&self, path: &Path) -> bool;

    /// Lists the names in a folder.
    fn names_in(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Reads where a link leads.
    fn target_of(&self, path: &Path) -> io::Result<PathBuf>;

    /// Makes one folder, 0700, that must not be there.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes a file, 0600, that must not be there.
    fn create_file(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens a file at its end; made if it is not there, 0600.
    fn open_end(&self, path: &Path) -> io::Result<Self::File>;

    /// Makes a link that must not be there.
    fn create_link(&self, target: &Path, path: &Path) -> io::Result<()>;

    /// Gives a file or folder another name, in place of what has it.
    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Brings the names in a folder to the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Removes a file or link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;

    /// See [`Disk::is_ephemeral`].
    fn is_lost_with_container(&self, path: &Path) -> bool;
}

/// What a file system takes as a name at most.
const LONGEST_NAME: usize = 255;

/// In the same folder, so that a rename puts it in its place; hidden, so that nobody takes it for something. A name that
/// leaves no room for that is cut to its end, which says what kind of file it is; one that no file can have fails here.
fn temporary(folder: &Path, name: &str) -> PathBuf {
    let whole = format!(".{name}.tmp");
    if whole.len() <= LONGEST_NAME || LONGEST_NAME < name.len() {
        return folder.join(whole);
    }
    let end = &name[name.ceil_char_boundary(name.len() - 100)..];
    folder.join(format!(".{}-{end}.tmp", Fingerprint::of(&[name])))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new("/"))
}

fn unless_gone(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_new(system: &impl FileSystem, path: &Path, content: &[u8], safe: Safe) -> io::Result<()> {
    // Whatever an interrupted write left there may have another mode.
    unless_gone(system.remove_file(path))?;
    let mut file = system.create_file(path)?;
    file.write(content)?;
    match safe {
        Safe::Now => file.sync(),
        Safe::Later => Ok(()),
    }
}

fn settled(system: &impl FileSystem, folder: &Path, safe: Safe) -> io::Result<()> {
    match safe {
        Safe::Now => system.sync_folder(folder),
        Safe::Later => Ok(()),
    }
}

impl<F: FileSystem> Disk for F {
    fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        self.detach(work)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read_file(path)
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        self.stamp_of(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        unless_gone(self.kind(path).map(drop))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = self.names_in(folder)?;
        names.sort_unstable();
        Ok(names)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.target_of(path)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if self.is_folder(folder) {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_folder(above)?;
        }
        match self.create_folder(folder) {
            Ok(()) => {
                let synced = self.sync_folder(parent(folder));
                if synced.is_err() {
                    // Whoever finds it there takes it for safe.
                    drop(self.remove_folder(folder));
                }
                synced
            }
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && self.is_folder(folder) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn settle(&self, folder: &Path) -> io::Result<()> {
        self.sync_folder(folder)
    }

    fn write(&self, folder: &Path, files: &[(&str, &[u8])], safe: Safe) -> io::Result<()> {
        let write = |(name, content): &(&str, &[u8])| {
            write_new(self, &temporary(folder, name), content, safe)
        };
        let written = match safe {
            Safe::Now => self.side_by_side(files, write),
            Safe::Later => files.iter().try_for_each(write),
        };
        if written.is_err() {
            // Room is what is missing most often: give back what was taken.
            for (name, _) in files {
                drop(self.remove_file(&temporary(folder, name)));
            }
        }
        written?;
        for (name, _) in files {
            self.rename_over(&temporary(folder, name), &folder.join(name))?;
        }
        settled(self, folder, safe)
    }

    fn link(&self, folder: &Path, links: &[(&str, &Path)]) -> io::Result<()> {
        if !self.is_folder(folder) {
            self.create_folder(folder)?;
        }
        for (name, target) in links {
            let path = temporary(folder, name);
            unless_gone(self.remove_file(&path))?;
            self.create_link(target, &path)?;
            self.rename_over(&path, &folder.join(name))?;
        }
        Ok(())
    }

    fn append(&self, path: &Path, content: &[u8], safe: Safe) -> io::Result<()> {
        let is_new = !self.exists(path)?;
        let mut file = self.open_end(path)?;
        let before = file.length()?;
        let written = file.write(content).and_then(|()| match safe {
            Safe::Now => file.sync_content(),
            Safe::Later => Ok(()),
        });
        if written.is_err() {
            // Half a line would hide the next one.
            drop(file.set_length(before));
        }
        written?;
        if is_new { self.sync_folder(parent(path)) } else { Ok(()) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_over(from, to)?;
        self.sync_folder(parent(to))?;
        if parent(from) == parent(to) { Ok(()) } else { self.sync_folder(parent(from)) }
    }

    fn remove(&self, path: &Path, safe: Safe) -> io::Result<()> {
        let removed = match self.kind(path) {
            Ok(Kind::Folder) => self.remove_folder(path),
            Ok(Kind::Other) | Err(_) => self.remove_file(path),
        };
        if unless_gone(removed)? { settled(self, parent(path), safe) } else { Ok(()) }
    }

    fn clear(&self, folder: &Path, files: &[&str]) -> io::Result<()> {
        for name in files {
            unless_gone(self.remove_file(&folder.join(name)))?;
        }
        match self.remove_folder(folder) {
            // Some file systems say of a full one that it exists; an operator's link to it stays.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty
                        | io::ErrorKind::AlreadyExists
                        | io::ErrorKind::NotADirectory
                ) =>
            {
                self.sync_folder(folder)
            }
            removed => {
                if unless_gone(removed)? {
                    self.sync_folder(parent(folder))
                } else {
                    Ok(())
                }
            }
        }
    }

    fn is_ephemeral(&self, path: &Path) -> bool {
        self.is_lost_with_container(path)
    }
}

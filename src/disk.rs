//! The real file system, as operations that [`sequence`] puts in order.

use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rustix::fs::AtFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::mkdirat;
use rustix::fs::renameat;
use rustix::fs::symlinkat;
use time::OffsetDateTime;
use tracing::debug;
use tracing::warn;

use crate::core::text::timestamp;
use crate::core::unsupported;
use crate::disk::sequence::FileSystem;
use crate::disk::sequence::Kind;
use crate::disk::sequence::OpenFile;
use crate::disk::shared::Shared;
use crate::ports::Stamp;

mod mounts;
pub mod reach;
pub mod sequence;
mod shared;

/// Far above anything of ours: a file that is larger was not written here.
const LARGEST: u64 = 64 << 20;

/// The real file system.
#[derive(Debug, Default)]
pub struct RealDisk {
    /// Which links lead here is the operator's matter; below it none of others is followed.
    root: PathBuf,
    syncs: Shared,
    /// It was told that folders cannot be synced.
    is_told: AtomicBool,
}

impl RealDisk {
    /// The file system, with a folder that is the operator's.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), ..Self::default() }
    }

    /// The folder that a path stands in, and its name there.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.folder(path.parent().unwrap_or(path))?, name))
    }

    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        reach::folder(&self.root, path)
    }

    /// Takes the lock that one instance holds while it runs, by a lock of the kernel on an open file; none while
    /// another has it. The lock goes with the file that is answered.
    pub fn try_lock(&self, path: &Path) -> io::Result<Option<File>> {
        let (folder, name) = self.place(path)?;
        let file = reach::written(folder, name, OFlags::RDWR, 0o600)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl OpenFile for File {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.write_all(content)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_content(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

impl FileSystem for RealDisk {
    type File = File;

    /// The disk commits files together that would each wait for a commit one after the other.
    fn side_by_side<T: Sync>(
        &self,
        works: &[T],
        work: impl Fn(&T) -> io::Result<()> + Sync,
    ) -> io::Result<()> {
        let Some((first, others)) = works.split_first() else {
            return Ok(());
        };
        let work = &work;
        std::thread::scope(|scope| {
            let others: Vec<_> =
                others.iter().map(|other| scope.spawn(move || work(other))).collect();
            let done = others.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(io::Error::other("a thread that writes a file panicked"))
                })
            });
            done.fold(work(first), Result::and)
        })
    }

    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let (folder, name) = self.place(path)?;
        reach::file(folder, name)?.take(LARGEST + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST {
            return Err(io::Error::other("it is too large to be one of ours"));
        }
        Ok(content)
    }

    fn stamp_of(&self, path: &Path) -> io::Result<Stamp> {
        let metadata = fs::metadata(path)?;
        let changed =
            metadata.ctime().wrapping_mul(1_000_000_000).wrapping_add(metadata.ctime_nsec());
        let modified =
            metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec());
        Ok((metadata.dev(), metadata.ino(), metadata.size(), modified, changed))
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(if metadata.is_dir() { Kind::Folder } else { Kind::Other })
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn names_in(&self, folder: &Path) -> io::Result<Vec<String>> {
        reach::names(self.folder(folder)?)
    }

    fn target_of(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let (above, name) = self.place(folder)?;
        Ok(mkdirat(above, name, Mode::RWXU)?)
    }

    fn create_file(&self, path: &Path) -> io::Result<File> {
        let (folder, name) = self.place(path)?;
        reach::written(folder, name, OFlags::WRONLY | OFlags::EXCL, 0o600)
    }

    fn open_end(&self, path: &Path) -> io::Result<File> {
        let (folder, name) = self.place(path)?;
        reach::written(folder, name, OFlags::WRONLY | OFlags::APPEND, 0o600)
    }

    fn create_link(&self, target: &Path, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        Ok(symlinkat(target, folder, name)?)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_folder, from), (to_folder, to)) = (self.place(from)?, self.place(to)?);
        Ok(renameat(from_folder, from, to_folder, to)?)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.syncs.sync(folder, || match File::from(reach::opened(self.folder(folder)?)?).sync_all() {
            Err(error) if unsupported::is_no_folder_sync(&error) => {
                // Nothing else can be done there, and the file system may well write names by itself.
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    warn!(folder = %folder.display(), %error, "folders cannot be synced here: a power failure may take what was written last");
                }
                Ok(())
            }
            synced => synced,
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        reach::remove(folder, name, AtFlags::empty())
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let (above, name) = self.place(folder)?;
        reach::remove(above, name, AtFlags::REMOVEDIR)
    }

    fn is_lost_with_container(&self, path: &Path) -> bool {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        fs::read_to_string("/proc/self/mountinfo")
            .is_ok_and(|mounts| mounts::goes_with_container(&mounts, &real))
    }
}

/// Writes into the lock who holds it and since when; for people only, the kernel's lock is what counts.
pub fn sign_lock(mut lock: &File, now: OffsetDateTime) {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text =
        format!("process {} on {} since {}\n", std::process::id(), host.trim(), timestamp(now));
    let signed =
        lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(text.as_bytes()));
    if let Err(error) = signed {
        debug!(%error, "lock not signed");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::ports::Disk;
    use crate::ports::Safe;

    fn disk() -> RealDisk {
        RealDisk::default()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_private_and_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        disk().make_folder(&folder).unwrap();
        disk().write(&folder, &[("one", b"1"), ("two", b"2")], Safe::Now).unwrap();
        disk().write(&folder, &[("one", b"11")], Safe::Later).unwrap();
        assert_eq!(disk().read(&folder.join("one")).unwrap(), b"11");
        assert_eq!((mode(&folder), mode(&folder.join("one"))), (0o700, 0o600));
        disk().link(&folder, &[("link", Path::new("one"))]).unwrap();
        disk().link(&folder, &[("link", Path::new("two"))]).unwrap();
        assert_eq!(disk().read(&folder.join("link")).unwrap(), b"2");
        assert_eq!(disk().list(&folder).unwrap(), ["link", "one", "two"]);
        disk().append(&folder.join("log"), b"x\n", Safe::Now).unwrap();
        disk().append(&folder.join("log"), b"y\n", Safe::Later).unwrap();
        assert_eq!(disk().read(&folder.join("log")).unwrap(), b"x\ny\n");
        disk().remove(&folder.join("log"), Safe::Now).unwrap();
        disk().remove(&folder.join("log"), Safe::Now).unwrap();
        assert!(!disk().exists(&folder.join("log")).unwrap());
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        disk().write(root.path(), &[("one", b"1")], Safe::Now).unwrap();
        let long = "x".repeat(300);
        let failed =
            disk().write(root.path(), &[("one", b"2"), ("two", b"2"), (&long, b"2")], Safe::Now);
        assert!(failed.is_err());
        assert_eq!(disk().list(root.path()).unwrap(), ["one"]);
        assert_eq!(disk().read(&root.path().join("one")).unwrap(), b"1");
    }

    #[test]
    fn the_longest_names_are_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let names = ["a", "b"].map(|first| first.to_owned() + &"x".repeat(249) + ".json");
        for content in [b"1", b"2"] {
            let files: Vec<(&str, &[u8])> =
                names.iter().map(|name| (&name[..], &content[..])).collect();
            disk().write(root.path(), &files, Safe::Now).unwrap();
            for name in &names {
                assert_eq!(disk().read(&root.path().join(name)).unwrap(), content);
            }
        }
        assert_eq!(disk().list(root.path()).unwrap(), names);
    }

    #[test]
    fn a_folder_that_another_process_has_made_is_settled() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        disk().make_folder(&root.path().join("a")).unwrap();
        disk().settle(root.path()).unwrap();
        assert!(disk().settle(&root.path().join("b")).is_err());
    }

    #[test]
    fn a_lock_is_held_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("lock");
        let held = disk().try_lock(&path).unwrap();
        assert!(held.is_some() && disk().try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(disk().try_lock(&path).unwrap().is_some());
    }

    /// A folder, and one elsewhere that nothing of ours may come into.
    fn with_elsewhere() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (place.path().join("root"), place.path().join("elsewhere"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("file"), "untouched").unwrap();
        (place, root, elsewhere)
    }

    /// As one that another user has laid; needs root.
    fn foreign_link(target: &Path, path: &Path) {
        std::os::unix::fs::symlink(target, path).unwrap();
        std::os::unix::fs::lchown(path, Some(4711), None).unwrap();
    }

    #[test]
    fn nothing_is_reached_through_a_link_of_another_user() {
        if !rustix::process::geteuid().is_root() {
            // Nobody else lays links in this test then; whose are followed is told beside `reach`.
            return;
        }
        let (_place, root, elsewhere) = with_elsewhere();
        let disk = RealDisk::new(&root);
        foreign_link(&elsewhere, &root.join("a"));
        foreign_link(&elsewhere.join("file"), &root.join("file"));
        let (inside, file) = (root.join("a"), root.join("a/file"));
        assert!(disk.read(&root.join("file")).unwrap_err().to_string().contains("uid 4711"));
        disk.read(&file).unwrap_err();
        disk.list(&inside).unwrap_err();
        disk.write(&inside, &[("new", b"x")], Safe::Now).unwrap_err();
        disk.append(&file, b"x", Safe::Now).unwrap_err();
        disk.append(&root.join("file"), b"x", Safe::Now).unwrap_err();
        disk.link(&inside, &[("new", Path::new("x"))]).unwrap_err();
        disk.make_folder(&inside.join("new")).unwrap_err();
        disk.rename(&file, &root.join("taken")).unwrap_err();
        disk.remove(&file, Safe::Now).unwrap_err();
        disk.try_lock(&root.join("file")).unwrap_err();
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "untouched");
        // A link itself can be replaced and removed.
        disk.write(&root, &[("file", b"ours")], Safe::Now).unwrap();
        assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "ours");
        disk.remove(&inside, Safe::Now).unwrap();
        assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "untouched");
    }

    #[test]
    fn links_of_our_own_are_followed_but_nothing_is_written_through_them() {
        let (place, root, elsewhere) = with_elsewhere();
        let disk = RealDisk::new(&root);
        std::os::unix::fs::symlink("../elsewhere", root.join("a")).unwrap();
        std::os::unix::fs::symlink("a/file", root.join("file")).unwrap();
        assert_eq!(disk.read(&root.join("file")).unwrap(), b"untouched");
        disk.write(&root.join("a"), &[("new", b"x")], Safe::Now).unwrap();
        assert_eq!(disk.list(&root.join("a")).unwrap(), ["file", "new"]);
        assert_eq!(disk.read(&root.join("a/new")).unwrap(), b"x");
        disk.append(&root.join("file"), b"x", Safe::Now).unwrap_err();
        disk.try_lock(&root.join("file")).unwrap_err();
        assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "untouched");
        // What leads to the root is the operator's.
        std::os::unix::fs::symlink(&root, place.path().join("link")).unwrap();
        let disk = RealDisk::new(&place.path().join("link"));
        disk.make_folder(&place.path().join("link/b/c")).unwrap();
        assert!(root.join("b/c").is_dir());
    }
}

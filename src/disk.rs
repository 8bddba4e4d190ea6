//! The real file system, as operations that [`sequence`] puts in order.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use time::OffsetDateTime;
use tracing::debug;

use crate::core::text::timestamp;
use crate::disk::sequence::FileSystem;
use crate::disk::sequence::Kind;
use crate::disk::sequence::OpenFile;
use crate::disk::shared::Shared;
use crate::ports::Stamp;

pub mod sequence;
mod shared;

/// Far above anything of ours: a file that is larger was not written here.
const LARGEST: u64 = 64 << 20;

/// The real file system.
#[derive(Debug, Default)]
pub struct RealDisk {
    syncs: Shared,
}

impl RealDisk {
    /// Takes the lock that one instance holds while it runs, by a lock of the kernel on an open file; none while
    /// another has it. The lock goes with the file that is answered.
    pub fn try_lock(&self, path: &Path) -> io::Result<Option<File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
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
        File::open(path)?.take(LARGEST + 1).read_to_end(&mut content)?;
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
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            // A name that is not UTF-8 is not one of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn target_of(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(folder)
    }

    fn create_file(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn open_end(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)
    }

    fn create_link(&self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.syncs.sync(folder, || File::open(folder)?.sync_all())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir(folder)
    }

    fn is_lost_with_container(&self, path: &Path) -> bool {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        fs::read_to_string("/proc/self/mountinfo")
            .is_ok_and(|mounts| is_on_container_layer(&mounts, &real))
    }
}

/// Whether a path lies on the root mount, and that is an overlay: the layer that goes with the container (proc(5)).
fn is_on_container_layer(mounts: &str, path: &Path) -> bool {
    let mut deepest: Option<(&str, &str)> = None;
    for line in mounts.lines() {
        let Some((fields, rest)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = fields.split(' ').nth(4) else {
            continue;
        };
        let kind = rest.split(' ').next().unwrap_or("");
        let is_deeper = deepest.is_none_or(|(other, _)| other.len() <= point.len());
        if path.starts_with(unescape(point)) && is_deeper {
            deepest = Some((point, kind));
        }
    }
    deepest.is_some_and(|(point, kind)| point == "/" && kind.contains("overlay"))
}

/// Blanks in mount points are written as octal escapes.
fn unescape(point: &str) -> String {
    point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
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

    #[test]
    fn a_store_without_a_mount_of_its_own_is_lost_with_the_container() {
        let overlay = "22 1 0:5 / / rw - overlay overlay rw\n30 22 0:6 / /proc rw - proc proc rw";
        let volume =
            format!("{overlay}\n31 22 8:1 /v /etc/letsencrypt rw,relatime - ext4 /dev/a rw");
        let store = Path::new("/etc/letsencrypt");
        assert!(is_on_container_layer(overlay, store));
        assert!(is_on_container_layer(&overlay.replace("overlay", "fuse.fuse-overlayfs"), store));
        assert!(!is_on_container_layer(&volume, store));
        assert!(is_on_container_layer(&volume, Path::new("/etc/letsencrypt2")));
        assert!(!is_on_container_layer("22 1 8:1 / / rw - ext4 /dev/a rw", store));
    }
}

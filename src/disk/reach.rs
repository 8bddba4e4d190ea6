//! How files are reached: step by step from a folder that is the operator's, and through no symbolic link that others
//! could have laid.
//!
//! A link counts if it is root's or that of the user whom this program runs as: certbot's own, and those of whoever set
//! this up. What was judged is what is opened, by its descriptor: it cannot be exchanged in between.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::fstat;
use rustix::fs::open;
use rustix::fs::openat;
use rustix::fs::readlinkat;
use rustix::io::Errno;
use rustix::process::geteuid;

/// Opens a folder by which others are reached, not to be read. Links are followed up to `root`, and below it only those
/// that nobody else could have laid; whatever `path` is elsewhere, it is walked whole.
pub fn folder(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    if root.starts_with(path) {
        return start(path);
    }
    let (begin, steps) = match path.strip_prefix(root) {
        Ok(steps) if !root.as_os_str().is_empty() => (root, steps),
        _ if path.is_absolute() => (Path::new("/"), path),
        _ => (Path::new("."), path),
    };
    let mut reached = start(begin)?;
    for step in steps.components() {
        reached = match step {
            Component::Normal(name) => below(&reached, name)?,
            Component::ParentDir => openat(&reached, "..", FOLDER, Mode::empty())?,
            Component::Prefix(_) | Component::RootDir | Component::CurDir => reached,
        };
    }
    Ok(reached)
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn start(path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(open(path, FOLDER, Mode::empty())?)
}

/// Opens a folder in another one.
pub fn below(above: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let found =
        openat(&above, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&found)?.st_mode) {
        FileType::Directory => Ok(found),
        FileType::Symlink => Ok(openat(above, target(&found, name)?, FOLDER, Mode::empty())?),
        FileType::RegularFile
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Err(Errno::NOTDIR.into()),
    }
}

/// Opens a file in a folder for reading, through a link only if nobody else could have laid it.
pub fn file(folder: impl AsFd, name: &OsStr) -> io::Result<File> {
    let how = OFlags::RDONLY | OFlags::CLOEXEC;
    match openat(&folder, name, how | OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::LOOP) => {
            let link = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let link = openat(&folder, name, link, Mode::empty())?;
            Ok(openat(&folder, target(&link, name)?, how, Mode::empty())?.into())
        }
        opened => Ok(opened?.into()),
    }
}

/// Opens a file in a folder for writing, in a way that `how` says; through no link at all, because none of ours is
/// written through.
pub fn written(folder: impl AsFd, name: &OsStr, how: OFlags, mode: u32) -> io::Result<File> {
    let how = how | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, name, how, Mode::from_raw_mode(mode)) {
        Err(Errno::LOOP) => Err(io::Error::other(format!(
            "`{}` is a link, and nothing is written through it: remove it",
            name.display()
        ))),
        opened => Ok(opened?.into()),
    }
}

/// Opens a folder that was reached, to be listed, synced or changed.
pub fn opened(reached: impl AsFd) -> io::Result<OwnedFd> {
    let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(reached, ".", how, Mode::empty())?)
}

/// Lists the names in a folder that was reached. A name that is not UTF-8 is not one of ours.
pub fn names(reached: impl AsFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(opened(reached)?)? {
        let name = entry?.file_name().to_bytes().to_vec();
        names.extend(String::from_utf8(name).ok().filter(|name| name != "." && name != ".."));
    }
    Ok(names)
}

/// Removes a file or link, or an empty folder where `what` says so.
pub fn remove(folder: impl AsFd, name: &OsStr, what: AtFlags) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(folder, name, what)?)
}

/// Where a link leads, if nobody else could have laid it.
fn target(link: &OwnedFd, name: &OsStr) -> io::Result<PathBuf> {
    let owner = fstat(link)?.st_uid;
    if !is_trusted(owner, geteuid().as_raw()) {
        return Err(io::Error::other(format!(
            "`{}` is a link of another user (uid {owner}), which is not followed: remove it, or make it root's",
            name.display()
        )));
    }
    let target = readlinkat(link, "", Vec::new())?;
    Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
}

/// Whether a link of this user is nobody else's work.
fn is_trusted(owner: u32, own: u32) -> bool {
    owner == 0 || owner == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_of_root_and_our_own_are_followed() {
        for (owner, own, expected) in
            [(0, 0, true), (0, 7, true), (7, 7, true), (7, 0, false), (8, 7, false)]
        {
            assert_eq!(is_trusted(owner, own), expected, "{owner} {own}");
        }
    }
}

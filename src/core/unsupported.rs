//! What file systems answer to what they cannot do at all: network shares, FAT, FUSE.

use std::io;

use rustix::io::Errno;

fn is_one_of(error: &io::Error, known: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|raw| known.iter().any(|errno| errno.raw_os_error() == raw))
}

/// Whether a folder cannot be brought to the disk by itself: fsync(2) has EINVAL for what does not support it, as CIFS
/// answers for folders.
pub fn is_no_folder_sync(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS])
}

/// Whether there are no locks: NFS without its lock service answers ENOLCK.
pub fn is_no_lock(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::NOLCK, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS])
}

/// Whether there are no symbolic links: symlink(2) has EPERM for that, and EACCES for what is forbidden.
pub fn is_no_link(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::PERM, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS])
}

/// Whether the mode of a file of ours cannot be changed: chmod(2) has EPERM for what belongs to another, as everything
/// does on a share that knows no owners.
pub fn is_no_mode(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::PERM, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS])
}

//! Whether what lies at a path goes with a container, judged by what is mounted where.

use std::path::Path;
use std::path::PathBuf;

/// Files that engines mount into each container, one by one. A host may have one of them from elsewhere, and network
/// namespaces or units of systemd all but the name of the host. Marks like `/.dockerenv` tell less: machines whose disk
/// was made from an image have them as well.
const MOUNTED: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// Whether a path lies in the layer that goes with the container: nothing is mounted at it or above it but the root,
/// and there is a container at all. `mounts` is `/proc/self/mountinfo` (proc(5)).
///
/// Which file system the root has says little: storage drivers keep layers as overlays, as volumes of their own, or
/// as folders of the host's file system. Only a root that is a union of layers is made for nothing else.
pub(super) fn goes_with_container(mounts: &str, path: &Path) -> bool {
    let mounts: Vec<(PathBuf, &str)> = mounts.lines().filter_map(mount).collect();
    let deepest = mounts
        .iter()
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.components().count());
    let Some((point, kind)) = deepest else {
        return false;
    };
    let is_union = ["overlay", "aufs"].iter().any(|union| kind.contains(union));
    let is_mounted = |file: &str| mounts.iter().any(|(at, _)| at == Path::new(file));
    let [hostname, hosts, resolver] = MOUNTED.map(is_mounted);
    point == Path::new("/") && (is_union || (hostname && (hosts || resolver)))
}

/// Where something is mounted, and of which type it is.
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let (fields, rest) = line.split_once(" - ")?;
    let point = unescape(fields.split(' ').nth(4)?);
    Some((point.into(), rest.split(' ').next()?))
}

/// Blanks in mount points are written as octal escapes.
fn unescape(point: &str) -> String {
    point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The root as engines show it, by storage driver.
    const ROOTS: [&str; 8] = [
        "0:50 / / rw - overlay overlay rw,lowerdir=/l",
        "0:50 / / rw - fuse.fuse-overlayfs fuse-overlayfs rw",
        "0:50 / / rw - aufs none rw,si=1",
        "253:3 /rootfs / rw - xfs /dev/mapper/docker-8:1-1-2 rw",
        "253:3 /rootfs / rw - ext4 /dev/mapper/docker-8:1-1-2 rw",
        "0:40 /var/lib/docker/btrfs/subvolumes/a / rw - btrfs /dev/sda2 rw,subvol=/a",
        "0:41 / / rw - zfs tank/docker/a rw,xattr",
        "8:1 /var/lib/docker/vfs/dir/a / rw - ext4 /dev/sda1 rw",
    ];
    const STORE: &str = "/etc/letsencrypt";

    fn engine(root: &str) -> String {
        let files = MOUNTED.map(|file| format!("31 22 8:1 /c{file} {file} rw - ext4 /dev/sda1 rw"));
        format!("22 1 {root}\n30 22 0:6 / /proc rw - proc proc rw\n{}", files.join("\n"))
    }

    #[track_caller]
    fn check(mounts: &str, path: &str, expected: bool) {
        assert_eq!(goes_with_container(mounts, Path::new(path)), expected, "{path}: {mounts}");
    }

    #[test]
    fn a_store_without_a_mount_of_its_own_goes_with_the_container_whatever_holds_its_layer() {
        for root in ROOTS {
            let mounts = engine(root);
            check(&mounts, STORE, true);
            let volume = format!("{mounts}\n40 22 8:1 /v /etc/letsencrypt rw - ext4 /dev/sda1 rw");
            check(&volume, STORE, false);
            check(&volume, "/etc/letsencrypt/below", false);
            check(&volume, "/etc/letsencrypt2", true);
            // The mount may stand above it, and its point may hold blanks.
            let above = format!("{mounts}\n40 22 8:1 /v /my\\040data rw - ext4 /dev/sda1 rw");
            check(&above, "/my data/store", false);
        }
    }

    #[test]
    fn what_lies_on_the_disk_of_a_plain_host_stays() {
        for root in [
            "8:1 / / rw - ext4 /dev/sda1 rw",
            "0:40 /@ / rw - btrfs /dev/sda2 rw,subvol=/@",
            "0:41 / / rw - zfs rpool/ROOT/debian rw",
        ] {
            check(&format!("22 1 {root}"), STORE, false);
            // A host may have its resolver's file from elsewhere.
            let resolver =
                format!("22 1 {root}\n31 22 0:9 /r /etc/resolv.conf rw - tmpfs tmpfs rw");
            check(&resolver, STORE, false);
            // `ip netns exec` lays all that is in /etc/netns over it, but the host keeps its name.
            let namespace = format!("{resolver}\n32 22 0:9 /h /etc/hosts rw - tmpfs tmpfs rw");
            check(&namespace, STORE, false);
        }
        check("", STORE, false);
        check("what is this", STORE, false);
    }
}

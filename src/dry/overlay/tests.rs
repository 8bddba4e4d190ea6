use std::fs;

use super::*;
use crate::ports::Disk;
use crate::ports::Safe;

/// What a tree looks like: paths with content, or where they lead.
fn tree(disk: &impl FileSystem, folder: &Path, into: &mut Vec<(String, String)>) {
    let mut names = disk.names_in(folder).unwrap();
    names.sort_unstable();
    for name in names {
        let path = folder.join(&name);
        let text = path.to_str().unwrap().to_owned();
        if disk.kind(&path).unwrap() == Kind::Folder {
            into.push((text, "folder".to_owned()));
            tree(disk, &path, into);
        } else if let Ok(target) = disk.target_of(&path) {
            into.push((text, format!("-> {}", target.display())));
        } else {
            let content = disk.read_file(&path).unwrap();
            into.push((text, String::from_utf8(content).unwrap()));
        }
    }
}

fn seen(disk: &impl FileSystem, folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    tree(disk, folder, &mut all);
    all
}

/// Every operation that a store makes.
fn change(disk: &impl Disk, root: &Path) {
    disk.make_folder(&root.join("new/deep")).unwrap();
    disk.write(&root.join("new/deep"), &[("a", b"1"), ("b", b"2")], Safe::Now).unwrap();
    disk.write(&root.join("old"), &[("kept", b"other")], Safe::Later).unwrap();
    disk.append(&root.join("old/log"), b"two\n", Safe::Now).unwrap();
    disk.append(&root.join("old/fresh-log"), b"one\n", Safe::Later).unwrap();
    disk.link(&root.join("old"), &[("link", Path::new("../new/deep/a"))]).unwrap();
    disk.rename(&root.join("moved"), &root.join("moved-away")).unwrap();
    disk.remove(&root.join("old/gone"), Safe::Now).unwrap();
    disk.remove(&root.join("old/never-there"), Safe::Later).unwrap();
    disk.clear(&root.join("cleared"), &["x", "y"]).unwrap();
    assert_eq!(disk.read(&root.join("old/link")).unwrap(), b"1");
    assert!(!disk.exists(&root.join("moved/inside")).unwrap());
    assert_eq!(disk.read(&root.join("moved/inside")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

fn lay(root: &Path) {
    for folder in ["old", "moved", "cleared"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    for (path, content) in [
        ("old/kept", "content"),
        ("old/log", "one\n"),
        ("old/gone", "x"),
        ("moved/inside", "y"),
        ("cleared/x", "z"),
    ] {
        fs::write(root.join(path), content).unwrap();
    }
    std::os::unix::fs::symlink("kept", root.join("old/link")).unwrap();
}

#[test]
fn everything_is_seen_as_if_it_were_done_and_nothing_is() {
    let (laid, done) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    lay(laid.path());
    lay(done.path());
    let before = seen(&RealDisk::default(), laid.path());
    let overlay = Overlay::default();
    assert_eq!(seen(&overlay, laid.path()), before);
    change(&overlay, laid.path());
    assert_eq!(seen(&RealDisk::default(), laid.path()), before, "nothing is done");
    change(&RealDisk::default(), done.path());
    let strip = |all: Vec<(String, String)>, root: &Path| -> Vec<(String, String)> {
        let root = root.to_str().unwrap();
        all.into_iter().map(|(path, what)| (path.replace(root, ""), what)).collect()
    };
    assert_eq!(
        strip(seen(&overlay, laid.path()), laid.path()),
        strip(seen(&RealDisk::default(), done.path()), done.path()),
        "and seen all the same"
    );
}

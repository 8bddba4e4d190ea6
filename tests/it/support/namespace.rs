//! A mount namespace of a test's own: small, full and read-only disks that nobody else sees, gone with the test.

use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::Command;

use super::guarded;

/// A mount namespace, held by a process that ends with this value.
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    /// Runs a script in a new namespace, as root or where user namespaces are allowed. None if `NO_MOUNTS=1` says that
    /// neither is.
    pub(crate) async fn new(script: &str) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "a switch of the tests, no setting")]
        let switch = std::env::var("NO_MOUNTS").unwrap_or_default();
        if switch == "1" {
            // Past the capture of tests that pass: nobody is to believe that this one ran.
            let line = b"a test on a disk of its own is skipped: NO_MOUNTS=1\n";
            std::io::stderr().write_all(line).unwrap();
            return None;
        }
        match Self::begin(script).await {
            Ok(namespace) => Some(namespace),
            Err(said) => panic!(
                "no disk of this test's own; where neither root nor user namespaces may mount, NO_MOUNTS=1 leaves \
                 these tests out: {said}"
            ),
        }
    }

    /// The error is what the script has said.
    async fn begin(script: &str) -> Result<Self, String> {
        let is_root = rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        if !is_root {
            command.args(["--user", "--map-root-user"]);
        }
        // It ends with its input at the latest, also when the test is killed.
        let script = format!("set -e\n{script}\necho ready\nexec cat >/dev/null");
        let mut holder = command
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("unshare is installed");
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let line = guarded("the namespace", lines.next_line()).await;
        if line.is_ok_and(|line| line.as_deref() == Some("ready")) {
            return Ok(Self { holder });
        }
        drop(holder.stdin.take());
        let mut said = String::new();
        let mut errors = holder.stderr.take().unwrap();
        let reading = errors.read_to_string(&mut said);
        guarded("what the script says", reading).await.unwrap();
        Err(said)
    }

    fn pid(&self) -> u32 {
        self.holder.id().expect("it runs")
    }

    /// Where a path of the namespace is seen from outside.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        let inner = path.strip_prefix("/").unwrap();
        Path::new("/proc").join(self.pid().to_string()).join("root").join(inner)
    }

    /// What runs a command in the namespace.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let mut wrapper = vec!["/usr/bin/nsenter".to_owned()];
        if !rustix::process::geteuid().is_root() {
            wrapper.push(format!("--user=/proc/{}/ns/user", self.pid()));
            wrapper.push("--preserve-credentials".to_owned());
        }
        wrapper.push(format!("--mount=/proc/{}/ns/mnt", self.pid()));
        wrapper
    }

    /// Runs a script in the namespace, which must succeed.
    pub(crate) async fn run(&self, script: &str) {
        let wrapper = self.wrapper();
        let running =
            Command::new(&wrapper[0]).args(&wrapper[1..]).args(["sh", "-ec", script]).status();
        let status = guarded("a script in the namespace", running).await.unwrap();
        assert!(status.success(), "{script}");
    }

    /// Nothing below a folder can be changed any more; files that are open stay open, as after an error of the file
    /// system.
    ///
    /// The view that goes on top of the folder becomes read-only where nobody sees it yet: once it is in its place,
    /// a daemon may open a file for writing through it, and as long as it does, the kernel refuses. It is in no mtab,
    /// which only the real root may write.
    pub(crate) async fn freeze(&self, folder: &Path) {
        let script = "mkdir $view; mount --bind $folder $view; mount -o remount,bind,ro $view\n\
                      mount --no-mtab --move $view $folder; rmdir $view";
        let shown = folder.display();
        self.run(&format!("folder='{shown}'; view='{shown}.view'; {script}")).await;
    }

    /// What is below a frozen folder can be changed again.
    ///
    /// The view stays: it cannot be taken away while anybody reads through it, and a daemon reads in every pass.
    pub(crate) async fn thaw(&self, folder: &Path) {
        self.run(&format!("mount -o remount,bind,rw '{}'", folder.display())).await;
    }

    /// Fills the disk below a folder to the last byte. Removing the file that is answered makes room.
    pub(crate) fn fill(&self, folder: &Path) -> PathBuf {
        let path = self.path(folder).join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [4096, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
        path
    }
}

#[tokio::test]
async fn a_script_that_fails_is_told_with_its_own_words() {
    let Some(_allowed) = Namespace::new("true").await else {
        return;
    };
    let said =
        Namespace::begin("echo beforehand; mount -t nothing /nowhere /nor-there").await.err();
    assert!(said.is_some_and(|said| said.contains("/nor-there")));
}

#[tokio::test]
async fn a_folder_is_frozen_and_thawed_while_its_files_are_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let folder = &dir.path().join("disk");
    std::fs::create_dir(folder).unwrap();
    let script = format!("mount -t tmpfs tmpfs '{}'", folder.display());
    let Some(namespace) = Namespace::new(&script).await else {
        return;
    };
    let inside = namespace.path(folder);
    let mut written = Vec::new();
    let mut read = Vec::new();
    for round in 0..2 {
        let path = inside.join(round.to_string());
        written.push(std::fs::File::create(&path).unwrap());
        namespace.freeze(folder).await;
        for file in &mut written {
            file.write_all(b"x").unwrap();
        }
        read.push(std::fs::File::open(&path).unwrap());
        let refused = std::fs::write(&path, "").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        namespace.thaw(folder).await;
    }
}

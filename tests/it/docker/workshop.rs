//! What a test makes in Docker, and that all of it goes away.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Output;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde_json::Value;
use tokio::process::Command;

use crate::support::Daemon;
use crate::support::guarded;
use sandbox::parts::part::find;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
/// What the compose file names, and what `nginx-image.sh` says of its stand-in.
const NGINX: &str = "nginx:alpine";
const STAND_IN: &str = r#"{{index .Config.Labels "rancher-lets-encrypt.stand-in"}}"#;

/// A label with this key is on every container of the test; compose has its own.
pub(super) const LABEL: &str = "rancher-lets-encrypt.test";
const COMPOSE_LABEL: &str = "com.docker.compose.project";

/// Docker, and everything of one test in it, which goes when this value does.
pub(super) struct Workshop {
    name: String,
    images: Mutex<Vec<String>>,
    networks: Mutex<Vec<String>>,
    /// Held while `nginx:alpine` is ours to tag.
    lock: Mutex<Option<File>>,
}

impl Workshop {
    /// None if `NO_DOCKER=1` says that there is to be none.
    pub(super) async fn open() -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "a switch of the tests, no setting")]
        let switch = std::env::var("NO_DOCKER").unwrap_or_default();
        if switch == "1" {
            // Past the capture of tests that pass: nobody is to believe that this one ran.
            let line = b"a test of the image in Docker is skipped: NO_DOCKER=1\n";
            std::io::stderr().write_all(line).unwrap();
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let workshop = Self {
            name: format!("rle-test-{}-{number}", std::process::id()),
            images: Mutex::default(),
            networks: Mutex::default(),
            lock: Mutex::default(),
        };
        let answer = workshop.asked(&["version"]).await;
        let text = text(&answer);
        assert!(
            answer.status.success(),
            "no Docker engine answers; set NO_DOCKER=1 to leave these tests out: {text}"
        );
        Some(workshop)
    }

    /// A name that nothing else in Docker has.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Does something that must work, and gives what was said.
    pub(super) async fn said(&self, args: &[&str]) -> String {
        let output = self.asked(args).await;
        let text = text(&output);
        assert!(output.status.success(), "docker {args:?} failed:\n{text}");
        text.trim().to_owned()
    }

    /// Does something that must fail, and gives what was said.
    pub(super) async fn refused(&self, args: &[&str]) -> String {
        let output = self.asked(args).await;
        let text = text(&output);
        assert!(!output.status.success(), "docker {args:?} worked:\n{text}");
        text
    }

    async fn asked(&self, args: &[&str]) -> Output {
        let asking = self.command(args).output();
        let output = guarded(&format!("docker {args:?}"), asking).await;
        output.unwrap_or_else(|error| {
            panic!("docker cannot be run; set NO_DOCKER=1 to leave these tests out: {error}")
        })
    }

    /// What `docker inspect` knows.
    pub(super) async fn about(&self, kind: &str, id: &str) -> Value {
        let text = self.said(&["inspect", "--type", kind, id]).await;
        let all: Value = serde_json::from_str(&text).unwrap();
        all[0].clone()
    }

    /// The command of the image's HEALTHCHECK.
    pub(super) async fn health_command(&self, image: &str) -> Vec<String> {
        let about = self.about("image", image).await;
        let test = &about["Config"]["Healthcheck"]["Test"];
        let mut words: Vec<String> = serde_json::from_value(test.clone()).unwrap();
        assert_eq!(words.remove(0), "CMD", "there is no shell");
        words
    }

    /// The log of a container since it was last started.
    pub(super) async fn log(&self, id: &str) -> Daemon {
        let about = self.about("container", id).await;
        let since = about["State"]["StartedAt"].as_str().unwrap().to_owned();
        Daemon::of(self.command(&["logs", "--follow", "--since", &since, id]))
    }

    /// A network of its own, and the address that this machine has in it.
    pub(super) async fn network(&self) -> Ipv4Addr {
        let id = self.said(&["network", "create", &self.name]).await;
        self.networks.lock().unwrap().push(id.clone());
        let about = self.about("network", &id).await;
        let gateway = about["IPAM"]["Config"][0]["Gateway"].as_str().unwrap();
        gateway.parse().unwrap()
    }

    /// The daemon's image, made of the static binary.
    pub(super) async fn daemon_image(&self) -> String {
        let binary = static_binary();
        let tag = format!("{}:daemon", self.name);
        self.script("daemon-image.sh", &[&tag, binary.to_str().unwrap()]).await;
        tag
    }

    /// Makes sure that there is a `nginx:alpine`: the real one if the engine has it, else a stand-in, which is there
    /// as long as this value.
    pub(super) async fn nginx_image(&self) -> String {
        // One test at a time on this machine: Docker's own program is what all of them have in common.
        let lock = tokio::task::spawn_blocking(|| {
            let file = File::open(find("docker")).unwrap();
            file.lock().unwrap();
            file
        });
        let lock = guarded("other tests to give nginx:alpine back", lock).await;
        *self.lock.lock().unwrap() = Some(lock.unwrap());
        let present = self.asked(&["image", "inspect", "--format", STAND_IN, NGINX]).await;
        // A stand-in that a killed test left behind is as good as none.
        let is_real = present.status.success() && text(&present).trim() != NGINX;
        if is_real {
            return NGINX.to_owned();
        }
        let tag = format!("{}:nginx", self.name);
        self.script("nginx-image.sh", &[&tag]).await;
        self.images.lock().unwrap().push(NGINX.to_owned());
        self.said(&["tag", &tag, NGINX]).await;
        tag
    }

    async fn script(&self, name: &str, args: &[&str]) {
        // Noted first: whatever a script leaves behind when it fails has this name.
        self.images.lock().unwrap().push(args[0].to_owned());
        let mut command = Command::new(Path::new(REPOSITORY).join("tests/docker").join(name));
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        let output = guarded(name, command.output()).await.unwrap();
        let text = text(&output);
        assert!(output.status.success(), "{name} failed:\n{text}");
    }

    /// Says a thing to Docker when nothing else can be done; nobody is there to hear that it failed.
    fn clean(args: &[&str]) -> String {
        let output = std::process::Command::new("docker").args(args).output();
        output.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        for label in [LABEL, COMPOSE_LABEL] {
            let filter = format!("label={label}={}", self.name);
            for (list, remove) in [
                (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]),
                (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
            ] {
                let found = Self::clean(&[list, &["--filter", &filter]].concat());
                let found: Vec<&str> = found.lines().collect();
                if !found.is_empty() {
                    Self::clean(&[remove, &found].concat());
                }
            }
        }
        for network in self.networks.get_mut().unwrap().iter() {
            Self::clean(&["network", "rm", network]);
        }
        for image in self.images.get_mut().unwrap().iter() {
            Self::clean(&["image", "rm", image]);
        }
    }
}

pub(super) fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// The binary of the image, which has to be made of the sources that are tested.
fn static_binary() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_rancher-lets-encrypt"));
    let target = built.parent().and_then(Path::parent).unwrap();
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let binary = target.join(musl).join("release/rancher-lets-encrypt");
    let Some(made) = changed_at(&binary) else {
        panic!("{} is missing: run `make static`", binary.display());
    };
    let repository = Path::new(REPOSITORY);
    let mut paths = vec![repository.join("Cargo.lock"), repository.join("src")];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else if changed_at(&path) > Some(made) {
            let (binary, path) = (binary.display(), path.display());
            panic!("{binary} is older than {path}: run `make static`");
        }
    }
    binary
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

//! The stack of the project's own compose file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Stdio;

use rancher_lets_encrypt::config::SETTINGS;
use serde_json::Value;
use serde_json::json;
use tokio::process::Command;

use crate::docker::site::NAMES;
use crate::docker::site::ROOTS;
use crate::docker::site::Site;
use crate::docker::workshop::LABEL;
use crate::docker::workshop::Workshop;
use crate::docker::workshop::text;
use crate::support::Daemon;
use crate::support::guarded;

/// The services of the compose file.
pub(super) const NGINX: &str = "letsencrypt-nginx";
pub(super) const DAEMON: &str = "rancher-lets-encrypt";

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docker-compose.yml");
const CERTIFICATES: &str = "letsencrypt-certs";
const CHALLENGES: &str = "letsencrypt-verify";

/// System calls that no list of 2016 has: its filter answers "not permitted", not that it does not know them.
const NEWER: &str = "clone3 close_range copy_file_range epoll_pwait2 faccessat2 fchmodat2 fsconfig fsmount fsopen \
    fspick futex_requeue futex_wait futex_waitv futex_wake io_pgetevents io_uring_enter io_uring_register \
    io_uring_setup landlock_create_ruleset membarrier memfd_secret mount_setattr move_mount open_tree openat2 \
    pidfd_getfd pidfd_open pidfd_send_signal pkey_alloc pkey_free pkey_mprotect preadv2 process_madvise \
    process_mrelease pwritev2 rseq statx userfaultfd";

/// The variable by which the compose file takes something from the shell.
pub(super) fn variable(name: &str) -> String {
    format!("RLE_{name}")
}

/// Folder, what is in it, where it goes: as a user's own, with nothing for others.
const FILL: &str =
    "tar --owner=1000 --group=1000 --mode=0700 -C \"$0\" -cf - \"$1\" | docker cp -a - \"$2\"";

/// The stack, in a project of its own.
pub(super) struct Stack<'a> {
    pub(super) workshop: &'a Workshop,
    pub(super) site: &'a Site,
    pub(super) image: String,
    nginx_image: String,
}

impl<'a> Stack<'a> {
    /// Makes the images and adds to the compose file what only the test needs: nothing is taken away.
    pub(super) async fn new(workshop: &'a Workshop, site: &'a Site) -> Self {
        Self::with(workshop, site, Vec::new()).await
    }

    /// The same with more options of safety.
    async fn with(workshop: &'a Workshop, site: &'a Site, security: Vec<String>) -> Self {
        let image = workshop.daemon_image().await;
        let nginx_image = workshop.nginx_image().await;
        let injected = site.injected();
        let injected: BTreeMap<&str, &str> = injected.vars().collect();
        let roots = format!("{}:{ROOTS}:ro", site.path("acme-roots.pem").display());
        let added = json!({
            "version": "2",
            "services": {
                NGINX: { "networks": { "default": { "aliases": NAMES } } },
                DAEMON: { "environment": injected, "volumes": [roots], "security_opt": security },
            },
            "networks": { "default": { "external": { "name": workshop.name() } } },
        });
        // JSON is YAML.
        std::fs::write(site.path("added.yml"), added.to_string()).unwrap();
        Self { workshop, site, image, nginx_image }
    }

    /// The stack with a daemon that is denied `NEWER`, and nothing else.
    pub(super) async fn without_newer_calls(workshop: &'a Workshop, site: &'a Site) -> Self {
        let path = site.path("filter.json");
        let syscalls = json!({ "names": NEWER.split_whitespace().collect::<Vec<_>>(), "action": "SCMP_ACT_ERRNO" });
        let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [syscalls] });
        std::fs::write(&path, filter.to_string()).unwrap();
        Self::with(workshop, site, vec![format!("seccomp:{}", path.display())]).await
    }

    async fn compose(&self, args: &[&str]) {
        let mut command = Command::new("docker-compose");
        command.args(["--project-name", self.workshop.name(), "--file", FILE]);
        command.arg("--file").arg(self.site.path("added.yml")).args(args);
        // Whatever is set where the tests run is none of theirs.
        command.envs(SETTINGS.iter().map(|setting| (variable(setting.name), "")));
        command.env(variable("IMAGE"), &self.image);
        command.envs(self.site.settings().vars().map(|(name, value)| (variable(name), value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = guarded(&format!("docker-compose {args:?}"), command.output()).await;
        let output = output.unwrap_or_else(|error| {
            panic!("docker-compose cannot be run; NO_DOCKER=1 leaves these tests out: {error}")
        });
        let text = text(&output);
        assert!(output.status.success(), "docker-compose {args:?} failed:\n{text}");
    }

    pub(super) async fn start(&self, service: &str) {
        self.compose(&["up", "--detach", service]).await;
    }

    /// A new container in place of the present one, as after an upgrade.
    pub(super) async fn recreate(&self, service: &str) {
        self.compose(&["up", "--detach", "--force-recreate", service]).await;
    }

    pub(super) async fn remove(&self, service: &str) {
        self.compose(&["rm", "--stop", "--force", service]).await;
    }

    pub(super) async fn remove_volume(&self) {
        let name = self.volume(CERTIFICATES);
        self.workshop.said(&["volume", "rm", &name]).await;
    }

    fn volume(&self, name: &str) -> String {
        format!("{}_{name}", self.workshop.name())
    }

    pub(super) async fn id(&self, service: &str) -> String {
        let project = format!("label=com.docker.compose.project={}", self.workshop.name());
        let service = format!("label=com.docker.compose.service={service}");
        let args = ["ps", "--all", "--quiet", "--no-trunc", "--filter", &project];
        let found = [&args[..], &["--filter", &service]].concat();
        self.workshop.said(&found).await
    }

    pub(super) async fn inspect(&self, service: &str) -> Value {
        let id = self.id(service).await;
        self.workshop.about("container", &id).await
    }

    pub(super) async fn address(&self, service: &str) -> IpAddr {
        let about = self.inspect(service).await;
        let network = &about["NetworkSettings"]["Networks"][self.workshop.name()];
        network["IPAddress"].as_str().unwrap().parse().unwrap()
    }

    pub(super) async fn log(&self, service: &str) -> Daemon {
        self.workshop.log(&self.id(service).await).await
    }

    /// A file of the store.
    pub(super) async fn stored(&self, path: &str) -> String {
        let from = format!("{}:/etc/letsencrypt", self.id(DAEMON).await);
        let to = self.site.path("copied");
        if !to.exists() {
            let args = ["cp", &from, to.to_str().unwrap()];
            self.workshop.said(&args).await;
        }
        std::fs::read_to_string(to.join(path)).unwrap()
    }

    /// Volumes as they come from elsewhere: another user's, and closed to everybody else.
    pub(super) async fn volumes_belong_to_somebody_else(&self) {
        let project = format!("com.docker.compose.project={}", self.workshop.name());
        let label = format!("{LABEL}={}", self.workshop.name());
        // The webroot itself is the operator's, who has to let nginx in.
        for (volume, folder, given) in
            [(CERTIFICATES, "live", "."), (CHALLENGES, ".well-known/acme-challenge", ".well-known")]
        {
            let from = self.site.path(volume);
            std::fs::create_dir_all(from.join(folder)).unwrap();
            let volume = self.volume(volume);
            let args = ["volume", "create", "--label", &project, &volume];
            self.workshop.said(&args).await;
            let mount = format!("{volume}:/volume");
            let args = ["create", "--label", &label, "--volume", &mount, &self.nginx_image];
            let container = self.workshop.said(&args).await;
            let mut pipe = Command::new("/bin/sh");
            pipe.arg("-c").arg(FILL).arg(&from).arg(given);
            pipe.arg(format!("{container}:/volume"));
            let output = guarded("a volume to be filled", pipe.kill_on_drop(true).output()).await;
            let output = output.unwrap();
            assert!(output.status.success(), "{}", text(&output));
            self.workshop.said(&["rm", &container]).await;
        }
    }
}

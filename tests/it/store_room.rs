//! A store that is full, read-only, or lost with the container: a clear error, nothing lost, and on it goes when the
//! cause is gone.
//!
//! The daemon runs in a mount namespace of its own, where its store lies on a disk of a megabyte.

use std::path::Path;
use std::path::PathBuf;

use sandbox::faults::Gate;
use sandbox::faults::What;

use crate::support::World;
use crate::support::daemon::Daemon;
use crate::support::guarded;
use crate::support::issued;
use crate::support::leaf;
use crate::support::namespace::Namespace;
use crate::support::tree::contents;

const A: &str = "a.example.com";

/// A world whose store is on a small disk.
struct Small {
    world: World,
    disk: Namespace,
}

impl Small {
    async fn start() -> Option<Self> {
        let world = World::start().await;
        let store = world.store();
        let script = format!("mount -t tmpfs -o size=1m tmpfs '{}'", store.display());
        let disk = Namespace::new(&script).await?;
        Some(Self { world, disk })
    }

    fn daemon(&self, domains: &str) -> Daemon {
        let settings = self.world.settings().with("DOMAINS", domains);
        settings.within(self.disk.wrapper()).start()
    }

    fn fill(&self) -> PathBuf {
        self.disk.fill(&self.world.store())
    }

    /// A path of the store, seen from outside.
    fn store(&self, path: &str) -> PathBuf {
        self.disk.path(&self.world.store()).join(path)
    }

    async fn freeze(&self) {
        self.disk.freeze(&self.world.store()).await;
    }

    async fn thaw(&self) {
        self.disk.thaw(&self.world.store()).await;
    }

    fn live_leaf(&self) -> String {
        let live = self.store("live/a.example.com/cert.pem");
        leaf(&std::fs::read_to_string(live).unwrap())
    }
}

/// The error of a line names a path below the store and says what helps.
#[track_caller]
fn explains(line: &serde_json::Value, store: &Path, what_helps: &str) {
    let error = line["error"].as_str().unwrap_or_default();
    assert!(error.contains(store.to_str().unwrap()), "{line}");
    assert!(error.contains(what_helps), "{line}");
}

const ROOM: &str = "make room on the volume of the store";
const WRITABLE: &str = "mount the volume of the store writable";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_before_the_order_costs_nothing() {
    let Some(small) = Small::start().await else {
        return;
    };
    let world = &small.world;
    let mut daemon = small.daemon(A);
    world.pushed(A).await;
    daemon.settles().await;
    let filler = small.fill();
    world.announce("shop", "web", "b.example.com");
    let line = daemon.says("certificate not done").await;
    assert_eq!(line["names"], "b.example.com");
    explains(&line, &world.store(), ROOM);
    assert_eq!(world.production.orders().len(), 1, "{}", daemon.text());
    std::fs::remove_file(filler).unwrap();
    world.pushed("b.example.com").await;
    daemon.settles().await;
    assert_eq!(world.production.issued().len(), 2, "{}", daemon.text());
}

/// The disk is full from the moment on when the authority has done what was asked, until the daemon has said so.
async fn check_full_after(endpoint: &'static str) {
    let Some(small) = Small::start().await else {
        return;
    };
    let world = &small.world;
    let gate = Gate::new();
    let faults = world.production.faults();
    faults.add(endpoint, 1, What::DoThenHold(gate.clone()));
    let mut daemon = small.daemon(A);
    guarded("the request", gate.reached(1)).await;
    let filler = small.fill();
    gate.open();
    let line = daemon.says("certificate not done").await;
    explains(&line, &world.store(), ROOM);
    std::fs::remove_file(filler).unwrap();
    world.pushed(A).await;
    daemon.settles().await;
    assert_eq!(world.issued(A), [small.live_leaf()], "{}", daemon.text());
    assert_eq!(world.production.orders().len(), 1, "{}", daemon.text());
    assert_eq!(world.production.accounts().len(), 1, "{}", daemon.text());
    let left: Vec<String> = contents(&small.store("")).into_keys().collect();
    assert!(!left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_once_the_account_is_made_costs_no_second_one() {
    check_full_after("new-account").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_once_the_order_is_opened_costs_no_second_one() {
    check_full_after("new-order").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_once_a_name_is_validated_costs_nothing() {
    check_full_after("challenge").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_once_it_is_issued_costs_no_second_certificate() {
    check_full_after("finalize").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_after_the_download_costs_no_second_certificate() {
    check_full_after("certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_killed_on_a_full_disk_goes_on_when_there_is_room() {
    let Some(small) = Small::start().await else {
        return;
    };
    let world = &small.world;
    let gate = Gate::new();
    let faults = world.production.faults();
    faults.add("certificate", 1, What::DoThenHold(gate.clone()));
    let mut daemon = small.daemon(A);
    guarded("the download", gate.reached(1)).await;
    let filler = small.fill();
    gate.open();
    daemon.says("certificate not done").await;
    daemon.kill().await;
    let mut daemon = small.daemon(A);
    let line = daemon.says("job not done").await;
    explains(&line, &world.store(), ROOM);
    std::fs::remove_file(filler).unwrap();
    world.pushed(A).await;
    daemon.settles().await;
    assert_eq!(world.issued(A), [small.live_leaf()], "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_keeps_no_restored_certificate_from_coming_back_under_its_name() {
    let Some(small) = Small::start().await else {
        return;
    };
    let world = &small.world;
    let mut daemon = small.daemon(A);
    world.pushed(A).await;
    daemon.settles().await;
    daemon.stop().await;
    // The volume is lost, and the new one has no room.
    for entry in std::fs::read_dir(small.store("")).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    let filler = small.fill();
    let mut daemon = small.daemon(A);
    for _ in 0..2 {
        let line = daemon.says("job not done").await;
        explains(&line, &world.store(), ROOM);
    }
    std::fs::remove_file(filler).unwrap();
    daemon.says("certificate restored from Rancher").await;
    assert_eq!(world.issued(A), [small.live_leaf()], "{}", daemon.text());
    let names = std::fs::read_dir(small.store("archive")).unwrap();
    assert_eq!(names.count(), 1, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_store_still_pushes_and_wakes_once_and_issues_nothing() {
    let Some(small) = Small::start().await else {
        return;
    };
    let world = &small.world;
    let mut daemon = small.daemon(A);
    world.pushed(A).await;
    daemon.settles().await;
    let served = world.issued(A);
    let wakes = world.rancher.wakes().len();
    small.freeze().await;
    let id = world.rancher.certificate(A).unwrap().id;
    world.rancher.remove_certificate(&id);
    world.announce("shop", "web", "b.example.com");
    world.holds(A, &served[0]).await;
    let is_b = |line: &serde_json::Value| {
        line["message"] == "certificate not done" && line["names"] == "b.example.com"
    };
    let line = daemon.next("the one that cannot be issued", is_b).await;
    explains(&line, &world.store(), WRITABLE);
    daemon.passes(3).await;
    let text = daemon.text();
    assert_eq!(world.production.orders().len(), 1, "{text}");
    assert_eq!(world.rancher.wakes().len(), wakes + 1, "{text}");
    assert!(text.contains("names learned from labels not kept"), "{text}");
    small.thaw().await;
    world.pushed("b.example.com").await;
    daemon.settles().await;
    assert_eq!(world.issued(A), served, "{}", daemon.text());
    assert_eq!(world.production.issued().len(), 2, "{}", daemon.text());
    let names = std::fs::read_to_string(small.store("rancher-lets-encrypt/names.json"));
    assert!(names.unwrap().contains("b.example.com"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_becomes_read_only_after_the_download_costs_no_second_certificate() {
    let Some(small) = Small::start().await else {
        return;
    };
    let world = &small.world;
    let gate = Gate::new();
    let faults = world.production.faults();
    faults.add("certificate", 1, What::DoThenHold(gate.clone()));
    let mut daemon = small.daemon(A);
    guarded("the download", gate.reached(1)).await;
    small.freeze().await;
    gate.open();
    let line = daemon.says("certificate not done").await;
    explains(&line, &world.store(), WRITABLE);
    small.thaw().await;
    world.pushed(A).await;
    daemon.settles().await;
    assert_eq!(world.issued(A), [small.live_leaf()], "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_read_only_from_the_start_is_waited_for() {
    let Some(small) = Small::start().await else {
        return;
    };
    let world = &small.world;
    small.freeze().await;
    let mut daemon = small.daemon(A);
    let line = daemon.says("not started yet").await;
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.starts_with("the store cannot be used: "), "{reason}");
    assert!(reason.contains(world.store().to_str().unwrap()), "{reason}");
    assert!(reason.contains(WRITABLE), "{reason}");
    small.thaw().await;
    world.pushed(A).await;
    daemon.settles().await;
    daemon.stop().await;
    // Nor is it started where everything is there already.
    small.freeze().await;
    let mut daemon = small.daemon(A);
    let line = daemon.says("not started yet").await;
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("lock"), "{reason}");
    assert!(reason.contains(WRITABLE), "{reason}");
    small.thaw().await;
    daemon.settles().await;
    assert_eq!(world.issued(A), [small.live_leaf()], "{}", daemon.text());
}

/// A root that is an overlay.
const OVERLAY: &str =
    "mount -t overlay overlay -o lowerdir=/,upperdir=$place/upper,workdir=$place/work root";

/// A root that is a folder of the host's own file system, as other storage drivers have it, with the files that every
/// engine mounts into a container.
const FOLDER: &str = "mount --bind / root\n\
                      for file in hosts hostname resolv.conf; do touch upper/$file; mount --bind upper/$file root/etc/$file; done";

/// A root as in a container. The webroot is a volume, and the store is one if `volume` says so.
async fn container(world: &World, root: &str, volume: &str) -> Option<(Namespace, Vec<String>)> {
    let place = world.path("container");
    std::fs::create_dir(&place).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_rancher-lets-encrypt"));
    let script = format!(
        "place='{place}'; mount -t tmpfs tmpfs $place; cd $place; mkdir upper work root\n\
         {root}\n\
         mount --rbind /proc root/proc\n\
         for volume in '{www}' '{binaries}' {volume}; do mkdir -p root/$volume; mount --bind $volume root/$volume; done",
        place = place.display(),
        www = world.webroot().display(),
        binaries = binary.parent().unwrap().display(),
    );
    let namespace = Namespace::new(&script).await?;
    let mut wrapper = namespace.wrapper();
    wrapper.push("/usr/sbin/chroot".to_owned());
    wrapper.push(place.join("root").to_str().unwrap().to_owned());
    Some((namespace, wrapper))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_production_order_is_opened_on_a_store_that_goes_with_the_container() {
    check_lost_with_container(OVERLAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_known_by_other_things_than_the_type_of_its_root() {
    check_lost_with_container(FOLDER).await;
}

async fn check_lost_with_container(root: &str) {
    let world = World::start().await;
    let Some((_namespace, wrapper)) = container(&world, root, "").await else {
        return;
    };
    let settings = world.settings().with("DOMAINS", A).within(wrapper);
    let mut daemon = settings.clone().start();
    let is_loud = |line: &serde_json::Value| {
        line["level"] == "ERROR"
            && line.to_string().contains("mount a volume at LETSENCRYPT_ROOTDIR")
    };
    daemon.next("the loss to come", is_loud).await;
    daemon.says("certificate needs attention").await;
    daemon.passes(1).await;
    assert_eq!(world.production.orders().len(), 0, "{}", daemon.text());
    daemon.stop().await;
    // For trying out it will do.
    let mut daemon = settings.without("STAGING").start();
    daemon.says("certificate issued").await;
    daemon.settles().await;
    assert_eq!(issued(&world.staging, A).len(), 1, "{}", daemon.text());
    assert_eq!(world.production.orders().len(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_in_a_container_is_good_for_production() {
    check_volume(OVERLAY).await;
    check_volume(FOLDER).await;
}

async fn check_volume(root: &str) {
    let world = World::start().await;
    let store = world.store();
    let Some((_namespace, wrapper)) = container(&world, root, store.to_str().unwrap()).await else {
        return;
    };
    let mut daemon = world.settings().with("DOMAINS", A).within(wrapper).start();
    world.pushed(A).await;
    daemon.settles().await;
    assert_eq!(world.issued(A).len(), 1);
    assert!(!daemon.text().contains("not on a volume"), "{}", daemon.text());
}

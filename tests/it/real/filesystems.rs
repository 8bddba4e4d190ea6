//! File systems that cannot do everything, as network shares, FAT and FUSE: the kernel refuses single calls of the
//! daemon, by strace's hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::Daemon;
use crate::support::World;
use crate::support::look::look;

const A: &str = "a.example.com";

/// What runs a command whose system calls of these kinds are refused, all or those about some paths. The command keeps
/// its own process id.
fn refusing(calls: &str, error: &str, paths: &[PathBuf]) -> Vec<String> {
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}"));
    let words =
        ["/usr/bin/strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let mut words = words.map(str::to_owned).to_vec();
    for path in paths {
        words.extend(["-P".to_owned(), path.to_str().unwrap().to_owned()]);
    }
    words
}

fn daemon(world: &World, wrapper: Vec<String>) -> Daemon {
    world.settings().with("DOMAINS", A).within(wrapper).start()
}

/// Folders cannot be synced: CIFS answers EINVAL, FUSE and others what they do not know.
async fn check_unsynced_folders(error: &str) {
    let world = World::start().await;
    let store = world.store();
    let certificates = ["", "/certificates", "/pending", "/stuck", "/accounts"];
    let mut folders: Vec<PathBuf> =
        certificates.iter().map(|name| store.join(format!("rancher-lets-encrypt{name}"))).collect();
    folders.extend(
        ["live", "archive", "archive/a.example.com", "renewal"].map(|name| store.join(name)),
    );
    folders.extend([store.clone(), store.parent().unwrap().to_owned()]);
    let mut daemon = daemon(&world, refusing("fsync", error, &folders));
    daemon.brings("a certificate", world.pushed(A)).await;
    daemon.settles().await;
    let told = daemon.with("folders cannot be synced");
    assert_eq!(told.len(), 1, "{}", daemon.text());
    assert_eq!(told[0]["level"], "WARN", "{}", told[0]);
    assert!(daemon.with("not done").is_empty(), "{}", daemon.text());
    assert_eq!(world.issued(A).len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_folders_cannot_be_synced_it_goes_on_and_says_so_once() {
    check_unsynced_folders("EINVAL").await;
    check_unsynced_folders("EOPNOTSUPP").await;
    check_unsynced_folders("ENOSYS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_for_another_reason_is_a_failure() {
    let world = World::start().await;
    let folder = world.store().join("rancher-lets-encrypt/accounts");
    let mut daemon = daemon(&world, refusing("fsync", "EIO", &[folder]));
    daemon.mentions("os error 5").await;
    assert!(world.production.orders().is_empty(), "{}", daemon.text());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_are_no_locks_it_says_what_to_do() {
    for error in ["ENOLCK", "ENOSYS", "EOPNOTSUPP"] {
        let world = World::start().await;
        let mut daemon = daemon(&world, refusing("flock", error, &[]));
        let line = daemon.says("not started yet").await;
        let reason = line["reason"].as_str().unwrap();
        assert!(
            reason.contains("cannot lock") && reason.contains("has no locks"),
            "{error}: {reason}"
        );
        assert!(reason.contains("local disk"), "{error}: {reason}");
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_are_no_links_certificates_are_pushed_and_the_page_says_what_is_missing() {
    for error in ["EPERM", "EOPNOTSUPP", "ENOSYS"] {
        let world = World::start().await;
        let settings = world.settings().with("DOMAINS", A);
        let refused = refusing("symlink,symlinkat", error, &[]);
        let (mut daemon, port) = settings.within(refused).start_seen().await;
        daemon.brings("a certificate", world.pushed(A)).await;
        daemon.settles().await;
        let told = daemon.with("live view not in line");
        assert_eq!(told.len(), 1, "{}", daemon.text());
        let text = told[0]["error"].as_str().unwrap();
        assert!(text.contains("has no symbolic links") && !text.contains("runs as root"), "{text}");
        let status = look(&port, "/status.json").await.body;
        assert!(status.contains("has no symbolic links"), "{status}");
        let page = look(&port, "/").await.body;
        assert!(page.contains("has no symbolic links"), "{page}");
        assert_eq!(world.issued(A).len(), 1);
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modes_that_cannot_be_changed_matter_only_where_others_may_not_read() {
    let world = World::start().await;
    let folder = world.webroot().join(".well-known/acme-challenge");
    fs::create_dir_all(&folder).unwrap();
    // As network shares show everything.
    let mode = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o775);
    let calls = "chmod,fchmod,fchmodat";
    let open = daemon(&world, refusing(calls, "EPERM", &[]));
    open.brings("a certificate", world.pushed(A)).await;
    open.stop().await;
    mode(0o700);
    world.announce("shop", "web", "b.example.com");
    let mut closed = daemon(&world, refusing(calls, "EPERM", &[]));
    let line = closed.says("certificate not done").await;
    assert_eq!(line["names"], "b.example.com");
    assert!(line.to_string().contains("acme-challenge"), "{line}");
    closed.stop().await;
}

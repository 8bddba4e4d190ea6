//! A network of a test's own: nothing but loopback, every port free, names asked at 127.0.0.1.
//!
//! Foreign authorities fetch HTTP-01 from port 80 and ask name servers at port 53. So such a test is run once more by a
//! second process of the test program, which sees no other network and has a `resolv.conf` of its own.

use std::future::Future;
use std::io::Write;
use std::process::Stdio;

use tokio::process::Command;

/// Set for the second process.
const INSIDE: &str = "TEST_IN_A_NETWORK_OF_ITS_OWN";

/// Begins as root of its namespaces, and becomes the second process. It ends with the first one. Its files are in memory:
/// on a busy disk acme2certifier waits five seconds for its database, and then answers that a nonce is unknown.
const SCRIPT: &str = r#"set -e
ip link set lo up
mount --bind "$1" /etc/resolv.conf
mount -t tmpfs tmpfs "$3"
exec env TMPDIR="$3" setpriv --pdeathsig KILL -- "$0" --exact "$2" --test-threads 1 --include-ignored"#;

/// Runs the whole of a test in a network of its own, as root or where user namespaces are allowed; `NO_MOUNTS=1` says
/// that neither is.
pub(crate) async fn alone<Body>(test: impl FnOnce() -> Body)
where
    Body: Future<Output = ()>,
{
    if !switch(INSIDE).is_empty() {
        return test().await;
    }
    if switch("NO_MOUNTS") == "1" {
        // Past the capture of tests that pass: nobody is to believe that this one ran.
        let line = b"a test in a network of its own is skipped: NO_MOUNTS=1\n";
        std::io::stderr().write_all(line).unwrap();
        return;
    }
    let name = name_of::<Body>();
    let dir = tempfile::tempdir().unwrap();
    let names = dir.path().join("resolv.conf");
    std::fs::write(&names, "nameserver 127.0.0.1\n").unwrap();
    let files = dir.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--propagation", "private"]);
    command.args(["sh", "-c", SCRIPT]);
    command.arg(std::env::current_exe().unwrap()).arg(&names);
    // What it says past the capture of its own is passed on as it comes.
    command.arg(&name).arg(&files).stdin(Stdio::null()).env(INSIDE, "1");
    command.stdout(Stdio::piped()).kill_on_drop(true);
    let running = command.spawn().expect("unshare is installed");
    let output = running.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{name} failed in a network of its own (where neither root nor user namespaces may have one, NO_MOUNTS=1 \
         leaves it out):\n{said}"
    );
    assert!(said.contains("1 passed"), "{name} is no test:\n{said}");
}

#[expect(clippy::disallowed_methods, reason = "a switch of the tests, no setting")]
fn switch(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The name of the test that a future was written in, without that of the crate.
fn name_of<Body>() -> String {
    let name = std::any::type_name::<Body>();
    let (_, name) = name.split_once("::").unwrap();
    let name = name.split("::{{closure}}").next().unwrap();
    name.to_owned()
}

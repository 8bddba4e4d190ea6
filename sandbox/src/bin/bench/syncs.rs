//! What is asked of the disk for each certificate, and how long that takes here.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use sandbox::town::Town;
use tokio::process::Child;
use tokio::process::Command;

use crate::Failure;
use crate::MANY;
use crate::Towns;
use crate::memory;
use crate::names;

/// What is asked of the disk for each certificate, as `strace` counts it: what it costs there does not hang on how fast
/// the disk of this machine is.
pub(super) async fn syncs(daemon: &Path, towns: &mut Towns) -> Result<(), Failure> {
    const CALLS: &str = "fsync,fdatasync,rename,open,openat,mkdir,unlink";
    for place in [Some(std::env::temp_dir()), memory().map(Path::to_owned)] {
        let Some(place) = place else { continue };
        let town = Town::start_in(&place).await?;
        let counts = town.path("syncs");
        let log = fs::File::create(town.path("daemon.log"))?;
        let traced = Command::new("strace")
            .args(["-f", "--seccomp-bpf", "-c", "-e", CALLS, "-o"])
            .arg(&counts)
            .arg(daemon)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(town.environment())
            .env("DOMAINS", names(MANY).join(","))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        let mut child = match traced {
            Ok(child) => child,
            Err(error) => {
                println!("syncs per certificate: not counted, strace cannot be started: {error}");
                return Ok(());
            }
        };
        let enough = town.rancher.until(|model| model.certificates_made() >= MANY as u64);
        tokio::time::timeout(Duration::from_secs(120), enough)
            .await
            .map_err(|_| "not all certificates arrived under strace")?;
        end_child_of(&child)?;
        child.wait().await?;
        let text = fs::read_to_string(&counts)?;
        let each = |name: &str| {
            let line = text.lines().find(|line| line.trim_end().ends_with(&format!(" {name}")));
            let calls = line.and_then(|line| line.split_whitespace().nth(3));
            calls.and_then(|calls| calls.parse().ok()).unwrap_or(0.0) / MANY as f64
        };
        println!(
            "per certificate, of {MANY} at the default concurrency, store in {}: {:.1} syncs, {:.1} renames, {:.1} opens, {:.1} folders made, {:.1} removals",
            place.display(),
            each("fsync") + each("fdatasync"),
            each("rename"),
            each("open") + each("openat"),
            each("mkdir"),
            each("unlink"),
        );
        towns.keep(town);
    }
    Ok(())
}

/// Ends what a process has started: the process itself then says what it has to say.
fn end_child_of(parent: &Child) -> Result<(), Failure> {
    let pid = parent.id().ok_or("it has ended")?;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let child: i32 = children.split_whitespace().next().ok_or("it has no child")?.parse()?;
    let child = rustix::process::Pid::from_raw(child).ok_or("no process has this number")?;
    Ok(rustix::process::kill_process(child, rustix::process::Signal::KILL)?)
}

/// The median of what it takes to make a small file and sync it.
pub(super) fn sync_cost(folder: &Path) -> Result<Duration, Failure> {
    const TIMES: usize = 51;
    let folder = tempfile::tempdir_in(folder)?;
    let mut times = Vec::new();
    for number in 0..TIMES {
        let start = Instant::now();
        let mut file = fs::File::create(folder.path().join(number.to_string()))?;
        file.write_all(&[b'.'; 1000])?;
        file.sync_all()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[TIMES / 2])
}

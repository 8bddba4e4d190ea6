//! A daemon, and what it cost so far.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use sandbox::town::Town;
use tokio::process::Child;
use tokio::process::Command;

use crate::Failure;

/// A daemon and what it cost so far.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) log: PathBuf,
}

impl Running {
    pub(super) fn start(
        daemon: &Path,
        town: &Town,
        vars: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let log = town.path("daemon.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(daemon)
            .env_clear()
            .envs(town.environment())
            .envs(vars.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, log })
    }

    /// CPU time of all threads (proc(5), clock ticks of 10 ms), and the most memory it had.
    pub(super) fn cost(&self) -> Result<(Duration, u64), Failure> {
        let pid = self.child.id().ok_or("the daemon has ended")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let cpu = Duration::from_millis(10 * (ticks(11) + ticks(12)));
        Ok((cpu, self.kilobytes("VmHWM:")? / 1024))
    }

    /// The memory that it has at present, in KiB.
    pub(super) fn resident(&self) -> Result<u64, Failure> {
        self.kilobytes("VmRSS:")
    }

    fn kilobytes(&self, field: &str) -> Result<u64, Failure> {
        let pid = self.child.id().ok_or("the daemon has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        Ok(value.trim().trim_end_matches(" kB").parse().unwrap_or(0))
    }

    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.child.kill().await?;
        Ok(())
    }

    pub(super) fn failed(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        format!(
            "{what}; the log ends with:\n{}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        )
        .into()
    }
}

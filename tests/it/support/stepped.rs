//! A daemon that cannot go on before the test lets it: each line of its log is one packet of a pipe that holds one.
//!
//! While a line stands in the pipe, what it tells of is done, and the daemon gets no further than to the next line.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::pipe::PipeFlags;
use rustix::pipe::SpliceFlags;
use rustix::pipe::fcntl_setpipe_size;
use rustix::pipe::pipe_with;
use rustix::pipe::tee;
use sandbox::parts::web::HANGS;
use serde_json::Value;

use super::Settings;

/// The smallest pipe: one packet.
const ONE_PAGE: usize = 4096;

/// A daemon in steps. Its methods block; it dies with this value.
pub(crate) struct Stepped {
    child: Child,
    log: OwnedFd,
    /// A second pipe, to look at what stands in the first one without taking it out.
    mirror: (OwnedFd, OwnedFd),
}

impl Drop for Stepped {
    fn drop(&mut self) {
        self.die();
    }
}

impl Stepped {
    pub(crate) fn start(settings: &Settings) -> Self {
        let flags = PipeFlags::DIRECT | PipeFlags::CLOEXEC;
        let (log, into) = pipe_with(flags).unwrap();
        fcntl_setpipe_size(&log, ONE_PAGE).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_rancher-lets-encrypt"))
            .env_clear()
            .envs(settings.vars())
            .stdin(Stdio::null())
            .stdout(into)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mirror = pipe_with(flags).unwrap();
        Self { child, log, mirror }
    }

    /// The line in the pipe, which stays there; none when the daemon has ended.
    pub(crate) fn line(&self) -> Option<Value> {
        let seen = tee(&self.log, &self.mirror.1, ONE_PAGE, SpliceFlags::empty()).unwrap();
        (seen > 0).then(|| parse(&self.mirror.0))
    }

    /// Takes the line out, so that the next one can be written.
    pub(crate) fn next(&self) -> Value {
        parse(&self.log)
    }

    /// Waits until the daemon has done what the next line would tell of.
    pub(crate) fn wait_until_stuck(&self) {
        let began = Instant::now();
        let tasks = format!("/proc/{}/task", self.child.id());
        while !is_writing_into_a_pipe(Path::new(&tasks)) {
            assert!(began.elapsed() < HANGS, "it never came to its next line");
            // The kernel tells nobody when somebody begins to wait.
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(mut self) {
        self.die();
    }

    fn die(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn parse(pipe: &OwnedFd) -> Value {
    let mut packet = [0; ONE_PAGE];
    let length = rustix::io::read(pipe, &mut packet).unwrap();
    serde_json::from_slice(&packet[..length]).unwrap()
}

/// Whether one of the threads waits for room in a pipe (proc(5), `wchan`).
fn is_writing_into_a_pipe(tasks: &Path) -> bool {
    let threads = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    let mut waits = threads.map(|thread| std::fs::read_to_string(thread.path().join("wchan")));
    waits.any(|wait| wait.is_ok_and(|wait| wait.contains("pipe_write")))
}

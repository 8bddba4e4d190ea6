//! The built daemon as a child process; its log is what a test waits on.

use std::future::Future;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use sandbox::parts::web::HANGS;
use serde_json::Value;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::Command;
use tokio::sync::watch;

use super::Settings;
use super::guarded;

/// A running daemon. It dies with this value.
pub(crate) struct Daemon {
    child: Child,
    lines: Arc<watch::Sender<Vec<Value>>>,
    cursor: usize,
}

pub(crate) fn command(settings: &Settings) -> Command {
    let daemon = env!("CARGO_BIN_EXE_rancher-lets-encrypt");
    let mut words = settings.wrapper.iter().map(String::as_str).chain([daemon]);
    let mut command = Command::new(words.next().expect("the daemon is the last one"));
    command.args(words).env_clear().envs(settings.vars()).kill_on_drop(true).stdin(Stdio::null());
    command
}

impl Daemon {
    pub(crate) fn start(settings: &Settings) -> Self {
        Self::of(command(settings))
    }

    /// A daemon that is started in another way, or whose log comes from elsewhere.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(watch::Sender::new(Vec::new()));
        tokio::spawn(read(child.stdout.take().unwrap(), Arc::clone(&lines)));
        tokio::spawn(read(child.stderr.take().unwrap(), Arc::clone(&lines)));
        Self { child, lines, cursor: 0 }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Every line so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.lines.borrow().clone()
    }

    /// Waits for something that this daemon is to bring about; its log is shown when it does not.
    pub(crate) async fn brings<T>(&self, what: &str, waiting: impl Future<Output = T>) -> T {
        match tokio::time::timeout(HANGS, waiting).await {
            Ok(done) => done,
            Err(_) => panic!("hangs while waiting for {what}:\n{}", self.text()),
        }
    }

    /// Every line so far as one text.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<String> = self.lines.borrow().iter().map(Value::to_string).collect();
        lines.join("\n")
    }

    /// How many lines so far have this message.
    pub(crate) fn count(&self, message: &str) -> usize {
        let lines = self.lines.borrow();
        lines.iter().filter(|line| line["message"] == message).count()
    }

    /// Every line so far that contains a text.
    pub(crate) fn with(&self, text: &str) -> Vec<Value> {
        let lines = self.lines.borrow();
        let found = lines.iter().filter(|line| line.to_string().contains(text));
        found.cloned().collect()
    }

    /// Waits for the next line that matches, after the one that was waited for last.
    pub(crate) async fn next(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let mut lines = self.lines.subscribe();
        let from = self.cursor;
        let position = |lines: &Vec<Value>| lines.iter().skip(from).position(&matches);
        let waiting = lines.wait_for(|lines| position(lines).is_some());
        let found = match tokio::time::timeout(HANGS, waiting).await {
            Ok(Ok(lines)) => position(&lines).map(|at| (at, lines[from + at].clone())),
            _ => None,
        };
        let Some((at, line)) = found else {
            panic!("no line about {what} in the log:\n{}", self.text())
        };
        self.cursor = from + at + 1;
        line
    }

    /// Resolves when there is a line that matches, however long that takes.
    pub(crate) async fn has(&self, matches: impl Fn(&Value) -> bool) {
        let mut lines = self.lines.subscribe();
        let waiting = lines.wait_for(|lines| lines.iter().any(&matches));
        drop(waiting.await.expect("the sender is ours"));
    }

    /// Waits for the next line with this message.
    pub(crate) async fn says(&mut self, message: &str) -> Value {
        self.next(message, |line| line["message"] == message).await
    }

    /// Waits for the next line that contains a text.
    pub(crate) async fn mentions(&mut self, text: &str) -> Value {
        self.next(text, |line| line.to_string().contains(text)).await
    }

    /// Waits until a whole number of passes has ended that began after this call.
    pub(crate) async fn passes(&mut self, count: usize) {
        self.cursor = self.lines.borrow().len();
        // The first one may have begun before.
        for _ in 0..=count {
            self.says("pass ended").await;
        }
    }

    /// Waits for a pass, begun after this call, that found nothing to do and nothing in hand.
    pub(crate) async fn settles(&mut self) {
        self.passes(0).await;
        let is_idle = |line: &Value| {
            line["message"] == "pass ended" && line["jobs"] == 0 && line["in_hand"] == 0
        };
        self.next("an idle pass", is_idle).await;
    }

    /// Waits for the next pass that found nothing to do and nothing in hand.
    pub(crate) async fn idles(&mut self) {
        let is_idle = |line: &Value| {
            line["message"] == "pass ended" && line["jobs"] == 0 && line["in_hand"] == 0
        };
        self.next("an idle pass", is_idle).await;
    }

    /// Waits for an idle pass that began after this call.
    pub(crate) async fn rests(&mut self) {
        self.passes(0).await;
        self.idles().await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as `docker stop` does.
    pub(crate) async fn stop(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        let status = guarded("the daemon to end", self.child.wait()).await.unwrap();
        (status, self.text())
    }

    /// Ends it as a power cut does.
    pub(crate) async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.text()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ends(mut self) -> (ExitStatus, String) {
        let status = guarded("the daemon to end", self.child.wait()).await.unwrap();
        // What it wrote last may still be on its way.
        guarded("its last words", async {
            while Arc::strong_count(&self.lines) > 1 {
                tokio::task::yield_now().await
            }
        })
        .await;
        (status, self.text())
    }
}

async fn read(pipe: impl AsyncRead + Unpin, into: Arc<watch::Sender<Vec<Value>>>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
        into.send_modify(|lines| lines.push(value));
    }
}

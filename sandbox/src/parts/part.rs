//! A program of Debian's as a child process; its output is what a test waits on.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::Command;
use tokio::sync::watch;

use crate::parts::web::HANGS;
use crate::parts::web::guarded;

/// Where Debian's daemons are, which is not on everybody's path.
const FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/usr/sbin"];

/// Finds a program; a test that needs one which is not there fails and says what to do.
pub fn find(name: &str) -> PathBuf {
    let found =
        FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed: run `make setup`"))
}

/// A program that ends with the test, even if the test is killed: the kernel tells it then.
pub fn program(name: &str) -> Command {
    program_at(&find(name))
}

/// The same, of a program that is no package's.
pub fn program_at(path: &Path) -> Command {
    let mut command = Command::new(find("setpriv"));
    command.args(["--pdeathsig", "TERM", "--"]).arg(path);
    command.env_clear().stdin(Stdio::null());
    command
}

/// A running program, in a process group of its own, which dies with this value.
pub struct Part {
    name: String,
    child: Child,
    lines: Arc<watch::Sender<Vec<String>>>,
}

impl Part {
    /// Starts it.
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command
            .process_group(0)
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(watch::Sender::new(Vec::new()));
        tokio::spawn(read(child.stdout.take().unwrap(), Arc::clone(&lines)));
        tokio::spawn(read(child.stderr.take().unwrap(), Arc::clone(&lines)));
        Self { name: name.to_owned(), child, lines }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Everything that it has said so far.
    pub fn text(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// How many lines so far contain a text.
    pub fn count(&self, text: &str) -> usize {
        let lines = self.lines.borrow();
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until a line contains a text.
    pub async fn says(&self, text: &str) {
        let mut lines = self.lines.subscribe();
        let is_said = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let waiting = tokio::time::timeout(HANGS, lines.wait_for(is_said));
        if waiting.await.is_err() {
            panic!("{} does not say `{text}`:\n{}", self.name, self.text());
        }
    }

    /// Waits until it takes connections: no program says that after the fact.
    pub async fn listens(&mut self, at: SocketAddr) {
        let what = format!("{} to listen at {at}", self.name);
        let listening = async {
            while TcpStream::connect(at).await.is_err() {
                if let Some(status) = self.child.try_wait().unwrap() {
                    panic!("{} ended with {status}:\n{}", self.name, self.text());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        guarded(&what, listening).await;
    }

    /// Waits until it has ended.
    pub async fn ends(&mut self) -> ExitStatus {
        let ended = self.child.wait().await.unwrap();
        // What it wrote last may still be on its way.
        while Arc::strong_count(&self.lines) > 1 {
            tokio::task::yield_now().await;
        }
        ended
    }

    /// Ends it as a power cut does.
    pub async fn kill(&mut self) {
        self.kill_group();
        guarded("a killed program to end", self.ends()).await;
    }

    fn kill_group(&self) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(pid) = pid {
            // It may have ended in the meantime.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// So many of its last lines are shown by a test that fails.
const LAST_WORDS: usize = 200;

impl Drop for Part {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.lines.borrow();
            let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
            eprintln!("{} said:\n{}", self.name, last.join("\n"));
        }
        self.kill_group();
    }
}

/// Runs a program to its end and gives all that it said; a failure is the test's.
pub async fn run(mut command: Command) -> String {
    let output = command.kill_on_drop(true).output();
    let output = guarded("a program to end", output).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let program = command.as_std().get_args().collect::<Vec<_>>();
    let program = program.join(OsStr::new(" "));
    assert!(output.status.success(), "{program:?} failed:\n{text}");
    text
}

async fn read(pipe: impl AsyncRead + Unpin, into: Arc<watch::Sender<Vec<String>>>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        into.send_modify(|lines| lines.push(line));
    }
}

//! A Chromium for one look at one page. It talks to nobody but this machine, and ends with the look.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use sandbox::parts::part::program;
use sandbox::parts::web::guarded;
use tokio::process::Command;

/// What a browser has made of a page.
pub(crate) struct Look {
    /// The document, written out again.
    pub(crate) dom: String,
    /// What the browser said, its console among it.
    pub(crate) said: String,
}

impl Look {
    /// The text between two marks.
    #[track_caller]
    pub(crate) fn between(&self, begin: &str, end: &str) -> &str {
        let found = self.dom.split_once(begin).map(|(_, rest)| rest);
        let found = found.and_then(|rest| rest.split_once(end));
        found.unwrap_or_else(|| panic!("no {begin}:\n{}", self.dom)).0
    }

    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        assert!(self.dom.contains(text), "no {text:?} in:\n{}", self.dom);
    }

    #[track_caller]
    pub(crate) fn shows_no(&self, text: &str) {
        assert!(!self.dom.contains(text), "{text:?} is in:\n{}", self.dom);
    }

    /// Nothing was refused, missing or wrong.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        assert!(!self.said.contains("CONSOLE"), "{}", self.said);
    }
}

fn command(profile: &Path) -> Command {
    let mut command = program("chromium");
    command
        .env("HOME", profile)
        .env("PATH", "/usr/bin:/bin")
        .args([
            "--headless",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-extensions",
            "--disable-sync",
            "--no-proxy-server",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    // Its sandbox needs another user than root, or rights that containers do not give.
    command.arg("--no-sandbox");
    command
}

async fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Look {
    let profile = tempfile::tempdir().unwrap();
    let mut command = command(profile.path());
    let output = command.args(arguments).output();
    let output = guarded("the browser", output).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (dom, said) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{said}");
    Look { dom, said }
}

/// Opens a page and lets so many seconds of its time go by, which the browser does not wait for.
pub(crate) async fn look_for(seconds: u32, url: &str) -> Look {
    let budget = format!("--virtual-time-budget={}", seconds * 1000);
    run(["--dump-dom", &budget, url]).await
}

/// Opens a page.
pub(crate) async fn look(url: &str) -> Look {
    run(["--dump-dom", url]).await
}

/// Makes a picture of a page.
pub(crate) async fn photograph(url: &str, (width, height): (u32, u32), to: &Path) {
    let size = format!("--window-size={width},{height}");
    let to = format!("--screenshot={}", to.display());
    run([size.as_str(), &to, url]).await;
}

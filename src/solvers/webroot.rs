//! The solver port over a folder that a web server serves.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::fchmod;
use rustix::fs::fstat;
use rustix::fs::mkdirat;
use rustix::fs::renameat;
use rustix::fs::statat;
use rustix::io::Errno;

use crate::core::names::DomainName;
use crate::core::resource::Http01;
use crate::core::resource::Token;
use crate::core::unsupported;
use crate::disk::reach;
use crate::ports::Solver;
use crate::probe::FOLDER;
use crate::probe::Probe;
use crate::probe::Way;

/// A folder that a web server serves, and a probe that looks at it from outside.
pub struct Webroot {
    webroot: PathBuf,
    probe: Probe,
}

impl Webroot {
    /// Publishes under `webroot`; looks on `port`, at `address` instead of resolving names if there is one.
    pub fn new(
        webroot: &Path,
        port: u16,
        address: Option<&str>,
        connect_timeout: Duration,
    ) -> Result<Self, String> {
        let way = match address {
            Some(address) => Way::Through(address.to_owned()),
            None => Way::Resolved,
        };
        Ok(Self { webroot: webroot.to_owned(), probe: Probe::new(way, port, connect_timeout)? })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let webroot = self.webroot.clone();
        let done = tokio::task::spawn_blocking(move || {
            work(&webroot).map_err(|error| {
                let folder = webroot.join(FOLDER);
                io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
            })
        });
        done.await.map_err(io::Error::other)?
    }
}

/// Many times what an answer to a challenge takes.
const LARGEST: i64 = 1024;

/// Ends the name of a file that is still being written; no token has a dot.
const TEMPORARY: &str = ".tmp";

fn temporary(token: &Token) -> String {
    format!("{}{TEMPORARY}", token.as_str())
}

/// The umask is the operator's, and a web server's workers read as somebody else: the mode is set where it is another.
/// Where modes cannot be set at all, one that lets everybody read will do.
fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    let present = fstat(&file)?.st_mode & 0o777;
    if present == mode {
        return Ok(());
    }
    match fchmod(file, Mode::from_raw_mode(mode)).map_err(io::Error::from) {
        Err(error)
            if unsupported::is_no_mode(&error) && (present & mode & 0o005) == mode & 0o005 =>
        {
            Ok(())
        }
        changed => changed,
    }
}

/// Reaches the folder of challenge files. Those below the webroot are ours; the webroot itself is the operator's.
fn reach_folder(webroot: &Path) -> io::Result<OwnedFd> {
    reach::folder(webroot, &webroot.join(FOLDER))
}

/// The same, made where it is not there.
fn make_folders(webroot: &Path) -> io::Result<OwnedFd> {
    fs::create_dir_all(webroot)?;
    let mut folder = reach::folder(webroot, webroot)?;
    for name in FOLDER.split('/') {
        match mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        folder = reach::below(folder, OsStr::new(name))?;
        set_mode(reach::opened(&folder)?, 0o755)?;
    }
    Ok(folder)
}

/// Removes a file, if it is there.
fn remove(folder: &OwnedFd, name: &str) -> io::Result<()> {
    match reach::remove(folder, OsStr::new(name), AtFlags::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Reads a file; none if it is no small text, and so none of ours.
fn read_small(folder: &OwnedFd, name: &str) -> io::Result<Option<String>> {
    let metadata = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_file = FileType::from_raw_mode(metadata.st_mode) == FileType::RegularFile;
    if !is_file || LARGEST <= metadata.st_size {
        return Ok(None);
    }
    let mut content = Vec::new();
    reach::file(folder, OsStr::new(name))?.take(LARGEST as u64).read_to_end(&mut content)?;
    Ok(String::from_utf8(content).ok())
}

impl Solver for Webroot {
    /// Each name that there is: one with a wildcard is no [`DomainName`], because HTTP-01 proves none (Baseline
    /// Requirements, section 3.2.2.4.19).
    fn supports(&self, _name: &DomainName) -> bool {
        true
    }

    async fn present(&self, challenge: &Http01) -> io::Result<()> {
        let Http01 { token, key_authorization, .. } = challenge.clone();
        self.run(move |webroot| {
            let folder = make_folders(webroot)?;
            // Its content is public; a rename makes it appear whole.
            let temporary = temporary(&token);
            remove(&folder, &temporary)?;
            let how = OFlags::WRONLY | OFlags::EXCL;
            let mut file = reach::written(&folder, OsStr::new(&temporary), how, 0o644)?;
            file.write_all(key_authorization.as_bytes())?;
            set_mode(&file, 0o644)?;
            drop(file);
            Ok(renameat(&folder, temporary, &folder, token.as_str())?)
        })
        .await
    }

    async fn verify(&self, name: &DomainName, challenge: &Http01) -> Result<(), String> {
        let visit = self.probe.fetch(name, challenge).await;
        visit.end.map_err(|trouble| trouble.to_string())
    }

    async fn clean_up(&self, token: &Token) -> io::Result<()> {
        let token = token.clone();
        self.run(move |webroot| {
            let folder = match reach_folder(webroot) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                folder => folder?,
            };
            remove(&folder, token.as_str())?;
            remove(&folder, &temporary(&token))
        })
        .await
    }

    async fn presented(&self) -> io::Result<Vec<(Token, String)>> {
        self.run(|webroot| {
            let folder = match reach_folder(webroot) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                folder => folder?,
            };
            let mut published = Vec::new();
            for name in reach::names(&folder)? {
                // An interrupted write is listed as what it was to become.
                let token = name.strip_suffix(TEMPORARY).unwrap_or(&name);
                let Ok(token) = Token::try_from(token.to_owned()) else {
                    continue;
                };
                if let Ok(Some(content)) = read_small(&folder, &name) {
                    published.push((token, content));
                }
            }
            Ok(published)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prop_oneof;
    use proptest::proptest;
    use proptest::strategy::Just;
    use proptest::strategy::Strategy;

    use super::*;
    use crate::core::resource::ChallengeStatus;

    /// Tokens, and what would lead out of the folder.
    fn texts() -> impl Strategy<Value = String> {
        let odd = ["", ".", "..", "../sentinel", "/etc/passwd", "a/b", "a\0b", "a\n", ".tmp"];
        let long = prop_oneof![Just(255_usize), Just(256), Just(5000)];
        prop_oneof![
            proptest::sample::select(odd.to_vec()).prop_map(str::to_owned),
            "[A-Za-z0-9_-]{1,60}",
            "(\\.\\./){0,3}.{0,30}",
            long.prop_map(|length| "a".repeat(length)),
        ]
    }

    proptest! {
        #[test]
        fn any_token_is_refused_or_a_file_of_the_challenge_folder(text in texts(), content in ".{0,100}") {
            let place = tempfile::tempdir().unwrap();
            let sentinel = place.path().join("sentinel");
            fs::write(&sentinel, "untouched").unwrap();
            let root = place.path().join("www");
            fs::create_dir(&root).unwrap();
            drop(rustls::crypto::ring::default_provider().install_default());
            let webroot = Webroot::new(&root, 80, None, Duration::from_secs(1)).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let Ok(token) = Token::try_from(text) else { return Ok(()) };
            let challenge = Http01 { token: token.clone(), key_authorization: content.clone(), status: ChallengeStatus::Pending };
            let is_published = runtime.block_on(webroot.present(&challenge)).is_ok();
            // A file system has names of 255 bytes, and one that is being written has a longer name.
            assert!(is_published || token.as_str().len() > 250);
            if is_published {
                let file = root.join(FOLDER).join(token.as_str());
                assert_eq!(fs::read_to_string(file).unwrap(), content);
                assert_eq!(runtime.block_on(webroot.presented()).unwrap(), [(token.clone(), content)]);
            }
            runtime.block_on(webroot.clean_up(&token)).ok();
            let left = fs::read_dir(root.join(FOLDER)).unwrap().count();
            assert_eq!(left, 0);
            assert_eq!(fs::read_to_string(sentinel).unwrap(), "untouched");
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
        }
    }

    fn webroot(root: &Path) -> Webroot {
        drop(rustls::crypto::ring::default_provider().install_default());
        Webroot::new(root, 80, None, Duration::from_secs(1)).unwrap()
    }

    fn challenge() -> Http01 {
        let token = Token::try_from("token".to_owned()).unwrap();
        let key_authorization = "content".to_owned();
        Http01 { token, key_authorization, status: ChallengeStatus::Pending }
    }

    #[tokio::test]
    async fn no_challenge_file_goes_or_comes_through_a_link_of_another_user() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (place.path().join("www"), place.path().join("elsewhere"));
        for folder in [&root, &elsewhere, &elsewhere.join("acme-challenge")] {
            fs::create_dir(folder).unwrap();
        }
        let foreign = |target: &Path, path: &Path| {
            std::os::unix::fs::symlink(target, path).unwrap();
            std::os::unix::fs::lchown(path, Some(4711), None).unwrap();
        };
        let inside = elsewhere.join("acme-challenge");
        fs::write(inside.join("token"), "untouched").unwrap();
        let well_known = root.join(".well-known");
        let refused = async || {
            let webroot = webroot(&root);
            let error = webroot.present(&challenge()).await.unwrap_err().to_string();
            assert!(error.contains("uid 4711"), "{error}");
            webroot.presented().await.unwrap_err();
            webroot.clean_up(&challenge().token).await.unwrap_err();
            assert_eq!(fs::read_to_string(inside.join("token")).unwrap(), "untouched");
            assert_eq!(fs::read_dir(&inside).unwrap().count(), 1);
        };
        foreign(&elsewhere, &well_known);
        refused().await;
        fs::remove_file(&well_known).unwrap();
        fs::create_dir(&well_known).unwrap();
        foreign(&inside, &well_known.join("acme-challenge"));
        refused().await;
        // Where the folder is ours, a link in the place of a file is replaced.
        fs::remove_file(well_known.join("acme-challenge")).unwrap();
        fs::create_dir(well_known.join("acme-challenge")).unwrap();
        for name in ["token", "token.tmp"] {
            foreign(&inside.join("token"), &well_known.join("acme-challenge").join(name));
        }
        let webroot = webroot(&root);
        assert!(webroot.presented().await.unwrap().is_empty());
        webroot.present(&challenge()).await.unwrap();
        assert_eq!(fs::read_to_string(inside.join("token")).unwrap(), "untouched");
        assert_eq!(webroot.presented().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn links_of_the_operator_are_followed() {
        let place = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (place.path().join("www"), place.path().join("elsewhere"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink("../elsewhere", root.join(".well-known")).unwrap();
        webroot(&root).present(&challenge()).await.unwrap();
        assert_eq!(fs::read_to_string(elsewhere.join("acme-challenge/token")).unwrap(), "content");
    }
}

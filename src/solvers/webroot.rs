//! The solver port over a folder that a web server serves.

use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::names::DomainName;
use crate::core::resource::Http01;
use crate::core::resource::Token;
use crate::ports::Solver;
use crate::probe::FOLDER;
use crate::probe::Probe;
use crate::probe::Way;

/// A folder that a web server serves, and a probe that looks at it from outside.
pub struct Webroot {
    folder: PathBuf,
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
        Ok(Self { folder: webroot.join(FOLDER), probe: Probe::new(way, port, connect_timeout)? })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let folder = self.folder.clone();
        let done = tokio::task::spawn_blocking(move || {
            work(&folder).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
            })
        });
        done.await.map_err(io::Error::other)?
    }
}

/// Ends the name of a file that is still being written; no token has a dot.
const TEMPORARY: &str = ".tmp";

fn temporary(folder: &Path, token: &Token) -> PathBuf {
    folder.join(format!("{}{TEMPORARY}", token.as_str()))
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    // The umask is the operator's; a web server's workers read as somebody else.
    if fs::metadata(path)?.permissions().mode() & 0o777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Both folders below the webroot; the webroot itself is the operator's.
fn make_folders(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for folder in folder.ancestors().take(2) {
        set_mode(folder, 0o755)?;
    }
    Ok(())
}

impl Solver for Webroot {
    /// Each name that there is: one with a wildcard is no [`DomainName`], because HTTP-01 proves none (Baseline
    /// Requirements, section 3.2.2.4.19).
    fn supports(&self, _name: &DomainName) -> bool {
        true
    }

    async fn present(&self, challenge: &Http01) -> io::Result<()> {
        let Http01 { token, key_authorization, .. } = challenge.clone();
        self.run(move |folder| {
            make_folders(folder)?;
            let path = folder.join(token.as_str());
            // Its content is public; a rename makes it appear whole.
            let temporary = temporary(folder, &token);
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o644)
                .open(&temporary)?;
            file.write_all(key_authorization.as_bytes())?;
            drop(file);
            set_mode(&temporary, 0o644)?;
            fs::rename(temporary, path)
        })
        .await
    }

    async fn verify(&self, name: &DomainName, challenge: &Http01) -> Result<(), String> {
        let visit = self.probe.fetch(name, challenge).await;
        visit.end.map_err(|trouble| trouble.to_string())
    }

    async fn clean_up(&self, token: &Token) -> io::Result<()> {
        let token = token.clone();
        self.run(move |folder| {
            for path in [folder.join(token.as_str()), temporary(folder, &token)] {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }

    async fn presented(&self) -> io::Result<Vec<(Token, String)>> {
        self.run(|folder| {
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                entries => entries?,
            };
            let mut published = Vec::new();
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                // An interrupted write is listed as what it was to become.
                let name = name.strip_suffix(TEMPORARY).unwrap_or(&name);
                let Ok(token) = Token::try_from(name.to_owned()) else {
                    continue;
                };
                // Whatever is no small text file is not ours.
                let is_small = entry
                    .metadata()
                    .is_ok_and(|metadata| metadata.is_file() && metadata.len() < 1024);
                if is_small && let Ok(content) = fs::read_to_string(entry.path()) {
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
}

//! The challenge port over a folder that a web server serves.

use std::fs;
use std::io;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use reqwest::header::LOCATION;

use crate::client;
use crate::names::DomainName;
use crate::ports::Challenge;
use crate::ports::Http01;
use crate::ports::Token;

/// Where a CA looks for the answer (RFC 8555, section 8.3).
const FOLDER: &str = ".well-known/acme-challenge";

/// A folder that a web server serves, and a client that looks at it from outside.
pub struct Webroot {
    folder: PathBuf,
    client: Client,
    port: u16,
    limit: Duration,
}

impl Webroot {
    /// Publishes under `webroot`; looks on `port`, at `address` instead of resolving names if there is one.
    pub fn new(
        webroot: &Path,
        port: u16,
        address: Option<&str>,
        connect_timeout: Duration,
    ) -> Result<Self, String> {
        // A certificate is what is being asked for: the CA does not look at the present one either.
        let mut builder = client::builder(connect_timeout)
            .no_proxy()
            .tls_danger_accept_invalid_certs(true);
        if let Some(address) = address {
            builder = builder.dns_resolver(Arc::new(Fixed(address.to_owned())));
        }
        let client = builder.build().map_err(|error| client::explain(&error))?;
        let limit = client::total_timeout(connect_timeout);
        Ok(Self {
            folder: webroot.join(FOLDER),
            client,
            port,
            limit,
        })
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

    async fn fetch(&self, name: &DomainName, expected: &Http01) -> Result<(), String> {
        let text = format!(
            "http://{name}:{}/{FOLDER}/{}",
            self.port,
            expected.token.as_str()
        );
        let mut url = Url::parse(&text).map_err(|error| format!("{text}: {error}"))?;
        let mut visited: Vec<Url> = Vec::new();
        loop {
            let response = self
                .client
                .get(url.clone())
                .header("Accept", "*/*")
                .send()
                .await;
            let response =
                response.map_err(|error| format!("{url}: {}", client::explain(&error)))?;
            let status = response.status();
            if let Some(next) = redirect(status, response.headers().get(LOCATION), &url)? {
                self.may_follow(&next)?;
                visited.push(url);
                if visited.contains(&next) || visited.len() > MOST_REDIRECTS {
                    return Err(format!("{text}: the redirects never end"));
                }
                url = next;
                continue;
            }
            // What is no success is no matter of its page, however long that is.
            if status != StatusCode::OK {
                return Err(format!(
                    "{url}: answered {status}: the path /{FOLDER}/ of this name must lead to the web server on our webroot"
                ));
            }
            let body = client::read_beginning(response, LARGEST + 1)
                .await
                .map_err(|error| format!("{url}: {error}"))?;
            return judge(&url, &body, &expected.key_authorization);
        }
    }

    fn may_follow(&self, next: &Url) -> Result<(), String> {
        let port = next.port_or_known_default().unwrap_or(0);
        let is_allowed = matches!(next.scheme(), "http" | "https")
            && (matches!(port, 80 | 443) || port == self.port);
        if is_allowed && next.path().len() <= LONGEST_PATH {
            return Ok(());
        }
        Err(format!(
            "redirected to {next}, where the CA would not go: only http and https on ports 80 and 443"
        ))
    }
}

/// The CA's own rules for redirects (boulder `va/http.go`).
const MOST_REDIRECTS: usize = 10;
const LONGEST_PATH: usize = 2000;
/// The CA reads no more of the answer than this.
const LARGEST: usize = 127;

fn redirect(
    status: StatusCode,
    location: Option<&reqwest::header::HeaderValue>,
    url: &Url,
) -> Result<Option<Url>, String> {
    if !status.is_redirection() {
        return Ok(None);
    }
    if !matches!(status.as_u16(), 301 | 302 | 307 | 308) {
        return Err(format!(
            "{url}: a redirect with status {status} is not followed by the CA"
        ));
    }
    let location = location
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    url.join(location)
        .map(Some)
        .map_err(|error| format!("{url}: redirected to `{location}`: {error}"))
}

fn judge(url: &Url, body: &[u8], expected: &str) -> Result<(), String> {
    let is_whole = body.len() <= LARGEST;
    let body = String::from_utf8_lossy(body);
    if is_whole && body.trim_end() == expected {
        return Ok(());
    }
    Err(format!(
        "{url}: answered something else than our token (`{}`): another server answers for this name",
        client::one_line(&body)
    ))
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

impl Challenge for Webroot {
    async fn publish(&self, challenge: &Http01) -> io::Result<()> {
        let Http01 {
            token,
            key_authorization,
        } = challenge.clone();
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

    async fn check(&self, name: &DomainName, challenge: &Http01) -> Result<(), String> {
        match tokio::time::timeout(self.limit, self.fetch(name, challenge)).await {
            Ok(result) => result,
            Err(_) => Err(format!(
                "http://{name}:{}/: no answer within {} s",
                self.port,
                self.limit.as_secs()
            )),
        }
    }

    async fn withdraw(&self, token: &Token) -> io::Result<()> {
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

    async fn published(&self) -> io::Result<Vec<(Token, String)>> {
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

/// Leads every name to one address.
struct Fixed(String);

impl Resolve for Fixed {
    fn resolve(&self, _: Name) -> Resolving {
        let address = self.0.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = match address.parse::<IpAddr>() {
                Ok(ip) => vec![(ip, 0).into()],
                Err(_) => tokio::net::lookup_host((address, 0)).await?.collect(),
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
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

    /// Tokens, and what would lead out of the folder.
    fn texts() -> impl Strategy<Value = String> {
        let odd = [
            "",
            ".",
            "..",
            "../sentinel",
            "/etc/passwd",
            "a/b",
            "a\0b",
            "a\n",
            ".tmp",
        ];
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
            let challenge = Http01 { token: token.clone(), key_authorization: content.clone() };
            let is_published = runtime.block_on(webroot.publish(&challenge)).is_ok();
            // A file system has names of 255 bytes, and one that is being written has a longer name.
            assert!(is_published || token.as_str().len() > 250);
            if is_published {
                let file = root.join(FOLDER).join(token.as_str());
                assert_eq!(fs::read_to_string(file).unwrap(), content);
                assert_eq!(runtime.block_on(webroot.published()).unwrap(), [(token.clone(), content)]);
            }
            runtime.block_on(webroot.withdraw(&token)).ok();
            let left = fs::read_dir(root.join(FOLDER)).unwrap().count();
            assert_eq!(left, 0);
            assert_eq!(fs::read_to_string(sentinel).unwrap(), "untouched");
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
        }
    }
}

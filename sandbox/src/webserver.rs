//! A web server over a folder, as stock nginx would serve the webroot.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::header::HOST;
use http::header::LOCATION;
use rustls::ServerConfig;

use crate::certs::server_config;
use crate::faults::Faults;
use crate::serve::Answers;
use crate::serve::Asked;
use crate::serve::Server;

/// What the web server does besides serving files.
#[derive(Debug, Clone, Default)]
pub struct WebServerSettings {
    /// Answered with 301 instead of the file.
    pub redirect: Option<Redirect>,
    /// Hosts (without a port) for which everything is 404, as if another server had them.
    pub missing_hosts: Vec<String>,
}

/// Where requests are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// All of them, to the same host and path over HTTPS, on this port.
    Https(u16),
    /// Paths that begin with `from`, to a URL or path that begins with `to`.
    Path {
        /// What they begin with.
        from: String,
        /// What takes its place.
        to: String,
    },
}

/// A running web server. Dropping it closes the port.
pub struct WebServer {
    server: Server,
    faults: Faults,
    settings: Arc<Mutex<WebServerSettings>>,
}

impl WebServer {
    /// Starts over a folder, which is taken for a volume: its own mode does not matter, only that
    /// of what is below it.
    pub async fn start(root: impl Into<PathBuf>) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), root).await
    }

    /// The same at an address; port 0 is a free one.
    pub async fn start_at(at: SocketAddr, root: impl Into<PathBuf>) -> io::Result<Self> {
        Self::start_over(at, None, root).await
    }

    /// The same over TLS, with a certificate of nobody's.
    pub async fn start_tls(root: impl Into<PathBuf>) -> io::Result<Self> {
        let tls = server_config(&[]).config;
        Self::start_over((Ipv4Addr::LOCALHOST, 0).into(), Some(tls), root).await
    }

    async fn start_over(
        at: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        root: impl Into<PathBuf>,
    ) -> io::Result<Self> {
        let faults = Faults::default();
        let settings = Arc::default();
        let files = Files { root: root.into(), settings: Arc::clone(&settings) };
        Ok(Self {
            server: Server::start_at(at, tls, faults.clone(), Arc::new(files)).await?,
            faults,
            settings,
        })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// What goes wrong, and what was asked. The endpoint is `challenge` for what ACME fetches, else
    /// `file`; the subject is the host.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Changes the settings.
    pub fn settings(&self, set: impl FnOnce(&mut WebServerSettings)) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        set(&mut settings);
    }
}

struct Files {
    root: PathBuf,
    settings: Arc<Mutex<WebServerSettings>>,
}

impl Answers for Files {
    fn name(&self, request: &Asked) -> (&'static str, String) {
        let is_challenge = request.uri().path().starts_with("/.well-known/acme-challenge/");
        let endpoint = if is_challenge { "challenge" } else { "file" };
        (endpoint, host(request).to_owned())
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = settings.clone();
        if settings.missing_hosts.iter().any(|missing| missing == host(&request)) {
            return status(StatusCode::NOT_FOUND);
        }
        if let Some(location) = settings.redirect.as_ref().and_then(|to| to.of(&request)) {
            return moved(&location);
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return status(StatusCode::METHOD_NOT_ALLOWED);
        }
        match parts(request.uri().path()) {
            Some(parts) => self.file(&request, &parts),
            None => status(StatusCode::BAD_REQUEST),
        }
    }
}

impl Files {
    fn file(&self, request: &Asked, parts: &[String]) -> Response<Bytes> {
        let mut path = self.root.clone();
        for part in parts {
            if path != self.root && path.is_dir() && !others_may(&path, 0o001) {
                return status(StatusCode::FORBIDDEN);
            }
            path.push(part);
        }
        if path.is_dir() {
            let asked = request.uri().path();
            if !asked.ends_with('/') {
                let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
                return moved(&format!("http://{}{asked}/", host.unwrap_or("localhost")));
            }
            if path != self.root && !others_may(&path, 0o001) {
                return status(StatusCode::FORBIDDEN);
            }
            path.push("index.html");
            if !path.exists() {
                return status(StatusCode::FORBIDDEN);
            }
        }
        if !path.is_file() {
            return status(StatusCode::NOT_FOUND);
        }
        if !others_may(&path, 0o004) {
            return status(StatusCode::FORBIDDEN);
        }
        match std::fs::read(&path) {
            Ok(content) => ok(&path, content),
            // It was taken away between the two looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => status(StatusCode::NOT_FOUND),
            Err(_) => status(StatusCode::FORBIDDEN),
        }
    }
}

impl Redirect {
    fn of(&self, request: &Asked) -> Option<String> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        match self {
            Self::Https(443) => Some(format!("https://{}{path}", host(request))),
            Self::Https(port) => Some(format!("https://{}:{port}{path}", host(request))),
            Self::Path { from, to } => path.strip_prefix(from).map(|rest| format!("{to}{rest}")),
        }
    }
}

/// The workers of nginx are neither owner nor in the group, so that the test must not be `access`,
/// which lets root do everything.
fn others_may(path: &Path, bit: u32) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.permissions().mode() & bit != 0)
}

/// The parts of a path, decoded; none for a path that climbs out of the root.
fn parts(path: &str) -> Option<Vec<String>> {
    let mut parts: Vec<String> = Vec::new();
    // A slash that was escaped is a slash to nginx.
    for part in crate::rancher::place::decoded(path).split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name if name.contains('\0') => return None,
            name => parts.push(name.to_owned()),
        }
    }
    Some(parts)
}

/// The host without its port.
fn host(request: &Asked) -> &str {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or("localhost");
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn ok(path: &Path, content: Vec<u8>) -> Response<Bytes> {
    let content_type = match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    };
    let mut response = Response::new(Bytes::from(content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn moved(location: &str) -> Response<Bytes> {
    let mut response = status(StatusCode::MOVED_PERMANENTLY);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The page that nginx has for a status, to the byte: its length matters to those who read it.
fn status(status: StatusCode) -> Response<Bytes> {
    let body = format!(
        "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n\
         <hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_found_is_told_in_as_many_bytes_as_nginx_takes() {
        assert_eq!(status(StatusCode::NOT_FOUND).body().len(), 153);
    }
}

//! HTTP-01 as Boulder validates it ([va/http.go](https://github.com/letsencrypt/boulder/blob/main/va/http.go)),
//! over real sockets; only where a name leads to is made up.

use std::net::IpAddr;
use std::net::SocketAddr;

use http::StatusCode;
use http::header;
use reqwest::Url;
use tokio::time::Instant;

use super::fetch;
use super::fetch::Failure;
use super::problem::Problem;
use super::settings::AuthoritySettings;

/// A body must be shorter than this.
const TOO_LONG: usize = 128;
const MOST_REDIRECTS: usize = 10;
const LONGEST_PATH: usize = 2000;

/// Fetches the file of a token and compares it with the key authorization.
pub(super) async fn check(
    settings: &AuthoritySettings,
    name: &str,
    token: &str,
    expected: &str,
) -> Result<(), Problem> {
    let body = follow(settings, name, token).await?;
    let text = String::from_utf8_lossy(&body);
    let got = text.trim_end();
    if got == expected {
        return Ok(());
    }
    Err(Problem::unauthorized(format!(
        "The key authorization file from the server did not match this challenge. Expected \
         {expected:?} (got {got:?})"
    )))
}

async fn follow(settings: &AuthoritySettings, name: &str, token: &str) -> Result<Vec<u8>, Problem> {
    let deadline = Instant::now() + settings.validation_timeout;
    let mut url = Url::parse(&format!("http://{name}/.well-known/acme-challenge/{token}"))
        .map_err(|_| Problem::dns(format!("no valid A records found for {name}")))?;
    let mut seen = vec![url.clone()];
    loop {
        let hop = Hop::to(url.clone(), settings)?;
        let page = fetch::page(&hop.url, hop.address, TOO_LONG, deadline)
            .await
            .map_err(|failure| hop.failed(&failure))?;
        match page.status {
            StatusCode::OK if page.body.len() >= TOO_LONG => {
                let text = String::from_utf8_lossy(&page.body).into_owned();
                return Err(hop.unfit(&format!("{text:?}")));
            }
            StatusCode::OK => return Ok(page.body),
            status if !status.is_redirection() => return Err(hop.unfit(status.as_str())),
            _ => {}
        }
        let location = page.headers.get(header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        url = hop
            .redirect(page.status, location, &seen, settings)
            .map_err(|why| hop.fetching(&why))?;
        seen.push(url.clone());
    }
}

/// One request of a validation.
struct Hop {
    url: Url,
    address: SocketAddr,
}

impl Hop {
    fn to(url: Url, settings: &AuthoritySettings) -> Result<Self, Problem> {
        let host = url.host_str().unwrap_or_default();
        if settings.unresolved.contains(host) {
            return Err(Problem::dns(format!(
                "DNS problem: NXDOMAIN looking up A for {host} - check that a DNS record exists \
                 for this domain"
            )));
        }
        let at = settings.addresses.get(host).copied();
        let plain = at.unwrap_or_else(|| {
            SocketAddr::new(settings.validation_address, settings.validation_port)
        });
        let address = if url.scheme() == "https" {
            SocketAddr::new(plain.ip(), settings.validation_tls_port)
        } else {
            plain
        };
        Ok(Self { url, address })
    }

    /// Where to go next, or why not.
    fn redirect(
        &self,
        status: StatusCode,
        location: Option<&str>,
        seen: &[Url],
        settings: &AuthoritySettings,
    ) -> Result<Url, String> {
        if !matches!(status.as_u16(), 301 | 302 | 307 | 308) {
            return Err("received disallowed redirect status code".to_owned());
        }
        let Some(location) = location else {
            return Err(format!("{} response missing Location header", status.as_u16()));
        };
        let next = self
            .url
            .join(location)
            .map_err(|_| format!("failed to parse Location header {location:?}"))?;
        if seen.len() > MOST_REDIRECTS {
            return Err("Too many redirects".to_owned());
        }
        if seen.contains(&next) {
            return Err("Redirect loop detected".to_owned());
        }
        if !matches!(next.scheme(), "http" | "https") {
            return Err(format!(
                "Invalid protocol scheme in redirect target. Only \"http\" and \"https\" protocol \
                 schemes are supported, not {:?}",
                next.scheme()
            ));
        }
        let host = next.host_str().unwrap_or_default();
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return Err(format!(
                "Invalid host in redirect target {host:?}. Only domain names are supported, not \
                 IP addresses"
            ));
        }
        let own_ports = [settings.validation_port, settings.validation_tls_port];
        if let Some(port) = next.port_or_known_default()
            && !matches!(port, 80 | 443)
            && !own_ports.contains(&port)
        {
            return Err(format!(
                "Invalid port in redirect target. Only ports 80 and 443 are supported, not {port}"
            ));
        }
        let length = next.path().len();
        if length > LONGEST_PATH {
            return Err(format!(
                "Redirect target path is {length} bytes long, the limit is {LONGEST_PATH}"
            ));
        }
        Ok(next)
    }

    /// What failed, as Boulder words it. It prints the address before and the URL in the middle.
    fn failed(&self, failure: &Failure) -> Problem {
        match failure {
            Failure::Body => Problem::unauthorized(format!(
                "{}: Error reading HTTP response body: unexpected EOF",
                self.address.ip()
            )),
            Failure::ConnectTimeout => {
                self.fetching("Timeout during connect (likely firewall problem)")
            }
            Failure::Other => self.fetching("Error getting validation data"),
            Failure::Refused => self.fetching("Connection refused"),
            Failure::Reset => self.fetching("Connection reset by peer"),
            Failure::Timeout => {
                self.fetching("Timeout after connect (your server may be slow or overloaded)")
            }
        }
    }

    fn fetching(&self, why: &str) -> Problem {
        Problem::connection(format!("{}: Fetching {}: {why}", self.address.ip(), self.url))
    }

    fn unfit(&self, what: &str) -> Problem {
        Problem::unauthorized(format!(
            "{}: Invalid response from {}: {what}",
            self.address.ip(),
            self.url
        ))
    }
}

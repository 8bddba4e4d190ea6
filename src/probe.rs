//! Looks at a name as a CA would: one fetch, hop by hop, and one judgement of what came.
//!
//! The self-check before an order ([`crate::solvers::webroot`]) and `check` ([`crate::view::check`]) both look with it, so that neither
//! finds well what the other refuses.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use reqwest::header::HeaderValue;
use reqwest::header::LOCATION;
use serde::Serialize;
use thiserror::Error;

use crate::client;
use crate::core::names::DomainName;
use crate::core::resource::Http01;
use crate::core::text::one_line;
use crate::probe::dns::Dns;
use crate::probe::internal::LeadsInside;
use crate::probe::internal::is_internal;

mod internal;
pub mod dns;
pub mod caa;

/// Where a CA looks for the answer (RFC 8555, section 8.3).
pub const FOLDER: &str = ".well-known/acme-challenge";

/// Where connections go.
#[derive(Debug, Clone)]
pub enum Way {
    /// Where the system leads each name.
    Resolved,
    /// All to one host or address.
    Through(String),
    /// One name to one of its addresses, every other name to where DNS leads it.
    Pinned {
        /// The name.
        name: DomainName,
        /// Its address.
        address: IpAddr,
        /// Who leads the others.
        dns: Dns,
    },
}

/// One request on the way to the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// What was asked for.
    pub url: String,
    /// Where it was asked, if a connection came about.
    pub address: Option<SocketAddr>,
    /// What came.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A status.
    Status(u16),
    /// None, and why.
    Error(String),
}

/// The whole way to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Every request, in order.
    pub hops: Vec<Hop>,
    /// Whether the expected answer came.
    pub end: Result<(), Trouble>,
}

/// Why an answer is not the expected one; each kind is mended in another way ([`crate::view::check::remedy`]).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Trouble {
    /// No connection, or one that gave no whole answer.
    #[error("{url}: {why}")]
    Silent {
        /// What was asked for.
        url: String,
        /// In words.
        why: String,
        /// In a word.
        cause: Cause,
    },
    /// Everything together took too long.
    #[error("{url}: no answer within {} s", limit.as_secs())]
    Late {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// A redirect that the CA does not follow.
    #[error("{0}")]
    Redirect(String),
    /// Another status than 200.
    #[error(
        "{url}: answered {status}: the path /{FOLDER}/ of this name must lead to the web server on our webroot"
    )]
    Status {
        /// What was asked for.
        url: String,
        /// What came.
        status: StatusCode,
    },
    /// Something else.
    #[error(
        "{url}: answered something else than our token (`{body}`): another server answers for this name"
    )]
    Foreign {
        /// What was asked for.
        url: String,
        /// How it begins, on one line.
        body: String,
    },
    /// Something else, from an address inside of some network. Nothing of it is shown: a name can be led to a service
    /// that is for few by whoever holds it, and the status page is open.
    #[error(
        "{url}: answered {status}, {size}, not the token: another server answers for this name"
    )]
    Hidden {
        /// What was asked for.
        url: String,
        /// What came.
        status: u16,
        /// How long it is, in words.
        size: String,
    },
    /// Something else, from another host than the one that was asked first. What it says is not shown: a redirect may
    /// lead to a page that is for few, and the status page is open.
    #[error(
        "{url}: answered something else than our token, after a redirect to another host: another server answered"
    )]
    Elsewhere {
        /// What was asked for.
        url: String,
    },
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nobody listens.
    Refused,
    /// This machine has no way there: that tells nothing about the other end.
    NoRoute,
    /// No connection within the time limit.
    Dropped,
    /// There was a connection, or no address to connect to.
    Other,
}

/// A client that looks at names from outside.
pub struct Probe {
    client: Client,
    /// Connects to no internal address.
    outside: Client,
    port: u16,
    limit: Duration,
    is_internal: fn(IpAddr) -> bool,
    /// Whether the address that is looked at is the operator's word.
    is_led: bool,
    /// Whether who looks sees where redirects lead, whoever sends them: `check` answers on the terminal of the operator.
    shows_way: bool,
}

impl Probe {
    /// Looks on `port`.
    pub fn new(way: Way, port: u16, connect_timeout: Duration) -> Result<Self, String> {
        let is_led = matches!(way, Way::Through(_));
        let shows_way = matches!(way, Way::Pinned { .. });
        let probe = Self::over(Arc::new(Led(way)), is_internal, port, connect_timeout)?;
        Ok(Self { is_led, shows_way, ..probe })
    }

    fn over(
        resolver: Arc<dyn Resolve>,
        is_internal: fn(IpAddr) -> bool,
        port: u16,
        connect_timeout: Duration,
    ) -> Result<Self, String> {
        let client = |resolver: Arc<dyn Resolve>| {
            // A certificate is what is being asked for: the CA does not look at the present one either.
            let builder =
                client::builder(connect_timeout).no_proxy().tls_danger_accept_invalid_certs(true);
            // As Go's client, which is the CA's, it asks for gzip and unpacks it; a server may compress for whoever asks.
            let built = builder.dns_resolver(resolver).gzip(true).build();
            built.map_err(|error| client::explain(&error))
        };
        Ok(Self {
            client: client(Arc::clone(&resolver))?,
            outside: client(Arc::new(Outside { resolver, is_internal }))?,
            port,
            limit: client::total_timeout(connect_timeout),
            is_internal,
            is_led: false,
            shows_way: false,
        })
    }

    /// Asks for the answer to a challenge, and follows redirects under the CA's rules.
    pub async fn fetch(&self, name: &DomainName, expected: &Http01) -> Visit {
        let mut hops = Vec::new();
        let following = self.follow(name, expected, &mut hops);
        let end = match tokio::time::timeout(self.limit, following).await {
            Ok(end) => end,
            Err(_) => Err(Trouble::Late {
                url: format!("http://{name}:{}/", self.port),
                limit: self.limit,
            }),
        };
        Visit { hops, end }
    }

    async fn follow(
        &self,
        name: &DomainName,
        expected: &Http01,
        hops: &mut Vec<Hop>,
    ) -> Result<(), Trouble> {
        let text = format!("http://{name}:{}/{FOLDER}/{}", self.port, expected.token.as_str());
        let mut url =
            Url::parse(&text).map_err(|error| Trouble::Redirect(format!("{text}: {error}")))?;
        let mut visited: Vec<Url> = Vec::new();
        // What an internal address has said is shown nowhere, and where it leads is part of that.
        let mut shown = url.to_string();
        let mut from = Origin::Nowhere;
        loop {
            // The CA could not follow what is public to what is not.
            let client = if from == Origin::Public { &self.outside } else { &self.client };
            let response = client.get(url.clone()).header("Accept", "*/*").send().await;
            hops.push(hop(&shown, &response));
            let response = response.map_err(|error| {
                if leads_inside(&error) {
                    let why = "an internal address";
                    return Trouble::Redirect(format!(
                        "redirected to {shown}, where the CA would not go: its host leads to {why}"
                    ));
                }
                let (why, cause) = (client::explain(&error), cause(&error));
                Trouble::Silent { url: shown.clone(), why, cause }
            })?;
            let address = response.remote_addr().map(|address| address.ip());
            let is_public = address.is_some_and(|address| !(self.is_internal)(address));
            // Where the operator has us look, what is there is no secret from the operator.
            let is_open = is_public || (self.is_led && visited.is_empty());
            let shows_way = is_open || self.shows_way;
            let status = response.status();
            let location = response.headers().get(LOCATION);
            let redirected = redirect(status, location, &url);
            let next = redirected.and_then(|next| match next {
                Some(next) => self.may_follow(&next, name).map(|()| Some(next)),
                None => Ok(None),
            });
            if let Some(next) = next.map_err(|trouble| told(trouble, shows_way, &shown, status))? {
                visited.push(url);
                if visited.contains(&next) || visited.len() > MOST_REDIRECTS {
                    return Err(Trouble::Redirect(format!("{text}: the redirects never end")));
                }
                shown = if shows_way { next.to_string() } else { HIDDEN.to_owned() };
                from = if is_public { Origin::Public } else { Origin::Inside };
                url = next;
                continue;
            }
            let is_elsewhere = url.host_str() != Some(name.as_str());
            let url = shown;
            // What is no success is no matter of its page, however long that is.
            if status != StatusCode::OK {
                return Err(Trouble::Status { url, status });
            }
            let length = response.content_length();
            return match client::read_beginning(response, LARGEST + 1).await {
                Ok(body) if is_answer(&body, &expected.key_authorization) => Ok(()),
                Ok(_) if is_elsewhere => Err(Trouble::Elsewhere { url }),
                Ok(body) if !is_open => {
                    let (size, status) = (size(&body, length), status.as_u16());
                    Err(Trouble::Hidden { url, status, size })
                }
                Ok(body) => {
                    Err(Trouble::Foreign { url, body: one_line(&String::from_utf8_lossy(&body)) })
                }
                Err(why) => Err(Trouble::Silent { url, why, cause: Cause::Other }),
            };
        }
    }

    /// Whether the CA would go there. It takes the name itself for a host, whatever it ends in: a private CA certifies
    /// names without a public suffix.
    fn may_follow(&self, next: &Url, name: &DomainName) -> Result<(), Trouble> {
        let port = next.port_or_known_default().unwrap_or(0);
        let is_door = matches!(next.scheme(), "http" | "https")
            && (matches!(port, 80 | 443) || port == self.port);
        let only = if !is_door || next.path().len() > LONGEST_PATH {
            "only http and https on ports 80 and 443"
        } else if next.host_str() == Some(name.as_str()) {
            return Ok(());
        } else {
            match next.domain() {
                Some(host) if has_public_suffix(host) => return Ok(()),
                Some(_) => "only names that end in a public suffix",
                None => "only host names, no IP addresses",
            }
        };
        Err(Trouble::Redirect(format!("redirected to {next}, where the CA would not go: {only}")))
    }
}

/// The CA's own rules for redirects (boulder `va/http.go`).
const MOST_REDIRECTS: usize = 10;
const LONGEST_PATH: usize = 2000;
/// The CA reads no more of the answer than this.
const LARGEST: usize = 127;

/// Where a redirect came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// There was none.
    Nowhere,
    /// An address that everybody reaches.
    Public,
    /// One inside of some network.
    Inside,
}

/// In the place of a URL that an internal address redirects to.
const HIDDEN: &str = "where an internal address redirects to";

/// A redirect that is not followed, without where it leads if that is not to be shown.
fn told(trouble: Trouble, shows_way: bool, shown: &str, status: StatusCode) -> Trouble {
    if shows_way {
        return trouble;
    }
    let status = status.as_u16();
    Trouble::Redirect(format!("{shown}: a redirect (status {status}) that the CA does not follow"))
}

/// How long an answer is, in words.
fn size(body: &[u8], announced: Option<u64>) -> String {
    match announced {
        Some(length) => format!("{length} bytes"),
        None if body.len() <= LARGEST => format!("{} bytes", body.len()),
        None => format!("more than {LARGEST} bytes"),
    }
}

fn leads_inside(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.is::<LeadsInside>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn hop(url: &str, response: &Result<reqwest::Response, reqwest::Error>) -> Hop {
    let (address, answer) = match response {
        Ok(response) => (response.remote_addr(), Answer::Status(response.status().as_u16())),
        Err(error) => (None, Answer::Error(client::explain(error))),
    };
    Hop { url: url.to_owned(), address, answer }
}

fn cause(error: &reqwest::Error) -> Cause {
    if !error.is_connect() {
        return Cause::Other;
    }
    if error.is_timeout() {
        return Cause::Dropped;
    }
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return cause_of(error.kind());
        }
        source = error.source();
    }
    Cause::Other
}

fn cause_of(kind: io::ErrorKind) -> Cause {
    use io::ErrorKind;
    let causes = [
        (ErrorKind::ConnectionRefused, Cause::Refused),
        (ErrorKind::NetworkUnreachable, Cause::NoRoute),
        (ErrorKind::AddrNotAvailable, Cause::NoRoute),
        (ErrorKind::HostUnreachable, Cause::Dropped),
        (ErrorKind::TimedOut, Cause::Dropped),
    ];
    let found = causes.iter().find(|(known, _)| *known == kind);
    found.map_or(Cause::Other, |(_, cause)| *cause)
}

fn redirect(
    status: StatusCode,
    location: Option<&HeaderValue>,
    url: &Url,
) -> Result<Option<Url>, Trouble> {
    if !status.is_redirection() {
        return Ok(None);
    }
    if !matches!(status.as_u16(), 301 | 302 | 307 | 308) {
        return Err(Trouble::Redirect(format!(
            "{url}: a redirect with status {status} is not followed by the CA"
        )));
    }
    let location = location.and_then(|value| value.to_str().ok()).unwrap_or_default();
    url.join(location)
        .map(Some)
        .map_err(|error| Trouble::Redirect(format!("{url}: redirected to `{location}`: {error}")))
}

/// What ends in nothing that is listed exists inside of some network only.
fn has_public_suffix(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    psl::suffix(host.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

fn is_answer(body: &[u8], expected: &str) -> bool {
    body.len() <= LARGEST && String::from_utf8_lossy(body).trim_end() == expected
}

/// Leads names where a [`Way`] says.
struct Led(Way);

impl Resolve for Led {
    fn resolve(&self, asked: Name) -> Resolving {
        let way = self.0.clone();
        Box::pin(async move {
            let addresses = match way {
                Way::Resolved => lookup(asked.as_str()).await?,
                Way::Through(host) => lookup(&host).await?,
                Way::Pinned { name, address, .. } if asked.as_str() == name.as_str() => {
                    vec![(address, 0).into()]
                }
                Way::Pinned { dns, .. } => dns.everywhere(asked.as_str()).await?,
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Leads names to their public addresses only.
struct Outside {
    resolver: Arc<dyn Resolve>,
    is_internal: fn(IpAddr) -> bool,
}

impl Resolve for Outside {
    fn resolve(&self, asked: Name) -> Resolving {
        let (resolving, is_internal) = (self.resolver.resolve(asked), self.is_internal);
        Box::pin(async move {
            let all: Vec<SocketAddr> = resolving.await?.collect();
            let public: Vec<SocketAddr> =
                all.iter().copied().filter(|address| !is_internal(address.ip())).collect();
            if public.is_empty() && !all.is_empty() {
                return Err(LeadsInside.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

async fn lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok(vec![(ip, 0).into()]),
        Err(_) => Ok(tokio::net::lookup_host((host, 0)).await?.collect()),
    }
}

#[cfg(test)]
mod tests;

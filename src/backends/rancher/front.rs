//! What stands in front of Rancher, a proxy or a balancer, and answers in its place: told as its own, since nothing at
//! Rancher mends it.

use http::HeaderMap;
use http::StatusCode;
use http::header;
use reqwest::Url;

use crate::core::problem::DestinationError;
use crate::core::text::one_line;

/// Most characters of a foreign header or address that are shown.
const MOST_SHOWN: usize = 120;

/// Limits of what may be sent, each by the program that has it and how it calls itself in `Server`: nginx, Apache, Caddy,
/// Envoy and IIS by their documentation; HAProxy and Traefik do not call themselves anything.
const LIMITS: [(&str, &str); 6] = [
    ("nginx", "client_max_body_size of nginx"),
    ("openresty", "client_max_body_size of OpenResty"),
    ("apache", "LimitRequestBody of Apache"),
    ("caddy", "max_size of request_body in Caddy"),
    ("envoy", "max_request_bytes of Envoy's buffer filter"),
    ("microsoft-iis", "maxAllowedContentLength of IIS"),
];

/// Where none of them is named.
const ANY_LIMIT: &str = "the largest request that it takes (nginx: client_max_body_size, Apache: LimitRequestBody, HAProxy: \
     tune.bufsize where it waits for whole bodies, Traefik: maxRequestBodyBytes)";

/// What an answer means that is no success, and not in Rancher's words either. `what` was asked.
pub(super) fn refusal(what: &str, status: StatusCode, headers: &HeaderMap) -> DestinationError {
    use DestinationError as Error;
    let server = server(headers);
    let named = match &server {
        Some(server) => format!("with the header `Server: {server}`"),
        None => "without a Server header".to_owned(),
    };
    let told = format!(
        "{what}: {}, and not from Rancher, but from what stands in front of it ({named})",
        status.as_u16()
    );
    match status.as_u16() {
        401 => Error::Denied(format!(
            "{told}: it asks for a password of its own: have it pass the API on without one, or set CATTLE_URL to the \
             address of Rancher behind it"
        )),
        403 => Error::Denied(format!(
            "{told}: have it let the addresses of this host in, or set CATTLE_URL to the address of Rancher behind it"
        )),
        404 => Error::Unavailable(format!(
            "{told}: is CATTLE_URL the address of a Rancher 1.x server?"
        )),
        407 => Error::Denied(format!(
            "{told}: RANCHER_PROXY needs a name and a password that its proxy takes"
        )),
        413 => {
            let own = server.as_deref().map(str::to_ascii_lowercase).unwrap_or_default();
            let limit = LIMITS.iter().find(|(name, _)| own.starts_with(name));
            let limit = limit.map_or(ANY_LIMIT, |(_, limit)| limit);
            Error::Denied(format!(
                "{told}: a certificate with its key and chain is larger than it lets pass: raise {limit}, to 1 MB at least"
            ))
        }
        502..=504 => Error::Unavailable(format!(
            "{told}: it does not reach Rancher: is Rancher's server running, and where that looks for it?"
        )),
        429 | 500.. => Error::Unavailable(told),
        _ => Error::Refused(told),
    }
}

/// Who says to be answering.
fn server(headers: &HeaderMap) -> Option<String> {
    let server = headers.get(header::SERVER)?.to_str().ok()?;
    let server: String = one_line(server).chars().take(MOST_SHOWN).collect();
    Some(server).filter(|server| !server.is_empty())
}

const NOT_AGAIN: &str =
    "the API key is not sent over HTTP any more until this program is started again";

/// What is told where HTTP is spoken to a port of HTTPS: nginx, Apache and Go's servers answer 400 with a sentence.
pub(super) fn wants_https(base: &str, status: StatusCode, body: &[u8]) -> Option<String> {
    const SENTENCES: [&str; 3] = [
        "The plain HTTP request was sent to HTTPS port",
        "speaking plain HTTP to an SSL-enabled server port",
        "sent an HTTP request to an HTTPS server",
    ];
    let rest = base.strip_prefix("http://").filter(|_| status == StatusCode::BAD_REQUEST)?;
    let text = String::from_utf8_lossy(body);
    SENTENCES.iter().any(|sentence| text.contains(sentence)).then(|| {
        format!("{base} is a port of HTTPS: set CATTLE_URL to https://{rest}; {NOT_AGAIN}")
    })
}

/// What a redirect means, which is never followed: whoever it leads to would be given the API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The same over HTTPS: what is asked over HTTP shows the key to everyone on the way, for nothing.
    ToHttps(String),
    /// Anywhere else.
    Elsewhere(String),
}

/// Reads a redirect as the answer to `asked`, below the address `base` of the API.
pub(super) fn redirect(
    asked: &str,
    base: &str,
    status: StatusCode,
    headers: &HeaderMap,
) -> Redirect {
    let status = status.as_u16();
    let led = || {
        let location = headers.get(header::LOCATION)?.to_str().ok()?;
        let asked = Url::parse(asked).ok()?;
        Some((asked.join(location).ok()?, asked, Url::parse(base).ok()?))
    };
    let Some((to, asked, base)) = led() else {
        return Redirect::Elsewhere(format!(
            "{base} answers with a redirect ({status}) that leads nowhere"
        ));
    };
    let (from, origin) = (base.as_str(), to.origin().ascii_serialization());
    let path = base.path().trim_end_matches('/');
    // Its query may hold anything, and only where the path is ours it is Rancher's.
    let is_same = to.path() == asked.path();
    // Another host with another page is somebody's maintenance or login, not Rancher over HTTPS.
    let is_rancher = is_same || to.host_str() == asked.host_str();
    if asked.scheme() == "http" && to.scheme() == "https" && is_rancher {
        return Redirect::ToHttps(format!(
            "{from} is answered with a redirect ({status}) to HTTPS: set CATTLE_URL to {origin}{path}; {NOT_AGAIN}"
        ));
    }
    let target: String =
        one_line(&format!("{origin}{}", to.path())).chars().take(MOST_SHOWN).collect();
    let told = format!(
        "{from} is answered with a redirect ({status}) to {target}, which is not followed with the API key"
    );
    Redirect::Elsewhere(match (asked.scheme(), to.scheme()) {
        ("https", "http") => format!(
            "{told}: what stands in front of Rancher must not lead from HTTPS to HTTP (does it set X-Forwarded-Proto?)"
        ),
        _ if is_same => {
            format!("{told}: if that is where Rancher is, set CATTLE_URL to {origin}{path}")
        }
        _ => format!(
            "{told}: if that is a page to log in, have what stands in front of Rancher pass {path} on without it"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://r.test:8080/v2-beta";
    const ASKED: &str = "http://r.test:8080/v2-beta/projects/1a5/certificates?limit=1000";

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_redirect_says_what_to_set() {
        let to = |location: &str| {
            redirect(ASKED, BASE, StatusCode::FOUND, &headers(header::LOCATION, location))
        };
        for location in [
            "https://r.test/v2-beta/projects/1a5/certificates?limit=1000",
            "https://r.test/",
            "https://r.test/login?from=x",
        ] {
            let Redirect::ToHttps(told) = to(location) else { panic!("{location}") };
            assert!(told.contains("set CATTLE_URL to https://r.test/v2-beta;"), "{told}");
        }
        for (location, advice) in [
            (
                ASKED.replace("r.test:8080", "other.test").as_str(),
                "set CATTLE_URL to http://other.test/v2-beta",
            ),
            ("/login?secret=1", "pass /v2-beta on without it"),
            ("https://status.test/maintenance?secret=1", "302"),
            ("mailto:x", "not followed"),
        ] {
            let Redirect::Elsewhere(told) = to(location) else { panic!("{location}") };
            assert!(told.contains(advice) && !told.contains("secret=1"), "{told}");
        }
        let nowhere = redirect(ASKED, BASE, StatusCode::FOUND, &HeaderMap::new());
        assert!(matches!(nowhere, Redirect::Elsewhere(told) if told.contains("leads nowhere")));
        let (asked, base) = (ASKED.replace("http:", "https:"), BASE.replace("http:", "https:"));
        let back = redirect(&asked, &base, StatusCode::FOUND, &headers(header::LOCATION, ASKED));
        assert!(matches!(back, Redirect::Elsewhere(told) if told.contains("X-Forwarded-Proto")));
    }

    #[test]
    fn a_413_says_which_limit_to_raise() {
        for (server, limit) in [
            ("nginx/1.18.0 (Ubuntu)", "raise client_max_body_size of nginx"),
            ("Apache/2.4.52", "raise LimitRequestBody of Apache"),
            ("Caddy", "raise max_size of request_body in Caddy"),
            ("something", "tune.bufsize"),
        ] {
            let headers = headers(header::SERVER, server);
            let told = refusal("PUT x", StatusCode::PAYLOAD_TOO_LARGE, &headers).to_string();
            assert!(
                told.contains(limit) && told.contains(&format!("`Server: {server}`")),
                "{told}"
            );
        }
        let told = refusal("PUT x", StatusCode::PAYLOAD_TOO_LARGE, &HeaderMap::new()).to_string();
        assert!(
            told.contains("tune.bufsize") && told.contains("without a Server header"),
            "{told}"
        );
    }
}

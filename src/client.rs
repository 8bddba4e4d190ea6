//! The HTTP client of every adapter: time limits, roots to trust, our name, answers of limited size.

use std::error::Error;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::Client;
use reqwest::ClientBuilder;
use reqwest::Response;
use reqwest::header::HeaderMap;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use time::OffsetDateTime;

/// Our name and version, as RFC 8555 section 6.1 wants it; not a browser's, or Rancher answers in HTML.
pub const USER_AGENT: &str = concat!("rancher-lets-encrypt/", env!("CARGO_PKG_VERSION"));

/// Which roots TLS trusts.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// PEM roots besides, or instead of, the public ones.
    pub extra: Option<Vec<u8>>,
    /// Whether the extra ones are trusted instead.
    pub is_extra_only: bool,
}

/// Starts a client that follows no redirect and waits for nothing without limit.
pub fn builder(connect_timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .connect_timeout(connect_timeout)
        .timeout(total_timeout(connect_timeout))
        // Shorter than servers keep idle connections, so that none is used that is about to be closed.
        .pool_idle_timeout(Duration::from_secs(15))
        .tcp_nodelay(true)
        // Nothing that is asked for is large, and limits of size count what is sent.
        .gzip(false)
}

/// The limit for a whole request, answer included.
pub fn total_timeout(connect_timeout: Duration) -> Duration {
    connect_timeout * 3
}

/// The same with these roots.
pub fn with_roots(builder: ClientBuilder, roots: &Roots) -> Result<ClientBuilder, String> {
    let mut trusted = Vec::new();
    if let Some(pem) = &roots.extra {
        trusted.extend(Certificate::from_pem_bundle(pem).map_err(|error| explain(&error))?);
        if trusted.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
    }
    if !roots.is_extra_only {
        for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            trusted.push(Certificate::from_der(root).map_err(|error| explain(&error))?);
        }
    }
    Ok(builder.tls_certs_only(trusted))
}

/// What went wrong with a request, from the outermost cause to the innermost, without the URL.
pub fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        let what = if error.is_connect() { "connecting" } else { "waiting for the answer" };
        return format!("timed out while {what}");
    }
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() { "the request failed".to_owned() } else { texts.join(": ") }
}

/// Reads a body up to a limit.
pub async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, String> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = Vec::with_capacity(announced.unwrap_or(0).min(most));
    while let Some(chunk) = response.chunk().await.map_err(|error| explain(&error))? {
        if body.len() + chunk.len() > most {
            return Err(format!("the answer is larger than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads the first bytes of a body; what comes behind them is not waited for.
pub async fn read_beginning(mut response: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while body.len() < most
        && let Some(chunk) = response.chunk().await.map_err(|error| explain(&error))?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(most);
    Ok(body)
}

/// A `Retry-After`, as seconds or as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// This long from now.
    In(time::Duration),
    /// Not before this time.
    At(OffsetDateTime),
}

impl RetryAfter {
    /// The time it means, unless that is now or over: then it says nothing.
    pub fn later_than(self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let time = match self {
            // Who says thousands of years means never, and a sum must not overflow.
            Self::In(time) => now + time.clamp(time::Duration::ZERO, time::Duration::days(3650)),
            Self::At(time) => time,
        };
        Some(time).filter(|time| now < *time)
    }
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
pub fn retry_after(headers: &HeaderMap) -> Option<RetryAfter> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(RetryAfter::In(time::Duration::seconds(i64::from(seconds))));
    }
    httpdate::parse_http_date(value).ok().map(|at| RetryAfter::At(at.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::prop_oneof;
    use proptest::proptest;
    use proptest::strategy::Strategy;
    use reqwest::header::HeaderValue;
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    fn read_header(value: &[u8]) -> Option<RetryAfter> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(value).ok()?);
        retry_after(&headers)
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let date = b"Sun, 22 Nov 2026 12:00:00 GMT";
        let at = RetryAfter::At(datetime!(2026-11-22 12:00 UTC));
        assert_eq!(read_header(date), Some(at));
        let in_a_minute = RetryAfter::In(Duration::MINUTE);
        assert_eq!(read_header(b" 60 "), Some(in_a_minute));
        for odd in ["", "-1", "1.5", "soon", "4294967296"] {
            assert_eq!(read_header(odd.as_bytes()), None, "{odd}");
        }
    }

    /// Dates of all kinds beside what nobody means.
    fn values() -> impl Strategy<Value = Vec<u8>> {
        let date = (0..40_u32, 0..9999_u32, 0..30_u32).prop_map(|(day, year, hour)| {
            format!("Sun, {day:02} Nov {year:04} {hour:02}:00:00 GMT").into_bytes()
        });
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            any::<u64>().prop_map(|seconds| seconds.to_string().into_bytes()),
            date,
        ]
    }

    proptest! {
        #[test]
        fn any_retry_after_is_a_time_that_can_be_reckoned_with(value in values()) {
            if let Some(asked) = read_header(&value) {
                for now in [OffsetDateTime::UNIX_EPOCH, datetime!(2026-11-22 0:00 UTC), datetime!(9000-01-01 0:00 UTC)] {
                    assert!(asked.later_than(now).is_none_or(|later| now < later));
                }
            }
        }
    }
}

//! Problem documents: how an authority says no ([RFC 8555, 6.7](https://www.rfc-editor.org/rfc/rfc8555#section-6.7)).

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::StatusCode;
use serde_json::Value;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::clock;
use super::reply::Reply;

const PREFIX: &str = "urn:ietf:params:acme:error:";

/// When a client may come back, as one of the two forms of the header `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// As an HTTP date, this long after the answer, rounded up to whole seconds.
    Date(Duration),
    /// As a number of seconds.
    Seconds(u64),
}

impl RetryAfter {
    /// The value of the header.
    pub fn header(self, now: OffsetDateTime) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Date(wait) => http_date(whole_seconds_up(now + wait)),
        }
    }
}

/// A time as HTTP headers have it.
pub(super) fn http_date(time: OffsetDateTime) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time.format(format).expect("a date has all the parts of the format")
}

fn whole_seconds_up(time: OffsetDateTime) -> OffsetDateTime {
    let floor = time - Duration::from_nanos(u64::from(time.nanosecond()));
    if floor == time { time } else { floor + Duration::from_secs(1) }
}

/// What went wrong, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The type without its URN prefix, such as `rateLimited`.
    pub kind: &'static str,
    /// The sentence for people.
    pub detail: String,
    /// Where a person can read or do more about it.
    pub instance: Option<String>,
    /// One problem per refused name.
    pub subproblems: Vec<(String, Self)>,
    /// When to come back.
    pub retry_after: Option<RetryAfter>,
}

impl Problem {
    /// A problem of the given status and type.
    pub fn new(status: u16, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            instance: None,
            subproblems: Vec::new(),
            retry_after: None,
        }
    }

    /// 400 `malformed`.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(400, "malformed", detail)
    }

    /// 404 `malformed`: the resource is unknown, or no longer.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, "malformed", detail)
    }

    /// 403 `unauthorized`.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(403, "unauthorized", detail)
    }

    /// 400 `connection`: the web server of a name could not be reached.
    pub fn connection(detail: impl Into<String>) -> Self {
        Self::new(400, "connection", detail)
    }

    /// 400 `dns`: a name could not be looked up.
    pub fn dns(detail: impl Into<String>) -> Self {
        Self::new(400, "dns", detail)
    }

    /// The same with a time to come back.
    pub fn retry_after(mut self, wait: RetryAfter) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same with an address where a person can read or do more about it.
    pub fn instance(mut self, address: impl Into<String>) -> Self {
        self.instance = Some(address.into());
        self
    }

    /// The same with a problem per name.
    pub fn because(mut self, subproblems: Vec<(String, Self)>) -> Self {
        self.subproblems = subproblems;
        self
    }

    /// The same with words before the detail.
    pub fn while_doing(mut self, what: &str) -> Self {
        self.detail = format!("{what} :: {}", self.detail);
        self
    }

    /// The document.
    pub fn to_json(&self) -> Value {
        let mut document = json!({
            "type": format!("{PREFIX}{}", self.kind),
            "detail": self.detail,
            "status": self.status,
        });
        if self.kind == "badSignatureAlgorithm" {
            document["algorithms"] = json!(["ES256"]);
        }
        if let Some(address) = &self.instance {
            document["instance"] = json!(address);
        }
        if !self.subproblems.is_empty() {
            let subproblems = self.subproblems.iter().map(|(name, problem)| {
                let mut document = problem.to_json();
                document["identifier"] = json!({"type": "dns", "value": name});
                document
            });
            document["subproblems"] = subproblems.collect();
        }
        document
    }

    /// The answer that carries it, as [`What::Answer`](crate::faults::What::Answer) takes it. It has no nonce.
    pub fn response(&self) -> Response<Bytes> {
        Reply::problem(self).finish()
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).expect("problems carry statuses of HTTP")
    }

    pub(super) fn retry_after_header(&self) -> Option<String> {
        self.retry_after.map(|wait| wait.header(clock::now()))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn retry_after_has_two_forms() {
        let now = datetime!(2026-11-22 13:59:58.2 UTC);
        assert_eq!(RetryAfter::Seconds(3).header(now), "3");
        assert_eq!(
            RetryAfter::Date(Duration::from_secs(3)).header(now),
            "Sun, 22 Nov 2026 14:00:02 GMT"
        );
    }

    #[test]
    fn subproblems_name_their_identifier() {
        let problem = Problem::malformed("several")
            .because(vec![("a.example".to_owned(), Problem::new(400, "rejectedIdentifier", "no"))]);
        assert_eq!(problem.to_json()["subproblems"][0]["identifier"]["value"], "a.example");
    }
}

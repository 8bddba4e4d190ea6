//! Requests and their answers, as far as the protocol reads them.

use std::sync::Arc;

use http::HeaderMap;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http::header::LOCATION;
use reqwest::Client;
use reqwest::RequestBuilder;
use reqwest::Url;
use time::OffsetDateTime;

use crate::acme::dates::Dates;
use crate::acme::problem;
use crate::acme::problem::About;
use crate::acme::problem::Failure;
use crate::client;
use crate::client::RetryAfter;
use crate::core::problem::AuthorityError;
use crate::core::schedule;

/// Certificate chains are a few kilobytes; nothing an authority says is larger.
const LARGEST: usize = 1 << 20;

const REPLAY_NONCE: &str = "replay-nonce";

/// What time it is.
pub(super) type Now = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// The way to every authority.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client,
    dates: Dates,
    now: Now,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    retry_after: Option<RetryAfter>,
    terms: Option<String>,
    /// A nonce for the next request.
    pub(super) nonce: Option<String>,
    /// The resource that was made.
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Transport {
    pub(super) fn new(client: Client, now: Now) -> Self {
        Self { client, dates: Dates::default(), now }
    }

    /// What time it is by the host of a URL, if that has said so.
    pub(super) fn date_at(&self, url: &str) -> Option<OffsetDateTime> {
        self.dates.at(url)
    }

    pub(super) async fn get(&self, url: &str, about: About<'_>) -> Result<Answer, AuthorityError> {
        let request = self.client.get(address(url, about)?);
        self.send(url, request, about).await
    }

    pub(super) async fn head(&self, url: &str, about: About<'_>) -> Result<Answer, AuthorityError> {
        let request = self.client.head(address(url, about)?);
        self.send(url, request, about).await
    }

    /// Posts what was signed (RFC 8555, section 6.2).
    pub(super) async fn post(
        &self,
        url: &str,
        signed: Vec<u8>,
        about: About<'_>,
    ) -> Result<Answer, AuthorityError> {
        let request = self.client.post(address(url, about)?);
        let request = request
            .header(CONTENT_TYPE, HeaderValue::from_static("application/jose+json"))
            .body(signed);
        self.send(url, request, about).await
    }

    async fn send(
        &self,
        url: &str,
        request: RequestBuilder,
        about: About<'_>,
    ) -> Result<Answer, AuthorityError> {
        let sent = request.send().await;
        let response = sent.map_err(|error| {
            let why = client::explain(&error);
            if error.is_timeout() && !error.is_connect() {
                about.silence(&why)
            } else {
                about.no_answer(&why)
            }
        })?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        self.dates.note(url, &headers);
        let body = client::read(response, LARGEST).await;
        Ok(Answer {
            status,
            retry_after: client::retry_after(&headers),
            terms: problem::terms_of_service(&headers),
            nonce: text(&headers, REPLAY_NONCE),
            location: text(&headers, LOCATION.as_str()),
            body: body.map_err(|why| about.no_answer(&why))?,
        })
    }

    /// The answer, if it is a success; else what it means.
    pub(super) fn sort(&self, answer: Answer, about: About<'_>) -> Result<Answer, AuthorityError> {
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let failure = Failure {
            status: answer.status,
            retry_after: answer.retry_after,
            terms: answer.terms,
            body: answer.body,
        };
        Err(failure.sort(about, (self.now)()))
    }

    /// When an answer says that it is worth another look.
    pub(super) fn not_before(&self, answer: &Answer) -> Option<OffsetDateTime> {
        problem::not_before(answer.retry_after, schedule::LONGEST_OUTAGE, (self.now)())
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn address(url: &str, about: About<'_>) -> Result<Url, AuthorityError> {
    let address = Url::parse(url).ok();
    address
        .filter(|address| matches!(address.scheme(), "https" | "http") && address.has_host())
        .ok_or_else(|| about.no_sense("it names an address that is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_asked_is_an_address() {
        let about = About::Order(&[]);
        for good in ["https://ca.test/order?a=b", "https://127.0.0.1:14000/authZ/1"] {
            address(good, about).expect(good);
        }
        for bad in [
            "",
            "/relative",
            "-----BEGIN CERTIFICATE-----",
            "file:///etc/passwd",
            "mailto:a@example.com",
            "https://",
        ] {
            address(bad, about).expect_err(bad);
        }
    }
}

//! The HTTP client that instant-acme uses: time limits, one nonce pool, and what the answer said beside its body.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Uri;
use http::header::LOCATION;
use http::header::USER_AGENT;
use http_body_util::BodyExt;
use instant_acme::BodyWrapper;
use instant_acme::BytesResponse;
use instant_acme::Error;
use instant_acme::HttpClient;
use reqwest::Client;
use serde_json::Value;

use crate::acme::dates::Dates;
use crate::acme::problem;
use crate::acme::problem::Failure;
use crate::client;
use crate::ports::AuthorityError;
use crate::ports::RetryAfter;

/// Certificate chains are a few kilobytes; nothing an authority says is larger.
const LARGEST: usize = 1 << 20;

/// More than are ever needed at once.
const MOST_NONCES: usize = 64;

const REPLAY_NONCE: &str = "replay-nonce";

/// Nonces that were answered and not used yet, the newest taken first: an authority forgets the oldest.
///
/// instant-acme keeps one nonce an order and asks for a new one at the start of each. The pool takes them out of
/// the answers and gives them back when it asks.
#[derive(Clone, Default)]
pub(super) struct Nonces(Arc<Mutex<Vec<HeaderValue>>>);

impl Nonces {
    fn put(&self, nonce: HeaderValue) {
        let mut nonces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() == MOST_NONCES {
            nonces.remove(0);
        }
        nonces.push(nonce);
    }

    fn take(&self) -> Option<HeaderValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// What the last answer of a call said beside its body.
enum Answer {
    Success(Option<RetryAfter>),
    Failure(Failure),
    None(String),
}

tokio::task_local! {
    static ANSWER: RefCell<Option<Answer>>;
}

/// Waits for a call of instant-acme, and sorts what went wrong by the answer itself: instant-acme drops the status,
/// the `Retry-After` and everything that is not JSON.
pub(super) async fn asked<T>(
    call: impl Future<Output = Result<T, Error>>,
) -> Result<(T, Option<RetryAfter>), AuthorityError> {
    asked_and_sorted(call, Failure::sort).await
}

/// The same for a request about something that may be in hand already: what a 409 means there.
pub(super) async fn asked_in_hand<T>(
    call: impl Future<Output = Result<T, Error>>,
    in_hand: fn(String) -> AuthorityError,
) -> Result<(T, Option<RetryAfter>), AuthorityError> {
    asked_and_sorted(call, |failure| failure.sort_with(in_hand)).await
}

async fn asked_and_sorted<T>(
    call: impl Future<Output = Result<T, Error>>,
    sort: impl FnOnce(Failure) -> AuthorityError,
) -> Result<(T, Option<RetryAfter>), AuthorityError> {
    match answer_to(call).await {
        (Ok(value), Some(Answer::Success(retry_after))) => Ok((value, retry_after)),
        (Ok(value), _) => Ok((value, None)),
        (Err(_), Some(Answer::Failure(failure))) => Err(sort(failure)),
        (Err(_), Some(Answer::None(detail))) => Err(AuthorityError::Unavailable {
            retry_after: None,
            detail,
        }),
        (Err(Error::Api(problem)), Some(Answer::Success(_)) | None) => {
            Err(AuthorityError::Refused(problem::from(&problem)))
        }
        (Err(error), Some(Answer::Success(_)) | None) => {
            let detail = format!("an answer that makes no sense: {error}");
            Err(AuthorityError::Unavailable {
                retry_after: None,
                detail: client::one_line(&detail),
            })
        }
    }
}

/// The same for a call that fetches a directory, or makes an account behind it: nothing that goes wrong there says
/// anything about an order.
pub(super) async fn asked_at<T>(
    directory: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, AuthorityError> {
    match answer_to(call).await {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(Answer::Failure(failure))) => Err(failure.sort_at(directory)),
        (Err(_), Some(Answer::None(detail))) => Err(AuthorityError::Unavailable {
            retry_after: None,
            detail: format!("{directory}: {detail}"),
        }),
        (Err(Error::Api(problem)), Some(Answer::Success(_)) | None) => {
            Err(AuthorityError::Refused(problem::from(&problem)))
        }
        (Err(error), Some(Answer::Success(_)) | None) => {
            Err(problem::no_directory(directory, &error.to_string()))
        }
    }
}

async fn answer_to<T>(
    call: impl Future<Output = Result<T, Error>>,
) -> (Result<T, Error>, Option<Answer>) {
    ANSWER
        .scope(RefCell::new(None), async {
            let result = call.await;
            (result, ANSWER.with(RefCell::take))
        })
        .await
}

fn answered(answer: Answer) {
    // Outside of `asked` nobody wants to know.
    drop(ANSWER.try_with(|last| last.replace(Some(answer))));
}

/// Whether the last answer of this call was a success.
pub(super) fn was_success() -> bool {
    ANSWER
        .try_with(|last| matches!(*last.borrow(), Some(Answer::Success(_))))
        .unwrap_or(false)
}

/// The client.
pub(super) struct Transport {
    client: Client,
    nonces: Nonces,
    dates: Dates,
}

impl Transport {
    pub(super) fn new(client: Client, nonces: Nonces, dates: Dates) -> Self {
        Self {
            client,
            nonces,
            dates,
        }
    }
}

impl Transport {
    /// Fetches a directory for what its answer says besides.
    pub(super) async fn fetch(&self, directory: &str) -> Result<(), AuthorityError> {
        asked_at(directory, async {
            let request = Request::get(directory).body(BodyWrapper::default())?;
            let response = self.request(request).await?;
            if response.parts.status.is_success() {
                Ok(())
            } else {
                Err(Error::Str("no directory"))
            }
        })
        .await
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Transport {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answering {
        let client = self.client.clone();
        let nonces = self.nonces.clone();
        let dates = self.dates.clone();
        Box::pin(async move {
            // Nothing but a new nonce is asked for by HEAD.
            if request.method() == Method::HEAD
                && let Some(nonce) = nonces.take()
            {
                return Ok(local_nonce(nonce));
            }
            send(&client, &nonces, &dates, request)
                .await
                .map_err(|detail| {
                    answered(Answer::None(detail.clone()));
                    Error::Other(detail.into())
                })
        })
    }
}

fn local_nonce(nonce: HeaderValue) -> BytesResponse {
    let mut response = Response::new(Bytes::new());
    response.headers_mut().insert(REPLAY_NONCE, nonce);
    let (parts, body) = response.into_parts();
    BytesResponse {
        parts,
        body: Box::new(body),
    }
}

async fn send(
    client: &Client,
    nonces: &Nonces,
    dates: &Dates,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, String> {
    let is_head = request.method() == Method::HEAD;
    let (mut parts, body) = request.into_parts();
    parts
        .headers
        .insert(USER_AGENT, HeaderValue::from_static(client::USER_AGENT));
    let Ok(body) = body.collect().await;
    let uri = parts.uri.clone();
    let request = reqwest::Request::try_from(Request::from_parts(parts, body.to_bytes()))
        .map_err(|error| client::explain(&error))?;
    let response = client
        .execute(request)
        .await
        .map_err(|error| client::explain(&error))?;
    let status = response.status();
    let mut headers = response.headers().clone();
    dates.note(&uri, &headers);
    let body = client::read(response, LARGEST).await?;
    if status.is_success() {
        check_addresses(&headers, &body)?;
    }
    let retry_after = client::retry_after(&headers);
    answered(if status.is_success() {
        Answer::Success(retry_after)
    } else {
        Answer::Failure(Failure {
            status: status.as_u16(),
            retry_after,
            terms: problem::terms_of_service(&headers),
            body: body.clone(),
        })
    });
    // A refused nonce is answered with one that instant-acme uses at once; every other goes to the pool.
    if !is_head
        && status != StatusCode::BAD_REQUEST
        && let Some(nonce) = headers.remove(REPLAY_NONCE)
    {
        nonces.put(nonce);
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let (parts, ()) = response.into_parts();
    Ok(BytesResponse {
        parts,
        body: Box::new(Bytes::from(body)),
    })
}

/// Where an answer names the resources that are asked next (RFC 8555, section 7.1).
const ADDRESSES: [&str; 8] = [
    "authorizations",
    "certificate",
    "finalize",
    "newAccount",
    "newNonce",
    "newOrder",
    "renewalInfo",
    "url",
];

/// instant-acme takes what is named there for addresses, and panics where it cannot ask one of them.
fn check_addresses(headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let location = headers.get(LOCATION).map(|value| value.to_str());
    let is_good = match location {
        Some(Ok(text)) => is_address(text),
        Some(Err(_)) => false,
        None => true,
    };
    // A chain is no JSON.
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    if is_good && has_good_addresses(&value, false) {
        return Ok(());
    }
    Err("the answer names an address that is none".to_owned())
}

fn has_good_addresses(value: &Value, is_one: bool) -> bool {
    match value {
        Value::String(text) => !is_one || is_address(text),
        Value::Array(values) => values.iter().all(|value| has_good_addresses(value, is_one)),
        Value::Object(fields) => fields
            .iter()
            .all(|(name, value)| has_good_addresses(value, ADDRESSES.contains(&name.as_str()))),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

fn is_address(text: &str) -> bool {
    let uri: Result<Uri, _> = text.parse();
    uri.is_ok_and(|uri| uri.host().is_some()) && reqwest::Url::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_names_addresses_that_can_be_asked() {
        let check = |body: Value| check_addresses(&HeaderMap::new(), body.to_string().as_bytes());
        for good in [
            json!({"newOrder": "https://ca.test/order?a=b", "meta": {"website": "not looked at \n"}}),
            json!({"authorizations": ["https://127.0.0.1:14000/authZ/1"], "certificate": null}),
            json!({"challenges": [{"type": "http-01", "url": "https://ca.test/1", "token": "../.."}]}),
            json!([]),
        ] {
            assert_eq!(check(good.clone()), Ok(()), "{good}");
        }
        for bad in [
            json!({"newOrder": "https://ca.test/a b"}),
            json!({"authorizations": ["https://ca.test/1", "a\u{0}b"]}),
            json!({"challenges": [{"url": "-----BEGIN CERTIFICATE-----"}]}),
            json!({"finalize": ""}),
            json!({"finalize": "/relative"}),
        ] {
            check(bad.clone()).expect_err(&bad.to_string());
        }
        check_addresses(&HeaderMap::new(), b"-----BEGIN CERTIFICATE-----").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(
            LOCATION,
            HeaderValue::from_bytes(b"https://ca.test/\xff").unwrap(),
        );
        check_addresses(&headers, b"").unwrap_err();
    }
}

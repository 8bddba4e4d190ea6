//! What time it is by the answers of authorities: our own clock may be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use http::HeaderMap;
use http::Uri;
use http::header::DATE;
use time::OffsetDateTime;
use tokio::time::Instant;

/// The `Date` (RFC 9110, section 6.6.1) of the last answer of each host, and when it came by a clock that never jumps.
#[derive(Clone, Default)]
pub(super) struct Dates(Arc<Mutex<BTreeMap<String, (OffsetDateTime, Instant)>>>);

impl Dates {
    pub(super) fn note(&self, url: &str, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        if let (Some(host), Some(date)) = (host(url), date) {
            self.lock().insert(host, (date.into(), Instant::now()));
        }
    }

    /// What time it is by the host of a URL, if that has said so.
    pub(super) fn at(&self, url: &str) -> Option<OffsetDateTime> {
        let dates = self.lock();
        let (date, at) = dates.get(&host(url)?)?;
        time::Duration::try_from(at.elapsed()).ok().and_then(|passed| date.checked_add(passed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (OffsetDateTime, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn host(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(uri.authority()?.to_string())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use time::macros::datetime;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_date_goes_on_from_the_last_answer_of_its_host() {
        let dates = Dates::default();
        let mut headers = HeaderMap::new();
        let url = "https://ca.test:14000/acme/order/1";
        dates.note(url, &headers);
        assert_eq!(dates.at("https://ca.test:14000/directory"), None);
        headers.insert(DATE, HeaderValue::from_static("Sun, 22 Nov 2026 12:00:00 GMT"));
        dates.note(url, &headers);
        tokio::time::advance(std::time::Duration::from_secs(90)).await;
        let there = dates.at("https://ca.test:14000/directory");
        assert_eq!(there, Some(datetime!(2026-11-22 12:01:30 UTC)));
        assert_eq!(dates.at("https://other.test/directory"), None);
        headers.insert(DATE, HeaderValue::from_static("nonsense"));
        dates.note(url, &headers);
        assert_eq!(dates.at("https://ca.test:14000/directory"), there);
    }
}

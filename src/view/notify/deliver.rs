//! Brings notices to `NOTIFY_URL`, one request for each. The address is a secret: it stands in no error.

use reqwest::Client;
use reqwest::RequestBuilder;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;

use crate::client::RetryAfter;
use crate::client::explain;
use crate::client::retry_after;
use crate::config::NotifyFormat;
use crate::core::bundle::Secret;
use crate::core::text::timestamp;
use crate::view::notify::notice::Notice;
use crate::view::notify::notice::Severity;
use crate::view::notify::notice::cut;
use crate::view::notify::outbox::Queued;

/// ntfy makes a file of what is longer than 4,096 bytes.
const LONGEST_TEXT: usize = 4000;

/// Where notices go.
#[derive(Debug, Clone)]
pub struct Door {
    /// The client.
    pub client: Client,
    /// The address.
    pub url: Secret,
    /// How they are written.
    pub format: NotifyFormat,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It was taken.
    Delivered,
    /// It was not taken and may be later.
    Failed {
        /// Why.
        why: String,
        /// When to come again, if that was said.
        retry_after: Option<RetryAfter>,
    },
    /// It is not taken: address or format are wrong.
    Refused {
        /// Why.
        why: String,
    },
}

impl Door {
    /// Sends a notice.
    pub async fn send(&self, queued: &Queued) -> Sent {
        let post = self.client.post(self.url.reveal());
        let request = match self.format {
            NotifyFormat::Json => as_json(post, queued),
            NotifyFormat::Text => as_text(post, &queued.notice),
        };
        match request.send().await {
            // What it says besides is not read.
            Ok(response) => judge(response.status(), retry_after(response.headers())),
            Err(error) => Sent::Failed { why: explain(&error), retry_after: None },
        }
    }
}

fn judge(status: StatusCode, retry_after: Option<RetryAfter>) -> Sent {
    let why = format!("answered {}", status.as_u16());
    let may_pass = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    if status.is_success() {
        Sent::Delivered
    } else if status.is_redirection() {
        Sent::Refused { why: format!("{why}: redirects are not followed") }
    } else if status.is_client_error() && !may_pass.contains(&status) {
        Sent::Refused { why }
    } else {
        Sent::Failed { why, retry_after }
    }
}

/// What is sent as JSON: `docs/notices.md` tells of each field.
#[derive(Debug, Serialize)]
struct Body<'a> {
    text: String,
    kind: &'static str,
    severity: &'static str,
    title: &'a str,
    certificate: Option<&'a str>,
    url: Option<&'a str>,
    at: String,
    id: u64,
}

fn as_json(post: RequestBuilder, queued: &Queued) -> RequestBuilder {
    let notice = &queued.notice;
    post.json(&Body {
        text: without_markup(&notice.whole()),
        kind: notice.kind.word(),
        severity: notice.severity.word(),
        title: &notice.title,
        certificate: notice.certificate.as_deref(),
        url: notice.url.as_deref(),
        at: timestamp(notice.at),
        id: queued.id,
    })
}

/// As ntfy takes it.
fn as_text(post: RequestBuilder, notice: &Notice) -> RequestBuilder {
    let (priority, tag) = match notice.severity {
        Severity::Critical => ("5", "rotating_light"),
        Severity::Warning => ("4", "warning"),
        Severity::Info => ("3", "white_check_mark"),
    };
    let post = post
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header("Title", in_header(&notice.title))
        .header("Priority", priority)
        .header("Tags", format!("{tag},{}", notice.kind.word()));
    let post = match &notice.url {
        Some(url) => post.header("Click", in_header(url)),
        None => post,
    };
    post.body(cut(notice.text.clone(), LONGEST_TEXT))
}

/// Headers are ASCII without control characters.
fn in_header(text: &str) -> String {
    let printable = |char: char| if matches!(char, ' '..='~') { char } else { '?' };
    text.chars().map(printable).collect()
}

/// Foreign text calls nobody and hides no address: Slack reads `<!channel>` and `<address|words>`, Mattermost `@all`.
fn without_markup(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => plain.push('‹'),
            '>' => plain.push('›'),
            '@' => plain.push_str("@\u{200b}"),
            char => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    #[test]
    fn every_status_is_taken_refused_or_may_pass() {
        let later = Some(RetryAfter::In(Duration::HOUR));
        for status in 200..600 {
            let sent = judge(StatusCode::from_u16(status).unwrap(), later);
            match status {
                200..300 => assert_eq!(sent, Sent::Delivered, "{status}"),
                408 | 429 | 500.. => {
                    let why = format!("answered {status}");
                    let retry_after = later;
                    assert_eq!(sent, Sent::Failed { why, retry_after });
                }
                _ => assert!(matches!(sent, Sent::Refused { .. }), "{status}"),
            }
        }
    }

    #[test]
    fn foreign_text_calls_nobody() {
        let text = without_markup("<!channel> see <https://evil.test|here> @all");
        assert_eq!(text, "‹!channel› see ‹https://evil.test|here› @\u{200b}all");
    }

    #[test]
    fn headers_hold_no_second_line() {
        assert_eq!(in_header("a\r\nX: y ü"), "a??X: y ?");
    }
}

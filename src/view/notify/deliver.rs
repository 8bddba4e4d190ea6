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

/// Foreign text calls nobody, hides no address and sets no type: Slack reads `<!channel>`, `<address|words>` and
/// `&lt;`, Mattermost `@all`, HTML and Markdown. Neither has an escape that the other would not show, so what is markup
/// becomes what only looks like it. An address that is to be opened stays as it is.
fn without_markup(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for (number, word) in text.split_inclusive([' ', '\n']).enumerate() {
        let is_first = number == 0 || plain.ends_with('\n');
        let is_address = word.starts_with("https://") && !word.contains(NEVER_IN_ADDRESSES);
        if is_address {
            plain.push_str(word);
        } else {
            push_without_markup(&mut plain, word, is_first);
        }
    }
    plain
}

/// An address with one of these in it is not taken for one (RFC 3986, section 2: they are to be encoded, or end it).
const NEVER_IN_ADDRESSES: [char; 10] = ['<', '>', '[', ']', '(', ')', '|', '`', '*', '@'];

fn push_without_markup(plain: &mut String, word: &str, begins_line: bool) {
    let is_inner = |at: usize| {
        let is_of_word = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        is_of_word(word[..at].chars().next_back()) && is_of_word(word[at + 1..].chars().next())
    };
    for (at, char) in word.char_indices() {
        match char {
            '<' => plain.push('‹'),
            '>' => plain.push('›'),
            '&' => plain.push('＆'),
            '@' => plain.push_str("@\u{200b}"),
            '*' => plain.push('∗'),
            '~' => plain.push('∼'),
            '`' => plain.push('ˋ'),
            '|' => plain.push('¦'),
            '[' => plain.push('⁅'),
            ']' => plain.push('⁆'),
            '\\' => plain.push('∖'),
            // Between letters it is part of a name.
            '_' if !is_inner(at) => plain.push('ˍ'),
            '#' | '+' | '-' | '=' if begins_line && at == 0 => {
                plain.push('\u{200b}');
                plain.push(char);
            }
            char => plain.push(char),
        }
    }
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
        assert_eq!(text, "‹!channel› see ‹https://evil.test¦here› @\u{200b}all");
    }

    #[test]
    fn foreign_text_is_neither_markdown_nor_html() {
        let cases = [
            ("[log in](https://evil.test)", "⁅log in⁆(https://evil.test)"),
            ("https://ca.test](https://evil.test)", "https://ca.test⁆(https://evil.test)"),
            ("![x](https://evil.test/a.png)", "!⁅x⁆(https://evil.test/a.png)"),
            ("**OK** _all_ ~well~ `now`", "∗∗OK∗∗ ˍallˍ ∼well∼ ˋnowˋ"),
            ("a\n# OK\n- b\n---", "a\n\u{200b}# OK\n\u{200b}- b\n\u{200b}---"),
            ("&lt;!channel&gt; <b>", "＆lt;!channel＆gt; ‹b›"),
            ("a | b\n\\*", "a ¦ b\n∖∗"),
        ];
        for (foreign, shown) in cases {
            assert_eq!(without_markup(foreign), shown);
        }
        for same in ["see https://ca.test/a_b?c=_d&e=~f now", "not_after of a-b.example.com, 5 - 3"]
        {
            assert_eq!(without_markup(same), same);
        }
    }

    #[test]
    fn headers_hold_no_second_line() {
        assert_eq!(in_header("a\r\nX: y ü"), "a??X: y ?");
    }
}

//! What is told, in the words that people read.

use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;

use crate::core::text::is_plain;
use crate::core::text::one_line;
use crate::core::text::plain;
use crate::core::text::timestamp;
use crate::view::status::Part;
use crate::view::status::certificate::Certificate;

/// Longer texts are cut.
const LONGEST: usize = 16 << 10;
/// How many things a list names.
const MOST_LISTED: usize = 20;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What is served has expired, or is about to.
    AtRisk,
    /// The authority has paused names until a person opens its address.
    Paused,
    /// Nothing gets better before a person acts.
    NeedsPerson,
    /// Something fails for a certificate.
    Failing,
    /// Something that everything depends on has been out of order for a while.
    Trouble,
    /// What was told before is over.
    Recovered,
    /// Once a day, everything that is wrong.
    Digest,
}

impl Kind {
    /// Every one, the worst first.
    pub const ALL: [Self; 7] = [
        Self::AtRisk,
        Self::Paused,
        Self::NeedsPerson,
        Self::Failing,
        Self::Trouble,
        Self::Recovered,
        Self::Digest,
    ];

    /// As it stands in what is sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::AtRisk => "at-risk",
            Self::Paused => "paused",
            Self::NeedsPerson => "needs-person",
            Self::Failing => "failing",
            Self::Trouble => "trouble",
            Self::Recovered => "recovered",
            Self::Digest => "digest",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::AtRisk => Severity::Critical,
            Self::Paused | Self::NeedsPerson | Self::Failing | Self::Trouble | Self::Digest => {
                Severity::Warning
            }
            Self::Recovered => Severity::Info,
        }
    }

    /// What is said of one, and of several.
    fn claim(self) -> (&'static str, &'static str) {
        match self {
            Self::AtRisk => ("is at risk", "are at risk"),
            Self::Paused => ("is paused by the CA", "are paused by the CA"),
            Self::NeedsPerson => ("needs a person", "need a person"),
            Self::Failing | Self::Trouble | Self::Digest => ("fails", "fail"),
            Self::Recovered => ("has recovered", "have recovered"),
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good news.
    Info,
    /// There is time.
    Warning,
    /// People may see it already.
    Critical,
}

impl Severity {
    /// As it stands in what is sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What it is about.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// The certificate, if it is about one.
    pub certificate: Option<String>,
    /// One line.
    pub title: String,
    /// What is to be known besides.
    pub text: String,
    /// An address that the authority gives for it.
    pub url: Option<String>,
    /// When it was noticed.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl Notice {
    /// Whatever stands in title and lines, each stays one line.
    fn new(kind: Kind, title: String, lines: &[String], at: OffsetDateTime) -> Self {
        let lines: Vec<String> = lines.iter().map(|line| plain(line)).collect();
        let title = plain(&title);
        Self {
            kind,
            severity: kind.severity(),
            certificate: None,
            title,
            text: cut(lines.join("\n"), LONGEST),
            url: None,
            at,
        }
    }

    /// Something about a certificate: what, what can be done, how much time is left, what happens next.
    pub(super) fn of_certificate(
        kind: Kind,
        certificate: &Certificate,
        now: OffsetDateTime,
    ) -> Self {
        let problem = certificate.problem.as_ref();
        let mut lines = vec![what_of(certificate)];
        let advice = problem.and_then(|problem| problem.advice.as_deref());
        lines.extend(advice.map(|advice| format!("What to do: {advice}")));
        // No other kind of address is to be opened by whoever clicks on it.
        let is_safe = |link: &String| link.starts_with("https://") && is_plain(link);
        let link = problem.and_then(|problem| problem.link.clone()).filter(is_safe);
        lines.extend(link.iter().map(|link| format!("Address: {link}")));
        lines.push(time_left(certificate, now));
        let next = certificate.next.as_ref();
        lines.extend(
            next.map(|next| {
                format!("{}, at {}", sentence(&one_line(&next.what)), timestamp(next.at))
            }),
        );
        let name = &certificate.name;
        let is_over = certificate.expires_at.is_some_and(|at| at <= now);
        let title = match kind {
            Kind::AtRisk if is_over => format!("{name} has expired"),
            Kind::AtRisk
            | Kind::Paused
            | Kind::NeedsPerson
            | Kind::Failing
            | Kind::Trouble
            | Kind::Recovered
            | Kind::Digest => format!("{name} {}", kind.claim().0),
        };
        Self { certificate: Some(name.clone()), url: link, ..Self::new(kind, title, &lines, now) }
    }

    /// What was told of a certificate is over.
    pub(super) fn recovered(certificate: &Certificate, was: &str, now: OffsetDateTime) -> Self {
        let lines = [before(was), time_left(certificate, now)];
        let title = format!("{} {}", certificate.name, Kind::Recovered.claim().0);
        Self {
            certificate: Some(certificate.name.clone()),
            ..Self::new(Kind::Recovered, title, &lines, now)
        }
    }

    /// A certificate of which something was told is not wanted any more.
    pub(super) fn unwanted(name: &str, was: &str, now: OffsetDateTime) -> Self {
        let lines = [before(was)];
        let title = format!("{name} is not wanted any more");
        Self {
            certificate: Some(name.to_owned()),
            ..Self::new(Kind::Recovered, title, &lines, now)
        }
    }

    /// Something that everything depends on does not work.
    pub(super) fn trouble(part: &Part, since: OffsetDateTime, now: OffsetDateTime) -> Self {
        let mut lines = vec![one_line(&part.detail)];
        let advice = part.advice.as_deref();
        lines.extend(advice.map(|advice| format!("What to do: {advice}")));
        lines.push(format!("Since: {}", timestamp(since)));
        Self::new(Kind::Trouble, format!("trouble with {}", part.name), &lines, now)
    }

    /// Something that everything depends on works again.
    pub(super) fn works_again(name: &str, was: &str, now: OffsetDateTime) -> Self {
        Self::new(Kind::Recovered, format!("{name} works again"), &[before(was)], now)
    }

    /// Many notices of one kind as one.
    pub(super) fn summary(kind: Kind, all: &[&Self], now: OffsetDateTime) -> Self {
        let lines = all.iter().map(|notice| {
            let first = notice.text.lines().next().unwrap_or_default();
            format!("{}: {first}", notice.title)
        });
        let title = format!("{} certificates {}", all.len(), kind.claim().1);
        Self {
            url: all.iter().find_map(|notice| notice.url.clone()),
            ..Self::new(kind, title, &listed(lines), now)
        }
    }

    /// Everything that is wrong.
    pub(super) fn digest(wrong: &[String], is_critical: bool, now: OffsetDateTime) -> Self {
        let title = match wrong.len() {
            1 => "1 thing is still wrong".to_owned(),
            count => format!("{count} things are still wrong"),
        };
        let notice = Self::new(Kind::Digest, title, &listed(wrong.iter().cloned()), now);
        Self { severity: if is_critical { Severity::Critical } else { notice.severity }, ..notice }
    }

    /// Title and text.
    pub fn whole(&self) -> String {
        format!("{}\n{}", self.title, self.text)
    }
}

/// What is wrong with a certificate, in one line.
pub(super) fn what_of(certificate: &Certificate) -> String {
    let problem = certificate.problem.as_ref();
    one_line(problem.map_or(&certificate.reason, |problem| &problem.what))
}

/// A text of at most so many bytes.
pub(super) fn cut(mut text: String, most: usize) -> String {
    if most < text.len() {
        text.truncate(text.floor_char_boundary(most.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

/// Begins with a capital letter.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|char| char.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

fn before(was: &str) -> String {
    format!("Before: {was}")
}

fn time_left(certificate: &Certificate, now: OffsetDateTime) -> String {
    match certificate.expires_at {
        None => "There is no certificate yet".to_owned(),
        Some(at) if at <= now => format!("Expired: {}", timestamp(at)),
        Some(at) => {
            let left = at - now;
            let left = match (left.whole_days(), left.whole_hours()) {
                (0, hours) => format!("{hours} hours"),
                (1, _) => "1 day".to_owned(),
                (days, _) => format!("{days} days"),
            };
            format!("Valid until: {} ({left} left)", timestamp(at))
        }
    }
}

fn listed(lines: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST_LISTED);
    // A line of a list is short, so that the list is not cut.
    let mut listed: Vec<String> =
        lines.take(MOST_LISTED).map(|line| cut(line, LONGEST / (2 * MOST_LISTED))).collect();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed
}

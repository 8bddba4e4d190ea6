//! The status page: everything in [`Status`] as one page that needs nothing from elsewhere and no scripts.
//!
//! Templates, style sheet and script lie beside this file and are compiled in. Whatever a template shows goes through
//! `escape`, so that no text of others is ever markup; no template uses `safe`.

use askama::Template;
use askama::filters::Safe;
use time::OffsetDateTime;

use crate::core::wanted::LABEL;
use crate::view::page::certificate::Outcome;
use crate::view::page::certificate::Row;
use crate::view::page::words::Moment;
use crate::view::page::words::Piece;
use crate::view::status::Health;
use crate::view::status::Phase;
use crate::view::status::Status;
use crate::view::status::certificate::Copy;

mod authority;
mod certificate;
mod escape;
mod life;
mod words;

/// The style sheet.
pub const STYLE: &str = include_str!("page/style.css");

/// Keeps the page fresh where scripts run.
pub const SCRIPT: &str = include_str!("page/refresh.js");

/// The picture in the tab.
pub const ICON: &str = include_str!("page/icon.svg");

/// Of lists that may be very long, so many are shown at once.
const SHOWN: usize = 20;

/// With more certificates than this the page is asked for less often, and well ones are shown without a life line.
const MANY: usize = 200;

/// The page.
pub fn render(status: &Status) -> askama::Result<String> {
    let page = Page { status, now: status.at, groups: groups(status) };
    page.render()
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    status: &'a Status,
    now: OffsetDateTime,
    groups: Vec<Group<'a>>,
}

/// Certificates that stand alike.
struct Group<'a> {
    health: Health,
    rows: Vec<Row<'a>>,
}

impl Group<'_> {
    /// The state, behind a number.
    fn label(&self) -> &'static str {
        match (self.health, self.rows.len()) {
            (Health::Attention, 2..) => "need attention",
            (health, _) => health.label(),
        }
    }
}

fn groups(status: &Status) -> Vec<Group<'_>> {
    let is_short = status.certificates.len() <= MANY;
    let groups = Health::ALL.into_iter().map(|health| {
        let alike = status.certificates.iter().filter(|certificate| certificate.health == health);
        let has_life = is_short || health.needs_attention();
        Group {
            health,
            rows: alike.map(|certificate| Row::new(certificate, has_life, status)).collect(),
        }
    });
    groups.filter(|group| !group.rows.is_empty()).collect()
}

/// A list, cut where it gets too long.
struct Cut<'a, T> {
    shown: &'a [T],
    rest: &'a [T],
}

impl<'a, T> Cut<'a, T> {
    fn of(all: &'a [T]) -> Self {
        let (shown, rest) = all.split_at(all.len().min(SHOWN));
        Self { shown, rest }
    }
}

// What the templates ask for.
impl Page<'_> {
    /// The state in a few words, as the title and the top of the page begin.
    fn headline(&self) -> String {
        let status = self.status;
        match &status.phase {
            Phase::Starting => "Starting".to_owned(),
            Phase::Waiting { .. } => "Not started".to_owned(),
            Phase::StandingBy { .. } => "Standing by".to_owned(),
            Phase::NotRunning => "Not running".to_owned(),
            Phase::Running => match (status.health, status.needs_attention) {
                (Health::Ok, _) if status.certificates.is_empty() => "Nothing wanted".to_owned(),
                (Health::Ok, _) => "OK".to_owned(),
                (Health::AtRisk, _) => "At risk".to_owned(),
                (Health::Working, _) => "Working".to_owned(),
                (Health::Waiting, _) => "Waiting".to_owned(),
                (Health::Attention, _) => "Needs attention".to_owned(),
            },
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.status.phase, Phase::Running | Phase::NotRunning)
    }

    /// Who holds the store, as one more thing that everything depends on.
    fn lock(&self) -> (Health, String) {
        match &self.status.phase {
            Phase::Running => (Health::Ok, "active: this instance holds the store".to_owned()),
            Phase::StandingBy { holder } => (
                Health::Waiting,
                format!("standing by: another instance holds the store: {holder}"),
            ),
            Phase::Waiting { reason } => {
                (Health::Attention, format!("not held: the store cannot be used: {reason}"))
            }
            Phase::Starting => {
                (Health::Working, "starting: the first pass has not ended yet".to_owned())
            }
            Phase::NotRunning => (Health::Waiting, "no daemon runs".to_owned()),
        }
    }

    /// What stands in the place of the certificates while none are known, and why.
    fn before_certificates(&self) -> &'static str {
        match self.status.phase {
            Phase::StandingBy { .. } => {
                "The instance that holds the store works on the certificates and shows them on its own page. \
                 This one takes over as soon as the other ends."
            }
            Phase::Waiting { .. } => {
                "Certificates are looked at as soon as the store can be used; it is tried again by itself."
            }
            Phase::Starting | Phase::Running | Phase::NotRunning => {
                "Certificates are shown here once the first pass has ended."
            }
        }
    }

    fn seconds_to_refresh(&self) -> usize {
        if self.status.certificates.len() > MANY { 60 } else { 15 }
    }

    fn label(&self) -> &'static str {
        LABEL
    }

    fn cut<'a, T>(&self, all: &'a [T]) -> Cut<'a, T> {
        Cut::of(all)
    }

    fn at(&self, at: &OffsetDateTime) -> Safe<Moment> {
        words::moment(*at)
    }

    fn when(&self, at: &OffsetDateTime) -> String {
        words::when(*at, self.now)
    }

    fn soon(&self, at: &OffsetDateTime) -> String {
        words::when((*at).max(self.now), self.now)
    }

    fn left(&self, at: &OffsetDateTime) -> String {
        words::left(*at, self.now)
    }

    fn text(&self, text: &str) -> String {
        words::text(text)
    }

    fn pieces<'a>(&self, text: &'a str) -> impl Iterator<Item = Piece<'a>> {
        words::pieces(text)
    }

    fn count(&self, number: usize, one: &str, more: &str) -> String {
        words::count(number, one, more)
    }

    fn failures(&self, number: &u32) -> String {
        words::count(*number as usize, "failure", "failures")
    }

    /// A sign for those who see it; its word always stands beside it.
    fn sign(&self, health: &Health) -> &'static str {
        match health {
            Health::Ok => "✓",
            Health::Working => "↻",
            Health::Waiting => "⋯",
            Health::Attention => "!",
            Health::AtRisk => "✕",
        }
    }

    /// An address that may be linked to.
    fn https<'a>(&self, link: &'a Option<String>) -> Option<&'a str> {
        let link = link.as_deref()?;
        link.starts_with("https://").then_some(link)
    }
}

#[cfg(test)]
mod tests;

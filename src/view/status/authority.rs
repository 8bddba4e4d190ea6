//! How the authorities stand: what is left of their limits, and what waits there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;

use crate::core::schedule;
use crate::store::ledger::Subject;
use crate::view::status::OnRecord;
use crate::view::status::certificate::Problem;

/// One authority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Authority {
    /// Its directory URL.
    pub directory: String,
    /// Whether it is the wanted one.
    pub is_wanted: bool,
    /// Whether limits are kept for it.
    pub keeps_limits: bool,
    /// Limits of which something is used.
    pub budgets: Vec<Budget>,
    /// What waits because of it.
    pub waits: Vec<Wait>,
}

/// What is left of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// What is counted, in plain words.
    pub what: String,
    /// The kind of limit, one of a few words.
    pub kind: String,
    /// How much is used.
    pub used: u32,
    /// How much there is.
    pub limit: u32,
    /// In how many seconds all of it comes back.
    pub window_seconds: i64,
    /// When one more comes back.
    #[serde(with = "time::serde::rfc3339")]
    pub refills_at: OffsetDateTime,
    /// When all of it is back.
    #[serde(with = "time::serde::rfc3339")]
    pub full_at: OffsetDateTime,
}

impl Budget {
    /// How much is left.
    pub fn left(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

/// What has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waiting {
    /// One name.
    Name,
    /// Everything of our account.
    Account,
    /// Everything that is asked of the authority.
    Authority,
}

impl Waiting {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Name, Self::Account, Self::Authority];

    /// As it stands in the document and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Account => "account",
            Self::Authority => "authority",
        }
    }
}

/// A wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What kind of thing waits.
    pub kind: Waiting,
    /// What waits: a name, the account, the authority.
    pub about: String,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// How many failures there were in a row.
    pub failures: u32,
    /// Why.
    pub problem: Problem,
}

/// The authorities that anything is known of, the wanted one first.
pub(super) fn authorities(on_record: &OnRecord<'_>, now: OffsetDateTime) -> Vec<Authority> {
    let wanted = on_record.policy.wanted_directory();
    let mut all = BTreeMap::from([(wanted.to_owned(), Vec::new())]);
    for (subject, wait) in on_record.ledger.waits() {
        let Some((directory, kind, about)) = about(subject) else {
            continue;
        };
        // A breaker that is closed holds nothing up.
        let is_open =
            !matches!(subject, Subject::Authority { .. }) || schedule::is_open(wait.failures);
        if now < wait.until && is_open {
            all.entry(directory.to_owned()).or_default().push(Wait {
                kind,
                about,
                until: wait.until,
                failures: wait.failures,
                problem: Problem::new(&wait.detail, wait.failure_kind, wait.address.as_deref()),
            });
        }
    }
    for level in on_record.ledger.levels().iter(now) {
        all.entry(level.bucket.directory().to_owned()).or_default();
    }
    let mut authorities: Vec<Authority> = all
        .into_iter()
        .map(|(directory, mut waits)| {
            waits.sort_by_key(|wait| wait.until);
            Authority {
                is_wanted: directory == wanted,
                keeps_limits: (on_record.limits)(&directory).is_some(),
                budgets: budgets(on_record, &directory, now),
                waits,
                directory,
            }
        })
        .collect();
    authorities.sort_by_key(|authority| !authority.is_wanted);
    authorities
}

fn budgets(on_record: &OnRecord<'_>, directory: &str, now: OffsetDateTime) -> Vec<Budget> {
    let Some(limits) = (on_record.limits)(directory) else {
        return Vec::new();
    };
    let levels = on_record.ledger.levels();
    let mut budgets: Vec<Budget> = levels
        .iter(now)
        .filter(|level| level.bucket.directory() == directory)
        .map(|level| {
            let limit = level.bucket.limit(limits);
            let used = levels.used(&level.bucket, limits, now);
            let more = i32::try_from(used.saturating_sub(1)).unwrap_or(i32::MAX);
            Budget {
                what: level.bucket.to_string(),
                kind: level.bucket.kind().to_owned(),
                used,
                limit: limit.burst,
                window_seconds: limit.window().whole_seconds(),
                refills_at: level.full_at.saturating_sub(limit.refill * more),
                full_at: level.full_at,
            }
        })
        .collect();
    budgets.sort_by(|a, b| {
        let left =
            |budget: &Budget| u64::from(budget.left()) * 1000 / u64::from(budget.limit.max(1));
        left(a).cmp(&left(b)).then_with(|| a.what.cmp(&b.what))
    });
    budgets
}

/// What a wait at an authority is about.
fn about(subject: &Subject) -> Option<(&str, Waiting, String)> {
    match subject {
        Subject::Name { directory, name, .. } => Some((directory, Waiting::Name, name.to_string())),
        Subject::Account { directory } => {
            Some((directory, Waiting::Account, "the account".to_owned()))
        }
        Subject::Authority { directory } => {
            Some((directory, Waiting::Authority, "the authority".to_owned()))
        }
        Subject::SelfCheck { .. }
        | Subject::Attempt { .. }
        | Subject::Push { .. }
        | Subject::Wake
        | Subject::Key { .. }
        | Subject::Change { .. }
        | Subject::Overruled { .. } => None,
    }
}

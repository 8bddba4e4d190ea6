//! What is news: by what was told before, how everything stands, and `now`. Pure.
//!
//! | seen of a certificate | told before | news |
//! | --- | --- | --- |
//! | well | nothing | none |
//! | well | something | recovered |
//! | working or waiting | anything | none: what was told stays as it is |
//! | needs attention | not this kind of problem | failing, needs a person, or paused; a risk that was told is over |
//! | at risk | not that it is | at risk |
//! | expired | not that it has | at risk |
//!
//! Problems that usually pass by themselves, and parts of the dependencies, are news once they have lasted.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::core::reaction::Backoff;
use crate::core::reaction::FailureKind;
use crate::core::reaction::Reaction;
use crate::core::reaction::word;
use crate::core::text::timestamp;
use crate::view::notify::PART;
use crate::view::notify::notice::Kind;
use crate::view::notify::notice::Notice;
use crate::view::notify::notice::cut;
use crate::view::notify::notice::what_of;
use crate::view::status;
use crate::view::status::Health;
use crate::view::status::Part;
use crate::view::status::Phase;
use crate::view::status::Status;
use crate::view::status::certificate::Certificate;
use crate::view::status::certificate::Problem;

/// How long that lasts which is no blip.
pub const LASTING: Duration = status::LASTING;
/// Certificates that are told of one by one in a round; if there are more they are summed up, once in a round.
pub const SINGLES: usize = 5;
/// How long a round is.
pub const ROUND: Duration = Duration::minutes(15);
/// How often everything that is wrong is told.
pub const DIGEST: Duration = Duration::DAY;

const AT_RISK: &str = "at-risk";
const EXPIRED: &str = "expired";
const TROUBLE: &str = "trouble";
/// How much is kept of what was wrong.
const LONGEST: usize = 400;

/// What was told. It survives restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notified {
    certificates: BTreeMap<String, Open>,
    dependencies: BTreeMap<String, Open>,
    /// When everything that is wrong is told next; none while nothing is.
    #[serde(with = "time::serde::rfc3339::option")]
    digest_at: Option<OffsetDateTime>,
    round: Option<Round>,
}

/// Something that is wrong, or may turn out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
    /// The kinds that were told of it; none if it has not lasted yet.
    #[serde(alias = "told")]
    notified: BTreeSet<String>,
    /// In plain words, as it was told last.
    what: String,
}

/// How much was told since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Round {
    #[serde(with = "time::serde::rfc3339")]
    began_at: OffsetDateTime,
    singles: usize,
    is_summed_up: bool,
}

/// What is to be told, and what was told when that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What was told then.
    pub notified: Notified,
    /// What is to be told.
    pub notices: Vec<Notice>,
}

impl News {
    /// What is new about how everything stands. Before the loop turns nothing is known, and nothing is new.
    pub fn between(notified: &Notified, status: &Status, now: OffsetDateTime) -> Self {
        let mut news = Self { notified: notified.clone(), notices: Vec::new() };
        if status.phase == Phase::Running {
            news.look_at_dependencies(status, now);
            news.look_at_certificates(status, now);
            news.look_at_the_day(now);
        }
        news
    }

    fn look_at_dependencies(&mut self, status: &Status, now: OffsetDateTime) {
        let parts: BTreeMap<&str, &Part> = status
            .dependencies
            .iter()
            .filter(|part| part.name != PART)
            .map(|part| (part.name.as_str(), part))
            .collect();
        let known = &mut self.notified.dependencies;
        for part in parts.values().filter(|part| part.health.needs_attention()) {
            let open = open(known, &part.name, now);
            open.since = part.since.map_or(open.since, |since| since.min(open.since));
            if open.notified.is_empty() && open.lasts(now) {
                open.notified.insert(TROUBLE.to_owned());
                open.what = cut(part.detail.clone(), LONGEST);
                self.notices.push(Notice::trouble(part, open.since, now));
            }
        }
        let notices = &mut self.notices;
        known.retain(|name, open| {
            // What is told of only while it is out of order is well when it is not there.
            let health = parts.get(name.as_str()).map(|part| part.health);
            let is_over = health.is_none_or(|health| health == Health::Ok);
            if is_over && !open.notified.is_empty() {
                notices.push(Notice::works_again(name, &open.what, now));
            }
            !is_over
        });
    }

    fn look_at_certificates(&mut self, status: &Status, now: OffsetDateTime) {
        let mut items: Vec<Item> = Vec::new();
        for certificate in &status.certificates {
            items.extend(look_at(&mut self.notified.certificates, certificate, now));
        }
        items.extend(self.vanished(status, now));
        if items.is_empty() {
            return;
        }
        let round = self.notified.round.take();
        let round = self.notified.round.insert(
            round.filter(|round| is_within(round.began_at, ROUND, now)).unwrap_or(Round {
                began_at: now,
                singles: 0,
                is_summed_up: false,
            }),
        );
        if round.singles + items.len() <= SINGLES {
            round.singles += items.len();
            self.notices.extend(items.iter().map(|item| item.notice.clone()));
        } else if round.is_summed_up {
            // They are found again, and told in the next round.
            return;
        } else {
            round.is_summed_up = true;
            self.notices.extend(summed_up(&items, now));
        }
        for item in items {
            match item.then {
                Some(open) => self.notified.certificates.insert(item.name, open),
                None => self.notified.certificates.remove(&item.name),
            };
        }
    }

    /// Certificates that nobody wants any more, as long as it is known what is wanted.
    fn vanished(&mut self, status: &Status, now: OffsetDateTime) -> Vec<Item> {
        let tells = ["destination", "source", "balancers", "store"];
        // While balancers are worked on, their list was read.
        let is_unsure = |part: &Part| !matches!(part.health, Health::Ok | Health::Working);
        let mut parts = status.dependencies.iter();
        if parts.any(|part| tells.contains(&part.name.as_str()) && is_unsure(part)) {
            return Vec::new();
        }
        let wanted: BTreeSet<&str> =
            status.certificates.iter().map(|certificate| certificate.name.as_str()).collect();
        let known = &mut self.notified.certificates;
        known.retain(|name, open| wanted.contains(name.as_str()) || !open.notified.is_empty());
        known
            .iter()
            .filter(|(name, _)| !wanted.contains(name.as_str()))
            .map(|(name, open)| Item {
                name: name.clone(),
                notice: Notice::unwanted(name, &open.what, now),
                then: None,
            })
            .collect()
    }

    fn look_at_the_day(&mut self, now: OffsetDateTime) {
        let mut wrong: Vec<(bool, OffsetDateTime, String)> = Vec::new();
        for (name, open) in self.notified.dependencies.iter().chain(&self.notified.certificates) {
            let since = timestamp(open.since);
            let line = format!("{name}: {} (since {since})", open.what);
            let is_critical = open.notified.contains(AT_RISK);
            if !open.notified.is_empty() {
                wrong.push((!is_critical, open.since, line));
            }
        }
        if wrong.is_empty() {
            self.notified.digest_at = None;
            return;
        }
        // After a clock was set back the time on record may lie far ahead.
        let at = self.notified.digest_at.unwrap_or(now + DIGEST).min(now + DIGEST);
        self.notified.digest_at = Some(at);
        if now < at {
            return;
        }
        self.notified.digest_at = Some(now + DIGEST);
        wrong.sort();
        let is_critical = wrong.first().is_some_and(|(is_mild, ..)| !is_mild);
        let lines: Vec<String> = wrong.into_iter().map(|(.., line)| line).collect();
        self.notices.push(Notice::digest(&lines, is_critical, now));
    }
}

/// News of one certificate.
struct Item {
    name: String,
    notice: Notice,
    /// What stays open when it was told.
    then: Option<Open>,
}

fn look_at(
    known: &mut BTreeMap<String, Open>,
    certificate: &Certificate,
    now: OffsetDateTime,
) -> Option<Item> {
    let name = &certificate.name;
    match certificate.health {
        Health::Working | Health::Waiting => None,
        Health::Ok => {
            let open = known.get(name)?;
            if open.notified.is_empty() {
                known.remove(name);
                return None;
            }
            Some(Item {
                name: name.clone(),
                notice: Notice::recovered(certificate, &open.what, now),
                then: None,
            })
        }
        Health::Attention | Health::AtRisk => {
            let open = open(known, name, now);
            // Another one is served by now: when that comes to its end, it is news again, whatever else is wrong.
            let is_known = certificate.at_destination.whole().is_some();
            if certificate.health == Health::Attention && is_known {
                open.notified.retain(|word| word != AT_RISK && word != EXPIRED);
            }
            let (kind, words) = fresh(open, certificate, now)?;
            let mut then = open.clone();
            then.notified.extend(words);
            then.what = cut(what_of(certificate), LONGEST);
            Some(Item {
                name: name.clone(),
                notice: Notice::of_certificate(kind, certificate, now),
                then: Some(then),
            })
        }
    }
}

/// What has not been told of a certificate: the worst of it, and words for all of it.
fn fresh(
    open: &Open,
    certificate: &Certificate,
    now: OffsetDateTime,
) -> Option<(Kind, Vec<String>)> {
    let problem = certificate.problem.as_ref();
    let mut words = Vec::new();
    let mut worst = None;
    // As long as nothing was tried in vain, time left is made good within minutes of a start.
    let is_at_risk = certificate.health == Health::AtRisk;
    if is_at_risk && (problem.is_some() || open.lasts(now)) {
        words.push(AT_RISK.to_owned());
        let is_over = certificate.expires_at.is_some_and(|at| at <= now);
        words.extend(is_over.then(|| EXPIRED.to_owned()));
        words.retain(|word| !open.notified.contains(word));
        worst = (!words.is_empty()).then_some(Kind::AtRisk);
    }
    if let Some(problem) = problem
        && (worst.is_some() || open.lasts(now) || !passes(problem))
    {
        let word = word(problem.kind);
        if !open.notified.contains(&word) {
            words.push(word);
            worst = worst.or_else(|| Some(kind_of(problem)));
        }
    }
    worst.map(|worst| (worst, words))
}

fn kind_of(problem: &Problem) -> Kind {
    if problem.kind == Some(FailureKind::Paused) {
        Kind::Paused
    } else if problem.needs_person {
        Kind::NeedsPerson
    } else {
        Kind::Failing
    }
}

/// Whether it is tried again by itself within minutes, or ends at a known time.
fn passes(problem: &Problem) -> bool {
    let Some(row) = problem.kind.map(FailureKind::row) else {
        return true;
    };
    match row.reaction {
        Reaction::Retry | Reaction::Wait => true,
        Reaction::Person => false,
        Reaction::Change => row.backoff == Backoff::Setback,
    }
}

/// One notice for each kind.
fn summed_up(items: &[Item], now: OffsetDateTime) -> Vec<Notice> {
    let of = |kind: Kind| {
        let notices = items.iter().map(|item| &item.notice);
        let all: Vec<&Notice> = notices.filter(|notice| notice.kind == kind).collect();
        match all.as_slice() {
            [] => None,
            [one] => Some((*one).clone()),
            all => Some(Notice::summary(kind, all, now)),
        }
    };
    Kind::ALL.into_iter().filter_map(of).collect()
}

fn open<'a>(
    known: &'a mut BTreeMap<String, Open>,
    name: &str,
    now: OffsetDateTime,
) -> &'a mut Open {
    let open = known.entry(name.to_owned()).or_insert_with(|| Open {
        since: now,
        notified: BTreeSet::new(),
        what: String::new(),
    });
    // After a clock was set back it may lie ahead.
    open.since = open.since.min(now);
    open
}

impl Open {
    fn lasts(&self, now: OffsetDateTime) -> bool {
        LASTING <= now - self.since
    }
}

fn is_within(began_at: OffsetDateTime, time: Duration, now: OffsetDateTime) -> bool {
    began_at <= now && now - began_at < time
}

#[cfg(test)]
mod tests;

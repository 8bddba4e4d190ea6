//! How everything stands, as one document: what the page, `/status.json`, the metrics, the notices and the command
//! line show. Pure: it is made from what a pass has found, what is on record, and `now`.
//!
//! The document is versioned by [`SCHEMA`]; fields are added freely, and none changes its meaning under the same
//! number. It holds no secrets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::core::budget::Limits;
use crate::decide::classify::Policy;
use crate::ports::counted::tally::Tally;
use crate::store::ledger::Ledger;
use crate::work::context::ClockSeen;
use crate::work::daemon::Snapshot;

pub mod authority;
pub mod certificate;
mod failed;
pub mod live;
mod summary;
pub mod dependencies;

use authority::Authority;
use certificate::Certificate;
use certificate::since::since;
use dependencies::parts;
use failed::Failed;

/// How long that lasts which is no blip.
pub const LASTING: Duration = Duration::minutes(15);

/// The version of the document.
pub const SCHEMA: u32 = 1;

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of this document: [`SCHEMA`].
    pub schema: u32,
    /// The version of the program.
    pub version: String,
    /// What the destination calls itself.
    pub destination: String,
    /// When this was looked up.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// When the program started.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// What the program does at present.
    pub phase: Phase,
    /// The worst of everything below.
    pub health: Health,
    /// How everything stands, in one sentence.
    pub sentence: String,
    /// How many certificates a person should look at.
    pub needs_attention: usize,
    /// When the last pass ended, and how long it took.
    pub last_pass: Option<Pass>,
    /// When the next pass begins at the latest.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_pass_at: Option<OffsetDateTime>,
    /// The certificates, worst first.
    pub certificates: Vec<Certificate>,
    /// Names that were left out or moved, and why.
    pub notices: Vec<String>,
    /// The authorities: the wanted one first.
    pub authorities: Vec<Authority>,
    /// What everything depends on.
    pub dependencies: Vec<Part>,
    /// The clock of this machine beside that of a CA; none before they were compared.
    #[serde(default)]
    pub clock: Option<Clocks>,
    /// Whether balancers are to be told to read their certificates again.
    pub is_wake_owed: bool,
    /// The settings in force; secrets are only said to be set.
    pub settings: Vec<Setting>,
}

impl Status {
    /// Whether the destination has balancers that take certificates from it.
    pub fn has_balancers(&self) -> bool {
        self.dependencies.iter().any(|part| part.name == "balancers")
    }
}

/// What the program does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Phase {
    /// It has not ended its first pass.
    Starting,
    /// The store cannot be used yet, and why.
    Waiting {
        /// Why.
        reason: String,
    },
    /// Another instance holds the store.
    StandingBy {
        /// Who, and since when.
        holder: String,
    },
    /// The loop turns.
    Running,
    /// No daemon runs: this is what the store shows.
    NotRunning,
}

/// How something stands, best first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// OK.
    #[default]
    Ok,
    /// It is worked on.
    Working,
    /// It waits for something that comes by itself.
    Waiting,
    /// A person should look at it.
    Attention,
    /// What is served has expired or is about to.
    AtRisk,
}

impl Health {
    /// Every one, worst first.
    pub const ALL: [Self; 5] =
        [Self::AtRisk, Self::Attention, Self::Waiting, Self::Working, Self::Ok];

    /// As people read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Working => "working",
            Self::Waiting => "waiting",
            Self::Attention => "needs attention",
            Self::AtRisk => "at risk",
        }
    }

    /// As it stands in the document, in metrics and in style sheets.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Working => "working",
            Self::Waiting => "waiting",
            Self::Attention => "attention",
            Self::AtRisk => "at-risk",
        }
    }

    /// Whether a person should look at it.
    pub fn needs_attention(self) -> bool {
        self >= Self::Attention
    }
}

/// A pass that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub ended_at: OffsetDateTime,
    /// How long it took.
    pub seconds: f64,
    /// How many passes have ended since the start.
    pub count: u64,
}

/// Something that everything depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What: `the destination`, `metadata`, `store`, ...
    pub name: String,
    /// How it stands.
    pub health: Health,
    /// In plain words.
    pub detail: String,
    /// What a person can do about it.
    pub advice: Option<String>,
    /// Since when it is out of order, where that is known.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
}

/// Two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// That of this machine.
    #[serde(with = "time::serde::rfc3339")]
    pub here: OffsetDateTime,
    /// That of the CA.
    #[serde(with = "time::serde::rfc3339")]
    pub at_ca: OffsetDateTime,
}

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its value; `set` where it is a secret.
    pub value: String,
}

/// What does not change while the program runs.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The version.
    pub version: String,
    /// What the destination is called.
    pub destination: String,
    /// When it started.
    pub started_at: Option<OffsetDateTime>,
    /// The settings in force.
    pub settings: Vec<Setting>,
}

/// What is on record, for as long as a look takes.
#[derive(Clone, Copy)]
pub struct OnRecord<'a> {
    /// Waits and limits.
    pub ledger: &'a Ledger,
    /// What the settings say about deciding.
    pub policy: &'a Policy,
    /// The limits that are kept, by directory URL.
    pub limits: &'a dyn Fn(&str) -> Option<&'static Limits>,
    /// How the clock of this machine stood against an authority's the last time, if they were compared.
    pub clock: Option<ClockSeen>,
    /// Whether balancers are to be woken.
    pub is_wake_owed: bool,
    /// What is known between passes.
    pub heard: Heard<'a>,
}

/// What is known at any moment, whether a pass runs or not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heard<'a> {
    /// What tells by itself how it stands.
    pub parts: &'a [Part],
    /// How everybody answers; none where nobody counts.
    pub answers: Option<&'a Tally>,
}

impl Status {
    /// How everything stands while the loop turns; or, without a snapshot's report, what is on record.
    pub fn gather(
        program: &Program,
        snapshot: &Snapshot,
        on_record: OnRecord<'_>,
        now: OffsetDateTime,
    ) -> Self {
        let mut status = Self::empty(program, Phase::Running, now);
        status.authorities = authority::authorities(&on_record, now);
        status.dependencies = parts(snapshot, &on_record, &status.authorities, now);
        status.dependencies.extend_from_slice(on_record.heard.parts);
        status.is_wake_owed = on_record.is_wake_owed;
        status.clock = on_record.clock.map(|seen| Clocks { here: seen.ours, at_ca: seen.theirs });
        let Some(report) = &snapshot.report else {
            return status.of_first_pass();
        };
        let served = certificate::Served::of(report);
        let failed = Failed::of(on_record.ledger);
        status.certificates = report
            .rows
            .iter()
            .map(|row| {
                let row = since(row, snapshot, on_record.policy.renew_before);
                certificate::of(&row, &served, snapshot, &failed, now)
            })
            .collect();
        status.certificates.sort_by(|a, b| a.urgency().cmp(&b.urgency()));
        status.notices.clone_from(&report.notices);
        status.last_pass = snapshot.last_pass.map(|times| Pass {
            ended_at: times.ended_at,
            seconds: times.took.as_seconds_f64(),
            count: snapshot.passes,
        });
        status.next_pass_at = snapshot.next;
        status.sum_up();
        status
    }

    /// How everything stands before the loop turns.
    pub fn before(program: &Program, phase: Phase, now: OffsetDateTime) -> Self {
        Self::empty(program, phase.clone(), now).of_phase(phase)
    }

    fn empty(program: &Program, phase: Phase, now: OffsetDateTime) -> Self {
        Self {
            schema: SCHEMA,
            version: program.version.clone(),
            destination: program.destination.clone(),
            at: now,
            started_at: program.started_at,
            phase,
            health: Health::Ok,
            sentence: String::new(),
            needs_attention: 0,
            last_pass: None,
            next_pass_at: None,
            certificates: Vec::new(),
            notices: Vec::new(),
            authorities: Vec::new(),
            dependencies: Vec::new(),
            clock: None,
            is_wake_owed: false,
            settings: program.settings.clone(),
        }
    }

    /// How many certificates stand how.
    pub fn counts(&self) -> BTreeMap<Health, usize> {
        let mut counts = BTreeMap::new();
        for certificate in &self.certificates {
            *counts.entry(certificate.health).or_insert(0) += 1;
        }
        counts
    }

    /// The certificate that has this name, the primary one or another.
    pub fn certificate(&self, name: &str) -> Option<&Certificate> {
        let all = &self.certificates;
        all.iter().find(|certificate| certificate.name == name).or_else(|| {
            all.iter().find(|certificate| certificate.names.iter().any(|own| own == name))
        })
    }
}

#[cfg(test)]
mod tests;

//! How one certificate stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;

use crate::core::certificate::Leaf;
use crate::core::held::CertificateId;
use crate::core::held::User;
use crate::core::reaction::FailureKind;
use crate::core::reaction::Reaction;
use crate::core::setback::Setback;
use crate::decide::classify::AT_RISK;
use crate::decide::table::Action;
use crate::view::status::Health;
use crate::view::status::failed::Failed;
use crate::work::daemon::Snapshot;
use crate::work::daemon::Try;
use crate::work::reconcile::report;
use crate::work::reconcile::report::Report;
use crate::work::reconcile::report::Row;

pub(super) mod since;

use since::is_done;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its primary name, which names its folder and what the destination holds.
    pub name: String,
    /// Everything it is to cover, the primary name first.
    pub names: Vec<String>,
    /// Who wants it: `DOMAINS`, `stack/service`, or the balancer that still lists it.
    pub origins: Vec<String>,
    /// How it stands.
    pub health: Health,
    /// What is done about it: the verdict of the decision table, or `wait`.
    pub action: String,
    /// Why, in plain words.
    pub reason: String,
    /// What is wrong with it, if anything is.
    pub problem: Option<Problem>,
    /// The last thing that was tried for it, as far as it is remembered.
    pub last_try: Option<LastTry>,
    /// What happens next, and when.
    pub next: Option<Next>,
    /// The copy in the store.
    pub on_disk: Copy,
    /// The copy at the destination.
    pub at_destination: Copy,
    /// The balancers that list it; none if that could not be told, or the destination has no balancers.
    pub balancers: Option<Vec<String>>,
    /// When the copy in the store is to be renewed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub renewal_due_at: Option<OffsetDateTime>,
    /// When what is served ends: the copy at the destination, else the one in the store.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What happened, in plain words.
    pub what: String,
    /// Its kind, as the table of reactions has it.
    pub kind: Option<FailureKind>,
    /// What a person can do.
    pub advice: Option<String>,
    /// Whether nothing gets better before a person acts.
    pub needs_person: bool,
    /// An address that the authority gives for it.
    pub link: Option<String>,
}

/// The last thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTry {
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What: `obtain`, `push`, `restore`, `settle`; `try` where only its failure is on record.
    pub what: String,
    /// What went wrong, in plain words; none if all went well.
    pub error: Option<String>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What.
    pub what: String,
}

/// A copy of a certificate, as it is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Copy {
    /// It could not be read or judged.
    Unknown {
        /// Why.
        why: String,
    },
    /// There is none.
    Absent,
    /// There is something that is no certificate.
    Broken {
        /// How.
        why: String,
    },
    /// A certificate.
    Whole(Whole),
}

/// A certificate, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// Who issued it.
    pub issuer: String,
    /// What it covers.
    pub names: Vec<String>,
    /// Start of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// End of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// SHA-256 of its DER form, hex.
    pub fingerprint: String,
    /// Whether it is signed by its own key.
    pub is_self_signed: bool,
    /// Whether the CA marks it as a staging one.
    pub is_staging: bool,
}

impl Copy {
    /// The certificate, if it is whole.
    pub fn whole(&self) -> Option<&Whole> {
        match self {
            Self::Whole(whole) => Some(whole),
            Self::Unknown { .. } | Self::Absent | Self::Broken { .. } => None,
        }
    }
}

impl From<&Leaf> for Whole {
    fn from(leaf: &Leaf) -> Self {
        Self {
            issuer: leaf.issuer.to_string(),
            names: leaf.names().map(str::to_owned).collect(),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            fingerprint: leaf.fingerprint.to_string(),
            is_self_signed: leaf.is_self_signed,
            is_staging: leaf.is_marked_staging,
        }
    }
}

impl From<&report::Copy> for Copy {
    fn from(copy: &report::Copy) -> Self {
        match copy {
            report::Copy::Unknown(why) => Self::Unknown { why: why.clone() },
            report::Copy::Absent => Self::Absent,
            report::Copy::Broken(why) => Self::Broken { why: why.clone() },
            report::Copy::Whole(leaf) => Self::Whole(leaf.into()),
        }
    }
}

impl Problem {
    /// What a setback means for a person.
    pub fn of(setback: &Setback) -> Self {
        Self::new(&setback.reason, setback.kind, setback.address.as_deref())
    }

    pub(super) fn new(what: &str, kind: Option<FailureKind>, address: Option<&str>) -> Self {
        let needs_person = kind.is_some_and(|kind| kind.row().reaction == Reaction::Person);
        Self {
            what: what.to_owned(),
            kind,
            advice: kind.and_then(FailureKind::advice).map(str::to_owned),
            needs_person,
            link: address.filter(|_| needs_person).map(str::to_owned),
        }
    }
}

/// Which balancers list which certificate of the destination's.
pub(super) struct Served(Option<BTreeMap<CertificateId, Vec<String>>>);

impl Served {
    pub(super) fn of(report: &Report) -> Self {
        match &report.balancers {
            Some(Ok(balancers)) if report.has_users => Self(Some(by_certificate(balancers))),
            _ => Self(None),
        }
    }

    fn by(&self, id: Option<&CertificateId>) -> Option<Vec<String>> {
        let all = self.0.as_ref()?;
        let listed = id.and_then(|id| all.get(id));
        Some(listed.cloned().unwrap_or_default())
    }
}

fn by_certificate(balancers: &Arc<[User]>) -> BTreeMap<CertificateId, Vec<String>> {
    let mut all: BTreeMap<CertificateId, Vec<String>> = BTreeMap::new();
    for balancer in balancers.iter().filter(|balancer| balancer.folder.is_none()) {
        for id in &balancer.certificates {
            let names = all.entry(id.clone()).or_default();
            if !names.contains(&balancer.name) {
                names.push(balancer.name.clone());
            }
        }
    }
    all
}

/// How a certificate stands, by what the last pass found and what was tried.
pub(super) fn of(
    row: &Row,
    served: &Served,
    snapshot: &Snapshot,
    failed: &Failed<'_>,
    now: OffsetDateTime,
) -> Certificate {
    let name = row.entry.names.primary().to_string();
    let last_try = last_try(row, snapshot.tries.get(&name), failed);
    let left_out = left_out(row, failed);
    let mut health = health(row, now);
    let mut reason = row.reason();
    let mut next = next(row, snapshot.next, now);
    // The next pass will see it; until then it is no longer worked on.
    if health == Health::Working && is_done(&name, snapshot) {
        health = Health::Ok;
        "done, looked at again in the next pass".clone_into(&mut reason);
        next = snapshot.next.map(|at| Next { at, what: "looked at again".to_owned() });
    }
    let stuck = row.stuck.as_ref().map(Problem::of);
    if left_out.is_some() || stuck.is_some() {
        health = health.max(Health::Attention);
    }
    Certificate {
        names: row.entry.names.iter().map(ToString::to_string).collect(),
        origins: row.entry.origins.iter().cloned().collect(),
        health,
        action: row.action().to_string(),
        reason,
        problem: problem(row, health).or(left_out).or(stuck),
        last_try,
        next,
        on_disk: (&row.on_disk).into(),
        at_destination: (&row.at_destination).into(),
        balancers: served.by(row.id.as_ref()),
        renewal_due_at: row.renewal.map(|renewal| renewal.due_at),
        expires_at: what_is_served(row).map(|leaf| leaf.not_after),
        name,
    }
}

fn what_is_served(row: &Row) -> Option<&Leaf> {
    row.at_destination.leaf().or_else(|| row.on_disk.leaf())
}

fn health(row: &Row, now: OffsetDateTime) -> Health {
    if is_at_risk(row, now) {
        return Health::AtRisk;
    }
    if row.verdict.is_none() {
        return Health::Working;
    }
    // Told once for all of them, beside the destination.
    if row.waits_for_destination() {
        return Health::Waiting;
    }
    if row.needs_attention() {
        return Health::Attention;
    }
    match row.action() {
        Action::Keep | Action::Leave => Health::Ok,
        Action::Push | Action::Issue | Action::Renew | Action::Restore => Health::Working,
        Action::Wait => Health::Waiting,
    }
}

/// By time left, not by how the last try ended: what is served has expired, or was to be renewed long ago.
fn is_at_risk(row: &Row, now: OffsetDateTime) -> bool {
    let Some(served) = what_is_served(row) else {
        return false;
    };
    if served.not_after <= now {
        return true;
    }
    let is_left = row.verdict.as_ref().is_some_and(|verdict| verdict.action == Action::Leave);
    let renewal = match row.at_destination {
        report::Copy::Whole(_) => row.renewal_at_destination.filter(|_| !is_left),
        report::Copy::Unknown(_) | report::Copy::Absent | report::Copy::Broken(_) => row.renewal,
    };
    match renewal {
        Some(renewal) => renewal.overdue_at <= now,
        // Not ours, or left alone by decision.
        None => row.needs_attention() && served.not_after - now < AT_RISK,
    }
}

/// A wanted name that the present certificate does not cover, because it fails.
fn left_out(row: &Row, failed: &Failed<'_>) -> Option<Problem> {
    let leaf = row.on_disk.leaf()?;
    let missing = row.entry.names.iter().filter(|name| !leaf.covers(name));
    let mut waits = missing.filter_map(|name| Some((name, failed.of_name(name)?)));
    let (name, wait) = waits.next()?;
    let what = format!("{name} is left out: {}", wait.detail);
    Some(Problem::new(&what, wait.failure_kind, wait.address.as_deref()))
}

fn problem(row: &Row, health: Health) -> Option<Problem> {
    if let Some(setback) = row.held_back().filter(|setback| setback.is_failure) {
        return Some(Problem::of(setback));
    }
    let verdict = row.verdict.as_ref()?;
    // Told once for all of them, beside the destination.
    if row.waits_for_destination() && health != Health::AtRisk {
        return None;
    }
    (verdict.needs_attention || health == Health::AtRisk && verdict.action == Action::Wait)
        .then(|| Problem::new(&verdict.why, None, None))
}

/// What this process remembers, else what is on record about the last failure.
fn last_try(row: &Row, last: Option<&Try>, failed: &Failed<'_>) -> Option<LastTry> {
    if let Some(last) = last {
        return Some(LastTry {
            at: last.at,
            what: last.what.to_owned(),
            error: last.setback.as_ref().map(|setback| setback.reason.clone()),
        });
    }
    let wait = failed.of_certificate(&row.entry.names)?;
    Some(LastTry { at: wait.failed_at?, what: "try".to_owned(), error: Some(wait.detail.clone()) })
}

/// The earliest of all that happens by itself; what nothing is known of is looked at by the next pass.
fn next(row: &Row, next_pass: Option<OffsetDateTime>, now: OffsetDateTime) -> Option<Next> {
    let verdict = row.verdict.as_ref()?;
    if let Some(next) = row.next().filter(|next| now < next.at) {
        return Some(Next { at: next.at, what: next.what.clone() });
    }
    match verdict.action {
        Action::Keep | Action::Leave if row.held_back().is_none() => None,
        Action::Keep
        | Action::Leave
        | Action::Push
        | Action::Issue
        | Action::Renew
        | Action::Restore
        | Action::Wait => {
            Some(Next { at: next_pass?, what: format!("next try: {}", verdict.action) })
        }
    }
}

impl Certificate {
    /// Lowest first: the worst, and of those what ends soonest.
    pub(super) fn urgency(&self) -> (std::cmp::Reverse<Health>, Option<OffsetDateTime>, &str) {
        (std::cmp::Reverse(self.health), self.expires_at, &self.name)
    }
}

//! What everything depends on: the loop itself, the destination, metadata, the CA, webroot, store, clock.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::core::held::User;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::schedule;
use crate::core::text::timestamp;
use crate::decide::filter::EPHEMERAL;
use crate::ports::counted::tally::Answers;
use crate::store::ledger::Subject;
use crate::store::ledger::Wait;
use crate::view::status::Health;
use crate::view::status::LASTING;
use crate::view::status::OnRecord;
use crate::view::status::Part;
use crate::view::status::authority::Authority;
use crate::view::status::authority::Waiting;
use crate::work::daemon::Snapshot;
use crate::work::daemon::Stuck;
use crate::work::reconcile::report::Labels;
use crate::work::reconcile::report::Report;

/// What the loop is called.
pub const LOOP: &str = "loop";

/// What each of them is called, as metrics have it.
pub const PARTS: [&str; 10] = [
    LOOP,
    "destination",
    "source",
    "balancers",
    "ca",
    "webroot",
    "store",
    "clock",
    "page",
    "notices",
];

/// How each of them stands.
pub(super) fn parts(
    snapshot: &Snapshot,
    on_record: &OnRecord<'_>,
    authorities: &[Authority],
    now: OffsetDateTime,
) -> Vec<Part> {
    let mut parts = vec![the_loop(snapshot, now)];
    if let Some(report) = &snapshot.report {
        let answers = on_record.heard.answers;
        parts.push(destination(report, answers.map(|tally| &tally.destination)));
        parts.push(source(&report.labels, answers.map(|tally| &tally.source), now));
        if report.has_users {
            parts.push(balancers(report, on_record, now));
        }
    }
    parts.push(authority(on_record, authorities, now));
    if let Some(report) = &snapshot.report {
        parts.push(webroot(report));
        parts.push(store(report));
    }
    parts.extend(on_record.clock.filter(|clock| clock.differs()).map(|clock| {
        Part {
            name: "clock".to_owned(),
            health: Health::Attention,
            detail: clock.sentence(),
            advice: Some(
                "set the clock of this machine right; it is compared again within ten minutes"
                    .to_owned(),
            ),
            since: None,
        }
    }));
    parts
}

fn part(name: &str, fault: Option<(&str, Option<&str>)>, well: impl Into<String>) -> Part {
    match fault {
        Some((detail, advice)) => Part {
            name: name.to_owned(),
            health: Health::Attention,
            detail: detail.to_owned(),
            advice: advice.map(str::to_owned),
            since: None,
        },
        None => {
            let (name, detail) = (name.to_owned(), well.into());
            Part { name, health: Health::Ok, detail, advice: None, since: None }
        }
    }
}

/// Whether it turns: whoever serves this document does even when the loop does not.
fn the_loop(snapshot: &Snapshot, now: OffsetDateTime) -> Part {
    const NAME: &str = LOOP;
    let advice = "restart the container: nothing is lost, and no certificate is issued twice";
    let (since, what) = match snapshot.stuck(now) {
        Some(Stuck::Loop(since)) => (since, "it has not turned"),
        Some(Stuck::Pass(since)) => (since, "a pass is overdue"),
        None => return part(NAME, None, "turns"),
    };
    let detail = format!("{what} since {}: what is shown is as old as that", timestamp(since));
    let part = part(NAME, Some((&detail, Some(advice))), "");
    Part { since: Some(since), ..part }
}

/// What can be done about something that the destination does; nobody has to look at an address that refuses us.
fn advice(fault: &Failure) -> Option<&'static str> {
    fault.kind.unwrap_or(FailureKind::DestinationAway).advice()
}

/// By its last answer, whoever asked; what a pass has found holds until another one comes.
fn destination(report: &Report, answers: Option<&Answers>) -> Part {
    const NAME: &str = "destination";
    let outage = answers.and_then(|answers| answers.outage.as_ref());
    let fault = outage.map(|outage| &outage.what).or(report.destination_fault.as_ref());
    let read_at = answers.and_then(|answers| answers.read_at).unwrap_or(report.at);
    let mut part = part(
        NAME,
        fault.map(|fault| (fault.text.as_str(), advice(fault))),
        format!("certificates listed at {}", timestamp(report.at)),
    );
    part.since = outage.map(|outage| outage.since);
    if outage.is_none() && fault.is_some() && report.at < read_at {
        part = Part {
            health: Health::Working,
            detail: format!(
                "answers again since {}; its certificates are listed by the next pass",
                timestamp(read_at)
            ),
            advice: None,
            ..part
        };
    }
    part
}

fn source(labels: &Labels, answers: Option<&Answers>, now: OffsetDateTime) -> Part {
    if !labels.are_read {
        return part("source", None, "no labels are read: names come from DOMAINS");
    }
    let outage = answers.and_then(|answers| answers.outage.as_ref());
    let read_at = answers.and_then(|answers| answers.read_at).max(labels.read_at);
    let are_known = labels.are_known || answers.is_some_and(|answers| answers.read_at.is_some());
    // What answers are known of is newer than what the last pass knew.
    let fault = match answers {
        Some(answers) if answers.outage.is_some() || answers.read_at.is_some() => {
            outage.map(|outage| outage.what.text.as_str())
        }
        Some(_) | None => labels.fault.as_deref(),
    };
    let is_at_fault = fault.is_some();
    let fault = fault.map(|fault| {
        if are_known {
            format!("{fault}; the names last known hold")
        } else {
            format!("{fault}; no names are known yet")
        }
    });
    let advice = "if it lasts, check `RANCHER_METADATA_URL` and the metadata service of this host";
    let mut part = part(
        "source",
        fault.as_deref().map(|fault| (fault, Some(advice))),
        match read_at {
            Some(at) => format!("labels read at {}", timestamp(at)),
            None => "labels not read yet".to_owned(),
        },
    );
    // What a pass has found counts until somebody has been answered since the start.
    let since = outage.map(|outage| outage.since).or(labels.fault_since);
    part.since = since.filter(|_| is_at_fault);
    let lasts = part.since.is_some_and(|since| LASTING <= now - since);
    part.health = match (are_known, is_at_fault) {
        // At first nothing is lost while names are known, and before the first answer there is nothing to mend.
        (true, true) if !lasts => Health::Waiting,
        (false, false) => Health::Waiting,
        (true, _) | (false, true) => part.health,
    };
    part
}

fn balancers(report: &Report, on_record: &OnRecord<'_>, now: OffsetDateTime) -> Part {
    const NAME: &str = "balancers";
    let wake = on_record.ledger.waiting(&Subject::Wake, now);
    if let Some(wait) = wake {
        let advice = match wait.failure_kind {
            Some(FailureKind::DestinationAway | FailureKind::DestinationDenied) => {
                wait.failure_kind.and_then(FailureKind::advice)
            }
            Some(_) | None => Some("finish the upgrade of our own service or of a balancer"),
        };
        return part(NAME, Some((&wait.detail, advice)), "");
    }
    match &report.balancers {
        None => Part {
            health: Health::Waiting,
            ..part(NAME, None, "not known while the destination cannot be read")
        },
        Some(Err(fault)) => part(NAME, Some((&fault.text, advice(fault))), ""),
        Some(Ok(balancers)) => {
            let mut part = part(NAME, None, listed(balancers));
            if on_record.is_wake_owed {
                part.health = Health::Working;
                part.detail += "; to be told to read their certificates again";
            }
            part
        }
    }
}

fn listed(balancers: &Arc<[User]>) -> String {
    let from_folder: Vec<String> = balancers
        .iter()
        .filter_map(|balancer| {
            let folder = balancer.folder.as_ref()?;
            Some(format!(
                "{} reads the folder {folder} and none of the destination's certificates",
                balancer.name
            ))
        })
        .collect();
    let mut text = match balancers.len() {
        0 => "none in this environment".to_owned(),
        1 => "1 in this environment".to_owned(),
        count => format!("{count} in this environment"),
    };
    for sentence in from_folder {
        text += "; ";
        text += &sentence;
    }
    text
}

fn authority(on_record: &OnRecord<'_>, authorities: &[Authority], now: OffsetDateTime) -> Part {
    let directory = on_record.policy.wanted_directory();
    let waits = authorities
        .iter()
        .filter(|authority| authority.is_wanted)
        .flat_map(|authority| &authority.waits);
    let mut of_all = waits.filter(|wait| wait.kind != Waiting::Name);
    let fault = of_all.next();
    let detail =
        fault.map(|wait| format!("{}; until {}", wait.problem.what, timestamp(wait.until)));
    if let Some(past) = fault.is_none().then(|| unproven(on_record, directory, now)).flatten() {
        return past;
    }
    part(
        "CA",
        detail
            .as_deref()
            .map(|detail| (detail, fault.and_then(|wait| wait.problem.advice.as_deref()))),
        directory,
    )
}

/// What kept everything waiting and may be asked again: whether it is over, only its next answer shows.
fn unproven(on_record: &OnRecord<'_>, directory: &str, now: OffsetDateTime) -> Option<Part> {
    let is_of_all = |subject: &Subject| {
        matches!(
            subject,
            Subject::Authority { directory: of } | Subject::Account { directory: of }
                if of == directory
        )
    };
    let is_open = |subject: &Subject, wait: &Wait| {
        !matches!(subject, Subject::Authority { .. }) || schedule::is_open(wait.failures)
    };
    let mut waits = on_record.ledger.waits();
    let (_, wait) = waits.find(|(subject, wait)| {
        is_of_all(subject) && is_open(subject, wait) && wait.until <= now
    })?;
    let mut part =
        part("CA", None, format!("asked again when something is due; before: {}", wait.detail));
    part.health = Health::Waiting;
    Some(part)
}

fn webroot(report: &Report) -> Part {
    let fault = report.webroot_fault.as_deref();
    part("webroot", fault.map(|fault| (fault, FailureKind::Disk.advice())), "can be read")
}

fn store(report: &Report) -> Part {
    let fault = match &report.store_fault {
        Some(fault) => Some((fault.as_str(), FailureKind::Disk.advice())),
        None if report.is_ephemeral => Some((EPHEMERAL, None)),
        None => report.view_fault.as_deref().map(|fault| (fault, None)),
    };
    part("store", fault, "held by this instance")
}

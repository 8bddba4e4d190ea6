//! What everything depends on: the destination, metadata, the CA, webroot, store, clock.

use std::sync::Arc;

use time::Duration;
use time::OffsetDateTime;

use crate::core::held::User;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::text::timestamp;
use crate::decide::filter::EPHEMERAL;
use crate::store::ledger::Subject;
use crate::view::status::Health;
use crate::view::status::OnRecord;
use crate::view::status::Part;
use crate::view::status::authority::Authority;
use crate::view::status::authority::Waiting;
use crate::work::daemon::Snapshot;
use crate::work::reconcile::report::Labels;
use crate::work::reconcile::report::Report;

/// How each of them stands.
pub(super) fn parts(
    snapshot: &Snapshot,
    on_record: &OnRecord<'_>,
    authorities: &[Authority],
    now: OffsetDateTime,
) -> Vec<Part> {
    let mut parts = Vec::new();
    if let Some(report) = &snapshot.report {
        parts.push(destination(report));
        parts.push(metadata(&report.labels, now));
        if report.has_users {
            parts.push(balancers(report, on_record, now));
        }
    }
    parts.push(authority(on_record, authorities));
    if let Some(report) = &snapshot.report {
        parts.push(webroot(report));
        parts.push(store(report));
    }
    parts.extend(on_record.distrusted.map(|reason| Part {
        name: "clock".to_owned(),
        health: Health::Attention,
        detail: reason.to_owned(),
        advice: Some("set the clock of this machine right".to_owned()),
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
        },
        None => {
            Part { name: name.to_owned(), health: Health::Ok, detail: well.into(), advice: None }
        }
    }
}

/// What happened, and the advice for its kind: a key that is refused is not mended at an address.
fn told(fault: &Failure) -> (&str, Option<&str>) {
    (&fault.text, fault.kind.and_then(FailureKind::advice))
}

fn destination(report: &Report) -> Part {
    let fault = report.destination_fault.as_ref();
    part("destination", fault.map(told), format!("certificates listed at {}", timestamp(report.at)))
}

/// For so long names that are known are enough; after that new ones are missed, and nobody but a person can help.
const SHORT_SILENCE: Duration = Duration::hours(1);

fn metadata(labels: &Labels, now: OffsetDateTime) -> Part {
    if !labels.are_read {
        return part("source", None, "no labels are read: names come from DOMAINS");
    }
    let fault = labels.fault.as_deref().map(|fault| {
        if labels.are_known {
            format!("{fault}; the names last known hold")
        } else {
            format!("{fault}; no names are known yet")
        }
    });
    let advice = "if it lasts, check `RANCHER_METADATA_URL` and the metadata service of this host";
    let mut part = part(
        "source",
        fault.as_deref().map(|fault| (fault, Some(advice))),
        match labels.read_at {
            Some(at) => format!("labels read at {}", timestamp(at)),
            None => "labels not read yet".to_owned(),
        },
    );
    part.health = match (labels.are_known, &labels.fault) {
        // Nothing is lost while names are known, and before the first answer there is nothing to mend.
        (true, Some(_)) if labels.fault_since.is_none_or(|since| now < since + SHORT_SILENCE) => {
            Health::Waiting
        }
        (false, None) => Health::Waiting,
        (true, None | Some(_)) | (false, Some(_)) => part.health,
    };
    part
}

fn balancers(report: &Report, on_record: &OnRecord<'_>, now: OffsetDateTime) -> Part {
    const NAME: &str = "balancers";
    let wake = on_record.ledger.waiting(&Subject::Wake, now);
    if let Some(wait) = wake {
        let advice = "finish the upgrade of our own service or of a balancer";
        return part(NAME, Some((&wait.detail, Some(advice))), "");
    }
    match &report.balancers {
        None => Part {
            health: Health::Waiting,
            ..part(NAME, None, "not known while the destination cannot be read")
        },
        Some(Err(fault)) => part(NAME, Some(told(fault)), ""),
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

fn authority(on_record: &OnRecord<'_>, authorities: &[Authority]) -> Part {
    let directory = on_record.policy.wanted_directory();
    let waits = authorities
        .iter()
        .filter(|authority| authority.is_wanted)
        .flat_map(|authority| &authority.waits);
    let mut of_all = waits.filter(|wait| wait.kind != Waiting::Name);
    let fault = of_all.next();
    let detail =
        fault.map(|wait| format!("{}; until {}", wait.problem.what, timestamp(wait.until)));
    part(
        "CA",
        detail
            .as_deref()
            .map(|detail| (detail, fault.and_then(|wait| wait.problem.advice.as_deref()))),
        directory,
    )
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

//! Certificates in numbers.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::core::reaction;
use crate::core::reaction::FailureKind;
use crate::core::reaction::word;
use crate::decide::table::Action;
use crate::view::metrics::Family;
use crate::view::metrics::Labels;
use crate::view::metrics::Seen;
use crate::view::metrics::number;
use crate::view::metrics::seconds;
use crate::view::status::Health;
use crate::view::status::certificate::Certificate;
use crate::view::status::certificate::Whole;
use crate::work::daemon::Ended;
use crate::work::reconcile::job::WORDS;

pub(super) fn families(seen: &Seen<'_>) -> Vec<Family> {
    let mut families = each(seen);
    families.extend(summed(seen));
    families
}

/// Those that name a certificate.
fn each(seen: &Seen<'_>) -> Vec<Family> {
    let all = &seen.status.certificates;
    vec![
        Family::gauge(
            "certificate_not_after_timestamp_seconds",
            "End of validity of the copy in the store and of the one at the destination.",
            copies(all, |whole| whole.not_after),
        ),
        Family::gauge(
            "certificate_not_before_timestamp_seconds",
            "Start of validity of the copy in the store and of the one at the destination.",
            copies(all, |whole| whole.not_before),
        ),
        Family::gauge(
            "certificate_renewal_due_timestamp_seconds",
            "When the copy in the store is to be renewed.",
            all.iter().filter_map(|certificate| {
                let due_at = certificate.renewal_due_at?;
                Some((name(certificate), seconds(due_at)))
            }),
        ),
        Family::gauge(
            "certificate_state",
            "1 for each certificate, with how it stands and what is done about it.",
            all.iter().map(|certificate| {
                let mut labels = name(certificate);
                labels.push(("health", certificate.health.word().to_owned()));
                labels.push(("action", certificate.action.to_lowercase()));
                (labels, 1.0)
            }),
        ),
        Family::gauge(
            "certificate_last_success_timestamp_seconds",
            "When work on a certificate last came to its end, since the start.",
            all.iter().filter_map(|certificate| {
                let at = seen.snapshot.succeeded.get(&certificate.name)?;
                Some((name(certificate), seconds(*at)))
            }),
        ),
    ]
}

fn name(certificate: &Certificate) -> Labels {
    vec![("name", certificate.name.clone())]
}

fn copies(
    all: &[Certificate],
    of: impl Fn(&Whole) -> OffsetDateTime,
) -> impl Iterator<Item = (Labels, f64)> {
    all.iter().flat_map(move |certificate| {
        let places =
            [("store", &certificate.on_disk), ("destination", &certificate.at_destination)];
        let samples = places.map(|(place, copy)| {
            let mut labels = name(certificate);
            labels.push(("place", place.to_owned()));
            Some((labels, seconds(of(copy.whole()?))))
        });
        samples.into_iter().flatten()
    })
}

/// Those that sum up, with every word that there is.
fn summed(seen: &Seen<'_>) -> Vec<Family> {
    let all = &seen.status.certificates;
    let how_many = |is_one: &dyn Fn(&Certificate) -> bool| {
        number(all.iter().filter(|certificate| is_one(certificate)).count())
    };
    let healths = seen.status.counts();
    let mut failures: BTreeMap<Option<FailureKind>, usize> = BTreeMap::new();
    for problem in all.iter().filter_map(|certificate| certificate.problem.as_ref()) {
        *failures.entry(problem.kind).or_insert(0) += 1;
    }
    let of_kind = |kind| number(failures.get(&kind).copied().unwrap_or(0));
    let kinds = reaction::TABLE.iter().map(|row| Some(row.kind));
    let ended = |job, end| seen.snapshot.ended.get(&(job, end)).copied().unwrap_or(0);
    vec![
        Family::gauge(
            "certificates",
            "How many certificates stand how.",
            Health::ALL.map(|health| {
                let labels = vec![("health", health.word().to_owned())];
                (labels, number(healths.get(&health).copied().unwrap_or(0)))
            }),
        ),
        Family::gauge(
            "certificates_by_action",
            "For how many certificates what is done.",
            Action::ALL.map(|action| {
                let action = action.to_string();
                let count = how_many(&|certificate| certificate.action == action);
                (vec![("action", action.to_lowercase())], count)
            }),
        ),
        Family::gauge(
            "certificates_by_failure",
            "How many certificates have which kind of failure; other is none of the table in the README.",
            kinds.chain([None]).map(|kind| {
                let labels = vec![("kind", word(kind))];
                (labels, of_kind(kind))
            }),
        ),
        Family::single(
            "certificates_needing_attention",
            "How many certificates a person should look at.",
            number(seen.status.needs_attention),
        ),
        Family::single(
            "names_left_out",
            "How many names or labels were left out or moved.",
            number(seen.status.notices.len()),
        ),
        Family::counter(
            "tries",
            "Work on certificates by what it was and how it ended, since the start.",
            WORDS.into_iter().flat_map(|job| {
                Ended::ALL.map(|end| {
                    let result = end.word().to_owned();
                    let labels = vec![("job", job.to_owned()), ("result", result)];
                    (labels, ended(job, end))
                })
            }),
        ),
    ]
}

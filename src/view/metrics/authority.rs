//! Authorities in numbers: answers, limits, waits.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::ports::counted::AUTHORITY_ANSWERS;
use crate::ports::counted::Directory;
use crate::ports::counted::tally::Answers;
use crate::view::metrics::Family;
use crate::view::metrics::Labels;
use crate::view::metrics::Seen;
use crate::view::metrics::by_kind;
use crate::view::metrics::number;
use crate::view::metrics::seconds;
use crate::view::status::authority::Budget;
use crate::view::status::authority::Waiting;

pub(super) fn families(seen: &Seen<'_>) -> Vec<Family> {
    let mut families = answers(seen);
    families.extend(budgets(seen));
    families.push(waits(seen));
    families
}

fn answers(seen: &Seen<'_>) -> Vec<Family> {
    let none = Answers::default();
    let of = |directory| seen.tally.authorities.get(&directory).unwrap_or(&none);
    vec![
        Family::counter(
            "authority_answers",
            "What authorities answered, by directory and kind, since the start.",
            Directory::ALL.into_iter().flat_map(|directory| {
                by_kind(of(directory), &AUTHORITY_ANSWERS).map(move |(kind, count)| {
                    let mut labels = label(directory);
                    labels.push(("answer", kind.to_owned()));
                    (labels, count)
                })
            }),
        ),
        Family::gauge(
            "authority_last_success_timestamp_seconds",
            "When an authority last did what it was asked.",
            Directory::ALL.into_iter().filter_map(|directory| {
                let at = of(directory).ok_at?;
                Some((label(directory), seconds(at)))
            }),
        ),
    ]
}

fn label(directory: Directory) -> Labels {
    vec![("directory", directory.word().to_owned())]
}

/// The tightest limit of each kind; one for each name or domain would have no bound.
fn budgets(seen: &Seen<'_>) -> Vec<Family> {
    let mut tightest: BTreeMap<(Directory, &str), &Budget> = BTreeMap::new();
    for authority in &seen.status.authorities {
        let directory = seen.counts.directories().of(&authority.directory);
        for budget in &authority.budgets {
            let place = tightest.entry((directory, &budget.kind)).or_insert(budget);
            if tightness(place) < tightness(budget) {
                *place = budget;
            }
        }
    }
    let samples = |of: fn(&Budget) -> f64| {
        let samples = tightest.iter().map(move |((directory, kind), budget)| {
            let mut labels = label(*directory);
            labels.push(("kind", (*kind).to_owned()));
            (labels, of(budget))
        });
        samples.collect::<Vec<_>>()
    };
    vec![
        Family::gauge(
            "budget_used",
            "How much of the tightest limit of a kind is used; absent while nothing is.",
            samples(|budget| f64::from(budget.used)),
        ),
        Family::gauge(
            "budget_limit",
            "How much of the tightest limit of a kind there is.",
            samples(|budget| f64::from(budget.limit)),
        ),
        Family::gauge(
            "budget_refill_timestamp_seconds",
            "When one more of the tightest limit of a kind comes back.",
            samples(|budget| seconds(budget.refills_at)),
        ),
    ]
}

/// How much of a limit is used, in millionths, and when one more comes back.
fn tightness(budget: &Budget) -> (u64, OffsetDateTime) {
    let used = u64::from(budget.used) * 1_000_000 / u64::from(budget.limit.max(1));
    (used, budget.refills_at)
}

fn waits(seen: &Seen<'_>) -> Family {
    let mut waits: BTreeMap<(Directory, Waiting), usize> = BTreeMap::new();
    for directory in Directory::ALL {
        for kind in Waiting::ALL {
            waits.insert((directory, kind), 0);
        }
    }
    for authority in &seen.status.authorities {
        let directory = seen.counts.directories().of(&authority.directory);
        for wait in &authority.waits {
            *waits.entry((directory, wait.kind)).or_insert(0) += 1;
        }
    }
    Family::gauge(
        "waits",
        "How many names, accounts and authorities have to wait after failures.",
        waits.into_iter().map(|((directory, kind), count)| {
            let mut labels = label(directory);
            labels.push(("kind", kind.word().to_owned()));
            (labels, number(count))
        }),
    )
}

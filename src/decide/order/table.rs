//! The machine as it stands in `ARCHITECTURE.md`.

use time::Duration;
use time::OffsetDateTime;

use crate::core::resource::OrderStatus;
use crate::decide::order::End;
use crate::decide::order::Shown;
use crate::decide::order::Stage;
use crate::decide::order::Step;
use crate::decide::order::Wanted;
use crate::decide::order::step;

/// The stages, top to bottom, as they stand in the table.
pub(super) fn stages(now: OffsetDateTime) -> [(&'static str, Stage); 9] {
    let stuck = |is_aside| Stage::Stuck { is_aside, is_spent: true };
    let finalized = |times| Stage::Finalized { times, last: now };
    [
        ("Intended", Stage::Intended),
        ("Opened", Stage::Opened),
        ("Finalized, once", finalized(1)),
        ("Finalized, three times", finalized(3)),
        ("Issued", Stage::Issued),
        ("Received", Stage::Received),
        ("Stuck", stuck(false)),
        ("Stuck, aside", stuck(true)),
        ("Lapsed", Stage::Lapsed { may_be_issued: true, is_long_ago: false }),
    ]
}

/// What the authority shows, left to right.
pub(super) const ANSWERS: [(&str, Shown); 12] = [
    ("not asked", Shown::Nothing),
    ("pending", Shown::Order(OrderStatus::Pending)),
    ("ready", Shown::Order(OrderStatus::Ready)),
    ("processing", Shown::Order(OrderStatus::Processing)),
    ("valid", Shown::Order(OrderStatus::Valid)),
    ("invalid", Shown::Order(OrderStatus::Invalid)),
    ("gone", Shown::Gone),
    ("refused", Shown::Refused),
    ("limited", Shown::Limited),
    ("not ready", Shown::NotReady),
    ("silence, 5xx", Shown::Silence),
    ("no chain", Shown::NoChain),
];

fn word(step: Step, now: OffsetDateTime) -> String {
    match step {
        Step::Open => "open".to_owned(),
        Step::Look => "look".to_owned(),
        Step::Authorize => "authorize".to_owned(),
        Step::Finalize => "finalize".to_owned(),
        Step::TakeBack => "take back".to_owned(),
        Step::Download => "download".to_owned(),
        Step::Judge => "judge".to_owned(),
        Step::Rest => "rest".to_owned(),
        Step::RestUntil(at) => format!("rest {} s", (at - now).whole_seconds()),
        Step::PutAside => "put aside".to_owned(),
        Step::End(end) => format!("end: {}", end_word(end)),
    }
}

fn end_word(end: End) -> &'static str {
    match end {
        End::Unwanted => "unwanted",
        End::Lapsed => "lapsed",
        End::Invalid => "invalid",
        End::Refused => "refused",
        End::Gone => "gone",
    }
}

/// The table of the machine, of an order that is wanted.
pub fn render() -> String {
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let wanted = Wanted { is_wanted: true, is_first: false };
    let stages = stages(now);
    let mut table = String::from("| the authority shows |");
    stages.iter().for_each(|(name, _)| table += &format!(" {name} |"));
    table += "\n| --- |";
    stages.iter().for_each(|_| table += " --- |");
    table += "\n";
    for (name, shown) in ANSWERS {
        table += &format!("| {name} |");
        for (_, stage) in stages {
            table += &format!(" {} |", word(step(stage, shown, wanted, now), now));
        }
        table += "\n";
    }
    table
}

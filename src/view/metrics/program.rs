//! The program and what it depends on in numbers.

use crate::ports::counted::DESTINATION_ANSWERS;
use crate::view::metrics::Family;
use crate::view::metrics::Seen;
use crate::view::metrics::by_kind;
use crate::view::metrics::seconds;
use crate::view::metrics::truth;
use crate::view::status::Phase;

pub(super) fn families(seen: &Seen<'_>) -> Vec<Family> {
    let mut families = passes(seen);
    families.extend(dependencies(seen));
    families.extend([
        Family::gauge(
            "phase",
            "1 for what the program does, 0 for what else it might do.",
            PHASES.map(|phase| {
                let is_it = word(&seen.status.phase) == phase;
                (vec![("phase", phase.to_owned())], truth(is_it))
            }),
        ),
        Family::gauge(
            "build_info",
            "1, with the version.",
            [(vec![("version", seen.status.version.clone())], 1.0)],
        ),
    ]);
    families
}

/// Without our prefix, by the name that it has everywhere.
pub(super) fn standard(seen: &Seen<'_>) -> Vec<Family> {
    vec![Family::single(
        "process_start_time_seconds",
        "When the program started, in seconds since 1970.",
        seen.status.started_at.map(seconds),
    )]
}

fn passes(seen: &Seen<'_>) -> Vec<Family> {
    let snapshot = seen.snapshot;
    vec![
        Family::counter(
            "passes",
            "How many passes have ended since the start.",
            [(Vec::new(), snapshot.passes)],
        ),
        Family::single(
            "last_pass_duration_seconds",
            "How long the last pass took.",
            snapshot.last_pass.map(|pass| pass.took.as_seconds_f64()),
        ),
        Family::single(
            "last_pass_timestamp_seconds",
            "When the last pass ended.",
            snapshot.last_pass.map(|pass| seconds(pass.ended_at)),
        ),
        Family::single(
            "next_pass_timestamp_seconds",
            "When the next pass begins at the latest.",
            snapshot.next.map(seconds),
        ),
        Family::single(
            "loop_turned_timestamp_seconds",
            "When the loop last turned.",
            snapshot.turned_at.map(seconds),
        ),
    ]
}

fn dependencies(seen: &Seen<'_>) -> Vec<Family> {
    let answers = |name, help, of| {
        let counts = by_kind(of, &DESTINATION_ANSWERS);
        let samples = counts.map(|(kind, count)| (vec![("answer", kind.to_owned())], count));
        Family::counter(name, help, samples)
    };
    let (destination, metadata) = (&seen.tally.destination, &seen.tally.source);
    vec![
        answers(
            "destination_answers",
            "What the destination answered, by kind, since the start.",
            destination,
        ),
        answers("source_answers", "What the source answered, by kind, since the start.", metadata),
        Family::single(
            "destination_last_success_timestamp_seconds",
            "When the destination last did what it was asked.",
            destination.ok_at.map(seconds),
        ),
        Family::single(
            "source_last_success_timestamp_seconds",
            "When the source was last read.",
            metadata.ok_at.map(seconds),
        ),
        Family::gauge(
            "part_needs_attention",
            "Whether a person should look at something that everything depends on.",
            seen.status.dependencies.iter().map(|part| {
                let labels = vec![("part", part.name.to_lowercase())];
                (labels, truth(part.health.needs_attention()))
            }),
        ),
        Family::single(
            "clock_ahead_seconds",
            "How far the clock of this machine was ahead of the authority's when they were last compared.",
            seen.status.clock.map(|clock| (clock.here - clock.at_ca).as_seconds_f64()),
        ),
        Family::single(
            "wake_owed",
            "Whether balancers are to be told to read their certificates again.",
            truth(seen.status.is_wake_owed),
        ),
    ]
}

const PHASES: [&str; 4] = ["starting", "waiting", "standing-by", "running"];

fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Waiting { .. } => "waiting",
        Phase::StandingBy { .. } => "standing-by",
        Phase::Running => "running",
        // Nobody asks for metrics then.
        Phase::NotRunning => "not-running",
    }
}

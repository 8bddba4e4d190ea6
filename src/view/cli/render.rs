//! Answers as text for a terminal.

use std::fmt::Write;

use time::Duration;
use time::OffsetDateTime;

use crate::core::text::plain;
use crate::core::text::timestamp;
use crate::view::status::Phase;
use crate::view::status::Status;
use crate::view::status::certificate::Certificate;
use crate::view::status::certificate::Copy;

/// How everything stands.
pub fn status(status: &Status) -> String {
    let mut text = format!("{}\n", plain(&status.sentence));
    line(&mut text, &origin(status));
    if !status.certificates.is_empty() {
        text.push('\n');
        let rows = status.certificates.iter().map(|certificate| {
            [
                certificate.health.label().to_owned(),
                certificate.name.clone(),
                ends(certificate.expires_at, status.at),
                next(certificate, status.at),
            ]
        });
        let rows: Vec<_> = rows.collect();
        let heads = ["STATE", "CERTIFICATE", "EXPIRES", "NEXT"];
        for (index, row) in table(heads, &rows).into_iter().enumerate() {
            line(&mut text, &row);
            if let Some(certificate) =
                index.checked_sub(1).and_then(|at| status.certificates.get(at))
            {
                trouble(&mut text, certificate);
            }
        }
    }
    dependencies(&mut text, status);
    waits(&mut text, status);
    for notice in &status.notices {
        line(&mut text, &format!("notice: {notice}"));
    }
    text
}

/// What a pass would do.
pub fn plan(status: &Status) -> String {
    let rows = status.certificates.iter().map(|certificate| {
        [certificate.action.to_lowercase(), certificate.names.join(" "), certificate.reason.clone()]
    });
    let rows: Vec<_> = rows.collect();
    let mut text = String::new();
    if rows.is_empty() {
        line(&mut text, &status.sentence);
    } else {
        for row in table(["ACTION", "NAMES", "WHY"], &rows) {
            line(&mut text, &row);
        }
    }
    dependencies(&mut text, status);
    for notice in &status.notices {
        line(&mut text, &format!("notice: {notice}"));
    }
    text.push_str("\nNothing was changed, and the CA was not asked.\n");
    text
}

/// Everything that is known of one certificate.
pub fn explain(certificate: &Certificate, status: &Status) -> String {
    let now = status.at;
    let at = format!("at {}", status.destination);
    let mut rows = vec![
        ("state", certificate.health.label().to_owned()),
        ("names", certificate.names.join(" ")),
        ("wanted by", certificate.origins.join(", ")),
        ("decision", certificate.action.to_lowercase()),
        ("why", certificate.reason.clone()),
    ];
    if let Some(problem) = &certificate.problem {
        rows.push(("trouble", problem.what.clone()));
        rows.extend(problem.advice.clone().map(|advice| ("what to do", advice)));
        rows.extend(problem.link.clone().map(|link| ("where", link)));
    }
    rows.push(("in the store", copy(&certificate.on_disk, now)));
    rows.push((at.as_str(), copy(&certificate.at_destination, now)));
    let balancers = match &certificate.balancers {
        None => "not known".to_owned(),
        Some(none) if none.is_empty() => "none lists it".to_owned(),
        Some(names) => names.join(", "),
    };
    if status.has_balancers() {
        rows.push(("balancers", balancers));
    }
    let last = match &certificate.last_try {
        None => "none that is remembered".to_owned(),
        Some(last) => format!(
            "{} {}: {}",
            last.what,
            ago(last.at, now),
            last.error.as_deref().unwrap_or("OK")
        ),
    };
    rows.push(("last try", last));
    rows.push(("next", next(certificate, now)));
    rows.push(("renewal due", ends(certificate.renewal_due_at, now)));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in rows {
        line(&mut text, &format!("{name:width$}  {value}"));
    }
    line(&mut text, &origin(status));
    text
}

/// The settings in force.
pub fn settings(in_force: &[(&'static str, String)]) -> String {
    let width = in_force.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for (name, value) in in_force {
        line(&mut text, &format!("{name:width$}  {value}"));
    }
    text
}

fn origin(status: &Status) -> String {
    let at = timestamp(status.at);
    match (&status.phase, status.started_at) {
        (Phase::NotRunning, _) => {
            format!("No daemon runs here; as of {at}.")
        }
        (_, Some(since)) => format!(
            "As of {at}, by the daemon {} that runs since {}.",
            status.version,
            timestamp(since)
        ),
        (_, None) => format!("As of {at}."),
    }
}

fn trouble(text: &mut String, certificate: &Certificate) {
    let Some(problem) = &certificate.problem else {
        let last = certificate.last_try.as_ref();
        if let Some((at, error)) = last.and_then(|last| Some((last.at, last.error.as_ref()?))) {
            line(text, &format!("    last try, {}: {error}", timestamp(at)));
        }
        return;
    };
    line(text, &format!("    what happened: {}", problem.what));
    if let Some(advice) = &problem.advice {
        line(text, &format!("    what to do:    {advice}"));
    }
    if let Some(link) = &problem.link {
        line(text, &format!("    where:         {link}"));
    }
}

fn dependencies(text: &mut String, status: &Status) {
    for part in status.dependencies.iter().filter(|part| part.health.needs_attention()) {
        text.push('\n');
        line(text, &format!("{}: {}", part.name, part.detail));
        if let Some(advice) = &part.advice {
            line(text, &format!("    what to do:    {advice}"));
        }
    }
}

fn waits(text: &mut String, status: &Status) {
    for authority in &status.authorities {
        for budget in authority.budgets.iter().filter(|budget| budget.left() == 0) {
            let sentence = format!(
                "limit of {}: {} of {} {} used, one more {}",
                authority.directory,
                budget.used,
                budget.limit,
                budget.what,
                time_and_distance(budget.refills_at, status.at)
            );
            line(text, &sentence);
        }
    }
}

fn copy(copy: &Copy, now: OffsetDateTime) -> String {
    match copy {
        Copy::Unknown { why } => format!("not known: {why}"),
        Copy::Absent => "nothing".to_owned(),
        Copy::Broken { why } => format!("broken: {why}"),
        Copy::Whole(whole) => {
            let kind = match (whole.is_self_signed, whole.is_staging) {
                (true, _) => "self-signed, ",
                (false, true) => "staging, ",
                (false, false) => "",
            };
            format!(
                "{kind}by {}, for {}, from {}, until {}, sha256 {}",
                whole.issuer,
                whole.names.join(" "),
                timestamp(whole.not_before),
                time_and_distance(whole.not_after, now),
                whole.fingerprint
            )
        }
    }
}

fn ends(at: Option<OffsetDateTime>, now: OffsetDateTime) -> String {
    at.map_or_else(|| "-".to_owned(), |at| time_and_distance(at, now))
}

fn next(certificate: &Certificate, now: OffsetDateTime) -> String {
    match &certificate.next {
        Some(next) => format!("{} {}", next.what, time_and_distance(next.at, now)),
        None => "-".to_owned(),
    }
}

fn time_and_distance(at: OffsetDateTime, now: OffsetDateTime) -> String {
    format!("{} ({})", timestamp(at), distance(at - now))
}

fn ago(at: OffsetDateTime, now: OffsetDateTime) -> String {
    format!("at {} ({})", timestamp(at), distance(at - now))
}

/// How far away a time is, in its two largest units at most.
pub fn distance(left: Duration) -> String {
    let text = span(left.abs());
    if left.is_negative() { format!("{text} ago") } else { format!("in {text}") }
}

fn span(time: Duration) -> String {
    let (days, hours, minutes) =
        (time.whole_days(), time.whole_hours() % 24, time.whole_minutes() % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{} s", time.whole_seconds()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days @ 1..=9, hours @ 1.., _) => format!("{days} d {hours} h"),
        (days, _, _) => format!("{days} d"),
    }
}

/// Columns as wide as their widest cell; the last one goes to the end of the line.
fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let heads = heads.map(str::to_owned);
    let all = || std::iter::once(&heads).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    all()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

fn line(text: &mut String, content: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", plain(content));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(left: Duration, text: &str) {
        assert_eq!(distance(left), text);
    }

    #[test]
    fn distances_are_told_in_their_largest_units() {
        check(Duration::ZERO, "in 0 s");
        check(Duration::seconds(59), "in 59 s");
        check(Duration::seconds(61), "in 1 min");
        check(Duration::minutes(60), "in 1 h");
        check(Duration::minutes(100), "in 1 h 40 min");
        check(Duration::hours(24), "in 1 d");
        check(Duration::hours(25), "in 1 d 1 h");
        check(Duration::hours(240), "in 10 d");
        check(Duration::hours(250), "in 10 d");
        check(-Duration::hours(25), "1 d 1 h ago");
    }

    #[test]
    fn columns_stand_under_each_other_and_lines_end_without_spaces() {
        let rows = [["a".to_owned(), String::new()], ["bbb".to_owned(), "c".to_owned()]];
        assert_eq!(table(["X", "YY"], &rows), ["X    YY", "a", "bbb  c"]);
    }

    #[test]
    fn what_comes_from_outside_neither_steers_the_terminal_nor_forges_a_line() {
        let mut text = String::new();
        line(&mut text, "a\u{1b}[31mb\r\u{7}\nOK: all is well\u{202e}");
        assert_eq!(text, "a [31mb   OK: all is well \n");
    }
}

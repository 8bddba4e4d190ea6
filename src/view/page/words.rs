//! Times and texts as people read them.

use std::fmt;

use askama::filters::Safe;
use time::Duration;
use time::OffsetDateTime;
use time::UtcOffset;
use time::macros::format_description;

/// Far longer than any sentence of an authority; what is cut is whole in `/status.json`.
const LONGEST_TEXT: usize = 1500;
/// Addresses with a token in them are longer.
const LONGEST_WORD: usize = 120;

/// A time that machines can read as well.
pub(super) struct Moment(OffsetDateTime);

/// A time as an element: made of digits only, so it is safe as it is.
pub(super) fn moment(at: OffsetDateTime) -> Safe<Moment> {
    Safe(Moment(at.to_offset(UtcOffset::UTC)))
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let person = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
        let text = self.0.format(person).map_err(|_| fmt::Error)?;
        write!(f, "<time datetime=\"{}\">{text}</time>", machine(self.0),)
    }
}

/// A time for machines.
pub(super) fn machine(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default()
}

/// The day of a time.
pub(super) fn day(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC).date().to_string()
}

/// The time of day, to the second.
pub(super) fn clock(at: OffsetDateTime) -> String {
    let (hour, minute, second) = at.to_offset(UtcOffset::UTC).to_hms();
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// A span in its largest unit of which there are two at least, rounded down.
fn span(span: Duration) -> String {
    let span = span.abs();
    let units = [
        (Duration::days(365), "year"),
        (Duration::DAY, "day"),
        (Duration::HOUR, "hour"),
        (Duration::MINUTE, "minute"),
    ];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| *unit * 2 <= span)
        .unwrap_or((Duration::SECOND, "second"));
    match span.whole_seconds() / unit.whole_seconds() {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    }
}

/// When something is, seen from now.
pub(super) fn when(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let to_come = at - now;
    if to_come.whole_seconds() == 0 {
        "now".to_owned()
    } else if to_come.is_positive() {
        format!("in {}", span(to_come))
    } else {
        format!("{} ago", span(to_come))
    }
}

/// How long something is valid yet.
pub(super) fn left(until: OffsetDateTime, now: OffsetDateTime) -> String {
    let left = until - now;
    if left.is_positive() {
        format!("{} left", span(left))
    } else if left.whole_seconds() == 0 {
        "expired now".to_owned()
    } else {
        format!("expired {} ago", span(left))
    }
}

/// A length of time, from the largest unit that leaves no rest.
pub(super) fn window(seconds: i64) -> String {
    match seconds {
        604_800 => "a week".to_owned(),
        86_400 => "a day".to_owned(),
        3600 => "an hour".to_owned(),
        seconds => span(Duration::seconds(seconds)),
    }
}

/// A number of things.
pub(super) fn count(number: usize, one: &str, more: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {more}"),
    }
}

/// A text without words and ends that nobody reads.
pub(super) fn text(text: &str) -> String {
    let length = text.chars().count();
    let whole: String = text.chars().take(LONGEST_TEXT).collect();
    let mut shown = String::with_capacity(whole.len());
    for piece in whole.split_inclusive(char::is_whitespace) {
        if piece.chars().count() > LONGEST_WORD {
            shown.extend(piece.chars().take(LONGEST_WORD));
            shown += "… ";
        } else {
            shown += piece;
        }
    }
    if length > LONGEST_TEXT {
        let cut = length - LONGEST_TEXT;
        shown = format!(
            "{} … and {cut} characters more, in /status.json",
            shown.trim_end_matches([' ', '…'])
        );
    }
    shown.trim_end().to_owned()
}

/// A piece of a text of ours, in which backticks mark what is typed.
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) is_code: bool,
}

/// The pieces of a text of ours.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    text.split('`').enumerate().map(|(at, text)| Piece { text, is_code: at % 2 == 1 })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    #[test]
    fn spans_are_said_in_units_that_people_count_in() {
        let table = [
            (0, "now", "expired now"),
            (1, "in 1 second", "1 second left"),
            (119, "in 119 seconds", "119 seconds left"),
            (120, "in 2 minutes", "2 minutes left"),
            (179, "in 2 minutes", "2 minutes left"),
            (7199, "in 119 minutes", "119 minutes left"),
            (7200, "in 2 hours", "2 hours left"),
            (172_799, "in 47 hours", "47 hours left"),
            (172_800, "in 2 days", "2 days left"),
            (86_400 * 90 - 1, "in 89 days", "89 days left"),
            (86_400 * 729, "in 729 days", "729 days left"),
            (86_400 * 730, "in 2 years", "2 years left"),
            (-1, "1 second ago", "expired 1 second ago"),
            (-120, "2 minutes ago", "expired 2 minutes ago"),
            (-172_800, "2 days ago", "expired 2 days ago"),
            (-86_400 * 3650, "10 years ago", "expired 10 years ago"),
        ];
        for (seconds, when_is_it, how_long) in table {
            let at = NOW + Duration::seconds(seconds);
            assert_eq!(when(at, NOW), when_is_it, "{seconds}");
            assert_eq!(left(at, NOW), how_long, "{seconds}");
        }
        // Part of a second is time left all the same.
        let soon = NOW + Duration::milliseconds(300);
        assert_eq!(left(soon, NOW), "0 seconds left");
        assert_eq!(when(soon, NOW), "now");
        let end = datetime!(9999-12-31 23:59:59 UTC);
        assert_eq!(left(end, NOW), "7979 years left");
    }

    #[test]
    fn times_are_in_utc_for_people_and_machines() {
        let at = datetime!(2026-01-31 23:30:05 -5);
        assert_eq!(
            moment(at).0.to_string(),
            "<time datetime=\"2026-02-01T04:30:05Z\">2026-02-01 04:30 UTC</time>"
        );
        assert_eq!(day(at), "2026-02-01");
        assert_eq!(clock(at), "04:30:05");
    }

    #[test]
    fn windows_have_names() {
        let table = [
            (3600, "an hour"),
            (10_800, "3 hours"),
            (86_400, "a day"),
            (604_800, "a week"),
            (1_209_600, "14 days"),
        ];
        for (seconds, name) in table {
            assert_eq!(window(seconds), name);
        }
    }

    #[test]
    fn long_words_and_ends_are_cut() {
        assert_eq!(text("as it is, \"quoted\"\n"), "as it is, \"quoted\"");
        let address = format!("visit https://ca.example/{} now", "x".repeat(700));
        let shown = text(&address);
        assert!(shown.starts_with("visit https://ca.example/xxx"), "{shown}");
        assert!(shown.ends_with("x… now"), "{shown}");
        let word = "ü".repeat(10_000);
        let shown = text(&word);
        assert!(shown.chars().count() < 200, "{shown}");
        assert!(shown.ends_with("… and 8500 characters more, in /status.json"));
    }

    #[test]
    fn what_is_typed_is_told_apart() {
        let told: Vec<(&str, bool)> = pieces("check `CATTLE_URL` and Rancher")
            .map(|piece| (piece.text, piece.is_code))
            .collect();
        let expected = [("check ", false), ("CATTLE_URL", true), (" and Rancher", false)];
        assert_eq!(told, expected);
    }
}

//! The life of a certificate as a line: issued, renewal due, expiry, now.

use time::OffsetDateTime;

use crate::view::page::words::day;
use crate::view::page::words::left;
use crate::view::status::certificate::Certificate;
use crate::view::status::certificate::Whole;

/// A line from issue to expiry; places are in percent of it.
pub(super) struct Life {
    /// The day it was issued.
    pub(super) issued: String,
    /// The day it ends.
    pub(super) expires: String,
    /// When it is to be renewed, if that is known and within its life.
    pub(super) renewal: Option<Mark>,
    /// Where it stands.
    pub(super) now: Mark,
    /// All of it in words.
    pub(super) words: String,
}

/// A place on the line.
pub(super) struct Mark {
    /// Where, in percent.
    pub(super) at: f64,
    /// What is written there.
    pub(super) label: String,
}

impl Mark {
    /// On which side of its place a label has room.
    pub(super) fn anchor(&self) -> &'static str {
        match self.at {
            ..20.0 => "start",
            80.0.. => "end",
            _ => "middle",
        }
    }
}

/// The life of what is served: the copy at the destination, else the one in the store.
pub(super) fn life(certificate: &Certificate, now: OffsetDateTime) -> Option<Life> {
    let (disk, destination) = (certificate.on_disk.whole(), certificate.at_destination.whole());
    let served = destination.or(disk)?;
    let is_due_known = disk.is_some_and(|disk| disk.fingerprint == served.fingerprint);
    let due = certificate.renewal_due_at.filter(|_| is_due_known);
    of(served, due, now)
}

fn of(whole: &Whole, due: Option<OffsetDateTime>, now: OffsetDateTime) -> Option<Life> {
    let length = (whole.not_after - whole.not_before).as_seconds_f64();
    if length <= 0.0 {
        return None;
    }
    let place = |at: OffsetDateTime| {
        let part = (at - whole.not_before).as_seconds_f64() / length;
        (part.clamp(0.0, 1.0) * 1000.0).round() / 10.0
    };
    let due = due.filter(|due| whole.not_before < *due && *due < whole.not_after);
    let (issued, expires) = (day(whole.not_before), day(whole.not_after));
    let renewal = due.map(day);
    let renewal_words =
        renewal.as_ref().map_or_else(String::new, |day| format!(", renewal due {day}"));
    Some(Life {
        words: format!(
            "Issued {issued}{renewal_words}, expires {expires}: {}",
            left(whole.not_after, now)
        ),
        issued,
        expires,
        renewal: due
            .zip(renewal)
            .map(|(due, day)| Mark { at: place(due), label: format!("renewal due {day}") }),
        now: Mark { at: place(now), label: "now".to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const ISSUED: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);

    fn whole(days: i64) -> Whole {
        Whole {
            issuer: "R11".to_owned(),
            names: vec!["a.example.com".to_owned()],
            not_before: ISSUED,
            not_after: ISSUED + Duration::days(days),
            fingerprint: "00".to_owned(),
            is_self_signed: false,
            is_staging: false,
        }
    }

    #[test]
    fn places_stay_on_the_line() {
        let due = Some(ISSUED + Duration::days(60));
        let table = [
            (-1, 0.0, "start", "91 days left"),
            (0, 0.0, "start", "90 days left"),
            (45, 50.0, "middle", "45 days left"),
            (80, 88.9, "end", "10 days left"),
            (93, 100.0, "end", "expired 3 days ago"),
        ];
        for (days, place, anchor, left) in table {
            let life = of(&whole(90), due, ISSUED + Duration::days(days)).unwrap();
            assert_eq!((life.now.at, life.now.anchor()), (place, anchor), "{days}");
            assert!(life.words.ends_with(left), "{}", life.words);
            assert_eq!(life.renewal.unwrap().at, 66.7);
        }
    }

    #[test]
    fn a_line_needs_a_length_and_a_renewal_a_place_on_it() {
        assert!(of(&whole(0), None, ISSUED).is_none());
        assert!(of(&whole(-3), None, ISSUED).is_none());
        for days in [-5, 0, 90, 91] {
            let due = Some(ISSUED + Duration::days(days));
            assert!(of(&whole(90), due, ISSUED).unwrap().renewal.is_none());
        }
        let words = of(&whole(90), None, ISSUED).unwrap().words;
        assert_eq!(words, "Issued 2026-01-01, expires 2026-04-01: 90 days left");
    }
}

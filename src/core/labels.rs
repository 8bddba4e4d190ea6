//! What labels announce, and what they announced until lately: a restart or an upgrade takes announcers away as well.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::core::held::Announcement;
use crate::core::wanted::Holders;

/// How long the names of an announcer that is gone hold. A container that is restarted, upgraded or replaced is back by
/// then, with its image pulled anew; of one that was removed nothing is done in this time but renewals that were due.
pub const HOLD: Duration = Duration::minutes(10);

/// What was last learned from labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LabelsRecord {
    /// What services announced.
    pub announcements: Vec<Announcement>,
    /// Who is gone since a short time. What they announced holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// Who holds which primary name.
    pub holders: Holders,
}

/// An announcer that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What it announced.
    pub announcement: Announcement,
    /// The first reading without it.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

impl LabelsRecord {
    /// What counts as announced.
    pub fn announced(&self) -> Vec<Announcement> {
        self.all().cloned().collect()
    }

    /// Takes a reading. Answers whether there is anything that did not count before: names that go are not urgent.
    ///
    /// Who is gone is missing for [`HOLD`], with the names it holds, or until somebody new of its name announces
    /// something, who takes its place. Who is there and announces something else, or nothing, means it.
    pub fn learn(&mut self, read: Vec<Announcement>, now: OffsetDateTime) -> bool {
        let counted: BTreeSet<(&str, &str)> = self.all().flat_map(entries).collect();
        let is_news = read.iter().flat_map(entries).any(|entry| !counted.contains(&entry));
        let before: BTreeSet<(&str, &str)> = self.all().map(who).collect();
        let there: BTreeSet<(&str, &str)> = read.iter().map(who).collect();
        let successors: BTreeMap<&str, &str> = read
            .iter()
            .filter(|new| says(new) && !new.service.is_empty() && !before.contains(&who(new)))
            .map(|new| (new.service.as_str(), new.uuid.as_str()))
            .collect();
        for holder in self.holders.values_mut() {
            let is_there = there.contains(&(&holder.uuid, &holder.service));
            if let Some(uuid) = successors.get(holder.service.as_str()).filter(|_| !is_there) {
                holder.uuid = (*uuid).to_owned();
            }
        }
        let gone = self.announcements.iter().cloned();
        let gone = gone.map(|announcement| Missing { announcement, since: now });
        let missing = self.missing.iter().cloned().chain(gone);
        self.missing = missing
            // One from later was noted by a clock that was ahead.
            .map(|missing| Missing { since: missing.since.min(now), ..missing })
            .filter(|missing| now - missing.since < HOLD)
            .filter(|missing| !there.contains(&who(&missing.announcement)))
            .filter(|missing| !successors.contains_key(missing.announcement.service.as_str()))
            .collect();
        self.announcements = read.into_iter().filter(says).collect();
        is_news
    }

    fn all(&self) -> impl Iterator<Item = &Announcement> {
        let missing = self.missing.iter().map(|missing| &missing.announcement);
        self.announcements.iter().chain(missing)
    }
}

fn who(announcement: &Announcement) -> (&str, &str) {
    (&announcement.uuid, &announcement.service)
}

fn says(announcement: &Announcement) -> bool {
    !announcement.label.trim().is_empty()
}

/// The entries of a label, each with the name of its announcer, which its successor has too.
fn entries(announcement: &Announcement) -> impl Iterator<Item = (&str, &str)> {
    let service = announcement.service.as_str();
    let entries = announcement.label.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(move |entry| (service, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wanted::Wanted;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    /// Takes a reading of `uuid service label`, and answers whether there was news.
    #[track_caller]
    fn learn(record: &mut LabelsRecord, minutes: i64, read: &[(&str, &str, &str)]) -> bool {
        let read = read.iter().map(|(uuid, service, label)| Announcement {
            uuid: (*uuid).to_owned(),
            service: (*service).to_owned(),
            label: (*label).to_owned(),
        });
        let is_news = record.learn(read.collect(), START + Duration::minutes(minutes));
        record.holders = Wanted::merge(&[], &record.announced(), &record.holders).holders;
        let kept = serde_json::to_string(record).unwrap();
        assert_eq!(serde_json::from_str::<LabelsRecord>(&kept).unwrap(), *record);
        is_news
    }

    /// Who holds which name.
    #[track_caller]
    fn check(record: &LabelsRecord, expected: &[(&str, &str)]) {
        let holders: Vec<(&str, &str)> =
            record.holders.iter().map(|(name, by)| (name.as_str(), by.uuid.as_str())).collect();
        assert_eq!(holders, expected);
    }

    #[test]
    fn who_is_gone_holds_its_names_for_a_while_against_everybody() {
        let mut record = LabelsRecord::default();
        assert!(learn(&mut record, 0, &[("5", "web", "a.test.com")]));
        assert!(!learn(&mut record, 1, &[]));
        check(&record, &[("a.test.com", "5")]);
        assert!(learn(&mut record, 2, &[("1", "other", "a.test.com b.test.com")]));
        check(&record, &[("a.test.com", "5"), ("b.test.com", "1")]);
        assert!(!learn(&mut record, 10, &[("1", "other", "a.test.com b.test.com")]));
        check(&record, &[("a.test.com", "5"), ("b.test.com", "1")]);
        // The time is counted from the first reading without it.
        assert!(!learn(&mut record, 11, &[("1", "other", "a.test.com b.test.com")]));
        check(&record, &[("a.test.com", "1")]);
    }

    #[test]
    fn who_comes_and_goes_is_no_news() {
        let mut record = LabelsRecord::default();
        let all = [("5", "web", "a.test.com, b.test.com"), ("6", "other", "c.test.com")];
        assert!(learn(&mut record, 0, &all));
        for minute in 1..30 {
            assert!(!learn(&mut record, minute, &all[usize::from(minute % 2 == 1)..]));
            check(&record, &[("a.test.com", "5"), ("b.test.com", "5"), ("c.test.com", "6")]);
        }
    }

    #[test]
    fn who_is_there_and_announces_something_else_or_nothing_means_it() {
        for label in ["", "b.test.com"] {
            let mut record = LabelsRecord::default();
            learn(&mut record, 0, &[("5", "web", "a.test.com")]);
            assert_eq!(learn(&mut record, 1, &[("5", "web", label)]), !label.is_empty());
            assert_eq!(record.missing, []);
            assert!(!record.announced().iter().any(|one| one.label == "a.test.com"));
        }
        // Also after it was missing.
        let mut record = LabelsRecord::default();
        learn(&mut record, 0, &[("5", "web", "a.test.com")]);
        learn(&mut record, 1, &[]);
        learn(&mut record, 2, &[("5", "web", "")]);
        assert_eq!(record, LabelsRecord::default());
    }

    /// A container that is replaced has another UUID.
    #[test]
    fn a_successor_of_the_same_name_takes_the_place_of_who_is_gone() {
        let other = ("1", "other", "a.test.com x.test.com");
        let mut record = LabelsRecord::default();
        learn(&mut record, 0, &[("5", "web", "a.test.com")]);
        learn(&mut record, 1, &[other]);
        assert!(!learn(&mut record, 2, &[other, ("7", "web", "a.test.com")]));
        assert_eq!(record.missing, []);
        check(&record, &[("a.test.com", "7"), ("x.test.com", "1")]);
        assert!(learn(&mut record, 3, &[other, ("8", "web", "b.test.com")]));
        check(&record, &[("a.test.com", "1"), ("b.test.com", "8")]);

        // One that was beside it and comes back sooner is none.
        let mut record = LabelsRecord::default();
        let both = [("5", "web", "a.test.com"), ("6", "web", "b.test.com")];
        learn(&mut record, 0, &both);
        learn(&mut record, 1, &[]);
        learn(&mut record, 2, &both[..1]);
        check(&record, &[("a.test.com", "5"), ("b.test.com", "6")]);

        // One that was beside it is none: names of containers are of one host.
        let mut record = LabelsRecord::default();
        learn(&mut record, 0, &[("5", "web", "a.test.com"), ("6", "web", "b.test.com")]);
        learn(&mut record, 1, &[("6", "web", "b.test.com")]);
        check(&record, &[("a.test.com", "5"), ("b.test.com", "6")]);
    }

    #[test]
    fn a_clock_that_was_ahead_holds_nothing_for_longer() {
        let mut record = LabelsRecord::default();
        learn(&mut record, 1000, &[("5", "web", "a.test.com")]);
        learn(&mut record, 1000, &[]);
        learn(&mut record, 0, &[]);
        learn(&mut record, 9, &[]);
        check(&record, &[("a.test.com", "5")]);
        learn(&mut record, 10, &[]);
        assert_eq!(record, LabelsRecord::default());
    }

    #[test]
    fn a_record_of_before_is_read() {
        let text = r#"{"announcements": [], "holders": {}}"#;
        assert_eq!(serde_json::from_str::<LabelsRecord>(text).unwrap(), LabelsRecord::default());
    }
}

//! What was told, and what waits to be sent: one file in the store.

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::view::notify::news::Notified;
use crate::view::notify::notice::Notice;
use crate::view::notify::notice::Severity;

/// How many notices wait at most.
pub const MOST: usize = 200;
/// How long one is tried.
pub const LONGEST: Duration = Duration::days(5);

/// What was told, and what waits to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outbox {
    /// What was told.
    #[serde(alias = "told")]
    pub notified: Notified,
    queue: Vec<Queued>,
    last_id: u64,
    /// How many were dropped since the last one was delivered.
    dropped: u64,
}

/// A notice that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Its number in this store.
    pub id: u64,
    /// When it came.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// How often it was tried in vain.
    pub tries: u32,
    /// When it is tried again.
    #[serde(with = "time::serde::rfc3339")]
    pub next_try_at: OffsetDateTime,
    /// What it says.
    pub notice: Notice,
}

impl Outbox {
    /// Adds a notice. Where there are too many, the oldest that is not critical goes.
    pub fn add(&mut self, notice: Notice, now: OffsetDateTime) {
        if MOST <= self.queue.len() {
            let is_mild = |queued: &Queued| queued.notice.severity < Severity::Critical;
            self.queue.remove(self.queue.iter().position(is_mild).unwrap_or(0));
            self.dropped += 1;
        }
        self.last_id += 1;
        self.queue.push(Queued {
            id: self.last_id,
            created_at: now,
            tries: 0,
            next_try_at: now,
            notice,
        });
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next one to be sent; it says how many were dropped before it.
    pub fn due(&self, now: OffsetDateTime) -> Option<Queued> {
        let due = self.queue.iter().find(|queued| queued.next_try_at <= now);
        let mut due = due?.clone();
        if self.dropped > 0 {
            due.notice.text += &format!(
                "\n({} notices before this one were dropped, because they could not be delivered)",
                self.dropped
            );
        }
        Some(due)
    }

    /// When the next one is to be sent.
    pub fn next_at(&self) -> Option<OffsetDateTime> {
        self.queue.iter().map(|queued| queued.next_try_at).min()
    }

    /// One was delivered.
    pub fn delivered(&mut self, id: u64) {
        self.queue.retain(|queued| queued.id != id);
        self.dropped = 0;
    }

    /// One was not delivered, and is tried again at a time.
    pub fn failed(&mut self, id: u64, next_try_at: OffsetDateTime) {
        for queued in self.queue.iter_mut().filter(|queued| queued.id == id) {
            queued.tries = queued.tries.saturating_add(1);
            queued.next_try_at = next_try_at;
        }
    }

    /// Drops what was tried for too long; answers how many.
    pub fn expire(&mut self, now: OffsetDateTime) -> usize {
        let before = self.queue.len();
        self.queue.retain(|queued| now - queued.created_at < LONGEST);
        let expired = before - self.queue.len();
        self.dropped += u64::try_from(expired).unwrap_or(u64::MAX);
        expired
    }

    /// After a start everything is tried at once: what was out of order may have been the reason for it.
    pub fn start(&mut self, now: OffsetDateTime) {
        for queued in &mut self.queue {
            queued.next_try_at = now;
        }
    }

    /// Forgets what waits: nobody is there to be told.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::core::schedule;
    use crate::view::notify::notice::Kind;

    const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

    fn notice(title: &str, severity: Severity) -> Notice {
        Notice {
            kind: Kind::Failing,
            severity,
            certificate: None,
            title: title.to_owned(),
            text: "what".to_owned(),
            url: None,
            at: NOW,
        }
    }

    fn titles(outbox: &Outbox) -> Vec<&str> {
        let queue = outbox.queue.iter();
        queue.map(|queued| queued.notice.title.as_str()).collect()
    }

    #[test]
    fn a_full_queue_loses_the_oldest_that_is_not_critical_and_says_so() {
        let mut outbox = Outbox::default();
        outbox.add(notice("worst", Severity::Critical), NOW);
        for number in 0..MOST {
            outbox.add(notice(&number.to_string(), Severity::Warning), NOW);
        }
        assert_eq!(outbox.len(), MOST);
        assert_eq!(titles(&outbox)[..2], ["worst", "1"]);
        let first = outbox.due(NOW).unwrap();
        assert!(first.notice.text.contains("(1 notices before"), "{first:?}");
        outbox.delivered(first.id);
        assert_eq!(outbox.due(NOW).unwrap().notice.text, "what");
    }

    #[test]
    fn a_full_queue_of_critical_ones_loses_the_oldest() {
        let mut outbox = Outbox::default();
        for number in 0..=MOST {
            outbox.add(notice(&number.to_string(), Severity::Critical), NOW);
        }
        assert_eq!(outbox.len(), MOST);
        assert_eq!(titles(&outbox)[0], "1");
    }

    #[test]
    fn what_failed_waits_and_does_not_keep_the_next_one_from_being_tried() {
        let mut outbox = Outbox::default();
        outbox.add(notice("a", Severity::Warning), NOW);
        outbox.add(notice("b", Severity::Warning), NOW);
        let first = outbox.due(NOW).unwrap();
        outbox.failed(first.id, NOW + Duration::DAY);
        assert_eq!(outbox.due(NOW).unwrap().notice.title, "b");
        outbox.delivered(outbox.due(NOW).unwrap().id);
        assert_eq!(outbox.due(NOW), None);
        assert_eq!(outbox.next_at(), Some(NOW + Duration::DAY));
        outbox.start(NOW);
        let again = outbox.due(NOW).unwrap();
        assert_eq!((again.id, again.tries), (first.id, 1));
    }

    #[test]
    fn what_cannot_be_delivered_for_days_is_dropped() {
        let mut outbox = Outbox::default();
        outbox.add(notice("a", Severity::Critical), NOW);
        assert_eq!(outbox.expire(NOW + LONGEST - Duration::SECOND), 0);
        assert_eq!(outbox.expire(NOW + LONGEST), 1);
        assert!(outbox.is_empty());
    }

    #[test]
    fn numbers_are_never_used_twice() {
        let mut outbox = Outbox::default();
        outbox.add(notice("a", Severity::Warning), NOW);
        outbox.delivered(1);
        let text = serde_json::to_string(&outbox).unwrap();
        let mut outbox: Outbox = serde_json::from_str(&text).unwrap();
        outbox.add(notice("b", Severity::Warning), NOW);
        assert_eq!(outbox.due(NOW).unwrap().id, 2);
    }

    #[test]
    fn waits_double_from_a_minute_to_an_hour() {
        let minutes = |failures| schedule::after_silence(failures).whole_minutes();
        let all: Vec<i64> = (1..=8).map(minutes).collect();
        assert_eq!(all, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(schedule::after_silence(u32::MAX), Duration::HOUR);
    }
}

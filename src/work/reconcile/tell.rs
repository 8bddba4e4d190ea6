//! What is said in the log, once each.

use std::collections::BTreeSet;

use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::names::Names;
use crate::core::setback::Setback;
use crate::decide::table::Action;
use crate::ports::World;
use crate::work::reconcile::Reconciler;
use crate::work::reconcile::report::Row;

/// How many sentences about one certificate are remembered. One that never gets well may fail with words that differ
/// each time, and what is forgotten is only told again.
const MOST_TOLD: usize = 100;

/// Whether a sentence was not said before, as far as that is remembered.
fn is_new(announced: &mut BTreeSet<String>, sentence: &str) -> bool {
    if announced.contains(sentence) {
        return false;
    }
    if MOST_TOLD <= announced.len() {
        announced.clear();
    }
    announced.insert(sentence.to_owned())
}

impl<W: World> Reconciler<W> {
    /// Trouble is told when it begins or changes; when it comes back, it is news again.
    pub(super) fn tell_trouble(&mut self, what: &str, trouble: Option<String>) {
        if let Some(trouble) = self.news_of(what, trouble) {
            warn!(notice = format!("{what}: {trouble}"), "trouble");
        }
    }

    /// The same for what everything depends on, whose end is told as well.
    pub(super) fn tell_fault(&mut self, what: &str, fault: Option<&str>) {
        let was_at_fault = self.troubles.contains_key(what);
        match self.news_of(what, fault.map(str::to_owned)) {
            Some(error) => warn!(error, "{what} cannot be read"),
            None if was_at_fault && fault.is_none() => info!("{what} can be read again"),
            None => {}
        }
    }

    /// What is wrong with something at present, if that is news.
    fn news_of(&mut self, what: &str, trouble: Option<String>) -> Option<String> {
        let Some(trouble) = trouble else {
            self.troubles.remove(what);
            return None;
        };
        let before = self.troubles.insert(what.to_owned(), trouble.clone());
        (before.as_ref() != Some(&trouble)).then_some(trouble)
    }

    /// What went wrong with a certificate is told when it is news.
    pub fn tell_setback(&mut self, names: &Names, setback: &Setback) {
        if !setback.is_failure || !self.is_news(names, &setback.reason) {
            return;
        }
        let next_try =
            setback.until.map_or_else(|| "next pass".to_owned(), crate::core::text::timestamp);
        warn!(%names, error = setback.sentence(), next_try, "certificate not done");
    }

    fn is_news(&mut self, names: &Names, sentence: &str) -> bool {
        let announced = self.announced.entry(names.primary().clone()).or_default();
        is_new(announced, sentence)
    }

    /// A verdict is told when it is news: a sentence once, until all is well again.
    pub(super) fn tell(&mut self, row: &Row) {
        let primary = row.entry.names.primary();
        let action = row.action();
        let reason = row.reason();
        debug!(domain = %primary, %action, reason, until = ?row.until(), "decided");
        if action == Action::Keep {
            self.announced.remove(primary);
        }
        let is_quiet = match action {
            // Told once for all of them.
            Action::Wait if row.waits_for_destination() => true,
            Action::Keep | Action::Wait => !row.needs_attention(),
            Action::Push | Action::Issue | Action::Renew | Action::Restore | Action::Leave => false,
        };
        // What holds it back may have been told when it happened.
        let sentence = match row.held_back() {
            Some(setback) => setback.reason.clone(),
            None => format!("{action} {reason}"),
        };
        if is_quiet || !self.is_news(&row.entry.names, &sentence) {
            return;
        }
        let names = row.entry.names.to_string();
        match (row.needs_attention(), row.until()) {
            (true, Some(until)) => {
                warn!(names, %action, reason, next_try = %crate::core::text::timestamp(until), "certificate needs attention")
            }
            (true, None) => warn!(names, %action, reason, "certificate needs attention"),
            (false, _) if action == Action::Leave => {
                info!(names, reason, "certificate left alone")
            }
            (false, _) => info!(names, %action, reason, "acting on a certificate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_told_once_and_words_that_always_differ_are_not_kept_for_ever() {
        let mut announced = BTreeSet::new();
        for number in 0..10 * MOST_TOLD {
            let sentence = format!("request {number} failed");
            assert!(is_new(&mut announced, &sentence), "{number}");
            assert!(!is_new(&mut announced, &sentence), "{number}");
            assert!(announced.len() <= MOST_TOLD, "{number}");
        }
    }
}

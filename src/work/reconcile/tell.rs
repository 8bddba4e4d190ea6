//! What is said in the log, once each.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::names::Names;
use crate::core::setback::Setback;
use crate::core::text::timestamp;
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

fn next_try(setback: &Setback) -> String {
    setback.until.map_or_else(|| "next pass".to_owned(), timestamp)
}

/// What meets many certificates alike, by reason.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Since it was last told, with the names of the certificates.
    collected: BTreeMap<String, (Setback, BTreeSet<String>)>,
    /// The reasons that were told and have been met since the last pass began, and those met before it.
    told: [BTreeSet<String>; 2],
}

impl Common {
    fn collect(&mut self, names: &Names, setback: &Setback) {
        let (_, all) = self
            .collected
            .entry(setback.reason.clone())
            .or_insert_with(|| (setback.clone(), BTreeSet::new()));
        all.insert(names.to_string());
    }

    /// What was not told before.
    fn news(&mut self) -> Vec<(Setback, Vec<String>)> {
        let mut news = Vec::new();
        for (reason, (setback, names)) in std::mem::take(&mut self.collected) {
            let is_told = self.told.iter().any(|told| told.contains(&reason));
            self.told[0].insert(reason);
            if !is_told {
                news.push((setback, names.into_iter().collect()));
            }
        }
        news
    }

    /// A pass begins: what it and the one before did not meet is over, and would be news.
    pub(super) fn turn(&mut self) {
        self.told[1] = std::mem::take(&mut self.told[0]);
    }
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

    /// What went wrong with a certificate is told when it is news; what meets all alike, by [`Self::tell_common`].
    pub fn tell_setback(&mut self, names: &Names, setback: &Setback) {
        if setback.is_failure && setback.is_common {
            self.common.collect(names, setback);
        } else if setback.is_failure && self.is_news(names, &setback.reason) {
            warn!(%names, error = setback.sentence(), next_try = next_try(setback), "certificate not done");
        }
    }

    /// What was collected that meets all certificates alike: one line for each reason, with how many it meets.
    pub fn tell_common(&mut self) {
        for (setback, names) in self.common.news() {
            let (error, next_try) = (setback.sentence(), next_try(&setback));
            match names.as_slice() {
                [names] => warn!(names, error, next_try, "certificate not done"),
                [first, ..] => {
                    let certificates = names.len();
                    warn!(certificates, first, error, next_try, "certificates not done");
                }
                [] => {}
            }
        }
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
        if let Some(setback) = row.held_back().filter(|setback| setback.is_common) {
            self.tell_setback(&row.entry.names, setback);
            return;
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
                warn!(names, %action, reason, next_try = timestamp(until), "certificate needs attention")
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
    fn what_meets_all_alike_is_told_once_with_the_count_until_it_is_over() {
        let mut common = Common::default();
        let names = |name: &str| Names::new([name.parse().unwrap()]).unwrap();
        let setback = Setback::failure("the clock is wrong").common();
        let collect = |common: &mut Common| {
            for name in ["a.test", "b.test", "a.test"] {
                common.collect(&names(name), &setback);
            }
        };
        collect(&mut common);
        let news = common.news();
        assert_eq!(news.len(), 1);
        assert_eq!(news[0].1, ["a.test", "b.test"]);
        for _ in 0..3 {
            common.turn();
            collect(&mut common);
            assert_eq!(common.news(), []);
        }
        for _ in 0..2 {
            common.turn();
            assert_eq!(common.news(), []);
        }
        collect(&mut common);
        assert_eq!(common.news().len(), 1);
    }

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

//! What is said in the log, once each.

use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::decide::Action;
use crate::ports::World;
use crate::reconcile::Reconciler;
use crate::reconcile::report::Row;

impl<W: World> Reconciler<W> {
    pub(super) fn say(&mut self, sentence: String) {
        if self.said.insert(sentence.clone()) {
            warn!(notice = sentence, "trouble");
        }
    }

    /// A fault is told when it begins or changes, and when it ends.
    pub(super) fn tell_fault(&mut self, what: &str, fault: Option<&str>) {
        let prefix = format!("{what} is at fault: ");
        let before = self
            .said
            .iter()
            .find(|said| said.starts_with(&prefix))
            .cloned();
        let now = fault.map(|fault| format!("{prefix}{fault}"));
        if before == now {
            return;
        }
        if let Some(before) = before {
            self.said.remove(&before);
        }
        match now {
            Some(now) => {
                warn!(error = fault.unwrap_or_default(), "{what} cannot be read");
                self.said.insert(now);
            }
            None => info!("{what} can be read again"),
        }
    }

    /// A verdict is told when it is news: a sentence once, until all is well again.
    pub(super) fn tell(&mut self, row: &Row) {
        let primary = row.entry.names.primary();
        let action = row.action();
        let reason = row.reason();
        debug!(domain = %primary, %action, reason, until = ?row.until, "decided");
        if action == Action::Keep {
            self.told.remove(primary);
        }
        let is_quiet = match action {
            // Told once for all of them.
            Action::Wait if row.waits_for_rancher() => true,
            Action::Keep | Action::Wait => !row.needs_attention(),
            Action::Push | Action::Issue | Action::Renew | Action::Restore | Action::Leave => false,
        };
        let sentence = format!("{action} {reason}");
        if is_quiet
            || !self
                .told
                .entry(primary.clone())
                .or_default()
                .insert(sentence)
        {
            return;
        }
        let names = row.entry.names.to_string();
        match (row.needs_attention(), row.until) {
            (true, Some(until)) => {
                warn!(names, %action, reason, next_try = %crate::classify::timestamp(until), "certificate needs attention")
            }
            (true, None) => warn!(names, %action, reason, "certificate needs attention"),
            (false, _) if action == Action::Leave => {
                info!(names, reason, "certificate left alone")
            }
            (false, _) => info!(names, %action, reason, "acting on a certificate"),
        }
    }
}

//! What failed, and how long each of them waits.

use time::OffsetDateTime;

use crate::core::budget::Level;
use crate::core::budget::Limits;
use crate::core::names::DomainName;
use crate::store::ledger::Ledger;
use crate::store::ledger::event::Event;
use crate::store::ledger::event::Line;
use crate::store::ledger::event::Subject;
use crate::store::ledger::event::Wait;

impl Ledger {
    /// The wait that is on record for a subject, over or not.
    pub fn wait(&self, subject: &Subject) -> Option<&Wait> {
        self.waits.get(subject)
    }

    /// The wait for a subject, if it is not over.
    pub fn waiting(&self, subject: &Subject, now: OffsetDateTime) -> Option<&Wait> {
        self.waits.get(subject).filter(|wait| now < wait.until)
    }

    /// How often a subject has failed in a row.
    pub fn failures(&self, subject: &Subject) -> u32 {
        let on_record = self.waits.get(subject).map(|wait| wait.failures);
        let doubted =
            u32::from(self.doubted_at.is_some() && matches!(subject, Subject::Name { .. }));
        on_record.unwrap_or(doubted)
    }

    /// An account at an authority whose names have failed.
    pub fn waiting_account(&self, directory: &str) -> Option<String> {
        self.waits.keys().rev().find_map(|subject| {
            if let Subject::Name { directory: there, account, .. } = subject
                && there == directory
                && !account.is_empty()
            {
                return Some(account.clone());
            }
            None
        })
    }

    /// Every wait on record, over or not.
    pub fn waits(&self) -> impl Iterator<Item = (&Subject, &Wait)> {
        self.waits.iter()
    }

    /// The end of the first wait that is not over.
    pub fn next_end(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.waits.values().map(|wait| wait.until).filter(|until| now < *until).min()
    }

    /// Notes a failure.
    pub fn fail(&mut self, subject: Subject, wait: Wait, now: OffsetDateTime) -> Line {
        self.note_failure(subject, wait, Vec::new(), now)
    }

    /// Notes a validation that failed, which takes from the limits of its name.
    pub fn fail_validation(
        &mut self,
        subject: Subject,
        wait: Wait,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Line {
        let levels = if let Subject::Name { directory, account, name } = &subject {
            self.levels.fail(directory, account, name, limits, now)
        } else {
            Vec::new()
        };
        self.note_failure(subject, wait, levels, now)
    }

    fn note_failure(
        &mut self,
        subject: Subject,
        wait: Wait,
        levels: Vec<Level>,
        now: OffsetDateTime,
    ) -> Line {
        let event = Event::Failed { subject, wait, levels };
        self.note(event, now)
    }

    /// Notes that a subject is well again; nothing is to be written if it was.
    pub fn clear(&mut self, subject: &Subject, now: OffsetDateTime) -> Option<Line> {
        self.wait(subject)?;
        Some(self.note(Event::Cleared { subject: subject.clone() }, now))
    }

    /// Notes a name that an authority has validated: what failed before is over.
    pub fn validated(
        &mut self,
        directory: &str,
        account: &str,
        name: &DomainName,
        now: OffsetDateTime,
    ) -> Line {
        let event = Event::Validated {
            directory: directory.to_owned(),
            account: account.to_owned(),
            name: name.clone(),
        };
        self.note(event, now)
    }

    /// Lets a subject be tried now, without forgetting how often it has failed.
    pub fn lift(&mut self, subject: &Subject, now: OffsetDateTime) -> Option<Line> {
        let mut wait = self.waiting(subject, now)?.clone();
        wait.until = now;
        Some(self.note_failure(subject.clone(), wait, Vec::new(), now))
    }
}

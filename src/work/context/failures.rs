//! Failures and the waits that follow them, on record before anything is tried again.

use time::OffsetDateTime;

use crate::core::budget::Limits;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::resource::Account;
use crate::core::schedule;
use crate::core::setback::Setback;
use crate::core::text::one_line;
use crate::core::text::timestamp;
use crate::ports::World;
use crate::store::ledger::Ledger;
use crate::store::ledger::Subject;
use crate::store::ledger::Wait;
use crate::work::context::Context;

/// The wait of an authority that is left alone at a time.
pub(super) fn open_breaker<'a>(
    ledger: &'a Ledger,
    breaker: &Subject,
    now: OffsetDateTime,
) -> Option<&'a Wait> {
    let wait = ledger.waiting(breaker, now);
    wait.filter(|wait| schedule::is_open(wait.failures))
}

/// The wait of what was found to fail since a time.
fn failed_since<'a>(
    ledger: &'a Ledger,
    subject: &Subject,
    since: OffsetDateTime,
) -> Option<&'a Wait> {
    let wait = ledger.wait(subject);
    wait.filter(|wait| wait.failed_at.is_some_and(|at| since <= at))
}

/// The same, where it was a validation.
fn validation_failed_since<'a>(
    ledger: &'a Ledger,
    subject: &Subject,
    since: OffsetDateTime,
) -> Option<&'a Wait> {
    let wait = failed_since(ledger, subject, since);
    wait.filter(|wait| wait.failure_kind.is_some_and(FailureKind::is_of_validation))
}

impl<W: World> Context<W> {
    /// Notes a failure that is tried again at `until`.
    pub async fn fail_until(
        &self,
        subject: Subject,
        until: OffsetDateTime,
        what: impl Into<Failure>,
    ) -> Wait {
        self.note_failure(subject, |_| until, what.into(), None, |_| None).await
    }

    /// Notes a failure on the clock of its kind; what has none in the table waits as what fails at the destination does.
    pub async fn fail(&self, subject: Subject, what: impl Into<Failure>) -> Wait {
        self.fail_by_clock(subject, what.into(), None, |_| None).await
    }

    /// The same, unless the same subject was found to fail since a time: one look counts once, however many certificates
    /// wait for it.
    pub async fn fail_once_since(
        &self,
        since: OffsetDateTime,
        subject: Subject,
        what: Failure,
    ) -> Wait {
        let of = subject.clone();
        let counted = |ledger: &Ledger| failed_since(ledger, &of, since).cloned();
        self.fail_by_clock(subject, what, None, counted).await
    }

    /// Notes a validation that failed at an authority, on the clock of its kind, unless one of the same name has failed
    /// there since a time.
    pub async fn fail_validation(
        &self,
        directory: &str,
        since: OffsetDateTime,
        subject: Subject,
        what: Failure,
    ) {
        let limits = self.limits(directory);
        let of = subject.clone();
        let counted = |ledger: &Ledger| validation_failed_since(ledger, &of, since).cloned();
        self.fail_by_clock(subject, what, limits, counted).await;
    }

    /// Whether a validation has failed since a time, by the clock of its name.
    pub fn has_validation_failed(&self, subject: &Subject, since: OffsetDateTime) -> bool {
        validation_failed_since(&self.ledger(), subject, since).is_some()
    }

    async fn fail_by_clock(
        &self,
        subject: Subject,
        what: Failure,
        limits: Option<&Limits>,
        counted: impl FnOnce(&Ledger) -> Option<Wait>,
    ) -> Wait {
        let (now, loop_time, clock) = (self.now(), self.settings.loop_time, what.backoff());
        let until = |failures| now + clock.after(failures, loop_time);
        self.note_failure(subject, until, what, limits, counted).await
    }

    /// `limits` are those that the failure takes from. `counted` finds the wait of a failure that was noted already and is
    /// the same: both under one lock, since others find out at the same moment.
    async fn note_failure(
        &self,
        subject: Subject,
        until: impl FnOnce(u32) -> OffsetDateTime,
        what: Failure,
        limits: Option<&Limits>,
        counted: impl FnOnce(&Ledger) -> Option<Wait>,
    ) -> Wait {
        let now = self.now();
        let asked_with = match &subject {
            Subject::Account { directory } => Some(self.settings.account_asked_with(directory)),
            Subject::Name { .. }
            | Subject::SelfCheck { .. }
            | Subject::Attempt { .. }
            | Subject::Push { .. }
            | Subject::Wake
            | Subject::Key { .. }
            | Subject::Authority { .. }
            | Subject::Change { .. }
            | Subject::Overruled { .. } => None,
        };
        let (wait, line) = {
            let mut ledger = self.ledger();
            if let Some(wait) = counted(&ledger) {
                return wait;
            }
            let failures = ledger.failures(&subject).saturating_add(1);
            // What is waited for already is not over sooner because something else went wrong besides.
            let until = until(failures);
            let longer = ledger.waiting(&subject, now).filter(|wait| until < wait.until);
            let wait = match longer {
                Some(longer) => Wait { failures, failed_at: Some(now), ..longer.clone() },
                None => Wait {
                    failures,
                    until,
                    detail: one_line(&what.text),
                    failure_kind: what.kind,
                    failed_at: Some(now),
                    address: what.address,
                    asked_with,
                },
            };
            let line = match limits {
                Some(limits) => ledger.fail_validation(subject, wait.clone(), limits, now),
                None => ledger.fail(subject, wait.clone(), now),
            };
            (wait, line)
        };
        self.write(line).await;
        wait
    }

    /// Notes a name that an authority has validated.
    pub async fn note_validated(&self, account: &Account, name: &DomainName) {
        let line = self.ledger().validated(&account.directory, &account.url, name, self.now());
        self.write(line).await;
    }

    /// Notes that a subject is well.
    pub async fn clear(&self, subject: &Subject) {
        let line = self.ledger().clear(subject, self.now());
        if let Some(line) = line {
            self.write(line).await;
        }
    }

    /// Forgets that an account was refused that was asked for with other settings than there are; limits of the authority
    /// stay.
    pub(super) async fn forget_refusals_of_other_accounts(&self) {
        let is_of_other = |subject: &Subject, wait: &Wait| {
            let Subject::Account { directory } = subject else {
                return false;
            };
            let asked_with = self.settings.account_asked_with(directory);
            !is_given_by_authority(wait) && wait.asked_with.is_some_and(|with| with != asked_with)
        };
        let now = self.now();
        let lines = {
            let mut ledger = self.ledger();
            let others = ledger.waits().filter(|(subject, wait)| is_of_other(subject, wait));
            let others: Vec<Subject> = others.map(|(subject, _)| subject.clone()).collect();
            let others = others.iter();
            others.filter_map(|subject| ledger.clear(subject, now)).collect()
        };
        self.write_all(lines).await;
    }

    /// Lifts the waits of some names and their certificate, and of the authority that they are ordered from, but for those
    /// that the authority itself has set.
    pub async fn lift_waits(&self, names: &NameSet, certificate: &DomainName) {
        let of_certificate = |own: &str| own == certificate.as_str();
        let concerns = |subject: &Subject| match subject {
            Subject::Name { name, .. } | Subject::SelfCheck { name } => names.contains(name),
            Subject::Attempt { certificate } | Subject::Push { certificate } => {
                of_certificate(certificate)
            }
            Subject::Account { directory } | Subject::Authority { directory } => {
                directory == self.settings.policy.wanted_directory()
            }
            // That our own brakes were overruled today is a brake itself.
            Subject::Overruled { .. }
            | Subject::Change { .. }
            | Subject::Wake
            | Subject::Key { .. } => false,
        };
        let lifted: Vec<Subject> = {
            let ledger = self.ledger();
            let waits = ledger.waits();
            let lifted =
                waits.filter(|(subject, wait)| concerns(subject) && !is_given_by_authority(wait));
            lifted.map(|(subject, _)| subject.clone()).collect()
        };
        let now = self.now();
        let lines = {
            let mut ledger = self.ledger();
            let lifted = lifted.iter();
            lifted.filter_map(|subject| ledger.lift(subject, now)).collect()
        };
        self.write_all(lines).await;
    }

    /// Whether something has to wait, and why.
    pub fn held_back(&self, subject: &Subject) -> Result<(), Setback> {
        let now = self.now();
        match self.ledger().waiting(subject, now) {
            Some(wait) => Err(wait.clone().into()),
            None => Ok(()),
        }
    }

    /// The wait of an authority that is left alone at present.
    pub fn open_breaker(&self, breaker: &Subject) -> Option<Wait> {
        let now = self.now();
        open_breaker(&self.ledger(), breaker, now).cloned()
    }

    /// Notes an answer that says nothing but that the authority fails. Several in a row open the breaker; while it
    /// is open, answers to what was asked before count no more.
    pub async fn note_outage(
        &self,
        breaker: Subject,
        not_before: Option<OffsetDateTime>,
        what: Failure,
    ) {
        let now = self.now();
        let error = what.text.clone();
        let until = |failures| {
            if !schedule::is_open(failures) {
                return now;
            }
            let asked = not_before.unwrap_or(now);
            let until = asked.max(now + schedule::after_outage(failures));
            tracing::warn!(error, next_try = %timestamp(until), "authority left alone after several failures in a row");
            until
        };
        let of = breaker.clone();
        let counted = |ledger: &Ledger| open_breaker(ledger, &of, now).cloned();
        self.note_failure(breaker, until, what, None, counted).await;
    }

    /// Names that wait after a failed validation, a refusal or a failed self-check.
    pub fn waiting_names<'a>(
        &self,
        names: impl Iterator<Item = &'a DomainName>,
        account: &str,
    ) -> NameSet {
        let now = self.now();
        let ledger = self.ledger();
        let directory = self.settings.policy.wanted_directory();
        let is_waiting = |name: &&DomainName| {
            ledger.waiting(&refusals(directory, account, name), now).is_some()
                || ledger.waiting(&Subject::SelfCheck { name: (*name).clone() }, now).is_some()
        };
        names.filter(is_waiting).cloned().collect()
    }

    /// Whether a name waits because the authority has refused it, not because of our own look at it.
    pub fn is_refused(&self, name: &DomainName, account: &str) -> bool {
        let directory = self.settings.policy.wanted_directory();
        let subject = refusals(directory, account, name);
        self.ledger().waiting(&subject, self.now()).is_some()
    }

    /// The longest of the waits of some names, with its reason.
    pub fn wait_of(&self, names: &NameSet, account: &str) -> Option<Wait> {
        let now = self.now();
        let ledger = self.ledger();
        let directory = self.settings.policy.wanted_directory();
        let waits = names.iter().flat_map(|name| {
            let subjects =
                [refusals(directory, account, name), Subject::SelfCheck { name: name.clone() }];
            subjects.map(|subject| ledger.waiting(&subject, now).cloned())
        });
        waits.flatten().max_by_key(|wait| wait.until)
    }
}

/// Whether the authority itself has said that it wants to be left alone: no setting changes that, nor does a person here.
fn is_given_by_authority(wait: &Wait) -> bool {
    matches!(
        wait.failure_kind,
        Some(FailureKind::Limited | FailureKind::AccountLimited | FailureKind::Overloaded)
    )
}

/// The clock of failed validations and refusals of a name.
pub fn refusals(directory: &str, account: &str, name: &DomainName) -> Subject {
    Subject::Name {
        directory: directory.to_owned(),
        account: account.to_owned(),
        name: name.clone(),
    }
}

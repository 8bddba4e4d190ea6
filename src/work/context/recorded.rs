//! What is on record about one certificate, as the decision asks for it.

use std::sync::MutexGuard;

use time::OffsetDateTime;

use crate::core::budget::OrderCost;
use crate::core::budget::UsedUp;
use crate::core::fingerprint::Fingerprint;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::reaction::FailureKind;
use crate::core::setback::Setback;
use crate::decide::filter::NameWait;
use crate::decide::filter::OnRecord;
use crate::ports::World;
use crate::store::ledger::Ledger;
use crate::store::ledger::Subject;
use crate::work::context::Context;
use crate::work::context::failures::open_breaker;
use crate::work::context::refusals;

/// The ledger, locked, and what else the decision about one certificate asks for.
pub struct Recorded<'a, W: World> {
    context: &'a Context<W>,
    ledger: MutexGuard<'a, Ledger>,
    clock: Option<Setback>,
    /// Its primary name.
    certificate: &'a str,
    /// URL of the account; empty before there is one.
    account: &'a str,
    now: OffsetDateTime,
}

impl<W: World> Context<W> {
    /// What is on record about a certificate. Nothing else can be noted while this is held.
    pub fn recorded<'a>(
        &'a self,
        certificate: &'a str,
        account: &'a str,
        now: OffsetDateTime,
    ) -> Recorded<'a, W> {
        Recorded {
            context: self,
            clock: self.clock_right().err(),
            ledger: self.ledger(),
            certificate,
            account,
            now,
        }
    }
}

impl<W: World> Recorded<'_, W> {
    fn directory(&self) -> &str {
        self.context.settings.policy.wanted_directory()
    }

    fn waiting(&self, subject: &Subject) -> Option<Setback> {
        let wait = self.ledger.waiting(subject, self.now)?;
        Some(wait.clone().into())
    }

    fn breaker(&self, directory: &str) -> Option<Setback> {
        let directory = directory.to_owned();
        let breaker = Subject::Authority { directory };
        let wait = open_breaker(&self.ledger, &breaker, self.now)?;
        let mut wait = wait.clone();
        wait.detail = format!("the authority cannot be used at present: {}", wait.detail);
        Some(wait.into())
    }

    fn of_authority(&self, directory: &str, is_opened: bool) -> Option<Setback> {
        if self.clock.is_some() {
            return self.clock.clone();
        }
        let subject = Subject::Account { directory: directory.to_owned() };
        let account = self.waiting(&subject);
        let is_limit = |setback: &Setback| setback.kind == Some(FailureKind::AccountLimited);
        account
            .filter(|setback| !(is_opened && is_limit(setback)))
            .or_else(|| self.breaker(directory))
    }
}

impl<W: World> OnRecord for Recorded<'_, W> {
    fn name(&self, name: &DomainName) -> Option<NameWait> {
        let refused = self.waiting(&refusals(self.directory(), self.account, name));
        if let Some(setback) = refused {
            return Some(NameWait { setback, is_refused: true });
        }
        let setback = self.waiting(&Subject::SelfCheck { name: name.clone() })?;
        Some(NameWait { setback, is_refused: false })
    }

    fn failures(&self, name: &DomainName) -> u32 {
        let refused = refusals(self.directory(), self.account, name);
        let checked = Subject::SelfCheck { name: name.clone() };
        let failures = [refused, checked].map(|subject| self.ledger.failures(&subject));
        failures.into_iter().max().unwrap_or(0)
    }

    fn attempt(&self) -> Option<Setback> {
        let certificate = self.certificate.to_owned();
        self.waiting(&Subject::Attempt { certificate })
    }

    fn push(&self) -> Option<Setback> {
        let certificate = self.certificate.to_owned();
        self.waiting(&Subject::Push { certificate })
    }

    fn key(&self, leaf: &Fingerprint) -> Option<Setback> {
        self.waiting(&Subject::Key { leaf: *leaf })
    }

    fn authority(&self) -> Option<Setback> {
        self.of_authority(self.directory(), false)
    }

    fn authority_of_opened(&self, directory: &str) -> Option<Setback> {
        self.of_authority(directory, true)
    }

    fn floor(&self, names: &NameSet) -> Option<OffsetDateTime> {
        self.ledger.floor(self.directory(), names, self.now)
    }

    fn doubt(&self) -> Option<OffsetDateTime> {
        self.ledger.doubt(self.now)
    }

    fn limits(&self, names: &NameSet, is_renewal: bool) -> Option<UsedUp> {
        let limits = self.context.limits(self.directory())?;
        let asked =
            OrderCost { directory: self.directory(), account: self.account, names, is_renewal };
        self.ledger.levels().check(&asked, limits, self.now).err()
    }

    fn next_change(&self) -> Option<OffsetDateTime> {
        let certificate = self.certificate.to_owned();
        let wait = self.ledger.waiting(&Subject::Change { certificate }, self.now)?;
        Some(wait.until)
    }

    fn is_overruled(&self) -> bool {
        let certificate = self.certificate.to_owned();
        let subject = Subject::Overruled { certificate };
        self.ledger.waiting(&subject, self.now).is_some()
    }
}

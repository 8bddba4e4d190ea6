//! Ports that count how they are answered, for those who look from outside.
//!
//! Counted are calls of a port, not requests: one call may read several pages. What an authority answers to a look at
//! its clock is counted only where it fails, because mostly nothing is asked for it; and
//! [`Orchestrator::changed`] has no answer at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use time::OffsetDateTime;

use crate::core::bundle::Secret;
use crate::core::held::Announcement;
use crate::core::held::Held;
use crate::core::held::Revealed;
use crate::core::held::Service;
use crate::core::held::Upload;
use crate::core::names::Names;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::OrchestratorError;
use crate::core::resource::Account;
use crate::core::resource::Authorization;
use crate::core::resource::Order;
use crate::ports::Answered;
use crate::ports::Authority;
use crate::ports::Orchestrator;

/// What is said of an answer without a fault.
pub const OK: &str = "ok";

/// Every kind of answer of an orchestrator.
pub const ORCHESTRATOR_ANSWERS: [&str; 6] =
    [OK, "unavailable", "conflict", "not-unique", "denied", "refused"];

/// Every kind of answer of an authority.
pub const AUTHORITY_ANSWERS: [&str; 10] = [
    OK,
    "unavailable",
    "failed",
    "bad-nonce",
    "rate-limited",
    "refused",
    "account-unknown",
    "gone",
    "not-ready",
    "already-told",
];

/// Which directory of an authority; there may be others only on record, of settings that were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Directory {
    /// That of `ACME_DIRECTORY`.
    Production,
    /// That of `ACME_STAGING_DIRECTORY`.
    Staging,
    /// Another one.
    Other,
}

impl Directory {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Production, Self::Staging, Self::Other];

    /// As metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Other => "other",
        }
    }
}

/// The URLs of the directories that the settings name.
#[derive(Debug, Clone, Default)]
pub struct Directories {
    /// That of `ACME_DIRECTORY`.
    pub production: String,
    /// That of `ACME_STAGING_DIRECTORY`.
    pub staging: String,
}

impl Directories {
    /// Which one a URL is.
    pub fn of(&self, url: &str) -> Directory {
        if url == self.production {
            Directory::Production
        } else if url == self.staging {
            Directory::Staging
        } else {
            Directory::Other
        }
    }
}

/// How somebody has answered since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// How often, by kind.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// When the last answer without a fault came.
    pub ok_at: Option<OffsetDateTime>,
}

impl Answers {
    fn note(&mut self, kind: &'static str, now: OffsetDateTime) {
        *self.by_kind.entry(kind).or_insert(0) += 1;
        if kind == OK {
            self.ok_at = Some(now);
        }
    }
}

/// How everybody has answered since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The destination.
    pub rancher: Answers,
    /// the source.
    pub metadata: Answers,
    /// The authorities.
    pub authorities: BTreeMap<Directory, Answers>,
}

/// Counts answers.
pub struct Counts {
    directories: Directories,
    now: fn() -> OffsetDateTime,
    tally: Mutex<Tally>,
}

impl Counts {
    /// Nothing is counted yet.
    pub fn new(directories: Directories, now: fn() -> OffsetDateTime) -> Self {
        Self { directories, now, tally: Mutex::default() }
    }

    /// The directories that are told apart.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// What was counted.
    pub fn tally(&self) -> Tally {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An orchestrator whose answers are counted.
pub struct CountedOrchestrator<O> {
    inner: O,
    counts: Arc<Counts>,
}

impl<O> CountedOrchestrator<O> {
    /// Counts what `inner` answers.
    pub fn new(inner: O, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }

    fn rancher<T>(&self, answer: Result<T, OrchestratorError>) -> Result<T, OrchestratorError> {
        let now = (self.counts.now)();
        note_orchestrator(&mut self.counts.lock().rancher, &answer, now);
        answer
    }

    fn metadata<T>(&self, answer: Result<T, OrchestratorError>) -> Result<T, OrchestratorError> {
        let now = (self.counts.now)();
        note_orchestrator(&mut self.counts.lock().metadata, &answer, now);
        answer
    }
}

fn note_orchestrator<T>(
    answers: &mut Answers,
    answer: &Result<T, OrchestratorError>,
    now: OffsetDateTime,
) {
    let kind = match answer {
        Ok(_) => OK,
        Err(OrchestratorError::Unavailable(_)) => "unavailable",
        Err(OrchestratorError::Conflict(_)) => "conflict",
        Err(OrchestratorError::NotUnique(_)) => "not-unique",
        Err(OrchestratorError::Denied(_)) => "denied",
        Err(OrchestratorError::Refused(_)) => "refused",
    };
    answers.note(kind, now);
}

impl<O: Orchestrator> Orchestrator for CountedOrchestrator<O> {
    async fn announcements(&self) -> Result<Vec<Announcement>, OrchestratorError> {
        self.metadata(self.inner.announcements().await)
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }

    async fn certificates(&self) -> Result<Vec<Held>, OrchestratorError> {
        self.rancher(self.inner.certificates().await)
    }

    async fn look(&self, id: &str) -> Result<Option<Held>, OrchestratorError> {
        self.rancher(self.inner.look(id).await)
    }

    async fn find(&self, name: &str) -> Result<Vec<Held>, OrchestratorError> {
        self.rancher(self.inner.find(name).await)
    }

    async fn create(&self, name: &str, upload: &Upload) -> Result<Held, OrchestratorError> {
        self.rancher(self.inner.create(name, upload).await)
    }

    async fn replace(&self, id: &str, upload: &Upload) -> Result<Held, OrchestratorError> {
        self.rancher(self.inner.replace(id, upload).await)
    }

    async fn reveal(&self, id: &str) -> Result<Revealed, OrchestratorError> {
        self.rancher(self.inner.reveal(id).await)
    }

    async fn balancers(&self) -> Result<Vec<Service>, OrchestratorError> {
        self.rancher(self.inner.balancers().await)
    }

    async fn own_service(&self) -> Result<Option<Service>, OrchestratorError> {
        self.rancher(self.inner.own_service().await)
    }

    async fn wake(&self, id: &str) -> Result<(), OrchestratorError> {
        self.rancher(self.inner.wake(id).await)
    }
}

/// Authorities whose answers are counted.
pub struct CountedAuthority<A> {
    inner: A,
    counts: Arc<Counts>,
}

impl<A> CountedAuthority<A> {
    /// Counts what `inner` answers.
    pub fn new(inner: A, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }

    fn noted<T>(
        &self,
        directory: &str,
        answer: Result<T, AuthorityError>,
    ) -> Result<T, AuthorityError> {
        let kind = match &answer {
            Ok(_) => OK,
            Err(error) => match error.kind {
                AuthorityErrorKind::Unavailable => "unavailable",
                AuthorityErrorKind::Failed => "failed",
                AuthorityErrorKind::BadNonce => "bad-nonce",
                AuthorityErrorKind::RateLimited(_) => "rate-limited",
                AuthorityErrorKind::Refused => "refused",
                AuthorityErrorKind::AccountUnknown => "account-unknown",
                AuthorityErrorKind::Gone => "gone",
                AuthorityErrorKind::NotReady => "not-ready",
                AuthorityErrorKind::AlreadyResponded => "already-told",
            },
        };
        let (directory, now) = (self.counts.directories.of(directory), (self.counts.now)());
        let mut tally = self.counts.lock();
        let answers = tally.authorities.entry(directory).or_default();
        answers.note(kind, now);
        answer
    }
}

impl<A: Authority> Authority for CountedAuthority<A> {
    async fn register(
        &self,
        directory: &str,
        key: &Secret,
        contact: Option<&str>,
    ) -> Result<String, AuthorityError> {
        let answer = self.inner.register(directory, key, contact).await;
        self.noted(directory, answer)
    }

    async fn time(
        &self,
        directory: &str,
        answered: Answered,
    ) -> Result<Option<OffsetDateTime>, AuthorityError> {
        match self.inner.time(directory, answered).await {
            Ok(time) => Ok(time),
            failed @ Err(_) => self.noted(directory, failed),
        }
    }

    async fn open(&self, account: &Account, names: &Names) -> Result<Order, AuthorityError> {
        let answer = self.inner.open(account, names).await;
        self.noted(&account.directory, answer)
    }

    async fn look(&self, account: &Account, order: &str) -> Result<Order, AuthorityError> {
        let answer = self.inner.look(account, order).await;
        self.noted(&account.directory, answer)
    }

    async fn look_at(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> Result<Authorization, AuthorityError> {
        let answer = self.inner.look_at(account, order, authorization).await;
        self.noted(&account.directory, answer)
    }

    async fn tell(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> Result<(), AuthorityError> {
        let answer = self.inner.tell(account, order, authorization).await;
        self.noted(&account.directory, answer)
    }

    async fn deactivate(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> Result<(), AuthorityError> {
        let answer = self.inner.deactivate(account, order, authorization).await;
        self.noted(&account.directory, answer)
    }

    async fn finalize(
        &self,
        account: &Account,
        order: &str,
        request: &[u8],
    ) -> Result<Order, AuthorityError> {
        let answer = self.inner.finalize(account, order, request).await;
        self.noted(&account.directory, answer)
    }

    async fn download(
        &self,
        account: &Account,
        order: &str,
        certificate: &str,
    ) -> Result<String, AuthorityError> {
        let answer = self.inner.download(account, order, certificate).await;
        self.noted(&account.directory, answer)
    }

    fn thumbprint(&self, key: &Secret) -> Option<String> {
        self.inner.thumbprint(key)
    }
}

#[cfg(test)]
mod tests;

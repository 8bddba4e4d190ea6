//! Ports that count how they are answered, for those who look from outside.
//!
//! Counted are calls of a port, not requests: one call may read several pages. What an authority answers to a look at
//! its clock is counted only where it fails, because mostly nothing is asked for it, and so is [`Source::changed`],
//! which waits for as long as nothing happens.
//!
//! From the same answers it is known at any moment, between passes too, who cannot be read, why and since when:
//! [`tally::Outage`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use time::OffsetDateTime;

use crate::core::bundle::Secret;
use crate::core::held::Abilities;
use crate::core::held::Activated;
use crate::core::held::Announcement;
use crate::core::held::CertificateId;
use crate::core::held::Held;
use crate::core::held::Ownership;
use crate::core::held::Retrieved;
use crate::core::held::Upload;
use crate::core::held::User;
use crate::core::held::UserId;
use crate::core::held::Which;
use crate::core::held::Words;
use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::DestinationError;
use crate::core::problem::NoData;
use crate::core::reaction::Failure;
use crate::core::resource::Account;
use crate::core::resource::Authorization;
use crate::core::resource::Order;
use crate::ports::Answered;
use crate::ports::Authority;
use crate::ports::Destination;
use crate::ports::Source;

pub mod tally;

use tally::Tally;

/// What is said of an answer without a fault.
pub const OK: &str = "ok";

/// Every kind of answer of a destination.
pub const DESTINATION_ANSWERS: [&str; 5] = [OK, "unavailable", "conflict", "denied", "refused"];

/// Every kind of answer of a source.
pub const SOURCE_ANSWERS: [&str; 2] = [OK, "unavailable"];

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
    "already-responded",
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

/// A source whose answers are counted.
pub struct CountedSource<S> {
    inner: S,
    counts: Arc<Counts>,
}

impl<S> CountedSource<S> {
    /// Counts what `inner` answers.
    pub fn new(inner: S, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }

    fn noted<T>(&self, answer: Result<T, NoData>) -> Result<T, NoData> {
        let kind = SOURCE_ANSWERS[usize::from(answer.is_err())];
        let now = (self.counts.now)();
        let mut tally = self.counts.lock();
        tally.source.note(kind, now);
        let fault = answer.as_ref().err().map(|error| error.to_string().into());
        tally.source.read(fault, now);
        answer
    }
}

impl<S: Source> Source for CountedSource<S> {
    async fn announcements(&self) -> Result<Vec<Announcement>, NoData> {
        self.noted(self.inner.announcements().await)
    }

    async fn changed(&self) -> Result<(), NoData> {
        match self.inner.changed().await {
            // What there is now is read next, and that is counted.
            Ok(()) => Ok(()),
            failed @ Err(_) => self.noted(failed),
        }
    }
}

/// A destination whose answers are counted.
pub struct CountedDestination<D> {
    inner: D,
    counts: Arc<Counts>,
}

impl<D> CountedDestination<D> {
    /// Counts what `inner` answers.
    pub fn new(inner: D, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }

    fn noted<T>(&self, answer: Result<T, DestinationError>) -> Result<T, DestinationError> {
        let now = (self.counts.now)();
        self.counts.lock().destination.note(word(&answer), now);
        answer
    }

    /// Of an answer that says whether the destination can be read at all.
    fn read<T>(&self, answer: Result<T, DestinationError>) -> Result<T, DestinationError> {
        let (kind, now) = (word(&answer), (self.counts.now)());
        let mut tally = self.counts.lock();
        tally.destination.note(kind, now);
        let fault = answer.as_ref().err().map(Failure::from);
        tally.destination.read(fault, now);
        answer
    }
}

fn word<T>(answer: &Result<T, DestinationError>) -> &'static str {
    match answer {
        Ok(_) => OK,
        Err(DestinationError::Unavailable(_)) => "unavailable",
        Err(DestinationError::Conflict(_)) => "conflict",
        Err(DestinationError::Denied(_)) => "denied",
        Err(DestinationError::Refused(_)) => "refused",
    }
}

impl<D: Destination> Destination for CountedDestination<D> {
    fn describe(&self) -> Words {
        self.inner.describe()
    }

    fn can(&self) -> Abilities {
        self.inner.can()
    }

    async fn list(&self) -> Result<Vec<Held>, DestinationError> {
        self.read(self.inner.list().await)
    }

    async fn look(&self, which: Which<'_>) -> Result<Option<Held>, DestinationError> {
        self.read(self.inner.look(which).await)
    }

    async fn put(
        &self,
        name: &str,
        replaces: Option<&Held>,
        upload: &Upload,
        ownership: Option<&Ownership>,
    ) -> Result<Held, DestinationError> {
        self.noted(self.inner.put(name, replaces, upload, ownership).await)
    }

    async fn retrieve(&self, id: &CertificateId) -> Result<Retrieved, DestinationError> {
        self.noted(self.inner.retrieve(id).await)
    }

    async fn users(&self) -> Result<Vec<User>, DestinationError> {
        self.noted(self.inner.users().await)
    }

    async fn activate(&self, changed: &[CertificateId]) -> Result<Activated, DestinationError> {
        self.noted(self.inner.activate(changed).await)
    }

    async fn served(
        &self,
        user: &UserId,
        name: &DomainName,
    ) -> Result<Vec<SocketAddr>, DestinationError> {
        self.noted(self.inner.served(user, name).await)
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
                AuthorityErrorKind::AlreadyResponded => "already-responded",
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

    async fn respond(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> Result<(), AuthorityError> {
        let answer = self.inner.respond(account, order, authorization).await;
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

//! The doors to the outside: where names come from and bundles go, the CA, the challenge files, the disk, the clock.
//!
//! Every method is a *single effect*: a test can stop the program between any two of them and start it again.
//! Errors are sorted by what one does about them, not by the library that made them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use time::Duration;
use time::OffsetDateTime;

use crate::core::bundle::KeyType;
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
use crate::core::problem::DestinationError;
use crate::core::problem::NoData;
use crate::core::resource::Account;
use crate::core::resource::Authorization;
use crate::core::resource::Http01;
use crate::core::resource::Order;
use crate::core::resource::Token;

pub mod counted;
pub mod new_key;

/// All doors of one program.
pub trait World: Send + Sync + 'static {
    /// Where names come from.
    type Source: Source;
    /// Where bundles go.
    type Destination: Destination;
    /// The certificate authorities, told apart by their directory URL.
    type Authority: Authority;
    /// What answers challenges.
    type Solver: Solver;
    /// The file system.
    type Disk: Disk;
    /// The time.
    type Clock: Clock;

    /// See [`World::Source`].
    fn source(&self) -> &Self::Source;
    /// See [`World::Destination`].
    fn destination(&self) -> &Self::Destination;
    /// See [`World::Authority`].
    fn authority(&self) -> &Self::Authority;
    /// See [`World::Solver`].
    fn solver(&self) -> &Self::Solver;
    /// See [`World::Disk`].
    fn disk(&self) -> &Arc<Self::Disk>;
    /// See [`World::Clock`].
    fn clock(&self) -> &Self::Clock;

    /// Makes a private key, PKCS#8 PEM; random, unless everything is to happen again in the same way.
    fn new_key(&self, kind: KeyType) -> Result<Secret, String> {
        new_key::new_key(kind)
    }
}

/// The time; nothing else in the program reads it.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> OffsetDateTime;

    /// Resolves after a time.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// Where names come from.
pub trait Source: Send + Sync + 'static {
    /// Reads what services announce: all of it, or an error.
    fn announcements(&self) -> impl Future<Output = Result<Vec<Announcement>, NoData>> + Send;

    /// Resolves when announcements may have changed since they were last read, and when the source answers again. An
    /// error says that it does not; asked again, it looks again when that is due.
    fn changed(&self) -> impl Future<Output = Result<(), NoData>> + Send;
}

impl<S: Source> Source for Arc<S> {
    async fn announcements(&self) -> Result<Vec<Announcement>, NoData> {
        self.as_ref().announcements().await
    }

    async fn changed(&self) -> Result<(), NoData> {
        self.as_ref().changed().await
    }
}

/// Where bundles go. How ownership is kept, what must not be sent and which of several counts is its own affair.
pub trait Destination: Send + Sync + 'static {
    /// Its words for people. No effect.
    fn describe(&self) -> Words;

    /// What it can do. No effect.
    fn can(&self) -> Abilities;

    /// Lists every certificate, whole or not at all, in its own order of precedence: of several that match the first
    /// counts.
    fn list(&self) -> impl Future<Output = Result<Vec<Held>, DestinationError>> + Send;

    /// Looks at one certificate again; none if there is none.
    fn look(
        &self,
        which: Which<'_>,
    ) -> impl Future<Output = Result<Option<Held>, DestinationError>> + Send;

    /// Makes a certificate of a name that is free, or replaces the content of one in place: its id and name stay. What
    /// is answered may still be changing. Nothing is said of whose it is without `ownership`.
    ///
    /// A name that was taken meanwhile is a [`DestinationError::Conflict`]: whoever asks must see what is there first.
    fn put(
        &self,
        name: &str,
        replaces: Option<&Held>,
        upload: &Upload,
        ownership: Option<&Ownership>,
    ) -> impl Future<Output = Result<Held, DestinationError>> + Send;

    /// Asks for a certificate together with its key. Only to be used on one of ours.
    fn retrieve(
        &self,
        id: &CertificateId,
    ) -> impl Future<Output = Result<Retrieved, DestinationError>> + Send;

    /// Lists who uses its certificates.
    fn users(&self) -> impl Future<Output = Result<Vec<User>, DestinationError>> + Send;

    /// Has the users of these certificates read them again: one effect for all.
    fn activate(
        &self,
        changed: &[CertificateId],
    ) -> impl Future<Output = Result<Activated, DestinationError>> + Send;

    /// Where a user serves a name: addresses to look at. None means that it is not known.
    fn served(
        &self,
        user: &UserId,
        name: &DomainName,
    ) -> impl Future<Output = Result<Vec<SocketAddr>, DestinationError>> + Send;
}

/// Which answer of an authority is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The last one; its directory is fetched only if there was none yet.
    Before,
    /// One that comes now: its directory is fetched.
    Now,
}

/// The certificate authorities. Resources are addressed by URL; nothing here waits or tries again by itself, but for
/// a refused nonce.
pub trait Authority: Send + Sync + 'static {
    /// Makes an account, or finds the one that has this key, and answers its URL.
    fn register(
        &self,
        directory: &str,
        key: &Secret,
        contact: Option<&str>,
    ) -> impl Future<Output = Result<String, AuthorityError>> + Send;

    /// What time it is by the authority; none if its answers do not say.
    fn time(
        &self,
        directory: &str,
        answered: Answered,
    ) -> impl Future<Output = Result<Option<OffsetDateTime>, AuthorityError>> + Send;

    /// Opens an order.
    fn open(
        &self,
        account: &Account,
        names: &Names,
    ) -> impl Future<Output = Result<Order, AuthorityError>> + Send;

    /// Looks at an order.
    fn look(
        &self,
        account: &Account,
        order: &str,
    ) -> impl Future<Output = Result<Order, AuthorityError>> + Send;

    /// Looks at an authorization of an order.
    fn look_at(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> impl Future<Output = Result<Authorization, AuthorityError>> + Send;

    /// Tells the authority that the HTTP-01 challenge of an authorization can be validated.
    fn respond(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> impl Future<Output = Result<(), AuthorityError>> + Send;

    /// Gives an authorization up.
    fn deactivate(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> impl Future<Output = Result<(), AuthorityError>> + Send;

    /// Finalizes an order with a certificate signing request in DER form.
    fn finalize(
        &self,
        account: &Account,
        order: &str,
        request: &[u8],
    ) -> impl Future<Output = Result<Order, AuthorityError>> + Send;

    /// Downloads the certificate chain of a valid order from its own URL as it comes, PEM.
    fn download(
        &self,
        account: &Account,
        order: &str,
        certificate: &str,
    ) -> impl Future<Output = Result<String, AuthorityError>> + Send;

    /// The thumbprint of an account key (RFC 7638), which ends every key authorization made with it. No effect.
    fn thumbprint(&self, key: &Secret) -> Option<String>;
}

/// What answers the challenges of an authority, so far by HTTP-01.
pub trait Solver: Send + Sync + 'static {
    /// Whether it can prove control of this name. No effect.
    fn supports(&self, name: &DomainName) -> bool;

    /// Publishes the answer, readable for everybody.
    fn present(&self, challenge: &Http01) -> impl Future<Output = io::Result<()>> + Send;

    /// Fetches the answer as the authority would; an error says what came instead.
    fn verify(
        &self,
        name: &DomainName,
        challenge: &Http01,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Takes the answer away; nothing happens if it is gone.
    fn clean_up(&self, token: &Token) -> impl Future<Output = io::Result<()>> + Send;

    /// Lists what lies there, also from before, with its content.
    fn presented(&self) -> impl Future<Output = io::Result<Vec<(Token, String)>>> + Send;
}

/// Tells one version of a file from another without reading it.
pub type Stamp = (u64, u64, u64, i64, i64);

/// When a change is safe from a power failure. From the end of the process it is safe at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safe {
    /// When the call returns: the file and the folder it stands in are synced.
    Now,
    /// When the kernel writes it back, or something behind it in the same file or folder is made safe. Only for what
    /// nothing relies on, or what is made good at the next start; until then it may be there, torn or gone.
    Later,
}

/// The file system. Calls block; [`Disk::run`] brings them off the threads that serve everything else.
///
/// What a method wrote is on the disk when it returns, unless it says otherwise: the file and the folder it stands in
/// are synced.
pub trait Disk: Send + Sync + 'static {
    /// Runs blocking work. It ends even if nobody waits for it any more.
    fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// Reads a file whole, up to a size that nothing of ours reaches.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Tells which version of a file it is, through links.
    fn stamp(&self, path: &Path) -> io::Result<Stamp>;

    /// Whether something of this name is there, not looking through links.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Lists the names in a folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Reads where a link leads.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;

    /// Makes a folder and those above it, 0700, if they are not there.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// Brings the names in a folder to the disk that another process has left there.
    fn settle(&self, folder: &Path) -> io::Result<()>;

    /// Writes files of one folder, 0600, each whole or not at all, in place of what was there.
    fn write(&self, folder: &Path, files: &[(&str, &[u8])], safe: Safe) -> io::Result<()>;

    /// Makes links in one folder, which is made if it is not there, one after the other, each in place of what was
    /// there. They are safe [`Safe::Later`].
    fn link(&self, folder: &Path, links: &[(&str, &Path)]) -> io::Result<()>;

    /// Adds to the end of a file, which is made if it is not there.
    fn append(&self, path: &Path, content: &[u8], safe: Safe) -> io::Result<()>;

    /// Gives a file or folder another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, or an empty folder; nothing happens if it is gone.
    fn remove(&self, path: &Path, safe: Safe) -> io::Result<()>;

    /// Removes files of a folder, and the folder if nothing is left in it.
    fn clear(&self, folder: &Path, files: &[&str]) -> io::Result<()>;

    /// Whether what is written here is lost with the container.
    fn is_ephemeral(&self, path: &Path) -> bool;
}

//! The doors to the outside: where names come from and bundles go, the CA, the challenge files, the disk, the clock.
//!
//! Every method is a *single effect*: a test can stop the program between any two of them and start it again.
//! Errors are sorted by what one does about them, not by the library that made them.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use time::Duration;
use time::OffsetDateTime;

use crate::bundle::Secret;
use crate::certificate::Flaw;
use crate::certificate::Shown;
use crate::names::DomainName;
use crate::names::Names;

/// All doors of one program.
pub trait World: Send + Sync + 'static {
    /// Where names come from and bundles go.
    type Orchestrator: Orchestrator;
    /// The certificate authorities, told apart by their directory URL.
    type Authority: Authority;
    /// Where the answers to challenges are published.
    type Challenge: Challenge;
    /// The file system.
    type Disk: Disk;
    /// The time.
    type Clock: Clock;

    /// See [`World::Orchestrator`].
    fn orchestrator(&self) -> &Self::Orchestrator;
    /// See [`World::Authority`].
    fn authority(&self) -> &Self::Authority;
    /// See [`World::Challenge`].
    fn challenge(&self) -> &Self::Challenge;
    /// See [`World::Disk`].
    fn disk(&self) -> &Arc<Self::Disk>;
    /// See [`World::Clock`].
    fn clock(&self) -> &Self::Clock;

    /// Makes a private key, PKCS#8 PEM; random, unless everything is to happen again in the same way.
    fn new_key(&self) -> Result<Secret, String> {
        let key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
        Ok(Secret::new(key.serialize_pem()))
    }
}

/// The time; nothing else in the program reads it.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> OffsetDateTime;

    /// Resolves after a time.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// A service, or container without one, that announces names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Announcement {
    /// Uuid of the service or container; a sidekick has that of its primary service.
    pub uuid: String,
    /// `stack/service`, for people.
    pub service: String,
    /// The text of the label.
    pub label: String,
}

/// A certificate as the orchestrator shows it; the key is never part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What the orchestrator calls it.
    pub id: String,
    /// The id as a number: of several that match, the lowest counts, as for the balancers.
    pub rank: u64,
    /// Its name.
    pub name: String,
    /// The free text beside it.
    pub description: String,
    /// Whether an earlier change is still being carried out.
    pub is_changing: bool,
    /// Leaf and chain, or why they cannot be read.
    pub content: Result<Shown, Flaw>,
}

/// What is written to the orchestrator.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The leaf, PEM.
    pub certificate: String,
    /// The certificates behind it, PEM.
    pub chain: String,
    /// The private key, one PKCS#8 block.
    pub key: Secret,
    /// The free text beside it.
    pub description: String,
}

/// A certificate with its key, taken back from the orchestrator.
#[derive(Debug)]
pub struct Revealed {
    /// Leaf and chain, PEM.
    pub chain: String,
    /// The private key, if the orchestrator gives it away.
    pub key: Option<Secret>,
}

/// A service that can be asked to update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What the orchestrator calls it.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Whether it takes the `update` action at present.
    pub is_active: bool,
    /// The certificates that it lists, by id; none for what is no balancer.
    pub certificates: Vec<String>,
    /// The folder that it reads certificates from; then it serves none of those that it lists.
    pub folder: Option<String>,
}

/// Where names come from and bundles go.
pub trait Orchestrator: Send + Sync + 'static {
    /// Reads what services announce. An error means "no data now", never "nothing announced".
    fn announcements(
        &self,
    ) -> impl Future<Output = Result<Vec<Announcement>, OrchestratorError>> + Send;

    /// Resolves when announcements may have changed since they were last read.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// Lists every certificate, whole or not at all.
    fn certificates(&self) -> impl Future<Output = Result<Vec<Held>, OrchestratorError>> + Send;

    /// Looks at one certificate again; none if it is gone.
    fn look(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<Held>, OrchestratorError>> + Send;

    /// Looks for certificates of a name.
    fn find(&self, name: &str)
    -> impl Future<Output = Result<Vec<Held>, OrchestratorError>> + Send;

    /// Makes a certificate of a name that is free.
    fn create(
        &self,
        name: &str,
        upload: &Upload,
    ) -> impl Future<Output = Result<Held, OrchestratorError>> + Send;

    /// Replaces the content of a certificate in place: id and name stay.
    fn replace(
        &self,
        id: &str,
        upload: &Upload,
    ) -> impl Future<Output = Result<Held, OrchestratorError>> + Send;

    /// Asks for a certificate together with its key. Only to be used on one of ours.
    fn reveal(&self, id: &str) -> impl Future<Output = Result<Revealed, OrchestratorError>> + Send;

    /// Lists the balancers.
    fn balancers(&self) -> impl Future<Output = Result<Vec<Service>, OrchestratorError>> + Send;

    /// Looks for the service that this program is part of; none if that cannot be told.
    fn own_service(
        &self,
    ) -> impl Future<Output = Result<Option<Service>, OrchestratorError>> + Send;

    /// Asks a service to update, upon which every balancer reads its certificates again.
    fn wake(&self, id: &str) -> impl Future<Output = Result<(), OrchestratorError>> + Send;
}

/// Why the orchestrator did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrchestratorError {
    /// No whole answer came, or one that is the server's own fault. Try again.
    #[error("{0}")]
    Unavailable(String),
    /// A change that is still being carried out is in the way. Try again soon.
    #[error("{0}")]
    Conflict(String),
    /// A certificate of this name exists already. Look for it and replace it.
    #[error("{0}")]
    NotUnique(String),
    /// A person must change a variable, label or right; the text names it.
    #[error("{0}")]
    Denied(String),
    /// It was understood and refused; the same again will be refused again.
    #[error("{0}")]
    Refused(String),
}

/// An account at an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Directory URL of the authority.
    pub directory: String,
    /// Its URL there.
    pub url: String,
    /// Its private key, PKCS#8 PEM.
    pub key: Secret,
}

/// How an order stands (RFC 8555, section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of RFC 8555")]
pub enum OrderStatus {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
}

/// An order as the authority shows it.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its URL.
    pub url: String,
    /// How it stands.
    pub status: OrderStatus,
    /// URLs of its authorizations.
    pub authorizations: Vec<String>,
    /// Where its certificate is, once that is issued.
    pub certificate: Option<String>,
    /// When it ends, if the authority says so.
    pub expires: Option<OffsetDateTime>,
    /// What went wrong with it as a whole.
    pub error: Option<Problem>,
    /// When to look again; a time that lay ahead when the answer came.
    pub not_before: Option<OffsetDateTime>,
}

/// How an authorization stands; `Over` is deactivated, expired or revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of RFC 8555")]
pub enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    Over,
}

/// An authorization as the authority shows it.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// Its URL.
    pub url: String,
    /// The name that it is about.
    pub name: DomainName,
    /// How it stands.
    pub status: AuthorizationStatus,
    /// Its HTTP-01 challenge, if it has one.
    pub challenge: Option<Http01>,
    /// Why its HTTP-01 challenge failed. One that is to be tried again has a reason too (RFC 8555, section 8.2).
    pub error: Option<Problem>,
    /// When to look again; a time that lay ahead when the answer came.
    pub not_before: Option<OffsetDateTime>,
}

/// An HTTP-01 challenge and the answer to it (RFC 8555, section 8.3).
#[derive(Debug, Clone)]
pub struct Http01 {
    /// The name of the file.
    pub token: Token,
    /// The content of the file.
    pub key_authorization: String,
    /// How it stands.
    pub status: ChallengeStatus,
}

/// How a challenge stands (RFC 8555, section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of RFC 8555")]
pub enum ChallengeStatus {
    Pending,
    Processing,
    Valid,
    Invalid,
}

/// A challenge token, safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

impl Token {
    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Token {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_safe = (1..=255).contains(&text.len()) && text.bytes().all(is_base64url);
        if is_safe { Ok(Self(text)) } else { Err("a token has only letters, digits, `-` and `_`") }
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}

/// A problem document (RFC 8555, section 6.7), its text made fit for one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// The last part of its type, such as `unauthorized`; empty if it has none.
    pub kind: String,
    /// What the authority says.
    pub detail: String,
    /// An address where a person can read or do more about it.
    pub instance: Option<String>,
    /// The names of the order that it is about, with what it says of each. None if it is about all of them.
    pub names: Vec<(DomainName, Subproblem)>,
}

/// What a problem says of one name (RFC 8555, section 6.7.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subproblem {
    /// The last part of its type.
    pub kind: String,
    /// What the authority says; empty if the problem says all.
    pub detail: String,
}

impl Problem {
    /// The kind that our adapter gives to what stands at the URL of a directory and is none.
    pub const NO_DIRECTORY: &str = "noDirectory";

    /// A problem that nothing more is known of.
    pub fn new(kind: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: kind.into(), detail: detail.into(), ..Self::default() }
    }
}

impl From<&str> for Problem {
    fn from(detail: &str) -> Self {
        Self::new("", detail)
    }
}

impl From<String> for Problem {
    fn from(detail: String) -> Self {
        Self::new("", detail)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_said(f, &self.kind, &self.detail)?;
        if let Some(address) = &self.instance
            && !self.detail.contains(address)
        {
            write!(f, "; see {address}")?;
        }
        let with_more = self.names.iter().filter(|(_, sub)| !sub.detail.is_empty());
        with_more
            .map(|(name, sub)| (name, &sub.detail))
            .try_for_each(|(name, detail)| write!(f, "; {name}: {detail}"))
    }
}

fn write_said(f: &mut fmt::Formatter<'_>, kind: &str, detail: &str) -> fmt::Result {
    match (kind, detail) {
        ("" | Problem::NO_DIRECTORY, "") => f.write_str("no reason given"),
        ("" | Problem::NO_DIRECTORY, said) | (said, "") => f.write_str(said),
        (kind, detail) => write!(f, "{kind}: {detail}"),
    }
}

/// What a limit of an authority holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// Names: those of the problem, or all of the order.
    Names,
    /// The account, or the address that it is used from: everything.
    Account,
    /// Names that the authority has paused until a person opens the address of the problem.
    Paused,
}

/// What kind of failure an authority's answer is: one for each reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorityErrorKind {
    /// It works for nobody at present: no whole answer, overload, directory or account endpoint that fail, a page that
    /// is not the authority's. It says nothing about our names.
    Unavailable,
    /// It fails at this one resource, or shows it in a way that makes no sense. Others may do well meanwhile.
    Failed,
    /// It refuses every nonce, also those that it gave just before. It works.
    BadNonce,
    /// Too much was asked.
    RateLimited(LimitScope),
    /// It was understood and refused.
    Refused,
    /// The authority does not know the account, or no longer: register again with the same key.
    AccountUnknown,
    /// The authority itself says that the resource is gone.
    Gone,
    /// The order is not in a state for this: look at it.
    NotReady,
    /// The challenge is being validated already: keep looking.
    AlreadyTold,
}

/// Why an authority did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct AuthorityError {
    /// What one does about it.
    pub kind: AuthorityErrorKind,
    /// When to ask again, if the authority says so; a time that lay ahead when the answer came.
    pub not_before: Option<OffsetDateTime>,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// What the authority says, or what happened.
    pub problem: Problem,
}

impl AuthorityError {
    /// An error that no answer is known of.
    pub fn new(kind: AuthorityErrorKind, problem: impl Into<Problem>) -> Self {
        Self { kind, not_before: None, status: None, problem: problem.into() }
    }

    /// The authority cannot be used.
    pub fn unavailable(problem: impl Into<Problem>) -> Self {
        Self::new(AuthorityErrorKind::Unavailable, problem)
    }

    /// One resource cannot be used.
    pub fn failed(problem: impl Into<Problem>) -> Self {
        Self::new(AuthorityErrorKind::Failed, problem)
    }

    /// It is refused.
    pub fn refused(problem: impl Into<Problem>) -> Self {
        Self::new(AuthorityErrorKind::Refused, problem)
    }

    /// A resource is gone.
    pub fn gone(problem: impl Into<Problem>) -> Self {
        Self::new(AuthorityErrorKind::Gone, problem)
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use AuthorityErrorKind as K;
        let problem = &self.problem;
        // What is no directory has its status in the text.
        let is_told = problem.kind == Problem::NO_DIRECTORY;
        let status = self.status.filter(|status| *status >= 300 && !is_told);
        match (self.kind, status) {
            (K::RateLimited(_), _) => Problem { kind: String::new(), ..problem.clone() }.fmt(f),
            (K::Refused, _) | (K::Unavailable | K::Failed | K::BadNonce, None) => problem.fmt(f),
            (K::Unavailable | K::Failed | K::BadNonce, Some(status)) => {
                write!(f, "{status} {problem}")
            }
            (K::AccountUnknown, _) => {
                write!(f, "the authority does not know the account: {problem}")
            }
            (K::Gone, None) => write!(f, "the order is gone: {problem}"),
            (K::Gone, Some(status)) => write!(f, "the order is gone: {status} {problem}"),
            (K::NotReady, _) => write!(f, "the order is not ready: {problem}"),
            (K::AlreadyTold, _) => {
                write!(f, "the challenge is being validated already: {problem}")
            }
        }
    }
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
    fn tell(
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

/// Where the answers to HTTP-01 challenges are published.
pub trait Challenge: Send + Sync + 'static {
    /// Publishes the answer, readable for everybody.
    fn publish(&self, challenge: &Http01) -> impl Future<Output = io::Result<()>> + Send;

    /// Fetches the answer as the authority would; an error says what came instead.
    fn check(
        &self,
        name: &DomainName,
        challenge: &Http01,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Takes the answer away; nothing happens if it is gone.
    fn withdraw(&self, token: &Token) -> impl Future<Output = io::Result<()>> + Send;

    /// Lists what is published, with its content.
    fn published(&self) -> impl Future<Output = io::Result<Vec<(Token, String)>>> + Send;
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

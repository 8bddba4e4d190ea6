//! What services announce, what a destination holds, and what it is given.

use std::fmt;

use crate::core::bundle::Secret;
use crate::core::certificate::CertificateChain;
use crate::core::certificate::Flaw;
use crate::core::fingerprint::Fingerprint;

/// A service, or container without one, that announces names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Announcement {
    /// Uuid of the service or container; a sidekick has that of its primary service.
    pub uuid: String,
    /// `stack/service`, for people.
    pub service: String,
    /// The text of the label. Empty where somebody is there who announces nothing for sure.
    pub label: String,
}

/// What a destination calls a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateId(String);

impl CertificateId {
    /// As the destination writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for CertificateId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl From<&str> for CertificateId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a destination calls a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserId(String);

impl UserId {
    /// As the destination writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for UserId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl From<&str> for UserId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// What stands beside a certificate of ours at a destination: how it is known after the store was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The leaf that it is about; on any other it counts for nothing.
    pub leaf: Fingerprint,
    /// Directory URL of the authority that issued it.
    pub directory: String,
}

/// A certificate as a destination shows it; the key is never part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What the destination calls it.
    pub id: CertificateId,
    /// Its name, as it is written there.
    pub name: String,
    /// The name that no other certificate can have beside it: its own, in the form in which the destination compares
    /// names.
    pub occupies: String,
    /// Which of ours it says that it is.
    pub owner: Option<Ownership>,
    /// Whether an earlier change is still being carried out.
    pub is_changing: bool,
    /// Leaf and chain, or why they cannot be read.
    pub content: Result<CertificateChain, Flaw>,
    /// What the destination itself wants to know of it when it is replaced; nobody else reads it.
    pub note: String,
}

/// Which certificate of a destination is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// The one of this id.
    Id(&'a CertificateId),
    /// The first one of this name, in the destination's order of precedence.
    Named(&'a str),
}

/// What is written to a destination.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The leaf, PEM.
    pub certificate: String,
    /// The certificates behind it, PEM.
    pub chain: String,
    /// The private key, one PKCS#8 block.
    pub key: Secret,
}

/// A certificate with its key, taken back from a destination.
#[derive(Debug)]
pub struct Retrieved {
    /// Leaf and chain, PEM.
    pub chain: String,
    /// The private key, if the destination gives it away.
    pub key: Option<Secret>,
}

/// Who takes certificates from a destination and serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What the destination calls it.
    pub id: UserId,
    /// Its name, for people.
    pub name: String,
    /// The certificates that it lists.
    pub certificates: Vec<CertificateId>,
    /// The folder that it reads certificates from; then it serves none of those that it lists.
    pub folder: Option<String>,
}

/// What it took that users hear of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activated {
    /// Who was asked, by name.
    By(String),
    /// There is no user who would have to hear.
    NobodyThere,
}

/// A destination's own words, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// What it is called.
    pub name: &'static str,
    /// What its users are called, all of them.
    pub users: &'static str,
}

/// What a destination can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// It gives keys back.
    pub returns_keys: bool,
    /// It keeps beside a certificate which of ours it is.
    pub carries_mark: bool,
    /// It knows who uses its certificates, and they must be told of changes.
    pub has_users: bool,
}

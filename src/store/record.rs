//! What stands in our own files.

use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;

use crate::core::bundle::Secret;
use crate::core::certificate::Leaf;
use crate::core::fingerprint::Fingerprint;
use crate::core::names::Names;
use crate::core::schedule::Life;

/// One lineage: a certificate and its successors, in one folder each of `live/` and `archive/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is for; the first name is the one at the destination.
    pub names: Names,
    /// Number of the live version.
    pub live: u32,
    /// The versions that are kept, oldest first.
    pub versions: Vec<Version>,
    /// Whether it was said that nobody wants it any more.
    #[serde(default)]
    pub is_told_gone: bool,
}

impl Record {
    /// The live version.
    pub fn live_version(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == self.live)
    }
}

/// One version of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number in `archive/`.
    pub number: u32,
    /// The leaf; none if it could not be read when it was taken over.
    pub leaf: Option<Fingerprint>,
    /// Directory URL of the authority, where that is known.
    pub directory: Option<String>,
    /// How it came here.
    pub source: Source,
    /// When it came here; for one that an authority issued to us, when it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub stored_at: OffsetDateTime,
    /// Start and end of its validity, where they are on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<Validity>,
}

/// Start and end of validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// Its start.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// Its end.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
}

impl From<&Leaf> for Validity {
    fn from(leaf: &Leaf) -> Self {
        Self { from: leaf.not_before, until: leaf.not_after }
    }
}

impl Version {
    /// What decides when it is renewed, where that is on record.
    pub fn life(&self) -> Option<Life> {
        let (valid, fingerprint) = (self.valid?, self.leaf?);
        Some(Life { not_before: valid.from, not_after: valid.until, fingerprint })
    }
}

/// How a version came into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An authority issued it to us.
    Issued,
    /// The destination gave it back.
    Restored,
    /// It was in a certbot tree.
    TakenOver,
}

/// An account at an authority; the key is on record before it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Directory URL of the authority.
    pub directory: String,
    /// The private key, PKCS#8 PEM.
    pub key: Secret,
    /// Its URL, once the authority has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When the authority was found to know it no longer, by its URL then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostAccount>,
}

/// An account that an authority has forgotten. It may have the same URL afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostAccount {
    /// Its URL.
    pub url: String,
    /// When that was found out.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// Balancers are to be woken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeOwed {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

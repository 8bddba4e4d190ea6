//! What stands in our own files.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::bundle::Secret;
use crate::fingerprint::Fingerprint;
use crate::names::Names;
use crate::ports::Announcement;
use crate::ports::Token;
use crate::wanted::Holders;

/// One lineage: a certificate and its successors, in one folder each of `live/` and `archive/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is for; the first name is the one at Rancher.
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
        self.versions
            .iter()
            .find(|version| version.number == self.live)
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
}

/// How a version came into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An authority issued it to us.
    Issued,
    /// Rancher gave it back.
    Restored,
    /// It was in a certbot tree.
    TakenOver,
}

/// An order in flight, with the key that its certificate will have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingOrder {
    /// What is ordered.
    pub names: Names,
    /// Directory URL of the authority.
    pub directory: String,
    /// URL of the account.
    pub account: String,
    /// The private key, PKCS#8 PEM.
    pub key: Secret,
    /// When the order was about to be opened.
    #[serde(with = "time::serde::rfc3339")]
    pub intended_at: OffsetDateTime,
    /// Whether the authority favours it as a renewal of the same names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_renewal: bool,
    /// URL of the order, once the authority has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The challenges that were published, by URL of the authorization.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub challenges: BTreeMap<String, PublishedChallenge>,
    /// URLs of the authorizations that failed, and that is on the clock of their names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failed: BTreeSet<String>,
    /// When its certificate was first asked for: from then on the authority may have issued it.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub finalized_at: Option<OffsetDateTime>,
    /// Before this there is no use in looking at it, because the authority takes its time.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub look_after: Option<OffsetDateTime>,
    /// The chain as the authority sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Received>,
}

impl PendingOrder {
    /// Until when it is left alone; what lies further ahead than a day was written by a clock that was ahead.
    pub fn rests_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let latest = now.saturating_add(Duration::DAY);
        self.look_after.filter(|at| now < *at && *at <= latest)
    }
}

/// A challenge of an order in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedChallenge {
    /// The file in the webroot.
    pub token: Token,
    /// When the authority was first told to validate it.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub first_told_at: Option<OffsetDateTime>,
    /// When it was told the last time.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub told_at: Option<OffsetDateTime>,
}

/// What an authority has issued, before it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The chain as it came.
    pub chain: String,
    /// When it came.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why it was refused, the last time it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
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
}

/// What was last learned from labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LabelsRecord {
    /// What services announced.
    pub announcements: Vec<Announcement>,
    /// Who holds which primary name.
    pub holders: Holders,
}

/// Balancers are to be woken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeOwed {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

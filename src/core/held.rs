//! What services announce, what a destination holds, and what it is given.

use crate::core::bundle::Secret;
use crate::core::certificate::CertificateChain;
use crate::core::certificate::Flaw;

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
    pub content: Result<CertificateChain, Flaw>,
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

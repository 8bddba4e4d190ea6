//! Rancher as its API shows it: certificates with states, services, metadata.

use std::collections::BTreeMap;

use rancher_lets_encrypt::backends::rancher::mark;
use rancher_lets_encrypt::backends::rancher::waking::Service;
use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::certificate::CertificateChain;
use rancher_lets_encrypt::core::certificate::Flaw;
use rancher_lets_encrypt::core::held::Abilities;
use rancher_lets_encrypt::core::held::Held;
use rancher_lets_encrypt::core::held::Upload;
use rancher_lets_encrypt::core::held::User;
use time::Duration;
use time::OffsetDateTime;

mod port;

/// Where the content of a certificate came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The daemon wrote it.
    Daemon,
    /// Somebody pasted it.
    Person,
}

/// A certificate at Rancher.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// The text beside it.
    pub description: String,
    /// The leaf, PEM.
    pub certificate: String,
    /// What stands behind it, PEM.
    pub chain: String,
    /// The private key.
    pub key: Secret,
    /// What both of them show.
    pub content: Result<CertificateChain, Flaw>,
    /// Who wrote it.
    pub owner: Owner,
    /// When.
    pub written_at: OffsetDateTime,
    changes_until: OffsetDateTime,
}

impl Entry {
    fn held(&self, now: OffsetDateTime) -> Held {
        Held {
            id: format!("1c{}", self.number).into(),
            name: self.name.clone(),
            occupies: self.name.to_ascii_lowercase(),
            owner: mark::find(&self.description),
            is_changing: now < self.changes_until,
            content: self.content.clone(),
            note: self.description.clone(),
        }
    }
}

/// A balancer.
#[derive(Debug, Clone)]
pub struct Balancer {
    /// Whether it takes an update.
    pub is_active: bool,
    /// The names of the certificates that it lists.
    pub lists: Vec<String>,
}

/// Rancher.
#[derive(Debug)]
pub struct Rancher {
    /// Its certificates, in the order of their numbers.
    pub entries: Vec<Entry>,
    made: u64,
    /// What was first written under each number, with the text beside it, for a defect.
    first: BTreeMap<u64, (Upload, String)>,
    /// Its balancers.
    pub balancers: Vec<Balancer>,
    /// Whether the daemon's own service takes an update.
    pub own_is_active: bool,
    /// What it says that it can do.
    pub can: Abilities,
    /// What it was asked for although it cannot.
    pub asked_in_vain: Vec<&'static str>,
    /// Whether it gives keys back.
    pub gives_keys: bool,
    /// How long a change takes at most.
    pub slowness: Duration,
    /// When a certificate was written the last time.
    pub written_at: Option<OffsetDateTime>,
    /// When balancers were woken the last time.
    pub woken_at: Option<OffsetDateTime>,
    /// How often its certificates were listed: once in each pass.
    pub lists: u64,
}

impl Default for Rancher {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            made: 0,
            first: BTreeMap::new(),
            balancers: Vec::new(),
            own_is_active: true,
            can: Abilities { returns_keys: true, carries_mark: true, has_users: true },
            asked_in_vain: Vec::new(),
            gives_keys: true,
            slowness: Duration::milliseconds(500),
            written_at: None,
            woken_at: None,
            lists: 0,
        }
    }
}

impl Rancher {
    /// The certificate of a name.
    pub fn of(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Pastes a certificate, over what has this name or as a new one.
    pub fn paste(&mut self, name: &str, pems: &crate::issuer::Pems, now: OffsetDateTime) {
        let content = CertificateChain::parse(&pems.leaf, &pems.chain);
        let present = self.entries.iter_mut().find(|entry| entry.name == name);
        if let Some(entry) = present {
            entry.certificate.clone_from(&pems.leaf);
            entry.chain.clone_from(&pems.chain);
            entry.key = pems.key.clone();
            entry.content = content;
            entry.owner = Owner::Person;
            entry.written_at = now;
            return;
        }
        self.made += 1;
        self.entries.push(Entry {
            number: self.made,
            name: name.to_owned(),
            description: String::new(),
            certificate: pems.leaf.clone(),
            chain: pems.chain.clone(),
            key: pems.key.clone(),
            content,
            owner: Owner::Person,
            written_at: now,
            changes_until: now,
        });
    }

    fn services(&self) -> Vec<Service> {
        let id = |name: &String| Some(format!("1c{}", self.of(name)?.number).into());
        self.balancers
            .iter()
            .enumerate()
            .map(|(number, balancer)| Service {
                is_active: balancer.is_active,
                user: User {
                    id: format!("1s{number}").into(),
                    name: format!("balancer-{number}"),
                    certificates: balancer.lists.iter().filter_map(id).collect(),
                    folder: None,
                },
            })
            .collect()
    }
}

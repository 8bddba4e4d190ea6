//! Certificate authorities that validate, refuse and count as Let's Encrypt's Boulder does.

use std::collections::BTreeMap;
use std::time::Duration as StdDuration;

use rancher_lets_encrypt::core::names::NameSet;
use rancher_lets_encrypt::core::resource::AuthorizationStatus;
use rancher_lets_encrypt::core::resource::Http01;
use rancher_lets_encrypt::core::resource::OrderStatus;
use sandbox::authority::limits::Buckets;
use sandbox::authority::limits::Limit;
use sandbox::authority::limits::Limits;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::oddities::Oddities;
use crate::dice::Dice;
use crate::issuer::Issuer;

pub mod answers;
pub mod oddities;
mod port;
mod proofs;

/// How long an order and its pending authorizations live.
const ORDER_LIFETIME: Duration = Duration::days(7);
/// How long a valid authorization can be used again.
const PROOF_LIFETIME: Duration = Duration::days(30);
/// How far back an issuance of the same names makes a new order a renewal.
const RENEWAL_WINDOW: Duration = Duration::days(120);
/// Failures in a row after which a name is paused.
const PAUSED_AFTER: u32 = 1152;
/// Names in one certificate.
pub const MOST_NAMES: usize = 100;
/// How far certificates begin in the past.
const BACKDATED: Duration = Duration::hours(1);

/// URL of the production directory.
pub const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// URL of the staging directory.
pub const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

#[derive(Debug, Clone)]
struct Proof {
    url: String,
    account: String,
    name: String,
    status: AuthorizationStatus,
    /// Nothing is to be seen of the outcome before this.
    decided_at: Option<OffsetDateTime>,
    expires: OffsetDateTime,
    challenge: Http01,
}

#[derive(Debug, Clone)]
struct Filed {
    url: String,
    account: String,
    names: Vec<String>,
    proofs: Vec<String>,
    status: OrderStatus,
    opened_at: OffsetDateTime,
    issued_at: Option<OffsetDateTime>,
    expires: OffsetDateTime,
    chain: Option<String>,
}

/// A limit that was hit, and by whom.
#[derive(Debug, Clone)]
pub struct Hit {
    /// When.
    pub at: OffsetDateTime,
    /// The instance that asked.
    pub instance: usize,
    /// What for.
    pub names: NameSet,
    /// What it was told.
    pub detail: String,
}

/// One directory of an authority.
#[derive(Debug)]
pub struct Directory {
    url: &'static str,
    issuer: Issuer,
    limits: Limits,
    /// How long its certificates live.
    pub lifetime: Duration,
    /// Lets every call wait this long for the certificate after finalize, at most.
    pub slowness: Duration,
    /// How many of thousand validations never come to an end.
    pub stuck_per_mille: u64,
    /// Whether it knows no account any more.
    pub accounts: Vec<(String, String)>,
    orders: BTreeMap<String, Filed>,
    proofs: BTreeMap<String, Proof>,
    buckets: Buckets,
    last_issued: BTreeMap<Vec<String>, OffsetDateTime>,
    failures_in_row: BTreeMap<(String, String), u32>,
    made: u64,
    /// Orders that were opened, not counting those that were handed out again.
    pub opened: u64,
    /// Limits that were hit.
    pub hits: Vec<Hit>,
    /// What it does otherwise than Boulder.
    pub oddities: Oddities,
}

/// Both directories.
#[derive(Debug)]
pub struct Authority {
    directories: [Directory; 2],
}

impl Authority {
    /// Both directories, with keys from these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        let seed = bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let mut dice = Dice::new(seed);
        let week = StdDuration::from_hours(24 * 7);
        let hour = StdDuration::from_hours(1);
        let staging = Limits {
            accounts_per_address: Some(Limit::per(50, hour * 3)),
            orders_per_account: Some(Limit::per(1500, hour * 3)),
            certificates_per_domain: Some(Limit::per(30_000, StdDuration::from_secs(30))),
            certificates_per_set: Some(Limit::per(30_000, week)),
            failures_per_name: Some(Limit::per(200, hour)),
        };
        let mut directory = |url, name, limits| Directory {
            url,
            issuer: Issuer::new(name, &mut dice),
            limits,
            lifetime: Duration::days(90),
            slowness: Duration::seconds(5),
            stuck_per_mille: 0,
            accounts: Vec::new(),
            orders: BTreeMap::new(),
            proofs: BTreeMap::new(),
            buckets: Buckets::default(),
            last_issued: BTreeMap::new(),
            failures_in_row: BTreeMap::new(),
            made: 0,
            opened: 0,
            hits: Vec::new(),
            oddities: Oddities::default(),
        };
        let production = directory(PRODUCTION, "Simulated", Limits::lets_encrypt());
        let staging = directory(STAGING, "(STAGING) Simulated", staging);
        Self { directories: [production, staging] }
    }

    /// Both directories.
    pub fn all(&self) -> &[Directory; 2] {
        &self.directories
    }

    /// Both directories, to be changed.
    pub fn all_mut(&mut self) -> &mut [Directory; 2] {
        &mut self.directories
    }

    /// The directory that a URL lies in.
    pub fn of(&mut self, url: &str) -> Option<&mut Directory> {
        let host = |url: &str| url.split('/').nth(2).map(str::to_owned);
        self.directories.iter_mut().find(|directory| host(directory.url) == host(url))
    }
}

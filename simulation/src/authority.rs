//! Certificate authorities that validate, refuse and count as Let's Encrypt's Boulder does: those of the sandbox, asked
//! without a network, on the clock of the simulation.
//!
//! - [`answers`]: what is asked, and what the sandbox says to it in the words of the port
//! - `agenda`: what happens by itself after a while
//! - [`oddities`]: what is done otherwise, by quirks of the sandbox

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use rancher_lets_encrypt::core::names::NameSet;
use sandbox::authority::chance::Chance;
use sandbox::authority::issuing::Rules;
use sandbox::authority::limits::Limit;
use sandbox::authority::limits::Limits;
use sandbox::authority::settings::AuthoritySettings;
use sandbox::authority::state::State as Model;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::agenda::Agenda;
use crate::authority::oddities::Oddities;
use crate::authority::oddities::orders::Handover;
use crate::dice::Dice;
use crate::issuer::Issuer;

mod agenda;
pub mod answers;
pub mod oddities;
mod port;

/// How long an order and its pending authorizations live.
const ORDER_LIFETIME: Duration = Duration::days(7);
/// How long an order lives that was finalized: some authorities take days for a certificate.
const FINALIZED_LIFETIME: StdDuration = StdDuration::from_hours(24 * 90);
/// Failures in a row after which a name is paused.
const PAUSED_AFTER: u32 = 1152;
/// Names in one certificate.
pub const MOST_NAMES: usize = 100;

/// URL of the production directory.
pub const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// URL of the staging directory.
pub const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

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

/// An order of which no finalize has arrived.
#[derive(Debug)]
struct Unheard {
    names: Vec<String>,
    opened_at: OffsetDateTime,
    times: u32,
}

/// One directory of an authority.
#[derive(Debug)]
pub struct Directory {
    url: &'static str,
    model: Model,
    settings: AuthoritySettings,
    issuer: Issuer,
    dice: Dice,
    agenda: Agenda,
    /// How long its certificates live.
    pub lifetime: Duration,
    /// Lets every call wait this long for the certificate after finalize, at most.
    pub slowness: Duration,
    /// How many of thousand validations never come to an end.
    pub stuck_per_mille: u64,
    failures_in_row: BTreeMap<(String, String), u32>,
    /// What became of orders that were finalized, by their URL.
    handovers: BTreeMap<String, Handover>,
    /// How often a finalize of an order got lost on its way, by the order's URL, with its names and when it was opened.
    unheard: BTreeMap<String, Unheard>,
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

/// What an authority knows that begins: its numbers go on after `last`.
fn model(directory: &str, last: u64, dice: &mut Dice) -> Model {
    let mut dice = dice.fork();
    let chance = Chance::new(move |bytes| {
        for chunk in bytes.chunks_mut(8) {
            let drawn = dice.draw().to_be_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    });
    let base = directory.trim_end_matches("/directory").to_owned();
    Model::new(base, last, chance)
}

impl Directory {
    /// The rules in force, with the signer.
    fn rules(&self) -> Rules {
        let lifetime = self.lifetime.unsigned_abs();
        let settings = AuthoritySettings { lifetime, ..self.settings.clone() };
        Rules { settings: Arc::new(settings), issuer: self.issuer.authority() }
    }
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
        let mut directory = |url: &'static str, name, limits| {
            let issuer = Issuer::new(name, &mut dice);
            let mut dice = dice.fork();
            Directory {
                url,
                model: model(url, 1000, &mut dice),
                settings: AuthoritySettings {
                    limits,
                    common_name: false,
                    finalized_lifetime: Some(FINALIZED_LIFETIME),
                    ..AuthoritySettings::production()
                },
                issuer,
                dice,
                agenda: Agenda::default(),
                lifetime: Duration::days(90),
                slowness: Duration::seconds(5),
                stuck_per_mille: 0,
                failures_in_row: BTreeMap::new(),
                handovers: BTreeMap::new(),
                unheard: BTreeMap::new(),
                opened: 0,
                hits: Vec::new(),
                oddities: Oddities::default(),
            }
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

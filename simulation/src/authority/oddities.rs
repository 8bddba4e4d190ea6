//! What a directory does otherwise than Boulder, as real authorities do.
//!
//! All of it is off until the events turn it on, and nothing is drawn for what is off. What is drawn is a quirk of the
//! sandbox: `sandbox::authority::settings` says which authority does what.
//!
//! - [`orders`]: finalizing and downloading

pub mod orders;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration as StdDuration;

use rancher_lets_encrypt::core::problem::AuthorityError;
use sandbox::authority::settings::challenges::Failing as Quirk;
use time::Duration;

use crate::authority::Directory;
use crate::authority::agenda::Agenda;
use crate::authority::model;
use crate::dice::Dice;

/// How long a client waits for an answer that does not come.
pub(super) const PATIENCE: Duration = Duration::seconds(30);

/// What a failed validation does to challenge and authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failing {
    /// Both are invalid.
    #[default]
    Final,
    /// Both stay pending, with the reason, until the authority is told again.
    StaysPending,
    /// As before, but the authority tries again by itself, seven times within two minutes, and does not hear when
    /// it is told again meanwhile.
    TriedAgain,
}

/// How much longer each wait of an authority is that tries again by itself.
const STEP: StdDuration = StdDuration::from_secs(5);
/// How often it tries.
const TRIES: u32 = 7;

impl Failing {
    pub(super) fn quirk(self) -> Option<Quirk> {
        match self {
            Self::Final => None,
            Self::StaysPending => Some(Quirk::StayPending),
            Self::TriedAgain => Some(Quirk::TryAgain { step: STEP, tries: TRIES }),
        }
    }

    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Final => None,
            Self::StaysPending => Some("leaves challenges pending"),
            Self::TriedAgain => Some("tries challenges again"),
        }
    }
}

/// What a directory does otherwise. Numbers are of thousand.
#[derive(Debug, Clone, Default)]
pub struct Oddities {
    /// Finalized orders that stick in processing.
    pub sticks: u64,
    /// For how long they do at most.
    pub sticks_for: Duration,
    /// Those of them that stick for ever; nothing is issued.
    pub sticks_for_ever: u64,
    /// Those of the others that are invalid in the end; nothing is issued.
    pub sticks_in_vain: u64,
    /// Finalizes that are refused; the order stays ready.
    pub refuses: u64,
    /// Finalizes that are answered 500 and make the order invalid; nothing is issued.
    pub fails: u64,
    /// Finalizes that are answered 500 although the certificate is issued.
    pub fails_after: u64,
    /// Whether an order whose finalize gets no answer through stays ready although its certificate is issued.
    pub forgets: bool,
    /// Certificates that cannot be downloaded for a while.
    pub loses: u64,
    /// For how long that is at most.
    pub loses_for: Duration,
    /// What a failed validation does.
    pub failing: Failing,
    /// Finalizes whose answer is lost on its way.
    pub tears: u64,
    /// Names about which nothing is answered.
    pub silent: BTreeSet<String>,
    /// Names about which 500 is answered.
    pub senseless: BTreeSet<String>,
    /// Whether accounts are refused until people do something.
    pub refuses_accounts: bool,
    /// Whether nobody is there at all.
    pub is_gone: bool,
    /// The certificates of orders that end once the client has its answer.
    pub(super) ending: BTreeMap<String, String>,
    /// Orders of which it does not know that it has issued their certificates.
    pub(super) forgotten: BTreeSet<String>,
    /// How often it did what.
    pub met: BTreeMap<&'static str, u64>,
}

impl Oddities {
    /// Ends all of it; what is in the middle of something goes on as it was drawn.
    pub fn end(&mut self) {
        *self = Self {
            ending: std::mem::take(&mut self.ending),
            forgotten: std::mem::take(&mut self.forgotten),
            met: std::mem::take(&mut self.met),
            ..Self::default()
        };
    }

    /// Whether any of it is on.
    pub fn is_any(&self) -> bool {
        let rates =
            [self.sticks, self.refuses, self.fails, self.fails_after, self.loses, self.tears];
        rates.into_iter().any(|rate| 0 < rate)
            || self.forgets
            || self.failing != Failing::Final
            || !self.silent.is_empty()
            || !self.senseless.is_empty()
            || self.is_gone
            || self.refuses_accounts
    }

    pub(super) fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }
}

/// Whether something happens; nothing is drawn for what never does.
fn drawn(per_mille: u64, dice: &mut Dice) -> bool {
    0 < per_mille && dice.chance(per_mille)
}

/// An answer of 500, or one that makes no sense: about one order it says nothing of the authority.
pub(super) fn failed(text: &str) -> AuthorityError {
    AuthorityError::failed(text)
}

impl Directory {
    /// Forgets accounts, orders and authorizations, as an authority that has them in memory and is restarted.
    pub fn lose_state(&mut self) {
        self.model = model(self.url, self.model.last_number(), &mut self.dice);
        self.agenda = Agenda::default();
        self.handovers.clear();
        self.failures_in_row.clear();
        self.oddities.ending.clear();
        self.oddities.meet("loses its state");
    }

    /// Whether nothing is answered about something: the URL of an order or an authorization, or names.
    pub(super) fn is_silent(&self, about: &str) -> bool {
        self.is_about(about, &self.oddities.silent)
    }

    /// Whether nothing sensible is answered about it.
    pub(super) fn is_senseless(&self, about: &str) -> bool {
        self.is_about(about, &self.oddities.senseless)
    }

    fn is_about(&self, about: &str, silent: &BTreeSet<String>) -> bool {
        if silent.is_empty() {
            return false;
        }
        match self.model.names_at(about) {
            Some(names) => names.iter().any(|name| silent.contains(name)),
            None => about.split([' ', ',']).any(|name| silent.contains(name.trim())),
        }
    }
}

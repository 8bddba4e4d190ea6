//! Everything outside of the process: what a crash of it does not touch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rancher_lets_encrypt::core::resource::Token;
use time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::authority::Authority;
use crate::dice::Dice;
use crate::domains::Domains;
use crate::files::Files;
use crate::history::History;
use crate::observer::Observer;
use crate::promises::Promises;
use crate::rancher::Rancher;
use crate::trouble::Trouble;

/// When every simulation begins.
const BEGINNING: OffsetDateTime = datetime!(2027-01-01 00:00 UTC);

/// What one instance of the daemon has for itself.
#[derive(Debug, Default)]
pub struct Place {
    /// The volume of its store.
    pub volume: Files,
    /// The volume of its webroot.
    pub webroot: BTreeMap<Token, String>,
    /// How far its clock is ahead.
    pub skew: Duration,
    /// Whether the instance is there at all.
    pub is_there: bool,
    /// Whether its process runs.
    pub is_running: bool,
    /// The disk takes no more, or nothing at all.
    pub disk: DiskState,
    /// Whose volumes it uses; of several instances on the same ones only one runs at a time.
    pub home: usize,
    /// Since when the loop of its process turns.
    pub turns_since: Option<OffsetDateTime>,
    /// What people know of what its store holds.
    pub observer: Observer,
}

/// What a disk does with writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskState {
    /// It takes them.
    #[default]
    Well,
    /// So many bytes is all that it takes.
    Full(usize),
    /// It is mounted read-only.
    ReadOnly,
}

/// Everything outside, at one moment.
#[derive(Debug)]
pub struct State {
    began: Instant,
    /// Draws what the outside does.
    pub dice: Dice,
    /// What happened.
    pub history: History,
    /// The authorities.
    pub authority: Authority,
    /// Rancher.
    pub rancher: Rancher,
    /// Names, and where they lead.
    pub domains: Domains,
    /// One for each instance.
    pub places: Vec<Place>,
    /// What goes wrong.
    pub trouble: Trouble,
    /// What must hold.
    pub promises: Promises,
    /// Changes made by the daemon so far.
    pub effects: u64,
}

impl State {
    /// The true time.
    pub fn now(&self) -> OffsetDateTime {
        BEGINNING + (Instant::now() - self.began)
    }

    /// What the clock of an instance shows.
    pub fn shown(&self, instance: usize) -> OffsetDateTime {
        self.now() + self.places[instance].skew
    }

    /// The place whose volumes an instance uses.
    pub fn home(&mut self, instance: usize) -> &mut Place {
        let home = self.places[instance].home;
        &mut self.places[home]
    }

    /// Whether another instance holds the lock of the store.
    pub fn is_locked(&self, instance: usize) -> bool {
        let home = self.places[instance].home;
        let mut others = self.places.iter().enumerate();
        others.any(|(other, place)| other != instance && place.home == home && place.is_running)
    }

    /// Adds a line to the history.
    pub fn note(&mut self, line: impl Into<String>) {
        let now = self.now();
        self.history.note(now, line.into());
    }
}

/// A way to the outside, which many share.
#[derive(Debug, Clone)]
pub struct Outside {
    state: Arc<Mutex<State>>,
    /// Told when labels change.
    pub labels: Arc<Notify>,
    /// Told when a process ends, and with it its lock.
    pub freed: Arc<Notify>,
}

impl Outside {
    /// A new one, at the beginning, with so many places for instances.
    pub fn new(dice: Dice, places: usize) -> Self {
        let mut dice = dice;
        let state = State {
            began: Instant::now(),
            history: History::default(),
            authority: Authority::new(dice.bytes()),
            rancher: Rancher::default(),
            domains: Domains::default(),
            places: (0..places)
                .map(|instance| Place {
                    is_there: instance == 0,
                    home: instance,
                    ..Place::default()
                })
                .collect(),
            trouble: Trouble::default(),
            promises: Promises::default(),
            effects: 0,
            dice,
        };
        Self { state: Arc::new(Mutex::new(state)), labels: Arc::default(), freed: Arc::default() }
    }

    /// The state, for a look or a change that takes no time.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

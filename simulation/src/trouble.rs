//! What goes wrong with requests and with the process.

use std::collections::BTreeSet;

use crate::dice::Dice;
use crate::files::loss::Loss;

/// A door of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The disk.
    Disk,
    /// The authorities.
    Authority,
    /// Rancher's API.
    Rancher,
    /// Rancher's metadata.
    Metadata,
    /// The webroot, and the way to it through a name.
    Challenge,
}

/// How well a port works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Events {
    /// Every call does what it should.
    #[default]
    Fair,
    /// So many of thousand calls fail, half of them after they had their effect.
    Flaky(u64),
    /// No call gets through.
    Down,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does what it should.
    Works,
    /// It fails and has no effect.
    FailsBefore,
    /// It has its effect, but an error comes back.
    FailsAfter,
}

/// When a process ends by itself.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    /// After so many effects.
    pub after: u64,
    /// Whether the last of them has not happened.
    pub is_before: bool,
    /// What becomes of what was not synced.
    pub loss: Loss,
}

/// Something wrong on purpose, to show that a promise is broken by it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Defect {
    /// Syncs of paths that contain this do nothing.
    pub unsynced: Option<&'static str>,
    /// What gets a name that contains this is gone at once.
    pub unwritten: Option<&'static str>,
    /// A file that is gone at each start.
    pub forgotten: Option<&'static str>,
    /// Tokens are never withdrawn.
    pub keeps_tokens: bool,
    /// The daemon is told to replace whatever is not its own.
    pub replaces_all: bool,
    /// The daemon takes the staging directory for production.
    pub trusts_staging: bool,
    /// The daemon is told that the authority has no limits.
    pub ignores_limits: bool,
    /// Rancher shows no certificate, neither in the list nor by name: the look right before an order is part of it.
    pub overlooks: bool,
    /// Orders for names that contain this get no answer, and no time limit ends the request.
    pub unanswered: Option<&'static str>,
    /// What is new is written down as told, and nobody hears of it.
    pub swallows_notices: bool,
    /// Nothing is ever judged to be at risk.
    pub hides_risk: bool,
    /// What is written over a certificate at Rancher is the first one that was ever written there.
    pub replays: bool,
    /// Labels are read without the last of their names.
    pub curtails_labels: bool,
    /// Fields of orders, in flight or put aside, that the daemon does not read.
    pub unread: &'static [&'static str],
    /// Files whose path contains this cannot be read.
    pub unreadable: Option<&'static str>,
    /// Lines of the ledger that contain this are not read.
    pub unlisted: Option<&'static str>,
    /// What the authority says of a finalize that came to nothing is taken for an order that it does not know.
    pub mishears: bool,
    /// An order whose certificate was not handed over at once is taken for one that the authority does not know.
    pub gives_up: bool,
    /// An answer of 500 about one order is taken for an authority that cannot be used.
    pub blames_authority: bool,
    /// Our own looks at names stand in one line with orders.
    pub queues_looks: bool,
    /// A name is left out of a certificate only when that has expired.
    pub clings: bool,
    /// One pass follows the other after a second.
    pub is_restless: bool,
    /// The reason why a validation failed is not read while its challenge is pending.
    pub overlooks_reasons: bool,
    /// An account that is refused is asked for again after a day.
    pub is_offended: bool,
}

/// What goes wrong.
#[derive(Debug, Default)]
pub struct Trouble {
    events: [Events; 5],
    /// The next crash of each instance.
    pub crashes: Vec<Option<Crash>>,
    /// What the layer below the daemon does wrong on purpose.
    pub defect: Defect,
    /// Orders that the daemon takes for gone, by a defect.
    pub given_up: BTreeSet<String>,
    /// Faults injected so far.
    pub faults: u64,
    /// Crashes so far.
    pub crashed: u64,
}

impl Defect {
    /// Nothing is wrong.
    pub const NONE: Self = Self {
        unsynced: None,
        unwritten: None,
        forgotten: None,
        keeps_tokens: false,
        replaces_all: false,
        trusts_staging: false,
        ignores_limits: false,
        overlooks: false,
        unanswered: None,
        swallows_notices: false,
        hides_risk: false,
        replays: false,
        curtails_labels: false,
        unread: &[],
        unreadable: None,
        unlisted: None,
        mishears: false,
        gives_up: false,
        blames_authority: false,
        queues_looks: false,
        clings: false,
        is_restless: false,
        overlooks_reasons: false,
        is_offended: false,
    };
}

impl Trouble {
    fn place(port: Port) -> usize {
        match port {
            Port::Disk => 0,
            Port::Authority => 1,
            Port::Rancher => 2,
            Port::Metadata => 3,
            Port::Challenge => 4,
        }
    }

    /// Changes how well a port works.
    pub fn set(&mut self, port: Port, events: Events) {
        self.events[Self::place(port)] = events;
    }

    /// How well a port works.
    pub fn events(&self, port: Port) -> Events {
        self.events[Self::place(port)]
    }

    /// Whether everything works but metadata, without which the names last known hold.
    pub fn is_fair(&self) -> bool {
        [Port::Disk, Port::Authority, Port::Rancher, Port::Challenge]
            .into_iter()
            .all(|port| self.events(port) == Events::Fair)
    }

    /// Everything works from now on.
    pub fn end(&mut self) {
        self.events = Default::default();
        self.crashes.fill(None);
    }

    /// Draws what happens to a call.
    pub fn fate(&mut self, port: Port, dice: &mut Dice) -> Fate {
        let fate = match self.events(port) {
            Events::Fair => return Fate::Works,
            Events::Flaky(rate) if !dice.chance(rate) => return Fate::Works,
            Events::Flaky(_) if dice.chance(500) => Fate::FailsAfter,
            Events::Flaky(_) | Events::Down => Fate::FailsBefore,
        };
        self.faults += 1;
        fate
    }
}

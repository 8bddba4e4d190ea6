//! The promises of the daemon as invariants, in one place. Each is checked whenever it could be broken: when a
//! certificate is issued, a validation fails, something is written to Rancher, and as time goes by.
//!
//! Nothing here asks the daemon or uses its decisions: what it did is judged by what is to be seen outside. What people
//! hear of it is the one thing that it says itself, and whether that was in time is judged by what is served.

use std::collections::BTreeMap;

use rancher_lets_encrypt::core::certificate::Leaf;
use rancher_lets_encrypt::decide::classify::ReplaceForeign;
use time::Duration;
use time::OffsetDateTime;

pub mod freshness;
pub mod heard;
pub mod issuing;
pub mod pestered;
pub mod served;

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// 1. A crash or restart at any point costs no extra certificate.
    NoExtraCertificate,
    /// 1. What is pushed is in the store first, where a power failure does not reach it.
    StoredFirst,
    /// 1. At most one certificate of a set of names in the time of the floor, whatever happens.
    FloorHolds,
    /// 2. A broken name costs at most five failed validations on its first day, then at most two a day.
    BrokenNameIsCheap,
    /// 2. A healthy name never waits because of another.
    NobodyWaits,
    /// 2. Nothing is asked again and again to no use.
    NobodyIsPestered,
    /// 3. A certificate that is not ours and not to be replaced is never overwritten.
    ForeignIsLeft,
    /// 4. What is served never gets worse.
    NeverWorse,
    /// 5. A lost volume costs no certificate that Rancher holds with its key.
    LostVolumeIsFree,
    /// 6. What comes to expire, and what cannot be obtained, is told in time.
    HeardInTime,
    /// In the end everything that is wanted and possible is fresh, pushed and tidy.
    FreshInTheEnd,
    /// No limit of the authority is hit that was knowable, before half of the time to renew is over.
    LimitsAreKnown,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NoExtraCertificate,
        Self::StoredFirst,
        Self::FloorHolds,
        Self::BrokenNameIsCheap,
        Self::NobodyWaits,
        Self::NobodyIsPestered,
        Self::ForeignIsLeft,
        Self::NeverWorse,
        Self::LostVolumeIsFree,
        Self::HeardInTime,
        Self::FreshInTheEnd,
        Self::LimitsAreKnown,
    ];
}

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// How.
    pub text: String,
    /// The last of what happened before.
    pub history: Vec<String>,
}

/// Settings of the daemon that the promises depend on.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether staging is wanted.
    pub is_staging: bool,
    /// What happens to foreign certificates.
    pub replace_foreign: ReplaceForeign,
    /// When to renew, if that is set.
    pub renew_before: Option<Duration>,
    /// Longest time between two passes.
    pub loop_time: Duration,
}

impl Rules {
    /// Before this a certificate is not to be renewed.
    pub fn earliest_renewal(&self, leaf: &Leaf) -> OffsetDateTime {
        let lifetime = leaf.not_after - leaf.not_before;
        let part = if lifetime < Duration::days(10) { lifetime / 2 } else { lifetime / 3 };
        let left = match self.renew_before {
            Some(before) if before * 2 < lifetime => before,
            Some(_) | None => part,
        };
        leaf.not_after - left - lifetime / 20
    }
}

/// A certificate that was issued.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The leaf.
    pub leaf: Leaf,
    /// A line of its PEM that no other has.
    pub line: String,
    /// URL of its order.
    pub order: String,
    /// When.
    pub at: OffsetDateTime,
    /// Whose volumes the instance used that it was issued to.
    pub home: usize,
    /// Why another one may follow at any time: the outside has destroyed it.
    pub destroyed: Option<&'static str>,
}

/// Which promises are checked that not every version of the daemon keeps.
#[derive(Debug, Clone, Copy)]
pub struct Switches {
    /// Whether the daemon keeps account of the authority's limits.
    pub knows_limits: bool,
}

/// What is in force for every simulation.
pub const SWITCHES: Switches = Switches { knows_limits: true };

/// What was seen so far, and the first promise that was broken.
#[derive(Debug)]
pub struct Promises {
    /// The first violation.
    pub violation: Option<Violation>,
    /// Settings in force.
    pub rules: Rules,
    /// Certificates by directory and names.
    pub certificates: BTreeMap<(String, Vec<String>), Vec<Certificate>>,
    /// Failed validations since the last good one, by account and name.
    failures: BTreeMap<(String, String), Vec<OffsetDateTime>>,
    /// When a clock jumped the last time.
    pub jumped_at: Option<OffsetDateTime>,
    /// When a store was lost or went back in time the last time.
    pub store_lost_at: Option<OffsetDateTime>,
    /// When an instance with a store of its own ran the last time.
    pub other_at: Option<OffsetDateTime>,
    /// When Rancher went back in time the last time.
    pub restored_at: Option<OffsetDateTime>,
    /// When Rancher was last seen to be out of order, and since when without a break.
    pub rancher_away: Option<(OffsetDateTime, OffsetDateTime)>,
    /// Since when Rancher does not answer at all.
    pub rancher_down: Option<OffsetDateTime>,
    /// Certificates whose risk people had to hear of, and did.
    pub risks_heard: u64,
    /// Since when nothing was in the way of anybody.
    pub calm_since: Option<OffsetDateTime>,
    /// The last time in which names could not be read, from its first moment to its last.
    pub unread: Option<(OffsetDateTime, OffsetDateTime)>,
    /// When an authority was asked that is gone, by its name.
    pub asked_in_vain: BTreeMap<&'static str, Vec<OffsetDateTime>>,
    /// When Rancher was asked for its certificates lately.
    pub listed: Vec<OffsetDateTime>,
    /// Certificates that were issued.
    pub issued: u64,
    /// Validations that failed.
    pub failed: u64,
    /// Writes to Rancher.
    pub uploads: u64,
    limits_seen: usize,
}

impl Default for Promises {
    fn default() -> Self {
        Self {
            violation: None,
            rules: Rules {
                is_staging: false,
                replace_foreign: ReplaceForeign::Due,
                renew_before: None,
                loop_time: Duration::HOUR,
            },
            certificates: BTreeMap::new(),
            failures: BTreeMap::new(),
            jumped_at: None,
            store_lost_at: None,
            other_at: None,
            restored_at: None,
            rancher_away: None,
            rancher_down: None,
            risks_heard: 0,
            calm_since: None,
            unread: None,
            asked_in_vain: BTreeMap::new(),
            listed: Vec::new(),
            issued: 0,
            failed: 0,
            uploads: 0,
            limits_seen: 0,
        }
    }
}

impl Promises {
    /// Keeps the first violation.
    pub fn break_promise(&mut self, promise: Promise, text: String, history: Vec<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation { promise, text, history });
        }
    }

    /// A name proved good.
    pub fn good_validation(&mut self, account: &str, name: &str) {
        self.failures.remove(&(account.to_owned(), name.to_owned()));
    }
}

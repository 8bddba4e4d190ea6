//! What every procedure works with: the ports, the store, the settings, and the ledger that remembers failures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use time::Duration;
use time::OffsetDateTime;

use crate::config::CaLimits;
use crate::config::Config;
use crate::config::SelfCheck;
use crate::core::budget::Limits;
use crate::core::budget::OrderCost;
use crate::core::bundle::KeyType;
use crate::core::certificate::Leaf;
use crate::core::fingerprint::Fingerprint;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::schedule;
use crate::decide::classify::Policy;
use crate::ports::Clock;
use crate::ports::Destination;
use crate::ports::World;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::ledger::Ledger;
use crate::store::ledger::Line;
use crate::store::ledger::Subject;
use crate::store::ledger::Wait;
use crate::work::context::claims::Claim;
use crate::work::context::clock::Compared;
use crate::work::context::wake::Wake;

pub mod claims;
mod clock;
mod failures;
pub mod slots;
mod recorded;
mod wake;

pub use clock::ClockSeen;
pub use failures::refusals;

/// After this the names of a certificate may change at once again.
const CHANGES_FORGOTTEN_AFTER: Duration = Duration::days(7);

/// How often the loop turns at least.
const LONGEST_REST: Duration = Duration::seconds(10);

/// The part of the settings that procedures need.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the settings say about deciding.
    pub policy: Policy,
    /// Contact of the account.
    pub email: Option<String>,
    /// Longest time between two passes.
    pub loop_time: Duration,
    /// What kind of key the next certificate is for.
    pub key_type: KeyType,
    /// What a failed fetch of our own token means.
    pub self_check: SelfCheck,
    /// Orders in flight at once.
    pub concurrency: usize,
    /// The loop turns at least this often, so that a look from outside can tell whether it does.
    pub longest_rest: Duration,
    /// How long the loop may stand before it is said to be stuck: three times `LOOP_TIME`, but at least what a pass may
    /// wait for, and at most a quarter of an hour unless that takes longer.
    pub patience: Duration,
    /// Whose limits are kept.
    pub ca_limits: CaLimits,
    /// What of `DOMAINS` was left out, and why.
    pub left_out: Vec<String>,
}

/// The shortest and the longest patience with a loop that stands, where requests have their usual time limits.
const PATIENCE: [Duration; 2] = [Duration::minutes(2), Duration::minutes(15)];
/// So many requests in a row may reach their time limit before a pass ends: labels, lists that change between their
/// pages, balancers.
const REQUESTS_OF_A_PASS: u32 = 8;

/// A request may take so many times `CONNECT_TIMEOUT`, answer included.
const TIMEOUTS_OF_A_REQUEST: u32 = 3;

fn patience(loop_time: std::time::Duration, connect_timeout: std::time::Duration) -> Duration {
    let [shortest, longest] = PATIENCE;
    let of = |time: std::time::Duration| Duration::try_from(time).unwrap_or(Duration::DAY);
    let pass = of(connect_timeout * TIMEOUTS_OF_A_REQUEST) * REQUESTS_OF_A_PASS;
    let shortest = shortest.max(pass);
    (of(loop_time) * 3_i32).clamp(shortest, longest.max(shortest))
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            policy: Policy {
                // Only the destination knows its own words.
                place: "the destination",
                is_staging: config.is_staging,
                production_directory: config.production_directory.to_string(),
                staging_directory: config.staging_directory.to_string(),
                renew_before: config.renew_before,
                replace_foreign: config.replace_foreign,
            },
            email: config.email.clone(),
            loop_time: config.loop_time.try_into().unwrap_or(Duration::DAY),
            key_type: config.key_type,
            self_check: config.self_check,
            concurrency: config.concurrency,
            longest_rest: LONGEST_REST,
            patience: patience(config.loop_time, config.connect_timeout),
            ca_limits: config.ca_limits,
            left_out: config.bad_domains.iter().map(|bad| format!("DOMAINS has {bad}")).collect(),
        }
    }
}

impl Settings {
    /// What an account is asked for with at an authority: the refusal of one says nothing of another.
    pub(crate) fn account_asked_with(&self, directory: &str) -> Fingerprint {
        let email = self.email.as_deref().unwrap_or_default();
        Fingerprint::of(&[directory, "\n", email])
    }
}

/// What every procedure works with.
pub struct Context<W: World> {
    /// The doors to the outside.
    pub world: W,
    /// The store.
    pub store: Arc<Store<W::Disk>>,
    /// The settings.
    pub settings: Settings,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    /// What attempts work on at present. The same certificate may be wanted under another primary name meanwhile.
    claims: Arc<Mutex<BTreeSet<Claim>>>,
    wake: Mutex<Wake>,
    /// Held while the debt of a wake-up is written down or cleared, so that the file always says what is known.
    writing_wake: tokio::sync::Mutex<()>,
    /// The last comparison of the clock of this machine with an authority's.
    clock: Mutex<Option<Compared>>,
    /// Held while an account is made.
    pub(crate) registering: tokio::sync::Mutex<()>,
}

impl<W: World> Context<W> {
    /// Reads the ledger.
    pub async fn open(
        world: W,
        store: Arc<Store<W::Disk>>,
        mut settings: Settings,
    ) -> Result<Self, (W, StoreError)> {
        settings.policy.place = world.destination().describe().name;
        let now = world.clock().now();
        let read = store.run(move |store| {
            store.prepare()?;
            if let Err(error) = store.sweep_unfinished() {
                tracing::warn!(%error, "unfinished files not removed");
            }
            Ok((store.read_ledger(now)?, store.is_wake_owed()?))
        });
        match read.await {
            Ok((ledger, is_owed)) => {
                let (ledger, wake) = (
                    Arc::new(Mutex::new(ledger)),
                    Mutex::new(Wake { is_owed, generation: 0, writing: 0 }),
                );
                let (writing_wake, registering, clock) = Default::default();
                let context = Self {
                    world,
                    store,
                    settings,
                    ledger,
                    claims: Arc::default(),
                    wake,
                    writing_wake,
                    registering,
                    clock,
                };
                context.forget_refusals_of_other_accounts().await;
                Ok(context)
            }
            Err(error) => Err((world, error)),
        }
    }

    /// The time.
    pub fn now(&self) -> OffsetDateTime {
        self.world.clock().now()
    }

    /// The ledger, for a look that takes no time.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// The limits that are kept at a directory.
    pub fn limits(&self, directory: &str) -> Option<&'static Limits> {
        self.settings.ca_limits.of(directory)
    }

    /// Notes since when certificates are wished for that have to wait, so that the oldest wish goes first.
    pub async fn note_wishes(&self, certificates: Vec<String>) {
        let now = self.now();
        let lines = {
            let mut ledger = self.ledger();
            let wishes = certificates.into_iter();
            wishes.filter_map(|certificate| ledger.wish(certificate, now)).collect()
        };
        self.write_all(lines).await;
    }

    /// Notes certificates that are known from elsewhere.
    pub async fn seed(&self, asked: &OrderCost<'_>, leaf: &Leaf) {
        let (limits, now) = (self.limits(asked.directory), self.now());
        let lines = self.ledger().seed(asked, leaf, limits, now);
        self.write_all(lines).await;
    }

    /// Notes that a certificate is about to be asked for: on the disk, or it is not asked for. Asked for again, it may be
    /// another. `at` is the time on the record of the order, by which it is given back.
    pub async fn note_finalizing(
        &self,
        asked: &OrderCost<'_>,
        at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let limits = self.limits(asked.directory);
        let line = self.ledger().finalizing(asked, limits, at);
        self.store.run(move |store| store.append_ledger(&line)).await
    }

    /// Notes that the names of a certificate that is served are about to change.
    pub async fn note_change(&self, certificate: &DomainName) {
        let (now, certificate) = (self.now(), certificate.to_string());
        let line = {
            let mut ledger = self.ledger();
            let subject = Subject::Change { certificate };
            let before = ledger.wait(&subject);
            let is_in_a_row =
                |wait: &&Wait| now < wait.until.saturating_add(CHANGES_FORGOTTEN_AFTER);
            let changes = 1 + before.filter(is_in_a_row).map_or(0, |wait| wait.failures);
            let wait = Wait {
                failures: changes,
                until: now + schedule::after_change(changes),
                detail: "names changed".to_owned(),
                failure_kind: None,
                failed_at: Some(now),
                address: None,
                asked_with: None,
            };
            ledger.fail(subject, wait, now)
        };
        self.write(line).await;
    }

    /// Notes that a change of names that was noted did not come about.
    pub async fn take_back_change(&self, certificate: &DomainName) {
        let (now, certificate) = (self.now(), certificate.to_string());
        let subject = Subject::Change { certificate };
        let line = {
            let mut ledger = self.ledger();
            let Some(before) = ledger.wait(&subject).cloned() else {
                return;
            };
            let wait = Wait { failures: before.failures.saturating_sub(1), until: now, ..before };
            ledger.fail(subject, wait, now)
        };
        self.write(line).await;
    }

    /// Notes a certificate that was issued, and came at `at`.
    pub async fn note_issued(
        &self,
        directory: &str,
        names: NameSet,
        leaf: &Leaf,
        at: OffsetDateTime,
    ) {
        let line = self.ledger().issued(directory, names, leaf, at);
        self.write(line).await;
    }

    /// What cannot be written down is still remembered until the end of this process.
    pub(crate) async fn write(&self, line: Line) {
        self.write_all(vec![line]).await;
    }

    /// The same for lines of one moment, which are on the disk together or not at all.
    pub(crate) async fn write_all(&self, lines: Vec<Line>) {
        if lines.is_empty() {
            return;
        }
        let (ledger, now) = (Arc::clone(&self.ledger), self.now());
        let written = self.store.run(move |store| {
            store.append_lines(&lines)?;
            if lock(&ledger).is_all() {
                store.compact_ledger(|| lock(&ledger).compacted(now))?;
            }
            Ok::<(), StoreError>(())
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "ledger not written, a restart would forget");
        }
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_stuck_after_three_rounds_but_not_before_a_long_pass_could_end() {
        let seconds = std::time::Duration::from_secs;
        for (loop_time, connect_timeout, minutes) in
            [(1, 2, 2), (60, 10, 4), (100, 10, 5), (300, 10, 15), (86_400, 10, 15), (300, 60, 24)]
        {
            let patience = patience(seconds(loop_time), seconds(connect_timeout));
            assert_eq!(patience, Duration::minutes(minutes), "{loop_time} {connect_timeout}");
        }
    }
}

//! What every procedure works with: the ports, the store, the settings, and the ledger that remembers failures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use time::Duration;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::budget::Asked;
use crate::budget::Limits;
use crate::budget::UsedUp;
use crate::certificate::Leaf;
use crate::classify::Policy;
use crate::classify::timestamp;
use crate::client::one_line;
use crate::config::CaLimits;
use crate::config::Config;
use crate::config::SelfCheck;
use crate::names::DomainName;
use crate::names::NameSet;
use crate::ports::Clock;
use crate::ports::RetryAfter;
use crate::ports::World;
use crate::reaction;
use crate::schedule;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::ledger::Ledger;
use crate::store::ledger::Line;
use crate::store::ledger::Subject;
use crate::store::ledger::Wait;
use crate::store::record::WakeOwed;

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
    /// What a failed fetch of our own token means.
    pub self_check: SelfCheck,
    /// Orders in flight at once.
    pub concurrency: usize,
    /// The loop turns at least this often, so that a look from outside can tell whether it does.
    pub longest_rest: Duration,
    /// Whose limits are kept.
    pub ca_limits: CaLimits,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            policy: Policy {
                is_staging: config.is_staging,
                production_directory: config.production_directory.to_string(),
                staging_directory: config.staging_directory.to_string(),
                renew_before: config.renew_before,
                replace_foreign: config.replace_foreign,
            },
            email: config.email.clone(),
            loop_time: config.loop_time.try_into().unwrap_or(Duration::DAY),
            self_check: config.self_check,
            concurrency: config.concurrency,
            longest_rest: LONGEST_REST,
            ca_limits: config.ca_limits,
        }
    }
}

/// Why something did not come to its end, in plain words, and when it is tried again.
///
/// What must survive a restart is on record already when one of these is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// What happened.
    pub reason: String,
    /// When it is tried again.
    pub until: Option<OffsetDateTime>,
    /// Whether something failed; else it just takes its time.
    pub is_failure: bool,
}

impl Setback {
    /// Nothing failed; there is more to do later.
    pub fn later(reason: impl Into<String>, until: OffsetDateTime) -> Self {
        Self {
            reason: reason.into(),
            until: Some(until),
            is_failure: false,
        }
    }

    /// Something failed and is tried again at a time.
    pub fn failure_until(reason: impl Into<String>, until: OffsetDateTime) -> Self {
        Self {
            reason: reason.into(),
            until: Some(until),
            is_failure: true,
        }
    }

    /// Something failed and is tried again by the next pass.
    pub fn failure(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            until: None,
            is_failure: true,
        }
    }
}

impl From<Wait> for Setback {
    fn from(wait: Wait) -> Self {
        Self::failure_until(wait.detail, wait.until)
    }
}

impl From<UsedUp> for Setback {
    fn from(used_up: UsedUp) -> Self {
        Self {
            reason: used_up.reason,
            until: used_up.opens,
            is_failure: true,
        }
    }
}

/// One of the places that work may take at the same time; whoever waits for one hears of it when it is given back.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    freed: Arc<Notify>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.freed.notify_one();
    }
}

/// Places for one kind of work.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    freed: Arc<Notify>,
}

impl Places {
    /// So many places.
    pub fn new(count: usize, freed: Arc<Notify>) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            freed,
        }
    }

    /// Takes a place, if one is free.
    pub fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Place {
            _permit: permit,
            freed: Arc::clone(&self.freed),
        })
    }

    /// Waits for a place.
    pub async fn wait(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Place {
            _permit: permit,
            freed: Arc::clone(&self.freed),
        })
    }
}

/// How soon a clock that is wrong is looked at again.
pub const SKEW_LOOK: Duration = Duration::minutes(10);

/// Something that one attempt at a time may work on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A folder of the store.
    Lineage(String),
    /// A certificate of these names from an authority.
    Names {
        /// Directory URL of the authority.
        directory: String,
        /// The names.
        names: NameSet,
    },
}

impl Claim {
    /// A folder of the store.
    pub fn lineage(name: &str) -> Self {
        Self::Lineage(name.to_owned())
    }
}

/// What an attempt has claimed; free again when this is dropped.
#[derive(Debug)]
pub struct Claimed {
    claims: Vec<Claim>,
    all: Arc<Mutex<BTreeSet<Claim>>>,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for claim in &self.claims {
            all.remove(claim);
        }
    }
}

/// The debt of a wake-up.
struct Wake {
    is_owed: bool,
    generation: u64,
    /// Writes to Rancher that are under way: as long as there is one, the debt is not paid.
    writing: u32,
}

/// A write to Rancher that is under way. From its end on, however it ends, balancers are to be woken.
pub struct Writing<'a> {
    wake: &'a Mutex<Wake>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        wake.writing -= 1;
        wake.generation += 1;
    }
}

/// What every procedure works with.
pub struct Engine<W: World> {
    /// The doors to the outside.
    pub world: W,
    /// The store.
    pub store: Arc<Store<W::Disk>>,
    /// The settings.
    pub settings: Settings,
    ledger: Arc<Mutex<Ledger>>,
    /// What attempts work on at present. The same certificate may be wanted under another primary name meanwhile.
    claims: Arc<Mutex<BTreeSet<Claim>>>,
    wake: Mutex<Wake>,
    /// Held while the debt of a wake-up is written down or cleared, so that the file always says what is known.
    writing_wake: tokio::sync::Mutex<()>,
    /// What was said and need not be said again.
    said: Mutex<BTreeSet<String>>,
    /// How the clock of this machine was found wrong, and when.
    skew: Mutex<Option<(String, tokio::time::Instant)>>,
    /// Held while an account is made.
    pub(crate) registering: tokio::sync::Mutex<()>,
}

impl<W: World> Engine<W> {
    /// Reads the ledger.
    pub async fn open(
        world: W,
        store: Arc<Store<W::Disk>>,
        settings: Settings,
    ) -> Result<Self, (W, StoreError)> {
        let now = world.clock().now();
        let read = store.run(move |store| {
            store.prepare()?;
            if let Err(error) = store
                .sweep_pending()
                .and_then(|()| store.sweep_unfinished())
            {
                tracing::warn!(%error, "folders of old orders not removed");
            }
            Ok((store.read_ledger(now)?, store.is_wake_owed()?))
        });
        match read.await {
            Ok((ledger, is_owed)) => {
                let (ledger, wake) = (
                    Arc::new(Mutex::new(ledger)),
                    Mutex::new(Wake {
                        is_owed,
                        generation: 0,
                        writing: 0,
                    }),
                );
                let (writing_wake, registering, said, skew) = Default::default();
                Ok(Self {
                    world,
                    store,
                    settings,
                    ledger,
                    claims: Arc::default(),
                    wake,
                    writing_wake,
                    registering,
                    said,
                    skew,
                })
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

    /// Notes that the clock of this machine is wrong. Not on record: it may be right after a restart.
    pub fn distrust_clock(&self, reason: &str) {
        let now = tokio::time::Instant::now();
        let mut skew = self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        *skew = Some((reason.to_owned(), now));
    }

    /// Whether the clock of this machine was found wrong, and how long until it is looked at again.
    pub fn clock_distrusted(&self) -> Option<(String, Duration)> {
        let skew = self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        let (reason, since) = skew.as_ref()?;
        // By a clock that does not jump.
        let passed = Duration::try_from(since.elapsed()).unwrap_or(SKEW_LOOK);
        (passed < SKEW_LOOK).then(|| (reason.clone(), SKEW_LOOK - passed))
    }

    /// Warns of something, the first time.
    pub fn say_once(&self, sentence: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(sentence.to_owned()) {
            tracing::warn!(notice = sentence, "trouble");
        }
    }

    /// Claims all of these for one attempt; none if another has one of them.
    pub fn claim(&self, claims: Vec<Claim>) -> Option<Claimed> {
        let mut all = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claims.iter().any(|claim| all.contains(claim)) {
            return None;
        }
        all.extend(claims.iter().cloned());
        Some(Claimed {
            claims,
            all: Arc::clone(&self.claims),
        })
    }

    /// Whether an attempt works on this.
    pub fn is_claimed(&self, claim: &Claim) -> bool {
        let all = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        all.contains(claim)
    }

    /// Whether balancers are to be woken.
    pub fn is_wake_owed(&self) -> bool {
        self.wake().is_owed
    }

    /// Notes that balancers are to be woken, before a write to Rancher: the debt stays on the disk as long as the
    /// answer is held, and however a wake-up runs beside it, they will hear of what is written.
    pub async fn owe_wake(&self) -> Writing<'_> {
        let _one_at_a_time = self.writing_wake.lock().await;
        let (writing, was_owed) = {
            let mut wake = self.wake();
            wake.writing += 1;
            wake.generation += 1;
            let was_owed = std::mem::replace(&mut wake.is_owed, true);
            (Writing { wake: &self.wake }, was_owed)
        };
        if was_owed {
            return writing;
        }
        let owed = WakeOwed { since: self.now() };
        match self.store.run(move |store| store.owe_wake(&owed)).await {
            Ok(()) => tracing::debug!("wake owed"),
            // A full disk must not keep a good certificate from Rancher.
            Err(error) => {
                tracing::warn!(%error, "wake-up not written down, a restart would forget it")
            }
        }
        writing
    }

    /// Tells one state of the debt from another; taken before balancers are woken.
    pub fn wake_generation(&self) -> u64 {
        self.wake().generation
    }

    /// Notes that balancers were woken, unless something was written to Rancher since `generation` was taken, or is
    /// being written.
    pub async fn clear_wake(&self, generation: u64) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing_wake.lock().await;
        {
            let wake = self.wake();
            if wake.generation != generation || wake.writing > 0 {
                return Ok(());
            }
        }
        let cleared = self.store.run(|store| store.clear_wake()).await;
        // Paid even if the file stays: on a read-only store the balancers would be woken without end.
        self.wake().is_owed = false;
        cleared
    }

    fn wake(&self) -> MutexGuard<'_, Wake> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure that is tried again at `until`.
    pub async fn fail_until(&self, subject: Subject, until: OffsetDateTime, detail: &str) -> Wait {
        self.note_failure(subject, |_| until, detail, None).await
    }

    /// Notes a failure on the clock of its subject, which `after` reads: failures in a row to a wait.
    pub async fn fail(
        &self,
        subject: Subject,
        after: impl Fn(u32) -> Duration,
        detail: &str,
    ) -> Wait {
        let now = self.now();
        self.note_failure(subject, |failures| now + after(failures), detail, None)
            .await
    }

    /// Notes a validation that failed at an authority, on the clock of its name.
    pub async fn fail_validation(
        &self,
        directory: &str,
        subject: Subject,
        clock: reaction::Clock,
        detail: &str,
    ) {
        let (now, loop_time) = (self.now(), self.settings.loop_time);
        let until = |failures| now + clock.after(failures, loop_time);
        self.note_failure(subject, until, detail, self.limits(directory))
            .await;
    }

    /// `limits` are those that the failure takes from.
    async fn note_failure(
        &self,
        subject: Subject,
        until: impl FnOnce(u32) -> OffsetDateTime,
        detail: &str,
        limits: Option<&Limits>,
    ) -> Wait {
        let now = self.now();
        let (wait, line) = {
            let mut ledger = self.ledger();
            let failures = ledger.failures(&subject).saturating_add(1);
            let wait = Wait {
                failures,
                until: until(failures),
                detail: one_line(detail),
            };
            let line = match limits {
                Some(limits) => ledger.fail_validation(subject, wait.clone(), limits, now),
                None => ledger.fail(subject, wait.clone(), now),
            };
            (wait, line)
        };
        self.write(line).await;
        wait
    }

    /// Notes since when a certificate is wished for that has to wait, so that the oldest wish goes first.
    pub async fn note_wish(&self, certificate: String) {
        let line = self.ledger().wish(certificate, self.now());
        if let Some(line) = line {
            self.write(line).await;
        }
    }

    /// Notes certificates that are known from elsewhere.
    pub async fn seed(&self, asked: &Asked<'_>, leaf: &Leaf) {
        let (limits, now) = (self.limits(asked.directory), self.now());
        let lines = self.ledger().seed(asked, leaf, limits, now);
        for line in lines {
            self.write(line).await;
        }
    }

    /// Notes a failure on the clock of pushes, wake-ups and self-checks.
    pub async fn fail_soon(&self, subject: Subject, detail: &str) -> Wait {
        let loop_time = self.settings.loop_time;
        self.fail(
            subject,
            |failures| schedule::after_setback(failures, loop_time),
            detail,
        )
        .await
    }

    /// Notes that a subject is well.
    pub async fn clear(&self, subject: &Subject) {
        let line = self.ledger().clear(subject, self.now());
        if let Some(line) = line {
            self.write(line).await;
        }
    }

    /// Whether something has to wait, and why.
    pub fn held_back(&self, subject: &Subject) -> Result<(), Setback> {
        let now = self.now();
        match self.ledger().waiting(subject, now) {
            Some(wait) => Err(wait.clone().into()),
            None => Ok(()),
        }
    }

    /// The wait of an authority that is left alone at present.
    pub fn open_breaker(&self, breaker: &Subject) -> Option<Wait> {
        let now = self.now();
        self.ledger()
            .waiting(breaker, now)
            .filter(|wait| schedule::is_open(wait.failures))
            .cloned()
    }

    /// Notes an answer that says nothing but that the authority fails. Several in a row open the breaker; while it
    /// is open, answers to what was asked before count no more.
    pub async fn note_outage(
        &self,
        breaker: Subject,
        retry_after: Option<RetryAfter>,
        detail: &str,
    ) {
        if self.open_breaker(&breaker).is_some() {
            return;
        }
        let now = self.now();
        let failures = self.ledger().failures(&breaker).saturating_add(1);
        let mut until = now;
        if schedule::is_open(failures) {
            let asked = retry_after.map_or(now, |retry_after| retry_after.at(now));
            let asked = asked.min(now + schedule::LONGEST_OUTAGE);
            until = asked.max(now + schedule::after_outage(failures));
            tracing::warn!(error = detail, next_try = %timestamp(until), "authority left alone after several failures in a row");
        }
        self.fail_until(breaker, until, detail).await;
    }

    /// Notes that a certificate is about to be asked for: on the disk, or it is not asked for. Answers when it may be
    /// asked for, if that is not now: then nothing is noted. What was `asked_before` for the same order is no second
    /// certificate.
    pub async fn note_finalizing(
        &self,
        directory: &str,
        names: NameSet,
        asked_before: Option<OffsetDateTime>,
    ) -> Result<Option<OffsetDateTime>, StoreError> {
        let now = self.now();
        let line = {
            let mut ledger = self.ledger();
            let floor = ledger.floor(directory, &names, now);
            if floor.is_some() && asked_before.is_none() {
                return Ok(floor);
            }
            ledger.finalizing(directory, names, now)
        };
        self.store
            .run(move |store| store.append_ledger(&line))
            .await?;
        Ok(None)
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
        let (ledger, now) = (Arc::clone(&self.ledger), self.now());
        let written = self.store.run(move |store| {
            store.append_ledger(&line)?;
            store.compact_ledger(|| lock(&ledger).compacted(now))
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "ledger not written, a restart would forget");
        }
    }

    /// Names that wait after a failed validation, a refusal or a failed self-check.
    pub fn waiting_names<'a>(
        &self,
        names: impl Iterator<Item = &'a DomainName>,
        account: &str,
    ) -> NameSet {
        let now = self.now();
        let ledger = self.ledger();
        let directory = self.settings.policy.wanted_directory();
        let is_waiting = |name: &&DomainName| {
            ledger
                .waiting(&refusals(directory, account, name), now)
                .is_some()
                || ledger
                    .waiting(
                        &Subject::SelfCheck {
                            name: (*name).clone(),
                        },
                        now,
                    )
                    .is_some()
        };
        names.filter(is_waiting).cloned().collect()
    }

    /// Whether a name waits because the authority has refused it, not because of our own look at it.
    pub fn is_refused(&self, name: &DomainName, account: &str) -> bool {
        let directory = self.settings.policy.wanted_directory();
        let subject = refusals(directory, account, name);
        self.ledger().waiting(&subject, self.now()).is_some()
    }

    /// The longest of the waits of some names, with its reason.
    pub fn wait_of(&self, names: &NameSet, account: &str) -> Option<Wait> {
        let now = self.now();
        let ledger = self.ledger();
        let directory = self.settings.policy.wanted_directory();
        let waits = names.iter().flat_map(|name| {
            let subjects = [
                refusals(directory, account, name),
                Subject::SelfCheck { name: name.clone() },
            ];
            subjects.map(|subject| ledger.waiting(&subject, now).cloned())
        });
        waits.flatten().max_by_key(|wait| wait.until)
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The clock of failed validations and refusals of a name.
pub fn refusals(directory: &str, account: &str, name: &DomainName) -> Subject {
    Subject::Name {
        directory: directory.to_owned(),
        account: account.to_owned(),
        name: name.clone(),
    }
}

//! The loop: a pass at start, after `LOOP_TIME` at the latest, when a wait ends, and when wanted names change.
//!
//! Jobs run beside the loop, so that a change is acted on while another certificate waits on a stalled request.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;

use time::Duration;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::debug;

use crate::core::held::Announcement;
use crate::core::held::CertificateId;
use crate::core::names::DomainName;
use crate::core::problem::NoData;
use crate::ports::Clock;
use crate::ports::Source;
use crate::ports::World;
use crate::work::context::Context;
use crate::work::context::slots::Slots;
use crate::work::context::slots::Workplaces;
use crate::work::reconcile::Reconciler;
use crate::work::reconcile::job::Brought;
use crate::work::reconcile::job::Job;
use crate::work::reconcile::report::Report;

pub mod snapshot;
mod tasks;

pub use snapshot::Ended;
pub use snapshot::PassTimes;
pub use snapshot::Snapshot;
pub use snapshot::Stuck;
pub use snapshot::Try;

use tasks::Finished;

/// Passes keep this distance.
const SHORTEST_ROUND: Duration = Duration::seconds(1);
/// Passes because of what was tried before keep this distance: what ends meanwhile is seen to by one of them.
const COLLECTING_ROUND: Duration = Duration::seconds(10);
/// Balancers are woken once for all pushes; a slow certificate keeps the others waiting no longer than this.
const LONGEST_DEBT: Duration = Duration::seconds(5);
/// How long a pass waits for labels.
const LABELS_PATIENCE: Duration = Duration::seconds(3);
/// How often `once` looks whether what it did has made more possible.
const MOST_ROUNDS: u32 = 5;
/// Pushes and restores beside the orders.
const PUSHES: usize = 8;
/// Orders beside each other whose names are looked at by ourselves.
const CHECKS: usize = 256;

/// Resolves when names may have changed, with what is announced then. The lists are read beside the loop: one that
/// stalls holds up nothing else, and is asked for again.
type Changed<'a> = Pin<Box<dyn Future<Output = Result<Vec<Announcement>, NoData>> + Send + 'a>>;

/// The daemon.
pub struct Daemon<W: World> {
    context: Arc<Context<W>>,
    reconciler: Reconciler<W>,
    snapshot: watch::Sender<Snapshot>,
    /// Orders, and everything else, that wait for a place.
    queues: [VecDeque<Job>; 2],
    running: JoinSet<Finished>,
    in_hand: BTreeSet<String>,
    room: Workplaces,
    freed: Arc<Notify>,
    is_waking: bool,
    /// The state of the debt that was paid last: as long as it is the same, a write that is under way owes the rest.
    paid: Option<u64>,
    owed_since: Option<OffsetDateTime>,
    pushed: Vec<CertificateId>,
    /// Renewals that a person asks for, and a pass was planned for.
    requests: BTreeSet<(DomainName, OffsetDateTime)>,
    next: OffsetDateTime,
    last: Option<OffsetDateTime>,
    /// How many passes have not found the destination since the start; none once it was found.
    early_looks: Option<u32>,
}

impl<W: World> Daemon<W> {
    /// A daemon that begins with a pass; what it sees is published in `snapshot`.
    pub fn new(
        context: Arc<Context<W>>,
        reconciler: Reconciler<W>,
        snapshot: watch::Sender<Snapshot>,
    ) -> Self {
        let next = context.now();
        let freed = Arc::new(Notify::new());
        let patience = context.settings.patience;
        snapshot.send_modify(|snapshot| snapshot.patience = Some(patience));
        Self {
            reconciler,
            snapshot,
            queues: Default::default(),
            running: JoinSet::new(),
            in_hand: BTreeSet::new(),
            room: Workplaces {
                orders: Slots::new(context.settings.concurrency, Arc::clone(&freed)),
                checks: Slots::new(CHECKS, Arc::clone(&freed)),
                pushes: Slots::new(PUSHES, Arc::clone(&freed)),
            },
            freed,
            context,
            is_waking: false,
            paid: None,
            owed_since: None,
            pushed: Vec::new(),
            requests: BTreeSet::new(),
            next,
            last: None,
            early_looks: Some(0),
        }
    }

    /// Runs until `shutdown` resolves. Dropping what is in hand is safe at any point: orders stay resumable, and a
    /// write that has begun ends on its own thread.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let context = Arc::clone(&self.context);
        let turns = async {
            let reads_labels = self.reconciler.reads_labels();
            let watch = || -> Changed<'_> {
                if reads_labels {
                    let source = context.world.source();
                    Box::pin(async {
                        source.changed().await?;
                        source.announcements().await
                    })
                } else {
                    Box::pin(std::future::pending())
                }
            };
            let mut changed = watch();
            loop {
                if self.turn(&mut changed).await {
                    changed = watch();
                }
            }
        };
        let mut turns = pin!(turns);
        tokio::select! {
            biased;
            () = shutdown => {}
            () = &mut turns => {}
        }
    }

    /// Makes a pass, does what it finds, and looks again, until there is nothing more to do at once.
    pub async fn once(mut self) {
        // Here nothing else waits for metadata, however long it takes.
        self.reconciler.read_labels().await;
        for _ in 0..MOST_ROUNDS {
            self.pass().await;
            self.start_work();
            if self.running.is_empty() {
                return;
            }
            while let Some(finished) = self.running.join_next().await {
                self.finish(finished);
                self.start_work();
            }
        }
        // The last one shows what became of it all.
        self.pass().await;
    }

    /// One turn of the loop. Answers whether names may have changed, which was seen to.
    async fn turn(&mut self, changed: &mut Changed<'_>) -> bool {
        // Passes may follow each other without a rest, and what has ended is not to wait for one.
        while let Some(finished) = self.running.try_join_next() {
            self.finish(finished);
        }
        self.start_work();
        if self.in_hand.is_empty() {
            self.reconciler.tell_common();
        }
        let now = self.context.now();
        self.snapshot.send_modify(|snapshot| snapshot.turned_at = Some(now));
        // After a clock was set back, what is planned may lie hours ahead.
        let is_set_back = self.last.is_some_and(|last| now < last);
        if is_set_back {
            tracing::warn!(
                "the clock of this machine was set back, waits are cut to what they can be"
            );
            self.context.ledger().clamp_future(now);
        }
        self.context.ledger().recall(now);
        if self.sees_new_requests().await {
            self.plan(now, SHORTEST_ROUND);
        }
        if self.next <= now || is_set_back {
            self.pass().await;
            return false;
        }
        let rest = self.rest(now);
        let context = Arc::clone(&self.context);
        // In this order and not at random, so that the same events always lead to the same turns.
        tokio::select! {
            biased;
            Some(finished) = self.running.join_next() => {
                self.finish(finished);
                false
            }
            announced = changed => {
                if self.reconciler.learn(announced) {
                    debug!("wanted names changed");
                    self.next = self.context.now();
                }
                true
            }
            // A place is free for what is queued.
            () = self.freed.notified() => false,
            () = context.world.clock().sleep(rest) => false,
        }
    }

    fn rest(&self, now: OffsetDateTime) -> Duration {
        let longest = self.context.settings.longest_rest;
        let until_next = self.next - now;
        let until_wake = self
            .owed_since
            .map(|since| since + LONGEST_DEBT - now)
            .filter(|time| *time > Duration::ZERO);
        until_next.min(until_wake.unwrap_or(longest)).min(longest)
    }

    async fn pass(&mut self) {
        // The first pass needs no second reading: the poll that begins with it brings what came in between.
        let begun = self.context.now();
        let context = Arc::clone(&self.context);
        tokio::select! {
            biased;
            _ = self.reconciler.read_labels() => {}
            // Metadata that stalls must not keep balancers from being woken; a change of it is seen anyway.
            () = context.world.clock().sleep(LABELS_PATIENCE) => debug!("labels take long, the names last known hold"),
        }
        let pass = self.reconciler.pass(&self.in_hand).await;
        let now = self.context.now();
        debug!(
            certificates = pass.report.rows.len(),
            jobs = pass.jobs.len(),
            in_hand = self.in_hand.len(),
            elapsed_ms = u64::try_from((now - begun).whole_milliseconds()).unwrap_or(0),
            "pass ended"
        );
        self.last = Some(now);
        let latest = now + self.context.settings.loop_time;
        // With a slow the destination a wait may have ended during the pass.
        self.next =
            pass.report.next.map_or(latest, |next| next.max(now + COLLECTING_ROUND).min(latest));
        self.look_early(&pass.report, now);
        let (orders, others) = pass.jobs.into_iter().partition(Job::is_order);
        self.queues = [orders, others];
        let report = Arc::new(pass.report);
        let times = PassTimes { ended_at: now, took: now - begun };
        let next = self.next;
        self.snapshot.send_modify(|snapshot| {
            snapshot.passes += 1;
            let known: BTreeSet<&str> =
                report.rows.iter().map(|row| row.entry.names.primary().as_str()).collect();
            snapshot.tries.retain(|primary, _| known.contains(primary.as_str()));
            snapshot.succeeded.retain(|primary, _| known.contains(primary.as_str()));
            // What was there when the pass looked, the report shows.
            for last in snapshot.tries.values_mut() {
                if last.at < report.at {
                    last.brought = Brought::default();
                }
            }
            snapshot.report = Some(Arc::clone(&report));
            snapshot.last_pass = Some(times);
            snapshot.next = Some(next);
        });
    }

    /// At boot the destination is often not there yet: until it was read once, it is looked for soon and ever later.
    fn look_early(&mut self, report: &Report, now: OffsetDateTime) {
        if report.destination_fault.is_none() {
            self.early_looks = None;
        }
        if let Some(looks) = &mut self.early_looks {
            let wait = SHORTEST_ROUND * 2_i32.saturating_pow((*looks).min(10));
            *looks += 1;
            self.next = self.next.min(now + wait);
        }
    }

    /// Whether a person has asked for a renewal since the last look.
    async fn sees_new_requests(&mut self) -> bool {
        let store = &self.context.store;
        let Ok(requests) = store.run(|store| store.renewal_requests()).await else {
            return false;
        };
        let requests: BTreeSet<_> = requests
            .into_iter()
            .filter(|request| request.taken_at.is_none())
            .map(|request| (request.certificate, request.asked_at))
            .collect();
        let is_new = !requests.is_subset(&self.requests);
        self.requests = requests;
        is_new
    }

    /// A pass at `at`, if none comes earlier, but not right behind the last one.
    fn plan(&mut self, at: OffsetDateTime, round: Duration) {
        let earliest = self.last.map_or(at, |last| last + round);
        self.next = self.next.min(at.max(earliest));
    }
}

//! One pass: gather, decide, hand out. Every pass does the right thing from what it finds.
//!
//! Deciding is [`crate::classify::judge`]; this module brings the facts together and turns verdicts into jobs.
//! Certificates whose job is still running are left out: the next pass sees what became of them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use time::OffsetDateTime;
use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::classify::Blocked;
use crate::classify::DiskCopy;
use crate::classify::Facts;
use crate::classify::Known;
use crate::classify::RemoteCopy;
use crate::classify::Verdict;
use crate::classify::judge;
use crate::classify::names_to_order;
use crate::decide::Action;
use crate::engine::Engine;
use crate::engine::Setback;
use crate::issue::Wish;
use crate::issue::gate;
use crate::names::DomainName;
use crate::names::Names;
use crate::ports::Orchestrator;
use crate::ports::Service;
use crate::ports::World;
use crate::push::Target;
use crate::push::View;
use crate::reconcile::assign::Assigned;
use crate::schedule;
use crate::store::ledger::Subject;
use crate::store::lineage::Lineage;
use crate::store::lineage::Pending;
use crate::store::record::LabelsRecord;
use crate::wanted::Entry;
use crate::wanted::Wanted;

pub mod assign;
pub mod job;
pub mod report;

use job::Job;
use job::Kind;
use report::Report;
use report::Row;

/// What is remembered from pass to pass; none of it is needed to decide rightly.
pub struct Reconciler<W: World> {
    engine: Arc<Engine<W>>,
    domains: Vec<Names>,
    reads_labels: bool,
    labels: LabelsRecord,
    /// Whether the names on record were read, or those that services announce: else nobody knows what is wanted.
    knows_labels: bool,
    /// What was said already: a sentence is news once.
    said: BTreeSet<String>,
    /// The same of every certificate, by primary name.
    told: BTreeMap<DomainName, BTreeSet<String>>,
    /// Lineages of certbot's that could not be read: nothing is issued in their place.
    unreadable: BTreeMap<String, String>,
}

/// What a pass found and wants done.
pub struct Pass {
    /// Every certificate, with its verdict.
    pub report: Report,
    /// What is to be done, the most urgent first.
    pub jobs: Vec<Job>,
}

impl<W: World> Reconciler<W> {
    /// Begins with the names last learned from labels, a tree that certbot left taken over, and the live view
    /// repaired.
    pub async fn start(engine: Arc<Engine<W>>, domains: Vec<Names>, reads_labels: bool) -> Self {
        let mut reconciler = Self {
            engine,
            domains,
            reads_labels,
            labels: LabelsRecord::default(),
            knows_labels: !reads_labels,
            said: BTreeSet::new(),
            told: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        };
        reconciler.recall_labels().await;
        reconciler.take_over().await;
        let now = reconciler.engine.now();
        let store = &reconciler.engine.store;
        if let Err(error) = store.run(move |store| store.repair_live(now)).await {
            warn!(%error, "live view not repaired");
        }
        reconciler
    }

    /// Whether names come from labels as well.
    pub fn reads_labels(&self) -> bool {
        self.reads_labels
    }

    /// Takes the names last learned from labels from the store, unless they are known by now.
    async fn recall_labels(&mut self) {
        if self.knows_labels {
            return;
        }
        match self.engine.store.run(|store| store.labels()).await {
            Ok(Some(labels)) => {
                self.labels = labels;
                self.knows_labels = true;
            }
            Ok(None) => {}
            Err(error) => self.say(format!("names last learned from labels not read: {error}")),
        }
    }

    /// Reads what services announce. Answers whether it is something else than before.
    pub async fn read_labels(&mut self) -> bool {
        if !self.reads_labels {
            return false;
        }
        match self.engine.world.orchestrator().announcements().await {
            Ok(announcements) => {
                let is_changed = announcements != self.labels.announcements;
                self.labels.announcements = announcements;
                self.knows_labels = true;
                is_changed
            }
            Err(error) => {
                debug!(%error, "labels not read, the names last known hold");
                false
            }
        }
    }

    /// Gathers and decides. `in_hand` are the primary names whose jobs still run.
    pub async fn pass(&mut self, in_hand: &BTreeSet<String>) -> Pass {
        self.recall_labels().await;
        let wanted = self.wanted().await;
        if !self.unreadable.is_empty() {
            self.take_over().await;
        }
        let listed = self.engine.world.orchestrator().certificates().await;
        let now = self.engine.now();
        let store = &self.engine.store;
        let lineages = store.run(move |store| {
            store.repair_stale();
            store.lineages(now)
        });
        let lineages = lineages.await;
        let (lineages, store_fault) = match lineages {
            Ok(lineages) => (lineages, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let (held, rancher_fault) = match listed {
            Ok(held) => (held, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        self.tell_fault("store", store_fault.as_deref());
        self.tell_fault("Rancher", rancher_fault.as_deref());
        let view = Arc::new(View {
            held,
            wanted: wanted.names(),
            known: known(&lineages),
        });
        let policy = &self.engine.settings.policy;
        let assigned = assign::assign(&wanted.entries, &lineages, &view.held, policy, now);
        let gathering = Gathering {
            view,
            rancher_fault,
            store_fault,
            is_ephemeral: self.engine.store.run(|store| store.is_ephemeral()).await,
            account: self.engine.account_url().await,
            in_hand,
            now,
        };
        let mut pass = Pass {
            report: Report {
                at: now,
                rows: Vec::new(),
                next: None,
                rancher_fault: gathering.rancher_fault.clone(),
            },
            jobs: Vec::new(),
        };
        for (entry, assigned) in wanted.entries.into_iter().zip(assigned.entries) {
            self.decide(&gathering, entry, assigned, &mut pass);
        }
        for entry in self.still_served(&gathering, &assigned.left).await {
            let (entry, assigned) = entry;
            self.decide(&gathering, entry, assigned, &mut pass);
        }
        pass.jobs.sort_by_key(|job| job.urgency);
        let next_wait = self.engine.ledger().next_end(now);
        pass.report.next = pass
            .report
            .rows
            .iter()
            .filter_map(|row| row.until)
            .chain(next_wait)
            .filter(|at| now < *at)
            .min();
        pass
    }

    async fn wanted(&mut self) -> Wanted {
        let empty = Vec::new();
        let announcements = if self.reads_labels {
            &self.labels.announcements
        } else {
            &empty
        };
        let wanted = Wanted::merge(&self.domains, announcements, &self.labels.holders);
        for notice in &wanted.notices {
            if self.said.insert(notice.clone()) {
                warn!(notice, "name left out or moved");
            }
        }
        if self.reads_labels && self.knows_labels {
            let record = LabelsRecord {
                holders: wanted.holders.clone(),
                ..self.labels.clone()
            };
            self.save_labels(record).await;
        }
        wanted
    }

    /// Written only if it is something else than what stands there.
    async fn save_labels(&mut self, record: LabelsRecord) {
        let save = record.clone();
        let saved = self.engine.store.run(move |store| {
            if store.labels()?.as_ref() == Some(&save) {
                return Ok(());
            }
            store.save_labels(&save)
        });
        if let Err(error) = saved.await {
            self.say(format!("names learned from labels not kept: {error}"));
        }
        self.labels = record;
    }

    async fn take_over(&mut self) {
        let now = self.engine.now();
        match self
            .engine
            .store
            .run(move |store| store.take_over(now))
            .await
        {
            Ok(takeover) => {
                for lineage in takeover.taken {
                    info!(lineage, "certbot's lineage taken over");
                }
                for (lineage, why) in takeover.left {
                    if self.said.insert(format!("left {lineage}: {why}")) {
                        info!(lineage, reason = why, "certbot's lineage left alone");
                    }
                }
                self.unreadable = takeover.unreadable;
            }
            Err(error) => self.say(format!("certbot's lineages not looked at: {error}")),
        }
    }

    fn decide(
        &mut self,
        gathering: &Gathering<'_>,
        entry: Entry,
        assigned: Assigned,
        pass: &mut Pass,
    ) {
        let primary = entry.names.primary().to_string();
        if gathering.in_hand.contains(&primary) {
            pass.report.rows.push(Row::in_hand(entry));
            return;
        }
        let engine = &self.engine;
        let present = assigned.lineage.as_deref();
        let absent = DiskCopy::Absent;
        let unknown = self.unknown_copy(gathering, &primary, present);
        let disk = unknown
            .as_ref()
            .or_else(|| present.map(|lineage| &lineage.copy))
            .unwrap_or(&absent);
        let remote = match (&gathering.rancher_fault, &assigned.remote) {
            (Some(fault), _) => RemoteCopy::Unknown(fault),
            (None, Some(held)) => RemoteCopy::Held(held),
            (None, None) => RemoteCopy::Absent,
        };
        let waiting = engine.waiting_names(entry.names.iter(), &gathering.account);
        let facts = Facts {
            names: &entry.names,
            waiting: &waiting,
            disk,
            remote,
            known: &gathering.view.known,
            policy: &engine.settings.policy,
        };
        let mut verdict = judge(&facts, gathering.now);
        let broken = match disk {
            DiskCopy::Broken(why) => Some(format!("{primary}: broken in the store, {why}")),
            DiskCopy::Unknown(_) | DiskCopy::Absent | DiskCopy::Whole(_) => None,
        };
        let target = Target {
            names: entry.names.clone(),
            waiting: waiting.clone(),
            remote: assigned.remote.clone(),
            view: Arc::clone(&gathering.view),
        };
        let planned = self.plan(gathering, &verdict, target, disk, &assigned);
        let (job, held_back) = match planned {
            Ok(job) => (job, None),
            Err(setback) => (None, Some(setback)),
        };
        let is_only_pushed = matches!(&job, Some(job) if matches!(job.kind, Kind::Push));
        if is_only_pushed && verdict.action != Action::Push {
            verdict.action = Action::Push;
            verdict.reason = format!(
                "the copy in the store is better than what Rancher has ({})",
                verdict.reason
            );
        }
        let row = Row::new(entry, disk, remote, verdict, held_back);
        if let Some(broken) = broken {
            self.say(broken);
        }
        self.tell(&row);
        pass.report.rows.push(row);
        pass.jobs.extend(job);
    }

    /// Why nothing can be said about the store's copy, where that is not in the lineage itself.
    fn unknown_copy(
        &self,
        gathering: &Gathering<'_>,
        primary: &str,
        present: Option<&Lineage>,
    ) -> Option<DiskCopy> {
        if let Some(fault) = &gathering.store_fault {
            return Some(DiskCopy::Unknown(fault.clone()));
        }
        // With a certificate of its own it needs none of those that certbot left.
        if present.is_some_and(|lineage| lineage.record.is_some()) {
            return None;
        }
        let fault = self
            .unreadable
            .iter()
            .find(|(lineage, _)| assign::is_named_after(lineage, primary));
        fault.map(|(_, fault)| DiskCopy::Unknown(fault.clone()))
    }

    /// What a verdict wants done now, if anything, or what holds it back.
    fn plan(
        &self,
        gathering: &Gathering<'_>,
        verdict: &Verdict,
        target: Target,
        disk: &DiskCopy,
        assigned: &Assigned,
    ) -> Result<Option<Job>, Setback> {
        let engine = &self.engine;
        let primary = target.names.primary().to_string();
        let now = gathering.now;
        let lineage = assigned.lineage.as_deref();
        let held_back = |subject: Subject| match engine.ledger().waiting(&subject, now) {
            Some(wait) => Err(Setback::failure_until(wait.detail.clone(), wait.until)),
            None => Ok(()),
        };
        let pushes = || {
            held_back(Subject::Push {
                certificate: primary.clone(),
            })
        };
        let attempt = Subject::Attempt {
            certificate: primary.clone(),
        };
        let unsettled = lineage
            .and_then(|lineage| unsettled(lineage, &target.names))
            .filter(|_| engine.ledger().waiting(&attempt, now).is_none());
        let kind = match verdict.action {
            // What was issued is stored first, whatever is wanted by now.
            _ if let Some(wish) = unsettled => Kind::Settle { wish },
            Action::Keep | Action::Leave | Action::Wait => return Ok(None),
            Action::Push => {
                pushes()?;
                Kind::Push
            }
            Action::Restore => {
                pushes()?;
                if let Some(Ok(shown)) = assigned.remote.as_ref().map(|held| &held.content) {
                    held_back(Subject::Key {
                        leaf: shown.leaf.fingerprint,
                    })?;
                }
                Kind::Restore
            }
            Action::Issue | Action::Renew => {
                match self.plan_issue(gathering, verdict, &target, disk, lineage) {
                    Ok(wish) => Kind::Obtain {
                        wish,
                        pushes_first: verdict.pushes_first && pushes().is_ok(),
                    },
                    // What is valid goes up even while a better one has to wait.
                    Err(_) if verdict.pushes_first && pushes().is_ok() => Kind::Push,
                    Err(setback) => return Err(setback),
                }
            }
        };
        let expiry = match disk {
            DiskCopy::Whole(stored) => Some(stored.shown.leaf.not_after),
            DiskCopy::Unknown(_) | DiskCopy::Absent | DiskCopy::Broken(_) => None,
        };
        let live = lineage.and_then(|lineage| {
            let record = lineage.record.as_ref()?;
            Some((lineage.name.clone(), record.live))
        });
        Ok(Some(Job {
            primary,
            target,
            live,
            lineage: lineage.map(|lineage| lineage.name.clone()),
            kind,
            urgency: (expiry.is_none(), expiry),
        }))
    }

    fn plan_issue(
        &self,
        gathering: &Gathering<'_>,
        verdict: &Verdict,
        target: &Target,
        disk: &DiskCopy,
        lineage: Option<&Lineage>,
    ) -> Result<Wish, Setback> {
        let engine = &self.engine;
        let now = gathering.now;
        let attempt = Subject::Attempt {
            certificate: target.names.primary().to_string(),
        };
        if let Some(wait) = engine.ledger().waiting(&attempt, now) {
            return Err(Setback::failure_until(wait.detail.clone(), wait.until));
        }
        let stored = match disk {
            DiskCopy::Whole(stored) => Some(stored),
            DiskCopy::Unknown(_) | DiskCopy::Absent | DiskCopy::Broken(_) => None,
        };
        let policy = &engine.settings.policy;
        let present = stored
            .filter(|stored| stored.shown.leaf.is_current(now))
            .filter(|stored| {
                policy.is_staging
                    || policy.is_production(&stored.shown.leaf, stored.directory.as_deref())
            })
            .map(|stored| &stored.shown.leaf);
        let surplus = present.map(|leaf| leaf.domain_names()).unwrap_or_default();
        let mut waiting = target.waiting.clone();
        waiting.extend(engine.waiting_names(surplus.iter(), &gathering.account));
        let is_covered_elsewhere = |name: &_| {
            let id = target.remote.as_ref().map(|held| held.id.as_str());
            gathering
                .view
                .held
                .iter()
                .filter(|held| Some(held.id.as_str()) != id)
                .any(|held| {
                    held.content.as_ref().is_ok_and(|shown| {
                        let ours = crate::classify::provenance(&gathering.view.known, held, shown);
                        ours.is_some() && shown.leaf.is_current(now) && shown.leaf.covers(name)
                    })
                })
        };
        let order = names_to_order(
            &target.names,
            &waiting,
            present,
            &gathering.view.wanted,
            is_covered_elsewhere,
        )
        .map_err(|Blocked { waiting }| {
            match engine.wait_of(&waiting, &gathering.account) {
                Some(wait) => Setback::failure_until(wait.detail, wait.until),
                None => Setback::failure("its names have to wait"),
            }
        })?;
        let is_resumed = matches!(lineage.map(|lineage| &lineage.pending), Some(Pending::Order(order)) if order.url.is_some() && order.received.is_none());
        if let Some(Pending::Order(pending)) = lineage.map(|lineage| &lineage.pending)
            && let Some(until) = pending.look_after.filter(|at| now < *at)
            && pending.directory == policy.wanted_directory()
            && pending.names.set() == order.set()
        {
            let reason = "the authority takes its time with the order in flight";
            return Err(Setback::later(reason, until));
        }
        let pending = lineage.map_or(&Pending::None, |lineage| &lineage.pending);
        if !is_resumed {
            if verdict.action == Action::Renew {
                latch(stored, policy.renew_before, now)?;
            }
            gate(engine, &order.set(), pending, gathering.is_ephemeral)?;
        }
        Ok(Wish {
            lineage: lineage.map(|lineage| lineage.name.clone()),
            entry: target.names.clone(),
            order,
        })
    }

    /// Certificates that nobody wants any more, but a balancer lists: they are still renewed. The others are told
    /// once and left to expire.
    async fn still_served(
        &mut self,
        gathering: &Gathering<'_>,
        left: &[Arc<Lineage>],
    ) -> Vec<(Entry, Assigned)> {
        let now = gathering.now;
        // One that has expired matters until it was told: a balancer may list it, and nobody was there to renew it.
        let matters = |lineage: &&Arc<Lineage>| {
            let is_told = lineage
                .record
                .as_ref()
                .is_none_or(|record| record.is_told_gone);
            matches!(&lineage.copy, DiskCopy::Whole(stored) if now < stored.shown.leaf.not_after || !is_told)
        };
        let left: Vec<&Arc<Lineage>> = left.iter().filter(matters).collect();
        if left.is_empty() || gathering.rancher_fault.is_some() {
            return Vec::new();
        }
        let balancers = match self.engine.world.orchestrator().balancers().await {
            Ok(balancers) => balancers,
            Err(error) => {
                self.say(format!(
                    "balancers not read, so nothing is said about names that nobody wants: {error}"
                ));
                return Vec::new();
            }
        };
        let mut served = Vec::new();
        for lineage in left {
            let Some(record) = &lineage.record else {
                continue;
            };
            let ours = assign::of_lineage(lineage, &gathering.view.held);
            let lists = |service: &&Service| {
                ours.is_some_and(|held| service.certificates.contains(&held.id))
            };
            match balancers.iter().find(lists) {
                Some(balancer) => {
                    let origins = [format!("listed by balancer {}", balancer.name)].into();
                    let entry = Entry {
                        names: record.names.clone(),
                        origins,
                    };
                    let assigned = Assigned {
                        lineage: Some(Arc::clone(lineage)),
                        remote: ours.cloned(),
                    };
                    served.push((entry, assigned));
                }
                None if self.knows_labels => self.tell_gone(lineage).await,
                None => {}
            }
        }
        served
    }

    async fn tell_gone(&mut self, lineage: &Lineage) {
        let Some(record) = lineage
            .record
            .as_ref()
            .filter(|record| !record.is_told_gone)
        else {
            return;
        };
        if !self.said.insert(format!("gone {}", lineage.name)) {
            return;
        }
        info!(names = %record.names, "nobody wants this certificate any more and no balancer lists it, left to expire");
        let mut record = record.clone();
        record.is_told_gone = true;
        let name = lineage.name.clone();
        if let Err(error) = self
            .engine
            .store
            .run(move |store| store.save_record(&name, &record))
            .await
        {
            debug!(%error, "record not written");
        }
    }

    fn say(&mut self, sentence: String) {
        if self.said.insert(sentence.clone()) {
            warn!(notice = sentence, "trouble");
        }
    }

    /// A fault is told when it begins or changes, and when it ends.
    fn tell_fault(&mut self, what: &str, fault: Option<&str>) {
        let prefix = format!("{what} is at fault: ");
        let before = self
            .said
            .iter()
            .find(|said| said.starts_with(&prefix))
            .cloned();
        let now = fault.map(|fault| format!("{prefix}{fault}"));
        if before == now {
            return;
        }
        if let Some(before) = before {
            self.said.remove(&before);
        }
        match now {
            Some(now) => {
                warn!(error = fault.unwrap_or_default(), "{what} cannot be read");
                self.said.insert(now);
            }
            None => info!("{what} can be read again"),
        }
    }

    /// A verdict is told when it is news: a sentence once, until all is well again.
    fn tell(&mut self, row: &Row) {
        let primary = row.entry.names.primary();
        let action = row.action();
        let reason = row.reason();
        debug!(domain = %primary, %action, reason, until = ?row.until, "decided");
        if action == Action::Keep {
            self.told.remove(primary);
        }
        let is_quiet = match action {
            // Told once for all of them.
            Action::Wait if row.waits_for_rancher() => true,
            Action::Keep | Action::Wait => !row.needs_attention(),
            Action::Push | Action::Issue | Action::Renew | Action::Restore | Action::Leave => false,
        };
        let sentence = format!("{action} {reason}");
        if is_quiet
            || !self
                .told
                .entry(primary.clone())
                .or_default()
                .insert(sentence)
        {
            return;
        }
        let names = row.entry.names.to_string();
        match (row.needs_attention(), row.until) {
            (true, Some(until)) => {
                warn!(names, %action, reason, next_try = %crate::classify::day(until), "certificate needs attention")
            }
            (true, None) => warn!(names, %action, reason, "certificate needs attention"),
            (false, _) if action == Action::Leave => {
                info!(names, reason, "certificate left alone")
            }
            (false, _) => info!(names, %action, reason, "acting on a certificate"),
        }
    }
}

/// A certificate that the authority has sent, and of which a crash left open whether it is stored.
fn unsettled(lineage: &Lineage, wanted: &Names) -> Option<Wish> {
    let Pending::Order(order) = &lineage.pending else {
        return None;
    };
    let received = order.received.as_ref()?;
    if received.refused.is_some() {
        return None;
    }
    let is_part = order.names.set().is_subset(&wanted.set());
    Some(Wish {
        lineage: Some(lineage.name.clone()),
        entry: wanted.clone(),
        order: if is_part { &order.names } else { wanted }.clone(),
    })
}

/// A leaf that was due already when it was stored would be renewed without end: it stops issuing for its names, as
/// long as it is valid.
fn latch(
    stored: Option<&crate::classify::Stored>,
    renew_before: Option<time::Duration>,
    now: OffsetDateTime,
) -> Result<(), Setback> {
    let Some(stored) = stored else { return Ok(()) };
    let leaf = &stored.shown.leaf;
    let was_due = stored
        .stored_at
        .is_some_and(|at| schedule::due_at(leaf, renew_before) <= at);
    if !was_due || leaf.not_after <= now {
        return Ok(());
    }
    let reason = format!(
        "the authority's last certificate was due for renewal already when it came (from {} to {}): asking again would \
         bring another like it, so nothing is asked before it has expired",
        crate::classify::day(leaf.not_before),
        crate::classify::day(leaf.not_after)
    );
    Err(Setback::failure_until(reason, leaf.not_after))
}

/// Every leaf on record, with the directory URL it came from where that is known.
fn known(lineages: &[Arc<Lineage>]) -> Known {
    let versions = lineages
        .iter()
        .filter_map(|lineage| lineage.record.as_ref())
        .flat_map(|record| &record.versions);
    versions
        .filter_map(|version| Some((version.leaf?, version.directory.clone())))
        .collect()
}

/// What a pass has gathered beside the certificates.
struct Gathering<'a> {
    view: Arc<View>,
    rancher_fault: Option<String>,
    store_fault: Option<String>,
    is_ephemeral: bool,
    account: String,
    in_hand: &'a BTreeSet<String>,
    now: OffsetDateTime,
}

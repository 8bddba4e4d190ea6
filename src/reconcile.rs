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

use crate::classify::DiskCopy;
use crate::classify::Facts;
use crate::classify::Known;
use crate::classify::RemoteCopy;
use crate::classify::judge;
use crate::decide::Action;
use crate::engine::Engine;
use crate::engine::claims::Claim;
use crate::issue::drop_expired;
use crate::issue::has_expired;
use crate::names::DomainName;
use crate::names::Names;
use crate::ports::Announcement;
use crate::ports::Challenge;
use crate::ports::Held;
use crate::ports::Orchestrator;
use crate::ports::OrchestratorError;
use crate::ports::Service;
use crate::ports::World;
use crate::push::Target;
use crate::push::View;
use crate::reconcile::assign::Assigned;
use crate::schedule;
use crate::store::lineage::Lineage;
use crate::store::lineage::Pending;
use crate::store::record::LabelsRecord;
use crate::wanted::Entry;
use crate::wanted::Wanted;

mod asked;
pub mod assign;
pub mod job;
mod plan;
pub mod report;
mod seed;
mod tell;

use asked::Asked;
use job::Job;
use job::Kind;
use report::Labels;
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
    /// When labels were last read, and why not the last time.
    read_at: Option<OffsetDateTime>,
    labels_fault: Option<String>,
    /// What was said already: a sentence is news once.
    said: BTreeSet<String>,
    /// The notices about wanted names that hold at present.
    notices: BTreeSet<String>,
    /// What is at fault at present, and how.
    troubles: BTreeMap<String, String>,
    /// The same of every certificate, by primary name.
    told: BTreeMap<DomainName, BTreeSet<String>>,
    /// When Rancher is listed again, after it could be and then could not.
    list: ListClock,
    /// Lineages of certbot's that could not be read: nothing is issued in their place.
    unreadable: BTreeMap<String, String>,
}

/// What a pass found and wants done.
pub struct Pass {
    /// Every certificate, with its verdict.
    pub report: Report,
    /// What is to be done, the most urgent first.
    pub jobs: Vec<Job>,
    /// Primary names of first certificates that have to wait.
    wishes: Vec<String>,
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
            read_at: None,
            labels_fault: None,
            said: BTreeSet::new(),
            notices: BTreeSet::new(),
            troubles: BTreeMap::new(),
            list: ListClock::default(),
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
        let trouble = match self.engine.store.run(|store| store.labels()).await {
            Ok(Some(labels)) => {
                self.labels = labels;
                self.knows_labels = true;
                None
            }
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        };
        self.tell_trouble("names last learned from labels not read", trouble);
    }

    /// Reads what services announce. Answers whether it is something else than before.
    pub async fn read_labels(&mut self) -> bool {
        if !self.reads_labels {
            return false;
        }
        let read = self.engine.world.orchestrator().announcements().await;
        self.learn(read)
    }

    /// Takes what services announce. Answers whether it is something else than before.
    pub fn learn(&mut self, read: Result<Vec<Announcement>, OrchestratorError>) -> bool {
        match read {
            Ok(announcements) => {
                let is_changed = announcements != self.labels.announcements;
                self.labels.announcements = announcements;
                self.knows_labels = true;
                self.read_at = Some(self.engine.now());
                self.labels_fault = None;
                is_changed
            }
            Err(error) => {
                debug!(%error, "labels not read, the names last known hold");
                self.labels_fault = Some(error.to_string());
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
        let listed = self.list().await;
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
            Err(fault) => (Vec::new(), Some(fault)),
        };
        self.tell_fault("store", store_fault.as_deref());
        self.tell_fault("Rancher", rancher_fault.as_deref());
        for lineage in &lineages {
            if let Pending::Order(order) = &lineage.pending
                && has_expired(order, now)
            {
                drop_expired(&self.engine, &lineage.name, order).await;
            }
        }
        let view = Arc::new(View {
            held,
            is_whole: rancher_fault.is_none(),
            wanted: wanted.names(),
            known: known(&lineages),
        });
        self.seed_ledger(&view, now).await;
        let policy = &self.engine.settings.policy;
        let assigned = assign::assign(&wanted.entries, &lineages, &view.held, policy, now);
        let balancers = self.balancers(rancher_fault.as_deref()).await;
        let webroot_fault = self.webroot_fault().await;
        let asked = self
            .asked(&wanted.entries, &assigned.entries, &assigned.left, now)
            .await;
        let gathering = Gathering {
            view,
            rancher_fault,
            balancers,
            store_fault,
            is_ephemeral: self.engine.store.run(|store| store.is_ephemeral()).await,
            account: self.engine.account_url().await,
            in_hand,
            asked,
            now,
        };
        let mut pass = Pass {
            report: Report {
                at: now,
                rows: Vec::new(),
                next: None,
                rancher_fault: gathering.rancher_fault.clone(),
                store_fault: gathering.store_fault.clone(),
                is_ephemeral: gathering.is_ephemeral,
                webroot_fault,
                labels: self.labels_seen(),
                balancers: gathering.balancers.clone(),
                notices: self.notices.iter().cloned().collect(),
            },
            jobs: Vec::new(),
            wishes: Vec::new(),
        };
        let taken = assigned
            .entries
            .iter()
            .filter_map(|own| own.remote.as_ref());
        let taken = taken.map(|held| held.id.clone()).collect();
        for (entry, assigned) in wanted.entries.into_iter().zip(assigned.entries) {
            self.decide(&gathering, entry, assigned, &mut pass);
        }
        for (entry, assigned) in self.still_served(&gathering, &assigned.left, taken).await {
            // One at a time under one name: what is wanted goes first.
            let primary = entry.names.primary().as_str();
            if pass.jobs.iter().any(|job| job.primary == primary) {
                let row = self.row(&gathering, entry, &assigned);
                pass.report.rows.push(row);
            } else {
                self.decide(&gathering, entry, assigned, &mut pass);
            }
        }
        self.settle_left(&gathering, &assigned.left, &mut pass);
        pass.jobs.sort_by_key(|job| job.urgency);
        for primary in std::mem::take(&mut pass.wishes) {
            self.engine.note_wish(primary).await;
        }
        let next_wait = self.engine.ledger().next_end(now);
        pass.report.next = pass
            .report
            .rows
            .iter()
            .filter_map(|row| row.until)
            .chain(next_wait)
            .chain(self.list.wait.as_ref().map(|(until, _)| *until))
            .filter(|at| now < *at)
            .min();
        pass
    }

    /// Lists Rancher's certificates; one that fails after it was well is asked on the clock of pushes.
    async fn list(&mut self) -> Result<Vec<Held>, String> {
        let now = self.engine.now();
        if let Some((until, fault)) = &self.list.wait
            && now < *until
        {
            return Err(fault.clone());
        }
        match self.engine.world.orchestrator().certificates().await {
            Ok(held) => {
                self.list = ListClock {
                    was_well: true,
                    ..ListClock::default()
                };
                Ok(held)
            }
            Err(error) => {
                // At boot, when it is often not there yet, whoever runs the passes looks early and ever later.
                if self.list.was_well {
                    self.list.failures += 1;
                    let loop_time = self.engine.settings.loop_time;
                    let wait = schedule::after_setback(self.list.failures, loop_time);
                    self.list.wait = Some((now + wait, error.to_string()));
                }
                Err(error.to_string())
            }
        }
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
            if !self.notices.contains(notice) {
                warn!(notice, "name left out or moved");
            }
        }
        self.notices = wanted.notices.iter().cloned().collect();
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
        let trouble = saved.await.err().map(|error| error.to_string());
        self.tell_trouble("names learned from labels not kept", trouble);
        self.labels = record;
    }

    async fn take_over(&mut self) {
        let now = self.engine.now();
        let taken = self.engine.store.run(move |store| store.take_over(now));
        let trouble = match taken.await {
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
                None
            }
            Err(error) => Some(error.to_string()),
        };
        self.tell_trouble("certbot's lineages not looked at", trouble);
    }

    fn decide(
        &mut self,
        gathering: &Gathering<'_>,
        entry: Entry,
        assigned: Assigned,
        pass: &mut Pass,
    ) {
        let primary = entry.names.primary().to_string();
        let engine = &self.engine;
        let present = assigned.lineage.as_deref();
        // Its lineage may be in hand under another primary name, that it had before.
        if gathering.in_hand.contains(&primary)
            || present.is_some_and(|lineage| engine.is_claimed(&Claim::lineage(&lineage.name)))
        {
            let row = self.row(gathering, entry, &assigned);
            pass.report.rows.push(row);
            return;
        }
        let absent = DiskCopy::Absent;
        let unknown = self.unknown_copy(gathering, &primary, present);
        let disk = unknown
            .as_ref()
            .or_else(|| present.map(|lineage| &lineage.copy))
            .unwrap_or(&absent);
        let remote = gathering.remote(&assigned);
        let waiting = engine.waiting_names(entry.names.iter(), &gathering.account);
        let facts = Facts {
            names: &entry.names,
            waiting: &waiting,
            disk,
            remote,
            known: &gathering.view.known,
            policy: &engine.settings.policy,
            is_asked: gathering.asked.contains_key(entry.names.primary()),
        };
        let mut verdict = judge(&facts, gathering.now);
        let broken = match disk {
            DiskCopy::Broken(why) => Some(why.clone()),
            DiskCopy::Unknown(_) | DiskCopy::Absent | DiskCopy::Whole(_) => None,
        };
        let target = Target {
            names: entry.names.clone(),
            waiting: waiting.clone(),
            remote: assigned.remote.clone(),
            view: Arc::clone(&gathering.view),
        };
        let planned = self.plan(gathering, &verdict, target, disk, &assigned);
        if planned.is_err() && verdict.action == Action::Issue {
            pass.wishes.push(primary.clone());
        }
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
        let renew_before = engine.settings.policy.renew_before;
        let row = Row::new(entry, disk, remote, renew_before).judged(verdict, held_back);
        self.tell_trouble(&format!("{primary} is broken in the store"), broken);
        self.tell(&row);
        pass.report.rows.push(row);
        pass.jobs.extend(job);
    }

    /// A certificate about which nothing is decided, because its job still runs.
    fn row(&self, gathering: &Gathering<'_>, entry: Entry, assigned: &Assigned) -> Row {
        let absent = DiskCopy::Absent;
        let lineage = assigned.lineage.as_deref();
        let disk = lineage.map_or(&absent, |lineage| &lineage.copy);
        let renew_before = self.engine.settings.policy.renew_before;
        Row::new(entry, disk, gathering.remote(assigned), renew_before)
    }

    /// Which balancers there are; not asked while Rancher cannot be read anyway.
    async fn balancers(
        &self,
        rancher_fault: Option<&str>,
    ) -> Option<Result<Arc<[Service]>, String>> {
        if rancher_fault.is_some() {
            return None;
        }
        let balancers = self.engine.world.orchestrator().balancers().await;
        Some(match balancers {
            Ok(balancers) => Ok(balancers.into()),
            Err(error) => Err(error.to_string()),
        })
    }

    async fn webroot_fault(&self) -> Option<String> {
        let published = self.engine.world.challenge().published().await;
        published.err().map(|error| error.to_string())
    }

    fn labels_seen(&self) -> Labels {
        Labels {
            are_read: self.reads_labels,
            are_known: self.knows_labels,
            read_at: self.read_at,
            fault: self.labels_fault.clone(),
        }
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

    /// Certificates that nobody wants any more, but a balancer lists: they are still renewed. The others are told
    /// once and left to expire.
    async fn still_served(
        &mut self,
        gathering: &Gathering<'_>,
        left: &[Arc<Lineage>],
        mut taken: BTreeSet<String>,
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
        let Some(balancers) = gathering.balancers.as_ref().filter(|_| !left.is_empty()) else {
            return Vec::new();
        };
        let trouble = balancers.as_ref().err().cloned();
        self.tell_trouble(
            "balancers not read, so nothing is said about names that nobody wants",
            trouble,
        );
        let Ok(balancers) = balancers else {
            return Vec::new();
        };
        let mut served = Vec::new();
        for lineage in left {
            let Some(record) = &lineage.record else {
                continue;
            };
            let view = &gathering.view;
            let ours = assign::of_lineage(lineage, &view.held, &view.known, &taken);
            let lists = |service: &&Service| {
                ours.is_some_and(|held| service.certificates.contains(&held.id))
            };
            match balancers.iter().find(lists) {
                Some(balancer) => {
                    taken.extend(ours.map(|held| held.id.clone()));
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
        let saved = self
            .engine
            .store
            .run(move |store| store.save_record(&name, &record));
        match saved.await {
            // From here on the record knows.
            Ok(()) => drop(self.said.remove(&format!("gone {}", lineage.name))),
            Err(error) => debug!(%error, "record not written"),
        }
    }
}

/// When the list of certificates is asked for again. A restart may forget it.
#[derive(Debug, Default)]
struct ListClock {
    was_well: bool,
    failures: u32,
    /// Until when it is left alone, and why.
    wait: Option<(OffsetDateTime, String)>,
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
    balancers: Option<Result<Arc<[Service]>, String>>,
    store_fault: Option<String>,
    is_ephemeral: bool,
    account: String,
    in_hand: &'a BTreeSet<String>,
    /// Renewals that a person has asked for.
    asked: Asked,
    now: OffsetDateTime,
}

impl Gathering<'_> {
    fn remote<'a>(&'a self, assigned: &'a Assigned) -> RemoteCopy<'a> {
        match (&self.rancher_fault, &assigned.remote) {
            (Some(fault), _) => RemoteCopy::Unknown(fault),
            (None, Some(held)) => RemoteCopy::Held(held),
            (None, None) => RemoteCopy::Absent,
        }
    }
}

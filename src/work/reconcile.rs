//! One pass: gather, decide, hand out. Every pass does the right thing from what it finds.
//!
//! Deciding is [`crate::decide::decide`]; this module brings the facts together and turns verdicts into jobs.
//! Certificates whose job is still running are left out: the next pass sees what became of them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use time::OffsetDateTime;
use tracing::info;
use tracing::warn;

use crate::core::held::User;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::setback::Setback;
use crate::core::wanted::Entry;
use crate::decide::classify::DiskCopy;
use crate::decide::classify::Facts;
use crate::decide::classify::Known;
use crate::decide::classify::RemoteCopy;
use crate::decide::decide;
use crate::decide::filter::Around;
use crate::decide::filter::OnRecord;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;
use crate::decide::plan::Work;
use crate::decide::plan::unsettled;
use crate::decide::table::Action;
use crate::ports::Destination;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::store::lineage::Lineage;
use crate::store::record::LabelsRecord;
use crate::store::request::RenewalRequest;
use crate::work::context::Context;
use crate::work::context::claims::Claim;
use crate::work::deliver::Target;
use crate::work::deliver::View;
use crate::work::reconcile::assign::Assigned;

mod asked;
pub mod assign;
pub mod job;
mod labels;
mod look;
pub mod report;
mod seed;
mod served;
mod tell;

use asked::RenewalRequests;
use job::Job;
use job::Urgency;
use look::ListClock;
use report::Report;
use report::Row;

/// What is remembered from pass to pass; none of it is needed to decide rightly.
pub struct Reconciler<W: World> {
    context: Arc<Context<W>>,
    domains: Vec<Names>,
    reads_labels: bool,
    labels: LabelsRecord,
    /// Whether the names on record were read, or those that services announce: else nobody knows what is wanted.
    knows_labels: bool,
    /// When labels were last read, and why not the last time.
    read_at: Option<OffsetDateTime>,
    /// Since when labels cannot be read, and why the last time.
    labels_fault: Option<(OffsetDateTime, String)>,
    /// What was said already: a sentence is news once.
    said: BTreeSet<String>,
    /// The notices about wanted names that hold at present.
    notices: BTreeSet<String>,
    /// What is at fault at present, and how.
    troubles: BTreeMap<String, String>,
    /// The same of every certificate, by primary name.
    announced: BTreeMap<DomainName, BTreeSet<String>>,
    /// When the destination is listed again, after it could be and then could not.
    list: ListClock,
    /// Requests whose waits were lifted.
    taken: RenewalRequests,
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
    /// Renewals that cannot be, and why.
    refused: Vec<(RenewalRequest, String)>,
}

impl<W: World> Reconciler<W> {
    /// Begins with the names last learned from labels, a tree that certbot left taken over, and the live view
    /// repaired.
    pub async fn start(context: Arc<Context<W>>, domains: Vec<Names>, reads_labels: bool) -> Self {
        let mut reconciler = Self {
            context,
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
            announced: BTreeMap::new(),
            taken: RenewalRequests::new(),
            unreadable: BTreeMap::new(),
        };
        reconciler.recall_labels().await;
        reconciler.take_over().await;
        let now = reconciler.context.now();
        let store = &reconciler.context.store;
        if let Err(error) = store.run(move |store| store.repair_live(now)).await {
            warn!(%error, "live view not repaired");
        }
        reconciler
    }

    /// Gathers and decides. `in_hand` are the primary names whose jobs still run.
    pub async fn pass(&mut self, in_hand: &BTreeSet<String>) -> Pass {
        self.recall_labels().await;
        let wanted = self.wanted().await;
        if !self.unreadable.is_empty() {
            self.take_over().await;
        }
        let listed = self.list().await;
        let now = self.context.now();
        let store = &self.context.store;
        let lineages = store.run(move |store| {
            store.repair_stale();
            store.lineages(now)
        });
        let lineages = lineages.await;
        let (lineages, store_fault) = match lineages {
            Ok(lineages) => (lineages, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let (held, destination_fault) = match listed {
            Ok(held) => (held, None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
        self.tell_fault("store", store_fault.as_deref());
        self.tell_fault(
            self.context.world.destination().describe().name,
            destination_fault.as_deref(),
        );
        let view = Arc::new(View {
            held,
            is_whole: destination_fault.is_none(),
            wanted: wanted.names(),
            known: known(&lineages),
        });
        self.seed_ledger(&view, now).await;
        let policy = &self.context.settings.policy;
        let assigned = assign::assign(&wanted.entries, &lineages, &view.held, policy, now);
        let balancers = self.balancers(destination_fault.as_deref()).await;
        let webroot_fault = self.webroot_fault().await;
        let asked = self.asked(&wanted.entries, &assigned.entries, &assigned.left, now).await;
        let gathering = Gathering {
            view,
            destination_fault,
            balancers,
            store_fault,
            is_ephemeral: self.context.store.run(|store| store.is_ephemeral()).await,
            account: self.context.account_url().await,
            in_hand,
            asked,
            now,
        };
        let mut pass = Pass {
            report: Report {
                at: now,
                rows: Vec::new(),
                next: None,
                destination_fault: gathering.destination_fault.clone(),
                store_fault: gathering.store_fault.clone(),
                is_ephemeral: gathering.is_ephemeral,
                webroot_fault,
                labels: self.labels_seen(),
                balancers: gathering.balancers.clone(),
                has_users: self.context.world.destination().can().has_users,
                notices: self.left_out(),
            },
            jobs: Vec::new(),
            wishes: Vec::new(),
            refused: Vec::new(),
        };
        let taken = assigned.entries.iter().filter_map(|own| own.remote.as_ref());
        let taken = taken.map(|held| held.id.clone()).collect();
        for (entry, assigned) in wanted.entries.into_iter().zip(assigned.entries) {
            self.decide(&gathering, entry, assigned, &mut pass);
        }
        let primaries = pass.jobs.iter().map(|job| job.primary.clone());
        let mut primaries: BTreeSet<String> = primaries.collect();
        for (entry, assigned) in self.still_served(&gathering, &assigned.left, taken).await {
            // One at a time under one name: what is wanted goes first.
            if primaries.contains(entry.names.primary().as_str()) {
                let row = self.row(&gathering, entry, &assigned);
                pass.report.rows.push(row);
            } else {
                let before = pass.jobs.len();
                self.decide(&gathering, entry, assigned, &mut pass);
                primaries.extend(pass.jobs[before..].iter().map(|job| job.primary.clone()));
            }
        }
        self.settle_left(&gathering, &assigned.left, &mut pass);
        pass.jobs.sort_by_key(|job| job.urgency);
        let wishes = std::mem::take(&mut pass.wishes);
        self.context.note_wishes(wishes).await;
        for (request, reason) in std::mem::take(&mut pass.refused) {
            self.refuse(request, &reason).await;
        }
        let next_wait = self.context.ledger().next_end(now);
        pass.report.next = pass
            .report
            .rows
            .iter()
            .filter_map(|row| row.next().map(|next| next.at))
            .chain(next_wait)
            .chain(self.list.wait.as_ref().map(|(until, _)| *until))
            .filter(|at| now < *at)
            .min();
        pass
    }

    async fn take_over(&mut self) {
        let now = self.context.now();
        let taken = self.context.store.run(move |store| store.take_over(now));
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
        let context = &self.context;
        let present = assigned.lineage.as_deref();
        // Its lineage may be in hand under another primary name, that it had before.
        if gathering.in_hand.contains(&primary)
            || present.is_some_and(|lineage| context.is_claimed(&Claim::lineage(&lineage.name)))
        {
            let row = self.row(gathering, entry, &assigned);
            pass.report.rows.push(row);
            return;
        }
        let absent = DiskCopy::Absent;
        let unknown = self.unknown_copy(gathering, &primary, present);
        let disk =
            unknown.as_ref().or_else(|| present.map(|lineage| &lineage.copy)).unwrap_or(&absent);
        let remote = gathering.remote(&assigned);
        let record = context.recorded(&primary, &gathering.account, gathering.now);
        let names = entry.names.iter();
        let waiting: NameSet = names.filter(|name| record.name(name).is_some()).cloned().collect();
        let facts = Facts {
            names: &entry.names,
            waiting: &waiting,
            disk,
            remote,
            known: &gathering.view.known,
            policy: &context.settings.policy,
            is_asked: gathering.asked.contains_key(entry.names.primary()),
        };
        let (pending, aside) = orders(present);
        let around = Around {
            lineage: present.map(|lineage| lineage.name.as_str()),
            pending,
            aside,
            wanted: &gathering.view.wanted,
            held: &gathering.view.held,
            is_ephemeral: gathering.is_ephemeral,
        };
        let verdict = decide(&facts, &around, &record, gathering.now);
        let has_failed = entry.names.iter().any(|name| record.failures(name) > 0);
        drop(record);
        if let Some(request) = gathering.asked.get(entry.names.primary())
            && verdict.action == Action::Leave
        {
            let refused = (request.clone(), verdict.why.clone());
            pass.refused.push(refused);
        }
        let broken = match disk {
            DiskCopy::Broken(why) => Some(why.clone()),
            DiskCopy::Unknown(_) | DiskCopy::Lost(_) | DiskCopy::Absent | DiskCopy::Whole(_) => {
                None
            }
        };
        let target = Target {
            names: entry.names.clone(),
            waiting,
            remote: assigned.remote.clone(),
            view: Arc::clone(&gathering.view),
        };
        if verdict.held_back.is_some() && verdict.action == Action::Issue {
            pass.wishes.push(primary.clone());
        }
        let of_certificate = |subject| context.ledger().failures(&subject) > 0;
        let was_looked_at = has_failed
            || of_certificate(Subject::Attempt { certificate: primary.clone() })
            || of_certificate(Subject::Push { certificate: primary.clone() })
            || matches!(pending, Pending::Order(order) if order.was_looked_at());
        let live = present.and_then(|lineage| {
            let record = lineage.record.as_ref()?;
            Some((lineage.name.clone(), record.live))
        });
        let expiry = disk.whole().map(|stored| stored.shown.leaf.not_after);
        let wished = context.ledger().wished(&primary).unwrap_or(gathering.now);
        let job = Job::of(verdict.asks.clone(), primary.clone(), target).map(|job| Job {
            live,
            lineage: present.map(|lineage| lineage.name.clone()),
            urgency: Urgency {
                was_looked_at,
                has_no_certificate: expiry.is_none(),
                expiry,
                wished: Some(wished),
            },
            ..job
        });
        let stuck = aside.iter().find(|order| order.is_stuck(gathering.now));
        let stuck = stuck.map(|order| {
            let what = Failure::of(FailureKind::OrderStuck, order.why_it_is_stuck());
            Setback::failure(what)
        });
        let known = &gathering.view.known;
        let row =
            Row::new(entry, disk, remote, known, renew_before(context)).judged(verdict, stuck);
        self.tell_trouble(&format!("{primary} is broken in the store"), broken);
        self.tell(&row);
        pass.report.rows.push(row);
        pass.jobs.extend(job);
    }

    /// What is to be seen to of orders of lineages that nobody wants.
    fn settle_left(&self, gathering: &Gathering<'_>, left: &[Arc<Lineage>], pass: &mut Pass) {
        for lineage in left {
            let (pending, aside) = orders(Some(lineage));
            let names = match pending {
                Pending::Order(order) => &order.names,
                Pending::None | Pending::Unreadable(_) => match aside.first() {
                    Some(order) => &order.names,
                    None => continue,
                },
            };
            let primary = names.primary().to_string();
            if gathering.in_hand.contains(&primary)
                || pass.jobs.iter().any(|job| job.primary == primary)
                || self.context.is_claimed(&Claim::lineage(&lineage.name))
            {
                continue;
            }
            let around = Around {
                lineage: Some(&lineage.name),
                pending,
                aside,
                wanted: &gathering.view.wanted,
                held: &gathering.view.held,
                is_ephemeral: gathering.is_ephemeral,
            };
            let record = self.context.recorded(&primary, &gathering.account, gathering.now);
            let plan = unsettled(names, false, &around, &record, gathering.now);
            drop(record);
            let target = Target {
                names: names.clone(),
                waiting: NameSet::new(),
                remote: None,
                view: Arc::clone(&gathering.view),
            };
            let work = plan.map_or(Work::Nothing, Work::Settle);
            let job = Job::of(work, primary, target);
            pass.jobs.extend(job.map(|job| Job { lineage: Some(lineage.name.clone()), ..job }));
        }
    }

    /// A certificate about which nothing is decided, because its job still runs.
    fn row(&self, gathering: &Gathering<'_>, entry: Entry, assigned: &Assigned) -> Row {
        let absent = DiskCopy::Absent;
        let lineage = assigned.lineage.as_deref();
        let disk = lineage.map_or(&absent, |lineage| &lineage.copy);
        let (remote, known) = (gathering.remote(assigned), &gathering.view.known);
        Row::new(entry, disk, remote, known, renew_before(&self.context))
    }

    /// Why nothing can be said about the store's copy, where that is not in the lineage itself.
    fn unknown_copy(
        &self,
        gathering: &Gathering<'_>,
        primary: &str,
        present: Option<&Lineage>,
    ) -> Option<DiskCopy> {
        if let Some(fault) = &gathering.store_fault {
            return Some(DiskCopy::Unknown(fault.clone().into()));
        }
        // With a certificate of its own it needs none of those that certbot left.
        if present.is_some_and(|lineage| lineage.record.is_some()) {
            return None;
        }
        let fault =
            self.unreadable.iter().find(|(lineage, _)| assign::is_named_after(lineage, primary));
        fault.map(|(_, fault)| DiskCopy::Unknown(fault.clone().into()))
    }
}

/// The orders of a lineage: the one in flight, and those that are stuck.
fn orders(lineage: Option<&Lineage>) -> (&Pending, &[PendingOrder]) {
    match lineage {
        Some(lineage) => (&lineage.pending, &lineage.aside),
        None => (&Pending::None, &[]),
    }
}

fn renew_before<W: World>(context: &Context<W>) -> Option<time::Duration> {
    context.settings.policy.renew_before
}

/// Every leaf on record, with the directory URL it came from where that is known.
fn known(lineages: &[Arc<Lineage>]) -> Known {
    let versions = lineages
        .iter()
        .filter_map(|lineage| lineage.record.as_ref())
        .flat_map(|record| &record.versions);
    versions.filter_map(|version| Some((version.leaf?, version.directory.clone()))).collect()
}

/// What a pass has gathered beside the certificates.
struct Gathering<'a> {
    view: Arc<View>,
    destination_fault: Option<String>,
    balancers: Option<Result<Arc<[User]>, String>>,
    store_fault: Option<String>,
    is_ephemeral: bool,
    account: String,
    in_hand: &'a BTreeSet<String>,
    /// Renewals that a person has asked for.
    asked: RenewalRequests,
    now: OffsetDateTime,
}

impl Gathering<'_> {
    fn remote<'a>(&'a self, assigned: &'a Assigned) -> RemoteCopy<'a> {
        match (&self.destination_fault, &assigned.remote) {
            (Some(fault), _) => RemoteCopy::Unknown(fault),
            (None, Some(held)) => RemoteCopy::Held(held),
            (None, None) => RemoteCopy::Absent,
        }
    }
}

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
use crate::core::labels::LabelsRecord;
use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::core::reaction::Failure;
use crate::decide::classify::Known;
use crate::decide::classify::RemoteCopy;
use crate::ports::Destination;
use crate::ports::World;
use crate::store::lineage::Lineage;
use crate::store::request::RenewalRequest;
use crate::work::context::Context;
use crate::work::deliver::View;
use crate::work::reconcile::assign::Assigned;

mod asked;
pub mod assign;
mod certificate;
pub mod job;
mod labels;
mod look;
pub mod report;
mod seed;
mod served;
mod tell;

use asked::RenewalRequests;
use job::Job;
use look::ListClock;
use report::Report;
use tell::Common;

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
    /// What meets many certificates alike.
    common: Common,
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
            common: Common::default(),
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
        self.common.turn();
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
            destination_fault.as_ref().map(|fault| fault.text.as_str()),
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
        let balancers = self.balancers(destination_fault.is_none()).await;
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
                view_fault: self.context.store.view_fault(),
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
        self.tell_common();
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
    destination_fault: Option<Failure>,
    balancers: Option<Result<Arc<[User]>, Failure>>,
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
            (Some(fault), _) => RemoteCopy::Unknown(&fault.text),
            (None, Some(held)) => RemoteCopy::Held(held),
            (None, None) => RemoteCopy::Absent,
        }
    }
}

//! One certificate in a pass: its facts brought together, its verdict turned into a row and a job.

use std::sync::Arc;

use crate::core::names::NameSet;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::setback::Setback;
use crate::core::wanted::Entry;
use crate::decide::classify::DiskCopy;
use crate::decide::classify::Facts;
use crate::decide::decide;
use crate::decide::filter::Around;
use crate::decide::filter::OnRecord;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;
use crate::decide::plan::Work;
use crate::decide::plan::unsettled;
use crate::decide::table::Action;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::store::lineage::Lineage;
use crate::work::context::Context;
use crate::work::context::claims::Claim;
use crate::work::deliver::Target;
use crate::work::reconcile::Gathering;
use crate::work::reconcile::Pass;
use crate::work::reconcile::Reconciler;
use crate::work::reconcile::assign;
use crate::work::reconcile::assign::Assigned;
use crate::work::reconcile::job::Job;
use crate::work::reconcile::job::Urgency;
use crate::work::reconcile::report::Row;

impl<W: World> Reconciler<W> {
    pub(super) fn decide(
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
    pub(super) fn settle_left(
        &self,
        gathering: &Gathering<'_>,
        left: &[Arc<Lineage>],
        pass: &mut Pass,
    ) {
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
    pub(super) fn row(&self, gathering: &Gathering<'_>, entry: Entry, assigned: &Assigned) -> Row {
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

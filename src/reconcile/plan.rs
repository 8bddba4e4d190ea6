//! What a verdict wants done now, and what holds it back.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::decide::classify::Blocked;
use crate::decide::classify::DiskCopy;
use crate::decide::classify::Verdict;
use crate::decide::classify::names_to_order;
use crate::decide::table::Action;
use crate::engine::claims::Claim;
use crate::engine::refusals;
use crate::issue::Question;
use crate::issue::Standing;
use crate::issue::Wish;
use crate::issue::authority_waits_for_opened;
use crate::issue::gate;
use crate::issue::may_overrule;
use crate::issue::verified;
use crate::names::NameSet;
use crate::names::Names;
use crate::ports::World;
use crate::push::Target;
use crate::reconcile::Gathering;
use crate::reconcile::Pass;
use crate::reconcile::Reconciler;
use crate::reconcile::assign::Assigned;
use crate::reconcile::job::Job;
use crate::reconcile::job::Kind;
use crate::schedule;
use crate::setback::Setback;
use crate::store::ledger::Subject;
use crate::store::lineage::Lineage;
use crate::store::lineage::Pending;

impl<W: World> Reconciler<W> {
    /// What a verdict wants done now, if anything, or what holds it back.
    pub(super) fn plan(
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
        let pushes = || engine.held_back(&target.subject());
        let attempt = Subject::Attempt {
            certificate: primary.clone(),
        };
        // Issuing resumes what is in flight by itself.
        let is_idle = matches!(verdict.action, Action::Keep | Action::Leave | Action::Wait);
        let unsettled = lineage
            .and_then(|lineage| self.unsettled(gathering, lineage, &target.names))
            .filter(|_| engine.held_back(&attempt).is_ok());
        let kind = match verdict.action {
            // What was issued is stored first, whatever is wanted by now.
            _ if let Some(wish) = unsettled
                .clone()
                .filter(|_| is_idle || has_received(lineage)) =>
            {
                Kind::Settle { wish }
            }
            Action::Keep | Action::Leave | Action::Wait => return Ok(None),
            Action::Push => {
                pushes()?;
                Kind::Push
            }
            Action::Restore => {
                pushes()?;
                if let Some(Ok(shown)) = assigned.remote.as_ref().map(|held| &held.content) {
                    engine.held_back(&Subject::Key {
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
                    // What may have been issued does not wait for a name that has to.
                    Err(setback) => match unsettled {
                        Some(wish) => Kind::Settle { wish },
                        None => return Err(setback),
                    },
                }
            }
        };
        let expiry = disk.whole().map(|stored| stored.shown.leaf.not_after);
        let live = lineage.and_then(|lineage| {
            let record = lineage.record.as_ref()?;
            Some((lineage.name.clone(), record.live))
        });
        let wished = engine.ledger().wished(&primary).unwrap_or(now);
        Ok(Some(Job {
            primary,
            target,
            live,
            lineage: lineage.map(|lineage| lineage.name.clone()),
            kind,
            urgency: (expiry.is_none(), expiry, Some(wished)),
        }))
    }

    /// What is to be stored of lineages that nobody wants.
    pub(super) fn settle_left(
        &self,
        gathering: &Gathering<'_>,
        left: &[Arc<Lineage>],
        pass: &mut Pass,
    ) {
        for lineage in left {
            let Pending::Order(order) = &lineage.pending else {
                continue;
            };
            let primary = order.names.primary().to_string();
            let attempt = Subject::Attempt {
                certificate: primary.clone(),
            };
            let is_held_back = gathering.in_hand.contains(&primary)
                || pass.jobs.iter().any(|job| job.primary == primary)
                || self.engine.is_claimed(&Claim::lineage(&lineage.name))
                || self.engine.held_back(&attempt).is_err();
            let unsettled = self.unsettled(gathering, lineage, &order.names);
            let Some(wish) = unsettled.filter(|_| !is_held_back) else {
                continue;
            };
            pass.jobs.push(Job {
                primary,
                target: Target {
                    names: order.names.clone(),
                    waiting: NameSet::new(),
                    remote: None,
                    view: Arc::clone(&gathering.view),
                },
                live: None,
                lineage: Some(lineage.name.clone()),
                kind: Kind::Settle { wish },
                urgency: (true, None, None),
            });
        }
    }

    /// What is to be stored of an order in flight, unless the authority would have to be asked for it and waits.
    fn unsettled(
        &self,
        gathering: &Gathering<'_>,
        lineage: &Lineage,
        wanted: &Names,
    ) -> Option<Wish> {
        let wish = unsettled(lineage, wanted, gathering.now)?;
        if let Pending::Order(order) = &lineage.pending
            && order.received.is_none()
        {
            authority_waits_for_opened(&self.engine, &order.directory).ok()?;
            let waits = |name| {
                let subject = refusals(&order.directory, &order.account, name);
                self.engine.held_back(&subject).is_err()
            };
            if order.names.iter().any(waits) {
                return None;
            }
        }
        Some(wish)
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
        engine.held_back(&attempt)?;
        let stored = disk.whole();
        let policy = &engine.settings.policy;
        let stored_well = stored.filter(|stored| {
            policy.is_staging
                || policy.is_production(&stored.shown.leaf, stored.directory.as_deref())
        });
        let present = stored_well
            .map(|stored| &stored.shown.leaf)
            .filter(|leaf| leaf.is_current(now));
        let overrules = stored_well.is_some_and(|stored| {
            may_overrule(engine, target.names.primary().as_str(), &stored.shown.leaf)
        });
        let surplus = present.map(|leaf| leaf.domain_names()).unwrap_or_default();
        let mut waiting = target.waiting.clone();
        waiting.extend(engine.waiting_names(surplus.iter(), &gathering.account));
        if overrules {
            waiting.retain(|name| engine.is_refused(name, &gathering.account));
        }
        let is_covered_elsewhere = |name: &_| {
            let id = target.remote.as_ref().map(|held| held.id.as_str());
            gathering
                .view
                .held
                .iter()
                .filter(|held| Some(held.id.as_str()) != id)
                .any(|held| {
                    held.content.as_ref().is_ok_and(|shown| {
                        let ours =
                            crate::decide::classify::provenance(&gathering.view.known, held, shown);
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
            let Some(mut wait) = engine.wait_of(&waiting, &gathering.account) else {
                return Setback::failure("its names have to wait");
            };
            // Once the present one has expired, it is obtained without the names that fail.
            if let Some(leaf) = present {
                wait.until = wait.until.min(leaf.not_after);
            }
            wait.into()
        })?;
        let is_asked = gathering.asked.contains_key(target.names.primary());
        let standing = stored_well.map_or_else(Standing::default, |stored| Standing {
            overrules,
            ..Standing::of(
                engine,
                &order.set(),
                &stored.shown.leaf,
                stored.directory.as_deref(),
            )
        });
        let standing = Standing {
            is_asked,
            ..standing
        };
        let is_resumed = matches!(lineage.map(|lineage| &lineage.pending), Some(Pending::Order(order)) if order.url.is_some() && order.received.is_none());
        if let Some(Pending::Order(pending)) = lineage.map(|lineage| &lineage.pending)
            && let Some(until) = pending.rests_until(now)
            && pending.directory == policy.wanted_directory()
            && pending.names.set() == order.set()
        {
            let reason = "the authority takes its time with the order in flight";
            return Err(Setback::later(reason, until));
        }
        let pending = lineage.map_or(&Pending::None, |lineage| &lineage.pending);
        if let Some(Pending::Order(pending)) = lineage.map(|lineage| &lineage.pending)
            && is_resumed
            && pending.directory == policy.wanted_directory()
        {
            authority_waits_for_opened(engine, &pending.directory)?;
        }
        if !is_resumed {
            if verdict.action == Action::Renew && !is_asked {
                latch(stored, policy.renew_before, now)?;
            }
            let question = Question {
                names: &order.set(),
                account: &gathering.account,
                standing,
                is_ephemeral: gathering.is_ephemeral,
            };
            gate(engine, &question, pending)?;
        }
        Ok(Wish {
            lineage: lineage.map(|lineage| lineage.name.clone()),
            entry: target.names.clone(),
            order,
            standing,
            is_resumed,
        })
    }
}

fn has_received(lineage: Option<&Lineage>) -> bool {
    let pending = lineage.map(|lineage| &lineage.pending);
    matches!(pending, Some(Pending::Order(order)) if order.received.is_some())
}

/// A certificate that the authority has sent, or may have issued, and of which a crash left open whether it is stored; or one that
/// was refused and can be used by now, as when it was not valid yet.
fn unsettled(lineage: &Lineage, wanted: &Names, now: OffsetDateTime) -> Option<Wish> {
    let Pending::Order(order) = &lineage.pending else {
        return None;
    };
    let is_open = match &order.received {
        Some(received) => received.refused.is_none() || verified(order, now).is_ok(),
        None => order.finalized_at.is_some() && order.rests_until(now).is_none(),
    };
    if !is_open {
        return None;
    }
    let is_part = order.names.set().is_subset(&wanted.set());
    Some(Wish {
        lineage: Some(lineage.name.clone()),
        entry: wanted.clone(),
        order: if is_part { &order.names } else { wanted }.clone(),
        standing: Standing::default(),
        is_resumed: true,
    })
}

/// A leaf that was due already when it was stored would be renewed without end: it stops issuing for its names, as
/// long as it is valid.
fn latch(
    stored: Option<&crate::decide::classify::Stored>,
    renew_before: Option<time::Duration>,
    now: OffsetDateTime,
) -> Result<(), Setback> {
    let Some(stored) = stored else { return Ok(()) };
    let leaf = &stored.shown.leaf;
    // A clock that was ahead may have stored it.
    let was_due = stored
        .stored_at
        .filter(|at| *at <= now)
        .is_some_and(|at| schedule::due_at(leaf, renew_before) <= at);
    if !was_due || leaf.not_after <= now {
        return Ok(());
    }
    let reason = format!(
        "the authority's last certificate was due for renewal already when it came (from {} to {}): asking again would \
         bring another like it, so nothing is asked before it has expired",
        crate::decide::classify::timestamp(leaf.not_before),
        crate::decide::classify::timestamp(leaf.not_after)
    );
    Err(Setback::failure_until(reason, leaf.not_after))
}

//! Our own look at the tokens, before the authority is told to look.

use futures_util::StreamExt;
use futures_util::stream;
use tracing::debug;
use tracing::warn;

use crate::config::SelfCheck;
use crate::core::names::DomainName;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::resource::Account;
use crate::core::setback::Setback;
use crate::ports::Solver;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::issue::Attempt;
use crate::work::issue::challenges::Task;
use crate::work::issue::drive::Work;
use crate::work::issue::stop::Stop;

/// Self-checks of one order side by side.
const CHECKS: usize = 16;

/// What may keep us out where an authority came in.
const FIREWALL: &str = "; the name was certified before: if a firewall lets only the user agent of the CA in, let \
                        `rancher-lets-encrypt` in as well, or set SELF_CHECK=warn";

impl<W: World> Attempt<'_, W> {
    /// What fails here costs nothing there. Our own looks have places of their own: the order's is free meanwhile.
    pub(super) async fn check(
        &self,
        account: &Account,
        work: &Work,
        tasks: &[&Task],
    ) -> Result<(), Stop> {
        if self.context.settings.self_check == SelfCheck::Off {
            return Ok(());
        }
        let Some(room) = self.room else {
            return self.check_all(tasks).await;
        };
        // No certificate counts as asked for by an order that waits for its names.
        self.reservation.give_back();
        let looking = room.checks.wait().await;
        self.leave_place();
        let checked = self.check_all(tasks).await;
        drop(looking);
        if checked.is_ok() {
            self.take_place(room.orders.wait().await);
            self.reserve(account, &work.order);
        }
        checked
    }

    /// Whether an authority has certified a name before, as this lineage has it on record.
    async fn was_certified(&self, name: &DomainName) -> bool {
        let lineage = self.lineage.clone();
        let record = self.context.store.run(move |store| store.record(&lineage)).await;
        record.is_ok_and(|record| {
            record.is_some_and(|record| record.names.iter().any(|own| own == name))
        })
    }

    async fn check_all(&self, tasks: &[&Task]) -> Result<(), Stop> {
        let mode = self.context.settings.self_check;
        let since = self.context.now();
        let solver = self.context.world.solver();
        // Collected first: a stream over borrowed closures is not `Send` for every lifetime.
        let checks: Vec<_> = tasks
            .iter()
            .map(|task| async { (*task, solver.verify(&task.name, &task.challenge).await) })
            .collect();
        let mut results = stream::iter(checks).buffer_unordered(CHECKS);
        let mut failed: Option<Setback> = None;
        let mut overruled: Option<String> = None;
        while let Some((task, result)) = results.next().await {
            let subject = Subject::SelfCheck { name: task.name.clone() };
            match result {
                Ok(()) => {
                    debug!(lineage = self.lineage, domain = %task.name, "self-check passed");
                    self.context.clear(&subject).await;
                }
                Err(error) if mode == SelfCheck::Warn => {
                    warn!(domain = %task.name, error, "self-check failed, the authority is asked all the same");
                }
                Err(error) if self.plan.standing.overrules => {
                    overruled.get_or_insert_with(|| {
                        format!("self-check of {} failed: {error}", task.name)
                    });
                }
                Err(error) => {
                    let mut detail = format!(
                        "self-check of {} failed, so the authority is not asked: {error}",
                        task.name
                    );
                    if self.was_certified(&task.name).await {
                        detail += FIREWALL;
                    }
                    let what = Failure::of(FailureKind::SelfCheck, detail);
                    let wait = self.context.fail_once_since(since, subject, what).await;
                    failed.get_or_insert_with(|| wait.into());
                }
            }
        }
        if let Some(brake) = overruled {
            self.overrule(&brake).await;
        }
        failed.map_or(Ok(()), |setback| Err(setback.into()))
    }
}

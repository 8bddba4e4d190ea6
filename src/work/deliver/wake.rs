//! Waking the balancers, which read certificates again only when something in the environment changes.

use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::held::Service;
use crate::core::problem::OrchestratorError;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::setback::Setback;
use crate::ports::Orchestrator;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::context::Context;

/// Wakes the balancers by one `update` action, if that is owed.
///
/// Any service of the environment will do: the action raises the one version that all balancers watch. Our own goes
/// first, because it disturbs nobody else.
pub async fn wake<W: World>(context: &Context<W>, pushed: &[String]) -> Result<(), Setback> {
    let generation = context.wake_generation();
    let woken = match choose(context.world.orchestrator(), pushed).await {
        Ok(Choice::Wake(service)) => {
            context.world.orchestrator().wake(&service.id).await.map(|()| Some(service.name))
        }
        Ok(Choice::NobodyThere) => Ok(None),
        Ok(Choice::NobodyActive) => Err(OrchestratorError::Conflict(
            "no balancer is active, nor our own service".to_owned(),
        )),
        Err(error) => Err(error),
    };
    match woken {
        Ok(service) => {
            debug!("balancers told to read again");
            let cleared = context.clear_wake(generation).await;
            context.clear(&Subject::Wake).await;
            match (cleared, service) {
                (Err(error), _) => warn!(%error, "wake-up not noted, a restart repeats it"),
                (Ok(()), Some(service)) => info!(service, "balancers woken"),
                (Ok(()), None) => debug!("no balancer to wake"),
            }
            Ok(())
        }
        Err(error) => {
            let text = format!("balancers not woken, they may serve older certificates: {error}");
            let what = Failure::of(FailureKind::of_destination(&error), text);
            let wait = context.fail(Subject::Wake, what).await;
            Err(wait.into())
        }
    }
}

enum Choice {
    Wake(Service),
    NobodyActive,
    NobodyThere,
}

async fn choose(
    orchestrator: &impl Orchestrator,
    pushed: &[String],
) -> Result<Choice, OrchestratorError> {
    match orchestrator.own_service().await {
        Ok(Some(own)) if own.is_active => return Ok(Choice::Wake(own)),
        Ok(_) => {}
        Err(error) => debug!(%error, "own service not found, a balancer is woken"),
    }
    let balancers = orchestrator.balancers().await?;
    if balancers.is_empty() {
        return Ok(Choice::NobodyThere);
    }
    let lists_pushed =
        |service: &Service| service.certificates.iter().any(|id| pushed.contains(id));
    let best = balancers.into_iter().filter(|service| service.is_active).max_by_key(lists_pushed);
    Ok(best.map_or(Choice::NobodyActive, Choice::Wake))
}

//! Having the users of the destination hear of what was pushed: the debt, its clock, and what is said of it. Whom to ask
//! is the destination's affair.

use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::held::Activated;
use crate::core::held::CertificateId;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::setback::Setback;
use crate::ports::Destination;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::context::Context;

/// Has the users of what was pushed read it, once for all; only to be called while that is owed.
pub async fn wake<W: World>(context: &Context<W>, pushed: &[CertificateId]) -> Result<(), Setback> {
    let generation = context.wake_generation();
    let destination = context.world.destination();
    let activated = match destination.can().has_users {
        true => destination.activate(pushed).await,
        // What is owed is owed to a destination of before.
        false => Ok(Activated::NobodyThere),
    };
    match activated {
        Ok(activated) => {
            debug!("balancers told to read again");
            let cleared = context.clear_wake(generation).await;
            context.clear(&Subject::Wake).await;
            match (cleared, activated) {
                (Err(error), _) => warn!(%error, "wake-up not noted, a restart repeats it"),
                (Ok(()), Activated::By(service)) => info!(service, "balancers woken"),
                (Ok(()), Activated::NobodyThere) => debug!("no balancer to wake"),
            }
            Ok(())
        }
        Err(error) => {
            let users = destination.describe().users;
            let text = format!("{users} not woken, they may serve older certificates: {error}");
            let what = Failure::of(FailureKind::of_destination(&error), text);
            let wait = context.fail(Subject::Wake, what).await;
            Err(wait.into())
        }
    }
}

//! Having the users of the destination hear of what was pushed: the debt, its clock, and what is said of it. Whom to ask
//! is the destination's affair.

use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::held::Activated;
use crate::core::held::CertificateId;
use crate::core::reaction::Failure;
use crate::core::reaction::Trouble;
use crate::core::setback::Setback;
use crate::ports::Destination;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::context::Engine;

/// Has the users of what was pushed read it, once for all; only to be called while that is owed.
pub async fn wake<W: World>(engine: &Engine<W>, pushed: &[CertificateId]) -> Result<(), Setback> {
    let generation = engine.wake_generation();
    let destination = engine.world.destination();
    let activated = match destination.can().has_users {
        true => destination.activate(pushed).await,
        // What is owed is owed to a destination of before.
        false => Ok(Activated::NobodyThere),
    };
    match activated {
        Ok(activated) => {
            debug!("balancers told to read again");
            let cleared = engine.clear_wake(generation).await;
            engine.clear(&Subject::Wake).await;
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
            let what = Failure::of(Trouble::of_destination(&error), text);
            let wait = engine.fail(Subject::Wake, what).await;
            Err(wait.into())
        }
    }
}

//! What is looked at between passes, so that whoever looks at us is told how things are and not how they were.
//!
//! Nothing is decided here: the answers are counted where they come in, and what is known from them stands in the
//! status at once.

use std::sync::Arc;

use time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;
use tracing::debug;

use crate::core::held::Which;
use crate::ports::Clock;
use crate::ports::Destination;
use crate::ports::World;
use crate::work::context::Context;
use crate::work::daemon::Snapshot;
use crate::work::issue::compare_clock;

/// How often the destination is looked at, if `LOOP_TIME` is much longer.
const LOOKS: Duration = Duration::MINUTE;
/// So often at most between two passes.
const LOOKS_IN_A_ROUND: i32 = 5;
/// A destination that keeps certificates under names answers for this one that there is none.
const NOBODY: &str = "rancher-lets-encrypt-looks-whether-somebody-is-there";

/// Looks, for as long as there are passes. Dropping it is safe at any point.
pub async fn between_passes<W: World>(
    context: Arc<Context<W>>,
    snapshot: watch::Receiver<Snapshot>,
) {
    let round = context.settings.loop_time / LOOKS_IN_A_ROUND;
    let rest = round.clamp(Duration::SECOND, LOOKS);
    let mut compared_at = context.now();
    loop {
        context.world.clock().sleep(rest).await;
        if snapshot.has_changed().is_err() {
            return;
        }
        let now = context.now();
        if !has_looked_since(&snapshot, now - rest, now) {
            look_at_destination(&context, &snapshot).await;
        }
        // While something is to be ordered, orders compare it.
        let is_wrong = context.clock_seen().is_some_and(|seen| seen.differs());
        if is_wrong && (now < compared_at || compared_at + context.clock_is_compared_after() <= now)
        {
            compared_at = now;
            compare_clock(&context).await;
        }
    }
}

/// Whether a pass has asked it since; after a clock was set back nobody knows.
fn has_looked_since(
    snapshot: &watch::Receiver<Snapshot>,
    since: OffsetDateTime,
    now: OffsetDateTime,
) -> bool {
    let last = snapshot.borrow().last_pass;
    last.is_some_and(|pass| since <= pass.ended_at && pass.ended_at <= now)
}

/// One request, whatever the destination holds.
async fn look_at_destination<W: World>(context: &Context<W>, snapshot: &watch::Receiver<Snapshot>) {
    let report = snapshot.borrow().report.clone();
    let id = report.iter().flat_map(|report| &report.rows).find_map(|row| row.id.clone());
    let which = id.as_ref().map_or(Which::Named(NOBODY), Which::Id);
    match context.world.destination().look(which).await {
        Ok(_) => debug!("destination looked at between passes, it answers"),
        Err(error) => debug!(%error, "destination looked at between passes, it does not answer"),
    }
}

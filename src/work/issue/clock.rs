//! Our clock against the authority's: one that is wrong would open every gate.

use time::OffsetDateTime;

use crate::core::setback::Setback;
use crate::ports::Answered;
use crate::ports::Authority;
use crate::ports::World;
use crate::work::context::ClockSeen;
use crate::work::context::Context;
use crate::work::issue::Attempt;
use crate::work::issue::stop::Stop;

/// Our clock beside what an authority has answered; right where its answers say nothing.
fn seen<W: World>(context: &Context<W>, theirs: Option<OffsetDateTime>) -> Option<ClockSeen> {
    theirs.map(|theirs| ClockSeen { ours: context.now(), theirs })
}

/// Takes note of what an authority says that answers now about a clock that seems to be off.
fn judge_clock<W: World>(
    context: &Context<W>,
    theirs: Option<OffsetDateTime>,
) -> Result<(), Setback> {
    seen(context, theirs).map_or(Ok(()), |seen| context.compare_clock(seen))
}

/// Compares our clock with the authority's before what is not ours is judged by dates. While it does not answer, as when
/// our clock sees its certificate expired, nothing is judged.
pub(crate) async fn trust_dates<W: World>(
    context: &Context<W>,
    directory: &str,
) -> Result<(), Setback> {
    let time = async |answered| {
        let theirs = context.world.authority().time(directory, answered).await;
        theirs.map_err(|error| {
            let what = "our clock cannot be compared with the authority's";
            Setback::failure(format!("{what} before what is not ours is replaced: {error}"))
        })
    };
    let before = time(Answered::Before).await?;
    if !seen(context, before).is_some_and(ClockSeen::differs) {
        return judge_clock(context, before);
    }
    judge_clock(context, time(Answered::Now).await?)
}

/// Compares our clock with the wanted authority's by an answer that comes now.
pub(crate) async fn compare_clock<W: World>(context: &Context<W>) {
    let directory = context.settings.policy.wanted_directory();
    let theirs = context.world.authority().time(directory, Answered::Now).await;
    // One that does not answer shows nothing, and what comes of a comparison is on display.
    if let Ok(theirs) = theirs {
        let _ = judge_clock(context, theirs);
    }
}

impl<W: World> Attempt<'_, W> {
    /// Compares our clock with the authority's. A clock that is wrong would open every gate.
    pub(super) async fn trust_clock(&self, directory: &str) -> Result<(), Stop> {
        let before = self.ask_time(directory, Answered::Before).await?;
        if !seen(self.context, before).is_some_and(ClockSeen::differs) {
            return Ok(judge_clock(self.context, before)?);
        }
        // The clock that never jumps stands still while a machine is suspended.
        let now = self.ask_time(directory, Answered::Now).await?;
        Ok(judge_clock(self.context, now)?)
    }
}

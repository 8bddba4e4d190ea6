//! Our clock against the authority's: one that is wrong would open every gate.

use time::Duration;
use time::OffsetDateTime;

use crate::core::setback::Setback;
use crate::ports::Answered;
use crate::ports::Authority;
use crate::ports::World;
use crate::work::context::Context;
use crate::work::context::SKEW_LOOK;
use crate::work::issue::Attempt;
use crate::work::issue::stop::Stop;

/// A clock that differs from the authority's by more is worth a warning.
const SKEW_WARNED: Duration = Duration::minutes(5);
/// With a clock that differs by more, nothing that costs is asked: waits and dates cannot be trusted.
const SKEW_REFUSED: Duration = Duration::HOUR;

/// How far our clock is off the authority's, and to which side.
fn skew<W: World>(
    context: &Context<W>,
    theirs: Option<OffsetDateTime>,
) -> Option<(&'static str, Duration)> {
    let (theirs, now) = (theirs?, context.now());
    let (ahead, skew) =
        if theirs < now { ("ahead of", now - theirs) } else { ("behind", theirs - now) };
    (SKEW_WARNED < skew).then_some((ahead, skew))
}

/// What an authority says that answers now about a clock that seems to be off.
fn judge_clock<W: World>(
    context: &Context<W>,
    theirs: Option<OffsetDateTime>,
) -> Result<(), Setback> {
    let Some((ahead, skew)) = skew(context, theirs) else {
        return Ok(());
    };
    let reason = format!(
        "the clock of this machine is {} minutes {ahead} the authority's: set it right",
        skew.whole_minutes()
    );
    if skew <= SKEW_REFUSED {
        context.say_once(&reason);
        return Ok(());
    }
    let reason = format!("{reason}; nothing that costs is asked before");
    context.distrust_clock(&reason);
    Err(Setback::failure_until(reason, context.now() + SKEW_LOOK))
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
    if skew(context, time(Answered::Before).await?).is_none() {
        return Ok(());
    }
    judge_clock(context, time(Answered::Now).await?)
}

impl<W: World> Attempt<'_, W> {
    /// Compares our clock with the authority's. A clock that is wrong would open every gate.
    pub(super) async fn trust_clock(&self, directory: &str) -> Result<(), Stop> {
        let before = self.ask_time(directory, Answered::Before).await?;
        if skew(self.context, before).is_none() {
            return Ok(());
        }
        // The clock that never jumps stands still while a machine is suspended.
        let now = self.ask_time(directory, Answered::Now).await?;
        Ok(judge_clock(self.context, now)?)
    }
}

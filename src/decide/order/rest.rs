//! How long an order is left alone before it is looked at again.

use time::Duration;
use time::OffsetDateTime;

use crate::decide::order::MOST_FINALIZES;

/// The first rest; each one after it is twice as long.
const FIRST: Duration = Duration::seconds(30);

/// The longest rest of an order that is wanted, whatever the authority asks for.
const WANTED: Duration = Duration::HOUR;

/// The longest of all: of one that is stuck, or that nobody wants.
pub(super) const LONGEST: Duration = Duration::DAY;

/// While a person could be waiting, a look in between is allowed (RFC 8555, section 7.4 asks for `Retry-After` of the
/// order, and authorities are done long before it).
const WHILE_SOMEBODY_WAITS: Duration = Duration::minutes(2);

/// What a rest depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When the authority wants to be asked again, if it says so.
    pub not_before: Option<OffsetDateTime>,
    /// Whether an order for just this is wanted.
    pub is_wanted: bool,
    /// Whether a person could be waiting for it.
    pub is_first: bool,
    /// Whether the order is stuck.
    pub is_stuck: bool,
}

impl Pause {
    pub(super) fn until(self, rests: u32, now: OffsetDateTime) -> OffsetDateTime {
        if self.is_stuck {
            return now.saturating_add(LONGEST);
        }
        let longest = if self.is_wanted { WANTED } else { LONGEST };
        let growing = (FIRST * 2_i32.pow(rests.min(12))).min(longest);
        let asked = self.not_before.map_or(Duration::ZERO, |at| (at - now).min(longest));
        // A person waits for an hour at most, looking again and again.
        let most = if self.is_first && rests < 30 { WHILE_SOMEBODY_WAITS } else { longest };
        now.saturating_add(growing.max(asked).min(most))
    }
}

/// When finalize is sent once more after it was sent so often; none when another time would be one too many. An authority
/// may issue within the request and forget it when the connection ends (OpenBao 2.7 does): so each time may be another
/// certificate.
pub(super) fn finalize_again_at(
    times: usize,
    last: OffsetDateTime,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    if MOST_FINALIZES <= times {
        return None;
    }
    let wait = if times <= 1 { Duration::minutes(1) } else { Duration::HOUR };
    // What lies further ahead was written by a clock that was ahead.
    let is_credible = last <= now.saturating_add(wait);
    Some(if is_credible { last.saturating_add(wait) } else { now })
}

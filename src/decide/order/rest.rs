//! How long an order is left alone before it is looked at again.

use time::Duration;
use time::OffsetDateTime;

use crate::core::text::timestamp;
use crate::decide::order::MOST_FINALIZES;
use crate::decide::order::PendingOrder;
use crate::decide::order::Stage;

/// The first rest; each one after it is twice as long.
const FIRST: Duration = Duration::seconds(30);

/// The longest rest of an order that is wanted, whatever the authority asks for.
const WANTED: Duration = Duration::HOUR;

/// The longest of all: of one that is stuck, or that nobody wants.
const LONGEST: Duration = Duration::DAY;

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

impl PendingOrder {
    /// Whether it was left alone since the authority last heard of it.
    pub fn has_rested(&self) -> bool {
        self.rests > 0
    }

    /// What it waits for, in plain words.
    pub fn why_it_rests(&self, now: OffsetDateTime) -> String {
        if let Some(because) = &self.rests_because {
            return because.clone();
        }
        let what = match self.stage(now) {
            Stage::Intended | Stage::Opened | Stage::Received | Stage::Lapsed { .. } => {
                "the authority is still validating"
            }
            Stage::Finalized { .. } => "the authority is still issuing",
            Stage::Issued => "the authority does not hand the certificate over",
            Stage::Stuck { .. } => return self.why_it_is_stuck(),
        };
        let asked = self.asked_until.map_or_else(String::new, |at| {
            format!(", and asks to be left alone until {}", timestamp(at))
        });
        match &self.said {
            Some(said) => format!("{what}{asked}: {said}"),
            None => format!("{what}{asked}"),
        }
    }

    /// Until when it is left alone; what lies further ahead than that can was written by a clock that was ahead.
    pub fn rests_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let latest = now.saturating_add(LONGEST);
        self.look_after.filter(|at| now < *at && *at <= latest)
    }

    /// Leaves it alone for a while, longer each time, and answers until when.
    pub fn rest(&mut self, pause: Pause, now: OffsetDateTime) -> OffsetDateTime {
        let until = pause.until(self.rests, now);
        self.rests = self.rests.saturating_add(1);
        self.look_after = Some(until);
        self.rests_because = None;
        self.asked_until = pause.not_before.filter(|at| until <= *at);
        until
    }

    /// Leaves it alone until a time, and says why.
    pub fn rest_until(&mut self, until: OffsetDateTime, because: impl Into<String>) {
        self.look_after = Some(until);
        self.rests_because = Some(because.into());
        self.asked_until = None;
    }

    /// Whether there is something to see to although nobody comes back to it for a certificate that is wanted: one may
    /// exist and be had by now, or it is over.
    pub fn is_to_be_seen_to(&self, now: OffsetDateTime) -> bool {
        match self.stage(now) {
            Stage::Intended | Stage::Opened => false,
            Stage::Lapsed { may_be_issued: false, .. } => true,
            Stage::Received => self.is_to_be_judged(now),
            Stage::Lapsed { .. }
            | Stage::Finalized { .. }
            | Stage::Issued
            | Stage::Stuck { .. } => self.rests_until(now).is_none(),
        }
    }

    /// Goes on with it: what it waited for is over.
    pub fn resume(&mut self) {
        (self.rests, self.look_after, self.asked_until) = (0, None, None);
        self.rests_because = None;
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

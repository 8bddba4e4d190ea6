//! When a certificate is due, and how long to wait after a failure. Pure: `now` is always an argument.

use time::Duration;
use time::OffsetDateTime;

use crate::core::certificate::Leaf;
use crate::core::fingerprint::Fingerprint;

/// Lifetimes below this are short: half of the lifetime is left when they are due, not a third.
const SHORT_LIFETIME: Duration = Duration::days(10);

/// What of a certificate decides when it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

impl From<&Self> for Life {
    fn from(life: &Self) -> Self {
        *life
    }
}

impl From<&Leaf> for Life {
    fn from(leaf: &Leaf) -> Self {
        Self {
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            fingerprint: leaf.fingerprint,
        }
    }
}

/// When renewing begins: less than a third of the lifetime left (half, if it is short), earlier by a stable
/// jitter of up to a twentieth of the lifetime.
///
/// `renew_before` takes the place of the fraction only when it is less than half of the lifetime: any day setting
/// would otherwise make a short-lived certificate due from its first second. The jitter comes from the leaf's
/// fingerprint, which differs between instances as well as between certificates and needs nothing on record.
pub fn due_at(life: impl Into<Life>, renew_before: Option<Duration>) -> OffsetDateTime {
    let life = life.into();
    let lifetime = life.not_after - life.not_before;
    let left = match renew_before {
        Some(days) if days * 2 < lifetime => days,
        Some(_) | None if lifetime < SHORT_LIFETIME => lifetime / 2,
        Some(_) | None => lifetime / 3,
    };
    life.not_after - left - (lifetime / 20) * life.fingerprint.fraction()
}

/// When half of the time between due and expired is over.
pub fn overdue_at(life: impl Into<Life>, renew_before: Option<Duration>) -> OffsetDateTime {
    let life = life.into();
    let due = due_at(life, renew_before);
    due + (life.not_after - due) / 2
}

/// When three quarters of the time between due and expired are over: what still fails by then is left out of the next
/// certificate, so that the other names live on.
pub fn last_quarter_at(life: impl Into<Life>, renew_before: Option<Duration>) -> OffsetDateTime {
    let life = life.into();
    let due = due_at(life, renew_before);
    due + (life.not_after - due) * 3 / 4
}

/// How long the names of a certificate that is served stay as they are after they were changed so often: each change
/// takes all that is wanted by then, so that names which recover one by one do not cost a certificate each.
pub fn after_change(changes: u32) -> Duration {
    match changes {
        0 => Duration::ZERO,
        1 => Duration::HOUR,
        2 => Duration::hours(6),
        _ => Duration::DAY,
    }
}

/// At most one certificate per directory and set of names in this time: a day, or a third of the lifetime of the
/// last one, if that is shorter.
pub fn floor(last_lifetime: Option<Duration>) -> Duration {
    last_lifetime.map_or(Duration::DAY, |lifetime: Duration| (lifetime / 3_i32).min(Duration::DAY))
}

/// After failed validations and refusals by the CA: Let's Encrypt's own advice (its integration guide).
pub fn after_refusal(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::minutes(1),
        2 => Duration::minutes(10),
        3 => Duration::minutes(100),
        _ => Duration::DAY,
    }
}

/// After a failed push, wake-up, self-check: `LOOP_TIME`, doubling to a quarter of an hour.
pub fn after_setback(failures: u32, loop_time: Duration) -> Duration {
    const MOST: Duration = Duration::minutes(15);
    let doubled = loop_time * 2_i32.saturating_pow(failures.saturating_sub(1).min(16));
    doubled.min(MOST.max(loop_time))
}

/// How many answers of the same kind in a row open the breaker.
pub const BREAKER_OPENS_AFTER: u32 = 3;

/// Whether so many answers in a row leave a CA alone.
pub fn is_open(failures: u32) -> bool {
    failures >= BREAKER_OPENS_AFTER
}

/// The longest that a CA which fails is left alone, whatever it says.
pub const LONGEST_OUTAGE: Duration = Duration::DAY;

/// The longest that any limit lasts: Let's Encrypt's take a week.
pub const LONGEST_LIMIT: Duration = Duration::days(8);

/// How long a CA that cannot be reached is left alone: one minute at first, doubling to an hour.
pub fn after_outage(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(BREAKER_OPENS_AFTER).min(6);
    (Duration::minutes(1) * 2_i32.pow(doublings)).min(Duration::HOUR)
}

/// After an attempt that got no usable answer: as for the CA, because it says nothing about the names.
pub fn after_silence(failures: u32) -> Duration {
    after_outage(failures.saturating_add(BREAKER_OPENS_AFTER - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::proptest;

    use super::*;

    fn minutes(durations: &[Duration]) -> Vec<i64> {
        durations.iter().map(|duration| duration.whole_minutes()).collect()
    }

    #[test]
    fn waits_after_failures_grow_to_their_ceiling() {
        let refusals: Vec<_> = (1..=6).map(after_refusal).collect();
        assert_eq!(minutes(&refusals), [1, 10, 100, 1440, 1440, 1440]);
        let setbacks: Vec<_> = (1..=4).map(|n| after_setback(n, Duration::minutes(5))).collect();
        assert_eq!(minutes(&setbacks), [5, 10, 15, 15]);
        assert_eq!(after_setback(9, Duration::HOUR), Duration::HOUR);
        let outages: Vec<_> = (3..=10).map(after_outage).collect();
        assert_eq!(minutes(&outages), [1, 2, 4, 8, 16, 32, 60, 60]);
        let silences: Vec<_> = (1..=8).map(after_silence).collect();
        assert_eq!(silences, outages);
    }

    #[test]
    fn the_floor_is_a_day_or_a_third_of_a_short_life() {
        assert_eq!(floor(None), Duration::DAY);
        assert_eq!(floor(Some(Duration::days(90))), Duration::DAY);
        assert_eq!(floor(Some(Duration::hours(12))), Duration::hours(4));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn due_lies_in_the_window_of_its_lifetime(days in 1_i64..400, renew_before in 0_i64..100) {
            let leaf = crate::core::certificate::tests::leaf(&["a.example.com"], Duration::ZERO, Duration::days(days));
            let renew_before = (renew_before > 0).then(|| Duration::days(renew_before));
            let left = leaf.not_after - due_at(&leaf, renew_before);
            let lifetime = leaf.lifetime();
            let wanted = match renew_before {
                Some(before) if before * 2 < lifetime => before,
                _ if days < 10 => lifetime / 2,
                _ => lifetime / 3,
            };
            assert!(left >= wanted && left <= wanted + lifetime / 20);
            // Never due at the start of its life, whatever the setting.
            assert!(due_at(&leaf, renew_before) > leaf.not_before + lifetime / 3);
            assert!(overdue_at(&leaf, renew_before) > due_at(&leaf, renew_before));
            assert!(overdue_at(&leaf, renew_before) < leaf.not_after);
        }
    }
}

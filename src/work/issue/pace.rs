//! How fast an authority is looked at: at once and ever slower, or as it says.

use time::Duration;
use time::OffsetDateTime;

const FIRST: Duration = Duration::milliseconds(4);
const SLOWEST: Duration = Duration::seconds(3);
/// What takes longer is looked at again by a later pass, so that its place is free for another certificate.
const PATIENCE: Duration = Duration::seconds(40);

/// The pace of looking at one thing.
pub(super) struct Pace {
    since: OffsetDateTime,
    next: Duration,
}

impl Pace {
    pub(super) fn new(now: OffsetDateTime) -> Self {
        Self { since: now, next: FIRST }
    }

    /// How long to wait before the next look; or when a later pass should look, if that is too long to wait here.
    pub(super) fn next(
        &mut self,
        not_before: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<Duration, OffsetDateTime> {
        let patience = self.since + PATIENCE;
        let asked = not_before.filter(|at| now < *at);
        let time = match asked {
            Some(at) => at - now,
            None => {
                let time = self.next;
                self.next = (time * 2_i32).min(SLOWEST);
                time
            }
        };
        if now + time <= patience { Ok(time) } else { Err(now + time.max(SLOWEST)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::certificate::tests::NOW;

    #[test]
    fn looks_come_quickly_first_and_never_too_often() {
        let mut pace = Pace::new(NOW);
        let mut now = NOW;
        let mut looks = 0;
        while let Ok(time) = pace.next(None, now) {
            now += time;
            looks += 1;
        }
        assert!((15..30).contains(&looks), "{looks}");
        assert!(now - NOW <= PATIENCE);
    }

    #[test]
    fn what_the_authority_says_rules() {
        let mut pace = Pace::new(NOW);
        let three = Duration::seconds(3);
        assert_eq!(pace.next(Some(NOW + three), NOW), Ok(three));
        // A time that is over is no leave to look without a pause.
        assert_eq!(pace.next(Some(NOW - three), NOW), Ok(FIRST));
        assert_eq!(pace.next(Some(NOW + Duration::HOUR), NOW), Err(NOW + Duration::HOUR));
    }
}

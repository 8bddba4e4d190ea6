//! The clock of the machine.

use time::OffsetDateTime;

/// Now. Everything else gets the time as an argument.
#[expect(clippy::disallowed_methods, reason = "the one place where the authority reads the clock")]
pub(super) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

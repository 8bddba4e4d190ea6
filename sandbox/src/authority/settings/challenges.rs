//! How challenges are validated, and what a failure does to them.

use std::time::Duration;

/// What a POST to a challenge gets while the authorization is being validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondTell {
    /// A second validation begins, whose failure counts for itself.
    Accept,
    /// 409 `conflict`.
    Conflict409,
    /// The challenge is shown, and nothing more begins. So does OpenBao, by its source.
    Ignore,
}

/// When a POST to a challenge is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// At once; the validation goes on behind it, as at Boulder, Pebble and OpenBao.
    AtOnce,
    /// With the result of the validation, as at step-ca and Caddy (seen; no recording).
    Validated,
}

/// What a validation leaves behind that failed. Without one of these, challenge and authorization are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// Both stay pending, with the reason in the challenge: the client may answer it again (RFC 8555, 8.2). So do
    /// step-ca and Caddy (seen; no recording).
    StayPending,
    /// The challenge is processing, with the reason, and tried again by the authority itself: first after `step`,
    /// then after twice that, and so on, and it is invalid after so many tries. OpenBao does with 5 seconds and 7
    /// tries, by its source; that it stays processing was seen (no recording).
    TryAgain {
        /// How much longer each wait is than the one before.
        step: Duration,
        /// How many validations there are at most.
        tries: u32,
    },
}

//! The limits themselves, in figures: those of Let's Encrypt, as it publishes them.

use time::Duration;

/// So many at once, and one more after each refill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many at once.
    pub burst: u32,
    /// How long until one more is allowed.
    pub refill: Duration,
}

impl Limit {
    const fn per(burst: u32, seconds: i64) -> Self {
        Self { burst, refill: Duration::milliseconds(seconds * 1000 / burst as i64) }
    }

    /// How long it takes to get all of them back.
    pub fn window(self) -> Duration {
        self.refill * i32::try_from(self.burst).unwrap_or(i32::MAX)
    }
}

/// The limits of one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// New accounts from one address.
    pub accounts: Limit,
    /// New orders of one account; renewals of the same names are free.
    pub orders: Limit,
    /// Certificates of one registered domain; renewals of the same names are free.
    pub certificates_per_domain: Limit,
    /// Certificates of one set of names.
    pub certificates_per_set: Limit,
    /// Failed validations of one name and account.
    pub failures: Limit,
    /// Failed validations in a row, upon which the name is paused until a person acts.
    pub failures_in_row: Limit,
    /// Names in one certificate.
    pub names: usize,
}

const HOUR: i64 = 3600;

const DAY: i64 = 24 * HOUR;

/// Let's Encrypt's limits for its production directory, as of 2026-08.
pub const LETS_ENCRYPT: Limits = Limits {
    accounts: Limit::per(10, 3 * HOUR),
    orders: Limit::per(300, 3 * HOUR),
    certificates_per_domain: Limit::per(50, 7 * DAY),
    certificates_per_set: Limit::per(5, 7 * DAY),
    failures: Limit::per(5, HOUR),
    failures_in_row: Limit::per(1152, 1152 * DAY),
    names: 100,
};

/// Let's Encrypt's limits for its staging directory, as of 2026-08.
pub const LETS_ENCRYPT_STAGING: Limits = Limits {
    accounts: Limit::per(50, 3 * HOUR),
    orders: Limit::per(1500, 3 * HOUR),
    certificates_per_domain: Limit::per(30_000, 30),
    certificates_per_set: Limit::per(30_000, 7 * DAY),
    failures: Limit::per(200, HOUR),
    failures_in_row: Limit::per(3600, 6 * HOUR),
    names: 100,
};

/// A renewal is free of some limits if the same names were certified within this time.
pub const RENEWAL_WITHIN: Duration = Duration::days(120);

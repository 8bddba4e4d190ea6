//! The limits of an authority, and how much of each is left.
//!
//! Let's Encrypt counts with token buckets (its documentation, "Rate Limits"): a bucket holds a burst of tokens and
//! gets them back one by one. So one time for each bucket says all: when it is full again.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::core::names::DomainName;
use crate::core::names::NameSet;

mod cost;
mod limits;

pub use cost::OrderCost;
pub use limits::LETS_ENCRYPT;
pub use limits::LETS_ENCRYPT_STAGING;
pub use limits::Limit;
pub use limits::Limits;
pub use limits::RENEWAL_WITHIN;

use cost::failures_of;

/// The authority counts a little later than we do, certificates when they are issued and not when they are asked for: so
/// long a token that has just come back is not used.
fn slack(refill: Duration) -> Duration {
    let least = Duration::minutes(1).min(refill / 2_i32);
    let part = (refill / 6_i32).min(Duration::minutes(30));
    least.max(part)
}

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "bucket", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are what their limit is per")]
pub enum Bucket {
    /// New accounts.
    Accounts { directory: String },
    /// New orders.
    Orders { directory: String, account: String },
    /// Certificates of a registered domain.
    Domain { directory: String, domain: String },
    /// Certificates of a set of names.
    Set { directory: String, names: NameSet },
    /// Failed validations.
    Failures { directory: String, account: String, name: DomainName },
    /// Failed validations in a row.
    FailuresInRow { directory: String, account: String, name: DomainName },
}

impl Bucket {
    /// Its figures among the limits of a directory.
    pub fn limit(&self, limits: &Limits) -> Limit {
        match self {
            Self::Accounts { .. } => limits.accounts,
            Self::Orders { .. } => limits.orders,
            Self::Domain { .. } => limits.certificates_per_domain,
            Self::Set { .. } => limits.certificates_per_set,
            Self::Failures { .. } => limits.failures,
            Self::FailuresInRow { .. } => limits.failures_in_row,
        }
    }
}

impl Bucket {
    /// Directory URL of the authority that counts.
    pub fn directory(&self) -> &str {
        match self {
            Self::Accounts { directory }
            | Self::Orders { directory, .. }
            | Self::Domain { directory, .. }
            | Self::Set { directory, .. }
            | Self::Failures { directory, .. }
            | Self::FailuresInRow { directory, .. } => directory,
        }
    }

    /// What it counts, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Accounts { .. } => "accounts",
            Self::Orders { .. } => "orders",
            Self::Domain { .. } => "certificates-per-domain",
            Self::Set { .. } => "certificates-per-set",
            Self::Failures { .. } => "failed-validations",
            Self::FailuresInRow { .. } => "failed-validations-in-row",
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accounts { .. } => write!(f, "new accounts from this address"),
            Self::Orders { .. } => write!(f, "new orders of this account"),
            Self::Domain { domain, .. } => write!(f, "new certificates for {domain}"),
            Self::Set { names, .. } => {
                let names: Vec<&str> = names.iter().map(DomainName::as_str).collect();
                write!(f, "certificates for exactly {}", names.join(" "))
            }
            Self::Failures { name, .. } => write!(f, "failed validations of {name}"),
            Self::FailuresInRow { name, .. } => write!(f, "failed validations of {name} in a row"),
        }
    }
}

/// A bucket, and when it is full again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Which.
    #[serde(flatten)]
    pub bucket: Bucket,
    /// When all its tokens are back.
    #[serde(with = "time::serde::rfc3339")]
    pub full_at: OffsetDateTime,
}

/// How full every bucket is that is not full.
#[derive(Debug, Default, Clone)]
pub struct Levels {
    full_at: BTreeMap<Bucket, OffsetDateTime>,
    /// What orders are about to take that are at work right now; not on record.
    reserved: BTreeMap<Bucket, u32>,
}

/// The place of one certificate.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it is kept until it is given back"]
pub struct Reserved(Vec<Bucket>);

/// How many tokens it takes that long to bring back.
fn tokens(missing: Duration, refill: Duration) -> u32 {
    if missing <= Duration::ZERO {
        return 0;
    }
    let milliseconds = |time: Duration| time.whole_milliseconds().unsigned_abs();
    let used = milliseconds(missing).div_ceil(milliseconds(refill).max(1));
    u32::try_from(used).unwrap_or(u32::MAX)
}

/// A limit that is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedUp {
    /// The limit with its figures, in plain words.
    pub reason: String,
    /// When there is room again; none if waiting does not help.
    pub opens: Option<OffsetDateTime>,
}

impl Levels {
    /// Sets a bucket to what is on record.
    pub fn set(&mut self, level: Level) {
        self.full_at.insert(level.bucket, level.full_at);
    }

    /// Everything that is not full at `now`.
    pub fn iter(&self, now: OffsetDateTime) -> impl Iterator<Item = Level> {
        self.full_at
            .iter()
            .filter(move |(_, full_at)| now < **full_at)
            .map(|(bucket, full_at)| Level { bucket: bucket.clone(), full_at: *full_at })
    }

    /// How many tokens of a bucket are gone.
    pub fn used(&self, bucket: &Bucket, limits: &Limits, now: OffsetDateTime) -> u32 {
        let full_at = self.full_at.get(bucket).copied().unwrap_or(now);
        tokens(full_at - now, bucket.limit(limits).refill)
    }

    /// Keeps the place of a certificate that an order at work will ask for.
    pub fn reserve(&mut self, asked: &OrderCost<'_>) -> Reserved {
        let buckets = asked.certificate();
        for bucket in &buckets {
            *self.reserved.entry(bucket.clone()).or_insert(0) += 1;
        }
        Reserved(buckets)
    }

    /// Gives a place back, because the certificate was asked for, or its order is not at work any more.
    pub fn release(&mut self, reserved: Reserved) {
        for bucket in reserved.0 {
            if let Some(count) = self.reserved.get_mut(&bucket) {
                *count -= 1;
                if *count == 0 {
                    self.reserved.remove(&bucket);
                }
            }
        }
    }

    fn room(&self, bucket: &Bucket, limits: &Limits, now: OffsetDateTime) -> Result<(), UsedUp> {
        let reserved = self.reserved.get(bucket).copied().unwrap_or(0);
        let limit = bucket.limit(limits);
        let on_record = self.full_at.get(bucket);
        let full_at = on_record.map_or(now, |full_at| (*full_at).max(now));
        let reserved = limit.refill * i32::try_from(reserved).unwrap_or(i32::MAX);
        let full_at = full_at.saturating_add(reserved);
        // Nothing was ever asked of a bucket that is full: then there is nothing to be late about.
        let slack = slack(limit.refill);
        let opens = full_at.saturating_sub(limit.window() - limit.refill).saturating_add(slack);
        if opens <= now || full_at <= now {
            return Ok(());
        }
        let used = tokens(full_at - now, limit.refill);
        let hours = limit.window().whole_hours();
        Err(UsedUp {
            reason: format!(
                "{used} of {} {bucket} in {hours} hours are used, the limit of the authority",
                limit.burst
            ),
            opens: Some(opens),
        })
    }

    /// Whether an order may be opened as far as limits go; of several that are used up, the one that opens last.
    pub fn check(
        &self,
        asked: &OrderCost<'_>,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Result<(), UsedUp> {
        if asked.names.len() > limits.names {
            return Err(UsedUp {
                reason: format!(
                    "{} names in one certificate, of which the authority takes {} at most: part them with commas",
                    asked.names.len(),
                    limits.names
                ),
                opens: None,
            });
        }
        let spends = asked.certificate().into_iter().chain(asked.order());
        let buckets = spends.chain(asked.risks());
        let used_up = buckets.filter_map(|bucket| self.room(&bucket, limits, now).err());
        used_up.max_by_key(|used_up| used_up.opens).map_or(Ok(()), Err)
    }

    /// Takes what an order costs.
    pub fn spend_order(
        &mut self,
        asked: &OrderCost<'_>,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Vec<Level> {
        self.take_all(asked.order(), limits, now)
    }

    /// Takes what a certificate costs, when it is asked for: orders that wait, or come to nothing, cost no other name
    /// its place.
    pub fn spend_certificate(
        &mut self,
        asked: &OrderCost<'_>,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Vec<Level> {
        self.take_all(asked.certificate(), limits, now)
    }

    /// Sets a bucket to what is on record, unless more is gone of it already.
    pub fn raise(&mut self, level: Level) {
        let full_at = self.full_at.entry(level.bucket).or_insert(level.full_at);
        *full_at = (*full_at).max(level.full_at);
    }

    /// Gives back what a certificate cost that was asked for and not issued.
    pub fn give_back(
        &mut self,
        asked: &OrderCost<'_>,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Vec<Level> {
        let spent = asked.certificate().into_iter();
        spent.filter_map(|bucket| self.put_back(bucket, limits, now)).collect()
    }

    /// Gives back what an order cost that was not asked for after all.
    pub fn give_back_order(&mut self, asked: &OrderCost<'_>, limits: &Limits, now: OffsetDateTime) {
        if let Some(bucket) = asked.order() {
            self.put_back(bucket, limits, now);
        }
    }

    fn put_back(&mut self, bucket: Bucket, limits: &Limits, now: OffsetDateTime) -> Option<Level> {
        let full_at = self.full_at.get_mut(&bucket)?;
        // The file may hold any date.
        *full_at = full_at.saturating_sub(bucket.limit(limits).refill).max(now);
        let full_at = *full_at;
        Some(Level { bucket, full_at })
    }

    /// Counts a failed validation.
    pub fn fail(
        &mut self,
        directory: &str,
        account: &str,
        name: &DomainName,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Vec<Level> {
        self.take_all(failures_of(directory, account, name), limits, now)
    }

    /// A validation that succeeded ends the row of failures.
    pub fn succeed(&mut self, directory: &str, account: &str, name: &DomainName) {
        let [_, in_row] = failures_of(directory, account, name);
        self.full_at.remove(&in_row);
    }

    /// Whether an account may be made, and what it costs.
    pub fn check_account(
        &self,
        directory: &str,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Result<(), UsedUp> {
        let directory = directory.to_owned();
        self.room(&Bucket::Accounts { directory }, limits, now)
    }

    /// Takes what a new account costs.
    pub fn spend_account(
        &mut self,
        directory: &str,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Level {
        let directory = directory.to_owned();
        self.take(Bucket::Accounts { directory }, limits, now)
    }

    fn take_all(
        &mut self,
        buckets: impl IntoIterator<Item = Bucket>,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Vec<Level> {
        let buckets = buckets.into_iter();
        buckets.map(|bucket| self.take(bucket, limits, now)).collect()
    }

    fn take(&mut self, bucket: Bucket, limits: &Limits, now: OffsetDateTime) -> Level {
        let refill = bucket.limit(limits).refill;
        let full_at = self.full_at.entry(bucket.clone()).or_insert(now);
        *full_at = (*full_at).max(now).saturating_add(refill);
        let full_at = *full_at;
        Level { bucket, full_at }
    }

    /// No bucket takes longer to fill than from empty: what says otherwise was written by a clock that was ahead.
    pub fn clamp_future(&mut self, now: OffsetDateTime) {
        let longest = |bucket: &Bucket| {
            let window = |limits: &Limits| bucket.limit(limits).window();
            window(&LETS_ENCRYPT).max(window(&LETS_ENCRYPT_STAGING))
        };
        for (bucket, full_at) in &mut self.full_at {
            *full_at = (*full_at).min(now.saturating_add(longest(bucket)));
        }
    }
}

#[cfg(test)]
mod tests;

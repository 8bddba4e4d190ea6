//! Rate limits as token buckets: the burst is the limit, tokens come back one by one.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use super::problem::Problem;
use super::problem::RetryAfter;

/// One token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many tokens it holds.
    pub burst: u32,
    /// How long one token takes to come back.
    pub refill: Duration,
}

impl Limit {
    /// A bucket of `burst` tokens, one of which comes back every `refill`.
    pub fn new(burst: u32, refill: Duration) -> Self {
        Self { burst, refill }
    }

    /// A bucket of `burst` tokens that fills within `period`.
    pub fn per(burst: u32, period: Duration) -> Self {
        Self::new(burst, period / burst)
    }

    fn period(self) -> Duration {
        self.refill * self.burst
    }
}

/// The limits of an authority; none is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// New accounts per IP address.
    pub accounts_per_address: Option<Limit>,
    /// New orders per account; same-set renewals are exempt.
    pub orders_per_account: Option<Limit>,
    /// Certificates per registered domain, which is the last two labels here; same-set renewals are exempt.
    pub certificates_per_domain: Option<Limit>,
    /// Certificates per exact set of names; nothing is exempt.
    pub certificates_per_set: Option<Limit>,
    /// Failed validations per account and name; nothing is exempt.
    pub failures_per_name: Option<Limit>,
}

impl Limits {
    /// What Let's Encrypt allows in production.
    pub fn lets_encrypt() -> Self {
        let hour = Duration::from_hours(1);
        let week = hour * 24 * 7;
        Self {
            accounts_per_address: Some(Limit::per(10, hour * 3)),
            orders_per_account: Some(Limit::per(300, hour * 3)),
            certificates_per_domain: Some(Limit::per(50, week)),
            certificates_per_set: Some(Limit::per(5, week)),
            failures_per_name: Some(Limit::per(5, hour)),
        }
    }

    fn of(&self, kind: Kind) -> Option<Limit> {
        match kind {
            Kind::Account => self.accounts_per_address,
            Kind::Certificate => self.certificates_per_domain,
            Kind::Duplicate => self.certificates_per_set,
            Kind::Failure => self.failures_per_name,
            Kind::Order => self.orders_per_account,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Account,
    Certificate,
    Duplicate,
    Failure,
    Order,
}

/// A token of a bucket: which limit, and whose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    kind: Kind,
    owner: String,
    /// What the message names.
    subject: String,
}

impl Token {
    /// A new account from an address.
    pub fn account(address: &str) -> Self {
        Self::new(Kind::Account, address, "")
    }

    /// A new order of an account.
    pub fn order(account: &str) -> Self {
        Self::new(Kind::Order, account, "")
    }

    /// One for each registered domain.
    pub fn certificate(names: &[String]) -> Vec<Self> {
        let mut tokens: Vec<Self> = names
            .iter()
            .map(|name| Self::new(Kind::Certificate, "", registered_domain(name)))
            .collect();
        tokens.sort();
        tokens.dedup();
        tokens
    }

    /// A certificate for an exact set of names.
    pub fn duplicate(names: &[String]) -> Self {
        Self::new(Kind::Duplicate, &names.join(","), "")
    }

    /// A failed validation of a name.
    pub fn failure(account: &str, name: &str) -> Self {
        Self::new(Kind::Failure, account, name)
    }

    fn new(kind: Kind, owner: &str, subject: &str) -> Self {
        Self { kind, owner: owner.to_owned(), subject: subject.to_owned() }
    }
}

fn registered_domain(name: &str) -> &str {
    let dots: Vec<usize> = name.match_indices('.').map(|(at, _)| at).collect();
    match dots.as_slice() {
        [.., dot, _] => &name[dot + 1..],
        _ => name,
    }
}

/// The buckets in use, each as the time at which it will be full again.
#[derive(Debug, Default)]
pub struct Buckets(BTreeMap<Token, OffsetDateTime>);

impl Buckets {
    /// Refuses when one of the tokens is not there, with the farthest time; takes none.
    pub fn check(
        &self,
        limits: &Limits,
        tokens: &[Token],
        now: OffsetDateTime,
    ) -> Result<(), Problem> {
        let missing = tokens
            .iter()
            .filter_map(|token| {
                let limit = limits.of(token.kind)?;
                let wait = self.wait(limit, token, now)?;
                Some((wait, limit, token))
            })
            .max_by_key(|(wait, _, _)| *wait);
        match missing {
            None => Ok(()),
            Some((wait, limit, token)) => Err(refusal(wait, limit, token, now)),
        }
    }

    /// Takes a token if it is there.
    pub fn spend(&mut self, limits: &Limits, token: Token, now: OffsetDateTime) {
        if let Some(limit) = limits.of(token.kind)
            && self.wait(limit, &token, now).is_none()
        {
            let full_at = self.full_at(&token, now) + limit.refill;
            self.0.insert(token, full_at);
        }
    }

    /// How long until the token is there; none when it is.
    fn wait(&self, limit: Limit, token: &Token, now: OffsetDateTime) -> Option<Duration> {
        let spent = self.full_at(token, now) + limit.refill;
        let wait = spent - (now + limit.period());
        wait.is_positive().then(|| wait.unsigned_abs())
    }

    fn full_at(&self, token: &Token, now: OffsetDateTime) -> OffsetDateTime {
        self.0.get(token).copied().unwrap_or(now).max(now)
    }
}

fn refusal(wait: Duration, limit: Limit, token: &Token, now: OffsetDateTime) -> Problem {
    let (burst, subject) = (limit.burst, &token.subject);
    let (what, anchor) = match token.kind {
        Kind::Account => (
            format!("too many new registrations ({burst}) from this IP address"),
            "new-registrations-per-ip-address",
        ),
        Kind::Certificate => (
            format!("too many certificates ({burst}) already issued for {subject:?}"),
            "new-certificates-per-registered-domain",
        ),
        Kind::Duplicate => (
            format!(
                "too many certificates ({burst}) already issued for this exact set of identifiers"
            ),
            "new-certificates-per-exact-set-of-identifiers",
        ),
        Kind::Failure => (
            format!("too many failed authorizations ({burst}) for {subject:?}"),
            "authorization-failures-per-identifier-per-account",
        ),
        Kind::Order => {
            (format!("too many new orders ({burst}) from this account"), "new-orders-per-account")
        }
    };
    let at = (now + wait)
        .format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC"))
        .expect("a date has all the parts of the format");
    let detail = format!(
        "{what} in the last {}, retry after {at}: see https://letsencrypt.org/docs/rate-limits/#{anchor}",
        spelled(limit.period()),
    );
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem::new(429, "rateLimited", detail).retry_after(RetryAfter::Seconds(seconds))
}

/// A duration as Go prints it, such as `168h0m0s`.
fn spelled(time: Duration) -> String {
    let (hours, minutes) = (time.as_secs() / 3600, time.as_secs() / 60 % 60);
    let seconds = (time - Duration::from_secs(hours * 3600 + minutes * 60)).as_secs_f64();
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 13:00 UTC);

    #[test]
    fn tokens_come_back_one_by_one() {
        let limits = Limits::lets_encrypt();
        let names = ["a.example".to_owned()];
        let token = || Token::duplicate(&names);
        let mut buckets = Buckets::default();
        for _ in 0..5 {
            assert_eq!(buckets.check(&limits, &[token()], NOW), Ok(()));
            buckets.spend(&limits, token(), NOW);
        }
        let problem = buckets.check(&limits, &[token()], NOW).expect_err("five are a week's worth");
        assert_eq!(
            problem.detail,
            "too many certificates (5) already issued for this exact set of identifiers in the \
             last 168h0m0s, retry after 2026-11-23 22:36:00 UTC: see \
             https://letsencrypt.org/docs/rate-limits/#new-certificates-per-exact-set-of-identifiers"
        );
        assert_eq!(problem.retry_after, Some(RetryAfter::Seconds(120_960)));
        let later = NOW + Duration::from_secs(120_960);
        assert_eq!(buckets.check(&limits, &[token()], later), Ok(()));
        buckets.spend(&limits, token(), later);
        assert!(buckets.check(&limits, &[token()], later).is_err());
        let much_later = later + Duration::from_hours(24 * 70);
        for _ in 0..5 {
            buckets.spend(&limits, token(), much_later);
        }
        assert!(buckets.check(&limits, &[token()], much_later).is_err());
    }

    #[test]
    fn farthest_time_is_told() {
        let limits = Limits {
            orders_per_account: Some(Limit::new(1, Duration::from_secs(10))),
            failures_per_name: Some(Limit::new(1, Duration::from_secs(20))),
            ..Limits::default()
        };
        let tokens = [Token::order("1"), Token::failure("1", "a.example")];
        let mut buckets = Buckets::default();
        for token in tokens.clone() {
            buckets.spend(&limits, token, NOW);
        }
        let problem = buckets.check(&limits, &tokens, NOW).expect_err("both are spent");
        assert_eq!(problem.retry_after, Some(RetryAfter::Seconds(20)));
        assert!(problem.detail.contains("for \"a.example\" in the last 20s"));
    }

    #[test]
    fn registered_domains_are_two_labels() {
        for (name, domain) in
            [("a.example", "a.example"), ("x.y.a.example", "a.example"), ("example", "example")]
        {
            assert_eq!(registered_domain(name), domain);
        }
    }
}

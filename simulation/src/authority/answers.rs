//! What a directory does when it is asked.

use rancher_lets_encrypt::core::names::NameSet;
use rancher_lets_encrypt::core::problem::AuthorityError;
use rancher_lets_encrypt::core::problem::AuthorityErrorKind;
use rancher_lets_encrypt::core::problem::LimitScope;
use rancher_lets_encrypt::core::problem::Problem;
use rancher_lets_encrypt::core::problem::Subproblem;
use rancher_lets_encrypt::core::resource::AuthorizationStatus;
use rancher_lets_encrypt::core::resource::Order;
use rancher_lets_encrypt::core::resource::OrderStatus;
use sandbox::authority::limits::Token as Spent;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::BACKDATED;
use crate::authority::Directory;
use crate::authority::Filed;
use crate::authority::Hit;
use crate::authority::MOST_NAMES;
use crate::authority::ORDER_LIFETIME;
use crate::authority::PAUSED_AFTER;
use crate::authority::PROOF_LIFETIME;
use crate::authority::RENEWAL_WINDOW;
use crate::authority::STAGING;
use crate::dice::Dice;
use crate::issuer;
use crate::issuer::Validity;

/// A certificate that was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The leaf, PEM.
    pub leaf: String,
    /// URL of its order.
    pub order: String,
    /// When that was opened.
    pub opened_at: OffsetDateTime,
    /// What for, sorted.
    pub names: Vec<String>,
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// The instance.
    pub instance: usize,
    /// The true time.
    pub now: OffsetDateTime,
}

/// What ends the key authorizations of a key.
pub(super) fn thumbprint(key: &str) -> String {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", key.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
}

pub(super) fn refused(kind: &str, detail: &str) -> AuthorityError {
    AuthorityError::refused(Problem::new(kind, detail))
}

fn limited(
    problem: &sandbox::authority::problem::Problem,
    names: &[String],
    now: OffsetDateTime,
) -> AuthorityError {
    use sandbox::authority::problem::RetryAfter as Told;
    let told = problem.retry_after.map(|told| match told {
        Told::Seconds(seconds) => Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX)),
        Told::Date(time) => time.try_into().unwrap_or(Duration::DAY),
    });
    let of_account = ["new orders", "new registrations"];
    let scope = if of_account.iter().any(|limit| problem.detail.contains(limit)) {
        LimitScope::Account
    } else {
        LimitScope::Names
    };
    let is_told = |name: &&String| problem.detail.contains(&format!("{name:?}"));
    let told_of = names.iter().filter(is_told);
    let names = told_of.filter_map(|name| Some((name.parse().ok()?, Subproblem::default())));
    let problem =
        Problem { names: names.collect(), ..Problem::new("rateLimited", problem.detail.as_str()) };
    AuthorityError {
        not_before: told.map(|time| now + time),
        ..AuthorityError::new(AuthorityErrorKind::RateLimited(scope), problem)
    }
}

pub(crate) fn set(names: &[String]) -> NameSet {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

pub(super) fn gone() -> AuthorityError {
    AuthorityError::gone("there is no such thing")
}

impl Directory {
    pub(super) fn made(&mut self, kind: &str) -> String {
        self.made += 1;
        let base = self.url.trim_end_matches("directory");
        format!("{base}{kind}/{}", self.made)
    }

    /// Its name in histories.
    pub fn name(&self) -> &'static str {
        if self.url == STAGING { "staging" } else { "production" }
    }

    pub(super) fn knows(&self, account: &str) -> Result<(), AuthorityError> {
        if self.accounts.iter().any(|(_, url)| url == account) {
            Ok(())
        } else {
            let kind = AuthorityErrorKind::AccountUnknown;
            Err(AuthorityError::new(kind, "no such account"))
        }
    }

    /// Makes an account, or finds it by its key.
    pub(super) fn register(&mut self, key: &str, asker: Asker) -> Result<String, AuthorityError> {
        if let Some((_, url)) = self.accounts.iter().find(|(known, _)| known == key) {
            return Ok(url.clone());
        }
        let address = format!("192.0.2.{}", asker.instance + 1);
        let token = Spent::account(&address);
        self.check(std::slice::from_ref(&token), &[], asker)?;
        self.buckets.spend(&self.limits, token, asker.now);
        let url = self.made("account");
        self.accounts.push((key.to_owned(), url.clone()));
        Ok(url)
    }

    /// Forgets every account, and with it who may see which order.
    pub fn lose_accounts(&mut self) {
        self.accounts.clear();
    }

    /// Whether an order can be seen by the account that opened it.
    pub fn shows(&self, order: &str) -> bool {
        let order = self.orders.get(order);
        order.is_some_and(|order| self.knows(&order.account).is_ok())
    }

    fn check(
        &mut self,
        tokens: &[Spent],
        names: &[String],
        asker: Asker,
    ) -> Result<(), AuthorityError> {
        let checked = self.buckets.check(&self.limits, tokens, asker.now);
        checked.map_err(|problem| {
            self.hit(names, &problem.detail, asker);
            limited(&problem, names, asker.now)
        })
    }

    fn hit(&mut self, names: &[String], detail: &str, asker: Asker) {
        self.hits.push(Hit {
            at: asker.now,
            instance: asker.instance,
            names: set(names),
            detail: detail.to_owned(),
        });
    }

    /// Opens an order, or hands out again the one that is open for the same names.
    pub(super) fn open(
        &mut self,
        account: &str,
        key: &str,
        names: Vec<String>,
        asker: Asker,
    ) -> Result<Order, AuthorityError> {
        self.knows(account)?;
        if names.len() > MOST_NAMES {
            return Err(refused("malformed", "too many identifiers"));
        }
        self.charge(account, &names, asker)?;
        self.forget_old(asker.now);
        let present = self.orders.values().find(|order| {
            order.account == account
                && order.names == names
                && asker.now < order.expires
                && matches!(order.status, OrderStatus::Pending | OrderStatus::Ready)
        });
        if let Some(url) = present.map(|order| order.url.clone()) {
            let order = self.order(account, &url, asker.now)?;
            if order.status != OrderStatus::Invalid {
                return Ok(order);
            }
        }
        self.opened += 1;
        let proofs = names.iter().map(|name| self.proof(account, key, name, asker.now)).collect();
        let url = self.made("order");
        let order = Filed {
            url: url.clone(),
            account: account.to_owned(),
            names,
            proofs,
            status: OrderStatus::Pending,
            opened_at: asker.now,
            issued_at: None,
            expires: asker.now + ORDER_LIFETIME,
            chain: None,
        };
        self.orders.insert(url.clone(), order);
        self.order(account, &url, asker.now)
    }

    /// Refuses what is beyond a limit; takes what a new order costs.
    fn charge(
        &mut self,
        account: &str,
        names: &[String],
        asker: Asker,
    ) -> Result<(), AuthorityError> {
        let is_paused = |name: &&String| {
            let row = (account.to_owned(), (*name).clone());
            self.failures_in_row.get(&row).is_some_and(|row| *row >= PAUSED_AFTER)
        };
        if let Some(name) = names.iter().find(is_paused) {
            let detail = format!("{name} is paused. Please visit: https://portal.test/unpause");
            self.hit(names, &detail, asker);
            let kind = AuthorityErrorKind::RateLimited(LimitScope::Paused);
            let instance = Some("https://portal.test/unpause".to_owned());
            let problem = Problem {
                instance,
                names: vec![(name.parse().map_err(|_| gone())?, Subproblem::default())],
                ..detail.into()
            };
            return Err(AuthorityError::new(kind, problem));
        }
        let order = Spent::order(account);
        let mut tokens = vec![Spent::duplicate(names)];
        tokens.extend(names.iter().map(|name| Spent::failure(account, name)));
        let is_renewal = self.is_renewal(names, asker.now);
        if !is_renewal {
            tokens.push(order.clone());
            tokens.extend(Spent::certificate(names));
        }
        self.check(&tokens, names, asker)?;
        if !is_renewal {
            self.buckets.spend(&self.limits, order, asker.now);
        }
        Ok(())
    }

    /// Whether what is there of its limits at `now` would not have been enough at an earlier time, had nothing been
    /// issued since. A few more are kept back: who opens several orders at once counts each of them.
    pub fn is_short(&self, names: &[String], before: OffsetDateTime) -> bool {
        let mut tokens = Spent::certificate(names);
        tokens.push(Spent::duplicate(names));
        let before = before - Duration::hours(10);
        self.buckets.check(&self.limits, &tokens, before).is_err()
    }

    fn is_renewal(&self, names: &[String], now: OffsetDateTime) -> bool {
        let last = self.last_issued.get(names);
        last.is_some_and(|at| *at + RENEWAL_WINDOW > now)
    }

    fn forget_old(&mut self, now: OffsetDateTime) {
        self.orders.retain(|_, order| now < order.expires + PROOF_LIFETIME);
        self.proofs.retain(|_, proof| now < proof.expires + PROOF_LIFETIME);
    }

    /// Shows an order.
    pub(super) fn order(
        &mut self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
    ) -> Result<Order, AuthorityError> {
        self.knows(account)?;
        self.end_in_vain(url, now);
        let order = self.orders.get(url).ok_or_else(gone)?;
        let status = match order.status {
            OrderStatus::Pending | OrderStatus::Ready => self.standing(order, now),
            OrderStatus::Processing if order.issued_at.is_some_and(|at| at <= now) => {
                OrderStatus::Valid
            }
            OrderStatus::Processing | OrderStatus::Valid | OrderStatus::Invalid => order.status,
        };
        self.orders.get_mut(url).ok_or_else(gone)?.status = status;
        let order = &self.orders[url];
        let is_slow = status == OrderStatus::Processing;
        Ok(Order {
            url: url.to_owned(),
            status,
            authorizations: order.proofs.clone(),
            error: self.why_invalid(url),
            certificate: (status == OrderStatus::Valid).then(|| format!("{url}/certificate")),
            expires: Some(order.expires),
            not_before: is_slow.then(|| now + Duration::seconds(3)),
        })
    }

    fn standing(&self, order: &Filed, now: OffsetDateTime) -> OrderStatus {
        let seen = |url: &String| {
            let proof = self.proofs.get(url);
            proof.map_or(AuthorizationStatus::Over, |proof| proof.seen(now))
        };
        let states: Vec<_> = order.proofs.iter().map(seen).collect();
        let is_lost = |status: &AuthorizationStatus| {
            matches!(status, AuthorizationStatus::Invalid | AuthorizationStatus::Over)
        };
        if order.expires <= now || states.iter().any(is_lost) {
            OrderStatus::Invalid
        } else if states.contains(&AuthorizationStatus::Pending) {
            OrderStatus::Pending
        } else {
            OrderStatus::Ready
        }
    }

    /// Issues the certificate of an order that is ready.
    pub(super) fn finalize(
        &mut self,
        account: &str,
        url: &str,
        request: &[u8],
        now: OffsetDateTime,
        dice: &mut Dice,
    ) -> Result<(Order, Issued), AuthorityError> {
        let order = self.order(account, url, now)?;
        if order.status != OrderStatus::Ready {
            let detail = format!("the order is {:?}", order.status);
            return Err(AuthorityError::new(AuthorityErrorKind::NotReady, detail));
        }
        let names = self.orders[url].names.clone();
        let (asked, request) =
            issuer::request(request).ok_or_else(|| refused("badCSR", "it does not parse"))?;
        if asked != names {
            return Err(refused("badCSR", "it is for other names"));
        }
        let from = now - BACKDATED;
        let validity = Validity { from, until: from + self.lifetime };
        let leaf = self.issuer.sign(&names, validity, &request.public_key);
        let slowness = dice.time(Duration::ZERO, self.slowness);
        let chain = format!("{leaf}{}", self.issuer.chain());
        if !self.is_renewal(&names, now) {
            for token in Spent::certificate(&names) {
                self.buckets.spend(&self.limits, token, now);
            }
        }
        let duplicate = Spent::duplicate(&names);
        self.buckets.spend(&self.limits, duplicate, now);
        self.last_issued.insert(names.clone(), now);
        if let Some(filed) = self.orders.get_mut(url) {
            filed.status = OrderStatus::Processing;
            filed.issued_at = Some(now + slowness);
            filed.chain = Some(chain);
            filed.expires = now + Duration::days(90);
        }
        let issued =
            Issued { leaf, order: url.to_owned(), opened_at: self.orders[url].opened_at, names };
        Ok((self.order(account, url, now)?, issued))
    }

    /// The chain of an order.
    pub(super) fn chain(
        &mut self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
    ) -> Result<String, AuthorityError> {
        let order = self.order(account, url, now)?;
        let chain = self.orders[url].chain.clone();
        chain.filter(|_| order.status == OrderStatus::Valid).ok_or_else(|| {
            let kind = AuthorityErrorKind::NotReady;
            AuthorityError::new(kind, "there is no certificate yet")
        })
    }
}

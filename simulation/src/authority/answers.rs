//! What a directory does when it is asked.

use rancher_lets_encrypt::core::names::DomainName;
use rancher_lets_encrypt::core::names::NameSet;
use rancher_lets_encrypt::core::problem::AuthorityError;
use rancher_lets_encrypt::core::problem::AuthorityErrorKind;
use rancher_lets_encrypt::core::problem::LimitScope;
use rancher_lets_encrypt::core::problem::Problem;
use rancher_lets_encrypt::core::problem::Subproblem;
use rancher_lets_encrypt::core::resource::Authorization;
use rancher_lets_encrypt::core::resource::AuthorizationStatus;
use rancher_lets_encrypt::core::resource::ChallengeStatus;
use rancher_lets_encrypt::core::resource::Http01;
use rancher_lets_encrypt::core::resource::Order;
use rancher_lets_encrypt::core::resource::OrderStatus;
use rancher_lets_encrypt::core::resource::Token;
use sandbox::authority::accounts::NewAccount;
use sandbox::authority::jws::PublicKey;
use sandbox::authority::limits::Token as Spent;
use sandbox::authority::problem::Problem as Refusal;
use sandbox::authority::problem::RetryAfter;
use sandbox::authority::records;
use sandbox::authority::records::Account;
use sandbox::authority::resource::Owned;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::Directory;
use crate::authority::Hit;
use crate::authority::MOST_NAMES;
use crate::authority::PAUSED_AFTER;
use crate::authority::STAGING;

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
    PublicKey::standing_for(key).thumbprint()
}

pub(super) fn refused(kind: &str, detail: &str) -> AuthorityError {
    AuthorityError::refused(Problem::new(kind, detail))
}

/// What a client makes of an answer that is no limit.
pub(super) fn error(refusal: &Refusal) -> AuthorityError {
    let detail = refusal.detail.as_str();
    match (refusal.status, refusal.kind) {
        (_, "accountDoesNotExist") => {
            AuthorityError::new(AuthorityErrorKind::AccountUnknown, detail)
        }
        (404, _) => AuthorityError::gone(detail),
        (409, _) => AuthorityError::new(AuthorityErrorKind::AlreadyResponded, detail),
        (_, "orderNotReady") => AuthorityError::new(AuthorityErrorKind::NotReady, detail),
        (500.., _) => AuthorityError::failed(format!("{}: {detail}", refusal.status)),
        (_, kind) => refused(kind, detail),
    }
}

fn limited(refusal: &Refusal, names: &[String], now: OffsetDateTime) -> AuthorityError {
    let wait = refusal.retry_after.map(|wait| match wait {
        RetryAfter::Seconds(seconds) => {
            Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
        }
        RetryAfter::Date(time) => time.try_into().unwrap_or(Duration::DAY),
    });
    let of_account = ["new orders", "new registrations"];
    let scope = if of_account.iter().any(|limit| refusal.detail.contains(limit)) {
        LimitScope::Account
    } else {
        LimitScope::Names
    };
    let is_told = |name: &&String| refusal.detail.contains(&format!("{name:?}"));
    let told_of = names.iter().filter(is_told);
    let names = told_of.filter_map(|name| Some((name.parse().ok()?, Subproblem::default())));
    let problem =
        Problem { names: names.collect(), ..Problem::new("rateLimited", refusal.detail.as_str()) };
    AuthorityError {
        not_before: wait.map(|time| now + time),
        ..AuthorityError::new(AuthorityErrorKind::RateLimited(scope), problem)
    }
}

pub(crate) fn set(names: &[String]) -> NameSet {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

pub(super) fn gone() -> AuthorityError {
    AuthorityError::gone("there is no such thing")
}

fn problem(refusal: &Refusal) -> Problem {
    Problem::new(refusal.kind, refusal.detail.as_str())
}

/// An order in the words of the port.
pub(super) fn shown(order: &records::Order, now: OffsetDateTime) -> Order {
    let status = match order.status {
        records::OrderStatus::Invalid => OrderStatus::Invalid,
        records::OrderStatus::Pending => OrderStatus::Pending,
        records::OrderStatus::Processing => OrderStatus::Processing,
        records::OrderStatus::Ready => OrderStatus::Ready,
        records::OrderStatus::Valid => OrderStatus::Valid,
    };
    Order {
        url: order.url.clone(),
        status,
        authorizations: order.authorizations.clone(),
        error: order.error.as_ref().map(problem),
        certificate: order.certificate.clone(),
        expires: Some(order.expires),
        not_before: (status == OrderStatus::Processing).then(|| now + Duration::seconds(3)),
    }
}

impl Directory {
    /// Its name in histories.
    pub fn name(&self) -> &'static str {
        if self.url == STAGING { "staging" } else { "production" }
    }

    /// How many accounts it knows.
    pub fn accounts(&self) -> usize {
        let is_known = |it: &&Account| it.status != records::AccountStatus::Forgotten;
        self.model.accounts().filter(is_known).count()
    }

    /// What a URL leads to, and the account that asks for it.
    pub(super) fn asked(
        &self,
        account: &str,
        url: &str,
    ) -> Result<(Account, Owned), AuthorityError> {
        let account = self.model.account_at(account).map_err(|refusal| error(&refusal))?;
        let owned = self.model.owned(url).ok_or_else(gone)?;
        let owned = owned.asked_by(account).map_err(|refusal| error(&refusal))?;
        Ok((account.clone(), owned))
    }

    /// Makes an account, or finds it by its key.
    pub(super) fn register(&mut self, key: &str, asker: Asker) -> Result<String, AuthorityError> {
        let key = PublicKey::standing_for(key);
        let peer = format!("192.0.2.{}", asker.instance + 1);
        let asked = NewAccount { terms_of_service_agreed: true, ..NewAccount::default() };
        let made = self.model.new_account(key, &asked, &peer, &self.settings, asker.now);
        made.map(|(_, account)| account.url).map_err(|refusal| self.no(&refusal, &[], asker))
    }

    /// Forgets every account, and with it who may see which order.
    pub fn lose_accounts(&mut self) {
        self.model.forget_accounts();
    }

    /// Whether an order can be seen by the account that opened it.
    pub fn shows(&self, order: &str) -> bool {
        self.filed(order).is_some_and(|order| !order.forgotten)
    }

    /// An order, whoever may see it.
    pub(super) fn filed(&self, url: &str) -> Option<&records::Order> {
        self.model.order_at(url)
    }

    /// Notes a limit that was hit, and says it as the port does.
    fn no(&mut self, refusal: &Refusal, names: &[String], asker: Asker) -> AuthorityError {
        if refusal.kind != "rateLimited" {
            return error(refusal);
        }
        self.hit(names, &refusal.detail, asker);
        limited(refusal, names, asker.now)
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
        names: Vec<String>,
        asker: Asker,
    ) -> Result<Order, AuthorityError> {
        let account = self.model.account_at(account).map_err(|refusal| error(&refusal))?.clone();
        if names.len() > MOST_NAMES {
            return Err(refused("malformed", "too many identifiers"));
        }
        self.check_paused(&account.url, &names, asker)?;
        let before = self.model.orders_opened();
        let opened = self.model.new_order(&account, names.clone(), &self.settings, asker.now);
        let order = opened.map_err(|refusal| self.no(&refusal, &names, asker))?;
        self.opened += (self.model.orders_opened() - before) as u64;
        Ok(shown(&order, asker.now))
    }

    fn check_paused(
        &mut self,
        account: &str,
        names: &[String],
        asker: Asker,
    ) -> Result<(), AuthorityError> {
        let is_paused = |name: &&String| {
            let row = (account.to_owned(), (*name).clone());
            self.failures_in_row.get(&row).is_some_and(|row| *row >= PAUSED_AFTER)
        };
        let Some(name) = names.iter().find(is_paused) else {
            return Ok(());
        };
        let detail = format!("{name} is paused. Please visit: https://portal.test/unpause");
        self.hit(names, &detail, asker);
        let kind = AuthorityErrorKind::RateLimited(LimitScope::Paused);
        let problem = Problem {
            instance: Some("https://portal.test/unpause".to_owned()),
            names: vec![(name.parse().map_err(|_| gone())?, Subproblem::default())],
            ..detail.into()
        };
        Err(AuthorityError::new(kind, problem))
    }

    /// Whether what is there of its limits at `now` would not have been enough at an earlier time, had nothing been
    /// issued since. A few more are kept back: who opens several orders at once counts each of them.
    pub fn is_short(&self, names: &[String], before: OffsetDateTime) -> bool {
        let mut tokens = Spent::certificate(names);
        tokens.push(Spent::duplicate(names));
        let before = before - Duration::hours(10);
        self.model.check_limits(&self.settings.limits, &tokens, before).is_err()
    }

    /// Shows an order.
    pub(super) fn order(
        &self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
    ) -> Result<Order, AuthorityError> {
        let (_, owned) = self.asked(account, url)?;
        let order = self.model.order(owned, now).map_err(|refusal| error(&refusal))?;
        Ok(shown(order, now))
    }

    /// Shows an authorization.
    pub(super) fn authorization(
        &self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
    ) -> Result<Authorization, AuthorityError> {
        let (account, owned) = self.asked(account, url)?;
        let found = self.model.authorization(owned, now).map_err(|refusal| error(&refusal))?;
        let (status, of_challenge) = match found.status {
            records::AuthorizationStatus::Pending => {
                (AuthorizationStatus::Pending, ChallengeStatus::Pending)
            }
            records::AuthorizationStatus::Valid => {
                (AuthorizationStatus::Valid, ChallengeStatus::Valid)
            }
            records::AuthorizationStatus::Invalid => {
                (AuthorizationStatus::Invalid, ChallengeStatus::Invalid)
            }
            records::AuthorizationStatus::Deactivated => {
                (AuthorizationStatus::Over, ChallengeStatus::Invalid)
            }
        };
        let name: DomainName = found.name.parse().map_err(|_| gone())?;
        let last = found.decided.as_ref().or(found.tried.as_ref());
        Ok(Authorization {
            url: url.to_owned(),
            name,
            status,
            challenge: Some(Http01 { status: of_challenge, ..challenge(&account, found)? }),
            error: last.and_then(|last| last.error.as_ref()).map(problem),
            not_before: None,
        })
    }

    /// Gives an authorization up.
    pub(super) fn deactivate(
        &mut self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
    ) -> Result<(), AuthorityError> {
        let (_, owned) = self.asked(account, url)?;
        let given_up = self.model.deactivate_authorization(owned, &self.settings, now);
        given_up.map(|_| ()).map_err(|refusal| error(&refusal))
    }
}

/// What is to be found under the name of an authorization.
pub(super) fn challenge(
    account: &Account,
    authorization: &records::Authorization,
) -> Result<Http01, AuthorityError> {
    let token = Token::try_from(authorization.token.clone()).map_err(|_| gone())?;
    Ok(Http01 {
        key_authorization: format!("{}.{}", authorization.token, account.thumbprint),
        token,
        status: ChallengeStatus::Pending,
    })
}

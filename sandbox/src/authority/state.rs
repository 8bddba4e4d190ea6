//! All that the authority knows. What changes it stands with the requests that do.
//!
//! Time is an argument of whatever depends on it, chance one of the state, and nothing here waits or reads a socket: a
//! simulation lives with the same state as a server.

use std::collections::BTreeMap;

use time::Duration;
use time::OffsetDateTime;

use super::chance::Chance;
use super::limits::Buckets;
use super::limits::Limits;
use super::limits::Token;
use super::problem::Problem;
use super::records::Account;
use super::records::AccountStatus;
use super::records::Authorization;
use super::records::AuthorizationStatus;
use super::records::Issued;
use super::records::Order;
use super::records::Validation;
use super::resource::Owned;
use super::resource::Resource;

/// All that the authority knows.
#[derive(Debug)]
pub struct State {
    pub(super) base: String,
    pub(super) chance: Chance,
    pub(super) last_id: u64,
    pub(super) accounts: BTreeMap<u64, Account>,
    pub(super) account_of_key: BTreeMap<String, u64>,
    pub(super) orders: BTreeMap<u64, Order>,
    pub(super) authorizations: BTreeMap<u64, Authorization>,
    /// The newest order of an account for a set of names.
    pub(super) newest_orders: BTreeMap<(u64, Vec<String>), u64>,
    /// The newest valid authorization of an account for a name.
    pub(super) proofs: BTreeMap<(u64, String), u64>,
    pub(super) issued: Vec<Issued>,
    /// Where in `issued` a serial is; without those that were forgotten.
    pub(super) certificates: BTreeMap<String, usize>,
    /// When a set of names was last issued.
    pub(super) last_issued: BTreeMap<Vec<String>, OffsetDateTime>,
    pub(super) validations: Vec<Validation>,
    /// What orders were finalized with that stick.
    pub(super) stuck: BTreeMap<u64, Vec<u8>>,
    pub(super) cut_finalizes: usize,
    pub(super) buckets: Buckets,
}

impl State {
    /// Nothing yet. URLs begin with `base`, and numbers in them go on after `last_id`.
    pub fn new(base: String, last_id: u64, chance: Chance) -> Self {
        Self {
            base,
            chance,
            last_id,
            accounts: BTreeMap::new(),
            account_of_key: BTreeMap::new(),
            orders: BTreeMap::new(),
            authorizations: BTreeMap::new(),
            newest_orders: BTreeMap::new(),
            proofs: BTreeMap::new(),
            issued: Vec::new(),
            certificates: BTreeMap::new(),
            last_issued: BTreeMap::new(),
            validations: Vec::new(),
            stuck: BTreeMap::new(),
            cut_finalizes: 0,
            buckets: Buckets::default(),
        }
    }

    /// All accounts, oldest first.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// All orders, oldest first, also those that the authority says it does not know.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// How many orders were opened; one that is handed out again counts once.
    pub fn orders_opened(&self) -> usize {
        self.orders.len()
    }

    /// The order with this URL, whoever may see it.
    pub fn order_at(&self, url: &str) -> Option<&Order> {
        let Resource::Order(owned) = self.resource(url) else {
            return None;
        };
        self.orders.get(&owned.id)
    }

    /// The authorization of an account, whoever may see it.
    pub fn authorization_of(&self, owned: Owned) -> Option<&Authorization> {
        self.authorizations.get(&owned.id)
    }

    /// The names that an order or an authorization is about, by its URL.
    pub fn names_at(&self, url: &str) -> Option<&[String]> {
        let resource = self.resource(url);
        if let Resource::Authorization(owned) = resource {
            let authorization = self.authorizations.get(&owned.id)?;
            return Some(std::slice::from_ref(&authorization.name));
        }
        Some(&self.order_at(url)?.names)
    }

    /// The newest of the numbers in URLs.
    pub fn last_number(&self) -> u64 {
        self.last_id
    }

    /// Refuses as limits would that were spent so far.
    pub fn check_limits(
        &self,
        limits: &Limits,
        tokens: &[Token],
        now: OffsetDateTime,
    ) -> Result<(), Problem> {
        self.buckets.check(limits, tokens, now)
    }

    /// All authorizations, oldest first, also those that the authority says it does not know.
    pub fn authorizations(&self) -> impl Iterator<Item = &Authorization> {
        self.authorizations.values()
    }

    /// All certificates, oldest first. One is here as soon as it is signed, when its order still is processing.
    pub fn issued(&self) -> &[Issued] {
        &self.issued
    }

    /// All validations that ended, oldest first.
    pub fn validations(&self) -> &[Validation] {
        &self.validations
    }

    /// How many certificates were issued for exactly these names.
    pub fn issued_for(&self, names: &[&str]) -> usize {
        let mut wanted: Vec<&str> = names.to_vec();
        wanted.sort_unstable();
        let issued = self.issued.iter();
        issued.filter(|issued| issued.names == wanted).count()
    }

    /// How many clients went away before they were answered, of those that finalized where an order is forgotten
    /// then ([`ForgetWhenCut`](super::settings::finalizing::Finalizing::ForgetWhenCut)).
    pub fn cut_finalizes(&self) -> usize {
        self.cut_finalizes
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The account with this URL, if it may ask for anything.
    pub fn account_at(&self, url: &str) -> Result<&Account, Problem> {
        let resource = self.resource(url);
        let account = if let Resource::Account(id) = resource { self.account(id) } else { None };
        let Some(account) = account else {
            return Err(Problem::new(
                400,
                "accountDoesNotExist",
                format!("Account {url:?} not found"),
            ));
        };
        if account.status != AccountStatus::Valid {
            return Err(Problem::unauthorized("Account is not valid, has status \"deactivated\""));
        }
        Ok(account)
    }

    /// What of an account has this URL.
    pub fn owned(&self, url: &str) -> Option<Owned> {
        let resource = self.resource(url);
        if let Resource::Authorization(owned) | Resource::Order(owned) = resource {
            Some(owned)
        } else {
            None
        }
    }

    pub(super) fn resource(&self, url: &str) -> Resource {
        url.strip_prefix(self.base.as_str()).map_or(Resource::Unknown, Resource::parse)
    }

    /// The account, unless it is forgotten.
    pub(super) fn account(&self, id: u64) -> Option<&Account> {
        self.accounts.get(&id).filter(|account| account.status != AccountStatus::Forgotten)
    }

    /// The order as its account may see it.
    pub fn order(&self, owned: Owned, now: OffsetDateTime) -> Result<&Order, Problem> {
        let Owned { account, id } = owned;
        let order = self.orders.get(&id).filter(|order| !order.forgotten);
        match order {
            None => Err(Problem::not_found(format!("No order for ID {id}"))),
            Some(order) if order.owned != owned => {
                Err(Problem::not_found(format!("No order found for account ID {account}")))
            }
            Some(order) if order.expires <= now => {
                Err(Problem::not_found(format!("Order {id} is expired")))
            }
            Some(order) => Ok(order),
        }
    }

    /// The authorization as its account may see it.
    pub fn authorization(
        &self,
        owned: Owned,
        now: OffsetDateTime,
    ) -> Result<&Authorization, Problem> {
        let authorization = self
            .authorizations
            .get(&owned.id)
            .filter(|authorization| !authorization.forgotten && authorization.owned == owned);
        match authorization {
            None => Err(Problem::not_found("No such authorization")),
            Some(authorization) if authorization.expires <= now => {
                Err(Problem::not_found("Expired authorization"))
            }
            Some(authorization) => Ok(authorization),
        }
    }

    /// Forgets accounts and all that belongs to them, as an authority that lost its database.
    pub fn forget_accounts(&mut self) {
        for account in self.accounts.values_mut() {
            account.status = AccountStatus::Forgotten;
        }
        for order in self.orders.values_mut() {
            order.forgotten = true;
        }
        for authorization in self.authorizations.values_mut() {
            authorization.forgotten = true;
        }
        self.certificates.clear();
    }

    pub(super) fn deactivate_account(&mut self, url: &str) {
        for account in self.accounts.values_mut() {
            if account.url == url && account.status == AccountStatus::Valid {
                account.status = AccountStatus::Deactivated;
            }
        }
    }

    pub(super) fn forget_order(&mut self, url: &str) {
        for order in self.orders.values_mut().filter(|order| order.url == url) {
            order.forgotten = true;
        }
    }

    /// Lets the order end its time, and with it those of its authorizations that are still pending.
    pub(super) fn expire_order(&mut self, url: &str, now: OffsetDateTime) {
        let past = now - Duration::SECOND;
        for order in self.orders.values_mut().filter(|order| order.url == url) {
            order.expires = past;
            for part in &order.parts {
                if let Some(authorization) = self.authorizations.get_mut(part)
                    && authorization.status == AuthorizationStatus::Pending
                {
                    authorization.expires = past;
                }
            }
        }
    }
}

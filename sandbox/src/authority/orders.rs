//! Orders ([RFC 8555, 7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4)).

use std::time::Duration;

use http::StatusCode;
use http::header;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::clock;
use super::limits::Token;
use super::names;
use super::problem::Problem;
use super::records::Account;
use super::records::Authorization;
use super::records::AuthorizationStatus;
use super::records::Order;
use super::records::OrderStatus;
use super::reply::Reply;
use super::resource::Owned;
use super::resource::Resource;
use super::settings::AuthoritySettings;
use super::settings::quirk::Quirk;
use super::settings::shapes::OrderShape;
use super::shared::Shared;
use super::shared::post_as_get;
use super::shared::read;
use super::state::State;
use crate::serve::Asked;

/// How long an order and its pending authorizations live.
const LIFETIME: Duration = Duration::from_hours(7 * 24);
/// How long a valid authorization must still live to be used again: an order ends with the first of its authorizations.
const LAST_REUSE: Duration = Duration::from_hours(24);
/// How far back an issuance of the same names makes a new order a renewal.
const RENEWAL_WINDOW: Duration = Duration::from_hours(120 * 24);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    identifiers: Vec<Identifier>,
    not_before: Option<String>,
    not_after: Option<String>,
}

#[derive(Deserialize)]
struct Identifier {
    r#type: String,
    value: String,
}

impl NewOrder {
    /// The names in lower case, sorted, each once.
    fn names(&self) -> Result<Vec<String>, Problem> {
        if self.identifiers.is_empty() {
            return Err(Problem::malformed("NewOrder request did not specify any identifiers"));
        }
        if self.not_before.is_some() || self.not_after.is_some() {
            return Err(Problem::malformed("NotBefore and NotAfter are not supported"));
        }
        if let Some(other) = self.identifiers.iter().find(|each| each.r#type != "dns") {
            return Err(Problem::new(
                400,
                "unsupportedIdentifier",
                format!(
                    "NewOrder request included unsupported identifier: type {:?}",
                    other.r#type
                ),
            ));
        }
        let mut names: Vec<String> = self
            .identifiers
            .iter()
            .map(|identifier| identifier.value.to_ascii_lowercase())
            .collect();
        names.sort();
        names.dedup();
        if names.len() > 100 {
            return Err(Problem::malformed("Order cannot contain more than 100 identifiers"));
        }
        Ok(names)
    }
}

/// The names that a payload orders, for faults and tests.
pub(super) fn ordered_names(payload: &[u8]) -> Option<Vec<String>> {
    let order: NewOrder = serde_json::from_slice(payload).ok()?;
    order.names().ok()
}

impl State {
    /// Limits and reuse as Boulder has them: an order that is returned again costs as a new one does.
    pub fn new_order(
        &mut self,
        account: &Account,
        names: Vec<String>,
        settings: &AuthoritySettings,
        now: OffsetDateTime,
    ) -> Result<Order, Problem> {
        names::check(&names, settings)
            .map_err(|problem| problem.while_doing("Invalid identifiers requested"))?;
        self.check_paused(&names, settings)?;
        self.charge(account, &names, settings, now)?;
        let key = (account.id, names);
        if settings.reuse_orders
            && let Some(order) = self.newest_orders.get(&key).and_then(|id| self.orders.get(id))
            && matches!(order.status, OrderStatus::Pending | OrderStatus::Ready)
            && !order.forgotten
            && order.expires > now
        {
            return Ok(order.clone());
        }
        let (_, names) = key;
        Ok(self.open_order(account, names, settings, now))
    }

    fn check_paused(
        &mut self,
        names: &[String],
        settings: &AuthoritySettings,
    ) -> Result<(), Problem> {
        let paused: Vec<&str> = names
            .iter()
            .filter(|name| settings.paused.contains(*name))
            .map(String::as_str)
            .collect();
        if paused.is_empty() {
            return Ok(());
        }
        Err(Problem::new(
            429,
            "rateLimited",
            format!(
                "Your account is temporarily prevented from requesting certificates for {} and \
                 possibly others. Please visit: https://portal.sandbox.example/sfe/v1/unpause?jwt={}",
                paused.join(", "),
                self.chance.token()
            ),
        ))
    }

    fn charge(
        &mut self,
        account: &Account,
        names: &[String],
        settings: &AuthoritySettings,
        now: OffsetDateTime,
    ) -> Result<(), Problem> {
        let order = Token::order(&account.url);
        let mut tokens = vec![Token::duplicate(names)];
        tokens.extend(names.iter().map(|name| Token::failure(&account.url, name)));
        let is_renewal = self.is_renewal(names, now);
        if !is_renewal {
            tokens.push(order.clone());
            tokens.extend(Token::certificate(names));
        }
        self.buckets.check(&settings.limits, &tokens, now)?;
        if !is_renewal {
            self.buckets.spend(&settings.limits, order, now);
        }
        Ok(())
    }

    /// Whether these names were issued lately, by any account.
    pub(super) fn is_renewal(&self, names: &[String], now: OffsetDateTime) -> bool {
        let last = self.last_issued.get(names);
        last.is_some_and(|at| *at + RENEWAL_WINDOW > now)
    }

    fn open_order(
        &mut self,
        account: &Account,
        names: Vec<String>,
        settings: &AuthoritySettings,
        now: OffsetDateTime,
    ) -> Order {
        let id = self.next_id();
        let parts: Vec<u64> = names
            .iter()
            .map(|name| {
                let proof = self.proof(account, name, now);
                match proof.filter(|_| settings.reuse_authorizations) {
                    Some(proof) => proof,
                    None => self.open_authorization(account, name, now),
                }
            })
            .collect();
        let mut authorizations = Vec::new();
        let mut expires = now + LIFETIME;
        for part in &parts {
            if let Some(authorization) = self.authorizations.get_mut(part) {
                authorization.orders.push(id);
                authorizations.push(authorization.url.clone());
                expires = expires.min(authorization.expires);
            }
        }
        let owned = Owned { account: account.id, id };
        let order = Order {
            url: Resource::Order(owned).url(&self.base),
            account: account.url.clone(),
            names: names.clone(),
            status: OrderStatus::Pending,
            opened: now,
            expires,
            authorizations,
            certificate: None,
            error: None,
            forgotten: false,
            owned,
            parts,
        };
        self.orders.insert(id, order);
        self.newest_orders.insert((account.id, names), id);
        self.settle(id);
        self.orders[&id].clone()
    }

    /// A valid authorization that the account has for the name.
    fn proof(&self, account: &Account, name: &str, now: OffsetDateTime) -> Option<u64> {
        let id = *self.proofs.get(&(account.id, name.to_owned()))?;
        let authorization = self.authorizations.get(&id)?;
        let is_good = authorization.status == AuthorizationStatus::Valid
            && authorization.expires > now + LAST_REUSE
            && !authorization.forgotten;
        is_good.then_some(id)
    }

    fn open_authorization(&mut self, account: &Account, name: &str, now: OffsetDateTime) -> u64 {
        let id = self.next_id();
        let owned = Owned { account: account.id, id };
        let authorization = Authorization {
            url: Resource::Authorization(owned).url(&self.base),
            account: account.url.clone(),
            name: name.to_owned(),
            status: AuthorizationStatus::Pending,
            expires: now + LIFETIME,
            token: self.chance.token(),
            validating: 0,
            processing: None,
            tried: None,
            decided: None,
            forgotten: false,
            owned,
            orders: Vec::new(),
        };
        self.authorizations.insert(id, authorization);
        id
    }

    /// Moves an order on that waits for its authorizations, when they let it.
    pub(super) fn settle(&mut self, id: u64) {
        let Some(order) = self.orders.get_mut(&id) else {
            return;
        };
        let parts: Vec<AuthorizationStatus> = order
            .parts
            .iter()
            .filter_map(|part| Some(self.authorizations.get(part)?.status))
            .collect();
        let is_lost = |status: &AuthorizationStatus| match status {
            AuthorizationStatus::Deactivated | AuthorizationStatus::Invalid => true,
            AuthorizationStatus::Pending | AuthorizationStatus::Valid => false,
        };
        order.status = match order.status {
            OrderStatus::Pending | OrderStatus::Ready => {
                if parts.iter().any(is_lost) {
                    OrderStatus::Invalid
                } else if parts.contains(&AuthorizationStatus::Pending) {
                    OrderStatus::Pending
                } else {
                    OrderStatus::Ready
                }
            }
            settled @ (OrderStatus::Invalid | OrderStatus::Processing | OrderStatus::Valid) => {
                settled
            }
        };
    }
}

impl Shared {
    pub(super) fn new_order(&self, request: &Asked) -> Result<Reply, Problem> {
        let (account, payload) = self.by_account(request)?;
        let asked: NewOrder = read(&payload)?;
        let names = asked.names()?;
        let (settings, now) = (self.settings(), clock::now());
        let order = self.change(|state| state.new_order(&account, names, &settings, now))?;
        Ok(Reply::json(StatusCode::CREATED, &self.shown(&order))
            .header(header::LOCATION, &order.url))
    }

    pub(super) fn order(&self, request: &Asked, owned: Owned) -> Result<Reply, Problem> {
        let (account, payload) = self.by_account(request)?;
        post_as_get(&payload)?;
        let order = self.state.borrow().order(owned.asked_by(&account)?, clock::now())?.clone();
        Ok(self.order_reply(&order))
    }

    pub(super) fn order_reply(&self, order: &Order) -> Reply {
        let settings = self.settings();
        let wait = match order.status {
            OrderStatus::Pending => settings.retry_after_pending,
            OrderStatus::Processing => settings.retry_after_processing,
            OrderStatus::Invalid | OrderStatus::Ready | OrderStatus::Valid => None,
        };
        Reply::json(StatusCode::OK, &self.shown(order))
            .header_if(header::RETRY_AFTER, wait.map(|wait| wait.header(clock::now())))
    }

    /// The order object, without what the settings leave out.
    fn shown(&self, order: &Order) -> Value {
        let is_valid = order.status == OrderStatus::Valid;
        let fits = |shape: &OrderShape| is_valid || *shape == OrderShape::WithoutStatus;
        let shape = Quirk::first(&self.settings().shapes, &order.names, fits);
        let mut document = order.to_json(&self.base);
        if let (Some(shape), Some(fields)) = (shape, document.as_object_mut()) {
            fields.retain(|field, _| match shape {
                OrderShape::OnlyCertificate => matches!(field.as_str(), "status" | "certificate"),
                OrderShape::WithoutFinalize => field != "finalize",
                OrderShape::WithoutStatus => field != "status",
            });
        }
        document
    }
}

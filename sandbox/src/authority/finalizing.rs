//! Finalizing ([RFC 8555, 7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4)), also where it goes wrong.

use std::sync::Arc;

use http::header;
use time::OffsetDateTime;

use super::clock;
use super::issuing::SigningRequest;
use super::problem::Problem;
use super::records::Order;
use super::records::OrderStatus;
use super::reply::Reply;
use super::resource::Owned;
use super::settings::finalizing::Finalizing;
use super::settings::quirk::Quirk;
use super::shared::Shared;
use super::state::State;
use crate::faults::Gate;
use crate::serve::Asked;

impl State {
    /// Claims a ready order, so that it cannot be finalized twice.
    fn begin_issuing(&mut self, owned: Owned, now: OffsetDateTime) -> Result<Order, Problem> {
        self.ready_order(owned, now)?;
        Ok(self.turn(owned.id, |order| order.status = OrderStatus::Processing))
    }

    fn ready_order(&self, owned: Owned, now: OffsetDateTime) -> Result<&Order, Problem> {
        let order = self.order(owned, now)?;
        if order.status == OrderStatus::Ready {
            return Ok(order);
        }
        Err(Problem::new(
            403,
            "orderNotReady",
            format!(
                "Order's status ({:?}) is not acceptable for finalization",
                order.status.name()
            ),
        ))
    }

    fn end_issuing(&mut self, id: u64, url: String) -> Order {
        self.turn(id, |order| {
            order.status = OrderStatus::Valid;
            order.certificate = Some(url);
        })
    }

    fn fail(&mut self, id: u64, error: Problem) {
        self.turn(id, |order| {
            order.status = OrderStatus::Invalid;
            order.error = Some(error);
        });
    }

    fn turn(&mut self, id: u64, change: impl FnOnce(&mut Order)) -> Order {
        let order = self.orders.get_mut(&id).expect("orders are never taken out");
        change(order);
        order.clone()
    }

    /// The order with this URL that sticks, and what it was finalized with.
    fn unstick(&mut self, url: &str) -> Option<(Order, SigningRequest)> {
        let order = self.orders.values().find(|order| order.url == url)?.clone();
        let payload = self.stuck.remove(&order.owned.id)?;
        let account = self.accounts.get(&order.owned.account)?;
        let request = SigningRequest::parse(&payload, account).ok()?;
        Some((order, request))
    }
}

impl Shared {
    pub(super) async fn finalize(
        self: &Arc<Self>,
        request: &Asked,
        owned: Owned,
    ) -> Result<Reply, Problem> {
        let (account, payload) = self.by_account(request)?;
        let (owned, now) = (owned.asked_by(&account)?, clock::now());
        let ready = self.state.borrow().ready_order(owned, now)?.clone();
        let signing_request = SigningRequest::parse(&payload, &account)?;
        if signing_request.names != ready.names {
            return Err(Problem::unauthorized("CSR does not specify same identifiers as Order")
                .while_doing("Error finalizing order"));
        }
        let settings = self.settings();
        let order = match Quirk::first(&settings.finalizing, &ready.names, |_| true) {
            None => self.issue(owned, &signing_request, now)?,
            Some(Finalizing::Refuse(problem)) => return Err(problem),
            Some(Finalizing::Fail(problem)) => {
                self.change(|state| {
                    state.begin_issuing(owned, now)?;
                    state.fail(owned.id, problem.clone());
                    Ok(())
                })?;
                return Err(problem);
            }
            Some(Finalizing::IssueThenRefuse(problem)) => {
                self.issue(owned, &signing_request, now)?;
                return Err(problem);
            }
            Some(Finalizing::Stick) => self.change(|state| {
                let order = state.begin_issuing(owned, now)?;
                state.stuck.insert(owned.id, payload);
                Ok(order)
            })?,
            Some(Finalizing::ForgetWhenCut(gate)) => {
                let url = self.keep(&ready, &signing_request, now);
                self.unless_cut(&gate).await;
                self.change(|state| state.end_issuing(owned.id, url))
            }
        };
        Ok(self.order_reply(&order).header(header::LOCATION, &order.url))
    }

    /// Issues, and lets the order be processing for as long as the settings want.
    fn issue(
        self: &Arc<Self>,
        owned: Owned,
        request: &SigningRequest,
        now: OffsetDateTime,
    ) -> Result<Order, Problem> {
        let order = self.change(|state| state.begin_issuing(owned, now))?;
        let url = self.keep(&order, request, now);
        let wait = self.settings().processing;
        if wait.is_zero() {
            return Ok(self.change(|state| state.end_issuing(owned.id, url)));
        }
        let shared = Arc::clone(self);
        self.spawn(async move {
            tokio::time::sleep(wait).await;
            shared.change(|state| state.end_issuing(owned.id, url));
        });
        Ok(order)
    }

    fn keep(&self, order: &Order, request: &SigningRequest, now: OffsetDateTime) -> String {
        let rules = self.rules();
        let signed = rules.sign(order, request, now);
        self.change(|state| state.keep(order, signed, &rules.settings, now))
    }

    /// Waits for the gate. When the client goes away meanwhile, this ends without coming back, and it is counted.
    async fn unless_cut(self: &Arc<Self>, gate: &Gate) {
        let cut = Cut(Some(Arc::clone(self)));
        gate.pass().await;
        cut.did_not_happen();
    }

    pub(super) fn go_on(&self, url: &str) -> bool {
        let Some((order, request)) = self.change(|state| state.unstick(url)) else {
            return false;
        };
        let url = self.keep(&order, &request, clock::now());
        self.change(|state| state.end_issuing(order.owned.id, url));
        true
    }

    pub(super) fn give_up(&self, url: &str, error: Problem) -> bool {
        self.change(|state| {
            let stuck = state.unstick(url);
            let is_stuck = stuck.is_some();
            if let Some((order, _)) = stuck {
                state.fail(order.owned.id, error);
            }
            is_stuck
        })
    }
}

/// Counts a finalize whose client went away, unless it is told better.
struct Cut(Option<Arc<Shared>>);

impl Cut {
    fn did_not_happen(mut self) {
        self.0 = None;
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.change(|state| state.cut_finalizes += 1);
        }
    }
}

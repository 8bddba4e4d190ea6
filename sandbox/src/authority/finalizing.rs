//! Finalizing ([RFC 8555, 7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4)), also where it goes wrong.

use std::sync::Arc;

use http::header;
use serde::Deserialize;
use time::OffsetDateTime;

use super::clock;
use super::issuing::Rules;
use super::issuing::SigningRequest;
use super::issuing::bad_request;
use super::jws::decoded;
use super::problem::Problem;
use super::records::Account;
use super::records::Order;
use super::records::OrderStatus;
use super::reply::Reply;
use super::resource::Owned;
use super::settings::finalizing::Finalizing;
use super::settings::quirk::Quirk;
use super::shared::Shared;
use super::shared::read;
use super::state::State;
use crate::faults::Gate;
use crate::serve::Asked;

#[derive(Deserialize)]
struct Finalize {
    csr: String,
}

/// What a finalize came to that was not refused at the door.
#[derive(Debug)]
pub struct Finalized {
    /// The order as it is now. It is for whoever finalizes to say when it [ends](State::end_issuing).
    pub order: Order,
    /// The URL of the certificate, if one was issued.
    pub certificate: Option<String>,
    /// What the client is told in place of the order.
    pub refusal: Option<Problem>,
    /// What the answer waits for; if the client goes away before, the order stays as it is.
    pub gate: Option<Gate>,
}

impl State {
    /// Finalizes with a signing request, as DER, the way that the settings want it.
    pub fn finalize(
        &mut self,
        account: &Account,
        owned: Owned,
        der: Vec<u8>,
        rules: &Rules,
        now: OffsetDateTime,
    ) -> Result<Finalized, Problem> {
        let ready = self.ready_order(owned, now)?.clone();
        let request = SigningRequest::parse(&der, account)?;
        if request.names != ready.names {
            return Err(Problem::unauthorized("CSR does not specify same identifiers as Order")
                .while_doing("Error finalizing order"));
        }
        let way = Quirk::first(&rules.settings.finalizing, &ready.names, |_| true);
        let (certificate, refusal, gate) = match way {
            None => (Some(self.issue(&ready, &request, rules, now)), None, None),
            Some(Finalizing::Refuse(problem)) => return Err(problem),
            Some(Finalizing::Fail(problem)) => {
                self.fail(owned.id, problem.clone());
                return Err(problem);
            }
            Some(Finalizing::IssueThenRefuse(problem)) => {
                (Some(self.issue(&ready, &request, rules, now)), Some(problem), None)
            }
            Some(Finalizing::Stick) => {
                self.stuck.insert(owned.id, der);
                (None, None, None)
            }
            Some(Finalizing::ForgetWhenCut(gate)) => {
                (Some(self.issue(&ready, &request, rules, now)), None, Some(gate))
            }
        };
        let is_issued = certificate.is_some();
        // One that is to be forgotten stays ready until the client has its answer.
        let order = match &gate {
            Some(_) => ready,
            None => self.turn(owned.id, |order| {
                order.status = OrderStatus::Processing;
                if let (Some(life), true) = (rules.settings.finalized_lifetime, is_issued) {
                    order.expires = now + life;
                }
            }),
        };
        Ok(Finalized { order, certificate, refusal, gate })
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

    /// Ends an order that was finalized, with the URL of its certificate.
    pub fn end_issuing(&mut self, owned: Owned, url: String) -> Order {
        self.turn(owned.id, |order| {
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

    /// Issues what an order was finalized for, if it sticks; whether it does.
    pub fn go_on(&mut self, url: &str, rules: &Rules, now: OffsetDateTime) -> bool {
        let Some((order, request)) = self.unstick(url) else {
            return false;
        };
        let certificate = self.issue(&order, &request, rules, now);
        self.end_issuing(order.owned, certificate);
        true
    }

    /// Makes an order invalid for this reason, if it sticks; whether it does.
    pub fn give_up(&mut self, url: &str, error: Problem) -> bool {
        let stuck = self.unstick(url);
        let is_stuck = stuck.is_some();
        if let Some((order, _)) = stuck {
            self.fail(order.owned.id, error);
        }
        is_stuck
    }

    /// The order with this URL that sticks, and what it was finalized with.
    fn unstick(&mut self, url: &str) -> Option<(Order, SigningRequest)> {
        let order = self.orders.get(&self.owned(url)?.id)?.clone();
        let der = self.stuck.remove(&order.owned.id)?;
        let account = self.accounts.get(&order.owned.account)?;
        let request = SigningRequest::parse(&der, account).ok()?;
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
        let asked: Finalize = read(&payload)?;
        let der = decoded(&asked.csr).ok_or_else(|| bad_request("it is not base64url"))?;
        let rules = self.rules();
        let finalized = self.change(|state| state.finalize(&account, owned, der, &rules, now))?;
        let mut order = finalized.order;
        if let Some(url) = finalized.certificate {
            let wait = rules.settings.processing;
            if let Some(gate) = &finalized.gate {
                self.unless_cut(gate).await;
                order = self.change(|state| state.end_issuing(owned, url));
            } else if wait.is_zero() {
                order = self.change(|state| state.end_issuing(owned, url));
            } else {
                let shared = Arc::clone(self);
                self.spawn(async move {
                    tokio::time::sleep(wait).await;
                    shared.change(|state| state.end_issuing(owned, url));
                });
            }
        }
        match finalized.refusal {
            Some(problem) => Err(problem),
            None => Ok(self.order_reply(&order).header(header::LOCATION, &order.url)),
        }
    }

    /// Waits for the gate. When the client goes away meanwhile, this ends without coming back, and it is counted.
    async fn unless_cut(self: &Arc<Self>, gate: &Gate) {
        let cut = Cut(Some(Arc::clone(self)));
        gate.pass().await;
        cut.did_not_happen();
    }

    pub(super) fn go_on(&self, url: &str) -> bool {
        let rules = self.rules();
        self.change(|state| state.go_on(url, &rules, clock::now()))
    }

    pub(super) fn give_up(&self, url: &str, error: Problem) -> bool {
        self.change(|state| state.give_up(url, error))
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

//! Asking for the certificate of an order that is ready.

use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::KeyPair;
use time::OffsetDateTime;
use tracing::debug;

use crate::engine::Setback;
use crate::issue::Attempt;
use crate::issue::gate;
use crate::issue::gate::floor_holds;
use crate::issue::stop::Stop;
use crate::ports::Account;
use crate::ports::Authority;
use crate::ports::AuthorityErrorKind;
use crate::ports::Order;
use crate::ports::OrderStatus;
use crate::ports::Problem;
use crate::ports::World;
use crate::store::record::PendingOrder;

impl<W: World> Attempt<'_, W> {
    /// The floor is on record before the request leaves, so that no crash can ask twice.
    pub(super) async fn finalize(
        &self,
        account: &Account,
        order: &mut PendingOrder,
        url: &str,
    ) -> Result<Order, Stop> {
        let request = signing_request(order)?;
        let now = self.engine.now();
        let is_again = order.finalized_at.is_some();
        let asked_before = order
            .finalized_at
            .or_else(|| self.has_another_key().then_some(now));
        let names = order.names.set();
        let asked = gate::asked_before(order, account, &names);
        if asked_before.is_none() {
            let floor = self.engine.ledger().floor(&order.directory, &names, now);
            if let Some(opens) = floor {
                return self.rest_for_floor(order, opens).await;
            }
        }
        order.finalized_at = asked_before.or(Some(now));
        self.save(order).await?;
        let floor = self.engine.note_finalizing(&asked, asked_before).await?;
        if let Some(opens) = floor {
            order.finalized_at = None;
            return self.rest_for_floor(order, opens).await;
        }
        self.reservation.give_back();
        debug!(lineage = self.lineage, "finalize noted");
        let finalized = self
            .ask_once(&account.directory, || {
                self.authority().finalize(account, url, &request)
            })
            .await;
        let error = match finalized {
            Ok(state) => {
                debug!(lineage = self.lineage, status = ?state.status, "order finalized");
                return Ok(state);
            }
            // Nothing is asked before the time that it says.
            Err(Stop::Authority(error)) if error.not_before.is_some() => return Err(error.into()),
            Err(Stop::Authority(error)) => match error.kind {
                // It may have been done all the same.
                AuthorityErrorKind::Unavailable
                | AuthorityErrorKind::Failed
                | AuthorityErrorKind::NotReady => error,
                // It may be refused because it was done the time before.
                AuthorityErrorKind::Refused if is_again => error,
                AuthorityErrorKind::Refused => {
                    return self.end_refused(account, order, error.problem).await;
                }
                AuthorityErrorKind::BadNonce
                | AuthorityErrorKind::RateLimited(_)
                | AuthorityErrorKind::AccountUnknown
                | AuthorityErrorKind::Gone
                | AuthorityErrorKind::AlreadyTold => return Err(error.into()),
            },
            Err(stop) => return Err(stop),
        };
        let state = self
            .ask(&account.directory, || self.authority().look(account, url))
            .await?;
        match (state.status, error.kind) {
            (OrderStatus::Ready, AuthorityErrorKind::Unavailable | AuthorityErrorKind::Failed) => {
                self.ask(&account.directory, || {
                    self.authority().finalize(account, url, &request)
                })
                .await
            }
            (OrderStatus::Ready | OrderStatus::Pending, AuthorityErrorKind::Refused) => {
                self.end_refused(account, order, error.problem).await
            }
            (OrderStatus::Ready | OrderStatus::Pending, _) => Err(error.into()),
            _ => Ok(state),
        }
    }

    async fn rest_for_floor(
        &self,
        order: &mut PendingOrder,
        opens: OffsetDateTime,
    ) -> Result<Order, Stop> {
        order.look_after = Some(opens);
        self.save(order).await?;
        Err(floor_holds(opens).into())
    }

    /// In this order: a crash in between gives nothing back twice.
    async fn end_refused(
        &self,
        account: &Account,
        order: &PendingOrder,
        problem: Problem,
    ) -> Result<Order, Stop> {
        self.drop_order(order).await?;
        self.give_back_budget(account, order).await;
        Err(Stop::Order(problem))
    }
}

/// A certificate signing request (RFC 2986) for the names of an order, with an empty subject.
fn signing_request(order: &PendingOrder) -> Result<Vec<u8>, Stop> {
    let make = || {
        let key = KeyPair::from_pem(order.key.reveal())?;
        let mut params = CertificateParams::new(
            order
                .names
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        )?;
        params.distinguished_name = DistinguishedName::new();
        params.serialize_request(&key)
    };
    let request = make()
        .map_err(|error| Setback::failure(format!("no signing request could be made: {error}")))?;
    Ok(request.der().to_vec())
}

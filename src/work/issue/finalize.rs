//! Asking for the certificate of an order that is ready.

use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::KeyPair;
use tracing::debug;

use crate::core::problem::AuthorityErrorKind;
use crate::core::resource::OrderStatus;
use crate::core::setback::Setback;
use crate::decide::filter::floor_holds;
use crate::decide::order::PendingOrder;
use crate::decide::order::Shown;
use crate::ports::Authority;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::issue::Attempt;
use crate::work::issue::drive::Work;
use crate::work::issue::pace::Pace;
use crate::work::issue::stop::Stop;

impl<W: World> Attempt<'_, W> {
    /// That a certificate may exist is on record before the request leaves, in the order and in the ledger, so that no
    /// crash can ask twice. Sent again, it may be another certificate, and counts as one.
    pub(super) async fn finalize(&self, work: &mut Work) -> Result<Shown, Stop> {
        let request = signing_request(&work.order)?;
        let Some(account) = self.account_of(work).await? else {
            return Ok(Shown::Gone);
        };
        let now = self.context.now();
        let names = work.order.names.set();
        let floor = self.context.ledger().floor(&account.directory, &names, now);
        if let Some(opens) = floor.filter(|_| !work.order.may_be_issued()) {
            let setback = floor_holds(opens);
            work.order.rest_until(opens, &setback.reason);
            self.save(&work.order, work.slot).await?;
            return Err(setback.into());
        }
        // Nothing is sent while the authority is left alone, so nothing is noted.
        let directory = account.directory.clone();
        if let Some(wait) = self.context.open_breaker(&Subject::Authority { directory }) {
            return Err(Setback::from(wait).into());
        }
        let is_first = !work.order.may_be_issued();
        work.order.finalizing(now);
        self.save(&work.order, work.slot).await?;
        let asked = super::limits::of_order(&work.order, &account, &names);
        if let Err(error) = self.context.note_finalizing(&asked, now).await {
            // It is not sent: that it was is taken back, as far as the disk lets us.
            self.not_sent(work).await?;
            return Err(error.into());
        }
        if is_first && self.plan.is_change {
            self.context.note_change(self.plan.entry.primary()).await;
        }
        self.reservation.give_back();
        debug!(lineage = self.lineage, "finalize noted");
        work.pace = Pace::new(now);
        let url = work.url();
        let finalized =
            self.ask_once(&account, || self.authority().finalize(&account, &url, &request)).await;
        let error = match finalized {
            Ok(state) => {
                debug!(lineage = self.lineage, status = ?state.status, "order finalized");
                return Ok(work.show(state, self.context.now()));
            }
            Err(Stop::Authority(error)) => error,
            Err(stop) => return Err(stop),
        };
        debug!(lineage = self.lineage, %error, "no order in answer to finalize");
        work.refusal = Some(error.problem.clone());
        let kind = error.kind;
        let not_before = error.not_before;
        let shown = self.no_answer(work, error.into())?;
        // Nothing is asked before the time that it says. Else it may have been done all the same.
        let is_worth_a_look = shown == Shown::Silence && not_before.is_none();
        if kind == AuthorityErrorKind::NotReady && is_first {
            // In its own words nothing was issued: it may need a moment.
            self.not_sent(work).await?;
            work.error = None;
            return Ok(Shown::Order(OrderStatus::Processing));
        }
        Ok(match kind {
            AuthorityErrorKind::Refused => Shown::Refused,
            AuthorityErrorKind::RateLimited(_) => Shown::Limited,
            AuthorityErrorKind::Unavailable
            | AuthorityErrorKind::Failed
            | AuthorityErrorKind::BadNonce
                if is_worth_a_look =>
            {
                Shown::NotReady
            }
            AuthorityErrorKind::Unavailable
            | AuthorityErrorKind::Failed
            | AuthorityErrorKind::BadNonce
            | AuthorityErrorKind::AccountUnknown
            | AuthorityErrorKind::Gone
            | AuthorityErrorKind::NotReady
            | AuthorityErrorKind::AlreadyResponded => shown,
        })
    }

    /// Nothing was issued by the last finalize: it is taken back, and the limit waited for.
    pub(super) async fn take_back(&self, work: &mut Work) -> Result<Stop, Stop> {
        self.not_sent(work).await?;
        let limited = Setback::later("the authority limits this order", self.context.now());
        let error = work.error.take();
        Ok(error.map_or_else(|| limited.into(), Stop::Authority))
    }
}

impl<W: World> Attempt<'_, W> {
    /// Notes that nothing was issued by the last finalize alone.
    async fn not_sent(&self, work: &mut Work) -> Result<(), Stop> {
        let before = work.order.clone();
        work.order.not_finalized();
        self.give_back_last(&before, work.order.last_finalized_at()).await;
        if !work.order.may_be_issued() && self.plan.is_change {
            self.context.take_back_change(self.plan.entry.primary()).await;
        }
        self.save(&work.order, work.slot).await
    }
}

/// A certificate signing request (RFC 2986) for the names of an order, with an empty subject.
fn signing_request(order: &PendingOrder) -> Result<Vec<u8>, Stop> {
    let make = || {
        let key = KeyPair::from_pem(order.key.reveal())?;
        let names: Vec<_> = order.names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.serialize_request(&key)
    };
    let request = make()
        .map_err(|error| Setback::failure(format!("no signing request could be made: {error}")))?;
    Ok(request.der().to_vec())
}

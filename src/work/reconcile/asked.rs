//! Renewals that a person has asked for: waits are lifted once, and the certificate counts as due until a new one is
//! there. The floor and every limit hold all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::Duration;
use time::OffsetDateTime;
use tracing::info;
use tracing::warn;

use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::core::wanted::Entry;
use crate::decide::classify::DiskCopy;
use crate::ports::World;
use crate::store::StoreError;
use crate::store::lineage::Lineage;
use crate::store::record::Source;
use crate::store::request::RenewalRequest;
use crate::work::reconcile::Reconciler;
use crate::work::reconcile::assign::Assigned;

/// What is asked for and not done yet, by primary name.
pub(super) type RenewalRequests = BTreeMap<DomainName, RenewalRequest>;

impl<W: World> Reconciler<W> {
    /// Takes new requests, forgets what is done, and answers what is left.
    pub(super) async fn asked(
        &mut self,
        entries: &[Entry],
        assigned: &[Assigned],
        left: &[Arc<Lineage>],
        now: OffsetDateTime,
    ) -> RenewalRequests {
        let read = self.context.store.run(|store| store.renewal_requests()).await;
        let requests = match read {
            Ok(requests) => requests,
            Err(error) => {
                self.tell_trouble("renewals asked for not read", Some(error.to_string()));
                return RenewalRequests::new();
            }
        };
        self.tell_trouble("renewals asked for not read", None);
        let mut asked = RenewalRequests::new();
        for request in requests {
            let wanted = entries.iter().zip(assigned);
            let wanted = wanted
                .map(|(entry, own)| (&entry.names, own.lineage.as_ref()))
                .find(|(names, _)| *names.primary() == request.certificate);
            // It may be wanted by a balancer only.
            let of_left = || {
                left.iter().find_map(|lineage| {
                    let record = lineage.record.as_ref()?;
                    let is_it = *record.names.primary() == request.certificate;
                    is_it.then_some((&record.names, Some(lineage)))
                })
            };
            let found = wanted.or_else(of_left);
            if let Some(request) = self.take(request, found, now).await {
                asked.insert(request.certificate.clone(), request);
            }
        }
        self.taken = asked.clone();
        asked
    }

    async fn take(
        &self,
        mut request: RenewalRequest,
        found: Option<(&Names, Option<&Arc<Lineage>>)>,
        now: OffsetDateTime,
    ) -> Option<RenewalRequest> {
        let certificate = request.certificate.clone();
        let is_done = found
            .and_then(|(_, lineage)| lineage)
            .is_some_and(|lineage| is_newer(lineage, request.asked_at));
        if is_done || request.is_forgotten(now) {
            if is_done {
                info!(domain = %certificate, "renewal that was asked for is done");
            } else {
                warn!(domain = %certificate, "renewal that was asked for a week ago is forgotten");
            }
            self.forget(request).await;
            return None;
        }
        let Some((names, _)) = found else {
            if self.knows_labels {
                warn!(domain = %certificate, "renewal asked for a certificate that nobody wants, forgotten");
                self.forget(request).await;
            }
            return None;
        };
        // Where that could not be written down, it is remembered.
        let before = self.taken.get(&certificate);
        let is_taken = before.is_some_and(|before| before.asked_at == request.asked_at);
        if request.taken_at.is_none() && !is_taken {
            info!(names = %names, "renewal asked for: waits after failures are skipped, the floor and every limit hold");
            self.context.lift_waits(&names.set(), &certificate).await;
            request.taken_at = Some(now);
            let taken = request.clone();
            let saved = self.context.store.run(move |store| store.take_renewal(&taken));
            note(saved.await);
        }
        Some(request)
    }

    /// What the decision leaves alone cannot be renewed, whoever asks.
    pub(super) async fn refuse(&mut self, request: RenewalRequest, reason: &str) {
        warn!(domain = %request.certificate, reason, "renewal asked for a certificate that is left alone, forgotten");
        self.forget(request).await;
    }

    async fn forget(&self, request: RenewalRequest) {
        let store = &self.context.store;
        note(store.run(move |store| store.drop_renewal(&request)).await);
    }
}

/// Authorities date certificates back by an hour.
const BACKDATED: Duration = Duration::HOUR;

/// Whether the live version came from an authority after it was asked for, to us or to another instance.
fn is_newer(lineage: &Lineage, asked_at: OffsetDateTime) -> bool {
    let version = lineage.record.as_ref().and_then(|record| record.live_version());
    let is_ours = version.is_some_and(|it| it.source == Source::Issued && asked_at < it.stored_at);
    let is_others = matches!(&lineage.copy, DiskCopy::Whole(stored)
        if asked_at < stored.shown.leaf.not_before.saturating_add(BACKDATED)
            && version.is_some_and(|it| it.source != Source::Issued));
    is_ours || is_others
}

fn note(result: Result<(), StoreError>) {
    if let Err(error) = result {
        warn!(%error, "request for a renewal not noted");
    }
}

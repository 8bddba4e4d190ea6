//! Certificates that nobody wants any more: renewed while a balancer lists them, then told once and left to expire.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::debug;
use tracing::info;

use crate::core::held::CertificateId;
use crate::core::held::User;
use crate::core::wanted::Entry;
use crate::decide::classify::DiskCopy;
use crate::ports::World;
use crate::store::lineage::Lineage;
use crate::work::context::claims::Claim;
use crate::work::reconcile::Gathering;
use crate::work::reconcile::Reconciler;
use crate::work::reconcile::assign;
use crate::work::reconcile::assign::Assigned;

impl<W: World> Reconciler<W> {
    /// Certificates that nobody wants any more, but a balancer lists: they are still renewed. The others are told
    /// once and left to expire.
    pub(super) async fn still_served(
        &mut self,
        gathering: &Gathering<'_>,
        left: &[Arc<Lineage>],
        mut taken: BTreeSet<CertificateId>,
    ) -> Vec<(Entry, Assigned)> {
        let now = gathering.now;
        // One that has expired matters until it was told: a balancer may list it, and nobody was there to renew it.
        let matters = |lineage: &&Arc<Lineage>| {
            let is_told = lineage.record.as_ref().is_none_or(|record| record.is_told_gone);
            matches!(&lineage.copy, DiskCopy::Whole(stored) if now < stored.shown.leaf.not_after || !is_told)
        };
        let left: Vec<&Arc<Lineage>> = left.iter().filter(matters).collect();
        let Some(balancers) = gathering.balancers.as_ref().filter(|_| !left.is_empty()) else {
            return Vec::new();
        };
        let trouble = balancers.as_ref().err().map(|fault| fault.text.clone());
        self.tell_trouble(
            "balancers not read, so nothing is said about names that nobody wants",
            trouble,
        );
        let Ok(balancers) = balancers else {
            return Vec::new();
        };
        let view = &gathering.view;
        let index = assign::Index::new(&view.held);
        let mut listed: BTreeMap<&CertificateId, &User> = BTreeMap::new();
        for balancer in balancers.iter() {
            for id in &balancer.certificates {
                listed.entry(id).or_insert(balancer);
            }
        }
        let mut served = Vec::new();
        for lineage in left {
            let Some(record) = &lineage.record else {
                continue;
            };
            let ours = assign::of_lineage(lineage, &index, &view.known, &taken);
            match ours.and_then(|held| listed.get(&held.id)) {
                Some(balancer) => {
                    taken.extend(ours.map(|held| held.id.clone()));
                    let origins = [format!("listed by balancer {}", balancer.name)].into();
                    let entry = Entry { names: record.names.clone(), origins };
                    let assigned =
                        Assigned { lineage: Some(Arc::clone(lineage)), remote: ours.cloned() };
                    served.push((entry, assigned));
                }
                None if self.knows_labels => self.tell_gone(lineage).await,
                None => {}
            }
        }
        served
    }

    pub(super) async fn tell_gone(&mut self, lineage: &Lineage) {
        let Some(record) = lineage.record.as_ref().filter(|record| !record.is_told_gone) else {
            return;
        };
        // An attempt may be storing another version: the next pass knows what came of it.
        if self.context.is_claimed(&Claim::lineage(&lineage.name))
            || !self.said.insert(format!("gone {}", lineage.name))
        {
            return;
        }
        info!(names = %record.names, "nobody wants this certificate any more and no balancer lists it, left to expire");
        let (name, record) = (lineage.name.clone(), record.clone());
        let noted = self.context.store.run(move |store| store.note_gone(&name, &record));
        match noted.await {
            // From here on the record knows; or it is another one, of which nothing was said yet.
            Ok(_) => drop(self.said.remove(&format!("gone {}", lineage.name))),
            Err(error) => debug!(%error, "record not written"),
        }
    }
}

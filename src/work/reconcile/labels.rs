//! The names that services announce: read from metadata, kept on the disk, merged with `DOMAINS`.

use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::held::Announcement;
use crate::core::labels::LabelsRecord;
use crate::core::problem::NoData;
use crate::core::wanted::Wanted;
use crate::ports::Source;
use crate::ports::World;
use crate::work::reconcile::Reconciler;
use crate::work::reconcile::report::Labels;

impl<W: World> Reconciler<W> {
    /// Whether names come from labels as well.
    pub fn reads_labels(&self) -> bool {
        self.reads_labels
    }

    /// Takes the names last learned from labels from the store, unless they are known by now.
    pub(super) async fn recall_labels(&mut self) {
        if self.knows_labels {
            return;
        }
        let trouble = match self.context.store.run(|store| store.labels()).await {
            Ok(Some(labels)) => {
                self.labels = labels;
                self.knows_labels = true;
                None
            }
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        };
        self.tell_trouble("names last learned from labels not read", trouble);
    }

    /// Reads what services announce. Answers whether anything was added.
    pub async fn read_labels(&mut self) -> bool {
        if !self.reads_labels {
            return false;
        }
        // What was held before counts as soon as it can be read, else a reading would be kept in its place.
        self.recall_labels().await;
        let read = self.context.world.source().announcements().await;
        self.learn(read)
    }

    /// Takes what services announce. Answers whether anything was added.
    pub fn learn(&mut self, read: Result<Vec<Announcement>, NoData>) -> bool {
        match read {
            Ok(announcements) => {
                let now = self.context.now();
                let is_news = self.labels.learn(announcements, now);
                self.knows_labels = true;
                self.read_at = Some(now);
                if self.labels_fault.take().is_some() {
                    info!("labels read again");
                }
                is_news
            }
            Err(error) => {
                debug!(%error, "labels not read, the names last known hold");
                let since = self.labels_fault.take().map(|(since, _)| since);
                let since = since.unwrap_or_else(|| self.context.now());
                self.labels_fault = Some((since, error.to_string()));
                false
            }
        }
    }

    /// Names that were left out or moved, and why.
    pub(super) fn left_out(&self) -> Vec<String> {
        let of_domains = self.context.settings.left_out.iter();
        of_domains.chain(&self.notices).cloned().collect()
    }

    pub(super) fn labels_seen(&self) -> Labels {
        Labels {
            are_read: self.reads_labels,
            are_known: self.knows_labels,
            read_at: self.read_at,
            fault: self.labels_fault.as_ref().map(|(_, fault)| fault.clone()),
            fault_since: self.labels_fault.as_ref().map(|(since, _)| *since),
        }
    }

    pub(super) async fn wanted(&mut self) -> Wanted {
        let announced = if self.reads_labels { self.labels.announced() } else { Vec::new() };
        let wanted = Wanted::merge(&self.domains, &announced, &self.labels.holders);
        for notice in &wanted.notices {
            if !self.notices.contains(notice) {
                warn!(notice, "name left out or moved");
            }
        }
        self.notices = wanted.notices.iter().cloned().collect();
        if self.reads_labels && self.knows_labels {
            let record = LabelsRecord { holders: wanted.holders.clone(), ..self.labels.clone() };
            self.save_labels(record).await;
        }
        wanted
    }

    /// Written only if it is something else than what stands there.
    pub(super) async fn save_labels(&mut self, record: LabelsRecord) {
        let save = record.clone();
        let saved = self.context.store.run(move |store| {
            if store.labels()?.as_ref() == Some(&save) {
                return Ok(());
            }
            store.save_labels(&save)
        });
        let trouble = saved.await.err().map(|error| error.to_string());
        self.tell_trouble("names learned from labels not kept", trouble);
        self.labels = record;
    }
}

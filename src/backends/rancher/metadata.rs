//! The source port over Rancher's metadata service: names that services announce.
//!
//! A 404 or a closed connection means "no data now", never "no labels". Raw services carry tokens: nothing of an
//! answer is ever logged.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use reqwest::Client;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::client;
use crate::core::held::Announcement;
use crate::core::problem::NoData;
use crate::core::wanted::LABEL;
use crate::ports::Source;

/// The newest version whose names of stacks and services keep their case.
const VERSION: &str = "2015-12-19";
/// Five thousand containers are 8 MB.
const LARGEST: usize = 64 << 20;
/// How long the server may hold a poll, and how much later than that it may answer.
const POLL: Duration = Duration::from_secs(60);
const POLL_OVERSHOOT: Duration = Duration::from_secs(10);
/// A server that answers at once whatever is asked must not be asked without end: after each answer that came this
/// quickly the pause doubles, up to a round.
const QUICK: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_ROUND: Duration = Duration::from_secs(1);
/// The longest pause while nothing answers.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The metadata service.
pub struct Metadata {
    client: Client,
    url: String,
    polled: Mutex<Polled>,
}

#[derive(Default)]
struct Polled {
    version: Option<String>,
    /// Polls in a row that failed.
    failures: u32,
    /// Polls in a row that were answered at once.
    quick: u32,
}

#[derive(Deserialize)]
struct Service {
    uuid: Option<String>,
    name: Option<String>,
    stack_name: Option<String>,
    state: Option<String>,
    environment_uuid: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
    /// Only of containers.
    service_uuid: Option<String>,
    /// Only of containers.
    service_name: Option<String>,
}

impl Service {
    fn label(&self) -> Option<&str> {
        self.labels.as_ref()?.get(LABEL)?.as_deref().filter(|label| !label.trim().is_empty())
    }

    fn is_gone(&self) -> bool {
        matches!(self.state.as_deref(), Some("removing" | "removed" | "purging" | "purged"))
    }

    fn is_stopped(&self) -> bool {
        self.is_gone()
            || matches!(self.state.as_deref(), Some("stopped" | "stopping" | "error" | "erroring"))
    }

    fn announcement(self) -> Option<Announcement> {
        let label = self.label()?.to_owned();
        let name = self.name.unwrap_or_default();
        let service =
            self.stack_name.map_or_else(|| name.clone(), |stack| format!("{stack}/{name}"));
        Some(Announcement { uuid: self.uuid?, service, label })
    }
}

#[derive(Deserialize)]
struct Own {
    uuid: Option<String>,
}

impl Metadata {
    /// The service at `url`, without a version. The client's total time limit does not hold for polls.
    pub fn new(client: Client, url: &Url) -> Self {
        Self {
            client,
            url: url.as_str().trim_end_matches('/').to_owned(),
            polled: Mutex::default(),
        }
    }

    /// What services announce, and containers without a service: a stopped old container of a service would bring
    /// back the label from before an upgrade. Only of our own environment.
    async fn read_announcements(&self) -> Result<Vec<Announcement>, String> {
        let environment = self.environment().await?;
        let services: Option<Vec<Service>> = self.read("services").await?;
        let containers: Option<Vec<Service>> = self.read("containers").await?;
        // We run in one of them ourselves.
        if services.is_none() && containers.is_none() {
            return Err("metadata knows neither services nor containers: no data now".to_owned());
        }
        let is_own =
            |service: &Service| service.environment_uuid.as_deref() == Some(environment.as_str());
        let services =
            services.unwrap_or_default().into_iter().filter(|service| !service.is_gone());
        let standalone = containers.unwrap_or_default().into_iter().filter(|container| {
            container.service_uuid.is_none()
                && container.service_name.is_none()
                && !container.is_stopped()
        });
        let found: BTreeSet<Announcement> =
            services.chain(standalone).filter(is_own).filter_map(Service::announcement).collect();
        // Lists come in another order after every reload.
        Ok(found.into_iter().collect())
    }

    /// Uuid of the service that this program is part of; a sidekick has that of its primary service. None where
    /// the metadata service does not know our address.
    pub async fn own_service(&self) -> Result<Option<String>, String> {
        let own: Option<Own> = self.read("self/service").await?;
        Ok(own.and_then(|own| own.uuid))
    }

    fn polled(&self) -> std::sync::MutexGuard<'_, Polled> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn poll(&self, version: Option<&str>) -> Result<String, String> {
        let Some(version) = version else {
            return self.read("version").await;
        };
        // The bare value: with the quotes of its JSON form it would never be equal.
        let value = super::base::encode(version);
        let url = format!(
            "{}/{VERSION}/version?wait=true&value={value}&maxWait={}",
            self.url,
            POLL.as_secs()
        );
        self.ask(&url, Some(POLL + POLL_OVERSHOOT)).await
    }

    /// An environment that is linked to ours has its services in the same lists.
    async fn environment(&self) -> Result<String, String> {
        self.read("uuid").await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.ask(&format!("{}/{VERSION}/{path}", self.url), None).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        url: &str,
        limit: Option<Duration>,
    ) -> Result<T, String> {
        // To the letter: with a charset or a second type the answer is text.
        let mut request = self.client.get(url).header("Accept", "application/json");
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        let shown = url.split('?').next().unwrap_or(url);
        let response = request
            .send()
            .await
            .map_err(|error| format!("{shown}: {}", client::explain(&error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{shown}: answered {status}: no data now"));
        }
        let body =
            client::read(response, LARGEST).await.map_err(|error| format!("{shown}: {error}"))?;
        serde_json::from_slice(&body).map_err(|error| {
            format!(
                "{shown}: the answer is not what the metadata service says ({:?} error)",
                error.classify()
            )
        })
    }
}

impl Source for Metadata {
    async fn announcements(&self) -> Result<Vec<Announcement>, NoData> {
        let read = self.read_announcements().await;
        match &read {
            Ok(_) => self.polled().failures = 0,
            // A change that could not be read is to be seen again.
            Err(error) => {
                let mut polled = self.polled();
                polled.fail(error);
                polled.version = None;
            }
        }
        read.map_err(NoData)
    }

    /// Resolves when the version is another than the last time, or comes again after it did not.
    async fn changed(&self) -> Result<(), NoData> {
        loop {
            let (version, pause) = {
                let polled = self.polled();
                // Whether it answers again is seen at once, not when something changes.
                let version = polled.version.clone().filter(|_| polled.failures == 0);
                (version, polled.pause())
            };
            tokio::time::sleep(pause).await;
            let asked = Instant::now();
            let answer = self.poll(version.as_deref()).await;
            let mut polled = self.polled();
            polled.quick = if asked.elapsed() < QUICK { polled.quick.saturating_add(1) } else { 0 };
            match answer {
                Ok(now) if polled.version.as_ref() == Some(&now) && polled.failures == 0 => {}
                // Whether all is well again is seen when the lists are read.
                Ok(now) => {
                    polled.version = Some(now);
                    return Ok(());
                }
                Err(error) => {
                    polled.fail(&error);
                    return Err(NoData(error));
                }
            }
        }
    }
}

impl Polled {
    fn fail(&mut self, error: &str) {
        if self.failures == 0 {
            tracing::info!(error, "metadata does not answer, the names last known hold");
        }
        self.failures = self.failures.saturating_add(1);
    }

    fn pause(&self) -> Duration {
        if self.failures > 0 {
            return (LONGEST_ROUND * 2_u32.saturating_pow(self.failures.min(8) - 1))
                .min(LONGEST_PAUSE);
        }
        (SHORTEST_PAUSE * 2_u32.saturating_pow(self.quick.min(8))).min(LONGEST_ROUND)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::proptest;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn any_service_announces_its_own_label_or_nothing(
            label in ".{0,80}",
            stack in ".{0,20}",
            state in "(active|removing|stopped)?",
            at in any::<proptest::sample::Index>(),
            put in proptest::collection::vec(any::<u8>(), 0..6),
        ) {
            let row = json!({"uuid": "u", "name": "web", "stack_name": stack, "state": state,
                "environment_uuid": null, "labels": {LABEL: label, "io.rancher": null}, "token": "secret"});
            let service: Service = serde_json::from_value(row.clone()).unwrap();
            match service.announcement() {
                Some(found) => assert_eq!((found.label.as_str(), found.uuid.as_str()), (label.as_str(), "u")),
                None => assert!(label.trim().is_empty()),
            }
            let mut body = json!([row]).to_string().into_bytes();
            let from = at.index(body.len());
            body.splice(from..from + put.len().min(body.len() - from), put);
            for service in serde_json::from_slice::<Option<Vec<Service>>>(&body).into_iter().flatten().flatten() {
                let _ = (service.is_gone(), service.is_stopped(), service.announcement());
            }
        }
    }
}

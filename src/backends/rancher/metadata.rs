//! The source port over Rancher's metadata service: names that services announce.
//!
//! A 404 or a closed connection means "no data now", never "no labels". Raw services carry tokens: nothing of an
//! answer is ever logged.
//!
//! Nothing is needed that an old metadata service lacks: Rancher 1.2 has v0.6.8, and stacks that were never upgraded
//! keep theirs.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use reqwest::Client;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::backends::rancher::api::Api;
use crate::backends::rancher::base::encode;
use crate::backends::rancher::metadata::announced::announced;
use crate::backends::rancher::metadata::announced::is_of;
use crate::backends::rancher::metadata::announced::name_environments;
use crate::backends::rancher::metadata::rows::Rows;
use crate::client;
use crate::core::held::Announcement;
use crate::core::problem::DestinationError;
use crate::core::problem::NoData;
use crate::ports::Source;

pub mod rows;

pub mod announced;

/// The newest version whose names of stacks and services keep their case.
const VERSION: &str = "2015-12-19";
/// Five thousand containers are 8 MB.
const LARGEST: usize = 64 << 20;
/// How long the server may hold a poll. It may answer later by this part of that time.
const POLL: Duration = Duration::from_secs(60);
const POLL_OVERSHOOT: u32 = 6;
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
    /// Knows our environment too.
    api: Arc<Api>,
    poll: Duration,
    polled: Mutex<Polled>,
    lookup: Mutex<Lookup>,
}

/// What is known of who says which environment is ours.
#[derive(Default)]
struct Lookup {
    /// Who said it last.
    last: Option<Place>,
    /// When the API refused to, and what it said.
    denied: Option<(Instant, DestinationError)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Uuid,
    Api,
    /// One of [`ABOUT_US`].
    AboutUs(&'static str),
}

#[derive(Default)]
struct Polled {
    version: Option<String>,
    /// Polls in a row that failed.
    failures: u32,
    /// Polls in a row that were answered at once.
    quick: u32,
}

/// Where metadata says which environment it is for: v0.10.1 and later.
const UUID: &str = "uuid";
/// Where it says the same of whoever has our address; up to Rancher 1.3 only the stack's (seen on v0.5.1 to v0.10.4).
/// A container of a linked environment may have our address, therefore they are asked last. That of the host is there for
/// everybody.
const ABOUT_US: [&str; 4] = [
    "self/stack/environment_uuid",
    "self/container/environment_uuid",
    "self/service/environment_uuid",
    "self/host/environment_uuid",
];
/// How long it may take to find out which environment is ours, and how much of that the API.
const LOOKUP: Duration = Duration::from_secs(10);
const LOOKUP_BY_API: Duration = Duration::from_secs(5);
/// The pause after the API refused to say it: what is to change is a key or a role.
const DENIED_PAUSE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Own {
    uuid: Option<String>,
}

/// Why there is no answer.
enum Silence {
    /// A long poll that the server did not end: v0.6.8 and v0.7.0 ignore how long they may hold it.
    Overtime,
    /// Anything else, in words.
    NoData(String),
}

impl Silence {
    fn words(self) -> String {
        match self {
            Self::Overtime => "no answer in time".to_owned(),
            Self::NoData(error) => error,
        }
    }
}

impl Metadata {
    /// The service at `url`, without a version, and the API of the same Rancher. The client's total time limit does not
    /// hold for polls.
    pub fn new(client: Client, url: &Url, api: Arc<Api>) -> Self {
        Self {
            client,
            url: url.as_str().trim_end_matches('/').to_owned(),
            api,
            poll: POLL,
            polled: Mutex::default(),
            lookup: Mutex::default(),
        }
    }

    /// The same with polls that the server may hold for another time than a minute.
    pub fn polling(self, longest: Duration) -> Self {
        Self { poll: longest, ..self }
    }

    /// What services and containers announce, of our own environment only.
    async fn read_announcements(&self) -> Result<Vec<Announcement>, String> {
        let services: Option<Rows> = self.read("services").await?;
        let containers: Option<Rows> = self.read("containers").await?;
        // We run in one of them ourselves.
        if services.is_none() && containers.is_none() {
            return Err("metadata knows neither services nor containers: no data now".to_owned());
        }
        let [services, containers] = [services, containers].map(|rows| rows.unwrap_or_default().0);
        let environment = match name_environments(&services) || name_environments(&containers) {
            true => self.environment().await?,
            false => String::new(),
        };
        if !services.iter().chain(&containers).any(|row| is_of(row, &environment)) {
            return Err("metadata shows nothing of our environment: no data now".to_owned());
        }
        Ok(announced(services, containers, &environment))
    }

    /// Uuid of the service that this program is part of; a sidekick has that of its primary service. An error where
    /// the metadata service does not know our address, none where it knows no UUID.
    pub async fn own_service(&self) -> Result<Option<String>, String> {
        let own: Option<Own> = self.read("self/service").await?;
        Ok(own.and_then(|own| own.uuid))
    }

    fn lookup(&self) -> std::sync::MutexGuard<'_, Lookup> {
        self.lookup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn polled(&self) -> std::sync::MutexGuard<'_, Polled> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn poll(&self, version: Option<&str>) -> Result<String, String> {
        let Some(version) = version else {
            return self.read("version").await;
        };
        // The bare value: with the quotes of its JSON form it would never be equal.
        let value = encode(version);
        let seconds = self.poll.as_secs().max(1);
        let url =
            format!("{}/{VERSION}/version?wait=true&value={value}&maxWait={seconds}", self.url);
        match self.ask(&url, Some(self.poll + self.poll / POLL_OVERSHOOT)).await {
            // Whether it is alive is asked, and not concluded from silence.
            Err(Silence::Overtime) => self.read("version").await,
            answer => answer.map_err(Silence::words),
        }
    }

    /// An environment that is linked to ours has its services in the same lists.
    async fn environment(&self) -> Result<String, String> {
        let found = tokio::time::timeout(LOOKUP, self.find_environment()).await;
        found.unwrap_or_else(|_| Err(self.unknown("nobody answers in time")))
    }

    /// Who answered last is asked first; one that speaks of our address only while the API says nothing.
    async fn find_environment(&self) -> Result<String, String> {
        let (last, denied) = {
            let lookup = self.lookup();
            let denied = lookup.denied.clone();
            (lookup.last, denied.filter(|(at, _)| at.elapsed() < DENIED_PAUSE))
        };
        if last == Some(Place::Api)
            && let Some(environment) = self.api.known_environment()
        {
            return Ok(environment);
        }
        let is_about_us = matches!(last, Some(Place::AboutUs(_)));
        if !(is_about_us && denied.is_some())
            && let Some(uuid) = self.tells(UUID).await
        {
            return match self.api.known_environment().filter(|other| *other != uuid) {
                None => Ok(self.remember(Place::Uuid, uuid)),
                Some(other) => Err(format!(
                    "the metadata service at {} is of the environment {uuid}, and the API key of {other}: no data now",
                    self.url
                )),
            };
        }
        let why = match denied {
            Some((_, error)) => error.to_string(),
            None => match self.environment_of_api().await {
                Ok(environment) => return Ok(self.remember(Place::Api, environment)),
                Err(why) => why,
            },
        };
        let mut paths = ABOUT_US;
        paths.sort_by_key(|path| last != Some(Place::AboutUs(path)));
        for path in paths {
            if let Some(uuid) = self.tells(path).await {
                return Ok(self.remember(Place::AboutUs(path), uuid));
            }
        }
        Err(self.unknown(&format!("Rancher's API does not say it: {why}")))
    }

    fn unknown(&self, why: &str) -> String {
        format!(
            "it is not known which environment is ours, so that no labels are read: the metadata service at {} does \
             not know our address, and {why}",
            self.url
        )
    }

    fn remember(&self, place: Place, environment: String) -> String {
        self.lookup().last = Some(place);
        environment
    }

    async fn tells(&self, path: &str) -> Option<String> {
        let told = self.read::<Option<String>>(path).await.ok().flatten();
        told.filter(|uuid| !uuid.is_empty())
    }

    async fn environment_of_api(&self) -> Result<String, String> {
        let asked = tokio::time::timeout(LOOKUP_BY_API, self.api.environment());
        let Ok(answer) = asked.await else {
            return Err("no answer in time".to_owned());
        };
        let denied = match &answer {
            Err(error @ DestinationError::Denied(_)) => Some((Instant::now(), error.clone())),
            Ok(_) | Err(_) => None,
        };
        self.lookup().denied = denied;
        answer.map_err(|error| error.to_string())
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.ask(&format!("{}/{VERSION}/{path}", self.url), None).await.map_err(Silence::words)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        url: &str,
        limit: Option<Duration>,
    ) -> Result<T, Silence> {
        // To the letter: with a charset or a second type the answer is text.
        let mut request = self.client.get(url).header("Accept", "application/json");
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        let shown = url.split('?').next().unwrap_or(url);
        let no_data = |why: String| Silence::NoData(format!("{shown}: {why}"));
        let response = request.send().await.map_err(|error| {
            match limit.is_some() && error.is_timeout() && !error.is_connect() {
                true => Silence::Overtime,
                false => no_data(client::explain(&error)),
            }
        })?;
        let status = response.status();
        if !status.is_success() {
            return Err(no_data(format!("answered {status}: no data now")));
        }
        let body = client::read(response, LARGEST).await.map_err(no_data)?;
        serde_json::from_slice(&body).map_err(|error| {
            no_data(format!(
                "the answer is not what the metadata service says ({:?} error)",
                error.classify()
            ))
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
    use super::*;

    /// Up to v0.6.0 every poll is answered at once, for years.
    #[test]
    fn a_server_that_answers_at_once_is_asked_ever_more_slowly_and_one_that_waits_is_not() {
        let after = |quick, failures| Polled { version: None, quick, failures }.pause();
        let pauses: Vec<Duration> = (0..20).map(|quick| after(quick, 0)).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert_eq!(pauses.first(), Some(&SHORTEST_PAUSE));
        assert_eq!(pauses.last(), Some(&LONGEST_ROUND));
        assert_eq!(after(u32::MAX, 0), LONGEST_ROUND);
        assert_eq!(after(u32::MAX, u32::MAX), LONGEST_PAUSE);
    }
}

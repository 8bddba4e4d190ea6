//! The destination port over Rancher 1.x: bundles go into its API, and balancers hear of them. Names come from its
//! [`metadata`] service.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use tracing::debug;
use tracing::warn;

use crate::backends::rancher::api::Api;
use crate::backends::rancher::api::Body;
use crate::backends::rancher::api::Row;
use crate::backends::rancher::metadata::Metadata;
use crate::backends::rancher::waking::Choice;
use crate::backends::rancher::waking::Service;
use crate::backends::rancher::waking::choose;
use crate::core::bundle::Secret;
use crate::core::certificate::CertificateChain;
use crate::core::certificate::Flaw;
use crate::core::fingerprint::Fingerprint;
use crate::core::held::Abilities;
use crate::core::held::Activated;
use crate::core::held::CertificateId;
use crate::core::held::Held;
use crate::core::held::Ownership;
use crate::core::held::Retrieved;
use crate::core::held::Upload;
use crate::core::held::User;
use crate::core::held::UserId;
use crate::core::held::Which;
use crate::core::held::Words;
use crate::core::names::DomainName;
use crate::core::problem::DestinationError;
use crate::ports::Destination;

pub mod api;
pub mod base;
mod front;
pub mod mark;
pub mod metadata;
pub mod waking;

/// What people call it.
pub const NAME: &str = "Rancher";

/// A Rancher 1.x environment.
pub struct Rancher {
    api: Arc<Api>,
    metadata: Arc<Metadata>,
    seen: Seen,
}

impl Rancher {
    /// The environment behind this API and this metadata service.
    pub fn new(api: Arc<Api>, metadata: Arc<Metadata>) -> Self {
        Self { api, metadata, seen: Seen::default() }
    }
}

type Content = Result<CertificateChain, Flaw>;

/// What the last whole list showed, by the text it was read from: most of it is the same in the next one, and to
/// parse it is what a pass over many certificates costs.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<Fingerprint, Content>>);

impl Seen {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Content>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A certificate as the API shows it; every field may be null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    id: String,
    name: Option<String>,
    description: Option<String>,
    state: Option<String>,
    transitioning: Option<String>,
    removed: Option<serde_json::Value>,
    cert: Option<String>,
    cert_chain: Option<String>,
    /// Only in the answer to a POST.
    key: Option<Secret>,
}

impl Row for Certificate {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Certificate {
    /// By id a removed one is still shown, with its state.
    fn is_gone(&self) -> bool {
        self.removed.is_some() || matches!(self.state.as_deref(), Some("removing" | "removed"))
    }

    /// Which text it is that [`Self::content`] reads.
    fn text(&self) -> Fingerprint {
        let certificate = self.cert.as_deref().unwrap_or("");
        let chain = self.cert_chain.as_deref().unwrap_or("");
        let length = certificate.len().to_be_bytes();
        Fingerprint::of(&[&length, certificate.as_bytes(), chain.as_bytes()])
    }

    fn content(&self) -> Content {
        CertificateChain::parse(
            self.cert.as_deref().unwrap_or(""),
            self.cert_chain.as_deref().unwrap_or(""),
        )
    }

    fn held(self) -> Held {
        let content = self.content();
        self.held_with(content)
    }

    fn held_with(self, content: Content) -> Held {
        let note = self.description.unwrap_or_default();
        let name = self.name.unwrap_or_default();
        Held {
            id: self.id.into(),
            // A Rancher on MySQL knows no case: `Example.com` is in the way of `example.com`, which then cannot be made.
            occupies: name.to_ascii_lowercase(),
            name,
            owner: mark::find(&note),
            is_changing: self.transitioning.as_deref() == Some("yes"),
            content,
            note,
        }
    }
}

/// The number in an id such as `1c95`: of several that match, the lowest counts for the balancers too.
fn rank(id: &str) -> u64 {
    let digits = id.rsplit(|char: char| !char.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceRow {
    id: String,
    name: Option<String>,
    uuid: Option<String>,
    state: Option<String>,
    lb_config: Option<LbConfig>,
    launch_config: Option<LaunchConfig>,
    /// Before Rancher 1.2 these stood beside the configuration.
    #[serde(flatten)]
    old: LbConfig,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct LbConfig {
    default_certificate_id: Option<String>,
    certificate_ids: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
struct LaunchConfig {
    labels: Option<BTreeMap<String, serde_json::Value>>,
}

/// Labels that make a balancer read certificates from a folder, and none from the API (Rancher's documentation,
/// "Adding Load Balancers").
const FOLDER_LABELS: [&str; 2] =
    ["io.rancher.lb_service.cert_dir", "io.rancher.lb_service.default_cert_dir"];

impl LaunchConfig {
    fn folder(self) -> Option<String> {
        let labels = self.labels?;
        let label = |name: &&str| Some(labels.get(*name)?.as_str()?.to_owned());
        FOLDER_LABELS.iter().find_map(label)
    }
}

impl LbConfig {
    fn ids(self) -> impl Iterator<Item = String> {
        self.default_certificate_id.into_iter().chain(self.certificate_ids.unwrap_or_default())
    }
}

impl Row for ServiceRow {
    fn id(&self) -> &str {
        &self.id
    }
}

const CERTIFICATES: &str = "certificates";
const SERVICES: &str = "services";
const BALANCERS: &str = "loadBalancerServices";
const UPDATE: &str = "action=update";

impl ServiceRow {
    fn is_updating(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.starts_with("updating"))
    }

    fn service(self, kind: &str) -> Service {
        let certificates = self.lb_config.unwrap_or_default().ids().chain(self.old.ids());
        let certificates = certificates.map(CertificateId::from).collect();
        Service {
            is_active: self.state.as_deref() == Some("active"),
            user: User {
                id: format!("{kind}/{}", self.id).into(),
                name: self.name.unwrap_or_default(),
                certificates,
                folder: self.launch_config.unwrap_or_default().folder(),
            },
        }
    }
}

/// `certChain` is without the leaf, as balancers put both together (seen on Rancher 1.6.30).
fn body(upload: &Upload, description: &str, name: Option<&str>) -> serde_json::Value {
    let mut body = serde_json::json!({
        "cert": upload.certificate,
        "certChain": upload.chain,
        "key": upload.key.reveal(),
        "description": description,
    });
    // Only a new one is named: to rename is to take it from the balancers that list it.
    if let Some(name) = name {
        body["name"] = name.into();
    }
    body
}

impl Rancher {
    async fn find(&self, name: &str) -> Result<Option<Held>, DestinationError> {
        let query = format!("name={}", base::encode(name));
        // An unknown filter is ignored by the server, and names may be compared without case.
        let matches = |row: Certificate| {
            let is_wanted = !row.is_gone()
                && row.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
            is_wanted.then(|| row.held())
        };
        let found = self.api.list(CERTIFICATES, &query, matches).await?;
        Ok(found.into_iter().min_by_key(|held| rank(held.id.as_str())))
    }

    async fn balancers(&self) -> Result<Vec<Service>, DestinationError> {
        self.api.list(BALANCERS, "", |row: ServiceRow| Some(row.service(BALANCERS))).await
    }

    /// The service that this program is part of; none if that cannot be told.
    async fn own_service(&self) -> Result<Option<Service>, DestinationError> {
        // Metadata may be away, or see us under an address that it does not know.
        let Ok(Some(uuid)) = self.metadata.own_service().await else {
            return Ok(None);
        };
        let query = format!("uuid={}", base::encode(&uuid));
        let is_own =
            |row: ServiceRow| (row.uuid.as_deref() == Some(&uuid)).then(|| row.service(SERVICES));
        Ok(self.api.list(SERVICES, &query, is_own).await?.into_iter().next())
    }

    /// Resolves when an update that was taken (202) is carried out: balancers hear of it then, and of one that is given
    /// up or waits for other services they never do.
    async fn carried_out(&self, service: &User) -> Result<(), DestinationError> {
        for wait in waking::looks() {
            match self.api.get::<ServiceRow>(service.id.as_str()).await? {
                Some(row) if row.is_updating() => tokio::time::sleep(wait).await,
                // One that is gone has moved metadata as well.
                Some(_) | None => return Ok(()),
            }
        }
        Err(DestinationError::Conflict(format!(
            "the update of {} was taken by Rancher, and is not carried out after a minute",
            service.name
        )))
    }

    async fn choose(&self, changed: &[CertificateId]) -> Result<Choice, DestinationError> {
        match self.own_service().await {
            Ok(Some(own)) if own.is_active => return Ok(Choice::Wake(own.user)),
            Ok(_) => {}
            Err(error) => debug!(%error, "own service not found, a balancer is woken"),
        }
        Ok(choose(self.balancers().await?, changed))
    }
}

impl Destination for Rancher {
    fn describe(&self) -> Words {
        Words { name: NAME, users: "balancers" }
    }

    fn can(&self) -> Abilities {
        Abilities { returns_keys: true, carries_mark: true, has_users: true }
    }

    async fn list(&self) -> Result<Vec<Held>, DestinationError> {
        let read = |row: Certificate| {
            if row.is_gone() {
                return None;
            }
            let text = row.text();
            let seen = self.seen.all().remove(&text);
            let content = seen.unwrap_or_else(|| row.content());
            Some((text, row.held_with(content)))
        };
        let mut listed = self.api.list(CERTIFICATES, "", read).await?;
        listed.sort_by_key(|(_, held)| rank(held.id.as_str()));
        *self.seen.all() =
            listed.iter().map(|(text, held)| (*text, held.content.clone())).collect();
        Ok(listed.into_iter().map(|(_, held)| held).collect())
    }

    async fn look(&self, which: Which<'_>) -> Result<Option<Held>, DestinationError> {
        let id = match which {
            Which::Id(id) => id,
            Which::Named(name) => return self.find(name).await,
        };
        match self.api.get::<Certificate>(&format!("{CERTIFICATES}/{id}")).await? {
            Some(row) if !row.is_gone() => Ok(Some(row.held())),
            Some(_) | None => Ok(None),
        }
    }

    /// The description carries the mark behind what the operator wrote, and that is all that is sent beside the
    /// bundle over one that is there: to send its name is to rename it.
    async fn put(
        &self,
        name: &str,
        replaces: Option<&Held>,
        upload: &Upload,
        ownership: Option<&Ownership>,
    ) -> Result<Held, DestinationError> {
        let own = replaces.map_or("", |held| held.note.as_str());
        let (description, is_cut) = match ownership {
            Some(ownership) => mark::write(ownership, own),
            None => (own.to_owned(), false),
        };
        if is_cut {
            let name = replaces.map_or(name, |held| held.name.as_str());
            warn!(name, "description cut so that our mark fits");
        }
        let row: Certificate = match replaces {
            Some(held) => {
                let body = body(upload, &description, None);
                self.api.put(&format!("{CERTIFICATES}/{}", held.id), body).await?
            }
            None => {
                let body = body(upload, &description, Some(name));
                self.api.post(CERTIFICATES, Body::Json(body)).await?
            }
        };
        Ok(row.held())
    }

    async fn retrieve(&self, id: &CertificateId) -> Result<Retrieved, DestinationError> {
        // The one answer that shows the key of an existing certificate (seen on Rancher 1.6.30).
        let row: Certificate =
            self.api.post(&format!("{CERTIFICATES}/{id}/?{UPDATE}"), Body::Empty).await?;
        let chain =
            format!("{}\n{}", row.cert.unwrap_or_default(), row.cert_chain.unwrap_or_default());
        Ok(Retrieved { chain, key: row.key })
    }

    async fn users(&self) -> Result<Vec<User>, DestinationError> {
        Ok(self.balancers().await?.into_iter().map(|balancer| balancer.user).collect())
    }

    /// By one `update` action. Any service of the environment will do: it raises the one version that all balancers
    /// watch. Our own goes first, because it disturbs nobody else.
    async fn activate(&self, changed: &[CertificateId]) -> Result<Activated, DestinationError> {
        match self.choose(changed).await? {
            Choice::Wake(service) => {
                let action = format!("{}/?{UPDATE}", service.id.as_str());
                self.api.post::<serde::de::IgnoredAny>(&action, Body::Empty).await?;
                self.carried_out(&service).await?;
                Ok(Activated::By(service.name))
            }
            Choice::NobodyThere => Ok(Activated::NobodyThere),
            Choice::NobodyActive => {
                Err(DestinationError::Conflict(waking::NOBODY_ACTIVE.to_owned()))
            }
        }
    }

    /// Not known yet: nothing of a balancer's own address is read.
    async fn served(
        &self,
        _user: &UserId,
        _name: &DomainName,
    ) -> Result<Vec<SocketAddr>, DestinationError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests;

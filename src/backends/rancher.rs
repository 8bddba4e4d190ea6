//! The orchestrator port over Rancher 1.x: names from its metadata service, bundles into its API.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;

use crate::backends::rancher::api::Api;
use crate::backends::rancher::api::Body;
use crate::backends::rancher::api::Row;
use crate::backends::rancher::metadata::Metadata;
use crate::core::bundle::Secret;
use crate::core::certificate::CertificateChain;
use crate::core::certificate::Flaw;
use crate::core::fingerprint::Fingerprint;
use crate::core::held::Announcement;
use crate::core::held::Held;
use crate::core::held::Revealed;
use crate::core::held::Service;
use crate::core::held::Upload;
use crate::core::problem::OrchestratorError;
use crate::ports::Orchestrator;

pub mod api;
pub mod base;
pub mod metadata;

/// What people call it.
pub const NAME: &str = "Rancher";

/// A Rancher 1.x environment.
pub struct Rancher {
    api: Api,
    metadata: Metadata,
    seen: Seen,
}

impl Rancher {
    /// The environment behind this API and this metadata service.
    pub fn new(api: Api, metadata: Metadata) -> Self {
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
        Held {
            rank: rank(&self.id),
            id: self.id,
            name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            is_changing: self.transitioning.as_deref() == Some("yes"),
            content,
        }
    }
}

/// The number in an id such as `1c95`.
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
    fn service(self, kind: &str) -> Service {
        let certificates = self.lb_config.unwrap_or_default().ids().chain(self.old.ids()).collect();
        Service {
            id: format!("{kind}/{}", self.id),
            name: self.name.unwrap_or_default(),
            is_active: self.state.as_deref() == Some("active"),
            certificates,
            folder: self.launch_config.unwrap_or_default().folder(),
        }
    }
}

fn body(upload: &Upload, name: Option<&str>) -> serde_json::Value {
    let mut body = serde_json::json!({
        "cert": upload.certificate,
        "certChain": upload.chain,
        "key": upload.key.reveal(),
        "description": upload.description,
    });
    // Only a new one is named: to rename is to take it from the balancers that list it.
    if let Some(name) = name {
        body["name"] = name.into();
    }
    body
}

impl Orchestrator for Rancher {
    async fn announcements(&self) -> Result<Vec<Announcement>, OrchestratorError> {
        self.metadata.announcements().await.map_err(OrchestratorError::Unavailable)
    }

    async fn changed(&self) {
        self.metadata.changed().await;
    }

    async fn certificates(&self) -> Result<Vec<Held>, OrchestratorError> {
        let read = |row: Certificate| {
            if row.is_gone() {
                return None;
            }
            let text = row.text();
            let seen = self.seen.all().remove(&text);
            let content = seen.unwrap_or_else(|| row.content());
            Some((text, row.held_with(content)))
        };
        let listed = self.api.list(CERTIFICATES, "", read).await?;
        *self.seen.all() =
            listed.iter().map(|(text, held)| (*text, held.content.clone())).collect();
        Ok(listed.into_iter().map(|(_, held)| held).collect())
    }

    async fn look(&self, id: &str) -> Result<Option<Held>, OrchestratorError> {
        match self.api.get::<Certificate>(&format!("{CERTIFICATES}/{id}")).await? {
            Some(row) if !row.is_gone() => Ok(Some(row.held())),
            Some(_) | None => Ok(None),
        }
    }

    async fn find(&self, name: &str) -> Result<Vec<Held>, OrchestratorError> {
        let query = format!("name={}", base::encode(name));
        // An unknown filter is ignored by the server, and names may be compared without case.
        let matches = |row: Certificate| {
            let is_wanted = !row.is_gone()
                && row.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
            is_wanted.then(|| row.held())
        };
        let mut found = self.api.list(CERTIFICATES, &query, matches).await?;
        found.sort_by_key(|held| held.rank);
        Ok(found)
    }

    async fn create(&self, name: &str, upload: &Upload) -> Result<Held, OrchestratorError> {
        let row: Certificate =
            self.api.post(CERTIFICATES, Body::Json(body(upload, Some(name)))).await?;
        Ok(row.held())
    }

    async fn replace(&self, id: &str, upload: &Upload) -> Result<Held, OrchestratorError> {
        let row: Certificate =
            self.api.put(&format!("{CERTIFICATES}/{id}"), body(upload, None)).await?;
        Ok(row.held())
    }

    async fn reveal(&self, id: &str) -> Result<Revealed, OrchestratorError> {
        // The one answer that shows the key of an existing certificate (seen on Rancher 1.6.30).
        let row: Certificate =
            self.api.post(&format!("{CERTIFICATES}/{id}/?{UPDATE}"), Body::Empty).await?;
        let chain =
            format!("{}\n{}", row.cert.unwrap_or_default(), row.cert_chain.unwrap_or_default());
        Ok(Revealed { chain, key: row.key })
    }

    async fn balancers(&self) -> Result<Vec<Service>, OrchestratorError> {
        self.api.list(BALANCERS, "", |row: ServiceRow| Some(row.service(BALANCERS))).await
    }

    async fn own_service(&self) -> Result<Option<Service>, OrchestratorError> {
        // Metadata may be away, or see us under an address that it does not know.
        let Ok(Some(uuid)) = self.metadata.own_service().await else {
            return Ok(None);
        };
        let query = format!("uuid={}", base::encode(&uuid));
        let is_own =
            |row: ServiceRow| (row.uuid.as_deref() == Some(&uuid)).then(|| row.service(SERVICES));
        Ok(self.api.list(SERVICES, &query, is_own).await?.into_iter().next())
    }

    async fn wake(&self, id: &str) -> Result<(), OrchestratorError> {
        self.api
            .post::<serde::de::IgnoredAny>(&format!("{id}/?{UPDATE}"), Body::Empty)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_their_number() {
        assert_eq!(rank("1c95"), 95);
        assert!(rank("1c9") < rank("1c10"));
        assert_eq!(rank("odd"), u64::MAX);
        // Whatever a server says.
        assert_eq!(rank("1ç95"), 95);
        assert_eq!(rank("1c9€"), u64::MAX);
        assert_eq!(rank(""), u64::MAX);
    }

    #[test]
    fn every_field_of_a_certificate_may_be_null() {
        let text = r#"{"id":"1c1","name":null,"description":null,"state":"active","transitioning":"no","removed":null,
            "cert":null,"certChain":null,"key":null,"CN":null,"keySize":null,"subjectAlternativeNames":null}"#;
        let held = serde_json::from_str::<Certificate>(text).unwrap().held();
        assert!(held.content.is_err() && held.name.is_empty() && !held.is_changing);
    }

    #[test]
    fn balancers_of_both_ages_list_their_certificates() {
        let new = r#"{"id":"1s3","state":"active","lbConfig":{"defaultCertificateId":"1c3","certificateIds":["1c4"]}}"#;
        let old = r#"{"id":"1s3","state":"inactive","lbConfig":null,"defaultCertificateId":"1c3","certificateIds":null}"#;
        let read = |text| serde_json::from_str::<ServiceRow>(text).unwrap().service(BALANCERS);
        assert_eq!(read(new).certificates, ["1c3", "1c4"]);
        assert_eq!(read(old).certificates, ["1c3"]);
        assert!(read(new).is_active && !read(old).is_active);
        assert_eq!(read(new).id, "loadBalancerServices/1s3");
        assert_eq!(read(new).folder, None);
        let folder =
            r#"{"id":"1s3","launchConfig":{"labels":{"io.rancher.lb_service.cert_dir":"/certs"}}}"#;
        assert_eq!(read(folder).folder.as_deref(), Some("/certs"));
        let none = r#"{"id":"1s3","launchConfig":{"labels":{"io.rancher.lb_service.cert_dir":7}}}"#;
        assert_eq!(read(none).folder, None);
    }
}

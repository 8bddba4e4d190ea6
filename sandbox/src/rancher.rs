//! Rancher 1.x: the API of Cattle and the metadata service, over one model.
//!
//! The API behaves as Cattle 0.183.83 does (Rancher 1.6.30), metadata as rancher-metadata v0.10.4, unless it is made older;
//! `recordings/` holds what those answered, and `tests/rancher.rs` holds the model against it.
//!
//! - [`settings`]: what a test may set
//! - [`age`]: which rancher-metadata it is, with the rows of which Cattle
//! - [`certificate`], [`service`]: what the model holds
//! - [`model`]: all of it at one moment

pub mod age;
pub mod certificate;
pub mod model;
pub mod service;
pub mod settings;

mod access;
mod answer;
pub(crate) mod api;
mod certificate_api;
mod derived;
mod door;
mod entries;
mod environment;
pub(crate) mod metadata;
pub(crate) mod origin;
pub(crate) mod place;
mod progress;
mod service_api;
mod tree;
mod walk;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::faults::Faults;
use crate::rancher::access::new_key;
use crate::rancher::api::Api;
use crate::rancher::certificate::Certificate;
use crate::rancher::certificate::Fields;
use crate::rancher::certificate::Held;
use crate::rancher::certificate::State;
use crate::rancher::derived::Derived;
use crate::rancher::door::Door;
use crate::rancher::metadata::Metadata;
use crate::rancher::model::Model;
use crate::rancher::model::Shared;
use crate::rancher::model::Snapshot;
use crate::rancher::model::change;
use crate::rancher::service::ServiceSpec;
use crate::rancher::settings::Availability;
use crate::rancher::settings::RancherSettings;
use crate::rancher::settings::Role;
use crate::serve::Server;

/// A running Rancher with one project. Dropping it closes its ports.
pub struct Rancher {
    shared: Shared,
    api: Door,
    api_faults: Faults,
    metadata: Door,
    metadata_faults: Faults,
    own_service: String,
}

impl Rancher {
    /// The stack of the daemon's own services.
    pub const OWN_STACK: &str = "lets-encrypt";
    /// The daemon's primary service, a web server.
    pub const OWN_PRIMARY: &str = "letsencrypt-nginx";
    /// The daemon itself, a sidekick of the primary.
    pub const OWN_SIDEKICK: &str = "rancher-lets-encrypt";

    /// Starts both servers on 127.0.0.1. The daemon's own stack is there; certificates are not.
    pub async fn start(settings: RancherSettings) -> io::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, settings).await
    }

    /// The same on another address, which containers reach.
    pub async fn start_at(at: Ipv4Addr, settings: RancherSettings) -> io::Result<Self> {
        let mut model = Model::new(settings);
        for role in Role::ALL {
            let (access, secret) = new_key();
            model.keys.insert(access, (secret, role));
        }
        let primary = model.add_service(ServiceSpec::new(Self::OWN_STACK, Self::OWN_PRIMARY));
        let mut sidekick = ServiceSpec::new(Self::OWN_STACK, Self::OWN_SIDEKICK)
            .label("io.rancher.container.agent.role", "environment")
            .label("io.rancher.container.create_agent", "true");
        sidekick.sidekick_of = Some(Self::OWN_PRIMARY.to_owned());
        sidekick.health_check = true;
        model.own = Some(model.add_service(sidekick));
        let rancher = Self {
            shared: Arc::new(watch::Sender::new(model)),
            api: Door::new(at)?,
            api_faults: Faults::default(),
            metadata: Door::new(at)?,
            metadata_faults: Faults::default(),
            own_service: format!("1s{primary}"),
        };
        rancher.open_api().await?;
        rancher.metadata_is(Availability::Up).await?;
        Ok(rancher)
    }

    /// The base URL of the API, ending in `/v2-beta`.
    pub fn api_url(&self) -> String {
        format!("{}/v2-beta", self.origin())
    }

    /// The API server without a path.
    pub fn origin(&self) -> String {
        format!("http://{}", self.api.address())
    }

    /// The metadata server without a path.
    pub fn metadata_url(&self) -> String {
        format!("http://{}", self.metadata.address())
    }

    /// The id of the one project.
    pub fn project(&self) -> &'static str {
        Model::PROJECT
    }

    /// The UUID of the environment, as in metadata.
    pub fn environment(&self) -> String {
        self.shared.borrow().environment.clone()
    }

    /// The id of the daemon's primary service.
    pub fn own_service(&self) -> &str {
        &self.own_service
    }

    /// The access and the secret key of a role.
    pub fn key(&self, role: Role) -> (String, String) {
        let model = self.shared.borrow();
        let mut keys = model.keys.iter();
        let (access, (secret, _)) =
            keys.find(|(_, (_, owner))| *owner == role).expect("every role has a key");
        (access.clone(), secret.clone())
    }

    /// Gives a role a new key, as a new container gets; the old one is refused from then on.
    pub fn replace_key(&self, role: Role) -> (String, String) {
        let (access, secret) = new_key();
        change(&self.shared, |model| {
            model.keys.retain(|_, (_, owner)| *owner != role);
            model.keys.insert(access.clone(), (secret.clone(), role));
        });
        (access, secret)
    }

    /// Accepts one more key for a role.
    pub fn add_key(&self, role: Role, access: &str, secret: &str) {
        change(&self.shared, |model| {
            let owner = (secret.to_owned(), role);
            model.keys.insert(access.to_owned(), owner);
        });
    }

    /// Changes the settings.
    pub fn settings(&self, set: impl FnOnce(&mut RancherSettings)) {
        change(&self.shared, |model| {
            set(&mut model.settings);
            model.forget_trees();
        });
    }

    /// What goes wrong with the API, and what it was asked.
    pub fn faults(&self) -> &Faults {
        &self.api_faults
    }

    /// What goes wrong with metadata, and what it was asked.
    pub fn metadata_faults(&self) -> &Faults {
        &self.metadata_faults
    }

    /// Resolves when `done` says so of the model. It must look at the model only: the handle is
    /// locked meanwhile.
    pub async fn until(&self, done: impl Fn(&Model) -> bool) {
        let mut changes = self.shared.subscribe();
        let found = changes.wait_for(|model| done(model)).await;
        drop(found.expect("the sender lives as long as self"));
    }

    /// Opens the port of the API, unless it is open.
    pub async fn open_api(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.api.open(&self.api_faults, Arc::new(Api { shared })).await
    }

    /// Serves the API over TLS as well, as behind a proxy, until the server is dropped.
    pub async fn api_over_tls(&self, tls: Arc<ServerConfig>) -> io::Result<Server> {
        let shared = Arc::clone(&self.shared);
        Server::start(Some(tls), self.api_faults.clone(), Arc::new(Api { shared })).await
    }

    /// Closes the port of the API: connections end, new ones are refused.
    pub async fn close_api(&self) {
        self.api.close().await;
    }

    /// Makes metadata well or unwell. Its port stays the same.
    pub async fn metadata_is(&self, availability: Availability) -> io::Result<()> {
        change(&self.shared, |model| {
            model.availability = availability;
            model.forget_trees();
        });
        if availability == Availability::Refused {
            self.metadata.close().await;
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let answers = Arc::new(Metadata { shared });
        self.metadata.open(&self.metadata_faults, answers).await
    }

    pub(crate) fn shared(&self) -> Shared {
        Arc::clone(&self.shared)
    }
}

/// Certificates.
impl Rancher {
    /// Adds an active certificate and gives its id. Nothing is checked, as in Rancher.
    pub fn add_certificate(
        &self,
        name: &str,
        cert_pem: &str,
        chain_pem: Option<&str>,
        key_pem: &str,
        description: Option<&str>,
    ) -> String {
        let fields = Fields {
            name: Some(Some(name.to_owned())),
            cert: Some(cert_pem.to_owned()),
            chain: Some(chain_pem.map(str::to_owned)),
            key: Some(key_pem.to_owned()),
            description: Some(description.map(str::to_owned)),
        };
        let derived = Derived::from_pem(cert_pem).unwrap_or_default();
        change(&self.shared, |model| {
            let row = model.add_row(|number| Certificate::new(number, fields, derived));
            row.settle();
            row.held.id.clone()
        })
    }

    /// The certificate with exactly this name; with the lowest id if there are several.
    pub fn certificate(&self, name: &str) -> Option<Held> {
        self.shared.borrow().certificate(name).cloned()
    }

    /// All certificates that are not removed, by id.
    pub fn certificates(&self) -> Vec<Held> {
        self.shared.borrow().certificates().cloned().collect()
    }

    /// Changes a certificate as an operator would; derived fields follow `cert`.
    pub fn change_certificate(&self, id: &str, edit: impl FnOnce(&mut Held)) {
        change(&self.shared, |model| {
            let row = model.edit(id, |row| row.change(edit));
            row.expect("there is such a certificate");
        });
    }

    /// Removes a certificate.
    pub fn remove_certificate(&self, id: &str) {
        change(&self.shared, |model| {
            let row = model.row(id).expect("there is such a certificate");
            row.enter(State::Removing);
            row.settle();
        });
    }

    /// A backup of the database.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.shared.borrow().records.clone())
    }

    /// Goes back to a backup; metadata is loaded anew.
    pub fn restore(&self, snapshot: Snapshot) {
        change(&self.shared, |model| {
            model.records = snapshot.0;
            model.reload();
        });
    }
}

//! All that Rancher knows: records, keys, settings, the version that metadata has come to.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use crate::rancher::certificate::Certificate;
use crate::rancher::certificate::Held;
use crate::rancher::origin;
use crate::rancher::service::Container;
use crate::rancher::service::ContainerSpec;
use crate::rancher::service::LbConfig;
use crate::rancher::service::Service;
use crate::rancher::service::ServiceSpec;
use crate::rancher::settings::Availability;
use crate::rancher::settings::RancherSettings;
use crate::rancher::settings::Role;
use crate::rancher::tree;

/// The model, shared by its servers; every change wakes those who wait for one.
pub(crate) type Shared = Arc<watch::Sender<Model>>;

/// Changes the model and gives back what the change says.
pub(crate) fn change<T>(shared: &Shared, change: impl FnOnce(&mut Model) -> T) -> T {
    let mut said = None;
    shared.send_modify(|model| said = Some(change(model)));
    said.expect("send_modify calls it once")
}

/// The database: what a backup holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    pub(crate) certificates: BTreeMap<u64, Certificate>,
    /// The certificates that have a name or had it once, by the name in lower case: each new one asks for its own.
    called: BTreeMap<String, BTreeSet<u64>>,
    pub(crate) services: BTreeMap<u64, Service>,
    pub(crate) containers: BTreeMap<u64, Container>,
    /// Number and UUID of a stack, by environment and name.
    pub(crate) stacks: BTreeMap<(Option<String>, String), (u64, String)>,
    /// Rows that no Cattle shows, as they stand in the lists `services` and `containers`.
    pub(crate) odd: [Vec<Value>; 2],
    last_certificate: u64,
    last_service: u64,
    last_container: u64,
}

impl Records {
    fn call(&mut self, number: u64, name: Option<&str>) {
        if let Some(name) = name {
            self.called.entry(name.to_lowercase()).or_default().insert(number);
        }
    }
}

/// A backup of Rancher's database, for [`crate::rancher::Rancher::restore`].
#[derive(Debug, Clone)]
pub struct Snapshot(pub(crate) Records);

/// All that Rancher knows at one moment, as [`crate::rancher::Rancher::until`] shows it.
pub struct Model {
    pub(crate) settings: RancherSettings,
    pub(crate) records: Records,
    pub(crate) keys: BTreeMap<String, (String, Role)>,
    pub(crate) availability: Availability,
    /// The UUID of our environment and of the host that all containers are on.
    pub(crate) environment: String,
    pub(crate) host: String,
    pub(crate) network: String,
    /// How often a PUT has met an activating certificate.
    pub(crate) met_activating: u32,
    pub(crate) own: Option<u64>,
    wakes: Vec<String>,
    version: String,
    reloads: u64,
    trees: BTreeMap<tree::Version, Arc<Value>>,
}

impl Model {
    /// The id of the one project, which is also the account of its keys.
    pub(crate) const PROJECT: &str = "1a5";

    pub(crate) fn new(settings: RancherSettings) -> Self {
        Self {
            settings,
            records: Records::default(),
            keys: BTreeMap::new(),
            availability: Availability::Up,
            environment: origin::uuid(),
            host: origin::uuid(),
            network: origin::uuid(),
            met_activating: 0,
            own: None,
            wakes: Vec::new(),
            version: origin::uuid(),
            reloads: 0,
            trees: BTreeMap::new(),
        }
    }

    /// The certificate with exactly this name; with the lowest id if there are several.
    pub fn certificate(&self, name: &str) -> Option<&Held> {
        let rows = self.called(name).filter(|row| !row.is_removed());
        rows.map(|row| &row.held).find(|held| held.name.as_deref() == Some(name))
    }

    /// How many certificates there ever were: to wait for so many thousands of them without counting them each time.
    pub fn certificates_made(&self) -> u64 {
        self.records.last_certificate
    }

    /// All certificates that are not removed, by id.
    pub fn certificates(&self) -> impl Iterator<Item = &Held> {
        self.records.certificates.values().filter(|row| !row.is_removed()).map(|row| &row.held)
    }

    /// The ids of the services whose `update` action was accepted, oldest first.
    pub fn wakes(&self) -> &[String] {
        &self.wakes
    }

    /// The version of metadata.
    pub fn version(&self) -> String {
        self.settings.age.server.version(self.reloads, &self.version)
    }

    /// The state of a service; none if it is gone.
    pub fn service_state(&self, id: &str) -> Option<&str> {
        self.service(id).map(|service| service.state.as_str())
    }

    /// The certificates of a load balancer.
    pub fn lb_config(&self, id: &str) -> Option<&LbConfig> {
        self.service(id)?.lb.as_ref()
    }

    /// Notes the update action of a service, which is what balancers are woken by.
    pub(crate) fn wake(&mut self, id: String) {
        self.wakes.push(id);
        self.reload();
    }

    /// Metadata gets new data: a new version, lists in a new order.
    pub(crate) fn reload(&mut self) {
        self.version = origin::uuid();
        self.reloads += 1;
        self.trees.clear();
    }

    /// What decides about the order of lists.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloads
    }

    /// The data of metadata in the form of an API version, as of the last reload.
    pub(crate) fn tree(&mut self, version: tree::Version) -> Arc<Value> {
        if let Some(tree) = self.trees.get(&version) {
            return Arc::clone(tree);
        }
        let tree = Arc::new(tree::build(self, version));
        self.trees.insert(version, Arc::clone(&tree));
        tree
    }

    /// The tree is built when it is first asked for; settings that it depends on have changed.
    pub(crate) fn forget_trees(&mut self) {
        self.trees.clear();
    }

    pub(crate) fn row(&mut self, id: &str) -> Option<&mut Certificate> {
        self.records.certificates.get_mut(&number(id, "1c")?)
    }

    pub(crate) fn service(&self, id: &str) -> Option<&Service> {
        self.records.services.get(&number(id, "1s")?)
    }

    pub(crate) fn service_mut(&mut self, id: &str) -> Option<&mut Service> {
        self.records.services.get_mut(&number(id, "1s")?)
    }

    /// Adds a row under the next id.
    pub(crate) fn add_row(&mut self, make: impl FnOnce(u64) -> Certificate) -> &mut Certificate {
        self.records.last_certificate += 1;
        let number = self.records.last_certificate;
        let row = make(number);
        self.records.call(number, row.held.name.as_deref());
        self.records.certificates.entry(number).or_insert(row)
    }

    /// Changes a row in a way that may give it another name; none if there is no such row.
    pub(crate) fn edit(
        &mut self,
        id: &str,
        edit: impl FnOnce(&mut Certificate),
    ) -> Option<&mut Certificate> {
        let number = number(id, "1c")?;
        let row = self.records.certificates.get_mut(&number)?;
        edit(row);
        let name = row.held.name.clone();
        self.records.call(number, name.as_deref());
        self.records.certificates.get_mut(&number)
    }

    /// Rows among which are all that have this name, in whatever case.
    pub(crate) fn called(&self, name: &str) -> impl Iterator<Item = &Certificate> {
        let numbers = self.records.called.get(&name.to_lowercase()).into_iter().flatten();
        numbers.filter_map(|number| self.records.certificates.get(number))
    }

    /// Adds a service with its containers and gives its number. Metadata does not see it yet.
    pub(crate) fn add_service(&mut self, spec: ServiceSpec) -> u64 {
        self.records.last_service += 1;
        let number = self.records.last_service;
        let mut service = Service::new(number, spec);
        if let Some(name) = &service.sidekick_of {
            let primary = self
                .siblings(&service)
                .find(|other| other.name == *name && other.sidekick_of.is_none())
                .expect("the primary of a sidekick is added before it");
            // Rancher knows them as one service.
            let shared = (primary.uuid.clone(), primary.token.clone());
            (service.uuid, service.token) = shared;
        }
        let stack = (service.environment.clone(), service.stack.clone());
        let stacks = &mut self.records.stacks;
        let next = stacks.len() as u64 + 1;
        stacks.entry(stack).or_insert_with(|| (next, origin::uuid()));
        let starts = service.kind.has_containers() && service.state != "inactive";
        self.records.services.insert(number, service);
        if starts {
            self.start_containers(number);
        }
        number
    }

    /// Starts as many containers as the scale of the service says.
    pub(crate) fn start_containers(&mut self, service: u64) {
        let records = &mut self.records;
        let Some(service) = records.services.get_mut(&service) else {
            return;
        };
        service.was_started = true;
        for index in 1..=service.scale {
            records.last_container += 1;
            let number = records.last_container;
            let container = Container::of(number, service, index);
            records.containers.insert(number, container);
        }
    }

    /// Adds a container of its own and gives its UUID.
    pub(crate) fn add_container(&mut self, spec: ContainerSpec) -> String {
        self.records.last_container += 1;
        let number = self.records.last_container;
        let container = Container::standalone(number, spec);
        let uuid = container.uuid.clone();
        self.records.containers.insert(number, container);
        uuid
    }

    /// The services of the same stack.
    pub(crate) fn siblings<'a>(
        &'a self,
        service: &'a Service,
    ) -> impl Iterator<Item = &'a Service> {
        self.records.services.values().filter(move |other| {
            other.stack == service.stack && other.environment == service.environment
        })
    }

    /// The sidekicks of a primary.
    pub(crate) fn sidekicks<'a>(
        &'a self,
        primary: &'a Service,
    ) -> impl Iterator<Item = &'a Service> {
        self.siblings(primary)
            .filter(move |other| other.sidekick_of.as_deref() == Some(&primary.name))
    }

    /// The containers of a service.
    pub(crate) fn containers_of(&self, service: u64) -> impl Iterator<Item = &Container> {
        self.records.containers.values().filter(
            move |container| matches!(container.service, Some((number, _)) if number == service),
        )
    }

    /// The name of the certificate with this id, unless it is removed.
    pub(crate) fn certificate_name(&self, id: &str) -> Option<&str> {
        let row = self.records.certificates.get(&number(id, "1c")?)?;
        if row.is_removed() {
            return None;
        }
        row.held.name.as_deref()
    }
}

fn number(id: &str, prefix: &str) -> Option<u64> {
    id.strip_prefix(prefix)?.parse().ok()
}

//! Services and containers: how tests describe them, and the rows they become.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::rancher::origin;
use crate::rancher::progress::Progress;
use crate::rancher::settings::Activation;

/// A service to be added.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// The stack it belongs to; made when it is not there.
    pub stack: String,
    /// The name.
    pub name: String,
    /// The UUID; a random one if none. A sidekick always has its primary's.
    pub uuid: Option<String>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The labels of its image, which only its containers show.
    pub image_labels: BTreeMap<String, String>,
    /// The kind.
    pub kind: ServiceKind,
    /// The state; with `inactive` it was never started and has no containers.
    pub state: String,
    /// How many containers it has; external and alias services have none.
    pub scale: u32,
    /// The name of the primary service in the same stack, which must be there already.
    pub sidekick_of: Option<String>,
    /// Whether Rancher checks the health of its containers; it always does for balancers.
    pub health_check: bool,
    /// The UUID of a linked environment; our own if none.
    pub environment: Option<String>,
}

impl ServiceSpec {
    /// An active service with one container and no labels.
    pub fn new(stack: &str, name: &str) -> Self {
        Self {
            stack: stack.to_owned(),
            name: name.to_owned(),
            uuid: None,
            labels: BTreeMap::new(),
            image_labels: BTreeMap::new(),
            kind: ServiceKind::Service,
            state: "active".to_owned(),
            scale: 1,
            sidekick_of: None,
            health_check: false,
            environment: None,
        }
    }

    /// With a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With a label that its image brings.
    pub fn image_label(mut self, key: &str, value: &str) -> Self {
        self.image_labels.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// A container without a service to be added.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The name.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The state, such as `running` or `stopped`.
    pub state: String,
    /// The UUID of a linked environment; our own if none.
    pub environment: Option<String>,
}

impl ContainerSpec {
    /// A running container without labels.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            state: "running".to_owned(),
            environment: None,
        }
    }

    /// With a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// The kinds of services that the model knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// Containers.
    Service,
    /// Addresses outside of Rancher; no containers.
    External,
    /// Another name for services; no containers.
    Dns,
    /// A load balancer.
    LoadBalancer,
}

impl ServiceKind {
    /// The name of the type.
    pub fn text(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::External => "externalService",
            Self::Dns => "dnsService",
            Self::LoadBalancer => "loadBalancerService",
        }
    }

    pub(crate) fn has_containers(self) -> bool {
        matches!(self, Self::Service | Self::LoadBalancer)
    }
}

/// The certificates of a load balancer, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LbConfig {
    /// Served when no name fits.
    pub default_certificate: Option<String>,
    /// The others.
    pub certificates: Vec<String>,
}

/// A service or the entry of a sidekick.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) number: u64,
    pub(crate) uuid: String,
    pub(crate) stack: String,
    pub(crate) name: String,
    pub(crate) kind: ServiceKind,
    pub(crate) state: String,
    pub(crate) labels: BTreeMap<String, String>,
    image_labels: BTreeMap<String, String>,
    /// UUIDs of containers that a selector takes up.
    pub(crate) selected: BTreeSet<String>,
    pub(crate) scale: u32,
    pub(crate) sidekick_of: Option<String>,
    pub(crate) has_health_check: bool,
    pub(crate) environment: Option<String>,
    pub(crate) lb: Option<LbConfig>,
    pub(crate) token: String,
    pub(crate) was_started: bool,
    pub(crate) created: time::OffsetDateTime,
    /// Of the process `service.update`.
    progress: Option<Progress>,
}

impl Service {
    pub(crate) fn new(number: u64, spec: ServiceSpec) -> Self {
        Self {
            number,
            uuid: spec.uuid.unwrap_or_else(origin::uuid),
            stack: spec.stack,
            name: spec.name,
            kind: spec.kind,
            state: spec.state,
            labels: spec.labels,
            image_labels: spec.image_labels,
            selected: BTreeSet::new(),
            scale: spec.scale,
            sidekick_of: spec.sidekick_of,
            has_health_check: spec.health_check || spec.kind == ServiceKind::LoadBalancer,
            environment: spec.environment,
            lb: None,
            token: origin::token(40),
            was_started: false,
            created: origin::now(),
            progress: None,
        }
    }

    /// The id, such as `1s7`.
    pub(crate) fn id(&self) -> String {
        format!("1s{}", self.number)
    }

    /// The name of the service that its sidekicks go along with; its own if it is none.
    pub(crate) fn primary(&self) -> &str {
        self.sidekick_of.as_deref().unwrap_or(&self.name)
    }

    /// What its containers carry: labels of the image, and over them those of the service.
    pub(crate) fn container_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.image_labels.clone();
        labels.extend(self.labels.clone());
        labels
    }

    /// Whether the API lists it: sidekicks are part of their primary, other environments are not ours.
    pub(crate) fn is_listed(&self) -> bool {
        self.sidekick_of.is_none() && self.environment.is_none() && self.state != "removed"
    }

    /// How many containers it has had; null before the first.
    pub(crate) fn create_index(&self) -> Option<u32> {
        self.was_started.then(|| self.scale.max(1))
    }

    /// Starts `service.update`; none if that process is not open in this state.
    pub(crate) fn start_update(&mut self) -> Option<()> {
        self.state = match self.state.as_str() {
            "active" => "updating-active".to_owned(),
            "inactive" => "updating-inactive".to_owned(),
            "updating-active" | "finishing-upgrade" | "activating" | "canceling-upgrade"
            | "upgrading" | "rolling-back" => self.state.clone(),
            _ => return None,
        };
        self.progress = Some(Progress::begin());
        Some(())
    }

    /// Puts it into a state, whatever is under way.
    pub(crate) fn enter(&mut self, state: &str) {
        self.state = state.to_owned();
        self.progress = None;
    }

    /// The state that an update leads to. Metadata, which is told of the update once, when it is
    /// nearly over, shows this one.
    pub(crate) fn settled_state(&self) -> &str {
        match (self.progress, self.state.as_str()) {
            (Some(_), "updating-active") => "active",
            (Some(_), "updating-inactive") => "inactive",
            (_, state) => state,
        }
    }

    /// Looks at it, which may be what ends an update.
    pub(crate) fn read(&mut self, activation: Activation) {
        let ends = |progress: &mut Progress| progress.ends_at_read(activation);
        if self.progress.as_mut().is_some_and(ends) {
            let state = self.settled_state().to_owned();
            self.enter(&state);
        }
    }
}

/// A container.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) number: u64,
    pub(crate) uuid: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The number of the service it belongs to, and its place among the service's containers.
    pub(crate) service: Option<(u64, u32)>,
    pub(crate) environment: Option<String>,
    pub(crate) deployment_unit: String,
}

impl Container {
    /// A container of its own.
    pub(crate) fn standalone(number: u64, spec: ContainerSpec) -> Self {
        Self {
            number,
            uuid: origin::uuid(),
            name: spec.name,
            state: spec.state,
            labels: spec.labels,
            service: None,
            environment: spec.environment,
            deployment_unit: origin::uuid(),
        }
    }

    /// The container at `index` (from 1) of a service; it takes a copy of the labels, beside those of its image.
    pub(crate) fn of(number: u64, service: &Service, index: u32) -> Self {
        let name = match &service.sidekick_of {
            Some(primary) => format!("{}-{primary}-{}-{index}", service.stack, service.name),
            None => format!("{}-{}-{index}", service.stack, service.name),
        };
        Self {
            number,
            uuid: origin::uuid(),
            name,
            state: "running".to_owned(),
            labels: service.container_labels(),
            service: Some((service.number, index)),
            environment: service.environment.clone(),
            deployment_unit: origin::uuid(),
        }
    }

    /// Its address in the managed network.
    pub(crate) fn address(&self) -> String {
        let [.., high, middle, low] = self.number.to_be_bytes();
        format!("10.{}.{middle}.{low}", 42 + high % 100)
    }
}

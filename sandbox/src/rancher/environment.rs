//! What a test does to the environment: services, containers, balancers, metadata.

use serde_json::Value;

use crate::rancher::Rancher;
use crate::rancher::model::Model;
use crate::rancher::model::change;
use crate::rancher::origin;
use crate::rancher::service::Container;
use crate::rancher::service::ContainerSpec;
use crate::rancher::service::LbConfig;
use crate::rancher::service::Service;
use crate::rancher::service::ServiceKind;
use crate::rancher::service::ServiceSpec;

/// Services, containers, metadata.
impl Rancher {
    /// Adds a service and gives its id.
    pub fn add_service(&self, spec: ServiceSpec) -> String {
        self.add_services([spec]).remove(0)
    }

    /// Adds services with a single reload of metadata, and gives their ids.
    pub fn add_services(&self, specs: impl IntoIterator<Item = ServiceSpec>) -> Vec<String> {
        change(&self.shared, |model| {
            let ids =
                specs.into_iter().map(|spec| format!("1s{}", model.add_service(spec))).collect();
            model.reload();
            ids
        })
    }

    /// Sets or removes a label of a service, as a finished upgrade does: its containers are new.
    pub fn set_label(&self, service: &str, key: &str, value: Option<&str>) {
        change(&self.shared, |model| {
            let entry = relabelled(model, service, key, value);
            for container in containers_of(model, entry.number) {
                container.labels = entry.container_labels();
                container.uuid = origin::uuid();
            }
            model.reload();
        });
    }

    /// Upgrades a service to another label. Until [`Self::finish_upgrade`] it is `upgraded`, and
    /// stopped containers with the old labels and the same names stand beside the new ones.
    pub fn begin_upgrade(&self, service: &str, key: &str, value: Option<&str>) {
        change(&self.shared, |model| {
            let entry = relabelled(model, service, key, value);
            if let Some(entry) = model.service_mut(service) {
                entry.enter("upgraded");
            }
            let mut had_containers = false;
            for container in containers_of(model, entry.number) {
                container.state = "stopped".to_owned();
                had_containers = true;
            }
            if had_containers {
                model.start_containers(entry.number);
            }
            model.reload();
        });
    }

    /// Ends an upgrade: the service is active, the old containers are gone.
    pub fn finish_upgrade(&self, service: &str) {
        change(&self.shared, |model| {
            let entry = model.service_mut(service).expect("there is such a service");
            entry.enter("active");
            let number = entry.number;
            model.records.containers.retain(|_, container| {
                container.state != "stopped" || !belongs_to(container, number)
            });
            model.reload();
        });
    }

    /// Removes a service, its sidekicks and their containers.
    pub fn remove_service(&self, service: &str) {
        change(&self.shared, |model| {
            let entry = model.service(service).expect("there is such a service").clone();
            let mut gone: Vec<u64> = vec![entry.number];
            if entry.sidekick_of.is_none() {
                gone.extend(model.sidekicks(&entry).map(|sidekick| sidekick.number));
            }
            model.records.services.retain(|number, _| !gone.contains(number));
            model
                .records
                .containers
                .retain(|_, container| !gone.iter().any(|number| belongs_to(container, *number)));
            model.reload();
        });
    }

    /// Puts a service into a state; its containers stop and start with it.
    pub fn set_service_state(&self, service: &str, state: &str) {
        change(&self.shared, |model| {
            let entry = model.service_mut(service).expect("there is such a service");
            entry.enter(state);
            let entry = entry.clone();
            let mut has_containers = false;
            for container in containers_of(model, entry.number) {
                has_containers = true;
                container.state = match state {
                    "inactive" => "stopped".to_owned(),
                    _ => "running".to_owned(),
                };
            }
            if !has_containers && state == "active" && entry.kind.has_containers() {
                model.start_containers(entry.number);
            }
            model.reload();
        });
    }

    /// Adds a container without a service and gives its UUID.
    pub fn add_container(&self, spec: ContainerSpec) -> String {
        change(&self.shared, |model| {
            let uuid = model.add_container(spec);
            model.reload();
            uuid
        })
    }

    /// Removes a container without a service.
    pub fn remove_container(&self, uuid: &str) {
        change(&self.shared, |model| {
            let containers = &mut model.records.containers;
            containers.retain(|_, container| container.uuid != uuid);
            model.reload();
        });
    }

    /// Adds a load balancer with certificates by id, and gives its id.
    pub fn add_balancer(
        &self,
        name: &str,
        default_certificate: Option<&str>,
        certificates: &[&str],
        state: &str,
    ) -> String {
        let mut spec = ServiceSpec::new("traffic-manager", name)
            .label("io.rancher.container.agent.role", "environmentAdmin")
            .label("io.rancher.container.create_agent", "true");
        spec.kind = ServiceKind::LoadBalancer;
        spec.state = state.to_owned();
        let lb = lb_config(default_certificate, certificates);
        change(&self.shared, |model| {
            let number = model.add_service(spec);
            if let Some(entry) = model.records.services.get_mut(&number) {
                entry.lb = Some(lb);
            }
            model.reload();
            format!("1s{number}")
        })
    }

    /// Gives a load balancer other certificates.
    pub fn set_balancer_certificates(
        &self,
        balancer: &str,
        default_certificate: Option<&str>,
        certificates: &[&str],
    ) {
        let lb = lb_config(default_certificate, certificates);
        change(&self.shared, |model| {
            let entry = model.service_mut(balancer).expect("there is such a balancer");
            entry.lb = Some(lb);
            model.reload();
        });
    }

    /// The ids of the services whose `update` action was accepted, oldest first.
    pub fn wakes(&self) -> Vec<String> {
        self.shared.borrow().wakes().to_vec()
    }

    /// The version of metadata.
    pub fn metadata_version(&self) -> String {
        self.shared.borrow().version()
    }

    /// Adds rows to the lists `services` and `containers`, as they are, whatever they are.
    pub fn add_rows(&self, services: &[Value], containers: &[Value]) {
        change(&self.shared, |model| {
            let [of_services, of_containers] = &mut model.records.odd;
            of_services.extend_from_slice(services);
            of_containers.extend_from_slice(containers);
            model.reload();
        });
    }

    /// A service with a selector takes up a container that is none of its own.
    pub fn select(&self, service: &str, container: &str) {
        change(&self.shared, |model| {
            let entry = model.service_mut(service).expect("there is such a service");
            entry.selected.insert(container.to_owned());
            model.reload();
        });
    }

    /// Something else changes in the environment: a new version with the same data.
    pub fn reload_metadata(&self) {
        change(&self.shared, Model::reload);
    }
}

fn lb_config(default_certificate: Option<&str>, certificates: &[&str]) -> LbConfig {
    LbConfig {
        default_certificate: default_certificate.map(str::to_owned),
        certificates: certificates.iter().map(|id| (*id).to_owned()).collect(),
    }
}

fn relabelled(model: &mut Model, service: &str, key: &str, value: Option<&str>) -> Service {
    let entry = model.service_mut(service).expect("there is such a service");
    match value {
        Some(value) => entry.labels.insert(key.to_owned(), value.to_owned()),
        None => entry.labels.remove(key),
    };
    entry.clone()
}

fn belongs_to(container: &Container, service: u64) -> bool {
    matches!(container.service, Some((number, _)) if number == service)
}

fn containers_of(model: &mut Model, service: u64) -> impl Iterator<Item = &mut Container> {
    let containers = model.records.containers.values_mut();
    containers.filter(move |container| belongs_to(container, service))
}

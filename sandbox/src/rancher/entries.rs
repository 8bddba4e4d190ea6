//! The entries of services and containers in metadata.

use serde_json::Value;
use serde_json::json;

use crate::rancher::service::Container;
use crate::rancher::service::Service;
use crate::rancher::service::ServiceKind;
use crate::rancher::tree::Build;
use crate::rancher::tree::Version;

/// Whether the token of a service is in its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// As in lists.
    Hidden,
    /// As in `self/service`.
    Shown,
}

impl Build<'_> {
    pub(crate) fn service(&self, service: &Service, token: Token) -> Value {
        let own = self.model.containers_of(service.number);
        let all = self.model.records.containers.values();
        let selected = all.filter(|container| service.selected.contains(&container.uuid));
        let containers: Vec<&Container> = own.chain(selected).collect();
        let sidekicks = self.sidekicks(service);
        let has_scale = service.kind.has_containers();
        // Only a service without containers shows its token to everybody.
        let shows_token = token == Token::Shown || containers.is_empty();
        let entry = json!({
            "containers": match (containers.is_empty(), self.version) {
                (true, _) => Value::Null,
                (false, Version::July2015) => {
                    containers.iter().map(|container| json!(container.name)).collect()
                }
                (false, Version::December2015 | Version::July2016) => {
                    containers.iter().map(|container| self.container(container)).collect()
                }
            },
            "create_index": service.create_index(),
            "environment_uuid": self.environment(service.environment.as_ref()),
            "expose": [],
            "external_ips": match service.kind {
                ServiceKind::External => json!(["192.0.2.99"]),
                ServiceKind::Service | ServiceKind::Dns | ServiceKind::LoadBalancer => json!([]),
            },
            "fqdn": null,
            "health_check": health_check(service),
            "hostname": null,
            "kind": service.kind.text(),
            "labels": self.service_labels(service, &sidekicks),
            "lb_config": self.lb_config(service),
            "links": match (service.kind, self.version) {
                (ServiceKind::LoadBalancer, _) => {
                    json!({"lets-encrypt/letsencrypt-nginx": "letsencrypt-nginx"})
                }
                (_, Version::July2016) => json!({}),
                (_, Version::July2015 | Version::December2015) => Value::Null,
            },
            "metadata": {},
            "metadata_kind": "service",
            "name": self.name(&service.name),
            "ports": match service.kind {
                ServiceKind::LoadBalancer => json!(["443:443/tcp"]),
                ServiceKind::Service | ServiceKind::External | ServiceKind::Dns => json!([]),
            },
            "primary_service_name": self.name(service.primary()),
            "scale": has_scale.then_some(service.scale),
            "sidekicks": self.list(sidekicks),
            "stack_name": self.name(&service.stack),
            "stack_uuid": self.stack_uuid(service.environment.as_ref(), &service.stack),
            "state": service.settled_state(),
            "system": false,
            "token": shows_token.then_some(&service.token),
            "uuid": service.uuid,
            "vip": null,
        });
        self.age().cattle.entry(entry)
    }

    /// The entry of a sidekick lists the sidekicks of its primary, itself among them.
    fn sidekicks(&self, service: &Service) -> Vec<Value> {
        let siblings = self.model.siblings(service);
        siblings
            .filter(|other| other.sidekick_of.as_deref() == Some(service.primary()))
            .map(|sidekick| json!(self.name(&sidekick.name)))
            .collect()
    }

    fn service_labels(&self, service: &Service, sidekicks: &[Value]) -> Value {
        let mut labels = json!(service.labels);
        if service.sidekick_of.is_none() && !sidekicks.is_empty() {
            let names: Vec<&str> = sidekicks.iter().filter_map(Value::as_str).collect();
            labels["io.rancher.sidekicks"] = json!(names.join(","));
        }
        labels
    }

    /// Certificates by name; one that was removed is not there.
    fn lb_config(&self, service: &Service) -> Value {
        let Some(lb) = &service.lb else {
            return Value::Null;
        };
        let name = |id: &String| self.model.certificate_name(id);
        let names: Vec<&str> = lb.certificates.iter().filter_map(name).collect();
        json!({
            "certs": names,
            "config": null,
            "default_cert": lb.default_certificate.as_ref().and_then(name),
            "port_rules": [{
                "backend_name": null,
                "environment": null,
                "hostname": null,
                "path": null,
                "priority": 2,
                "protocol": "https",
                "region": null,
                "selector": null,
                "service": "lets-encrypt/letsencrypt-nginx",
                "source_port": 443,
                "target_port": 80,
                "weight": 1,
            }],
            "stickiness_policy": null,
        })
    }

    pub(crate) fn container(&self, container: &Container) -> Value {
        let service =
            container.service.and_then(|(number, _)| self.model.records.services.get(&number));
        let environment = container.environment.as_ref();
        let index = container.service.map(|(_, index)| index);
        let is_checked = service.is_some_and(|service| service.has_health_check);
        let is_balancer = service.is_some_and(|service| service.kind == ServiceKind::LoadBalancer);
        let mut json = json!({
            "create_index": index,
            "dns": ["169.254.169.250"],
            "dns_search": dns_search(service),
            "environment_uuid": self.environment(environment),
            "external_id": container.deployment_unit,
            "health_check": service.map_or(Value::Null, health_check),
            "health_check_hosts": match is_checked {
                true => json!([self.model.host]),
                false => json!([]),
            },
            "health_state": is_checked.then_some("initializing"),
            "host_uuid": self.model.host,
            "hostname": null,
            "ips": [container.address()],
            "labels": self.container_labels(container, service),
            "links": is_balancer.then(|| json!({})),
            "memory_reservation": null,
            "metadata_kind": "container",
            "milli_cpu_reservation": null,
            "name": self.name(&container.name),
            "network_from_container_uuid": null,
            "network_uuid": self.model.network,
            "ports": match is_balancer {
                true => json!(["0.0.0.0:443:443/tcp"]),
                false => self.list(Vec::new()),
            },
            "primary_ip": container.address(),
            "primary_mac_address": "02:57:51:e4:fd:6c",
            "service_index": index.map(|index| index.to_string()),
            "service_name": service.map(|service| self.name(&service.name)),
            "service_uuid": service.map(|service| &service.uuid),
            "stack_name": service.map(|service| self.name(&service.stack)),
            "stack_uuid": service.map(|service| self.stack_uuid(environment, &service.stack)),
            "start_count": 2,
            "state": container.state,
            "system": false,
            "uuid": container.uuid,
        });
        if let (None, Some(fields)) = (service, json.as_object_mut()) {
            fields.remove("service_uuid");
        }
        self.age().cattle.entry(json)
    }

    /// The copy that was made at creation, and the labels that Rancher puts on every container.
    fn container_labels(&self, container: &Container, service: Option<&Service>) -> Value {
        let mut labels = json!(container.labels);
        let environment = self.environment(container.environment.as_ref());
        labels["io.rancher.environment.uuid"] = json!(environment);
        let Some(service) = service else {
            return labels;
        };
        let (stack, primary) = (&service.stack, service.primary());
        let (path, launch_config) = match &service.sidekick_of {
            Some(_) => (format!("{stack}/{primary}/{}", service.name), service.name.as_str()),
            None => (format!("{stack}/{primary}"), "io.rancher.service.primary.launch.config"),
        };
        labels["io.rancher.project.name"] = json!(stack);
        labels["io.rancher.project_service.name"] = json!(path);
        labels["io.rancher.service.deployment.unit"] = json!(container.deployment_unit);
        labels["io.rancher.service.launch.config"] = json!(launch_config);
        labels["io.rancher.stack.name"] = json!(stack);
        labels["io.rancher.stack_service.name"] = json!(path);
        labels
    }
}

fn health_check(service: &Service) -> Value {
    if !service.has_health_check {
        return Value::Null;
    }
    let (port, request_line) = match service.kind {
        ServiceKind::LoadBalancer => (42, None),
        ServiceKind::Service | ServiceKind::External | ServiceKind::Dns => {
            (8080, Some("GET /healthz HTTP/1.0"))
        }
    };
    json!({
        "healthy_threshold": 2,
        "interval": 2000,
        "port": port,
        "request_line": request_line,
        "response_timeout": 2000,
        "unhealthy_threshold": 3,
    })
}

fn dns_search(service: Option<&Service>) -> Value {
    let Some(service) = service else {
        return json!(["rancher.internal"]);
    };
    let stack = service.stack.to_lowercase();
    let primary = service.primary().to_lowercase();
    json!([
        format!("{stack}.rancher.internal"),
        format!("{primary}.{stack}.rancher.internal"),
        "rancher.internal",
    ])
}

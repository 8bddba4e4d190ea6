//! What the API does with services and load balancers.

use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::rancher::answer::Collection;
use crate::rancher::answer::Problem;
use crate::rancher::answer::Row;
use crate::rancher::api::Call;
use crate::rancher::api::Done;
use crate::rancher::certificate::View;
use crate::rancher::certificate::actions;
use crate::rancher::certificate::milliseconds;
use crate::rancher::certificate::timestamp;
use crate::rancher::model::Model;
use crate::rancher::place::Kind;
use crate::rancher::service::Service;
use crate::rancher::service::ServiceKind;
use crate::rancher::settings::Database;

/// The fields that a list can be filtered by.
const COLUMNS: &[&str] = &[
    "accountId",
    "createIndex",
    "created",
    "description",
    "externalId",
    "healthState",
    "id",
    "kind",
    "name",
    "removeTime",
    "removed",
    "selectorContainer",
    "selectorLink",
    "skip",
    "stackId",
    "state",
    "system",
    "uuid",
    "vip",
];

/// Does what was asked.
pub(crate) fn act(model: &mut Model, call: &Call<'_>) -> Result<Done, Problem> {
    let action = call.place.parameter("action");
    match (call.method.as_str(), call.place.id.as_deref(), action) {
        ("GET", None, _) => Ok((StatusCode::OK, list(model, call))),
        ("GET", Some(id), _) => get(model, call, id),
        ("POST", Some(id), Some("update")) => update(model, call, id),
        ("POST", Some(id), Some(_)) => {
            find(model, call, id)?;
            Err(Problem::field("InvalidAction", "action"))
        }
        _ => Err(Problem::plain(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn list(model: &mut Model, call: &Call<'_>) -> Value {
    let activation = model.settings.activation;
    let view = call.view();
    for service in model.records.services.values_mut() {
        service.read(activation);
    }
    let listed = model
        .records
        .services
        .values()
        .filter(|service| service.is_listed() && is_asked_for(service, call));
    let (all, view) = (&*model, &view);
    let rows =
        listed.map(|service| Box::new(move || json(all, service, view)) as Row<'_>).collect();
    let is_balancers = call.place.kind == Kind::Balancers;
    let list = Collection {
        place: call.place,
        // Under /v1 Cattle takes the list of all services for one of stacks.
        resource_type: match (is_balancers, view.is_v1) {
            (true, _) => "loadBalancerService",
            (false, true) => "environment",
            (false, false) => "service",
        },
        columns: COLUMNS,
        create_types: match is_balancers {
            true => json!({}),
            false => create_types(&view.base),
        },
        rows,
        max_page: model.settings.max_page,
        folds_case: model.settings.database == Database::MySql,
    };
    list.json()
}

fn get(model: &mut Model, call: &Call<'_>, id: &str) -> Result<Done, Problem> {
    let activation = model.settings.activation;
    find(model, call, id)?.read(activation);
    answer(model, call, id, StatusCode::OK)
}

/// The action that changes nothing and gives metadata a new version, which wakes all balancers.
fn update(model: &mut Model, call: &Call<'_>, id: &str) -> Result<Done, Problem> {
    find(model, call, id)?
        .start_update()
        .ok_or_else(|| Problem::field("ActionNotAvailable", "action"))?;
    model.wake(id.to_owned());
    answer(model, call, id, StatusCode::ACCEPTED)
}

fn answer(model: &Model, call: &Call<'_>, id: &str, status: StatusCode) -> Result<Done, Problem> {
    let service = model.service(id).ok_or_else(|| Problem::plain(StatusCode::NOT_FOUND))?;
    Ok((status, json(model, service, &call.view())))
}

fn find<'a>(model: &'a mut Model, call: &Call<'_>, id: &str) -> Result<&'a mut Service, Problem> {
    model
        .service_mut(id)
        .filter(|service| service.sidekick_of.is_none() && service.environment.is_none())
        .filter(|service| is_asked_for(service, call))
        .ok_or_else(|| Problem::plain(StatusCode::NOT_FOUND))
}

/// Under `services` there are all kinds, under `loadBalancerServices` only those.
fn is_asked_for(service: &Service, call: &Call<'_>) -> bool {
    call.place.kind == Kind::Services || service.kind == ServiceKind::LoadBalancer
}

fn create_types(base: &str) -> Value {
    const TYPES: [&str; 6] = [
        "dnsService",
        "externalService",
        "loadBalancerService",
        "networkDriverService",
        "service",
        "storageDriverService",
    ];
    let types = TYPES.map(|name| {
        let link = json!(format!("{base}/{}s", name.to_lowercase()));
        (name.to_owned(), link)
    });
    Value::Object(types.into_iter().collect())
}

/// The actions that are open in a state, in Cattle's order.
fn open_actions(state: &str) -> Vec<&'static str> {
    let mut open = match state {
        "active" => vec!["upgrade", "restart", "update", "remove", "deactivate"],
        "updating-active" | "activating" => vec!["upgrade", "update", "remove", "deactivate"],
        "inactive" => vec!["upgrade", "activate", "update", "remove"],
        "updating-inactive" => vec!["remove", "deactivate"],
        "upgrading" => vec!["update", "remove", "cancelupgrade", "rollback"],
        "upgraded" => vec!["remove", "rollback", "finishupgrade"],
        "removing" | "removed" => return Vec::new(),
        _ => vec!["remove"],
    };
    open.extend(["removeservicelink", "addservicelink", "setservicelinks"]);
    open
}

/// The resource.
fn json(model: &Model, service: &Service, view: &View) -> Value {
    let kind = service.kind;
    let is_balancer = kind == ServiceKind::LoadBalancer;
    let id = service.id();
    let link = format!("{}/{}s/{id}", view.base, kind.text().to_lowercase());
    let containers: Vec<String> = model
        .containers_of(service.number)
        .map(|container| format!("1i{}", container.number))
        .collect();
    let has_containers = !containers.is_empty();
    let stack = model
        .records
        .stacks
        .get(&(service.environment.clone(), service.stack.clone()))
        .map_or(0, |(number, _)| *number);
    let transitioning =
        !["active", "inactive", "upgraded", "removed"].contains(&service.state.as_str());
    let mut json = Map::new();
    let mut put = |key: &str, value: Value| {
        json.insert(key.to_owned(), value);
    };
    put("id", json!(id));
    put("type", json!(kind.text()));
    put("links", links(&link));
    put("actions", actions(&link, &open_actions(&service.state)));
    put("baseType", json!("service"));
    put("name", json!(service.name));
    put("state", json!(service.state));
    put("accountId", json!(view.project));
    put("assignServiceIpAddress", json!(false));
    if !is_balancer {
        put("createIndex", json!(has_containers.then_some(service.scale)));
    }
    put("created", json!(timestamp(service.created)));
    put("createdTS", json!(milliseconds(service.created)));
    put("currentScale", json!(containers.len()));
    put("description", Value::Null);
    put("externalId", Value::Null);
    put("fqdn", Value::Null);
    put("healthState", json!(if is_balancer { "initializing" } else { "healthy" }));
    put("instanceIds", json!(has_containers.then_some(&containers)));
    put("kind", json!(kind.text()));
    put("launchConfig", launch_config(service));
    put("lbConfig", lb_config(service));
    put("linkedServices", linked_services(service));
    put("metadata", Value::Null);
    put("publicEndpoints", public_endpoints(service, &id, &containers));
    put("removed", Value::Null);
    put("retainIp", Value::Null);
    put("scale", json!(service.scale));
    put("scalePolicy", Value::Null);
    put("secondaryLaunchConfigs", secondary_launch_configs(model, service));
    if !is_balancer {
        put("selectorContainer", Value::Null);
    }
    put("selectorLink", Value::Null);
    put("stackId", json!(format!("1st{stack}")));
    put("startOnCreate", json!(true));
    put("system", json!(false));
    put("transitioning", json!(if transitioning { "yes" } else { "no" }));
    put("transitioningMessage", json!(transitioning.then_some("In Progress")));
    put("transitioningProgress", Value::Null);
    put("upgrade", Value::Null);
    put("uuid", json!(service.uuid));
    put("vip", Value::Null);
    if view.is_v1 {
        put("environmentId", json!(format!("1e{stack}")));
    }
    Value::Object(json)
}

fn links(link: &str) -> Value {
    json!({
        "self": link,
        "account": format!("{link}/account"),
        "consumedbyservices": format!("{link}/consumedbyservices"),
        "consumedservices": format!("{link}/consumedservices"),
    })
}

fn launch_config(service: &Service) -> Value {
    let mut config = json!({
        "type": "launchConfig",
        "imageUuid": "sim:x",
        "instanceTriggeredStop": "stop",
        "kind": "container",
        "labels": service.labels,
        "networkMode": "managed",
        "privileged": false,
        "publishAllPorts": false,
        "readOnly": false,
        "runInit": false,
        "startOnCreate": true,
        "stdinOpen": false,
        "system": false,
        "tty": false,
        "version": "0",
        "vcpu": 1,
        "drainTimeoutMs": 0,
    });
    if service.has_health_check {
        config["healthCheck"] = json!({
            "type": "instanceHealthCheck",
            "healthyThreshold": 2,
            "initializingTimeout": 60000,
            "interval": 2000,
            "name": null,
            "port": 42,
            "recreateOnQuorumStrategyConfig": null,
            "reinitializingTimeout": 60000,
            "requestLine": null,
            "responseTimeout": 2000,
            "strategy": null,
            "unhealthyThreshold": 3,
        });
    }
    if service.kind == ServiceKind::LoadBalancer {
        config["ports"] = json!(["443:443/tcp"]);
    }
    config
}

fn secondary_launch_configs(model: &Model, service: &Service) -> Value {
    let configs = model.sidekicks(service).map(|sidekick| {
        let mut config = launch_config(sidekick);
        config["type"] = json!("secondaryLaunchConfig");
        config["name"] = json!(sidekick.name);
        config
    });
    Value::Array(configs.collect())
}

/// Every balancer of the model sends port 443 to the daemon's own stack.
fn linked_services(service: &Service) -> Value {
    match service.kind {
        ServiceKind::LoadBalancer => json!({"letsencrypt-nginx": "1s1"}),
        ServiceKind::Service | ServiceKind::External | ServiceKind::Dns => Value::Null,
    }
}

fn lb_config(service: &Service) -> Value {
    let Some(lb) = &service.lb else {
        return Value::Null;
    };
    json!({
        "type": "lbConfig",
        "portRules": [{
            "type": "portRule",
            "hostname": "www.example.test",
            "protocol": "https",
            "serviceId": "1s1",
            "sourcePort": 443,
            "targetPort": 80,
        }],
        "certificateIds": lb.certificates,
        "defaultCertificateId": lb.default_certificate,
    })
}

fn public_endpoints(service: &Service, id: &str, containers: &[String]) -> Value {
    let Some(first) = containers.first().filter(|_| service.kind == ServiceKind::LoadBalancer)
    else {
        return Value::Null;
    };
    json!([{
        "type": "publicEndpoint",
        "hostId": "1h2",
        "instanceId": first,
        "ipAddress": "192.0.2.21",
        "port": 443,
        "serviceId": id,
    }])
}

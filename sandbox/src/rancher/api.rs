//! The API server: who asks for what, and which part answers.

use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::rancher::access::Asker;
use crate::rancher::answer;
use crate::rancher::answer::Problem;
use crate::rancher::certificate::View;
use crate::rancher::certificate::milliseconds;
use crate::rancher::certificate::timestamp;
use crate::rancher::certificate_api;
use crate::rancher::model::Model;
use crate::rancher::model::Shared;
use crate::rancher::model::change;
use crate::rancher::origin;
use crate::rancher::place::Kind;
use crate::rancher::place::Place;
use crate::rancher::place::header;
use crate::rancher::service_api;
use crate::rancher::settings::Role;
use crate::serve::Answers;
use crate::serve::Asked;

/// A good answer: status and resource.
pub(crate) type Done = (StatusCode, Value);

/// A request that has passed the door.
pub(crate) struct Call<'a> {
    pub(crate) place: &'a Place,
    pub(crate) asker: Asker,
    pub(crate) method: &'a Method,
    /// Query parameters with the body over them; a body that is no JSON object counts as empty.
    pub(crate) body: Map<String, Value>,
}

impl Call<'_> {
    /// What the JSON of resources depends on; every POST answer shows private keys.
    pub(crate) fn view(&self) -> View {
        let shows_key = self.method == Method::POST || self.asker.reads_keys(self.place.version);
        View {
            base: self.place.base(),
            project: Model::PROJECT.to_owned(),
            shows_key,
            shows_data: self.asker.is_outside(self.place),
            is_v1: self.place.version == crate::rancher::place::Version::V1,
        }
    }
}

/// The API server.
pub(crate) struct Api {
    pub(crate) shared: Shared,
}

impl Answers for Api {
    fn name(&self, request: &Asked) -> (&'static str, String) {
        let Some(place) = Place::of(request) else {
            return ("other", String::new());
        };
        let endpoint = endpoint(&place, request.method());
        let model = self.shared.borrow();
        let subject = match (&place.id, place.kind) {
            (Some(id), Kind::Certificates) => model.certificate_name(id).map(str::to_owned),
            (Some(id), Kind::Services | Kind::Balancers) => {
                model.service(id).map(|service| service.name.clone())
            }
            (None, Kind::Certificates) => {
                body(request, &place).get("name").and_then(|name| name.as_str().map(str::to_owned))
            }
            _ => None,
        };
        (endpoint, subject.unwrap_or_default())
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        if request.uri().path() == "/ping" {
            return answer::text(StatusCode::OK, "pong");
        }
        let Some(place) = Place::of(&request) else {
            return answer::text(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        change(&self.shared, |model| respond(model, &place, &request))
    }
}

/// What faults and tests call a request.
pub(crate) fn endpoint_of(request: &Asked) -> &'static str {
    Place::of(request).map_or("other", |place| endpoint(&place, request.method()))
}

/// The name for faults and tests.
fn endpoint(place: &Place, method: &Method) -> &'static str {
    let action = place.parameter("action");
    match (place.kind, method.as_str(), &place.id, action) {
        (Kind::Certificates, "GET", None, _) => "list-certificates",
        (Kind::Certificates, "GET", Some(_), _) => "get-certificate",
        (Kind::Certificates, "POST", None, _) => "create-certificate",
        (Kind::Certificates, "PUT", Some(_), _) => "put-certificate",
        (Kind::Certificates, "DELETE", Some(_), _) => "delete-certificate",
        (Kind::Certificates, "POST", Some(_), Some("update")) => "reveal-certificate",
        (Kind::Certificates, "POST", Some(_), Some("remove")) => "delete-certificate",
        (Kind::Services | Kind::Balancers, "POST", Some(_), Some("update")) => "wake",
        (Kind::Services, "GET", None, _) => "list-services",
        (Kind::Services, "GET", Some(_), _) => "get-service",
        (Kind::Balancers, "GET", None, _) => "list-balancers",
        (Kind::Balancers, "GET", Some(_), _) => "get-balancer",
        (Kind::Projects, ..) => "projects",
        (Kind::Root, ..) => "root",
        _ => "other",
    }
}

fn respond(model: &mut Model, place: &Place, request: &Asked) -> Response<Bytes> {
    let (account, outcome) = match enter(model, place, request) {
        Err(problem) => (Vec::new(), Err(problem)),
        Ok(asker) => {
            let call = Call { place, asker, method: request.method(), body: body(request, place) };
            (asker.headers(place), act(model, &call))
        }
    };
    let (status, json) = outcome.unwrap_or_else(|problem| (problem.status, problem.json()));
    let mut response = answer::rendered(request, place, status, &json);
    let headers = response.headers_mut();
    if let Ok(schemas) = HeaderValue::try_from(format!("{}/schemas", place.base())) {
        headers.insert("x-api-schemas", schemas);
    }
    for (name, value) in account {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let challenges = header(request, "x-api-no-challenge") != Some("true");
    if status == StatusCode::UNAUTHORIZED && challenges {
        let realm = HeaderValue::from_static("Basic realm=\"Enter API access key and secret key\"");
        headers.insert(WWW_AUTHENTICATE, realm);
    }
    response
}

/// Who asks, if that account may be where it asks. What fails here tells no account.
fn enter(model: &Model, place: &Place, request: &Asked) -> Result<Asker, Problem> {
    let asker = Asker::of(request, model)?;
    match place.asked_project() {
        Some(project) if project != Model::PROJECT => Err(Problem::plain(StatusCode::FORBIDDEN)),
        Some(_) | None => Ok(asker),
    }
}

fn act(model: &mut Model, call: &Call<'_>) -> Result<Done, Problem> {
    let is_agent = call.asker == Asker::Key(Role::AgentOnly);
    match call.place.kind {
        Kind::Root => Ok((StatusCode::OK, root(call.place))),
        // To an agent's key the types do not exist.
        _ if is_agent => Err(Problem::plain(StatusCode::NOT_FOUND)),
        Kind::Projects => projects(model, call),
        Kind::Certificates => certificate_api::act(model, call),
        Kind::Services | Kind::Balancers => service_api::act(model, call),
        Kind::Other => Err(Problem::plain(StatusCode::NOT_FOUND)),
    }
}

fn body(request: &Asked, place: &Place) -> Map<String, Value> {
    let query = place.query.iter().map(|(name, value)| (name.clone(), json!(value)));
    let mut merged: Map<String, Value> = query.collect();
    if let Ok(Value::Object(body)) = serde_json::from_slice(request.body()) {
        merged.extend(body);
    }
    merged
}

fn root(place: &Place) -> Value {
    const TYPES: [(&str, &str); 10] = [
        ("accounts", "accounts"),
        ("apiKeys", "apikeys"),
        ("auditLogs", "auditlogs"),
        ("backupTargets", "backuptargets"),
        ("certificates", "certificates"),
        ("containers", "containers"),
        ("loadBalancerServices", "loadbalancerservices"),
        ("projects", "projects"),
        ("services", "services"),
        ("stacks", "stacks"),
    ];
    let links = TYPES.map(|(name, path)| {
        let link = json!(format!("{}/{path}", place.base()));
        (name.to_owned(), link)
    });
    json!({
        "id": place.version.text(),
        "type": "apiVersion",
        "links": links.into_iter().collect::<Map<String, Value>>(),
        "actions": {},
        "baseType": "apiVersion",
    })
}

/// The one project; its list has no pages.
fn projects(model: &Model, call: &Call<'_>) -> Result<Done, Problem> {
    if call.method != Method::GET {
        return Err(Problem::plain(StatusCode::METHOD_NOT_ALLOWED));
    }
    let project = project(call.place, &model.environment);
    match call.place.id.as_deref() {
        Some(Model::PROJECT) => Ok((StatusCode::OK, project)),
        Some(_) => Err(Problem::plain(StatusCode::NOT_FOUND)),
        None => {
            let list = json!({
                "type": "collection",
                "resourceType": "project",
                "links": {"self": call.place.url()},
                "createTypes": {},
                "actions": {},
                "data": [project],
                "sortLinks": {},
                "pagination": null,
                "sort": null,
                "filters": {},
                "createDefaults": {},
            });
            Ok((StatusCode::OK, list))
        }
    }
}

fn project(place: &Place, uuid: &str) -> Value {
    let version = place.version.text();
    let link = format!("{}/{version}/projects/{}", place.origin, Model::PROJECT);
    let now = origin::now();
    json!({
        "id": Model::PROJECT,
        "type": "project",
        "links": {
            "self": link,
            "auditLogs": format!("{link}/auditlogs"),
            "backupTargets": format!("{link}/backuptargets"),
            "backups": format!("{link}/backups"),
            "certificates": format!("{link}/certificates"),
            "services": format!("{link}/services"),
        },
        "actions": {"defaultNetworkId": format!("{link}/?action=defaultnetworkid")},
        "baseType": "account",
        "name": "Default",
        "state": "active",
        "created": timestamp(now),
        "createdTS": milliseconds(now),
        "defaultNetworkId": "1n10",
        "description": null,
        "healthState": "healthy",
        "hostRemoveDelaySeconds": null,
        "kind": "project",
        "members": null,
        "orchestration": "cattle",
        "projectTemplateId": null,
        "removed": null,
        "servicesPortRange": {
            "type": "servicesPortRange",
            "endPort": 65535,
            "startPort": 49153,
        },
        "transitioning": "no",
        "transitioningMessage": null,
        "transitioningProgress": null,
        "uuid": uuid,
        "version": "2",
        "virtualMachine": false,
    })
}

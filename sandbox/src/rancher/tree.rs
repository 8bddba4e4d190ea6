//! The data of metadata in the form of an API version.

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::rancher::age::Age;
use crate::rancher::entries::Token;
use crate::rancher::model::Model;
use crate::rancher::settings::Availability;
use crate::rancher::settings::Caller;

/// The versions of the API of metadata; `latest` is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Version {
    /// Services list the names of their containers.
    July2015,
    /// Services list their containers.
    December2015,
    /// Names are in lower case.
    July2016,
}

impl Version {
    pub(crate) const ALL: [(&str, Self); 4] = [
        ("2015-07-25", Self::July2015),
        ("2015-12-19", Self::December2015),
        ("2016-07-29", Self::July2016),
        ("latest", Self::July2016),
    ];

    pub(crate) fn of(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(name, _)| *name == text).map(|(_, version)| version)
    }
}

/// Builds everything below `/{version}`.
pub(crate) fn build(model: &Model, version: Version) -> Value {
    let build = Build { model, version };
    let lists = match model.availability {
        Availability::NullLists => [Value::Null, Value::Null, Value::Null],
        Availability::Up
        | Availability::Refused
        | Availability::NoData
        | Availability::Garbage
        | Availability::Stalls
        | Availability::Closes => [build.containers(), build.services(), build.stacks()],
    };
    let [containers, services, stacks] = lists;
    let mut tree = json!({
        "containers": containers,
        "hosts": [build.host()],
        "networks": [build.network()],
        "self": build.caller(),
        "services": services,
        "stacks": stacks,
        "version": model.version(),
    });
    if build.age().server.tells_environment() {
        tree["name"] = json!("Default");
        tree["region_name"] = Value::Null;
        tree["uuid"] = json!(model.environment);
        if version == Version::July2016 {
            tree["environments"] = build.environments();
        }
    }
    tree
}

/// What entries are built from.
pub(crate) struct Build<'a> {
    pub(crate) model: &'a Model,
    pub(crate) version: Version,
}

impl Build<'_> {
    fn containers(&self) -> Value {
        let all = self.model.records.containers.values();
        let all = all.filter(|container| self.shows(container.environment.as_ref()));
        let [_, odd] = &self.model.records.odd;
        self.shuffled(all.map(|container| self.container(container)).chain(odd.iter().cloned()))
    }

    fn services(&self) -> Value {
        let all = self.model.records.services.values();
        let visible = all.filter(|service| {
            service.state != "removed" && self.shows(service.environment.as_ref())
        });
        let [odd, _] = &self.model.records.odd;
        let visible = visible.map(|service| self.service(service, Token::Hidden));
        self.shuffled(visible.chain(odd.iter().cloned()))
    }

    fn stacks(&self) -> Value {
        let stacks = self.model.records.stacks.keys();
        let stacks = stacks.filter(|(environment, _)| self.shows(environment.as_ref()));
        self.shuffled(stacks.map(|(environment, name)| self.stack(environment.as_ref(), name)))
    }

    pub(crate) fn age(&self) -> Age {
        self.model.settings.age
    }

    /// Whether entries of an environment are there: our own, and those that are linked to it.
    fn shows(&self, environment: Option<&String>) -> bool {
        environment.is_none() || self.age().cattle.links_environments()
    }

    /// An order that is the same until the next reload, and another one in each version.
    fn shuffled(&self, items: impl Iterator<Item = Value>) -> Value {
        let mut items: Vec<Value> = items.collect();
        items.sort_by_cached_key(|item| {
            let mut hasher = DefaultHasher::new();
            (self.model.reloads(), self.version).hash(&mut hasher);
            (item["uuid"].as_str(), item["name"].as_str()).hash(&mut hasher);
            hasher.finish()
        });
        match items.is_empty() {
            true => Value::Null,
            false => Value::Array(items),
        }
    }

    pub(crate) fn stack_uuid(&self, environment: Option<&String>, name: &str) -> &str {
        let key = (environment.cloned(), name.to_owned());
        let stack = self.model.records.stacks.get(&key);
        stack.map_or("", |(_, uuid)| uuid)
    }

    pub(crate) fn environment<'a>(&'a self, environment: Option<&'a String>) -> &'a str {
        environment.unwrap_or(&self.model.environment)
    }

    /// Names are folded in the last version.
    pub(crate) fn name(&self, name: &str) -> String {
        match self.version {
            Version::July2015 | Version::December2015 => name.to_owned(),
            Version::July2016 => name.to_lowercase(),
        }
    }

    /// A list without elements is null in the last version.
    pub(crate) fn list(&self, items: Vec<Value>) -> Value {
        match self.version {
            Version::July2016 if items.is_empty() => Value::Null,
            Version::July2015 | Version::December2015 | Version::July2016 => Value::Array(items),
        }
    }

    fn stack(&self, environment: Option<&String>, name: &str) -> Value {
        let services = self.model.records.services.values().filter(|service| {
            service.stack == name
                && service.environment.as_ref() == environment
                && service.state != "removed"
        });
        let services: Vec<Value> = match self.version {
            Version::July2015 => services.map(|service| json!(service.name)).collect(),
            Version::December2015 | Version::July2016 => {
                services.map(|service| self.service(service, Token::Hidden)).collect()
            }
        };
        let entry = json!({
            "environment_name": "Default",
            "environment_uuid": self.environment(environment),
            "metadata_kind": "stack",
            "name": self.name(name),
            "services": services,
            "system": false,
            "uuid": self.stack_uuid(environment, name),
        });
        self.age().cattle.entry(entry)
    }

    /// What `self` is; a caller that is not known has a host only.
    fn caller(&self) -> Value {
        let number = match &self.model.settings.caller {
            Caller::Own => self.model.own,
            Caller::Service(id) => self.model.service(id).map(|service| service.number),
            Caller::Unknown => None,
        };
        let service = number.and_then(|number| self.model.records.services.get(&number));
        let container = number.and_then(|number| self.model.containers_of(number).next());
        let mut json = Map::new();
        if let (Some(service), Some(container)) = (service, container) {
            let stack = self.stack(service.environment.as_ref(), &service.stack);
            json.insert("container".to_owned(), self.container(container));
            json.insert("service".to_owned(), self.service(service, Token::Shown));
            json.insert("stack".to_owned(), stack);
        }
        json.insert("host".to_owned(), self.host());
        Value::Object(json)
    }

    fn host(&self) -> Value {
        let entry = json!({
            "agent_ip": "192.0.2.21",
            "agent_state": null,
            "environment_uuid": self.model.environment,
            "hostname": null,
            "labels": {},
            "local_storage_mb": null,
            "memory": null,
            "metadata_kind": "host",
            "milli_cpu": null,
            "name": "host-1",
            "state": "active",
            "uuid": self.model.host,
        });
        self.age().cattle.entry(entry)
    }

    fn network(&self) -> Value {
        json!({
            "default_policy_action": "allow",
            "environment_uuid": self.model.environment,
            "host_ports": true,
            "is_default": false,
            "metadata": {"cniConfig": {}},
            "metadata_kind": "network",
            "name": null,
            "policy": null,
            "uuid": self.model.network,
        })
    }

    /// The linked environments.
    fn environments(&self) -> Value {
        let linked = self.model.records.stacks.keys();
        let mut linked: Vec<&String> = linked.filter_map(|(other, _)| other.as_ref()).collect();
        linked.dedup();
        let environments =
            linked.iter().map(|uuid| json!({"name": "linked", "uuid": uuid, "system": false}));
        self.list(environments.collect())
    }
}

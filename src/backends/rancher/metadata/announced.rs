//! Who announces which names: services by their own label, else by those of their containers; and containers that
//! belong to no service.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::backends::rancher::metadata::rows::Row;
use crate::core::held::Announcement;

/// Whether any row says of which environment it is. Up to Rancher 1.3 none does, and metadata shows one only.
pub fn name_environments(rows: &[Row]) -> bool {
    let inside = |row: &Row| {
        let containers = row.containers.0.as_ref();
        containers.is_some_and(|containers| name_environments(&containers.0))
    };
    rows.iter().any(|row| row.environment().is_some() || inside(row))
}

/// Whether a row is of an environment. One that names none is our own.
pub fn is_of(row: &Row, environment: &str) -> bool {
    row.environment().is_none_or(|of| of == environment)
}

/// What is announced in `environment`, in the order of UUIDs: lists come in another order after every reload.
///
/// A label of a service wins over those of its containers, which may be of before an upgrade. Containers that do not run
/// announce nothing, for the same reason. A service announces nothing for sure while containers of it run and none of
/// all has a label; one whose containers do not run is left out, because they may be on their way back.
pub fn announced(services: Vec<Row>, containers: Vec<Row>, environment: &str) -> Vec<Announcement> {
    let is_own = |row: &Row| is_of(row, environment);
    let mut found = Found::default();
    for service in services.into_iter().filter(is_own) {
        found.add_service(service, is_own);
    }
    for container in containers.into_iter().filter(is_own) {
        found.add_container(&container);
    }
    found.all.into_iter().filter_map(|(who, said)| said.announcement(who)).collect()
}

/// UUID, and `stack/service` or the name of a container: a sidekick has the UUID of its primary service.
type Who = (String, String);

#[derive(Default)]
struct Said {
    is_gone: bool,
    /// By the label of the service itself.
    itself: Option<String>,
    /// By the labels of containers.
    inside: BTreeSet<String>,
    /// Whether a container runs.
    runs: bool,
    /// Whether a container has a label that does not run.
    is_resting: bool,
}

impl Said {
    fn announcement(self, (uuid, service): Who) -> Option<Announcement> {
        if self.is_gone {
            return None;
        }
        let inside = self.inside.into_iter().collect::<Vec<_>>().join(", ");
        let is_sure = !inside.is_empty() || (self.runs && !self.is_resting);
        let label = self.itself.or_else(|| is_sure.then_some(inside))?;
        Some(Announcement { uuid, service, label })
    }

    fn add(&mut self, container: &Row) {
        let (label, is_stopped) = (container.label(), container.is_stopped());
        self.runs |= !is_stopped;
        self.is_resting |= is_stopped && label.is_some();
        if !is_stopped {
            self.inside.extend(label.map(str::to_owned));
        }
    }
}

#[derive(Default)]
struct Found {
    all: BTreeMap<Who, Said>,
    /// Services by the UUIDs of the containers in their lists. A selector takes up containers that do not say so.
    by_container: BTreeMap<String, Who>,
    /// Services by `stack/service`: before Rancher 1.5 containers do not know the UUID of theirs.
    by_name: BTreeMap<String, Who>,
}

impl Found {
    fn add_service(&mut self, service: Row, is_own: impl Fn(&Row) -> bool) {
        let Some(uuid) = service.uuid.get() else {
            return;
        };
        let name = shown(service.stack_name.get(), service.name.get());
        let who = (uuid.to_owned(), name.clone());
        // Of two with one name the one that stays counts.
        if !service.is_gone() || !self.by_name.contains_key(&name) {
            self.by_name.insert(name, who.clone());
        }
        let said = self.all.entry(who.clone()).or_default();
        said.is_gone = service.is_gone();
        said.itself = service.label().map(str::to_owned);
        for container in service.containers.0.into_iter().flat_map(|rows| rows.0).filter(is_own) {
            said.add(&container);
            if let Some(uuid) = container.uuid.0 {
                self.by_container.insert(uuid, who.clone());
            }
        }
    }

    fn add_container(&mut self, container: &Row) {
        let Some(uuid) = container.uuid.get() else {
            return;
        };
        let who = self.by_container.get(uuid).cloned().unwrap_or_else(|| self.who(uuid, container));
        if let Some(said) = self.all.get_mut(&who) {
            said.add(container);
        } else if container.label().is_some() && !container.is_stopped() {
            self.all.entry(who).or_default().add(container);
        }
    }

    /// The service of a container that is in no service's list, or the container itself.
    fn who(&self, uuid: &str, container: &Row) -> Who {
        let stack = container.stack_name.get();
        let Some(service) = container.service_name.get() else {
            return (uuid.to_owned(), shown(stack, container.name.get()));
        };
        let name = shown(stack, Some(service));
        let of_service =
            (container.service_uuid.get().unwrap_or_default().to_owned(), name.clone());
        if self.all.contains_key(&of_service) {
            return of_service;
        }
        // The lists are not of one moment: the service may be new.
        let itself = (uuid.to_owned(), name.clone());
        self.by_name.get(&name).cloned().unwrap_or(itself)
    }
}

/// As people know it.
fn shown(stack: Option<&str>, name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    stack.map_or_else(|| name.to_owned(), |stack| format!("{stack}/{name}"))
}

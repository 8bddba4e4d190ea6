//! Where the soak takes place: real parts behind proxies, and a store on a disk of its own where that is allowed.

use std::path::PathBuf;

use serde_json::Value;
use time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::real::faults::Between;
use crate::real::faults::proxy_tls;
use crate::real::scene::Scene;
use crate::support::Settings;
use crate::support::namespace::Namespace;

/// What the disk of the store is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    Good,
    Full,
    ReadOnly,
}

pub(super) struct Place {
    pub(super) scene: Scene,
    pub(super) between: Between,
    disk: Option<Namespace>,
    is: Disk,
    filler: Option<PathBuf>,
}

impl Place {
    pub(super) async fn start() -> Self {
        let scene = Scene::start().await;
        let between = Between::start(&scene, &proxy_tls(&scene)).await;
        let store = scene.path("store");
        let script = format!("mount -t tmpfs -o size=8m tmpfs '{}'", store.display());
        Self { scene, between, disk: Namespace::new(&script).await, is: Disk::Good, filler: None }
    }

    pub(super) fn settings(&self) -> Settings {
        let settings = self.between.settings(&self.scene).with("CONNECT_TIMEOUT", "1");
        match &self.disk {
            Some(disk) => settings.within(disk.wrapper()),
            None => settings,
        }
    }

    /// A path of the store, as it is seen from here.
    pub(super) fn store(&self, path: &str) -> PathBuf {
        let path = self.scene.path("store").join(path);
        match &self.disk {
            Some(disk) => disk.path(&path),
            None => path,
        }
    }

    /// Makes the disk so, if there is one that can be.
    pub(super) async fn disk_is(&mut self, is: Disk) {
        let Some(disk) = &self.disk else { return };
        let store = self.scene.path("store");
        match self.is {
            Disk::Good => {}
            Disk::Full => {
                let filler = self.filler.take();
                std::fs::remove_file(filler.expect("it was filled")).unwrap();
            }
            Disk::ReadOnly => disk.thaw(&store).await,
        }
        match is {
            Disk::Good => {}
            Disk::Full => self.filler = Some(disk.fill(&store)),
            Disk::ReadOnly => disk.freeze(&store).await,
        }
        self.is = is;
    }

    pub(super) fn disk(&self) -> Disk {
        self.is
    }

    /// Lets time pass for a store that no daemon uses: everything on record happened so much earlier.
    pub(super) fn age(&self, by: Duration) {
        let own = self.store("rancher-lets-encrypt");
        let orders = std::fs::read_dir(own.join("pending")).into_iter().flatten();
        let orders = orders.map(|entry| entry.unwrap().path());
        for path in orders.chain([own.join("ledger.jsonl")]) {
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            let lines = text.split_inclusive('\n').map(|line| {
                // A line that was cut off stays as it is.
                let Ok(mut value) = serde_json::from_str(line) else {
                    return line.to_owned();
                };
                shift(&mut value, by);
                let end = if line.ends_with('\n') { "\n" } else { "" };
                format!("{value}{end}")
            });
            std::fs::write(&path, lines.collect::<String>()).unwrap();
        }
    }
}

fn shift(value: &mut Value, by: Duration) {
    match value {
        Value::String(text) => {
            if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
                *text = (at - by).format(&Rfc3339).unwrap();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| shift(value, by)),
        Value::Object(fields) => fields.values_mut().for_each(|value| shift(value, by)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

//! How old a Rancher is: which rancher-metadata answers, and which Cattle's rows it shows.
//!
//! All that is here was seen on real servers: `recordings/metadata-versions/`, and `tests/rancher.rs` holds the
//! model against it. Rancher 1.0 and 1.1 were not run: their servers were given the rows of later ones.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// A version of rancher-metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// Knows no long poll.
    V0_5_1,
    /// Knows no long poll.
    V0_6_0,
    /// Its long poll ignores `maxWait`; with Rancher 1.2 and 1.3.
    V0_6_8,
    /// Its long poll ignores `maxWait`; with Rancher 1.2 and 1.3.
    V0_7_0,
    /// With Rancher 1.4.
    V0_7_4,
    /// In front of a Cattle that is newer than it, of which it takes no data.
    V0_8_0,
    /// With Rancher 1.5.
    V0_8_11,
    /// With Rancher 1.6 up to 1.6.14.
    V0_9_5,
    /// The last one that does not tell the environment.
    V0_10_0,
    /// The first one that tells the environment.
    V0_10_1,
    /// With Rancher 1.6.19 and later.
    V0_10_4,
}

/// When a long poll is answered although nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polls {
    /// At once: it is no long poll.
    AtOnce,
    /// Not at all.
    Never,
    /// When `maxWait` is over.
    InTime,
}

/// A version of Cattle, by the rows that it gives metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cattle {
    /// Rancher 1.2: of all rows only stacks name their environment.
    V0_174_3,
    /// Rancher 1.4: containers do not name the service that they belong to by UUID.
    V0_176_8,
    /// Rancher 1.6.30.
    V0_183_83,
}

/// Which rancher-metadata with which Cattle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// The one that is asked.
    pub server: Server,
    /// The one whose rows it shows.
    pub cattle: Cattle,
}

impl Server {
    /// All of them, oldest first, with the names of their tags.
    pub const ALL: [(Self, &str); 11] = [
        (Self::V0_5_1, "v0.5.1"),
        (Self::V0_6_0, "v0.6.0"),
        (Self::V0_6_8, "v0.6.8"),
        (Self::V0_7_0, "v0.7.0"),
        (Self::V0_7_4, "v0.7.4"),
        (Self::V0_8_0, "v0.8.0"),
        (Self::V0_8_11, "v0.8.11"),
        (Self::V0_9_5, "v0.9.5"),
        (Self::V0_10_0, "v0.10.0"),
        (Self::V0_10_1, "v0.10.1"),
        (Self::V0_10_4, "v0.10.4"),
    ];

    /// When its long poll ends.
    pub fn polls(self) -> Polls {
        match self {
            Self::V0_5_1 | Self::V0_6_0 => Polls::AtOnce,
            Self::V0_6_8 | Self::V0_7_0 => Polls::Never,
            Self::V0_7_4
            | Self::V0_8_0
            | Self::V0_8_11
            | Self::V0_9_5
            | Self::V0_10_0
            | Self::V0_10_1
            | Self::V0_10_4 => Polls::InTime,
        }
    }

    /// Whether it takes the data of this Cattle; else it has none, and says `Invalid version`.
    pub(crate) fn takes(self, cattle: Cattle) -> bool {
        self != Self::V0_8_0 || cattle < Cattle::V0_183_83
    }

    /// Whether `uuid`, `name`, `region_name` and the linked environments are there.
    pub(crate) fn tells_environment(self) -> bool {
        self >= Self::V0_10_1
    }

    /// The version of the data: a UUID, or before that a number and a checksum of 32 digits.
    pub(crate) fn version(self, reloads: u64, uuid: &str) -> String {
        match self >= Self::V0_10_1 {
            true => uuid.to_owned(),
            false => format!("{reloads}-{}", uuid.replace('-', "")),
        }
    }
}

impl Age {
    /// Rancher 1.6.30.
    pub const NEWEST: Self = Self { server: Server::V0_10_4, cattle: Cattle::V0_183_83 };

    /// Ages that differ in what a reader of labels may notice: the long poll, the environment in rows or at all, the
    /// services of containers. Of equal ones the one that more people have.
    pub const DIFFERENT: [Self; 5] = [
        Self { server: Server::V0_5_1, cattle: Cattle::V0_174_3 },
        Self { server: Server::V0_6_8, cattle: Cattle::V0_174_3 },
        Self { server: Server::V0_7_4, cattle: Cattle::V0_176_8 },
        Self { server: Server::V0_9_5, cattle: Cattle::V0_183_83 },
        Self::NEWEST,
    ];
}

impl Cattle {
    /// Whether linked environments stand in the same lists.
    pub(crate) fn links_environments(self) -> bool {
        self > Self::V0_174_3
    }

    /// Makes of an entry what this Cattle would have shown.
    pub(crate) fn entry(self, mut entry: Value) -> Value {
        let Some(fields) = entry.as_object_mut() else {
            return entry;
        };
        let kind = fields.get("metadata_kind").and_then(Value::as_str).unwrap_or("").to_owned();
        if self <= Self::V0_176_8 {
            self.age(&kind, fields);
        }
        if self == Self::V0_174_3 {
            Self::age_more(&kind, fields);
        }
        entry
    }

    fn age(self, kind: &str, fields: &mut Map<String, Value>) {
        fields.remove("metadata_kind");
        match kind {
            "service" => {
                nulls_become(fields, "containers", &json!([]));
                nulls_become(fields, "links", &json!({}));
            }
            "container" => {
                fields.remove("health_check");
                fields.remove("service_uuid");
            }
            "host" => {
                fields.remove("agent_state");
                fields.remove("state");
            }
            _ => {}
        }
    }

    fn age_more(kind: &str, fields: &mut Map<String, Value>) {
        if kind != "stack" {
            fields.remove("environment_uuid");
        }
        match kind {
            "service" => {
                fields.remove("state");
                let stack = fields.remove("stack_uuid").unwrap_or_default();
                fields.insert("stackUuid".to_owned(), stack);
            }
            "container" => {
                fields.remove("links");
                fields.insert("system".to_owned(), Value::Null);
            }
            _ => {}
        }
    }
}

fn nulls_become(fields: &mut Map<String, Value>, name: &str, empty: &Value) {
    if fields.get(name).is_some_and(Value::is_null) {
        fields.insert(name.to_owned(), empty.clone());
    }
}

//! A certificate as Rancher holds it: the row, its states, its JSON.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use time::OffsetDateTime;

use crate::rancher::derived::Derived;
use crate::rancher::origin;
use crate::rancher::progress::Progress;
use crate::rancher::settings::Activation;

/// A certificate as Rancher holds it, with what the API does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The id, such as `1c5`.
    pub id: String,
    /// The name; Rancher accepts null.
    pub name: Option<String>,
    /// What was sent as `cert`.
    pub cert: String,
    /// What was sent as `certChain`.
    pub chain: Option<String>,
    /// What was sent as `key`.
    pub key: String,
    /// The description.
    pub description: Option<String>,
    /// How many PUTs were accepted.
    pub puts: u32,
    /// SHA-256 in hex of every leaf it has had, oldest first, without repetition in a row.
    pub leaves: Vec<String>,
}

impl Held {
    /// SHA-256 of the leaf in hex.
    pub fn leaf(&self) -> &str {
        self.leaves.last().map_or("", String::as_str)
    }
}

/// Where a certificate is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Activating,
    Active,
    Updating,
    Removing,
    Removed,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Updating => "updating-active",
            Self::Removing => "removing",
            Self::Removed => "removed",
        }
    }

    /// The actions that are open in this state, in Cattle's order.
    fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Activating => &["remove"],
            Self::Active => &["update", "remove"],
            Self::Updating | Self::Removing | Self::Removed => &[],
        }
    }
}

/// What a certificate is made or changed with; none leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    pub(crate) name: Option<Option<String>>,
    pub(crate) cert: Option<String>,
    pub(crate) chain: Option<Option<String>>,
    pub(crate) key: Option<String>,
    pub(crate) description: Option<Option<String>>,
}

/// What the JSON of a resource depends on besides the resource.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// `http://host/v1/projects/1a5`, to which types and ids are appended.
    pub(crate) base: String,
    /// The project.
    pub(crate) project: String,
    pub(crate) shows_key: bool,
    /// With what only the administrator outside of a project sees.
    pub(crate) shows_data: bool,
    /// Under `/v1`, where a stack is still an environment.
    pub(crate) is_v1: bool,
}

/// A row of the table of certificates.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) held: Held,
    pub(crate) state: State,
    number: u64,
    derived: Derived,
    progress: Progress,
    uuid: String,
    created: OffsetDateTime,
    removed: Option<OffsetDateTime>,
}

impl Certificate {
    /// A new row in the state `activating`.
    pub(crate) fn new(number: u64, fields: Fields, derived: Derived) -> Self {
        let mut row = Self {
            held: Held {
                id: format!("1c{number}"),
                name: None,
                cert: String::new(),
                chain: None,
                key: String::new(),
                description: None,
                puts: 0,
                leaves: Vec::new(),
            },
            state: State::Activating,
            number,
            derived: Derived::default(),
            progress: Progress::begin(),
            uuid: origin::uuid(),
            created: origin::now(),
            removed: None,
        };
        row.take(fields, Some(derived));
        row
    }

    /// The number in its id.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Takes over what is given.
    pub(crate) fn take(&mut self, fields: Fields, derived: Option<Derived>) {
        let held = &mut self.held;
        held.name = fields.name.unwrap_or_else(|| held.name.take());
        held.cert = fields.cert.unwrap_or_else(|| std::mem::take(&mut held.cert));
        held.chain = fields.chain.unwrap_or_else(|| held.chain.take());
        held.key = fields.key.unwrap_or_else(|| std::mem::take(&mut held.key));
        held.description = fields.description.unwrap_or_else(|| held.description.take());
        if let Some(derived) = derived {
            if held.leaf() != derived.leaf {
                held.leaves.push(derived.leaf.clone());
            }
            self.derived = derived;
        }
    }

    /// Changes it behind Rancher's back; the derived fields follow.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Held)) {
        let (id, cert) = (self.held.id.clone(), self.held.cert.clone());
        change(&mut self.held);
        self.held.id = id;
        if self.held.cert != cert {
            let derived = Derived::from_pem(&self.held.cert);
            self.take(Fields::default(), derived);
        }
    }

    /// Starts the process that leads to `state`.
    pub(crate) fn enter(&mut self, state: State) {
        self.state = state;
        self.progress = Progress::begin();
    }

    /// Looks at it, which may be what ends a process.
    pub(crate) fn read(&mut self, activation: Activation) {
        if self.is_transitioning() && self.progress.ends_at_read(activation) {
            self.settle();
        }
    }

    /// Ends a process whose time has come.
    pub(crate) fn catch_up(&mut self, activation: Activation) {
        if self.is_transitioning() && self.progress.has_ended(activation) {
            self.settle();
        }
    }

    /// Ends the process under way.
    pub(crate) fn settle(&mut self) {
        self.state = match self.state {
            State::Activating | State::Active | State::Updating => State::Active,
            State::Removing | State::Removed => State::Removed,
        };
        if self.state == State::Removed && self.removed.is_none() {
            self.removed = Some(origin::now());
        }
    }

    /// Whether lists leave it out, and its name is free again.
    pub(crate) fn is_removed(&self) -> bool {
        self.state == State::Removed
    }

    /// Whether the action is open in the state it is in.
    pub(crate) fn allows(&self, action: &str) -> bool {
        self.state.actions().contains(&action)
    }

    fn is_transitioning(&self) -> bool {
        !matches!(self.state, State::Active | State::Removed)
    }

    /// The resource.
    pub(crate) fn json(&self, view: &View) -> Value {
        let (held, derived) = (&self.held, &self.derived);
        let link = format!("{}/certificates/{}", view.base, held.id);
        let mut json = Map::new();
        let mut put = |key: &str, value: Value| {
            json.insert(key.to_owned(), value);
        };
        put("id", json!(held.id));
        put("type", json!("certificate"));
        put("links", json!({"self": link, "account": format!("{link}/account")}));
        put("actions", actions(&link, self.state.actions()));
        put("baseType", json!("certificate"));
        put("name", json!(held.name));
        put("state", json!(self.state.text()));
        put("CN", json!(derived.common_name));
        put("accountId", json!(view.project));
        put("algorithm", json!(derived.algorithm));
        put("cert", json!(held.cert));
        put("certChain", json!(held.chain));
        put("certFingerprint", json!(derived.fingerprint));
        put("created", json!(timestamp(self.created)));
        put("createdTS", json!(milliseconds(self.created)));
        if view.shows_data {
            put("data", json!({"fields": self.fields_json()}));
            put("removeTime", json!(self.removed.map(timestamp)));
        }
        put("description", json!(held.description));
        put("expiresAt", json!(derived.expires));
        put("issuedAt", json!(derived.issued));
        put("issuer", json!(derived.issuer));
        put("key", json!(view.shows_key.then_some(&held.key)));
        put("keySize", json!(derived.key_size));
        put("kind", json!("certificate"));
        put("removed", json!(self.removed.map(timestamp)));
        if let Some(removed) = self.removed {
            put("removedTS", json!(milliseconds(removed)));
        }
        put("serialNumber", json!(derived.serial));
        put("subjectAlternativeNames", json!(derived.alternative_names));
        let transitioning = self.is_transitioning();
        put("transitioning", json!(if transitioning { "yes" } else { "no" }));
        put("transitioningMessage", json!(transitioning.then_some("In Progress")));
        put("transitioningProgress", Value::Null);
        put("uuid", json!(self.uuid));
        put("version", json!(derived.version));
        Value::Object(json)
    }

    fn fields_json(&self) -> Value {
        let derived = &self.derived;
        json!({
            "serialNumber": derived.serial,
            "keySize": derived.key_size,
            "subjectAlternativeNames": derived.alternative_names,
            "certFingerprint": derived.fingerprint,
            "CN": derived.common_name,
            "issuedAt": derived.issued,
            "version": derived.version,
            "expiresAt": derived.expires,
            "issuer": derived.issuer,
            "algorithm": derived.algorithm,
        })
    }
}

/// The map of actions of a resource.
pub(crate) fn actions(link: &str, names: &[&str]) -> Value {
    let actions =
        names.iter().map(|name| ((*name).to_owned(), json!(format!("{link}/?action={name}"))));
    Value::Object(actions.collect())
}

/// A date as the API writes it.
pub(crate) fn timestamp(date: OffsetDateTime) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    date.format(format).expect("every date has these components")
}

/// The twin of a date in epoch milliseconds.
pub(crate) fn milliseconds(date: OffsetDateTime) -> i64 {
    date.unix_timestamp() * 1000 + i64::from(date.millisecond())
}

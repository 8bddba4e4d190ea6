//! What the authority keeps: accounts, orders, authorizations, and the list of what it issued and fetched.

use serde_json::Value;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::jws::PublicKey;
use super::problem::Problem;
use super::resource::Owned;
use super::resource::Resource;

/// State of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountStatus {
    /// Given up by its owner or by the test.
    Deactivated,
    /// Gone: the authority says that it never existed.
    Forgotten,
    /// In use.
    Valid,
}

/// An account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its URL.
    pub url: String,
    /// The contacts, as sent.
    pub contact: Vec<String>,
    /// The JWK thumbprint of its key: equal for equal keys.
    pub thumbprint: String,
    /// Its state.
    pub status: AccountStatus,
    pub(super) id: u64,
    pub(super) key: PublicKey,
}

impl Account {
    pub(super) fn to_json(&self) -> Value {
        let status = match self.status {
            AccountStatus::Deactivated => "deactivated",
            AccountStatus::Forgotten => "revoked",
            AccountStatus::Valid => "valid",
        };
        json!({"status": status, "contact": self.contact})
    }
}

/// State of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStatus {
    /// A validation failed, or an authorization was given up.
    Invalid,
    /// Waits for validations.
    Pending,
    /// Was finalized, the certificate is on its way.
    Processing,
    /// Can be finalized.
    Ready,
    /// The certificate is there.
    Valid,
}

impl OrderStatus {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Ready => "ready",
            Self::Valid => "valid",
        }
    }
}

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its URL.
    pub url: String,
    /// The URL of the account.
    pub account: String,
    /// What it is for, sorted.
    pub names: Vec<String>,
    /// Its state.
    pub status: OrderStatus,
    /// When it was opened.
    pub opened: OffsetDateTime,
    /// From then on it is unknown.
    pub expires: OffsetDateTime,
    /// The URLs of its authorizations, in the order of the names.
    pub authorizations: Vec<String>,
    /// The URL of the certificate once it is valid.
    pub certificate: Option<String>,
    /// What failed, where the authority tells it in the order.
    pub error: Option<Problem>,
    /// Unknown by the will of the test.
    pub forgotten: bool,
    pub(super) owned: Owned,
    pub(super) parts: Vec<u64>,
}

impl Order {
    pub(super) fn to_json(&self, base: &str) -> Value {
        let identifiers: Vec<Value> =
            self.names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let mut document = json!({
            "status": self.status.name(),
            "expires": rfc3339(self.expires),
            "identifiers": identifiers,
            "authorizations": self.authorizations,
            "finalize": Resource::Finalize(self.owned).url(base),
        });
        if let (OrderStatus::Valid, Some(url)) = (self.status, &self.certificate) {
            document["certificate"] = json!(url);
        }
        if let Some(error) = &self.error {
            document["error"] = error.to_json();
        }
        document
    }
}

/// State of an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationStatus {
    /// Given up by its owner.
    Deactivated,
    /// Its validation failed.
    Invalid,
    /// Not validated yet, or just being validated.
    Pending,
    /// Validated.
    Valid,
}

/// An authorization.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// Its URL.
    pub url: String,
    /// The URL of the account.
    pub account: String,
    /// The name; a wildcard with its asterisk.
    pub name: String,
    /// Its state.
    pub status: AuthorizationStatus,
    /// From then on it is unknown.
    pub expires: OffsetDateTime,
    /// What goes into the key authorization.
    pub token: String,
    /// How many validations are under way.
    pub validating: u32,
    /// The challenge that is shown as being validated.
    pub processing: Option<ChallengeKind>,
    /// The newest validation that failed and did not decide.
    pub tried: Option<Decided>,
    /// The challenge that decided, and why it failed.
    pub decided: Option<Decided>,
    /// Unknown by the will of the test.
    pub forgotten: bool,
    pub(super) owned: Owned,
    pub(super) orders: Vec<u64>,
}

/// How a validation ended.
#[derive(Debug, Clone)]
pub struct Decided {
    /// By which challenge.
    pub challenge: ChallengeKind,
    /// When.
    pub at: OffsetDateTime,
    /// Why it failed, if it did.
    pub error: Option<Problem>,
}

/// A kind of challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A TXT record. Nothing in a sandbox has one, so it always fails.
    Dns01,
    /// Has no token. Clients must skip what they do not know.
    DnsPersist01,
    /// A file on the web server.
    Http01,
}

impl ChallengeKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dns01 => "dns-01",
            Self::DnsPersist01 => "dns-persist-01",
            Self::Http01 => "http-01",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Dns01, Self::DnsPersist01, Self::Http01].into_iter().find(|kind| kind.name() == name)
    }
}

impl Authorization {
    /// The challenges on offer: HTTP-01 not for a wildcard, and only the one that decided afterwards.
    pub(super) fn challenges(&self) -> Vec<ChallengeKind> {
        // HTTP-01 stands last, so that taking the first offer is found out.
        match &self.decided {
            Some(decided) => vec![decided.challenge],
            None if self.is_wildcard() => vec![ChallengeKind::DnsPersist01, ChallengeKind::Dns01],
            None => vec![ChallengeKind::DnsPersist01, ChallengeKind::Dns01, ChallengeKind::Http01],
        }
    }

    fn is_wildcard(&self) -> bool {
        self.name.starts_with("*.")
    }

    pub(super) fn to_json(&self, base: &str) -> Value {
        let status = match self.status {
            AuthorizationStatus::Deactivated => "deactivated",
            AuthorizationStatus::Invalid => "invalid",
            AuthorizationStatus::Pending => "pending",
            AuthorizationStatus::Valid => "valid",
        };
        let challenges: Vec<Value> =
            self.challenges().into_iter().map(|kind| self.challenge_to_json(kind, base)).collect();
        let mut document = json!({
            "identifier": {"type": "dns", "value": self.name.trim_start_matches("*.")},
            "status": status,
            "expires": rfc3339(self.expires),
            "challenges": challenges,
        });
        if self.is_wildcard() {
            document["wildcard"] = json!(true);
        }
        document
    }

    pub(super) fn challenge_to_json(&self, kind: ChallengeKind, base: &str) -> Value {
        let mut document = json!({
            "type": kind.name(),
            "url": Resource::Challenge(self.owned, kind).url(base),
            "status": "pending",
        });
        match kind {
            ChallengeKind::DnsPersist01 => {
                document["issuer-domain-names"] = json!(["sandbox.example"]);
            }
            ChallengeKind::Dns01 | ChallengeKind::Http01 => document["token"] = json!(self.token),
        }
        if self.processing == Some(kind) {
            document["status"] = json!("processing");
        }
        let tried = self.tried.as_ref().filter(|tried| tried.challenge == kind);
        if let Some(error) = tried.and_then(|tried| tried.error.as_ref()) {
            document["error"] = error.to_json();
        }
        if let Some(decided) = &self.decided {
            let status = if decided.error.is_none() { "valid" } else { "invalid" };
            document["status"] = json!(status);
            document["validated"] = json!(rfc3339(decided.at));
            let fields = document.as_object_mut().expect("it was made as one");
            match &decided.error {
                Some(error) => fields.insert("error".to_owned(), error.to_json()),
                None => fields.remove("error"),
            };
        }
        document
    }
}

/// A certificate that was signed.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The names in it, sorted.
    pub names: Vec<String>,
    /// SHA-256 of the leaf as DER, lower-case hex.
    pub leaf_sha256: String,
    /// Valid from.
    pub not_before: OffsetDateTime,
    /// Valid until.
    pub not_after: OffsetDateTime,
    /// The URL of the account.
    pub account: String,
    /// The URL of the order.
    pub order: String,
    /// The leaf and its intermediates, PEM, as downloaded.
    pub chain_pem: String,
}

/// A validation that came to its end.
#[derive(Debug, Clone)]
pub struct Validation {
    /// Of which name.
    pub name: String,
    /// Whether it succeeded.
    pub ok: bool,
    /// Why it did not.
    pub error: Option<Problem>,
    /// When.
    pub at: OffsetDateTime,
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
        .expect("a date has all the parts of the format")
}

//! Who asks, by Basic authentication, and what that account is called in the headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::AUTHORIZATION;

use crate::rancher::answer::Problem;
use crate::rancher::model::Model;
use crate::rancher::origin;
use crate::rancher::place::Place;
use crate::rancher::place::Version;
use crate::rancher::place::header;
use crate::rancher::settings::Role;
use crate::serve::Asked;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The owner of a key.
    Key(Role),
    /// Anyone, while access control is off.
    Administrator,
}

impl Asker {
    /// Reads the `Authorization` header.
    pub(crate) fn of(request: &Asked, model: &Model) -> Result<Self, Problem> {
        if let Some(role) = role(request, model) {
            return Ok(Self::Key(role));
        }
        let enforced = model.settings.enforces_authentication
            && header(request, "x-enforce-authentication") == Some("true");
        if model.settings.access_control || enforced {
            return Err(Problem::plain(StatusCode::UNAUTHORIZED));
        }
        Ok(Self::Administrator)
    }

    /// The headers that tell the account.
    pub(crate) fn headers(self, place: &Place) -> Vec<(&'static str, &'static str)> {
        let account = |id, user, kind, name| {
            let mut headers = vec![
                ("x-api-account-id", id),
                ("x-api-user-id", user),
                ("x-api-account-kind", kind),
            ];
            if let Some(name) = name {
                headers.push(("x-api-account-name", name));
            }
            headers
        };
        let project = Model::PROJECT;
        match self {
            Self::Key(Role::Environment) => {
                account(project, project, "environment", Some("Default"))
            }
            Self::Key(Role::EnvironmentAdmin) => {
                account(project, project, "projectadmin", Some("Default"))
            }
            Self::Key(Role::ProjectKey) => account(project, project, "project", Some("Default")),
            Self::Key(Role::AgentOnly) => account("1a10", "1a10", "agent", None),
            Self::Administrator if place.asked_project().is_some() => {
                account(project, "1a1", "admin", Some("admin"))
            }
            Self::Administrator => account("1a1", "1a1", "admin", Some("admin")),
        }
    }

    /// Whether a private key is shown in the answer to a GET or PUT.
    pub(crate) fn reads_keys(self, version: Version) -> bool {
        self == Self::Key(Role::EnvironmentAdmin) && version == Version::V2Beta
    }

    /// The administrator outside of a project, who reads everything and makes nothing.
    pub(crate) fn is_outside(self, place: &Place) -> bool {
        self == Self::Administrator && place.asked_project().is_none()
    }
}

/// A new pair of keys in the shape of Cattle's.
pub(crate) fn new_key() -> (String, String) {
    let access = origin::token(20).to_ascii_uppercase();
    (access, origin::token(40))
}

fn role(request: &Asked, model: &Model) -> Option<Role> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (access, secret) = pair.split_once(':')?;
    let (expected, role) = model.keys.get(access)?;
    (secret == expected).then_some(*role)
}

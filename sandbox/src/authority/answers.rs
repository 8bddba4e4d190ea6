//! From a request to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header;
use serde::Deserialize;
use serde_json::json;

use super::clock;
use super::jws::decoded;
use super::nonces::random_token;
use super::orders::ordered_names;
use super::problem::Problem;
use super::problem::http_date;
use super::reply::Reply;
use super::resource::Resource;
use super::settings::AuthoritySettings;
use super::settings::doors::Door;
use super::shared::Shared;
use crate::serve::Answers;
use crate::serve::Asked;

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// The door of the authority.
pub(super) struct Front(pub(super) Arc<Shared>);

impl Answers for Front {
    fn name(&self, request: &Asked) -> (&'static str, String) {
        let resource = Resource::parse(request.uri().path());
        let names = self.names(&resource, request).unwrap_or_default();
        (resource.endpoint(), names.join(","))
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        let settings = self.0.settings();
        let delay = settings.request_delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let resource = Resource::parse(request.uri().path());
        match settings.door {
            Door::Open | Door::WithoutDirectory => {}
            Door::Off => return Reply::empty(StatusCode::NOT_FOUND).finish(),
            Door::Sealed => return sealed(),
        }
        if self.is_silent(&settings, &resource, &request) {
            std::future::pending::<()>().await;
        }
        let reply = self
            .reply(&resource, &request)
            .await
            .unwrap_or_else(|problem| Reply::problem(&problem));
        let is_new_nonce = resource == Resource::NewNonce;
        let nonce =
            (is_new_nonce || request.method() == Method::POST).then(|| self.0.nonces.fresh());
        reply
            .header_if(REPLAY_NONCE, nonce)
            .header(header::DATE, self.date())
            .header(header::CACHE_CONTROL, "public, max-age=0, no-cache")
            .header(header::LINK, format!("<{}>;rel=\"index\"", self.0.url(&Resource::Directory)))
            .finish()
    }
}

impl Front {
    fn date(&self) -> String {
        http_date(clock::now() + self.0.settings().clock_ahead)
    }

    fn is_silent(
        &self,
        settings: &AuthoritySettings,
        resource: &Resource,
        request: &Asked,
    ) -> bool {
        let silent = &settings.silent;
        if silent.is_empty() {
            return false;
        }
        let names = self.names(resource, request).unwrap_or_default();
        names.iter().any(|name| silent.contains(name))
    }

    async fn reply(&self, resource: &Resource, request: &Asked) -> Result<Reply, Problem> {
        let shared = &self.0;
        let method = request.method();
        let allowed: &[Method] = match resource {
            Resource::Directory | Resource::NewNonce => &[Method::GET, Method::HEAD],
            Resource::Unknown => return Err(Problem::not_found("Page not found")),
            Resource::Account(_)
            | Resource::Authorization(_)
            | Resource::Certificate(_)
            | Resource::Challenge(..)
            | Resource::Finalize(_)
            | Resource::KeyChange
            | Resource::NewAccount
            | Resource::NewOrder
            | Resource::Order(_)
            | Resource::RevokeCertificate => &[Method::POST],
        };
        if !allowed.contains(method) {
            return Err(Problem::new(405, "malformed", "Method not allowed"));
        }
        match resource {
            Resource::Account(id) => shared.account_change(request, *id),
            Resource::Authorization(owned) => shared.authorization(request, *owned),
            Resource::Certificate(serial) => shared.certificate(request, serial),
            Resource::Challenge(owned, kind) => shared.challenge(request, *owned, *kind).await,
            Resource::Directory => self.directory(),
            Resource::Finalize(owned) => shared.finalize(request, *owned).await,
            Resource::NewAccount => shared.new_account(request),
            Resource::NewNonce if method == Method::HEAD => Ok(Reply::empty(StatusCode::OK)),
            Resource::NewNonce => Ok(Reply::empty(StatusCode::NO_CONTENT)),
            Resource::NewOrder => shared.new_order(request),
            Resource::Order(owned) => shared.order(request, *owned),
            Resource::KeyChange | Resource::RevokeCertificate => {
                Err(Problem::new(501, "serverInternal", "the sandbox does not play this"))
            }
            Resource::Unknown => Err(Problem::not_found("Page not found")),
        }
    }

    fn directory(&self) -> Result<Reply, Problem> {
        let settings = self.0.settings();
        if settings.door == Door::WithoutDirectory {
            return Err(Problem::not_found("Page not found"));
        }
        let url = |resource: Resource| self.0.url(&resource);
        let mut directory = json!({
            "keyChange": url(Resource::KeyChange),
            "meta": {
                "caaIdentities": ["sandbox.example"],
                "termsOfService": "https://sandbox.example/terms",
                "website": "https://sandbox.example",
            },
            "newAccount": url(Resource::NewAccount),
            "newNonce": url(Resource::NewNonce),
            "newOrder": url(Resource::NewOrder),
            "revokeCert": url(Resource::RevokeCertificate),
        });
        // Let's Encrypt does so, lest clients rely on the keys that they know.
        directory[&random_token()[..11]] = json!("https://sandbox.example/random-entry");
        if settings.binding_required {
            directory["meta"]["externalAccountRequired"] = json!(true);
        }
        Ok(Reply::json(StatusCode::OK, &directory))
    }

    /// The names that a request is about, before anything about it was checked.
    fn names(&self, resource: &Resource, request: &Asked) -> Option<Vec<String>> {
        let state = self.0.state.borrow();
        match resource {
            Resource::Authorization(owned) | Resource::Challenge(owned, _) => {
                Some(vec![state.authorizations.get(&owned.id)?.name.clone()])
            }
            Resource::Certificate(serial) => {
                let issued = state.issued.get(*state.certificates.get(serial)?)?;
                Some(issued.names.clone())
            }
            Resource::Finalize(owned) | Resource::Order(owned) => {
                Some(state.orders.get(&owned.id)?.names.clone())
            }
            Resource::NewOrder => {
                let jws: Unchecked = serde_json::from_slice(request.body()).ok()?;
                ordered_names(&decoded(&jws.payload)?)
            }
            Resource::Account(_)
            | Resource::Directory
            | Resource::KeyChange
            | Resource::NewAccount
            | Resource::NewNonce
            | Resource::RevokeCertificate
            | Resource::Unknown => None,
        }
    }
}

/// What stands in front of the authority answers; no nonce comes with it.
fn sealed() -> Response<Bytes> {
    let body = json!({"errors": ["Vault is sealed"]});
    Reply::json(StatusCode::SERVICE_UNAVAILABLE, &body).finish()
}

#[derive(Deserialize)]
struct Unchecked {
    payload: String,
}

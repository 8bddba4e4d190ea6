//! A thin client of the Rancher API: key, environment, pages, statuses.

use std::sync::OnceLock;

use reqwest::Client;
use reqwest::Method;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::backends::rancher::base::Base;
use crate::backends::rancher::front;
use crate::backends::rancher::front::Redirect;
use crate::client;
use crate::core::bundle::Secret;
use crate::core::problem::DestinationError;
use crate::core::text::one_line;

/// The Rancher API, as an API key sees it.
pub struct Api {
    client: Client,
    base: Base,
    access_key: Secret,
    secret_key: Secret,
    project: OnceCell<String>,
    environment: OnceLock<String>,
    /// By which proxy it is asked, as people are told.
    proxy: Option<String>,
    /// Why nothing is asked any more: HTTP leads to HTTPS, and each request would show the key again.
    moved: OnceLock<String>,
}

/// Something with an id, in a list.
pub trait Row: DeserializeOwned {
    /// Its id.
    fn id(&self) -> &str;
}

/// What is sent with a POST.
#[derive(Clone)]
pub enum Body {
    /// An empty object, as actions want it.
    Empty,
    /// A resource.
    Json(Value),
}

#[derive(Deserialize)]
struct Collection<T> {
    data: Vec<T>,
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct Pagination {
    next: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
    detail: Option<String>,
    field_name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    name: Option<String>,
    uuid: Option<String>,
}

impl Row for Project {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Rancher's own ceiling is 3,000; a page of certificates of this size is a few megabytes.
const PAGE: usize = 1000;
const LARGEST: usize = 64 << 20;
/// More pages than any environment fills, even if a server gives small ones.
const MOST_PAGES: usize = 1000;
/// How often a list is begun again that changes while it is read.
const TRIES: usize = 4;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Api {
    /// The API at `base`, with this key.
    pub fn new(client: Client, base: Base, access_key: Secret, secret_key: Secret) -> Self {
        let project = OnceCell::new_with(base.project.clone());
        let (environment, moved) = (OnceLock::new(), OnceLock::new());
        Self { client, base, access_key, secret_key, project, environment, proxy: None, moved }
    }

    /// The same, where the client goes through a proxy, which is shown in errors.
    pub fn through(self, proxy: String) -> Self {
        Self { proxy: Some(proxy), ..self }
    }

    /// Gets one resource; none if there is no such id.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, DestinationError> {
        let answer = self.ask(Method::GET, path, None).await?;
        let is_gone = answer.status == StatusCode::NOT_FOUND
            && answer.error().is_ranchers()
            && !answer.is_role_missing();
        if is_gone {
            return Ok(None);
        }
        answer.read("GET", path).map(Some)
    }

    /// Makes a resource, or runs an action.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Body,
    ) -> Result<T, DestinationError> {
        let body = match body {
            Body::Empty => Value::Object(serde_json::Map::new()),
            Body::Json(body) => body,
        };
        self.ask(Method::POST, path, Some(body)).await?.read("POST", path)
    }

    /// Changes a resource.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Value,
    ) -> Result<T, DestinationError> {
        self.ask(Method::PUT, path, Some(body)).await?.read("PUT", path)
    }

    /// Lists every row of a kind, and keeps what `keep` makes of it. Whole or not at all.
    pub async fn list<T: Row, K>(
        &self,
        kind: &str,
        query: &str,
        keep: impl Fn(T) -> Option<K>,
    ) -> Result<Vec<K>, DestinationError> {
        let place = self.place(kind).await?;
        for _ in 0..TRIES {
            if let Some(rows) = self.list_once(kind, &place, query, &keep).await? {
                return Ok(rows);
            }
        }
        Err(DestinationError::Unavailable(format!(
            "the list of {kind} kept changing while it was read"
        )))
    }

    /// Pages are cut by offset, so that a row that vanishes shifts the others. Each page therefore begins with the
    /// last row of the one before; none if that is not so any more.
    async fn list_once<T: Row, K>(
        &self,
        kind: &str,
        place: &str,
        query: &str,
        keep: &impl Fn(T) -> Option<K>,
    ) -> Result<Option<Vec<K>>, DestinationError> {
        let mut rows = Vec::new();
        let mut last: Option<String> = None;
        let mut marker = String::new();
        let mut overlaps = false;
        for _ in 0..MOST_PAGES {
            let separator = if query.is_empty() { "" } else { "&" };
            let url = format!("{place}?limit={PAGE}{separator}{query}{marker}");
            let page: Collection<T> =
                self.send(Method::GET, &url, None).await?.read("GET", place)?;
            let mut data = page.data.into_iter();
            if overlaps && data.next().map(|row| row.id().to_owned()) != last {
                return Ok(None);
            }
            let mut progressed = false;
            for row in data {
                progressed = true;
                last = Some(row.id().to_owned());
                rows.extend(keep(row));
            }
            let Some(next) = page.pagination.and_then(|pagination| pagination.next) else {
                return Ok(Some(rows));
            };
            let Some(next) = marker_of(&next).filter(|_| progressed) else {
                return Err(DestinationError::Unavailable(format!(
                    "the list of {kind} goes on, but its next page cannot be asked for"
                )));
            };
            // Only the marker is taken from the server's URL: what stands around it may be another host.
            match next.strip_prefix('m').and_then(|offset| offset.parse::<u64>().ok()) {
                Some(offset) if offset > 0 => {
                    (marker, overlaps) = (format!("&marker=m{}", offset - 1), true)
                }
                _ => (marker, overlaps) = (format!("&marker={next}"), false),
            }
        }
        Err(DestinationError::Unavailable(format!(
            "the list of {kind} has no end: more than {MOST_PAGES} pages came"
        )))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, DestinationError> {
        let place = self.place(path).await?;
        self.send(method, &place, body).await
    }

    /// The URL of something in our environment.
    async fn place(&self, path: &str) -> Result<String, DestinationError> {
        let project = self.project.get_or_try_init(|| self.find_project()).await?;
        Ok(format!("{}/projects/{project}/{path}", self.base.url))
    }

    /// UUID of our environment, as metadata has it (seen on Cattle 0.174.3 to 0.183.83). It never changes, so that it is
    /// asked for until it is known.
    pub async fn environment(&self) -> Result<String, DestinationError> {
        let project = self.project.get_or_try_init(|| self.find_project()).await?;
        if let Some(known) = self.known_environment() {
            return Ok(known);
        }
        let found = self.find_environment(project).await?;
        Ok(self.environment.get_or_init(|| found).clone())
    }

    /// The same, if it is known without asking.
    pub fn known_environment(&self) -> Option<String> {
        self.environment.get().cloned()
    }

    async fn find_environment(&self, project: &String) -> Result<String, DestinationError> {
        let url = format!("{}/projects", self.base.url);
        let answer = self.send(Method::GET, &format!("{url}/{project}"), None).await?;
        // A key may see the list only.
        if answer.status != StatusCode::NOT_FOUND {
            let own: Project = answer.read("GET", "project")?;
            if let Some(uuid) = own.uuid {
                return Ok(uuid);
            }
        }
        let collection: Collection<Project> =
            self.send(Method::GET, &url, None).await?.read("GET", "projects")?;
        let own = collection.data.into_iter().find(|row| row.id == *project);
        own.and_then(|project| project.uuid).ok_or_else(|| {
            DestinationError::Unavailable(format!(
                "the list of environments does not show {}",
                one_line(project)
            ))
        })
    }

    /// A key of an environment sees one environment: its own.
    async fn find_project(&self) -> Result<String, DestinationError> {
        let url = format!("{}/projects", self.base.url);
        let answer = self.send(Method::GET, &url, None).await?;
        // What an older server makes of an unknown key. It would write into any environment.
        if answer.account_kind() == "admin" {
            return Err(DestinationError::Denied(format!(
                "Rancher takes us for its administrator: access control is off, and CATTLE_ACCESS_KEY and \
                 CATTLE_SECRET_KEY are wrong, or belong to a container that is gone; if the key really is an \
                 administrator's, name the environment in CATTLE_URL, like {}/projects/1a5",
                self.base.url
            )));
        }
        let collection: Collection<Project> = answer.read("GET", "projects")?;
        let mut projects = collection.data;
        match projects.len() {
            1 => {
                let own = projects.remove(0);
                if let Some(uuid) = own.uuid {
                    self.environment.get_or_init(|| uuid);
                }
                Ok(own.id)
            }
            0 => Err(DestinationError::Denied(role_missing("it sees no environment"))),
            _ => {
                let listed: Vec<String> = projects
                    .iter()
                    .map(|project| {
                        format!("{}={}", project.name.as_deref().unwrap_or(""), project.id)
                    })
                    .collect();
                Err(DestinationError::Denied(format!(
                    "the API key sees several environments ({}): name one in CATTLE_URL, like {}/projects/{}, or use \
                     an API key of one environment",
                    listed.join(", "),
                    self.base.url,
                    projects[0].id
                )))
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<Value>,
    ) -> Result<Answer, DestinationError> {
        if let Some(why) = self.moved.get() {
            return Err(DestinationError::Denied(why.clone()));
        }
        let mut request = self
            .client
            .request(method, url)
            .basic_auth(self.access_key.reveal(), Some(self.secret_key.reveal()))
            .header("Accept", "application/json")
            // With access control off a wrong key would silently act as admin over all environments.
            .header("X-ENFORCE-AUTHENTICATION", "true")
            .header("X-API-No-Challenge", "true");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let way = self.proxy.as_ref().map(|proxy| format!(" through {proxy} (RANCHER_PROXY)"));
        let way = way.as_deref().unwrap_or_default();
        let unavailable =
            |why: String| DestinationError::Unavailable(format!("{}{way}: {why}", self.base.url));
        let response =
            request.send().await.map_err(|error| unavailable(client::explain(&error)))?;
        let status = response.status();
        let headers = response.headers().clone();
        if status.is_redirection() {
            return Err(match front::redirect(url, &self.base.url, status, &headers) {
                Redirect::ToHttps(why) => {
                    DestinationError::Denied(self.moved.get_or_init(|| why).clone())
                }
                Redirect::Elsewhere(why) => DestinationError::Unavailable(why),
            });
        }
        let body = client::read(response, LARGEST).await.map_err(unavailable)?;
        if let Some(why) = front::wants_https(&self.base.url, status, &body) {
            return Err(DestinationError::Denied(self.moved.get_or_init(|| why).clone()));
        }
        Ok(Answer { status, headers, body })
    }
}

fn marker_of(next: &str) -> Option<&str> {
    let (_, query) = next.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("marker="))
}

fn role_missing(why: &str) -> String {
    format!(
        "the API key may not use certificates: {why}: set the labels io.rancher.container.create_agent: 'true' and \
         io.rancher.container.agent.role: environment on the service of this daemon and upgrade it"
    )
}

impl Answer {
    fn account_kind(&self) -> &str {
        self.headers
            .get("X-API-Account-Kind")
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default()
    }

    /// To a key without the role `environment` the type does not even exist.
    fn is_role_missing(&self) -> bool {
        self.account_kind() == "agent"
    }

    /// What it says went wrong; nothing where that is not in Rancher's words.
    fn error(&self) -> ErrorBody {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Reads the resource, or says what the answer means. Never quotes a success: it may hold a key.
    fn read<T: DeserializeOwned>(&self, method: &str, path: &str) -> Result<T, DestinationError> {
        // The query of a path may hold a marker or a filter, which say nothing to a person.
        let path = path.split('?').next().unwrap_or(path);
        let path = path.rsplit_once("/projects/").map_or(path, |(_, rest)| rest);
        // An id in it may come from an answer.
        let what = one_line(&format!("{method} {path}"));
        if self.status.is_success() {
            return serde_json::from_slice(&self.body).map_err(|error| {
                DestinationError::Unavailable(format!(
                    "{what}: the answer is not what Rancher's API says ({}): is CATTLE_URL the address of a Rancher \
                     1.x server?",
                    without_content(&error)
                ))
            });
        }
        let said = self.error();
        if !said.is_ranchers() && !self.is_role_missing() {
            return Err(front::refusal(&what, self.status, &self.headers));
        }
        let code = said.code.as_deref().unwrap_or_default();
        let text = said.text(&what, self.status);
        Err(match (self.status.as_u16(), code) {
            (401, _) => DestinationError::Denied(
                "Rancher refuses the API key (401): CATTLE_ACCESS_KEY and CATTLE_SECRET_KEY are wrong, or belong to a \
                 container that is gone; a good key is needed even while access control is off"
                    .to_owned(),
            ),
            (403, _) => DestinationError::Denied(format!(
                "{text}: the environment in CATTLE_URL is not the one of the API key"
            )),
            (404, _) if self.is_role_missing() => DestinationError::Denied(role_missing("its account has the kind agent")),
            (404, _) => DestinationError::Denied(format!(
                "{text}: is CATTLE_URL the address of a Rancher 1.x server, and has its API key the role environment?"
            )),
            (409, _) | (422, "ActionNotAvailable" | "NotUnique") => DestinationError::Conflict(text),
            (429 | 500.., _) => DestinationError::Unavailable(text),
            _ => DestinationError::Refused(text),
        })
    }
}

impl ErrorBody {
    /// Whether Rancher itself said it: every error of its API is of this type.
    fn is_ranchers(&self) -> bool {
        self.kind.as_deref() == Some("error")
    }

    fn text(&self, what: &str, status: StatusCode) -> String {
        let parts = [
            self.code.as_deref(),
            self.field_name.as_deref(),
            self.message.as_deref(),
            self.detail.as_deref(),
        ];
        let mut text = format!("{what}: {}", status.as_u16());
        // Its code, message and detail are often the same word.
        let mut said: Vec<String> = Vec::new();
        for part in parts.into_iter().flatten().map(one_line).filter(|part| !part.is_empty()) {
            if !said.iter().any(|said| said.eq_ignore_ascii_case(&part)) {
                text += &format!(" {part}");
                said.push(part);
            }
        }
        text
    }
}

/// What is wrong and where, without a word of the text: it may hold a key.
fn without_content(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
}

#[cfg(test)]
mod tests;

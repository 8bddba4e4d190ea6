//! The metadata server: versions, content negotiation, the long poll, and its ways to be unwell.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header::ACCEPT;
use http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use http::header::CONNECTION;
use http::header::CONTENT_TYPE;
use http::header::LOCATION;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

use crate::rancher::age::Polls;
use crate::rancher::answer;
use crate::rancher::model::Model;
use crate::rancher::model::Shared;
use crate::rancher::place::decoded;
use crate::rancher::place::query;
use crate::rancher::settings::Availability;
use crate::rancher::tree::Version;
use crate::rancher::walk::Found;
use crate::rancher::walk::printed;
use crate::rancher::walk::text;
use crate::rancher::walk::walk;
use crate::serve::Answers;
use crate::serve::Asked;
use crate::serve::Cut;

/// The metadata server.
pub(crate) struct Metadata {
    pub(crate) shared: Shared,
}

/// The form of an answer. Its content type says text in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Text,
}

/// What was asked.
struct Question {
    /// The first part of the path; none for `/`.
    version: Option<String>,
    path: Vec<String>,
    form: Form,
    poll: Option<Poll>,
}

/// Answer when the value is another, or after this time.
struct Poll {
    value: String,
    longest: Duration,
}

/// What the data says at one moment.
enum Outcome {
    Value(Value),
    Missing(&'static str),
    /// The connection is closed.
    Dies,
    Stalls,
}

impl Answers for Metadata {
    fn name(&self, request: &Asked) -> (&'static str, String) {
        let question = Question::of(request);
        let subject = question.path.get(1..).unwrap_or_default().join("/");
        let endpoint = endpoint(&question);
        (endpoint, subject)
    }

    async fn answer(&self, request: Asked) -> Response<Bytes> {
        if let Some(response) = by_routing(&request) {
            return response;
        }
        let question = Question::of(&request);
        let outcome = self.outcome(&question).await;
        if matches!(outcome, Outcome::Stalls) {
            std::future::pending().await
        }
        let is_garbage = self.shared.borrow().availability == Availability::Garbage;
        let mut response = rendered(outcome, question.form);
        if is_garbage {
            let half = response.body().len() / 2;
            response.body_mut().truncate(half);
        }
        response
    }
}

impl Metadata {
    /// Looks until a poll has an answer or its time is over; a plain request looks once.
    async fn outcome(&self, question: &Question) -> Outcome {
        let started = Instant::now();
        let mut changes = self.shared.subscribe();
        loop {
            changes.mark_unchanged();
            let outcome = self.look(question);
            let polls = self.shared.borrow().settings.age.server.polls();
            let poll = match (&question.poll, polls) {
                (None, _) | (_, Polls::AtOnce) => return outcome,
                (Some(poll), Polls::Never | Polls::InTime) => poll,
            };
            let is_new = match &outcome {
                Outcome::Value(value) => printed(value).as_ref() != Some(&poll.value),
                Outcome::Missing(_) => false,
                Outcome::Dies | Outcome::Stalls => true,
            };
            if is_new {
                return outcome;
            }
            let is_over = async {
                match polls {
                    Polls::Never => std::future::pending().await,
                    Polls::AtOnce | Polls::InTime => {
                        tokio::time::sleep_until(started + poll.longest).await;
                    }
                }
            };
            let is_changed = tokio::select! {
                change = changes.changed() => change.is_ok(),
                () = is_over => false,
            };
            if !is_changed {
                return outcome;
            }
        }
    }

    fn look(&self, question: &Question) -> Outcome {
        let mut outcome = Outcome::Dies;
        // Building a tree is no change that anybody waits for.
        self.shared.send_if_modified(|model| {
            outcome = look(model, question);
            false
        });
        outcome
    }
}

fn look(model: &mut Model, question: &Question) -> Outcome {
    let age = model.settings.age;
    if !age.server.takes(age.cattle) {
        return without_data(question);
    }
    match model.availability {
        Availability::Closes => return Outcome::Dies,
        Availability::Stalls => return Outcome::Stalls,
        Availability::NoData => return without_data(question),
        Availability::Up
        | Availability::Refused
        | Availability::Garbage
        | Availability::NullLists => {}
    }
    let Some(name) = &question.version else {
        let links = Version::ALL.map(|(name, _)| (name.to_owned(), json!(format!("/{name}"))));
        return Outcome::Value(Value::Object(links.into_iter().collect()));
    };
    let Some(version) = Version::of(name) else {
        return Outcome::Missing("Invalid version");
    };
    // Polls wait on this one, so that it must not build a tree.
    if question.path == ["version"] {
        return Outcome::Value(json!(model.version()));
    }
    match walk(&model.tree(version), &question.path) {
        Found::Value(value) => Outcome::Value(value.clone()),
        Found::Missing => Outcome::Missing("Not found"),
        Found::BelowNull => Outcome::Dies,
    }
}

fn without_data(question: &Question) -> Outcome {
    match question.version.as_deref() {
        None => Outcome::Value(json!({"latest": "/latest"})),
        Some("latest") => Outcome::Missing("Not found"),
        Some(_) => Outcome::Missing("Invalid version"),
    }
}

/// What faults and tests call a request.
pub(crate) fn endpoint_of(request: &Asked) -> &'static str {
    endpoint(&Question::of(request))
}

fn endpoint(question: &Question) -> &'static str {
    match (question.path.first().map(String::as_str), &question.poll) {
        (_, Some(_)) => "wait",
        (Some("version"), None) => "version",
        (Some("uuid"), None) => "uuid",
        (Some("self"), None) => "self",
        (Some("services"), None) => "services",
        (Some("containers"), None) => "containers",
        (Some("stacks"), None) => "stacks",
        (Some(_), None) => "other",
        (None, None) => "root",
    }
}

impl Question {
    fn of(request: &Asked) -> Self {
        let mut path: Vec<String> = request
            .uri()
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| decoded(&part.replace('+', " ")))
            .collect();
        let version = (!path.is_empty()).then(|| path.remove(0));
        let accept = request.headers().get(ACCEPT);
        Self {
            version,
            path,
            form: Form::of(accept.and_then(|accept| accept.to_str().ok())),
            poll: Poll::of(request.uri().query().unwrap_or_default()),
        }
    }
}

impl Form {
    /// JSON only for the bare type, and only if text is not named as well.
    fn of(accept: Option<&str>) -> Self {
        let ranges: Vec<&str> = accept.unwrap_or_default().split(',').map(str::trim).collect();
        let names_text = ranges.iter().any(|range| range.starts_with("text/"));
        match ranges.contains(&"application/json") && !names_text {
            true => Self::Json,
            false => Self::Text,
        }
    }
}

impl Poll {
    /// Both `wait=true` and `value` must be there, else it is a plain request.
    fn of(text: &str) -> Option<Self> {
        let query = query(text);
        let value = |name: &str| {
            let mut pairs = query.iter();
            pairs.find(|(key, _)| key == name).map(|(_, value)| value)
        };
        if value("wait").map(String::as_str) != Some("true") {
            return None;
        }
        let seconds = value("maxWait").and_then(|text| text.parse::<i64>().ok());
        let seconds = match seconds {
            None | Some(0) => 60,
            Some(seconds) => seconds.clamp(0, 120).unsigned_abs(),
        };
        Some(Self { value: value("value")?.clone(), longest: Duration::from_secs(seconds) })
    }
}

/// What the HTTP layer answers before any data is looked at.
fn by_routing(request: &Asked) -> Option<Response<Bytes>> {
    let path = request.uri().path();
    if has_bad_escape(path) {
        let mut response = answer::text(StatusCode::BAD_REQUEST, "400 Bad Request");
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        return Some(response);
    }
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    if !is_read || path == "/favicon.ico" {
        return Some(answer::text(StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    if !path.contains("//") {
        return None;
    }
    let mut clean = path.to_owned();
    while clean.contains("//") {
        clean = clean.replace("//", "/");
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = HeaderValue::try_from(clean).expect("it was part of a request line");
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}

fn has_bad_escape(path: &str) -> bool {
    let mut rest = path.split('%');
    rest.next();
    rest.any(|after| {
        let digits = after.as_bytes().get(..2);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn rendered(outcome: Outcome, form: Form) -> Response<Bytes> {
    let (status, body) = match (outcome, form) {
        (Outcome::Value(value), Form::Json) => (StatusCode::OK, Some(value.to_string())),
        (Outcome::Value(value), Form::Text) => (StatusCode::OK, text(&value)),
        (Outcome::Missing(message), Form::Json) => {
            let json = json!({"code": 404, "message": message, "type": "error"});
            (StatusCode::NOT_FOUND, Some(format!("{json}\n")))
        }
        (Outcome::Missing(message), Form::Text) => {
            (StatusCode::NOT_FOUND, Some(format!("{message}\n")))
        }
        (Outcome::Dies | Outcome::Stalls, _) => (StatusCode::OK, None),
    };
    let mut response = Response::new(Bytes::new());
    let Some(body) = body else {
        response.extensions_mut().insert(Cut);
        return response;
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if !body.is_empty() {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, text);
    }
    *response.body_mut() = Bytes::from(body);
    response
}

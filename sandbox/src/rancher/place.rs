//! What a request to the API is about, read from its path and query.

use http::header::HOST;

use crate::serve::Asked;

/// The version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2Beta,
}

impl Version {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2Beta => "v2-beta",
        }
    }
}

/// The types that the model knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The list of links at the version itself.
    Root,
    Projects,
    Certificates,
    Services,
    Balancers,
    Other,
}

/// What a request is about.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `http://host`, from the headers, as Cattle makes its links.
    pub(crate) origin: String,
    pub(crate) version: Version,
    /// The path as asked, without doubled slashes.
    pub(crate) path: String,
    /// The project in the path.
    pub(crate) project: Option<String>,
    /// The project in the header or in the query.
    named_project: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) id: Option<String>,
    pub(crate) query: Vec<(String, String)>,
}

impl Place {
    /// Reads a request; none if it is outside of the API.
    pub(crate) fn of(request: &Asked) -> Option<Self> {
        let segments: Vec<String> = request
            .uri()
            .path()
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decoded)
            .collect();
        let (version, mut rest) = match segments.split_first() {
            Some((first, rest)) if first == "v1" => (Version::V1, rest),
            Some((first, rest)) if first == "v2-beta" => (Version::V2Beta, rest),
            _ => return None,
        };
        let mut project = None;
        if let [first, id, deeper @ ..] = rest
            && kind(first) == Kind::Projects
            && !deeper.is_empty()
        {
            (project, rest) = (Some(id.clone()), deeper);
        }
        let (kind, id) = match rest {
            [] => (Kind::Root, None),
            [name] => (kind(name), None),
            [name, id] => (kind(name), Some(id.clone())),
            _ => (Kind::Other, None),
        };
        let query = query(request.uri().query().unwrap_or_default());
        let named_project = header(request, "x-api-project-id")
            .map(str::to_owned)
            .or_else(|| value(&query, "projectId").map(str::to_owned));
        Some(Self {
            origin: origin(request),
            version,
            path: format!("/{}", segments.join("/")),
            project,
            named_project,
            kind,
            id,
            query,
        })
    }

    /// The project that was asked for, in whatever way.
    pub(crate) fn asked_project(&self) -> Option<&str> {
        self.project.as_deref().or(self.named_project.as_deref())
    }

    /// The value of a query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        value(&self.query, name)
    }

    /// The base of all links: version and, if it is in the path, project.
    pub(crate) fn base(&self) -> String {
        let project =
            self.project.as_ref().map_or_else(String::new, |id| format!("/projects/{id}"));
        format!("{}/{}{project}", self.origin, self.version.text())
    }

    /// The absolute URL of what was asked, without the query.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }
}

/// A request header as text.
pub(crate) fn header<'a>(request: &'a Asked, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// A query in order; `+` is a space.
pub(crate) fn query(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

/// Takes percent signs out; what is no escape stays.
pub(crate) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escape = bytes
            .get(index + 1..index + 3)
            .filter(|_| bytes[index] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escape.unwrap_or(bytes[index]));
        index += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = query.iter().find(|(key, _)| key == name)?;
    Some(value)
}

/// Types are found in singular and plural and in any case.
fn kind(name: &str) -> Kind {
    let name = name.to_ascii_lowercase();
    match name.strip_suffix('s').unwrap_or(&name) {
        "project" => Kind::Projects,
        "certificate" => Kind::Certificates,
        "service" => Kind::Services,
        "loadbalancerservice" => Kind::Balancers,
        _ => Kind::Other,
    }
}

fn origin(request: &Asked) -> String {
    let scheme = header(request, "x-forwarded-proto").unwrap_or("http");
    let host =
        request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("{scheme}://{host}")
}

//! How the API answers: resources, lists in pages, problems, JSON or HTML.

use bytes::Bytes;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header::ACCEPT;
use http::header::CONTENT_TYPE;
use http::header::USER_AGENT;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::rancher::origin;
use crate::rancher::place::Place;
use crate::serve::Asked;

/// An answer that is an error.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    code: &'static str,
    message: Option<String>,
    field: Option<&'static str>,
}

impl Problem {
    /// A plain status; code and message are Cattle's words for it.
    pub(crate) fn plain(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::METHOD_NOT_ALLOWED => "Method not allowed",
            other => other.canonical_reason().unwrap_or("Error"),
        };
        Self { status, code, message: Some(code.to_owned()), field: None }
    }

    /// A field that is not right.
    pub(crate) fn field(code: &'static str, field: &'static str) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code, message: None, field: Some(field) }
    }

    /// A certificate that cannot be read.
    pub(crate) fn format() -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "InvalidFormat",
            message: Some("InvalidFormat".to_owned()),
            field: None,
        }
    }

    /// Something that must not be done now.
    pub(crate) fn in_use(message: String) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "InvalidAction",
            message: Some(message),
            field: None,
        }
    }

    /// The error resource.
    pub(crate) fn json(&self) -> Value {
        let mut json = json!({
            "id": origin::uuid(),
            "type": "error",
            "links": {},
            "actions": {},
            "status": self.status.as_u16(),
            "code": self.code,
            "message": self.message,
            "detail": null,
            "baseType": "error",
        });
        if let Some(field) = self.field {
            json["fieldName"] = json!(field);
        }
        json
    }
}

/// A resource that is written out only if it is on the page that was asked for.
pub(crate) type Row<'a> = Box<dyn FnOnce() -> Value + 'a>;

/// A list: filtered, and a page of it.
pub(crate) struct Collection<'a> {
    pub(crate) place: &'a Place,
    /// Cattle's word for the type of the list, which is not always that of its items.
    pub(crate) resource_type: &'static str,
    /// The fields that can be filtered by; all others are ignored without a word.
    pub(crate) columns: &'static [&'static str],
    pub(crate) create_types: Value,
    pub(crate) rows: Vec<Row<'a>>,
    pub(crate) max_page: usize,
    pub(crate) folds_case: bool,
}

impl Collection<'_> {
    /// The page that was asked for.
    pub(crate) fn json(mut self) -> Value {
        let filters = self.filters();
        let mut rows = std::mem::take(&mut self.rows);
        if !filters.is_empty() {
            let passes = |row: &Value| filters.iter().all(|filter| self.passes(row, filter));
            let written = rows.into_iter().map(|row| row()).filter(passes);
            rows = written.map(|row| Box::new(move || row) as Row<'_>).collect();
        }
        let total = rows.len();
        let limit = self.limit();
        let start = self
            .place
            .parameter("marker")
            .and_then(|marker| marker.strip_prefix('m')?.parse().ok())
            .unwrap_or(0_usize);
        let page: Vec<Value> = rows.into_iter().skip(start).take(limit).map(|row| row()).collect();
        let end = start + page.len();
        let next = (end < total).then(|| self.next(end));
        json!({
            "type": "collection",
            "resourceType": self.resource_type,
            "links": {"self": self.place.url()},
            "createTypes": self.create_types,
            "actions": {},
            "data": page,
            "sortLinks": {},
            "pagination": {
                "first": null,
                "previous": null,
                "next": next,
                "limit": limit,
                "total": null,
                "partial": end < total,
            },
            "sort": null,
            "filters": self.filters_json(&filters),
            "createDefaults": {},
        })
    }

    fn limit(&self) -> usize {
        let asked = self.place.parameter("limit").and_then(|limit| limit.parse::<i64>().ok());
        match asked {
            None => self.max_page.min(100),
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=self.max_page).contains(limit))
                .unwrap_or(self.max_page),
        }
    }

    /// The same URL with another marker, which is the only difference between two pages.
    fn next(&self, offset: usize) -> String {
        let mut pairs: Vec<String> = self
            .place
            .query
            .iter()
            .filter(|(name, _)| name != "marker")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.push(format!("marker=m{offset}"));
        format!("{}?{}", self.place.url(), pairs.join("&"))
    }

    fn filters(&self) -> Vec<Filter> {
        let query = self.place.query.iter();
        query.filter_map(|(name, value)| self.filter(name, value)).collect()
    }

    fn filter(&self, name: &str, value: &str) -> Option<Filter> {
        const MODIFIERS: [&str; 6] = ["ne", "prefix", "like", "notlike", "null", "notnull"];
        let (column, modifier) = MODIFIERS
            .iter()
            .find_map(|modifier| Some((name.strip_suffix(modifier)?.strip_suffix('_')?, *modifier)))
            .unwrap_or((name, "eq"));
        let column = self.columns.iter().find(|known| **known == column)?;
        Some(Filter { column, modifier, value: value.to_owned() })
    }

    fn passes(&self, row: &Value, filter: &Filter) -> bool {
        let fold = |text: &str| match self.folds_case {
            true => text.to_lowercase(),
            false => text.to_owned(),
        };
        let held = match &row[filter.column] {
            Value::Null => None,
            Value::String(text) => Some(fold(text)),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Some(other.to_string())
            }
        };
        let value = fold(&filter.value);
        match filter.modifier {
            "null" => held.is_none(),
            "notnull" => held.is_some(),
            "ne" => held.is_some_and(|held| held != value),
            "prefix" => held.is_some_and(|held| held.starts_with(&value)),
            "like" => held.is_some_and(|held| held.contains(value.trim_matches('%'))),
            "notlike" => held.is_some_and(|held| !held.contains(value.trim_matches('%'))),
            _ => held.is_some_and(|held| held == value),
        }
    }

    fn filters_json(&self, filters: &[Filter]) -> Value {
        let columns = self.columns.iter().map(|column| {
            let of_column: Vec<Value> = filters
                .iter()
                .filter(|filter| filter.column == *column)
                .map(|filter| json!({"value": filter.value, "modifier": filter.modifier}))
                .collect();
            let value = match of_column.is_empty() {
                true => Value::Null,
                false => Value::Array(of_column),
            };
            ((*column).to_owned(), value)
        });
        Value::Object(columns.collect::<Map<String, Value>>())
    }
}

struct Filter {
    column: &'static str,
    modifier: &'static str,
    value: String,
}

/// An answer in the form the client gets: HTML for what looks like a browser.
pub(crate) fn rendered(
    request: &Asked,
    place: &Place,
    status: StatusCode,
    json: &Value,
) -> Response<Bytes> {
    let html = wants_html(request) && place.parameter("_format") != Some("json");
    let (content_type, body) = match html {
        true => ("text/html; charset=utf-8", page(json)),
        false => ("application/json; charset=utf-8", json.to_string()),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A body without JSON.
pub(crate) fn text(status: StatusCode, body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn wants_html(request: &Asked) -> bool {
    let header = |name| {
        let value: Option<&HeaderValue> = request.headers().get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let is_browser =
        header(USER_AGENT).is_some_and(|agent| agent.to_ascii_lowercase().contains("mozilla"));
    is_browser && header(ACCEPT).is_none_or(|accept| accept.contains("*/*"))
}

fn page(json: &Value) -> String {
    format!(
        "<!DOCTYPE html>\n<!-- If you are reading this, there is a good chance you would prefer \
         sending an\n\"Accept: application/json\" header and receiving actual JSON responses. -->\n\
         <html><body><script>\nvar data = {json};\n</script></body></html>\n"
    )
}

//! Answers on their way out.

use bytes::Bytes;
use http::HeaderName;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use serde_json::Value;

use super::problem::Problem;

/// An answer to which headers can still be added.
pub(super) struct Reply(Response<Bytes>);

impl Reply {
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        let body = serde_json::to_vec(body).expect("a JSON value can be written");
        Self::bytes(status, "application/json", body)
    }

    pub(super) fn problem(problem: &Problem) -> Self {
        let body = serde_json::to_vec(&problem.to_json()).expect("a JSON value can be written");
        Self::bytes(problem.status(), "application/problem+json", body)
            .header_if(header::RETRY_AFTER, problem.retry_after_header())
    }

    pub(super) fn bytes(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self(response)
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Self(response)
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        let value = HeaderValue::from_str(value.as_ref()).expect("headers are plain ASCII");
        self.0.headers_mut().append(name, value);
        self
    }

    pub(super) fn header_if(self, name: HeaderName, value: Option<String>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    pub(super) fn finish(self) -> Response<Bytes> {
        self.0
    }
}

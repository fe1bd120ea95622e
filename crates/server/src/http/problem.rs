//! Refusals that a program reads: problem documents (RFC 9457).

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use keybook_core::Value;

/// A refusal. `title` names the kind, always in the same words; `detail` has the value and the limit.
pub(crate) fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let [title, detail] = [title, detail].map(Value::from_text);
    let (title, detail) = (title.as_str(), detail.as_str());
    let body = format!(r#"{{"type":"about:blank","status":{},"title":{title},"detail":{detail}}}"#, status.as_u16());
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

//! Responses that the gateway gives itself, without a function.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use domain::Error;
use http_api::problem::{Code, Problem};
use serde_json::Value;
use uuid::Uuid;

/// A new request id, for responses and the log.
pub(crate) fn new_request_id() -> String {
    Uuid::new_v4().to_string()
}

/// The response to a request that failed with `error`.
pub(crate) fn of_error(error: &Error, request_id: &str) -> Response<Body> {
    of_problem(Problem::new(error, Some(request_id)))
}

/// The response with a problem as its body.
pub(crate) fn of_problem(problem: Problem) -> Response<Body> {
    problem.into_response().map(Body::from)
}

/// The response with a JSON body.
pub(crate) fn of_json(body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The problem of a request that may not pass.
pub(crate) fn forbidden(detail: impl Into<String>, request_id: &str) -> Problem {
    problem(StatusCode::FORBIDDEN, Code::Forbidden, detail.into(), request_id)
}

/// The response at a path without a route.
pub(crate) fn not_found(request_id: &str) -> Response<Body> {
    let detail = "There is nothing at this path".to_owned();
    of_problem(problem(StatusCode::NOT_FOUND, Code::NotFound, detail, request_id))
}

/// The response at a path that takes the `allowed` methods and not this one. The header `Allow` is left to the caller when
/// `allowed` is empty.
pub(crate) fn method_not_allowed(method: &Method, allowed: &[&str], request_id: &str) -> Response<Body> {
    let allowed = allowed.join(", ");
    let mut detail = format!("{method} is not allowed here");
    if !allowed.is_empty() {
        detail = format!("{detail}; allowed are {allowed}");
    }
    let problem = problem(StatusCode::METHOD_NOT_ALLOWED, Code::BadUserInput, detail, request_id);
    let mut response = of_problem(Problem { field: Some("method".to_owned()), ..problem });
    if let Ok(value) = HeaderValue::from_str(&allowed)
        && !allowed.is_empty()
    {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

fn problem(status: StatusCode, code: Code, detail: String, request_id: &str) -> Problem {
    Problem {
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        code,
        detail,
        field: None,
        ..Problem::new(&Error::bad_input("", ""), Some(request_id))
    }
}

//! Answers of the gateway itself, where no function is asked.

use axum::body::Body;
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use shared::Error;
use shared::problem::{Code, Problem};
use uuid::Uuid;

/// A name for a request, in answers and in logs.
pub(crate) fn request_id() -> String {
    Uuid::new_v4().to_string()
}

/// The answer to a request that failed with `error`.
pub(crate) fn refuse(error: &Error, request_id: &str) -> Response<Body> {
    problem(Problem::new(error, Some(request_id)))
}

/// The answer that is a problem.
pub(crate) fn problem(problem: Problem) -> Response<Body> {
    problem.into_response().map(Body::from)
}

/// The answer where nothing is served.
pub(crate) fn no_such_path(request_id: &str) -> Response<Body> {
    refuse(&Error::NotFound("There is nothing at this path"), request_id)
}

/// The answer where other methods are served, or what a route that knows them better is told to say.
pub(crate) fn method_not_allowed(method: &Method, allowed: &[&str], request_id: &str) -> Response<Body> {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut detail = format!("{method} is not allowed here");
    if !allowed.is_empty() {
        detail = format!("{detail}; allowed are {}", allowed.join(", "));
    }
    let mut response = problem(Problem {
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        detail,
        field: Some("method".to_owned()),
        code: Code::BadUserInput,
        ..Problem::new(&Error::bad_input("method", ""), Some(request_id))
    });
    if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", "))
        && !allowed.is_empty()
    {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

//! Answers of the gateway itself, which has no function to ask.

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use shared::Error;
use shared::problem::Problem;
use uuid::Uuid;

/// The problem that `error` is, with a request id of its own.
pub(crate) fn refuse(error: &Error) -> Response<Body> {
    problem(Problem::new(error, Some(&Uuid::new_v4().to_string())))
}

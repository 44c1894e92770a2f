//! Errors as HTTP: RFC 9457 problem details. The one place that knows status codes.

use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::Error;

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// What kind of problem; always `about:blank`, which means that the status says it.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub kind: &'static str,
    /// The status in words.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What to do about it, for programs.
    pub code: Code,
    /// What was wrong and what is allowed, for people.
    pub detail: String,
    /// The parameter, header or member at fault.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Names this request in our logs.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What to do about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// Correct the request.
    BadUserInput,
    /// Send a valid token.
    Unauthenticated,
    /// Ask for permission.
    Forbidden,
    /// Nothing: it does not exist.
    NotFound,
    /// Use another id.
    Conflict,
    /// Send less.
    PayloadTooLarge,
    /// Send it again later, more slowly.
    Throttled,
    /// Send it again later.
    Unavailable,
    /// Report it, with the request id.
    Internal,
}

impl Problem {
    /// The problem that an error is to its caller. Causes stay inside.
    pub fn new(error: &Error, request_id: Option<&str>) -> Self {
        let (status, code, field) = match error {
            Error::BadInput { field, .. } => {
                (StatusCode::BAD_REQUEST, Code::BadUserInput, Some(field.clone()))
            }
            Error::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, Code::Unauthenticated, None),
            Error::Forbidden(_) => (StatusCode::FORBIDDEN, Code::Forbidden, None),
            Error::NotFound(_) => (StatusCode::NOT_FOUND, Code::NotFound, None),
            Error::Conflict { field, .. } => {
                (StatusCode::CONFLICT, Code::Conflict, Some((*field).to_owned()))
            }
            Error::TooLarge { field, .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, Code::PayloadTooLarge, Some(field.clone()))
            }
            Error::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, Code::Throttled, None),
            Error::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, None),
            Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, None),
        };
        let detail = match error {
            Error::BadInput { field, detail } | Error::TooLarge { field, detail } => {
                format!("{field} {detail}")
            }
            Error::Conflict { detail, .. } => detail.clone(),
            other => other.to_string(),
        };
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code,
            detail,
            field,
            request_id: request_id.map(str::to_owned),
        }
    }

    /// The response.
    pub fn into_response(self) -> Response<String> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(serde_json::to_string(&self).unwrap_or_default());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.code {
            Code::Unauthenticated => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            // Seconds.
            Code::Throttled | Code::Unavailable => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            _ => None,
        };
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_internal_leaks() {
        let error = Error::internal("table arn:aws:dynamodb:eu-central-1:123456789012:table/log");
        let response = Problem::new(&error, Some("req-1")).into_response();
        assert_eq!(response.status(), 500);
        assert_eq!(
            response.body(),
            r#"{"type":"about:blank","title":"Internal Server Error","status":500,"code":"INTERNAL","detail":"internal error","request_id":"req-1"}"#
        );
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let problem = Problem::new(&Error::bad_input("limit", "must be a whole number from 1 to 200"), None);
        assert_eq!(problem.status, 400);
        assert_eq!(problem.field.as_deref(), Some("limit"));
        assert_eq!(problem.detail, "limit must be a whole number from 1 to 200");
    }
}

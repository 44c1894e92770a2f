//! Errors as RFC 9457 problem details. Only this module knows the status of an error.

use domain::Error;
use domain::error::{Fault, Forbidden, Missing, QueryError};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The kind of problem: always `about:blank`, because the status says it.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub kind: ProblemKind,
    /// The status in words.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The way to go on, for programs.
    pub code: Code,
    /// The fault, and what is allowed instead, for people.
    pub detail: String,
    /// The parameter, header or member at fault.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// All faults, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The name of this request in our logs.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The problem of a page that is too long for one request, and that a short answer would make look like the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PageTooLong {
    #[serde(flatten)]
    problem: Problem,
    /// The highest limit that fits here. Absent when none is sure to.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_limit: Option<usize>,
    /// The `cursor` that begins where the page does.
    cursor: String,
}

impl PageTooLong {
    /// The problem of a page of which `fits` entries fit, and which `cursor` begins.
    pub(crate) fn new(fits: usize, cursor: String, request_id: Option<&str>) -> Self {
        let max_limit = (fits > 0).then_some(fits);
        let fault = match max_limit {
            Some(fits) => {
                format!("must be at most {fits} here, because one request can neither read nor answer more")
            }
            None => "is more than one request finds here".to_owned(),
        };
        let detail = format!("{fault}; or follow the header Link, whose pages may be shorter than the limit");
        let problem = Problem::new(&Error::bad_input("limit", detail), request_id);
        Self { problem, max_limit, cursor }
    }

    /// The response.
    pub(crate) fn into_response(self) -> Response<String> {
        let body = serde_json::to_string(&self).unwrap_or_default();
        self.problem.into_response().map(|_| body)
    }
}

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ProblemKind {
    /// The one that the status says.
    #[serde(rename = "about:blank")]
    AboutBlank,
}

/// One of several faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// The parameter, header or member at fault.
    pub field: String,
    /// The fault, and what is allowed instead.
    pub detail: String,
}

fn field_errors(error: &Error) -> Vec<FieldError> {
    let Error::BadInput(faults) = error else { return Vec::new() };
    let errors = faults
        .iter()
        .map(|Fault { field, detail }| FieldError { field: field.clone(), detail: detail.clone() });
    let errors: Vec<_> = errors.collect();
    if errors.len() > 1 { errors } else { Vec::new() }
}

/// The way to go on after a problem.
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
    /// Use another id: somebody else has this one.
    IdTaken,
    /// Send less.
    PayloadTooLarge,
    /// Send it in another form.
    UnsupportedMediaType,
    /// Send it again later, more slowly.
    Throttled,
    /// Send it again later.
    Unavailable,
    /// Report it, with the request id.
    Internal,
}

impl Problem {
    /// The problem of an error. It leaves out the error's causes, because callers must not see them.
    pub fn new(error: &Error, request_id: Option<&str>) -> Self {
        let of_field = |field: &str, detail: &str| (Some(field.to_owned()), format!("{field} {detail}"));
        let without_field = |detail: &dyn ToString| (None, detail.to_string());
        let (status, code, (field, detail)) = match error {
            Error::BadInput(faults) => {
                let each = faults.iter().map(|Fault { field, detail }| format!("{field} {detail}"));
                let words = (Some(faults.field().to_owned()), each.collect::<Vec<_>>().join("; "));
                (StatusCode::BAD_REQUEST, Code::BadUserInput, words)
            }
            Error::Query(error) => {
                let words = of_field(parameter(*error), &error.to_string());
                (StatusCode::BAD_REQUEST, Code::BadUserInput, words)
            }
            Error::Unauthenticated(detail) => {
                (StatusCode::UNAUTHORIZED, Code::Unauthenticated, without_field(detail))
            }
            Error::Forbidden(forbidden) => {
                let detail = match forbidden {
                    Forbidden::ReadWorkspace => {
                        "You do not have permission to view activities for this project"
                    }
                    Forbidden::ReadOrganization => {
                        "You do not have permission to view activities for this organization"
                    }
                    Forbidden::Forward => "Only the recorders send to this queue",
                    Forbidden::Record => "Recording needs the scope activity:write",
                    Forbidden::RecordThere => {
                        "This token may not record for this workspace: its claims narrow it to others"
                    }
                    Forbidden::ChangeDirectory => {
                        "Recording what changes workspaces or members needs the right to do so: over HTTP the scope \
                         activity:admin besides activity:write"
                    }
                };
                (StatusCode::FORBIDDEN, Code::Forbidden, without_field(&detail))
            }
            Error::NotFound(missing) => {
                let detail = match missing {
                    Missing::Workspace => "Workspace not found",
                    Missing::RecordedWorkspace => {
                        "The workspace is not known: record its workspace.created first"
                    }
                    Missing::Organization => "Organization not found",
                    Missing::Activity => "Activity not found",
                };
                (StatusCode::NOT_FOUND, Code::NotFound, without_field(&detail))
            }
            Error::Conflict { field, detail } => {
                (StatusCode::CONFLICT, Code::Conflict, (Some((*field).to_owned()), detail.clone()))
            }
            Error::IdTaken { field, detail } => {
                (StatusCode::CONFLICT, Code::IdTaken, (Some((*field).to_owned()), detail.clone()))
            }
            Error::TooLarge { field, detail } => {
                (StatusCode::PAYLOAD_TOO_LARGE, Code::PayloadTooLarge, of_field(field, detail))
            }
            Error::UnsupportedMedia { field, detail } => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::UnsupportedMediaType, of_field(field, detail))
            }
            Error::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, Code::Throttled, without_field(error)),
            Error::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, without_field(error))
            }
            Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, without_field(error)),
        };
        Self {
            kind: ProblemKind::AboutBlank,
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code,
            detail,
            field,
            errors: field_errors(error),
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
            // The encodings of bodies, as RFC 9110 has it for this status.
            Code::UnsupportedMediaType => headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
            // Seconds.
            Code::Throttled | Code::Unavailable => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            _ => None,
        };
        response
    }
}

/// The REST API's name for the part of a query that is at fault.
fn parameter(error: QueryError) -> &'static str {
    match error {
        QueryError::TotalTooLarge => "total",
        QueryError::SkipTooDeep | QueryError::SkipWithinSlot => "offset",
        // No list of the REST API has these faults, because its path names one workspace by its id.
        QueryError::TooManyWorkspaces
        | QueryError::TooManyToCheck
        | QueryError::AmbiguousWorkspace
        | QueryError::AmbiguousOrganization
        | QueryError::ScopeRequired => "ws_id",
        QueryError::ResumeExpired => "cursor",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: impl Into<Error>) -> (u16, Option<String>, String) {
        let Problem { status, field, detail, .. } = Problem::new(&error.into(), None);
        (status, field, detail)
    }

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
    fn field_at_fault_is_named() {
        let error = Error::bad_input("limit", "must be a whole number from 1 to 200");
        let detail = "limit must be a whole number from 1 to 200";
        assert_eq!(of(error), (400, Some("limit".into()), detail.into()));
    }

    #[test]
    fn query_errors_name_the_parameter() {
        let (status, field, detail) = of(QueryError::SkipTooDeep);
        assert_eq!((status, field.as_deref()), (400, Some("offset")));
        assert!(detail.starts_with("offset is too deep to be skipped by reading; "), "{detail}");
        assert_eq!(of(QueryError::TotalTooLarge).1.as_deref(), Some("total"));
    }

    #[test]
    fn refusals_have_the_words_of_the_reference() {
        for (error, status, detail) in [
            (Error::NotFound(Missing::Workspace), 404, "Workspace not found"),
            (Error::NotFound(Missing::Activity), 404, "Activity not found"),
            (
                Error::Forbidden(Forbidden::ReadWorkspace),
                403,
                "You do not have permission to view activities for this project",
            ),
            (Error::Forbidden(Forbidden::Record), 403, "Recording needs the scope activity:write"),
        ] {
            assert_eq!(of(error), (status, None, detail.into()));
        }
    }
}

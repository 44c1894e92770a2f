//! Errors in GraphQL's words: a message for people, and a code for programs.

use std::sync::Arc;

use async_graphql::{ErrorExtensions as _, Pos, ServerError};
use domain::Error;
use domain::error::{Forbidden, Missing, QueryError};
use feeds::MAX_SOURCES;
use feeds::reader::MAX_WORKSPACES;
use http_api::problem::Problem;

/// An error of a field. It carries the causes to the log; a response leaves them out.
pub(crate) fn of_field(error: Error) -> async_graphql::Error {
    let (argument, message) = match &error {
        Error::Query(error) => {
            let (argument, detail) = words(*error);
            let detail = detail.unwrap_or_else(|| error.to_string());
            (Some(argument), format!("{argument}: {detail}"))
        }
        Error::NotFound(Missing::Workspace) => (None, "Project not found".to_owned()),
        Error::NotFound(Missing::Organization) => (None, "Company not found".to_owned()),
        Error::Forbidden(Forbidden::ReadOrganization) => {
            (None, "You do not have permission to view activities for this company".to_owned())
        }
        Error::NotFound(_) | Error::Forbidden(_) => (None, Problem::new(&error, None).detail),
        error => (None, error.to_string()),
    };
    with_code(message, argument, error)
}

/// The error of dates in the wrong order, in the words of the reference.
pub(crate) fn reversed_dates() -> async_graphql::Error {
    let error = Error::bad_input("startDate", "must be before endDate");
    with_code("Start date must be before end date".to_owned(), None, error)
}

/// An error of the whole request, which has no location in a document.
pub(crate) fn of_request(error: Error) -> ServerError {
    let error = of_field(error).into_server_error(Pos::default());
    ServerError { locations: Vec::new(), ..error }
}

/// The error of a request that names its document by a hash, in the words for which Apollo's and urql's clients wait.
pub(crate) fn persisted_query() -> ServerError {
    let error = async_graphql::Error::new("PersistedQueryNotSupported");
    let error = error.extend_with(|_, extensions| extensions.set("code", "PERSISTED_QUERY_NOT_SUPPORTED"));
    ServerError { locations: Vec::new(), ..error.into_server_error(Pos::default()) }
}

/// The argument or field at fault, and what is wrong with it, where the error's own text does not say it in GraphQL's
/// words.
fn words(error: QueryError) -> (&'static str, Option<String>) {
    let (argument, detail) = match error {
        QueryError::TotalTooLarge => ("totalCount", None),
        QueryError::SkipTooDeep | QueryError::SkipWithinSlot => ("skip", None),
        QueryError::TooManyWorkspaces => {
            let detail =
                format!("is required: together, more than {MAX_SOURCES} workspaces cannot be read like this");
            return ("projectId", Some(detail));
        }
        QueryError::TooManyToCheck => {
            let detail = format!(
                "is required: access to more than {MAX_WORKSPACES} projects cannot be checked at once"
            );
            return ("projectId", Some(detail));
        }
        QueryError::AmbiguousWorkspace => {
            ("projectId", Some("is the slug of several projects; give the project's id, or companyId too"))
        }
        QueryError::AmbiguousOrganization => {
            ("companyId", Some("is the slug of several companies; give the company's id"))
        }
        QueryError::ScopeRequired => {
            ("companyId", Some("or projectId is required with a token of the scope activity:read"))
        }
        QueryError::ResumeExpired => {
            ("after", Some("is too old: what follows it is listed for a day only; read activityList instead"))
        }
    };
    (argument, detail.map(str::to_owned))
}

/// An error with the code of its problem. `argument` replaces the field that the REST API would name.
fn with_code(message: String, argument: Option<&str>, error: Error) -> async_graphql::Error {
    let Problem { code, field, .. } = Problem::new(&error, None);
    let field = argument.map(str::to_owned).or(field);
    let error = async_graphql::Error { source: Some(Arc::new(error)), ..async_graphql::Error::new(message) };
    error.extend_with(|_, extensions| {
        extensions.set("code", async_graphql::to_value(code).unwrap_or_default());
        if let Some(field) = field {
            extensions.set("field", field);
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_have_the_words_of_graphql() {
        for (error, message, code, field) in [
            (QueryError::TotalTooLarge.into(), "totalCount: would read more", "BAD_USER_INPUT", "totalCount"),
            (QueryError::SkipTooDeep.into(), "skip: is too deep", "BAD_USER_INPUT", "skip"),
            (QueryError::ScopeRequired.into(), "companyId: or projectId is", "BAD_USER_INPUT", "companyId"),
            (QueryError::ResumeExpired.into(), "after: is too old: what", "BAD_USER_INPUT", "after"),
            (Error::NotFound(Missing::Workspace), "Project not found", "NOT_FOUND", ""),
            (Error::NotFound(Missing::Organization), "Company not found", "NOT_FOUND", ""),
            (
                Error::Forbidden(Forbidden::ReadWorkspace),
                "You do not have permission to view activities for this project",
                "FORBIDDEN",
                "",
            ),
            (
                Error::Forbidden(Forbidden::ReadOrganization),
                "You do not have permission to view activities for this company",
                "FORBIDDEN",
                "",
            ),
            (Error::bad_input("first", "must be small"), "first: must be small", "BAD_USER_INPUT", "first"),
            (Error::too_large("query", "is long"), "query: is long", "PAYLOAD_TOO_LARGE", "query"),
            (Error::internal("arn:aws:secret"), "internal error", "INTERNAL", ""),
        ] {
            let error: Error = error;
            let error = serde_json::to_value(of_request(error)).unwrap();
            assert!(error["message"].as_str().unwrap().starts_with(message), "{error}");
            let mut extensions = json!({ "code": code });
            if !field.is_empty() {
                extensions["field"] = field.into();
            }
            assert_eq!(error["extensions"], extensions, "{message}");
        }
    }
}

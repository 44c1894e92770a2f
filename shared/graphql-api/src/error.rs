//! Errors as GraphQL has them: a message, and a code for programs.

use std::sync::Arc;

use async_graphql::{ErrorExtensions as _, Pos, ServerError};
use shared::Error;
use shared::problem::Problem;

/// An error of a field. Its causes go with it to the log, and no further.
pub(crate) fn of_field(error: Error) -> async_graphql::Error {
    let error = match error {
        Error::BadInput { field, detail } => Error::bad_input(argument(field), detail),
        error => error,
    };
    refusal(error.to_string(), error)
}

/// What the reference says of dates that are in the wrong order.
pub(crate) fn reversed() -> async_graphql::Error {
    let error = Error::bad_input("startDate", "must be before endDate");
    refusal("Start date must be before end date".into(), error)
}

/// An error of the whole request, which is at no place of a document.
pub(crate) fn of_request(error: Error) -> ServerError {
    let error = of_field(error).into_server_error(Pos::default());
    ServerError { locations: Vec::new(), ..error }
}

fn refusal(message: String, error: Error) -> async_graphql::Error {
    let problem = Problem::new(&error, None);
    let refusal =
        async_graphql::Error { source: Some(Arc::new(error)), ..async_graphql::Error::new(message) };
    refusal.extend_with(|_, extensions| {
        extensions.set("code", async_graphql::to_value(problem.code).unwrap_or_default());
        if let Some(field) = problem.field {
            extensions.set("field", field);
        }
    })
}

/// The argument that a feed calls otherwise.
fn argument(field: String) -> String {
    match field.as_str() {
        "offset" => "skip".into(),
        "total" => "totalCount".into(),
        _ => field,
    }
}

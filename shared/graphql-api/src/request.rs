//! Requests in the body of an HTTP request.

use async_graphql::Request;
use async_graphql::parser::types::OperationType;
use domain::{Error, Result};

use crate::{document, limits};

/// Parses a body: `query`, and optionally `variables`, `operationName` and `extensions`.
///
/// A document that does not parse is no error here, because the execution says where it is wrong.
///
/// # Errors
/// [`Error::TooLarge`] when the body exceeds its limit; [`Error::BadInput`] when it is no request, when its document
/// exceeds a limit, or when its operation is a subscription.
pub fn parse(body: &[u8]) -> Result<Request> {
    if body.len() > limits::BODY {
        return Err(Error::too_large("body", format!("must be at most {} bytes", limits::BODY)));
    }
    let value: serde_json::Value = serde_json::from_slice(body)
        .map_err(|error| Error::bad_input("body", format!("must be JSON: {error}")))?;
    if value.is_array() {
        return Err(Error::bad_input("body", "must be one request; lists of them are not taken"));
    }
    if !value.get("query").is_some_and(serde_json::Value::is_string) {
        return Err(Error::bad_input("query", "is required: the document, as a string"));
    }
    let mut request: Request =
        serde_json::from_value(value).map_err(|error| Error::bad_input("body", error.to_string()))?;
    document::check_text(&request.query)?;
    let (name, mut variables) = (request.operation_name.clone(), std::mem::take(&mut request.variables));
    if let Ok(document) = request.parsed_query() {
        document::check(document, limits::SELECTIONS)?;
        if let Some(operation) = document::operation(document, name.as_deref()) {
            if operation.ty == OperationType::Subscription {
                let detail = "is a subscription; those are served over WebSocket, as graphql-transport-ws";
                return Err(Error::bad_input("query", detail));
            }
            document::fill(&mut variables, operation);
        }
    }
    request.variables = variables;
    Ok(request)
}

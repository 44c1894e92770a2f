//! Requests over HTTP, in a body or in a query string, as the GraphQL-over-HTTP specification has them.

use async_graphql::Request;
use async_graphql::parser::types::OperationType;
use domain::{Error, Result};
use serde_json::{Map, Value};

use crate::{document, limits};

/// Why a request was not executed.
#[derive(Debug)]
pub enum Refusal {
    /// It is wrong, or has no caller.
    Error(Error),
    /// It names its document by a hash. Clients that are told so send the document.
    PersistedQuery,
    /// It is a mutation over GET.
    Method,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Parses a body: `query`, and optionally `variables`, `operationName` and `extensions`.
///
/// A document that does not parse is no error here, because the execution says where it is wrong.
///
/// # Errors
/// [`Error::TooLarge`] when the body exceeds its limit; [`Error::BadInput`] when it is no request, when its document
/// exceeds a limit, or when its operation is a subscription; [`Refusal::PersistedQuery`] when it has no document.
pub fn parse(body: &[u8]) -> Result<Request, Refusal> {
    if body.len() > limits::BODY {
        return Err(Error::too_large("body", format!("must be at most {} bytes", limits::BODY)).into());
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Error::bad_input("body", format!("must be JSON: {error}")))?;
    match value {
        Value::Object(members) => parsed(members, true),
        Value::Array(_) => {
            Err(Error::bad_input("body", "must be one request; lists of them are not taken").into())
        }
        _ => Err(Error::bad_input("body", "must be a JSON object").into()),
    }
}

/// Parses a query string with the same members; `variables` and `extensions` are JSON. Other parameters are ignored.
///
/// # Errors
/// As [`parse`], and [`Refusal::Method`] when its operation is a mutation.
pub fn parse_query_string(query: &str) -> Result<Request, Refusal> {
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = match name.as_ref() {
            "query" | "operationName" => Value::String(value.into_owned()),
            "variables" | "extensions" => serde_json::from_str(&value)
                .map_err(|error| Error::bad_input(name.as_ref(), format!("must be JSON: {error}")))?,
            _ => continue,
        };
        if members.insert(name.clone().into_owned(), value).is_some() {
            return Err(Error::bad_input(name, "must be given once").into());
        }
    }
    parsed(members, false)
}

/// Whether extensions name the document by a hash, as Apollo's persisted queries do.
pub fn is_persisted_query(extensions: Option<&Value>) -> bool {
    extensions.is_some_and(|extensions| extensions["persistedQuery"].is_object())
}

fn parsed(mut members: Map<String, Value>, allows_mutations: bool) -> Result<Request, Refusal> {
    match members.get("query") {
        Some(Value::String(_)) => {}
        None | Some(Value::Null) if is_persisted_query(members.get("extensions")) => {
            return Err(Refusal::PersistedQuery);
        }
        _ => return Err(Error::bad_input("query", "is required: the document, as a string").into()),
    }
    // Some clients send these empty instead of leaving them out.
    members.retain(|name, value| !(name == "operationName" && value == "" || value.is_null()));
    for name in ["variables", "extensions"] {
        if members.get(name).is_some_and(|value| !value.is_object()) {
            return Err(Error::bad_input(name, "must be a JSON object").into());
        }
    }
    if members.get("operationName").is_some_and(|name| !name.is_string()) {
        return Err(Error::bad_input("operationName", "must be a string").into());
    }
    let mut request: Request = serde_json::from_value(Value::Object(members))
        .map_err(|error| Error::bad_input("body", error.to_string()))?;
    document::check_text(&request.query)?;
    let name = request.operation_name.clone();
    let mut variables = std::mem::take(&mut request.variables);
    if let Ok(document) = request.parsed_query() {
        let mut document = document.clone();
        document::check(&document, limits::SELECTIONS)?;
        if let Some(operation) = document::operation(&document, name.as_deref()) {
            match operation.ty {
                OperationType::Query => {}
                OperationType::Mutation if allows_mutations => {}
                OperationType::Mutation => return Err(Refusal::Method),
                OperationType::Subscription => {
                    let detail =
                        "is a subscription; those are served over WebSocket, as graphql-transport-ws";
                    return Err(Error::bad_input("query", detail).into());
                }
            }
            document::fill(&mut variables, operation);
        }
        document::merge(&mut document, name.as_deref(), &variables)?;
        request.set_parsed_query(document);
    }
    request.variables = variables;
    Ok(request)
}

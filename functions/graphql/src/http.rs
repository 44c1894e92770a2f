//! GraphQL over HTTP: the body that asks, and the one that answers.

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response, ServerError, Value};
use lambda_http::Body;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use lambda_http::http::{HeaderValue, StatusCode};
use serde::Serialize;
use shared::problem::{Code, Problem};
use shared::{Error, Result, wire};

use crate::{document, error, limits};

/// The media type by which a client says that it goes by statuses.
const GRAPHQL: &str = "application/graphql-response+json";

/// Characters of what is wrong with a document that are logged: it may be the document.
const LOGGED: usize = 200;

/// Reads what is asked: `query`, and with it `variables`, `operationName` and `extensions`.
///
/// # Errors
/// [`Error::TooLarge`] past [`limits::BODY`], [`Error::BadInput`] of what is no request; those of [`document::check`].
pub(crate) fn parse(request: &lambda_http::Request) -> Result<Request> {
    let bytes = match request.body() {
        Body::Text(text) => text.as_bytes(),
        Body::Binary(bytes) => bytes,
        _ => &[],
    };
    if bytes.len() > limits::BODY {
        return Err(Error::too_large("body", format!("must be at most {} bytes", limits::BODY)));
    }
    let value: serde_json::Value = serde_json::from_slice(bytes)
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
    // Of what is no document, the execution says where it is wrong.
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

/// The error of what asks for more than Lambda can send.
pub(crate) fn too_long() -> Error {
    let most = wire::MAX / 1_000;
    let detail =
        format!("would be answered with more than {most} kB; ask for fewer activities, or for less of each");
    Error::too_large("query", detail)
}

/// Answers as the client's `accept` asks. What went wrong is logged, here only.
pub(crate) fn answer(
    answered: Result<Response>,
    accept: Option<&str>,
    request_id: Option<&str>,
) -> lambda_http::Response<String> {
    let by_status = accept.is_some_and(|accept| accept.contains(GRAPHQL));
    let (mut answer, refused) = match answered {
        Ok(answer) => (answer, None),
        Err(error) => {
            let status = status_of(&error);
            (Response::from_errors(vec![error::of_request(error)]), Some(status))
        }
    };
    // A list is never null: where there is one that failed, the rule is that nothing is there.
    if answer.errors.iter().any(|error| error.path.len() == 1) {
        answer.data = Value::Null;
    }
    let status = refused.unwrap_or_else(|| status(&answer, by_status));
    log(&answer.errors, request_id);
    code(&mut answer.errors, request_id);
    let body = body(&answer);
    if wire::size(&body) > wire::MAX {
        return self::answer(Err(too_long()), accept, request_id);
    }
    let mut response = lambda_http::Response::new(body);
    *response.status_mut() = status;
    let media_type = if by_status { GRAPHQL } else { "application/json" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    // Access is checked at each read, so nobody may keep an answer.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

/// Completes the errors of an answer: a code for programs, and what names the request in the log.
pub(crate) fn code(errors: &mut [ServerError], request_id: Option<&str>) {
    for error in errors {
        let extensions = error.extensions.get_or_insert_default();
        // What has none is wrong with the document.
        if extensions.get("code").is_none() {
            extensions.set("code", async_graphql::to_value(Code::BadUserInput).unwrap_or_default());
        }
        if let Some(request_id) = request_id {
            extensions.set("requestId", request_id);
        }
    }
}

/// The status of what was executed, or refused before. What is ours to mend has a status of its own, so that retries
/// and alarms see it; otherwise a client that does not ask for more goes by the body.
fn status(answer: &Response, by_status: bool) -> StatusCode {
    let ours = |error: &ServerError| error.source::<Error>().filter(|error| error.is_ours()).map(status_of);
    let all_ours: Option<Vec<StatusCode>> = answer.errors.iter().map(ours).collect();
    match all_ours.as_deref() {
        Some([first, ..]) if answer.data == Value::Null => *first,
        // Where nothing could be begun, there is no data, not even null.
        _ if by_status && answer.is_err() && !is_begun(answer) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

fn status_of(error: &Error) -> StatusCode {
    StatusCode::from_u16(Problem::new(error, None).status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether the document was executed.
pub(crate) fn is_begun(answer: &Response) -> bool {
    let errors = &answer.errors;
    errors.is_empty() || answer.data != Value::Null || errors.iter().any(|error| !error.path.is_empty())
}

/// A line for each list that failed, and one for all that is wrong with the document.
pub(crate) fn log(errors: &[ServerError], request_id: Option<&str>) {
    errors.iter().filter_map(|error| error.source()).for_each(|error| shell::log(error, request_id));
    let mut of_document = errors.iter().filter(|error| error.source.is_none());
    if let Some(first) = of_document.next() {
        let error: String = first.message.chars().take(LOGGED).collect();
        tracing::info!(error, more = of_document.count(), request_id, "document refused");
    }
}

/// An answer as it is sent. Errors come first, where people see them.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    /// Left out of what was never begun. The fields of an object keep the order in which they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

fn body(answer: &Response) -> String {
    let data = is_begun(answer).then_some(&answer.data);
    serde_json::to_string(&Sent { errors: &answer.errors, data }).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be written");
        r#"{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL"}}]}"#.to_owned()
    })
}

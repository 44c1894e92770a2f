//! Responses: the codes of their errors, their HTTP status, and the log lines of what failed.

use async_graphql::{Response, ServerError, Value};
use domain::{Error, Result};
use http::StatusCode;
use http_api::problem::{Code, Problem};
use http_api::response_size;
use serde::Serialize;

use crate::error;
use crate::request::Refusal;

/// The most characters of a document's error that the log gets, because the error may repeat the document.
const MAX_LOGGED: usize = 200;

/// The status and the body for an executed request, or for one that was refused before. It logs all errors.
///
/// A client that goes by statuses gets 400 for a document that was not executed. Other clients go by the body.
pub fn respond(
    executed: Result<Response, Refusal>,
    goes_by_status: bool,
    request_id: Option<&str>,
) -> (StatusCode, String) {
    let (mut response, refused) = match executed {
        Ok(response) => (response, None),
        Err(refusal) => {
            let (status, error) = refused(refusal, goes_by_status);
            (Response::from_errors(vec![error]), Some(status))
        }
    };
    // A list is not nullable, so that a list that failed leaves no data at all.
    if response.errors.iter().any(|error| error.path.len() == 1) {
        response.data = Value::Null;
    }
    let status = refused.unwrap_or_else(|| status(&response, goes_by_status));
    log_errors(&response.errors);
    complete_errors(&mut response.errors, request_id);
    let body = body(&response);
    if response_size::of_text(&body) > response_size::MAX {
        return respond(Err(too_large().into()), goes_by_status, request_id);
    }
    (status, body)
}

/// The status and the error of a request that was not executed.
fn refused(refusal: Refusal, goes_by_status: bool) -> (StatusCode, ServerError) {
    match refusal {
        Refusal::Error(error) => (status_of(&error), error::of_request(error)),
        // Some clients send the document only after a success.
        Refusal::PersistedQuery => {
            let status = if goes_by_status { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            (status, error::persisted_query())
        }
        Refusal::Method => {
            let detail = "GET is for queries; a mutation is sent by POST, and this API has none";
            let error = error::of_request(Error::bad_input("method", detail));
            (StatusCode::METHOD_NOT_ALLOWED, error)
        }
    }
}

/// The error of a response that is larger than Lambda can send.
pub(crate) fn too_large() -> Error {
    let max = response_size::MAX / 1_000;
    let detail =
        format!("would be answered with more than {max} kB; ask for fewer activities, or for less of each");
    Error::too_large("query", detail)
}

/// Gives each error a code, and the name of the request in the log.
pub(crate) fn complete_errors(errors: &mut [ServerError], request_id: Option<&str>) {
    for error in errors {
        let extensions = error.extensions.get_or_insert_default();
        // The library's errors have no code. They are all faults of the document.
        if extensions.get("code").is_none() {
            extensions.set("code", async_graphql::to_value(Code::BadUserInput).unwrap_or_default());
        }
        if let Some(request_id) = request_id {
            extensions.set("requestId", request_id);
        }
    }
}

/// The status of an executed request. A failure of ours has its own status, so that retries and alarms see it.
fn status(response: &Response, goes_by_status: bool) -> StatusCode {
    let ours = |error: &ServerError| error.source::<Error>().filter(|error| error.is_ours()).map(status_of);
    let all_ours: Option<Vec<StatusCode>> = response.errors.iter().map(ours).collect();
    match all_ours.as_deref() {
        Some([first, ..]) if response.data == Value::Null => *first,
        _ if goes_by_status && response.is_err() && !is_executed(response) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

fn status_of(error: &Error) -> StatusCode {
    StatusCode::from_u16(Problem::new(error, None).status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether the document was executed.
pub(crate) fn is_executed(response: &Response) -> bool {
    let errors = &response.errors;
    errors.is_empty() || response.data != Value::Null || errors.iter().any(|error| !error.path.is_empty())
}

/// Logs each list that failed, and all faults of the document in one line.
pub(crate) fn log_errors(errors: &[ServerError]) {
    for error in errors.iter().filter_map(|error| error.source::<Error>()) {
        if error.is_ours() {
            tracing::error!(error = error.chain(), "failed request");
        } else {
            tracing::info!(error = error.chain(), "refused request");
        }
    }
    let mut faults = errors.iter().filter(|error| error.source.is_none());
    if let Some(first) = faults.next() {
        let error: String = first.message.chars().take(MAX_LOGGED).collect();
        tracing::info!(error, more = faults.count(), "refused document");
    }
}

/// A response as it is sent. Errors come first, where people see them.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    /// Absent when the document was not executed. The fields of an object keep the order of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

fn body(response: &Response) -> String {
    let data = is_executed(response).then_some(&response.data);
    serde_json::to_string(&Body { errors: &response.errors, data }).unwrap_or_else(|error| {
        tracing::error!(%error, "failed to serialize response");
        r#"{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL"}}]}"#.to_owned()
    })
}

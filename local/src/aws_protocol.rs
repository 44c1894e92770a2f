//! AWS's JSON protocols: calls, answers and errors.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::middleware::Next;
use domain::Error;
use serde_json::{Value, json};

use crate::{body, response, token};

/// The header of a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// The header with the operation of a call.
pub(crate) const TARGET: &str = "x-amz-target";
/// The longest part of an unknown operation's name that an error repeats, in characters.
const MAX_SHOWN_NAME: usize = 64;

/// An error that AWS would answer with.
#[derive(Debug)]
pub(crate) struct AwsError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl AwsError {
    /// An error of the caller, with status 400.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    /// The same error with another status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The error of a body that cannot be read.
    pub(crate) fn unreadable(error: Error) -> Self {
        match error {
            Error::TooLarge { detail, .. } => Self::too_large(format!("The body {detail}")),
            other => Self::new("SerializationException", other.to_string()),
        }
    }

    /// The error of a payload that exceeds a limit.
    pub(crate) fn too_large(message: String) -> Self {
        Self::new("RequestTooLargeException", message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// The error of an operation that is not served, with the `known` ones.
    pub(crate) fn unknown_operation(operation: &str, known: &str) -> Self {
        let operation: String = operation.chars().take(MAX_SHOWN_NAME).collect();
        Self::new("UnknownOperationException", format!("{operation:?} is not served here; {known}"))
    }

    /// The response. The error's code is in the body for the JSON protocols, and in a header for REST.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = respond(self.status, &json!({ "__type": self.code, "message": self.message }));
        response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(self.code));
        response
    }
}

/// A response with a JSON body and a new request id.
pub(crate) fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = response::of_json(body);
    *response.status_mut() = status;
    if let Ok(request_id) = HeaderValue::from_str(&response::new_request_id()) {
        response.headers_mut().insert(REQUEST_ID, request_id);
    }
    response
}

/// Answers a call of `service`, whose operation is in a header.
pub(crate) async fn call(
    service: &str,
    protocol: &'static str,
    request: Request,
    answer: impl FnOnce(&str, &Value) -> Result<Value, AwsError>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body::read(body).await.map_err(AwsError::unreadable);
    let target = parts.headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix(service).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
    let output = body.and_then(|body| {
        let input = serde_json::from_slice(&body).map_err(|error| {
            AwsError::new("SerializationException", format!("The body is not JSON: {error}"))
        })?;
        answer(operation, &input)
    });
    let mut response = match output {
        Ok(output) => respond(StatusCode::OK, &output),
        Err(error) => error.into_response(),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(protocol));
    response
}

/// The access key id in a request's signature, which is not checked here.
pub(crate) fn access_key_id(headers: &HeaderMap) -> Option<String> {
    let signature = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = signature.split_once("Credential=")?;
    credential.split('/').next().map(str::to_owned)
}

/// A member that is a string, if it is there.
pub(crate) fn text<'a>(input: &'a Value, name: &str) -> Result<Option<&'a str>, AwsError> {
    match &input[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(AwsError::new("SerializationException", format!("{name} is not a string"))),
    }
}

/// A member that is a list, if it is there.
pub(crate) fn list<'a>(input: &'a Value, name: &str) -> Result<&'a [Value], AwsError> {
    match &input[name] {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        _ => Err(AwsError::new("SerializationException", format!("{name} is not a list"))),
    }
}

/// Refuses the pages of a browser on this machine, which could otherwise record anything, because these routes ask for no
/// token. Pages cannot avoid the header `Origin`, and no SDK sends it.
pub(crate) async fn refuse_pages(request: Request, next: Next) -> Response<Body> {
    let detail = match token::require_local_host(request.headers()) {
        Ok(()) if !request.headers().contains_key(ORIGIN) => return next.run(request).await,
        Ok(()) => "This is not for web pages",
        Err(detail) => detail,
    };
    response::of_problem(response::forbidden(detail, &response::new_request_id()))
}

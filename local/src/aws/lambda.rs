//! Lambda's `Invoke`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::async_invocations::{AsyncInvocations, MAX_CONCURRENT_INVOCATIONS, TooManyInvocations};
use crate::aws_protocol::{AwsError, REQUEST_ID, respond};
use crate::functions::{API_TIMEOUT, Failure, Function, Functions};
use crate::resource_names::arn;
use crate::{body, response};

/// The largest payload of an asynchronous invocation, in bytes. A synchronous one has the limit of request bodies.
const MAX_ASYNC_BYTES: usize = 1024 * 1024;

const INVOCATION_TYPE: &str = "x-amz-invocation-type";
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");

/// The state of the route.
#[derive(Clone)]
pub(super) struct Lambda {
    pub(super) functions: Arc<Functions>,
    pub(super) invocations: AsyncInvocations,
}

pub(super) async fn invoke(
    State(lambda): State<Lambda>,
    Path(name): Path<String>,
    request: Request,
) -> Response<Body> {
    let request_id = response::new_request_id();
    let answered = lambda.invoke(&name, request, &request_id).await;
    let mut response = answered.unwrap_or_else(AwsError::into_response);
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, request_id);
    }
    response
}

impl Lambda {
    async fn invoke(
        &self,
        name: &str,
        request: Request,
        request_id: &str,
    ) -> Result<Response<Body>, AwsError> {
        let (parts, body) = request.into_parts();
        let mut payload = body::read(body).await.map_err(AwsError::unreadable)?;
        let function = named(name)?;
        if payload.is_empty() {
            payload = b"{}".to_vec();
        }
        if let Err(error) = serde_json::from_slice::<Value>(&payload) {
            let detail = format!("Could not parse request body into json: {error}");
            return Err(AwsError::new("InvalidRequestContentException", detail));
        }
        let kind = parts.headers.get(INVOCATION_TYPE);
        match kind.map_or("RequestResponse", |kind| kind.to_str().unwrap_or("?")) {
            "RequestResponse" => {
                let result = self.functions.invoke(function, payload, request_id, API_TIMEOUT).await;
                Ok(answer(&result))
            }
            "Event" => {
                self.begin(function, payload, request_id)?;
                Ok(response::empty(StatusCode::ACCEPTED))
            }
            "DryRun" => Ok(response::empty(StatusCode::NO_CONTENT)),
            _ => {
                let detail = "The invocation type must be RequestResponse, Event or DryRun";
                Err(AwsError::new("InvalidParameterValueException", detail))
            }
        }
    }

    /// Begins an asynchronous invocation.
    fn begin(&self, function: Function, payload: Vec<u8>, request_id: &str) -> Result<(), AwsError> {
        if payload.len() > MAX_ASYNC_BYTES {
            let detail = format!("An asynchronous payload is at most {MAX_ASYNC_BYTES} bytes");
            return Err(AwsError::too_large(detail));
        }
        let begun = self.invocations.begin(&self.functions, function, payload, request_id);
        begun.map_err(|TooManyInvocations| {
            let detail = format!(
                "{MAX_CONCURRENT_INVOCATIONS} asynchronous invocations are under way, and no more are taken for now"
            );
            AwsError::new("TooManyRequestsException", detail).with_status(StatusCode::TOO_MANY_REQUESTS)
        })
    }
}

/// The response to a synchronous invocation.
fn answer(result: &Result<Value, Failure>) -> Response<Body> {
    let body = result.as_ref().map_or_else(Failure::payload, Value::clone);
    let mut response = respond(StatusCode::OK, &body);
    let headers = response.headers_mut();
    headers.insert(EXECUTED_VERSION, HeaderValue::from_static("$LATEST"));
    if result.is_err() {
        headers.insert(FUNCTION_ERROR, HeaderValue::from_static("Unhandled"));
    }
    response
}

/// The function with this name or ARN, which may be partial, with or without a version.
fn named(text: &str) -> Result<Function, AwsError> {
    let name = text.rsplit_once("function:").map_or(text, |(_, name)| name);
    let name = name.split(':').next().unwrap_or(name);
    Function::named(name).ok_or_else(|| {
        let detail = format!("Function not found: {}", arn("lambda", &format!("function:{name}")));
        AwsError::new("ResourceNotFoundException", detail).with_status(StatusCode::NOT_FOUND)
    })
}

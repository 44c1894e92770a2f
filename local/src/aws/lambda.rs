//! Lambda: Invoke.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Aws, REQUEST_ID, Refusal, arn, respond};
use crate::functions::{Failure, Function, Functions};
use crate::{answer, invocation};

/// The largest payload of an asynchronous invocation, in bytes. What no function can be given is refused as it is read.
const MAX_ASYNCHRONOUS: usize = 1024 * 1024;
/// The most asynchronous invocations at once. Lambda has no such limit, memory has.
const MAX_AT_ONCE: u32 = 100;

const INVOCATION_TYPE: &str = "x-amz-invocation-type";
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");

pub(super) async fn invoke(
    State(aws): State<Aws>,
    Path(name): Path<String>,
    request: Request,
) -> Response<Body> {
    let request_id = answer::request_id();
    let answered = answer(&aws, &name, request, &request_id).await;
    let mut response = answered.unwrap_or_else(Refusal::into_response);
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, request_id);
    }
    response
}

async fn answer(
    aws: &Aws,
    name: &str,
    request: Request,
    request_id: &str,
) -> Result<Response<Body>, Refusal> {
    let (parts, body) = request.into_parts();
    let mut payload = invocation::read(body).await.map_err(Refusal::unreadable)?;
    let function = named(name)?;
    if payload.is_empty() {
        payload = b"{}".to_vec();
    }
    if let Err(error) = serde_json::from_slice::<Value>(&payload) {
        let detail = format!("Could not parse request body into json: {error}");
        return Err(Refusal::new("InvalidRequestContentException", detail));
    }
    let kind =
        parts.headers.get(INVOCATION_TYPE).map_or("RequestResponse", |kind| kind.to_str().unwrap_or("?"));
    match kind {
        "RequestResponse" => {
            let result = aws.functions.invoke(function, payload, request_id, invocation::TIME_LIMIT).await;
            let mut response =
                respond(StatusCode::OK, &result.as_ref().map_or_else(Failure::payload, Value::clone));
            let headers = response.headers_mut();
            headers.insert(EXECUTED_VERSION, HeaderValue::from_static("$LATEST"));
            if result.is_err() {
                headers.insert(FUNCTION_ERROR, HeaderValue::from_static("Unhandled"));
            }
            Ok(response)
        }
        "Event" => {
            aws.asynchronous.begin(&aws.functions, function, payload, request_id)?;
            Ok(empty(StatusCode::ACCEPTED))
        }
        "DryRun" => Ok(empty(StatusCode::NO_CONTENT)),
        _ => {
            let detail = "The invocation type must be RequestResponse, Event or DryRun";
            Err(Refusal::new("InvalidParameterValueException", detail))
        }
    }
}

/// The function with this name, or this ARN, whole or in part, with a version or without.
fn named(text: &str) -> Result<Function, Refusal> {
    let name = text.rsplit_once("function:").map_or(text, |(_, name)| name);
    let name = name.split(':').next().unwrap_or(name);
    Function::named(name).ok_or_else(|| {
        let detail = format!("Function not found: {}", arn("lambda", &format!("function:{name}")));
        Refusal::new("ResourceNotFoundException", detail).with(StatusCode::NOT_FOUND)
    })
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The asynchronous invocations under way.
#[derive(Clone)]
pub(crate) struct Asynchronous {
    room: Arc<Semaphore>,
    pause: Duration,
}

impl Asynchronous {
    /// None so far. One that fails is tried again after `pause`, and once more after twice as long; in Lambda these
    /// are one and two minutes.
    pub(crate) fn new(pause: Duration) -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_AT_ONCE as usize)), pause }
    }

    /// Begins one. It keeps its request id however often it is tried.
    fn begin(
        &self,
        functions: &Arc<Functions>,
        function: Function,
        payload: Vec<u8>,
        request_id: &str,
    ) -> Result<(), Refusal> {
        if payload.len() > MAX_ASYNCHRONOUS {
            let detail = format!("An asynchronous payload is at most {MAX_ASYNCHRONOUS} bytes");
            return Err(Refusal::too_large(detail));
        }
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{MAX_AT_ONCE} asynchronous invocations are under way, and no more are taken for now"
            );
            Refusal::new("TooManyRequestsException", detail).with(StatusCode::TOO_MANY_REQUESTS)
        })?;
        let (functions, request_id) = (Arc::clone(functions), request_id.to_owned());
        let mut pauses = [self.pause, 2 * self.pause].into_iter();
        tokio::spawn(async move {
            let _place = place;
            while let Err(failure) =
                functions.invoke(function, payload.clone(), &request_id, invocation::TIME_LIMIT).await
            {
                let Some(pause) = pauses.next() else {
                    tracing::error!(request_id, "an asynchronous invocation failed for good: {failure}");
                    return;
                };
                tracing::warn!(request_id, "an asynchronous invocation will be tried again: {failure}");
                tokio::time::sleep(pause).await;
            }
        });
        Ok(())
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        MAX_AT_ONCE as usize - self.room.available_permits()
    }

    /// Waits until none is under way.
    pub(crate) async fn finished(&self) {
        self.room.acquire_many(MAX_AT_ONCE).await.ok();
    }
}

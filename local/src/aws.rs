//! The AWS APIs that producers record through, as far as they need them: EventBridge's PutEvents, SQS's SendMessage,
//! Lambda's Invoke, and what it takes to look after dead letters. For this machine only, they ask for no signature.

mod events;
mod lambda;
mod sqs;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use serde_json::{Value, json};
use shared::Error;
use shared::time::Clock;

use crate::functions::{Function, Functions};
use crate::pipeline::Pipeline;
use crate::queue::Queue;
use crate::template::QueueSource;
use crate::{answer, invocation, token};

pub(crate) use lambda::Asynchronous;

/// The account that everything here is in.
pub(crate) const ACCOUNT: &str = "000000000000";
/// The region that everything here is in.
pub(crate) const REGION: &str = "local";

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const TARGET: &str = "x-amz-target";

/// The name of a resource.
pub(crate) fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
}

/// What the routes share.
#[derive(Clone)]
pub(crate) struct Aws {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) functions: Arc<Functions>,
    pub(crate) asynchronous: Asynchronous,
    pub(crate) clock: Clock,
    /// Where the gateway is.
    pub(crate) url: Arc<str>,
}

impl Aws {
    /// With the first of `queues` that feeds a function of ours, if any does.
    pub(crate) fn new(
        queues: Vec<QueueSource>,
        functions: &Arc<Functions>,
        clock: &Clock,
        url: &str,
    ) -> Option<Self> {
        let known = |source: QueueSource| Some((Function::named(&source.function)?, source));
        let (function, source) = queues.into_iter().find_map(known)?;
        let queue = Queue::new(Arc::clone(clock), source.max_receives, source.visibility);
        let asynchronous = Asynchronous::new(source.visibility);
        let pipeline = Arc::new(Pipeline::new(queue, Arc::clone(functions), function, source));
        let (functions, clock, url) = (Arc::clone(functions), Arc::clone(clock), Arc::from(url));
        Some(Self { pipeline, functions, asynchronous, clock, url })
    }
}

/// The routes. SDKs add a path to an endpoint's own, and some of them that is a slash.
pub(crate) fn routes(aws: Aws) -> Router {
    let invocations = "2015-03-31/functions/{function}/invocations";
    let mut router = Router::new().route("/dev/dead-letters", get(sqs::dead_letters).post(queues));
    for slash in ["", "/"] {
        router = router
            .route(&format!("/dev/events{slash}"), post(events))
            .route(&format!("/dev/queue{slash}"), post(queues))
            .route(&format!("/dev/lambda{slash}/{invocations}"), post(lambda::invoke));
    }
    router.with_state(aws).layer(middleware::from_fn(no_pages))
}

/// Keeps out the pages of a browser on this machine, which could record whatever they like: these routes ask for no
/// token. No SDK sends an `Origin`, and pages cannot help it.
pub(crate) async fn no_pages(request: Request, next: Next) -> Response<Body> {
    let refused = match token::local(request.headers()) {
        Ok(()) if !request.headers().contains_key(ORIGIN) => return next.run(request).await,
        Ok(()) => Error::Forbidden("This is not for web pages"),
        Err(error) => error,
    };
    answer::refuse(&refused, &answer::request_id())
}

async fn events(State(aws): State<Aws>, request: Request) -> Response<Body> {
    call("AWSEvents", "application/x-amz-json-1.1", request, |operation, input| {
        events::answer(&aws, operation, input)
    })
    .await
}

async fn queues(State(aws): State<Aws>, request: Request) -> Response<Body> {
    call("AmazonSQS", "application/x-amz-json-1.0", request, |operation, input| {
        sqs::answer(&aws, operation, input)
    })
    .await
}

/// Answers a call of AWS's JSON protocol, whose operation is in a header, behind the name of the `service`.
async fn call(
    service: &str,
    protocol: &'static str,
    request: Request,
    answer: impl FnOnce(&str, &Value) -> Result<Value, Refusal>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = invocation::read(body).await.map_err(Refusal::unreadable);
    let target = parts.headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix(service).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
    let output = body.and_then(|body| {
        let input = serde_json::from_slice(&body).map_err(|error| {
            Refusal::new("SerializationException", format!("The body is not JSON: {error}"))
        })?;
        answer(operation, &input)
    });
    let mut response = match output {
        Ok(output) => respond(StatusCode::OK, &output),
        Err(refusal) => refusal.into_response(),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(protocol));
    response
}

pub(crate) fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(request_id) = HeaderValue::from_str(&answer::request_id()) {
        headers.insert(REQUEST_ID, request_id);
    }
    response
}

/// A call that AWS would refuse.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    fn unreadable(error: Error) -> Self {
        match error {
            Error::TooLarge { detail, .. } => Self::too_large(format!("The body {detail}")),
            other => Self::new("SerializationException", other.to_string()),
        }
    }

    fn too_large(message: String) -> Self {
        Self::new("RequestTooLargeException", message).with(StatusCode::PAYLOAD_TOO_LARGE)
    }

    pub(crate) fn with(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    fn unknown_operation(operation: &str, known: &str) -> Self {
        let operation: String = operation.chars().take(64).collect();
        Self::new("UnknownOperationException", format!("{operation:?} is not served here; {known}"))
    }

    /// The JSON protocols have an error's name in the body, REST has it in a header.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = respond(self.status, &json!({ "__type": self.code, "message": self.message }));
        response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(self.code));
        response
    }
}

/// A member that is a text, if it is there.
fn text<'a>(input: &'a Value, name: &str) -> Result<Option<&'a str>, Refusal> {
    match &input[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(Refusal::new("SerializationException", format!("{name} is not a string"))),
    }
}

/// A member that is a list, if it is there.
fn list<'a>(input: &'a Value, name: &str) -> Result<&'a [Value], Refusal> {
    match &input[name] {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        _ => Err(Refusal::new("SerializationException", format!("{name} is not a list"))),
    }
}

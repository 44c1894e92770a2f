//! The AWS APIs of producers, as far as they need them: EventBridge's `PutEvents`, SQS's `SendMessage`, Lambda's `Invoke`,
//! and the calls that look after dead letters. They ask for no signature, because they serve this machine only.

mod events;
mod lambda;
mod plain_events;
mod sqs;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::middleware;
use axum::routing::{get, post};
use domain::time::Clock;

use crate::async_invocations::AsyncInvocations;
use crate::aws_protocol::{self, refuse_pages};
use crate::functions::Functions;
use crate::queue::{FunctionQueue, Queue};

use lambda::Lambda;
use sqs::Sqs;

/// The state of the routes.
#[derive(Clone)]
pub(crate) struct Aws {
    /// The queue to which the event bus sends.
    bus_queue: Option<Arc<Queue>>,
    sqs: Sqs,
    lambda: Lambda,
    clock: Clock,
}

impl Aws {
    /// The APIs of a gateway at `url`, with these queues. The event bus sends to the one named `bus_queue`, and producers
    /// to the first of the others. The recorders' access key id is `recorder`.
    pub(crate) fn new(
        queues: Vec<FunctionQueue>,
        bus_queue: Option<&str>,
        functions: &Arc<Functions>,
        invocations: AsyncInvocations,
        clock: &Clock,
        recorder: &str,
        url: &str,
    ) -> Self {
        Self {
            bus_queue: queues
                .iter()
                .find(|queue| Some(queue.source.queue.as_str()) == bus_queue)
                .map(|queue| Arc::clone(&queue.queue)),
            sqs: Sqs::new(queues, bus_queue, recorder, url),
            lambda: Lambda { functions: Arc::clone(functions), invocations },
            clock: Arc::clone(clock),
        }
    }
}

/// The routes, with and without a slash at the end, because some SDKs add one.
pub(crate) fn routes(aws: Aws) -> Router {
    let lambda = aws.lambda.clone();
    let mut router = Router::new();
    let mut lambda_router = Router::new();
    for slash in ["", "/"] {
        let invocations = format!("/dev/lambda{slash}/2015-03-31/functions/{{function}}/invocations");
        lambda_router = lambda_router.route(&invocations, post(lambda::invoke));
        router = router
            .route(&format!("/dev/events{slash}"), post(put_events))
            .route(&format!("/dev/queue{slash}"), post(call_sqs));
    }
    router
        .route("/dev/dead-letters", get(show_dead_letters).post(call_sqs))
        .with_state(aws)
        .merge(lambda_router.with_state(lambda))
        .layer(middleware::from_fn(refuse_pages))
}

async fn put_events(State(aws): State<Aws>, request: Request) -> Response<Body> {
    if !request.headers().contains_key(aws_protocol::TARGET) {
        return plain_events::put(aws.bus_queue.as_deref(), &aws.clock, request.into_body()).await;
    }
    let answer =
        |operation: &str, input: &_| events::answer(aws.bus_queue.as_deref(), &aws.clock, operation, input);
    aws_protocol::call("AWSEvents", "application/x-amz-json-1.1", request, answer).await
}

async fn call_sqs(State(aws): State<Aws>, request: Request) -> Response<Body> {
    let sender = aws_protocol::access_key_id(request.headers()).unwrap_or_default();
    let answer = |operation: &str, input: &_| aws.sqs.answer(operation, input, &sender);
    aws_protocol::call("AmazonSQS", "application/x-amz-json-1.0", request, answer).await
}

async fn show_dead_letters(State(aws): State<Aws>) -> Response<Body> {
    aws.sqs.show_dead_letters()
}

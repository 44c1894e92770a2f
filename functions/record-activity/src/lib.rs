//! Recording, whoever asks for it: `POST /api/v1/workspaces/{ws_id}/activity`, SQS, EventBridge by way of SQS, and
//! direct invocation. For those who record, `GET /api/v1/actions` says what there is to record.
//!
//! The function tells by what it is given who calls: each source has a module that reads its events and answers in
//! its way. What they share is [`App`].

mod actions;
mod direct;
mod envelope;
mod http;
mod queue;
mod summary;

use lambda_http::request::LambdaRequest;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;
use shared::event::{Defaults, Event};
use shared::json::Exact;
use shared::record::{Recorded, Recorder};
use shared::store::Store;
use shared::time::Clock;
use shared::{Error, Result};
use tokio::time::Instant;

pub use actions::KnownAction;
pub use http::{BatchResult, handle};
pub use summary::{Sink, Source, Summary, to_stdout};

/// What lives as long as the process.
pub struct App {
    recorder: Recorder,
    clock: Clock,
    sink: Sink,
}

impl App {
    /// Records into `store`, at the time `clock` tells, with retries spread by `jitter`; `sink` takes a summary of each
    /// invocation.
    pub fn new(store: Store, clock: Clock, jitter: fastrand::Rng, sink: Sink) -> Self {
        Self { recorder: Recorder::new(store, jitter), clock, sink }
    }

    /// What stands in for what an event lacks, when its source gives nothing but an id.
    fn defaults(&self, id: String, from: &'static str) -> Defaults {
        let now = (self.clock)();
        Defaults { id: (id, from), workspace: None, created_at: now, now }
    }

    /// Records what could be read, and says of each, in their order, what became of it. What could not be read does
    /// not keep the others out.
    async fn record(
        &self,
        source: Source,
        request_id: &str,
        read: Vec<Result<Event>>,
        deadline: Instant,
    ) -> Vec<Result<Recorded>> {
        let began = Instant::now();
        let mut events = Vec::with_capacity(read.len());
        let read: Vec<Result<()>> =
            read.into_iter().map(|event| event.map(|event| events.push(event))).collect();
        let report = self.recorder.record(events, deadline).await;
        let mut recorded = report.results.into_iter();
        let missing = || Err(Error::internal("an event was left without a result"));
        let results: Vec<_> = read
            .into_iter()
            .map(|read| read.and_then(|()| recorded.next().unwrap_or_else(missing)))
            .collect();
        (self.sink)(&Summary::of(source, request_id, &results, report.retries, began.elapsed()));
        results
    }
}

/// Answers one invocation, whoever it comes from.
///
/// # Errors
/// For a direct invocation of which any event was not recorded, and for what no source sends. The other sources are
/// always answered.
pub async fn invoke(app: &App, event: LambdaEvent<Exact>) -> Result<Value, Diagnostic> {
    let LambdaEvent { payload: Exact(payload), context } = event;
    if payload.get("Records").is_some() {
        return queue::consume(app, payload, &context).await;
    }
    if payload.pointer("/requestContext/http").is_none() {
        return direct::invoke(app, payload, &context).await;
    }
    let request: LambdaRequest = serde_json::from_value(payload).map_err(shell::unreadable)?;
    let request = LambdaEvent { payload: request, context };
    let Ok(response) = shell::serve(request, |request| http::handle(app, request)).await;
    serde_json::to_value(response).map_err(shell::unreadable)
}

/// The events of a body: one, or an array of 1 to 500.
fn events(value: Value) -> Result<(Vec<Value>, bool)> {
    let Value::Array(values) = value else { return Ok((vec![value], false)) };
    match values.len() {
        0 => Err(Error::bad_input("body", "must hold at least one event")),
        1..=shared::event::MAX_BATCH => Ok((values, true)),
        _ => Err(Error::too_large("body", format!("must hold at most {} events", shared::event::MAX_BATCH))),
    }
}

//! Recording. Each way in is a function of its own: `POST /api/v1/workspaces/{ws_id}/activity`, the queue, the event bus
//! by way of its own queue, direct invocation, and direct invocation for what changes the directory. For services that
//! record, `GET /api/v1/actions` lists what they can record.
//!
//! The functions share this crate and its program. The environment says which way a function serves, and it understands
//! payloads of no other. Each way has a module that parses its events and answers in its way; they share [`App`].

mod actions;
mod cloud_event;
mod direct;
mod envelope;
mod forward;
mod http;
mod ingress;
mod origin;
mod queue;
mod summary;
mod wrapping;

use domain::event::{Defaults, InputEvent, MAX_BATCH};
use domain::json;
use domain::provenance::Source;
use domain::time::Clock;
use domain::{Error, Result};
use lambda_http::request::LambdaRequest;
use lambda_runtime::{Diagnostic, LambdaEvent};
use recording::{Recorder, WriteOutcome};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use store::Store;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::ingress::Sender;

pub use actions::KnownAction;
pub use forward::{Forwarder, LAST_RECEIVES, config};
pub use http::{BatchResult, RecordedActivity, handle};
pub use ingress::{Forwarded, Ingress, Principals};
pub use summary::{Sink, Summary, to_stdout};

/// Everything that lives as long as the process.
pub struct App {
    ingress: Ingress,
    recorder: Recorder,
    clock: Clock,
    sink: Sink,
    forwarder: Option<Forwarder>,
}

impl App {
    /// Records into `store` what comes in on `ingress`, at the time of `clock`, with retries spread by `jitter`. `sink`
    /// takes a summary of each invocation.
    pub fn new(ingress: Ingress, store: Store, clock: Clock, jitter: fastrand::Rng, sink: Sink) -> Self {
        // These ways in answer with the activity.
        let answers = matches!(ingress.source, Source::Http | Source::Invoke);
        let recorder = Recorder::new(store, jitter)
            .with_unknown_workspaces(ingress.allows_unknown_workspaces)
            .reading_repeats(answers);
        Self { ingress, recorder, clock, sink, forwarder: None }
    }

    /// The same, which hands messages that need not be tried again here to other queues. Without a forwarder they are
    /// reported as failed, as are those that cannot be forwarded.
    #[must_use]
    pub fn with_forwarder(self, forwarder: Option<Forwarder>) -> Self {
        Self { forwarder, ..self }
    }

    /// The values that stand in for absent members of an event from `sender` whose way in gives only an id. Errors call
    /// the id `origin`.
    fn defaults(&self, sender: &Sender, id: String, origin: &'static str) -> Defaults {
        let now = (self.clock)();
        let recorded_by = sender.recorded_by.clone();
        Defaults { id: (id, origin), workspace: None, created_at: now, now, recorded_by }
    }

    /// Records the events that could be parsed, and returns the result of each event, in their order.
    async fn record(
        &self,
        request_id: &str,
        parsed: Vec<Result<InputEvent>>,
        deadline: Instant,
    ) -> Vec<Result<WriteOutcome>> {
        let began = Instant::now();
        let mut events = Vec::with_capacity(parsed.len());
        let parsed: Vec<Result<()>> =
            parsed.into_iter().map(|event| event.map(|event| events.push(event))).collect();
        let report = self.recorder.record(events, deadline).await;
        let mut recorded = report.results.into_iter();
        let missing = || Err(Error::internal("an event was left without a result"));
        let results: Vec<_> = parsed
            .into_iter()
            .map(|parsed| parsed.and_then(|()| recorded.next().unwrap_or_else(missing)))
            .collect();
        let way_in = (self.ingress.name(), self.forwarder.is_some());
        (self.sink)(&Summary::of(way_in, request_id, &results, report.retries, began.elapsed()));
        results
    }
}

/// Answers one invocation.
///
/// # Errors
/// For a direct invocation of which any event was not recorded, and for a payload that the function's way in does not
/// have.
pub async fn invoke(app: &App, event: LambdaEvent<Box<RawValue>>) -> Result<Box<RawValue>, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    let span = lambda_support::invocation_span(&context.request_id);
    match app.ingress.source {
        Source::Http => {
            let payload: Value =
                serde_json::from_str(payload.get()).map_err(lambda_support::invalid_event)?;
            if payload.pointer("/requestContext/http").is_none() {
                return Err(lambda_support::invalid_event(
                    "only requests of the HTTP API are understood here",
                ));
            }
            let request: LambdaRequest =
                serde_json::from_value(payload).map_err(lambda_support::invalid_event)?;
            let request = LambdaEvent { payload: request, context };
            let Ok(response) = lambda_support::serve(request, |request| http::handle(app, request)).await;
            to_raw_value(&response).map_err(lambda_support::invalid_event)
        }
        Source::Queue | Source::EventBus => queue::consume(app, &payload, &context).instrument(span).await,
        Source::Invoke => direct::invoke(app, &payload, &context).instrument(span).await,
    }
}

/// The events of a body, each as it is written: one, or an array of 1 to 500; and whether it is an array.
fn events(body: &RawValue) -> Result<(Vec<&RawValue>, bool)> {
    let Some(events) = json::items(body) else { return Ok((vec![body], false)) };
    match events.len() {
        0 => Err(Error::bad_input("body", "must hold at least one event")),
        1..=MAX_BATCH => Ok((events, true)),
        _ => Err(Error::too_large("body", format!("must hold at most {MAX_BATCH} events"))),
    }
}

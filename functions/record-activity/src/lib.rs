//! Recording: `POST /api/v1/workspaces/{ws_id}/activity`, and direct invocation.
//!
//! The function is told apart by what it is given who calls: each source has a module that reads its events
//! and answers in its way. What they share is [`App`].

mod direct;
mod http;

use lambda_http::request::LambdaRequest;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;
use shared::event::{Defaults, Event};
use shared::ids::WorkspaceId;
use shared::json::Exact;
use shared::record::{Recorded, Recorder};
use shared::store::Store;
use shared::time::Clock;
use shared::{Error, Result};
use tokio::time::Instant;

pub use http::{BatchResult, handle};

/// What lives as long as the process.
pub struct App {
    recorder: Recorder,
    clock: Clock,
}

impl App {
    /// Records into `store`, at the time `clock` tells, with retries spread by `jitter`.
    pub fn new(store: Store, clock: Clock, jitter: fastrand::Rng) -> Self {
        Self { recorder: Recorder::new(store, jitter), clock }
    }

    /// Parses and records events, and says of each, in their order, what became of it. One that is malformed
    /// does not keep the others out. `id` gives the id of an event without one, by its index.
    async fn record(
        &self,
        values: Vec<Value>,
        workspace: Option<&WorkspaceId>,
        id: impl Fn(usize) -> (String, &'static str),
        deadline: Instant,
    ) -> Vec<Result<Recorded>> {
        let now = (self.clock)();
        let parse = |(index, value)| {
            let defaults = Defaults { id: id(index), workspace: workspace.cloned(), created_at: now, now };
            Event::parse(value, &defaults)
        };
        let mut events = Vec::with_capacity(values.len());
        let parsed: Vec<Result<()>> = values
            .into_iter()
            .enumerate()
            .map(|value| parse(value).map(|event| events.push(event)))
            .collect();
        let mut recorded = self.recorder.record(&events, deadline).await.into_iter();
        let missing = || Err(Error::internal("an event was left without a result"));
        parsed.into_iter().map(|good| good.and_then(|()| recorded.next().unwrap_or_else(missing))).collect()
    }
}

/// Answers one invocation, whoever it comes from.
///
/// # Errors
/// For a direct invocation of which any event was not recorded; other sources are always answered.
pub async fn invoke(app: &App, event: LambdaEvent<Exact>) -> Result<Value, Diagnostic> {
    let LambdaEvent { payload: Exact(payload), context } = event;
    if payload.pointer("/requestContext/http").is_none() {
        return direct::invoke(app, payload, &context).await;
    }
    let request: LambdaRequest = serde_json::from_value(payload).map_err(unreadable)?;
    let request = LambdaEvent { payload: request, context };
    let Ok(response) = shell::serve(request, |request| http::handle(app, request)).await;
    serde_json::to_value(response).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Diagnostic {
    Diagnostic { error_type: "InvalidEvent".into(), error_message: error.to_string() }
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

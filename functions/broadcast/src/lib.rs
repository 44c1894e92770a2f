//! Delivers recorded activities to their subscribers, one batch of the log's stream after the other.
//!
//! A batch fails when a table cannot be read or written. Lambda then redelivers the batch, and subscribers get some of its
//! updates twice. A batch with an unreadable record fails from that record on. A connection fails the batch only when it
//! can be neither reached, nor closed, nor forgotten.
//!
//! The stream also shows an activity or an id item that was overwritten or deleted. Such an [`Alteration`] is reported,
//! is delivered to nobody, and fails no batch.

mod alteration;
mod broadcast;
mod records;

use std::time::Duration;

use domain::Result;
use lambda_http::LambdaEvent;
use lambda_http::lambda_runtime::Diagnostic;
use live_delivery::Dispatcher;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument as _;

pub use alteration::{Alteration, AlterationSink, to_stdout};
use records::RecordBatch;

/// Time reserved at the end of an invocation to disconnect the subscribers that could not be reached.
const DISCONNECT_RESERVE: Duration = Duration::from_secs(9);

/// Everything that lives as long as the process.
pub struct App {
    dispatcher: Dispatcher,
    alterations: AlterationSink,
}

impl App {
    /// Delivers through `dispatcher`. `alterations` takes each alteration of the log, again when its batch is
    /// redelivered.
    pub fn new(dispatcher: Dispatcher, alterations: AlterationSink) -> Self {
        Self { dispatcher, alterations }
    }
}

/// The response to Lambda, which redelivers the batch from its first failed record on.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// The first record that failed, or none.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A record that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Its sequence number.
    pub item_identifier: String,
}

/// Handles a batch of the stream.
///
/// # Errors
/// `InvalidEvent` when the payload is not a batch of a stream. `UnreadableRecord` when the first of several records does
/// not decode: Lambda then halves the batch until that record is alone.
pub async fn invoke(app: &App, event: LambdaEvent<Value>) -> Result<BatchResponse, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    let deadline = lambda_support::deadline(Some(&context)) - DISCONNECT_RESERVE;
    let span = lambda_support::invocation_span(&context.request_id);
    Box::pin(handle(app, payload, &context.request_id, deadline)).instrument(span).await
}

async fn handle(
    app: &App,
    payload: Value,
    request_id: &str,
    deadline: Instant,
) -> Result<BatchResponse, Diagnostic> {
    let RecordBatch { rows, alterations, count, first, unreadable } =
        records::parse(payload).map_err(lambda_support::invalid_event)?;
    alterations.iter().for_each(&app.alterations);
    if unreadable.is_some() && unreadable == first && count > 1 {
        let error_message = "the first record of the batch cannot be read".to_owned();
        return Err(Diagnostic { error_type: "UnreadableRecord".to_owned(), error_message });
    }
    let failed = match broadcast::deliver(&app.dispatcher, rows, request_id, deadline).await {
        Ok(()) => unreadable,
        Err(error) => {
            lambda_support::log(&error);
            first
        }
    };
    let batch_item_failures = failed.map(|item_identifier| BatchItemFailure { item_identifier }).into_iter();
    Ok(BatchResponse { batch_item_failures: batch_item_failures.collect() })
}

//! Recording by direct invocation: the payload is one event or an array. IAM decides who may invoke.

use domain::Error;
use domain::activity::Activity;
use domain::event::InputEvent;
use domain::ids::ActivityId;
use domain::json::Document;
use domain::time::Timestamp;
use http_api::problem::Problem;
use lambda_runtime::{Context, Diagnostic};
use recording::WriteOutcome;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{App, RecordedActivity, wrapping};

/// The most events that an error describes, because Lambda keeps the error of an asynchronous invocation in a message,
/// beside the payload, whose size is limited.
const MAX_DESCRIBED: usize = 20;

/// Records the payload.
///
/// # Errors
/// When any event was not recorded. Lambda then repeats an asynchronous invocation, and hands it to its failure
/// destination in the end. The other events are recorded by then, and are not recorded again.
pub(crate) async fn invoke(
    app: &App,
    payload: &RawValue,
    context: &Context,
) -> Result<Box<RawValue>, Diagnostic> {
    let (events, is_array) = crate::events(payload).map_err(|error| failure(&error, error.to_string()))?;
    let request = &context.request_id;
    // Lambda does not say who invoked.
    let sender = app.ingress.sender(app.ingress.source, &[]);
    let parse = |(index, event)| {
        let id = if is_array { format!("{request}.{index}") } else { request.clone() };
        let event = wrapping::event(Document::read(event))?;
        sender.admit(InputEvent::parse(event, &app.defaults(&sender, id, "id"))?)
    };
    let parsed = events.into_iter().enumerate().map(parse).collect();
    let results = app.record(request, parsed, lambda_support::deadline(Some(context))).await;
    let count = results.len();
    let mut recorded = Vec::with_capacity(count);
    let mut failed = Vec::new();
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(outcome) => recorded.push(shown(outcome)),
            Err(error) => failed.push((index, error)),
        }
    }
    match failed.first() {
        None if is_array => to_raw_value(&Results { results: recorded }),
        None => to_raw_value(&recorded.pop()),
        Some((_, error)) => {
            let described = failed.iter().take(MAX_DESCRIBED);
            let mut descriptions: Vec<String> = described
                .map(|(index, error)| format!("event {index}: {}", Problem::new(error, None).detail))
                .collect();
            if failed.len() > MAX_DESCRIBED {
                descriptions.push("for the others see the log".into());
            }
            for (index, error) in &failed {
                tracing::warn!(index, error = error.chain(), "event not recorded");
            }
            let summary =
                format!("{} of {count} events were not recorded: {}", failed.len(), descriptions.join("; "));
            return Err(failure(error, summary));
        }
    }
    .map_err(lambda_support::invalid_event)
}

/// The answer to an array.
#[derive(Serialize)]
struct Results {
    results: Vec<Shown>,
}

/// The answer to an event.
#[derive(Serialize)]
struct Shown {
    status: &'static str,
    activity: Activity,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<ActivityId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_again_after: Option<Timestamp>,
}

fn shown(outcome: WriteOutcome) -> Shown {
    let status = match outcome {
        WriteOutcome::New(_) => "recorded",
        WriteOutcome::Repeat(_) => "repeated",
    };
    let RecordedActivity { activity, superseded_by, send_again_after } = outcome.into();
    Shown { status, activity, superseded_by, send_again_after }
}

fn failure(error: &Error, error_message: String) -> Diagnostic {
    let code = serde_json::to_value(Problem::new(error, None).code).unwrap_or_default();
    Diagnostic { error_type: code.as_str().unwrap_or_default().into(), error_message }
}

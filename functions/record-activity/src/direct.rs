//! Recording by direct invocation: the payload is one event or an array. IAM decides who may invoke.

use domain::Error;
use domain::directory::Superseded;
use domain::event::InputEvent;
use http_api::problem::Problem;
use lambda_runtime::{Context, Diagnostic};
use recording::WriteOutcome;
use serde_json::{Value, json};

use crate::App;

/// The most events that an error describes, because Lambda keeps the error of an asynchronous invocation in a message,
/// beside the payload, whose size is limited.
const MAX_DESCRIBED: usize = 20;

/// Records the payload.
///
/// # Errors
/// When any event was not recorded. Lambda then repeats an asynchronous invocation, and hands it to its failure
/// destination in the end. The other events are recorded by then, and are not recorded again.
pub(crate) async fn invoke(app: &App, payload: Value, context: &Context) -> Result<Value, Diagnostic> {
    let (values, is_array) = crate::events(payload).map_err(|error| failure(&error, error.to_string()))?;
    let request = &context.request_id;
    // Lambda does not say who invoked.
    let sender = app.ingress.sender(app.ingress.source, &[]);
    let parse = |(index, value)| {
        let id = if is_array { format!("{request}.{index}") } else { request.clone() };
        sender.admit(InputEvent::parse(value, &app.defaults(&sender, id, "id"))?)
    };
    let parsed = values.into_iter().enumerate().map(parse).collect();
    let results = app.record(request, parsed, lambda_support::deadline(Some(context))).await;
    let count = results.len();
    let mut recorded = Vec::with_capacity(count);
    let mut failed = Vec::new();
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(outcome) => recorded.push(shown(&outcome)),
            Err(error) => failed.push((index, error)),
        }
    }
    match failed.first() {
        None if is_array => Ok(json!({ "results": recorded })),
        None => Ok(recorded.pop().unwrap_or_default()),
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
            Err(failure(error, summary))
        }
    }
}

fn shown(outcome: &WriteOutcome) -> Value {
    let status = match outcome {
        WriteOutcome::New(_) => "recorded",
        WriteOutcome::Repeat(_) => "repeated",
    };
    let mut shown = json!({ "status": status, "activity": outcome.activity() });
    if let Some(Superseded { by, send_again_after }) = outcome.superseded() {
        shown["superseded_by"] = by.as_str().into();
        shown["send_again_after"] = json!(send_again_after);
    }
    shown
}

fn failure(error: &Error, error_message: String) -> Diagnostic {
    let code = serde_json::to_value(Problem::new(error, None).code).unwrap_or_default();
    Diagnostic { error_type: code.as_str().unwrap_or_default().into(), error_message }
}

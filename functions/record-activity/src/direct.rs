//! Recording by direct invocation: the payload is one event or an array, each bare or in an EventBridge envelope. Its
//! callers are let in by IAM.

use lambda_runtime::{Context, Diagnostic};
use serde_json::{Value, json};
use shared::Error;
use shared::problem::Problem;
use shared::record::Recorded;

use crate::{App, Source, envelope};

/// Events that an error speaks of: of an asynchronous invocation it is kept in a queue, beside the payload, which takes
/// but so much.
const SHOWN: usize = 20;

/// Records the payload.
///
/// # Errors
/// When any event was not recorded, so that Lambda repeats an asynchronous invocation, and hands it to its
/// failure destination in the end. The rest is recorded by then, and is not recorded again.
pub(crate) async fn invoke(app: &App, payload: Value, context: &Context) -> Result<Value, Diagnostic> {
    let (values, is_array) = crate::events(payload).map_err(|error| failure(&error, error.to_string()))?;
    let request = &context.request_id;
    let read = |(index, value)| {
        let id = if is_array { format!("{request}.{index}") } else { request.clone() };
        envelope::read(value, app.defaults(id, "id"))
    };
    let read = values.into_iter().enumerate().map(read).collect();
    let results = app.record(Source::Direct, request, read, shell::deadline(Some(context))).await;
    let count = results.len();
    let mut recorded = Vec::with_capacity(count);
    let mut failed = Vec::new();
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(activity) => recorded.push(shown(&activity)),
            Err(error) => failed.push((index, error)),
        }
    }
    match failed.first() {
        None if is_array => Ok(json!({ "results": recorded })),
        None => Ok(recorded.pop().unwrap_or_default()),
        Some((_, error)) => {
            let mut each: Vec<String> = failed
                .iter()
                .take(SHOWN)
                .map(|(index, error)| format!("event {index}: {}", Problem::new(error, None).detail))
                .collect();
            if failed.len() > SHOWN {
                each.push("for the others see the log".into());
            }
            for (index, error) in &failed {
                tracing::warn!(index, error = error.chain(), "an event was not recorded");
            }
            let summary =
                format!("{} of {count} events were not recorded: {}", failed.len(), each.join("; "));
            Err(failure(error, summary))
        }
    }
}

fn shown(recorded: &Recorded) -> Value {
    let status = match recorded {
        Recorded::New(_) => "recorded",
        Recorded::Repeat(_) => "repeated",
    };
    json!({ "status": status, "activity": recorded.activity() })
}

fn failure(error: &Error, error_message: String) -> Diagnostic {
    let code = serde_json::to_value(Problem::new(error, None).code).unwrap_or_default();
    Diagnostic { error_type: code.as_str().unwrap_or_default().into(), error_message }
}

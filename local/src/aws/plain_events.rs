//! The event bus for those without an SDK: the body is what the HTTP API takes, one event or an array, or the input of
//! `PutEvents`. The answer is that of `PutEvents`.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use domain::event::MAX_BATCH;
use domain::time::Clock;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::events::{self, Entry};
use crate::aws_protocol::{AwsError, respond};
use crate::body;
use crate::queue::Queue;

/// The source of what comes in this way.
const SOURCE: &str = "local";

/// The members of an event that say what it is: its own, or those of a CloudEvent.
#[derive(Debug, Default, Deserialize)]
struct Kind {
    action: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Puts the events of a body on the bus.
pub(super) async fn put(queue: Option<&Queue>, clock: &Clock, body: Body) -> Response<Body> {
    let body = body::read(body).await.map_err(AwsError::unreadable);
    match body.and_then(|body| put_all(queue, clock, &body)) {
        Ok(output) => respond(StatusCode::OK, &output),
        Err(error) => error.into_response(),
    }
}

fn put_all(queue: Option<&Queue>, clock: &Clock, body: &[u8]) -> Result<Value, AwsError> {
    let malformed = |error| AwsError::new("SerializationException", format!("The body is not JSON: {error}"));
    // The texts are kept, because parsing and printing might change their numbers.
    let whole: &RawValue = serde_json::from_slice(body).map_err(malformed)?;
    let all: Vec<&RawValue> = match whole.get().starts_with('[') {
        true => serde_json::from_slice(body).map_err(malformed)?,
        false => vec![whole],
    };
    if all.is_empty() || all.len() > MAX_BATCH {
        let detail = format!("The body must be an event, or an array of 1 to {MAX_BATCH} of them");
        return Err(AwsError::new("ValidationException", detail));
    }
    if let [only] = all[..]
        && let Ok(input) = serde_json::from_str::<Value>(only.get())
        && input["Entries"].is_array()
    {
        return events::answer(queue, clock, "PutEvents", &input);
    }
    let queue = queue.ok_or_else(events::no_queue)?;
    Ok(events::output(all.into_iter().map(|event| {
        let Kind { action, kind } = serde_json::from_str(event.get()).unwrap_or_default();
        let detail_type = action.or(kind);
        let missing = || ("InvalidArgument", "An event must be an object with an action.".to_owned());
        let detail_type = detail_type.as_deref().ok_or_else(missing)?;
        events::put(queue, clock, &Entry::new(SOURCE, detail_type, event.get()))
    })))
}

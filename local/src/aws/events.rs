//! EventBridge: PutEvents. Every bus is the same here, with one rule that sends all to the queue.

use std::time::Duration;

use chrono::DateTime;
use serde_json::{Map, Value, json};
use shared::time::Timestamp;
use uuid::Uuid;

use super::{ACCOUNT, Aws, REGION, Refusal, list, text};

/// The most entries of a request.
const MAX_ENTRIES: usize = 10;
/// The most bytes of them all, counted as EventBridge counts.
const MAX_SIZE: usize = 256 * 1024;
/// What it counts a time as.
const TIME_SIZE: usize = 14;

pub(super) fn answer(aws: &Aws, operation: &str, input: &Value) -> Result<Value, Refusal> {
    if operation != "PutEvents" {
        return Err(Refusal::unknown_operation(operation, "PutEvents is"));
    }
    let inputs = list(input, "Entries")?;
    if inputs.is_empty() || inputs.len() > MAX_ENTRIES {
        let detail = format!("Entries must have 1 to {MAX_ENTRIES} members");
        return Err(Refusal::new("ValidationException", format!("1 validation error detected: {detail}")));
    }
    let entries: Vec<Entry> = inputs.iter().map(Entry::read).collect::<Result<_, _>>()?;
    if entries.iter().map(Entry::size).sum::<usize>() > MAX_SIZE {
        let detail = "Total size of the entries in the request is over the limit.";
        return Err(Refusal::new("ValidationException", detail));
    }
    let results: Vec<Value> = entries
        .iter()
        .map(|entry| match put(aws, entry) {
            Ok(id) => json!({ "EventId": id }),
            Err((code, message)) => json!({ "ErrorCode": code, "ErrorMessage": message }),
        })
        .collect();
    let failed = results.iter().filter(|result| result["ErrorCode"].is_string()).count();
    Ok(json!({ "FailedEntryCount": failed, "Entries": results }))
}

/// Why an entry failed: a code and a message.
type Fault = (&'static str, String);

/// Puts one event on the bus. Gives its id.
fn put(aws: &Aws, entry: &Entry) -> Result<String, Fault> {
    let source = required("Source", entry.source)?;
    let detail_type = required("DetailType", entry.detail_type)?;
    let detail = required("Detail", entry.detail)?;
    if serde_json::from_str::<Map<String, Value>>(detail).is_err() {
        return Err(("MalformedDetail", "Detail is malformed.".to_owned()));
    }
    if source.starts_with("aws.") {
        return Err(("NotAuthorizedForSourceException", "Not authorized for the source.".to_owned()));
    }
    let id = Uuid::new_v4().to_string();
    let time = entry.time.unwrap_or_else(|| (aws.clock)());
    let envelope = json!({
        "version": "0",
        "id": id,
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": time.utc().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": REGION,
        "resources": entry.resources,
    });
    // The detail stays as it was written: read and written again, its numbers might change.
    let mut body = envelope.to_string();
    body.truncate(body.len() - 1);
    body += &format!(",\"detail\":{detail}}}");
    match aws.pipeline.queue.send(body, Duration::ZERO) {
        Ok(_) => Ok(id),
        Err(full) => Err(("ThrottlingException", full.to_string())),
    }
}

fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Fault> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        let detail = format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
        ("InvalidArgument", detail)
    })
}

/// An entry of the request.
struct Entry<'a> {
    source: Option<&'a str>,
    detail_type: Option<&'a str>,
    detail: Option<&'a str>,
    resources: &'a [Value],
    time: Option<Timestamp>,
}

impl<'a> Entry<'a> {
    fn read(input: &'a Value) -> Result<Self, Refusal> {
        let malformed = |detail: &str| Refusal::new("SerializationException", detail);
        if !input.is_object() {
            return Err(malformed("An entry is not a structure"));
        }
        let resources = list(input, "Resources")?;
        if !resources.iter().all(Value::is_string) {
            return Err(malformed("Resources are not strings"));
        }
        let time = match &input["Time"] {
            Value::Null => None,
            time => Some(time.as_f64().and_then(instant).ok_or_else(|| malformed("Time is not in seconds"))?),
        };
        Ok(Self {
            source: text(input, "Source")?,
            detail_type: text(input, "DetailType")?,
            detail: text(input, "Detail")?,
            resources,
            time,
        })
    }

    fn size(&self) -> usize {
        let texts = [self.source, self.detail_type, self.detail].into_iter().flatten();
        let resources = self.resources.iter().filter_map(Value::as_str);
        let time = self.time.map_or(0, |_| TIME_SIZE);
        texts.chain(resources).map(str::len).sum::<usize>() + time
    }
}

/// The instant that is so many seconds after 1970.
fn instant(seconds: f64) -> Option<Timestamp> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the time has whole seconds; what is too large saturates"
    )]
    let seconds = seconds.floor() as i64;
    DateTime::from_timestamp(seconds, 0).map(Timestamp::truncate)
}

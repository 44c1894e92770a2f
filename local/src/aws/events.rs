//! EventBridge's `PutEvents`, as SDKs call it. All buses are one here, with one rule that sends every event to the queue.

use std::time::Duration;

use chrono::DateTime;
use domain::time::{Clock, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::aws_protocol::{AwsError, list, text};
use crate::queue::Queue;
use crate::resource_names::{ACCOUNT, REGION};

/// The most entries of a request.
const MAX_ENTRIES: usize = 10;
/// The most bytes of all entries, as EventBridge counts them.
const MAX_TOTAL_BYTES: usize = 256 * 1024;
/// The bytes that EventBridge counts for a time.
const TIME_BYTES: usize = 14;

pub(super) fn answer(
    queue: Option<&Queue>,
    clock: &Clock,
    operation: &str,
    input: &Value,
) -> Result<Value, AwsError> {
    if operation != "PutEvents" {
        return Err(AwsError::unknown_operation(operation, "PutEvents is"));
    }
    let queue = queue.ok_or_else(no_queue)?;
    let inputs = list(input, "Entries")?;
    if inputs.is_empty() || inputs.len() > MAX_ENTRIES {
        let detail = format!("Entries must have 1 to {MAX_ENTRIES} members");
        return Err(AwsError::new("ValidationException", format!("1 validation error detected: {detail}")));
    }
    let entries: Vec<Entry> = inputs.iter().map(Entry::read).collect::<Result<_, _>>()?;
    if entries.iter().map(Entry::bytes).sum::<usize>() > MAX_TOTAL_BYTES {
        let detail = "Total size of the entries in the request is over the limit.";
        return Err(AwsError::new("ValidationException", detail));
    }
    Ok(output(entries.iter().map(|entry| put(queue, clock, entry))))
}

/// The error of a gateway whose bus leads nowhere.
pub(super) fn no_queue() -> AwsError {
    AwsError::new("InternalException", "The template's rule sends to no queue that feeds a function")
}

/// The output of `PutEvents`, from what became of each entry.
pub(super) fn output(entries: impl Iterator<Item = Result<String, EntryError>>) -> Value {
    let result = |entry| match entry {
        Ok(id) => json!({ "EventId": id }),
        Err((code, message)) => json!({ "ErrorCode": code, "ErrorMessage": message }),
    };
    let results: Vec<Value> = entries.map(result).collect();
    let failed = results.iter().filter(|result| result["ErrorCode"].is_string()).count();
    json!({ "FailedEntryCount": failed, "Entries": results })
}

/// The code and the message of an entry that failed.
pub(super) type EntryError = (&'static str, String);

/// Puts one event on the bus, and returns the event's id.
pub(super) fn put(queue: &Queue, clock: &Clock, entry: &Entry<'_>) -> Result<String, EntryError> {
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
    let time = entry.time.unwrap_or_else(|| clock());
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
    // The text of the detail is kept, because parsing and printing might change its numbers.
    let mut body = envelope.to_string();
    body.truncate(body.len() - 1);
    body += &format!(",\"detail\":{detail}}}");
    match queue.send(body, Duration::ZERO) {
        Ok(_) => Ok(id),
        Err(full) => Err(("ThrottlingException", full.to_string())),
    }
}

fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, EntryError> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        let detail = format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
        ("InvalidArgument", detail)
    })
}

/// An entry of the request.
pub(super) struct Entry<'a> {
    source: Option<&'a str>,
    detail_type: Option<&'a str>,
    detail: Option<&'a str>,
    resources: &'a [Value],
    time: Option<Timestamp>,
}

impl<'a> Entry<'a> {
    /// An entry without resources and a time.
    pub(super) fn new(source: &'a str, detail_type: &'a str, detail: &'a str) -> Self {
        let (source, detail_type, detail) = (Some(source), Some(detail_type), Some(detail));
        Self { source, detail_type, detail, resources: &[], time: None }
    }

    fn read(input: &'a Value) -> Result<Self, AwsError> {
        let malformed = |detail: &str| AwsError::new("SerializationException", detail);
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

    fn bytes(&self) -> usize {
        let texts = [self.source, self.detail_type, self.detail].into_iter().flatten();
        let resources = self.resources.iter().filter_map(Value::as_str);
        let time = self.time.map_or(0, |_| TIME_BYTES);
        texts.chain(resources).map(str::len).sum::<usize>() + time
    }
}

/// The instant `seconds` after 1970.
fn instant(seconds: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "the number is whole, and a larger one saturates")]
    let seconds = seconds.floor() as i64;
    DateTime::from_timestamp(seconds, 0).map(Timestamp::truncate)
}

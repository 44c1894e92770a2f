//! SQS: sending to the queue, looking at its dead letters, and moving them back.
//!
//! Message attributes are taken and not passed on: nothing reads them.

use std::collections::HashSet;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Aws, Refusal, list, respond, text};
use crate::pipeline::md5;
use crate::queue::Message;

/// The most messages of a request.
const MAX_ENTRIES: usize = 10;
/// The most bytes of a message, and of a request's messages together.
const MAX_SIZE: usize = 1024 * 1024;
/// The longest delay of a message, in seconds.
const MAX_DELAY: u64 = 900;

const THROTTLED: &str = "RequestThrottled";
const OPERATIONS: &str =
    "SendMessage, SendMessageBatch, GetQueueUrl, ReceiveMessage and StartMessageMoveTask are";

/// What a call is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Queue,
    DeadLetters,
}

impl Subject {
    /// The queue that a call names, by its URL, its ARN or its name: here, or in the template.
    fn of(aws: &Aws, input: &Value) -> Result<Self, Refusal> {
        let mut given = None;
        for member in ["QueueUrl", "SourceArn", "QueueName"] {
            given = given.or(text(input, member)?);
        }
        let given = given.unwrap_or_default();
        let (queue, dead_letters) = aws.pipeline.names();
        match given.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default() {
            name if name == "queue" || name == queue => Ok(Self::Queue),
            name if name == "dead-letters" || name == dead_letters => Ok(Self::DeadLetters),
            _ => {
                let known = [Self::Queue, Self::DeadLetters].map(|subject| subject.url(aws)).join(" and ");
                Err(Refusal::new(
                    "QueueDoesNotExist",
                    format!("There is no queue {given:?} here; there are {known}"),
                ))
            }
        }
    }

    fn url(self, aws: &Aws) -> String {
        let name = if self == Self::Queue { "queue" } else { "dead-letters" };
        format!("{}/dev/{name}", aws.url)
    }
}

pub(super) fn answer(aws: &Aws, operation: &str, input: &Value) -> Result<Value, Refusal> {
    let is = |wanted| match Subject::of(aws, input)? {
        subject if subject == wanted => Ok(()),
        _ => {
            let detail = "Messages are sent to the queue, and read and moved from its dead letters";
            Err(Refusal::new("UnsupportedOperation", detail))
        }
    };
    match operation {
        "SendMessage" => is(Subject::Queue).and_then(|()| send(aws, input)),
        "SendMessageBatch" => is(Subject::Queue).and_then(|()| send_batch(aws, input)),
        "GetQueueUrl" => Ok(json!({ "QueueUrl": Subject::of(aws, input)?.url(aws) })),
        "ReceiveMessage" => is(Subject::DeadLetters).map(|()| look(aws, input)),
        "StartMessageMoveTask" => is(Subject::DeadLetters).map(|()| redrive(aws)),
        _ => Err(Refusal::unknown_operation(operation, OPERATIONS)),
    }
}

fn send(aws: &Aws, input: &Value) -> Result<Value, Refusal> {
    let body = text(input, "MessageBody")?.filter(|body| !body.is_empty()).ok_or_else(|| {
        Refusal::new("MissingParameter", "The request must contain the parameter MessageBody.")
    })?;
    let invalid = |detail: String| Refusal::new("InvalidParameterValue", detail);
    if body.len() > MAX_SIZE {
        return Err(invalid(format!("The message must be at most {MAX_SIZE} bytes.")));
    }
    if !body.chars().all(is_allowed) {
        return Err(Refusal::new(
            "InvalidMessageContents",
            "The message has characters that are not allowed.",
        ));
    }
    let delay = match &input["DelaySeconds"] {
        Value::Null => Some(0),
        delay => delay.as_u64().filter(|delay| *delay <= MAX_DELAY),
    };
    let delay = delay.ok_or_else(|| invalid(format!("DelaySeconds must be 0 to {MAX_DELAY}.")))?;
    let id = aws.pipeline.queue.send(body.to_owned(), Duration::from_secs(delay));
    let id = id.map_err(|full| Refusal::new(THROTTLED, full.to_string()))?;
    Ok(json!({ "MessageId": id, "MD5OfMessageBody": md5(body) }))
}

/// What SQS takes: what XML can hold.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn send_batch(aws: &Aws, input: &Value) -> Result<Value, Refusal> {
    let entries = list(input, "Entries")?;
    match entries.len() {
        0 => {
            return Err(Refusal::new(
                "EmptyBatchRequest",
                "There should be at least one entry in the request.",
            ));
        }
        1..=MAX_ENTRIES => {}
        _ => {
            let detail = format!("A request has at most {MAX_ENTRIES} entries.");
            return Err(Refusal::new("TooManyEntriesInBatchRequest", detail));
        }
    }
    let (mut ids, mut size) = (HashSet::new(), 0);
    for entry in entries {
        let id = text(entry, "Id")?.unwrap_or_default();
        if id.is_empty()
            || id.len() > 80
            || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        {
            let detail = "An Id is 1 to 80 letters, digits, hyphens and underscores.";
            return Err(Refusal::new("InvalidBatchEntryId", detail));
        }
        if !ids.insert(id) {
            return Err(Refusal::new("BatchEntryIdsNotDistinct", format!("The Id {id} is given twice.")));
        }
        size += text(entry, "MessageBody")?.map_or(0, str::len);
    }
    if size > MAX_SIZE {
        let detail = format!("The messages must be at most {MAX_SIZE} bytes together.");
        return Err(Refusal::new("BatchRequestTooLong", detail));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        match send(aws, entry) {
            Ok(mut sent) => {
                sent["Id"] = entry["Id"].clone();
                successful.push(sent);
            }
            Err(Refusal { code, message, .. }) => {
                let fault = code != THROTTLED;
                let entry =
                    json!({ "Id": entry["Id"], "SenderFault": fault, "Code": code, "Message": message });
                failed.push(entry);
            }
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}

/// The first dead letters. They are not hidden from the next look, whatever visibility timeout is asked for.
fn look(aws: &Aws, input: &Value) -> Value {
    let count = input["MaxNumberOfMessages"].as_u64().unwrap_or(1).clamp(1, 10);
    let letters = aws.pipeline.queue.dead_letters();
    let shown = |letter: &Message| {
        json!({
            "MessageId": letter.id,
            "ReceiptHandle": letter.id,
            "MD5OfBody": md5(&letter.body),
            "Body": letter.body,
            "Attributes": { "ApproximateReceiveCount": letter.receives.to_string() },
        })
    };
    json!({ "Messages": letters.iter().zip(0..count).map(|(letter, _)| shown(letter)).collect::<Vec<_>>() })
}

/// Moves all of them back.
fn redrive(aws: &Aws) -> Value {
    let count = aws.pipeline.queue.redrive();
    tracing::info!("{count} dead letters are sent again");
    json!({ "TaskHandle": Uuid::new_v4().to_string() })
}

/// All dead letters, oldest first.
pub(super) async fn dead_letters(State(aws): State<Aws>) -> Response<Body> {
    let letters = aws.pipeline.queue.dead_letters();
    let shown = |letter: &Message| {
        json!({
            "message_id": letter.id,
            "body": letter.body,
            "receive_count": letter.receives,
            "sent_at": letter.sent,
            "first_received_at": letter.first_received,
            "last_received_at": letter.last_received,
        })
    };
    respond(StatusCode::OK, &letters.iter().map(shown).collect())
}

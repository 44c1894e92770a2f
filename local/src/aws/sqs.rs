//! SQS: sends to the queue, shows its dead letters, and moves them back.
//!
//! Message attributes are accepted and dropped, because no function reads them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::aws_protocol::{AwsError, list, respond, text};
use crate::queue::{Message, Queue, body_md5};
use crate::template::QueueSource;

/// The most messages of a request.
const MAX_ENTRIES: usize = 10;
/// The most bytes of a message, and of all messages of a request.
const MAX_BYTES: usize = 1024 * 1024;
/// The longest delay of a message.
const MAX_DELAY_SECONDS: u64 = 900;

const THROTTLED: &str = "RequestThrottled";
const OPERATIONS: &str =
    "SendMessage, SendMessageBatch, GetQueueUrl, ReceiveMessage and StartMessageMoveTask are";

/// The most dead letters of one look.
const MAX_RECEIVED: u64 = 10;
/// The longest id of a batch entry, in characters.
const MAX_ENTRY_ID_LEN: usize = 80;

/// The queue as SQS shows it.
#[derive(Clone)]
pub(super) struct Sqs {
    queue: Arc<Queue>,
    source: Arc<QueueSource>,
    /// The URL of the gateway.
    url: Arc<str>,
}

/// The queue that a call names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Queue,
    DeadLetters,
}

impl Target {
    /// The last part of the queue's URL.
    fn path(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::DeadLetters => "dead-letters",
        }
    }
}

impl Sqs {
    pub(super) fn new(queue: &Arc<Queue>, source: &QueueSource, url: &str) -> Self {
        Self { queue: Arc::clone(queue), source: Arc::new(source.clone()), url: Arc::from(url) }
    }

    pub(super) fn answer(&self, operation: &str, input: &Value) -> Result<Value, AwsError> {
        let require = |wanted| match self.target(input)? {
            target if target == wanted => Ok(()),
            _ => {
                let detail = "Messages are sent to the queue, and read and moved from its dead letters";
                Err(AwsError::new("UnsupportedOperation", detail))
            }
        };
        match operation {
            "SendMessage" => require(Target::Queue).and_then(|()| self.send(input)),
            "SendMessageBatch" => require(Target::Queue).and_then(|()| self.send_batch(input)),
            "GetQueueUrl" => Ok(json!({ "QueueUrl": self.queue_url(self.target(input)?) })),
            "ReceiveMessage" => require(Target::DeadLetters).map(|()| self.receive(input)),
            "StartMessageMoveTask" => require(Target::DeadLetters).map(|()| self.redrive()),
            _ => Err(AwsError::unknown_operation(operation, OPERATIONS)),
        }
    }

    /// The queue that a call names by its URL, its ARN or its name, which is the one here or the one in the template.
    fn target(&self, input: &Value) -> Result<Target, AwsError> {
        let mut given = None;
        for member in ["QueueUrl", "SourceArn", "QueueName"] {
            given = given.or(text(input, member)?);
        }
        let given = given.unwrap_or_default();
        let QueueSource { queue, dead_letters, .. } = &*self.source;
        match given.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default() {
            name if name == Target::Queue.path() || name == queue => Ok(Target::Queue),
            name if name == Target::DeadLetters.path() || name == dead_letters => Ok(Target::DeadLetters),
            _ => {
                let known = [Target::Queue, Target::DeadLetters].map(|target| self.queue_url(target));
                let detail = format!("There is no queue {given:?} here; there are {}", known.join(" and "));
                Err(AwsError::new("QueueDoesNotExist", detail))
            }
        }
    }

    fn queue_url(&self, target: Target) -> String {
        format!("{}/dev/{}", self.url, target.path())
    }

    fn send(&self, input: &Value) -> Result<Value, AwsError> {
        let body = text(input, "MessageBody")?.filter(|body| !body.is_empty()).ok_or_else(|| {
            AwsError::new("MissingParameter", "The request must contain the parameter MessageBody.")
        })?;
        let invalid = |detail: String| AwsError::new("InvalidParameterValue", detail);
        if body.len() > MAX_BYTES {
            return Err(invalid(format!("The message must be at most {MAX_BYTES} bytes.")));
        }
        if !body.chars().all(is_allowed) {
            let detail = "The message has characters that are not allowed.";
            return Err(AwsError::new("InvalidMessageContents", detail));
        }
        let delay = match &input["DelaySeconds"] {
            Value::Null => Some(0),
            delay => delay.as_u64().filter(|delay| *delay <= MAX_DELAY_SECONDS),
        };
        let delay =
            delay.ok_or_else(|| invalid(format!("DelaySeconds must be 0 to {MAX_DELAY_SECONDS}.")))?;
        let id = self.queue.send(body.to_owned(), Duration::from_secs(delay));
        let id = id.map_err(|full| AwsError::new(THROTTLED, full.to_string()))?;
        Ok(json!({ "MessageId": id, "MD5OfMessageBody": body_md5(body) }))
    }

    fn send_batch(&self, input: &Value) -> Result<Value, AwsError> {
        let entries = list(input, "Entries")?;
        check_batch(entries)?;
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            match self.send(entry) {
                Ok(mut sent) => {
                    sent["Id"] = entry["Id"].clone();
                    successful.push(sent);
                }
                Err(AwsError { code, message, .. }) => {
                    let is_senders = code != THROTTLED;
                    failed.push(json!({
                        "Id": entry["Id"], "SenderFault": is_senders, "Code": code, "Message": message
                    }));
                }
            }
        }
        Ok(json!({ "Successful": successful, "Failed": failed }))
    }

    /// Receives the first dead letters. The next call gets them again, whatever visibility timeout this one asks for.
    fn receive(&self, input: &Value) -> Value {
        let count = input["MaxNumberOfMessages"].as_u64().unwrap_or(1).clamp(1, MAX_RECEIVED);
        let letters = self.queue.dead_letters();
        let shown = |letter: &Message| {
            json!({
                "MessageId": letter.id,
                "ReceiptHandle": letter.id,
                "MD5OfBody": body_md5(&letter.body),
                "Body": letter.body,
                "Attributes": { "ApproximateReceiveCount": letter.receives.to_string() },
            })
        };
        json!({ "Messages": letters.iter().zip(0..count).map(|(letter, _)| shown(letter)).collect::<Vec<_>>() })
    }

    fn redrive(&self) -> Value {
        let messages = self.queue.redrive();
        tracing::info!(messages, "redrove dead letters");
        json!({ "TaskHandle": Uuid::new_v4().to_string() })
    }

    /// The response with all dead letters, oldest first.
    pub(super) fn show_dead_letters(&self) -> Response<Body> {
        let letters = self.queue.dead_letters();
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
}

/// Whether SQS takes a character in a message, which it does if XML can hold it.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Checks the number, the ids and the total size of a batch's entries.
fn check_batch(entries: &[Value]) -> Result<(), AwsError> {
    match entries.len() {
        0 => {
            let detail = "There should be at least one entry in the request.";
            return Err(AwsError::new("EmptyBatchRequest", detail));
        }
        1..=MAX_ENTRIES => {}
        _ => {
            let detail = format!("A request has at most {MAX_ENTRIES} entries.");
            return Err(AwsError::new("TooManyEntriesInBatchRequest", detail));
        }
    }
    let is_id_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let (mut ids, mut bytes) = (HashSet::new(), 0);
    for entry in entries {
        let id = text(entry, "Id")?.unwrap_or_default();
        if id.is_empty() || id.len() > MAX_ENTRY_ID_LEN || !id.bytes().all(is_id_byte) {
            let detail =
                format!("An Id is 1 to {MAX_ENTRY_ID_LEN} letters, digits, hyphens and underscores.");
            return Err(AwsError::new("InvalidBatchEntryId", detail));
        }
        if !ids.insert(id) {
            return Err(AwsError::new("BatchEntryIdsNotDistinct", format!("The Id {id} is given twice.")));
        }
        bytes += text(entry, "MessageBody")?.map_or(0, str::len);
    }
    if bytes > MAX_BYTES {
        let detail = format!("The messages must be at most {MAX_BYTES} bytes together.");
        return Err(AwsError::new("BatchRequestTooLong", detail));
    }
    Ok(())
}

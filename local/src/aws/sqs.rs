//! SQS: sends to the queues, shows its dead letters, and moves them back.
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
use crate::queue::{FunctionQueue, Message, Queue, body_md5};

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

/// The queues as SQS shows them.
#[derive(Clone)]
pub(super) struct Sqs {
    queues: Arc<[FunctionQueue]>,
    /// The logical id of the queue that only the event bus sends to.
    bus_queue: Option<Arc<str>>,
    /// The URL of the gateway.
    url: Arc<str>,
}

/// The last part of the URL of the producers' queue, which has its logical id for another name.
const QUEUE: &str = "queue";
/// The last part of the URL of the dead-letter queue.
const DEAD_LETTERS: &str = "dead-letters";

/// The queue that a call names.
enum Target<'a> {
    Queue(&'a FunctionQueue),
    DeadLetters,
}

impl Sqs {
    pub(super) fn new(queues: Vec<FunctionQueue>, bus_queue: Option<&str>, url: &str) -> Self {
        Self { queues: queues.into(), bus_queue: bus_queue.map(Arc::from), url: Arc::from(url) }
    }

    pub(super) fn answer(&self, operation: &str, input: &Value) -> Result<Value, AwsError> {
        let unsupported = |detail| Err(AwsError::new("UnsupportedOperation", detail));
        match (operation, self.target(input)?) {
            ("SendMessage" | "SendMessageBatch", Target::Queue(queue)) if self.is_bus_queue(queue) => {
                let detail = "Only the event bus sends to this queue";
                Err(AwsError::new("AccessDenied", detail).with_status(StatusCode::FORBIDDEN))
            }
            ("SendMessage", Target::Queue(queue)) => send(&queue.queue, input),
            ("SendMessageBatch", Target::Queue(queue)) => send_batch(&queue.queue, input),
            ("GetQueueUrl", target) => Ok(json!({ "QueueUrl": self.url_of(&target) })),
            ("ReceiveMessage", Target::DeadLetters) => Ok(self.receive(input)),
            ("StartMessageMoveTask", Target::DeadLetters) => Ok(self.redrive()),
            ("SendMessage" | "SendMessageBatch", Target::DeadLetters) => {
                unsupported("Messages are not sent to the dead-letter queue")
            }
            ("ReceiveMessage" | "StartMessageMoveTask", Target::Queue(_)) => {
                unsupported("Messages are received and moved from the dead-letter queue only")
            }
            _ => Err(AwsError::unknown_operation(operation, OPERATIONS)),
        }
    }

    fn is_bus_queue(&self, queue: &FunctionQueue) -> bool {
        self.bus_queue.as_deref() == Some(queue.source.queue.as_str())
    }

    /// The queue that producers send to.
    fn producers_queue(&self) -> Option<&FunctionQueue> {
        self.queues.iter().find(|queue| !self.is_bus_queue(queue))
    }

    /// The queue that a call names by its URL, its ARN or its name, which is the one here or the one in the template.
    fn target(&self, input: &Value) -> Result<Target<'_>, AwsError> {
        let mut given = None;
        for member in ["QueueUrl", "SourceArn", "QueueName"] {
            given = given.or(text(input, member)?);
        }
        let given = given.unwrap_or_default();
        let name = given.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
        let named = self.queues.iter().find(|queue| queue.source.queue == name);
        if let Some(queue) = named.or_else(|| self.producers_queue().filter(|_| name == QUEUE)) {
            return Ok(Target::Queue(queue));
        }
        if name == DEAD_LETTERS || self.queues.iter().any(|queue| queue.source.dead_letters == name) {
            return Ok(Target::DeadLetters);
        }
        let queues = self.queues.iter().map(Target::Queue);
        let known: Vec<String> =
            queues.chain([Target::DeadLetters]).map(|target| self.url_of(&target)).collect();
        let detail = format!("There is no queue {given:?} here; there are {}", known.join(", "));
        Err(AwsError::new("QueueDoesNotExist", detail))
    }

    fn url_of(&self, target: &Target<'_>) -> String {
        let name = match target {
            Target::DeadLetters => DEAD_LETTERS,
            Target::Queue(queue) => match self.producers_queue() {
                Some(producers) if producers.source.queue == queue.source.queue => QUEUE,
                _ => &queue.source.queue,
            },
        };
        format!("{}/dev/{name}", self.url)
    }

    /// All dead letters, those of each queue oldest first.
    fn dead_letters(&self) -> Vec<Message> {
        self.queues.iter().flat_map(|queue| queue.queue.dead_letters()).collect()
    }

    /// Receives the first dead letters. The next call gets them again, whatever visibility timeout this one asks for.
    fn receive(&self, input: &Value) -> Value {
        let count = input["MaxNumberOfMessages"].as_u64().unwrap_or(1).clamp(1, MAX_RECEIVED);
        let letters = self.dead_letters();
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
        let messages: usize = self.queues.iter().map(|queue| queue.queue.redrive()).sum();
        tracing::info!(messages, "redrove dead letters");
        json!({ "TaskHandle": Uuid::new_v4().to_string() })
    }

    /// The response with all dead letters, oldest first.
    pub(super) fn show_dead_letters(&self) -> Response<Body> {
        let letters = self.dead_letters();
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

fn send(queue: &Queue, input: &Value) -> Result<Value, AwsError> {
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
    let delay = delay.ok_or_else(|| invalid(format!("DelaySeconds must be 0 to {MAX_DELAY_SECONDS}.")))?;
    let id = queue.send(body.to_owned(), Duration::from_secs(delay));
    let id = id.map_err(|full| AwsError::new(THROTTLED, full.to_string()))?;
    Ok(json!({ "MessageId": id, "MD5OfMessageBody": body_md5(body) }))
}

fn send_batch(queue: &Queue, input: &Value) -> Result<Value, AwsError> {
    let entries = list(input, "Entries")?;
    check_batch(entries)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        match send(queue, entry) {
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

//! SQS: sends to the queues, shows dead letters, and moves them back.
//!
//! A message has the access key id of its signature for a sender, and keeps those of its attributes that are texts. Only the
//! recorders send to the two queues that they forward to.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::aws_protocol::{AwsError, list, respond, text};
use crate::functions::RETRY;
use crate::queue::{FunctionQueue, Label, Message, Queue, body_md5};

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
/// The longest id of a group, in characters.
const MAX_GROUP_ID_LEN: usize = 128;

/// The queues as SQS shows them.
#[derive(Clone)]
pub(super) struct Sqs {
    queues: Arc<[FunctionQueue]>,
    /// The logical id of the queue that only the event bus sends to.
    bus_queue: Option<Arc<str>>,
    /// The access key id of the recorders.
    recorder: Arc<str>,
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
    /// The dead letters of all queues.
    DeadLetters,
    /// The dead-letter queue of this logical id.
    DeadLetterQueue(&'a str),
}

impl Sqs {
    pub(super) fn new(
        queues: Vec<FunctionQueue>,
        bus_queue: Option<&str>,
        recorder: &str,
        url: &str,
    ) -> Self {
        let (recorder, url) = (Arc::from(recorder), Arc::from(url));
        Self { queues: queues.into(), bus_queue: bus_queue.map(Arc::from), recorder, url }
    }

    /// Answers a call of `sender`, an access key id.
    pub(super) fn answer(&self, operation: &str, input: &Value, sender: &str) -> Result<Value, AwsError> {
        let denied = |detail| Err(AwsError::new("AccessDenied", detail).with_status(StatusCode::FORBIDDEN));
        let unsupported = |detail| Err(AwsError::new("UnsupportedOperation", detail));
        match (operation, self.target(input)?) {
            ("SendMessage" | "SendMessageBatch", Target::Queue(queue)) if self.is_bus_queue(queue) => {
                denied("Only the event bus sends to this queue")
            }
            ("SendMessage" | "SendMessageBatch", Target::Queue(queue))
                if is_retry(queue) && *self.recorder != *sender =>
            {
                denied("Only the recorders send to this queue")
            }
            ("SendMessage", Target::Queue(queue)) => send(&queue.queue, input, sender, false),
            ("SendMessageBatch", Target::Queue(queue)) => send_batch(&queue.queue, input, sender, false),
            ("SendMessageBatch", Target::DeadLetterQueue(name)) if *self.recorder == *sender => {
                let queue = self.queues.iter().find(|queue| queue.source.dead_letters == name);
                match queue.filter(|queue| is_retry(queue)) {
                    Some(queue) => send_batch(&queue.queue, input, sender, true),
                    None => denied("Nobody sends to this queue"),
                }
            }
            ("GetQueueUrl", target) => Ok(json!({ "QueueUrl": self.url_of(&target) })),
            ("ReceiveMessage", Target::DeadLetters) => Ok(receive(&self.dead_letters(None), input)),
            ("ReceiveMessage", Target::DeadLetterQueue(name)) => {
                Ok(receive(&self.dead_letters(Some(name)), input))
            }
            ("StartMessageMoveTask", Target::DeadLetterQueue(name)) => self.redrive(name, input),
            ("StartMessageMoveTask", Target::DeadLetters) => {
                unsupported("Name one dead-letter queue to move messages from")
            }
            ("SendMessage" | "SendMessageBatch", Target::DeadLetters | Target::DeadLetterQueue(_)) => {
                unsupported("Messages are not sent to a dead-letter queue")
            }
            ("ReceiveMessage" | "StartMessageMoveTask", Target::Queue(_)) => {
                unsupported("Messages are received and moved from dead-letter queues only")
            }
            _ => Err(AwsError::unknown_operation(operation, OPERATIONS)),
        }
    }

    fn is_bus_queue(&self, queue: &FunctionQueue) -> bool {
        self.bus_queue.as_deref() == Some(queue.source.queue.as_str())
    }

    /// The queue that producers send to.
    fn producers_queue(&self) -> Option<&FunctionQueue> {
        self.queues.iter().find(|queue| !self.is_bus_queue(queue) && !is_retry(queue))
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
        if name == DEAD_LETTERS {
            return Ok(Target::DeadLetters);
        }
        if let Some(queue) = self.queues.iter().find(|queue| queue.source.dead_letters == name) {
            return Ok(Target::DeadLetterQueue(&queue.source.dead_letters));
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
            Target::DeadLetterQueue(name) => name,
            Target::Queue(queue) => match self.producers_queue() {
                Some(producers) if producers.source.queue == queue.source.queue => QUEUE,
                _ => &queue.source.queue,
            },
        };
        format!("{}/dev/{name}", self.url)
    }

    /// The dead letters of the dead-letter queue of this name, or of all of them. Those of each queue are oldest first.
    fn dead_letters(&self, name: Option<&str>) -> Vec<Message> {
        let is_named = |queue: &&FunctionQueue| name.is_none_or(|name| queue.source.dead_letters == name);
        self.queues.iter().filter(is_named).flat_map(|queue| queue.queue.dead_letters()).collect()
    }

    /// Moves the messages of a dead-letter queue to the queues that they come from. Messages that were sent to it come from
    /// none, so that their destination must be named.
    fn redrive(&self, name: &str, input: &Value) -> Result<Value, AwsError> {
        let destination = text(input, "DestinationArn")?.and_then(|arn| arn.rsplit(':').next());
        let sources: Vec<_> = self.queues.iter().filter(|queue| queue.source.dead_letters == name).collect();
        let is_named = |queue: &&FunctionQueue| destination == Some(queue.source.queue.as_str());
        if sources.iter().any(|queue| is_retry(queue) && !is_named(queue))
            || (destination.is_some() && !sources.iter().any(is_named))
        {
            let detail = "Messages of RefusedQueue move to RetryQueue; name it as the DestinationArn. The others go back \
                          to where they came from.";
            return Err(AwsError::new("InvalidParameterValue", detail));
        }
        let messages: usize = sources.iter().map(|queue| queue.queue.redrive()).sum();
        tracing::info!(messages, "redrove dead letters");
        Ok(json!({ "TaskHandle": Uuid::new_v4().to_string() }))
    }

    /// The response with all dead letters, oldest first.
    pub(super) fn show_dead_letters(&self) -> Response<Body> {
        let letters = self.dead_letters(None);
        let shown = |letter: &Message| {
            json!({
                "message_id": letter.id,
                "body": letter.body,
                "attributes": letter.label.attributes,
                "receive_count": letter.receives,
                "sent_at": letter.sent,
                "first_received_at": letter.first_received,
                "last_received_at": letter.last_received,
            })
        };
        respond(StatusCode::OK, &letters.iter().map(shown).collect())
    }
}

/// Whether the recorders forward to this queue.
fn is_retry(queue: &FunctionQueue) -> bool {
    queue.source.function == RETRY
}

/// Receives the first dead letters. The next call gets them again, whatever visibility timeout this one asks for.
fn receive(letters: &[Message], input: &Value) -> Value {
    let count = input["MaxNumberOfMessages"].as_u64().unwrap_or(1).clamp(1, MAX_RECEIVED);
    let shown = |letter: &Message| {
        let attribute = |(name, value): (&String, &String)| {
            (name.clone(), json!({ "DataType": "String", "StringValue": value }))
        };
        let attributes: Map<String, Value> = letter.label.attributes.iter().map(attribute).collect();
        let mut shown = json!({
            "MessageId": letter.id,
            "ReceiptHandle": letter.id,
            "MD5OfBody": body_md5(&letter.body),
            "Body": letter.body,
            "Attributes": { "ApproximateReceiveCount": letter.receives.to_string() },
        });
        if input["MessageAttributeNames"].is_array() {
            shown["MessageAttributes"] = attributes.into();
        }
        shown
    };
    json!({ "Messages": letters.iter().zip(0..count).map(|(letter, _)| shown(letter)).collect::<Vec<_>>() })
}

/// Sends a message to a queue, or to its dead letters.
fn send(queue: &Queue, input: &Value, sender: &str, is_dead: bool) -> Result<Value, AwsError> {
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
    let group = text(input, "MessageGroupId")?.map(str::to_owned);
    if group.as_ref().is_some_and(|group| !is_group_id(group)) {
        return Err(invalid(format!(
            "MessageGroupId must be 1 to {MAX_GROUP_ID_LEN} letters, digits and punctuation marks of ASCII."
        )));
    }
    let label = Label { sender: sender.to_owned(), group, attributes: attributes(input) };
    let id = if is_dead {
        queue.send_dead(body.to_owned(), label)
    } else {
        let id = queue.send_labelled(body.to_owned(), label, Duration::from_secs(delay));
        id.map_err(|full| AwsError::new(THROTTLED, full.to_string()))?
    };
    Ok(json!({ "MessageId": id, "MD5OfMessageBody": body_md5(body) }))
}

/// The message attributes that are texts.
fn attributes(input: &Value) -> BTreeMap<String, String> {
    let attributes = input["MessageAttributes"].as_object();
    let text =
        |(name, value): (&String, &Value)| Some((name.clone(), value["StringValue"].as_str()?.to_owned()));
    attributes.into_iter().flatten().filter_map(text).collect()
}

fn is_group_id(group: &str) -> bool {
    (1..=MAX_GROUP_ID_LEN).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_graphic())
}

fn send_batch(queue: &Queue, input: &Value, sender: &str, is_dead: bool) -> Result<Value, AwsError> {
    let entries = list(input, "Entries")?;
    check_batch(entries)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        match send(queue, entry, sender, is_dead) {
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

//! An SQS standard queue at its worst: it delivers in any order, some messages to two consumers at once, and a message
//! again until a consumer succeeds.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A message, with the number of times it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its `messageId`.
    pub id: String,
    /// Its body.
    pub body: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent: i64,
    /// How often it was received.
    pub receive_count: u32,
    /// Its `SenderId`.
    pub sender: String,
    /// Its `MessageGroupId`.
    pub group: Option<String>,
    /// The texts of its message attributes.
    pub attributes: BTreeMap<String, String>,
}

impl Message {
    /// A message that nobody received yet, sent at the start of every world.
    pub fn new(id: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            body: body.into(),
            sent: crate::world::START / 1000,
            receive_count: 0,
            sender: "AIDAEXAMPLE".into(),
            group: None,
            attributes: BTreeMap::new(),
        }
    }

    /// The same message, sent by a session of this role.
    #[must_use]
    pub fn from_role(self, role: &str) -> Self {
        Self { sender: format!("{role}:session"), ..self }
    }

    /// The payload with which Lambda's poller invokes a function for a batch.
    pub fn batch(messages: &[Self]) -> Value {
        let record = |message: &Self| {
            let attribute = |(name, value): (&String, &String)| {
                (name.clone(), json!({ "stringValue": value, "dataType": "String" }))
            };
            let attributes: Map<String, Value> = message.attributes.iter().map(attribute).collect();
            let mut record = json!({
                "messageId": message.id, "receiptHandle": format!("{}-{}", message.id, message.receive_count),
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receive_count.to_string(), "SenderId": message.sender,
                    "SentTimestamp": message.sent.to_string(),
                    "ApproximateFirstReceiveTimestamp": message.sent.to_string()
                },
                "messageAttributes": attributes, "md5OfBody": "", "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:record", "awsRegion": "us-east-1"
            });
            if let Some(group) = &message.group {
                record["attributes"]["MessageGroupId"] = json!(group);
            }
            record
        };
        json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() })
    }
}

/// A queue with its dead-letter queue. It has no visibility timeout: a message that failed is available again at once.
#[derive(Debug)]
pub struct Queue {
    random: fastrand::Rng,
    max_receives: u32,
    waiting: Vec<Message>,
    in_flight: usize,
    dead_letters: Vec<Message>,
}

impl Queue {
    /// A queue that moves a message to the dead-letter queue after this many receives.
    pub fn new(seed: u64, max_receives: u32) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, max_receives, waiting: Vec::new(), in_flight: 0, dead_letters: Vec::new() }
    }

    /// Sends a message.
    pub fn send(&mut self, message: Message) {
        self.waiting.push(message);
    }

    /// Receives up to `limit` random messages. One in fifty stays available to other consumers.
    pub fn receive(&mut self, limit: usize) -> Vec<Message> {
        let mut batch = Vec::new();
        while batch.len() < limit && !self.waiting.is_empty() {
            let index = self.random.usize(..self.waiting.len());
            let mut message = self.waiting.swap_remove(index);
            if message.receive_count >= self.max_receives {
                self.dead_letters.push(message);
                continue;
            }
            message.receive_count += 1;
            if self.random.u8(..50) == 0 {
                self.waiting.push(message.clone());
            }
            batch.push(message);
        }
        self.in_flight += batch.len();
        batch
    }

    /// Finishes a batch: returns the messages that `failed` names to the queue, and deletes the others.
    pub fn finish(&mut self, batch: Vec<Message>, failed: impl Fn(&str) -> bool) {
        self.in_flight -= batch.len();
        self.waiting.extend(batch.into_iter().filter(|message| failed(&message.id)));
    }

    /// Whether no message waits or is in flight.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    /// Removes and returns the messages of the dead-letter queue.
    pub fn take_dead_letters(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.dead_letters)
    }
}

/// The ids of the messages that a response reports as failed.
pub fn reported_failures(response: &Value) -> Vec<&str> {
    let failures = response["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap()).collect()
}

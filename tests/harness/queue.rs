//! An SQS standard queue at its worst: any order, some messages to two consumers at once, all of them again until
//! they are done with.

use serde_json::{Value, json};

/// A message, and how often it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its `messageId`.
    pub id: String,
    /// Its body.
    pub body: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent: i64,
    /// How often it was handed out.
    pub receives: u32,
}

impl Message {
    /// A message that was never handed out, sent at the worlds' beginning.
    pub fn new(id: impl Into<String>, body: impl Into<String>) -> Self {
        Self { id: id.into(), body: body.into(), sent: crate::world::START / 1000, receives: 0 }
    }

    /// A batch, as Lambda's poller hands it to a function.
    pub fn batch(messages: &[Self]) -> Value {
        let record = |message: &Self| {
            json!({
                "messageId": message.id, "receiptHandle": format!("{}-{}", message.id, message.receives),
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receives.to_string(), "SenderId": "AIDAEXAMPLE",
                    "SentTimestamp": message.sent.to_string(),
                    "ApproximateFirstReceiveTimestamp": message.sent.to_string()
                },
                "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:record", "awsRegion": "us-east-1"
            })
        };
        json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() })
    }
}

/// The queue and its dead-letter queue. Time does not count: a message that a consumer gave back, or died with, is
/// there again at once.
#[derive(Debug)]
pub struct Queue {
    random: fastrand::Rng,
    most_receives: u32,
    waiting: Vec<Message>,
    in_flight: usize,
    dead: Vec<Message>,
}

impl Queue {
    /// A queue that hands a message out so many times before it is dead.
    pub fn new(seed: u64, most_receives: u32) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, most_receives, waiting: Vec::new(), in_flight: 0, dead: Vec::new() }
    }

    /// Sends a message.
    pub fn send(&mut self, message: Message) {
        self.waiting.push(message);
    }

    /// Hands out up to `most` messages, whichever; one in fifty stays for another consumer too.
    pub fn receive(&mut self, most: usize) -> Vec<Message> {
        let mut batch = Vec::new();
        while batch.len() < most && !self.waiting.is_empty() {
            let at = self.random.usize(..self.waiting.len());
            let mut message = self.waiting.swap_remove(at);
            if message.receives >= self.most_receives {
                self.dead.push(message);
                continue;
            }
            message.receives += 1;
            if self.random.u8(..50) == 0 {
                self.waiting.push(message.clone());
            }
            batch.push(message);
        }
        self.in_flight += batch.len();
        batch
    }

    /// Ends a batch: what `failed` names is there again, and the rest is gone.
    pub fn end(&mut self, batch: Vec<Message>, failed: impl Fn(&str) -> bool) {
        self.in_flight -= batch.len();
        self.waiting.extend(batch.into_iter().filter(|message| failed(&message.id)));
    }

    /// Whether nothing waits and nobody works.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    /// Takes what is in the dead-letter queue.
    pub fn take_dead(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.dead)
    }
}

/// The messages that an answer reports.
pub fn reported(answer: &Value) -> Vec<&str> {
    let failures = answer["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap()).collect()
}

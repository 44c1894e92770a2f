//! From a queue to its function: what Lambda's event source mapping does.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::answer;
use crate::aws::{ACCOUNT, Asynchronous, REGION, arn};
use crate::functions::{Function, Functions};
use crate::queue::{Message, Queue};
use crate::template::QueueSource;

/// How many batches are worked on at once: more than one, so that they meet as they do in Lambda.
const CONSUMERS: usize = 2;
/// How long the queue is worked off when the gateway stops. What cannot be recorded would take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A queue and the function it feeds.
pub(crate) struct Pipeline {
    pub(crate) queue: Queue,
    functions: Arc<Functions>,
    function: Function,
    source: QueueSource,
}

impl Pipeline {
    /// Batches from `queue`, as `source` says.
    pub(crate) fn new(
        queue: Queue,
        functions: Arc<Functions>,
        function: Function,
        source: QueueSource,
    ) -> Self {
        Self { queue, functions, function, source }
    }

    /// The logical ids of the queue and of its dead-letter queue.
    pub(crate) fn names(&self) -> (&str, &str) {
        (&self.source.queue, &self.source.dead_letters)
    }

    /// Works on the queue, one batch after the other.
    async fn consume(self: Arc<Self>) {
        loop {
            self.batch().await;
        }
    }

    /// Works on one batch. The window in which Lambda gathers one is left out: nobody wants to wait here.
    async fn batch(&self) {
        let batch = self.queue.receive(self.source.batch_size).await;
        let event =
            json!({ "Records": batch.iter().map(|message| self.record(message)).collect::<Vec<_>>() });
        let (request_id, payload) = (answer::request_id(), event.to_string().into_bytes());
        let answer = self.functions.invoke(self.function, payload, &request_id, self.source.timeout).await;
        let failed = match answer {
            Ok(answer) if self.source.reports_failures => reported(&answer, &batch),
            Ok(_) => Some(HashSet::new()),
            Err(failure) => {
                tracing::warn!(request_id, "a batch of {} messages failed: {failure}", batch.len());
                None
            }
        };
        let is_done = |message: &Message| failed.as_ref().is_some_and(|failed| !failed.contains(&message.id));
        self.queue.settle(batch, is_done);
    }

    /// A message as the event of a batch has it.
    fn record(&self, message: &Message) -> Value {
        let millis = |time: shared::time::Timestamp| time.utc().timestamp_millis().to_string();
        json!({
            "messageId": message.id,
            "receiptHandle": format!("{}.{}", message.id, message.receives),
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": message.receives.to_string(),
                "SentTimestamp": millis(message.sent),
                "SenderId": ACCOUNT,
                "ApproximateFirstReceiveTimestamp": millis(message.first_received),
            },
            "messageAttributes": {},
            "md5OfBody": md5(&message.body),
            "eventSource": "aws:sqs",
            "eventSourceARN": arn("sqs", &self.source.queue),
            "awsRegion": REGION,
        })
    }
}

/// The messages that a function's answer reports as failed; `None` for all of them, as Lambda has it when the answer
/// is not of its form.
fn reported(answer: &Value, batch: &[Message]) -> Option<HashSet<String>> {
    let failures = match &answer["batchItemFailures"] {
        Value::Null if answer.is_null() || answer.is_object() => return Some(HashSet::new()),
        Value::Array(failures) => failures,
        _ => return None,
    };
    let identifier = |failure: &Value| {
        let id = failure["itemIdentifier"].as_str()?;
        batch.iter().any(|message| message.id == id).then(|| id.to_owned())
    };
    let failed: Option<_> = failures.iter().map(identifier).collect();
    if failed.is_none() {
        tracing::warn!("the answer reports failures of no message in the batch; all of it comes again");
    }
    failed
}

/// The digest by which SQS lets a sender check what arrived.
pub(crate) fn md5(body: &str) -> String {
    Md5::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What works on a queue while the gateway serves. Dropped, it says what is lost: all of it is in memory.
pub(crate) struct Running {
    pipeline: Arc<Pipeline>,
    asynchronous: Asynchronous,
    _consumers: JoinSet<()>,
}

impl Running {
    /// Begins to work on the queue; asynchronous invocations begin by themselves.
    pub(crate) fn start(pipeline: &Arc<Pipeline>, asynchronous: &Asynchronous) -> Self {
        let consumers = (0..CONSUMERS).map(|_| Arc::clone(pipeline).consume()).collect();
        Self { pipeline: Arc::clone(pipeline), asynchronous: asynchronous.clone(), _consumers: consumers }
    }

    /// The messages and the asynchronous invocations that have not come to their end.
    fn left(&self) -> (usize, usize) {
        (self.pipeline.queue.len(), self.asynchronous.count())
    }

    /// Lets everything come to its end, as far as it does in some time.
    pub(crate) async fn finish(self) {
        let finished = async {
            self.pipeline.queue.emptied().await;
            self.asynchronous.finished().await;
        };
        if self.left() != (0, 0) {
            tracing::info!("the queue is worked off; another interrupt drops what is in it");
        }
        tokio::time::timeout(PATIENCE, finished).await.ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (messages, invocations) = self.left();
        if messages + invocations > 0 {
            tracing::error!(messages, invocations, "lost: what was not worked off was in memory only");
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::time::Timestamp;

    use super::*;

    fn message(id: &str) -> Message {
        let sent = Timestamp::parse("now", "2026-11-20T09:30:00.25Z").unwrap();
        let (first_received, last_received) = (sent, sent);
        Message { id: id.into(), body: "{}".into(), sent, first_received, last_received, receives: 1 }
    }

    #[test]
    fn an_answer_names_what_failed_or_everything_did() {
        let batch = ["a", "b"].map(message);
        let failed = |answer| {
            let mut failed: Vec<String> = reported(&answer, &batch)?.into_iter().collect();
            failed.sort();
            Some(failed.join(" "))
        };
        for (answer, expected) in [
            (json!(null), Some("")),
            (json!({}), Some("")),
            (json!({ "batchItemFailures": null }), Some("")),
            (json!({ "batchItemFailures": [] }), Some("")),
            (json!({ "batchItemFailures": [{ "itemIdentifier": "b" }] }), Some("b")),
            (
                json!({ "batchItemFailures": [{ "itemIdentifier": "b" }, { "itemIdentifier": "a" }] }),
                Some("a b"),
            ),
            (json!({ "batchItemFailures": [{ "itemIdentifier": "" }] }), None),
            (json!({ "batchItemFailures": [{ "itemIdentifier": null }] }), None),
            (json!({ "batchItemFailures": [{ "itemIdentifier": "b" }, { "messageId": "a" }] }), None),
            (json!({ "batchItemFailures": [{ "itemIdentifier": "c" }] }), None),
            (json!({ "batchItemFailures": "a" }), None),
            (json!([]), None),
            (json!("done"), None),
        ] {
            assert_eq!(failed(answer.clone()).as_deref(), expected, "{answer}");
        }
    }

    #[test]
    fn the_digest_is_the_one_that_senders_expect() {
        assert_eq!(md5("This is a test message"), "fafb00f5732ab283681e124bf8747ed1");
    }
}

//! Feeds a function from a queue, as Lambda's event source mapping does.

use std::collections::HashSet;
use std::sync::Arc;

use domain::time::Timestamp;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::functions::{Function, Functions};
use crate::queue::{Message, Queue, body_md5};
use crate::resource_names::{ACCOUNT, REGION, arn};
use crate::response::new_request_id;
use crate::template::QueueSource;

/// Batches in progress. More than one lets batches collide, as they do in Lambda.
const MAX_CONCURRENT_BATCHES: usize = 2;

/// Feeds a function from a queue.
pub(crate) struct QueuePoller {
    pub(crate) queue: Arc<Queue>,
    pub(crate) functions: Arc<Functions>,
    pub(crate) function: Function,
    pub(crate) source: QueueSource,
}

impl QueuePoller {
    /// Starts to feed the function, until the returned tasks are dropped.
    pub(crate) fn start(self) -> JoinSet<()> {
        let poller = Arc::new(self);
        let consume = || {
            let poller = Arc::clone(&poller);
            async move {
                loop {
                    poller.deliver_batch().await;
                }
            }
        };
        (0..MAX_CONCURRENT_BATCHES).map(|_| consume()).collect()
    }

    /// Receives one batch and delivers it. It gathers no batch for a window, as Lambda does, because nobody wants to wait here.
    async fn deliver_batch(&self) {
        let batch = self.queue.receive(self.source.batch_size).await;
        let records: Vec<Value> = batch.iter().map(|message| self.event_record(message)).collect();
        let payload = json!({ "Records": records }).to_string().into_bytes();
        let request_id = new_request_id();
        let answer = self.functions.invoke(self.function, payload, &request_id, self.source.timeout).await;
        let failed = match answer {
            Ok(answer) if self.source.reports_failures => reported_failures(&answer, &batch),
            Ok(_) => Some(HashSet::new()),
            Err(failure) => {
                tracing::warn!(request_id, messages = batch.len(), %failure, "failed batch of the queue");
                None
            }
        };
        let is_done = |message: &Message| failed.as_ref().is_some_and(|failed| !failed.contains(&message.id));
        self.queue.settle(batch, is_done);
    }

    /// A message as a member of an event's `Records`.
    fn event_record(&self, message: &Message) -> Value {
        let sender = Some(message.label.sender.as_str()).filter(|sender| !sender.is_empty());
        let attribute = |(name, value): (&String, &String)| {
            let value = json!({ "stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": "String" });
            (name.clone(), value)
        };
        let attributes: Map<String, Value> = message.label.attributes.iter().map(attribute).collect();
        let millis = |time: Timestamp| time.utc().timestamp_millis().to_string();
        let mut record = json!({
            "messageId": message.id,
            "receiptHandle": format!("{}.{}", message.id, message.receives),
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": message.receives.to_string(),
                "SentTimestamp": millis(message.sent),
                "SenderId": sender.unwrap_or(ACCOUNT),
                "ApproximateFirstReceiveTimestamp": millis(message.first_received),
            },
            "messageAttributes": attributes,
            "md5OfBody": body_md5(&message.body),
            "eventSource": "aws:sqs",
            "eventSourceARN": arn("sqs", &self.source.queue),
            "awsRegion": REGION,
        });
        if let Some(group) = &message.label.group {
            record["attributes"]["MessageGroupId"] = group.as_str().into();
        }
        record
    }
}

/// The ids of the messages that an answer reports as failed. Returns `None` when the whole batch failed, as it does for Lambda
/// after a malformed answer.
fn reported_failures(answer: &Value, batch: &[Message]) -> Option<HashSet<String>> {
    let failures = match &answer["batchItemFailures"] {
        Value::Null if answer.is_null() || answer.is_object() => return Some(HashSet::new()),
        Value::Array(failures) => failures,
        _ => return None,
    };
    let message_id = |failure: &Value| {
        let id = failure["itemIdentifier"].as_str()?;
        batch.iter().any(|message| message.id == id).then(|| id.to_owned())
    };
    let failed: Option<_> = failures.iter().map(message_id).collect();
    if failed.is_none() {
        tracing::warn!("report of an unknown message, failed whole batch");
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Label;

    fn message(id: &str) -> Message {
        let sent = Timestamp::parse("now", "2026-11-20T09:30:00.25Z").unwrap();
        let (first_received, last_received) = (sent, sent);
        Message {
            id: id.into(),
            body: "{}".into(),
            label: Label::default(),
            sent,
            first_received,
            last_received,
            receives: 1,
        }
    }

    #[test]
    fn malformed_reports_fail_the_whole_batch() {
        let batch = ["a", "b"].map(message);
        let failed = |answer| {
            let mut failed: Vec<String> = reported_failures(&answer, &batch)?.into_iter().collect();
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
}

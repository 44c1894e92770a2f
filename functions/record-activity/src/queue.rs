//! Recording from SQS: each message's body is an event, or an EventBridge envelope around one.

use std::collections::BTreeMap;

use chrono::DateTime;
use lambda_runtime::{Context, Diagnostic};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::event::{Defaults, Event};
use shared::time::Timestamp;
use shared::{Error, Result, json as strict};

use crate::{App, Source, envelope};

/// A batch, as Lambda's poller hands it over.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    records: Vec<Message>,
}

/// A message, as far as it counts here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    event_source: String,
    body: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    /// Milliseconds since 1970.
    sent_timestamp: String,
    /// How often the message has been handed out, this time included.
    approximate_receive_count: String,
}

/// Records a batch of messages, and reports those whose events are not in the log: SQS delivers them again, and hands
/// them to the dead-letter queue in the end. The others are done with.
///
/// # Errors
/// When the records are not SQS's; nothing is recorded then.
pub(crate) async fn consume(app: &App, payload: Value, context: &Context) -> Result<Value, Diagnostic> {
    let Batch { records } = serde_json::from_value(payload).map_err(shell::unreadable)?;
    if let Some(other) = records.iter().find(|message| message.event_source != "aws:sqs") {
        let error_message =
            format!("records of {} are not understood, only those of aws:sqs", other.event_source);
        return Err(Diagnostic { error_type: "InvalidEvent".into(), error_message });
    }
    let (mut names, mut read) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
    for message in records {
        read.push(event(app, &message));
        names.push((message.message_id, message.attributes.approximate_receive_count));
    }
    let results = app.record(Source::Queue, &context.request_id, read, shell::deadline(Some(context))).await;
    let (mut failures, mut for_now) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for ((message_id, receives), result) in names.into_iter().zip(results) {
        let Err(error) = result else { continue };
        failures.push(json!({ "itemIdentifier": message_id }));
        // The dead-letter queue keeps the message, but not why it is there.
        if error.is_ours() {
            // What is away is so for many.
            for_now.entry(error.chain()).or_default().push(message_id);
        } else {
            tracing::warn!(message_id, receives, reason = error.chain(), "a message cannot be recorded");
        }
    }
    for (error, messages) in for_now {
        tracing::error!(error, messages = messages.join(" "), "messages were not recorded for now");
    }
    Ok(json!({ "batchItemFailures": failures }))
}

fn event(app: &App, message: &Message) -> Result<Event> {
    let sent = message.attributes.sent_timestamp.parse().ok().and_then(DateTime::from_timestamp_millis);
    let sent = sent.ok_or_else(|| Error::bad_input("SentTimestamp", "must be milliseconds since 1970"))?;
    let defaults = Defaults {
        created_at: Timestamp::truncate(sent),
        ..app.defaults(message.message_id.clone(), "messageId")
    };
    envelope::read(strict::parse(message.body.as_bytes())?, defaults)
}

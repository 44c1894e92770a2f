//! Recording from SQS: the body of each message is an event, or an EventBridge envelope around one.

use std::collections::BTreeMap;

use chrono::DateTime;
use domain::event::{Defaults, InputEvent};
use domain::time::Timestamp;
use domain::{Error, Result, json as strict};
use lambda_runtime::{Context, Diagnostic};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{App, Source, envelope};

/// A batch of messages, as Lambda's poller hands it over.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    records: Vec<Message>,
}

/// The members of a message that matter here.
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
    /// How often the message was delivered, this time included.
    approximate_receive_count: String,
}

/// Records a batch of messages, and reports those whose events are not in the log. SQS delivers these again, and moves them
/// to the dead-letter queue in the end. It deletes the others.
///
/// # Errors
/// When the records are not SQS's; nothing is recorded then.
pub(crate) async fn consume(app: &App, payload: Value, context: &Context) -> Result<Value, Diagnostic> {
    let Batch { records } = serde_json::from_value(payload).map_err(lambda_support::invalid_event)?;
    if let Some(other) = records.iter().find(|message| message.event_source != "aws:sqs") {
        let error_message =
            format!("records of {} are not understood, only those of aws:sqs", other.event_source);
        return Err(Diagnostic { error_type: "InvalidEvent".into(), error_message });
    }
    let (mut messages, mut parsed) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
    for message in records {
        parsed.push(parse(app, &message));
        messages.push((message.message_id, message.attributes.approximate_receive_count));
    }
    let deadline = lambda_support::deadline(Some(context));
    let results = app.record(Source::Queue, &context.request_id, parsed, deadline).await;
    let (mut failures, mut unavailable) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for ((message_id, receives), result) in messages.into_iter().zip(results) {
        let Err(error) = result else { continue };
        failures.push(json!({ "itemIdentifier": message_id }));
        // The dead-letter queue keeps the message, but not the reason, so the log has it.
        if error.is_ours() {
            // An unavailable table fails many messages, which share a line.
            unavailable.entry(error.chain()).or_default().push(message_id);
        } else {
            tracing::warn!(message_id, receives, reason = error.chain(), "refused message");
        }
    }
    for (error, messages) in unavailable {
        tracing::error!(error, messages = messages.join(" "), "failed messages");
    }
    Ok(json!({ "batchItemFailures": failures }))
}

fn parse(app: &App, message: &Message) -> Result<InputEvent> {
    let sent = message.attributes.sent_timestamp.parse().ok().and_then(DateTime::from_timestamp_millis);
    let sent = sent.ok_or_else(|| Error::bad_input("SentTimestamp", "must be milliseconds since 1970"))?;
    let defaults = Defaults {
        created_at: Timestamp::truncate(sent),
        ..app.defaults(message.message_id.clone(), "messageId")
    };
    envelope::parse(strict::parse(message.body.as_bytes())?, defaults)
}

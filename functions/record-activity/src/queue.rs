//! Recording from SQS: the body of each message is an event, or, in the queue of the bus, an EventBridge envelope around
//! one.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use chrono::DateTime;
use domain::activity::Activity;
use domain::directory::Superseded;
use domain::event::{Defaults, InputEvent};
use domain::provenance::Source;
use domain::time::Timestamp;
use domain::{Error, Result, json as strict};
use lambda_runtime::{Context, Diagnostic};
use serde_json::Value;

use crate::{App, envelope};

const SQS: &str = "aws:sqs";
const SENT_TIMESTAMP: &str = "SentTimestamp";
/// The attribute with the sender: the id of a user, or of a role and, after a colon, the name of its session.
const SENDER_ID: &str = "SenderId";

/// Records a batch of messages, and reports those whose events are not in the log. SQS delivers these again, and moves them
/// to the dead-letter queue in the end. It deletes the others.
///
/// # Errors
/// When the records are not SQS's, or one has no id to report it by; nothing is recorded then.
pub(crate) async fn consume(app: &App, payload: Value, context: &Context) -> Result<Value, Diagnostic> {
    let SqsEvent { records, .. } = serde_json::from_value(payload).map_err(lambda_support::invalid_event)?;
    let mut messages = Vec::with_capacity(records.len());
    for mut message in records {
        match (message.event_source.as_deref(), message.message_id.take()) {
            (Some(SQS), Some(id)) => messages.push((id, message)),
            (Some(SQS), None) => {
                return Err(lambda_support::invalid_event("a message without messageId cannot be reported"));
            }
            (other, _) => {
                let other = other.unwrap_or("an unknown source");
                let error = format!("records of {other} are not understood, only those of {SQS}");
                return Err(lambda_support::invalid_event(error));
            }
        }
    }
    let parsed = messages.iter().map(|(id, message)| parse(app, id, message)).collect();
    let deadline = lambda_support::deadline(Some(context));
    let results = app.record(&context.request_id, parsed, deadline).await;
    let (mut response, mut unavailable) =
        (SqsBatchResponse::default(), BTreeMap::<String, Vec<String>>::new());
    for ((message_id, message), result) in messages.into_iter().zip(results) {
        let error = match result {
            Err(error) => error,
            Ok(outcome) => {
                if let Some(superseded) = outcome.superseded() {
                    log_superseded(&message_id, outcome.activity(), superseded);
                }
                continue;
            }
        };
        response.add_failure(&message_id);
        // The dead-letter queue keeps the message, but not the reason, so the log has it.
        if error.is_ours() {
            // An unavailable table fails many messages, which share a line.
            unavailable.entry(error.chain()).or_default().push(message_id);
        } else {
            let receives = message.attributes.get("ApproximateReceiveCount");
            tracing::warn!(message_id, receives, reason = error.chain(), "refused message");
        }
    }
    for (error, messages) in unavailable {
        tracing::error!(error, messages = messages.join(" "), "failed messages");
    }
    serde_json::to_value(response).map_err(lambda_support::invalid_event)
}

fn parse(app: &App, id: &str, message: &SqsMessage) -> Result<InputEvent> {
    let sent = message.attributes.get(SENT_TIMESTAMP).and_then(|sent| sent.parse().ok());
    let sent = sent.and_then(DateTime::from_timestamp_millis);
    let sent = sent.ok_or_else(|| Error::bad_input(SENT_TIMESTAMP, "must be milliseconds since 1970"))?;
    let body = message.body.as_deref().ok_or_else(|| Error::bad_input("body", "is required"))?;
    // Whoever assumes the role names its session, so that only the role counts.
    let sender = message.attributes.get(SENDER_ID).map_or("", String::as_str);
    let role = sender.split(':').next().filter(|role| !role.is_empty());
    let sender = app.ingress.sender(role.as_slice());
    let defaults = Defaults {
        created_at: Timestamp::truncate(sent),
        ..app.defaults(&sender, id.to_owned(), "messageId")
    };
    let value = strict::parse(body.as_bytes())?;
    if app.ingress.source == Source::EventBus {
        return envelope::parse(value, defaults, &app.ingress);
    }
    if envelope::is_envelope(&value) {
        let detail = "must be the event itself: whoever sends to this queue could make up an envelope; put the event on \
                      the bus instead";
        return Err(Error::bad_input("body", detail));
    }
    sender.admit(InputEvent::parse(value, &defaults)?)
}

/// Logs that an event of a workspace or a member had no effect.
fn log_superseded(message_id: &str, activity: &Activity, superseded: &Superseded) {
    let Superseded { by, send_again_after } = superseded;
    let (workspace, id) = (activity.workspace_id.as_str(), activity.id.as_str());
    let send_again_after = send_again_after.map(|time| time.to_string());
    tracing::warn!(
        message_id,
        workspace,
        id,
        superseded_by = by.as_str(),
        send_again_after,
        "recorded without effect"
    );
}

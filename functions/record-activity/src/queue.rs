//! Recording from SQS: the body of each message is an event, or, in the queue of the bus, an EventBridge envelope around
//! one. SNS, or a pipe, may have put its own wrapping around it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use domain::activity::Activity;
use domain::directory::Superseded;
use domain::event::{Defaults, InputEvent};
use domain::json::{self, Document};
use domain::provenance::Source;
use domain::{Error, Result};
use lambda_runtime::{Context, Diagnostic};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use crate::forward::{Destination, Forward, LAST_RECEIVES};
use crate::origin::Origin;
use crate::{App, envelope, wrapping};

const SQS: &str = "aws:sqs";
/// Time kept at the end of an invocation with messages that only an outage keeps from being recorded, to forward them.
const FORWARDING_TIME: Duration = Duration::from_secs(3);

/// Records a batch of messages, and reports those whose events are neither in the log nor forwarded. SQS delivers these
/// again, and moves them to a dead-letter queue in the end. It deletes the others.
///
/// A message may be forwarded more than once, when the function ends before SQS deletes it. Its event is recorded once all
/// the same, because a forwarded message keeps the first one's id.
///
/// # Errors
/// When the records are not SQS's, or one has no id to report it by; nothing is recorded then.
pub(crate) async fn consume(
    app: &App,
    payload: &RawValue,
    context: &Context,
) -> Result<Box<RawValue>, Diagnostic> {
    let SqsEvent { records, .. } =
        serde_json::from_str(payload.get()).map_err(lambda_support::invalid_event)?;
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
    let origins: Vec<Result<Origin>> =
        messages.iter().map(|(id, message)| origin(app, id, message)).collect();
    let parsed = messages.iter().zip(&origins);
    let parsed = parsed.map(|((_, message), origin)| match origin {
        Ok(origin) => parse(app, origin, message),
        Err(error) => Err(error.duplicate()),
    });
    let parsed = parsed.collect();
    let deadline = lambda_support::deadline(Some(context));
    let is_last = messages.iter().any(|(_, message)| receives(message) >= LAST_RECEIVES);
    let until = if is_last && app.forwarder.is_some() { deadline - FORWARDING_TIME } else { deadline };
    let results = app.record(&context.request_id, parsed, until).await;
    let mut failed = Vec::new();
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Err(error) => failed.push((index, error)),
            Ok(outcome) => {
                if let Some(superseded) = outcome.superseded() {
                    log_superseded(&messages[index].0, outcome.activity(), superseded);
                }
            }
        }
    }
    let forwarded = forward(app, &messages, &origins, &failed, deadline).await;
    let (mut response, mut unavailable) = (SqsBatchResponse::default(), BTreeMap::<String, Vec<&str>>::new());
    for ((index, error), destination) in failed.into_iter().zip(forwarded) {
        let (message_id, message) = &messages[index];
        if destination.is_none() {
            response.add_failure(message_id);
        }
        // SQS keeps the message, but not the reason, so the log has it.
        if error.is_ours() {
            // An unavailable table fails many messages, which share a line.
            unavailable.entry(error.chain()).or_default().push(message_id);
        } else if let Some(Destination::Retry(delay, _)) = destination {
            tracing::info!(message_id, delay, reason = error.chain(), "parked message");
        } else {
            let receives = receives(message);
            tracing::warn!(message_id, receives, reason = error.chain(), "refused message");
        }
    }
    for (error, messages) in unavailable {
        tracing::error!(error, messages = messages.join(" "), "failed messages");
    }
    to_raw_value(&response).map_err(lambda_support::invalid_event)
}

/// Forwards those of the failed messages that need not be tried again here, and returns for each of `failed` where it
/// went; `None` for those that stay.
async fn forward(
    app: &App,
    messages: &[(String, SqsMessage)],
    origins: &[Result<Origin>],
    failed: &[(usize, Error)],
    deadline: Instant,
) -> Vec<Option<Destination>> {
    let mut forwarded = vec![None; failed.len()];
    let Some(forwarder) = &app.forwarder else { return forwarded };
    let now = (app.clock)();
    let (mut positions, mut forwards) = (Vec::new(), Vec::new());
    for (position, (index, error)) in failed.iter().enumerate() {
        let (id, message) = &messages[*index];
        // A message that claims to be forwarded and is not is refused under its own name.
        let origin = origins[*index].as_ref().ok().cloned();
        let Some(origin) = origin.or_else(|| Origin::of(id, message, Source::Queue).ok()) else { continue };
        let destination = Destination::of(error, origin.parked, receives(message), now);
        // SQS takes no empty body.
        let body = message.body.as_deref().filter(|body| !body.is_empty());
        if let (Some(destination), Some(body)) = (destination, body) {
            forwards.push(Forward { origin, body, destination, error });
            positions.push(position);
        }
    }
    let sent = forwarder.send(&forwards, deadline).await;
    for ((position, forward), sent) in positions.into_iter().zip(forwards).zip(sent) {
        forwarded[position] = sent.then_some(forward.destination);
    }
    forwarded
}

/// The origin of a message in the queue of this function.
fn origin(app: &App, id: &str, message: &SqsMessage) -> Result<Origin> {
    match &app.ingress.forwarded {
        Some(forwarded) => Origin::forwarded(message, forwarded),
        None => Origin::of(id, message, app.ingress.source),
    }
}

fn parse(app: &App, origin: &Origin, message: &SqsMessage) -> Result<InputEvent> {
    let body = message.body.as_deref().ok_or_else(|| Error::bad_input("body", "is required"))?;
    let role = Some(origin.sender.as_str()).filter(|sender| !sender.is_empty());
    let sender = app.ingress.sender(origin.source, role.as_slice());
    let mut defaults =
        Defaults { created_at: origin.sent, ..app.defaults(&sender, origin.id.clone(), "messageId") };
    let document = Document::read(&json::parse("body", body.as_bytes())?);
    if origin.source == Source::EventBus {
        return envelope::parse(document, defaults, &app.ingress);
    }
    let document = wrapping::unwrap(document, &mut defaults)?;
    if wrapping::is_envelope(&document.value) {
        let detail = "must be the event itself: whoever sends to this queue could make up an envelope; put the event on \
                      the bus instead";
        return Err(Error::bad_input("body", detail));
    }
    sender.admit(InputEvent::parse(wrapping::event(document)?, &defaults)?)
}

/// How often a message was received, this time included.
fn receives(message: &SqsMessage) -> u32 {
    let receives = message.attributes.get("ApproximateReceiveCount");
    receives.and_then(|receives| receives.parse().ok()).unwrap_or_default()
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

//! The wrappings that queues, topics and pipes put around an event. A wrapping is taken off where that believes nobody's
//! word for who sent the event: the sender stays the one who was verified. Anything else that is known, and is no event, is
//! refused with words that help.

use chrono::DateTime;
use domain::event::{Defaults, MAX_TIME_LEN};
use domain::ids::MAX_ID_LEN;
use domain::json::{self, Document, Json, Members};
use domain::time::Timestamp;
use domain::{Error, Result};

use crate::cloud_event;

/// The most wrappings around an event: a topic, a queue and a pipe.
const MAX_WRAPPINGS: usize = 3;

/// The member of EventBridge's envelope that says the kind of event.
pub(crate) const DETAIL_TYPE: &str = "detail-type";

/// Whether a value is EventBridge's envelope and no event: no event has a member of this name.
pub(crate) fn is_envelope(value: &Json) -> bool {
    member(value, DETAIL_TYPE).is_some()
}

fn member<'a>(value: &'a Json, name: &str) -> Option<&'a Json> {
    value.as_object()?.get(name)
}

/// The text of a member.
fn text<'a>(value: &'a Json, name: &str) -> Option<&'a str> {
    member(value, name)?.as_str()
}

/// Takes off what SNS and EventBridge Pipes put around the message of a queue. Their id and time of the message become
/// those of `defaults`, because a message keeps them when it is delivered again.
///
/// # Errors
/// [`Error::BadInput`] of a wrapping that is malformed, or holds no JSON.
pub(crate) fn unwrap(mut document: Document, defaults: &mut Defaults) -> Result<Document> {
    for _ in 0..MAX_WRAPPINGS {
        document = if is_notification(&document.value) {
            notification(document, defaults)?
        } else if is_queue_record(&document.value) {
            queue_record(document, defaults)?
        } else {
            break;
        };
    }
    Ok(document)
}

/// Whether a value has a wrapping that [`unwrap`] takes off.
pub(crate) fn is_wrapped(value: &Json) -> bool {
    is_notification(value) || is_queue_record(value)
}

/// Whether it is what SNS sends to the subscribers of a topic, without raw delivery.
fn is_notification(value: &Json) -> bool {
    text(value, "Type") == Some("Notification") && text(value, "Message").is_some()
}

fn notification(document: Document, defaults: &mut Defaults) -> Result<Document> {
    let mut notification = Members::outermost(document.sound()?)?;
    if let Some(id) = notification.text("MessageId", MAX_ID_LEN)? {
        defaults.id = (id, "MessageId");
    }
    if let Some(time) = notification.text("Timestamp", MAX_TIME_LEN)? {
        defaults.created_at = Timestamp::parse("Timestamp", &time)?;
    }
    inner("Message", notification.take("Message"))
}

/// Whether it is a message of another queue, as a pipe sends it on.
fn is_queue_record(value: &Json) -> bool {
    text(value, "eventSource") == Some("aws:sqs") && text(value, "body").is_some()
}

fn queue_record(document: Document, defaults: &mut Defaults) -> Result<Document> {
    let mut record = Members::outermost(document.sound()?)?;
    if let Some(id) = record.text("messageId", MAX_ID_LEN)? {
        defaults.id = (id, "messageId");
    }
    let attributes = record.take("attributes").unwrap_or(Json::Null);
    let sent = text(&attributes, "SentTimestamp").and_then(|millis| millis.parse().ok());
    if let Some(sent) = sent.and_then(DateTime::from_timestamp_millis) {
        defaults.created_at = Timestamp::truncate(sent);
    }
    inner("body", record.take("body"))
}

/// The JSON in a text.
fn inner(field: &str, text: Option<Json>) -> Result<Document> {
    let text = text.as_ref().and_then(Json::as_str).unwrap_or_default();
    Ok(Document::read(&json::parse(field, text.as_bytes())?))
}

/// The event that a value is, or that a CloudEvent has.
///
/// # Errors
/// As [`cloud_event::event`], and [`Error::BadInput`] of `body` when the value is known to be something else than an event.
pub(crate) fn event(document: Document) -> Result<Document> {
    if cloud_event::is_one(&document.value) {
        return cloud_event::event(document);
    }
    match foreign(&document.value) {
        None => Ok(document),
        Some(detail) => Err(Error::bad_input("body", format!("must be an event, and is {detail}"))),
    }
}

/// The name of something that is known and is no event, and what to do instead.
fn foreign(value: &Json) -> Option<String> {
    let what = match value {
        Json::String(text) if text.trim_start().starts_with(['{', '[']) => {
            "a string that holds JSON: it was encoded as JSON twice"
        }
        Json::Array(items) if items.first().and_then(Json::as_str).is_some() => {
            "a pointer to S3, as a client for large messages sends it: send the event itself"
        }
        Json::Array(_) => "an array: send each event in a message of its own",
        _ if is_envelope(value) => "an envelope of EventBridge: send its detail, or put it on the bus",
        _ if is_notification(value) => {
            "a notification of SNS: send its Message, or subscribe the queue to the topic"
        }
        _ if text(value, "Type").is_some() && text(value, "TopicArn").is_some() => {
            "no notification of SNS: it is about the subscription itself, which must be confirmed"
        }
        _ if text(value, "Event") == Some("s3:TestEvent") => {
            "the test of a bucket's notifications, which are no events for this log"
        }
        _ if member(value, "requestPayload").is_some() => {
            "the record of an invocation, as Lambda sends it to a destination: send its requestPayload"
        }
        _ if matches!(member(value, "Entries"), Some(Json::Array(_))) => {
            "the input of PutEvents or SendMessageBatch: send it to EventBridge or SQS"
        }
        _ => return foreign_records(value),
    };
    Some(what.to_owned())
}

/// The same of records, whose source it names.
fn foreign_records(value: &Json) -> Option<String> {
    if let Some(Json::Array(records)) = member(value, "Records") {
        let first = records.first().unwrap_or(&Json::Null);
        let source = text(first, "eventSource").or_else(|| text(first, "EventSource"));
        let source = source.unwrap_or("another service");
        return Some(format!("a batch of records of {source:.64}: send the events that they are about"));
    }
    let source = text(value, "eventSource")?;
    Some(format!("a record of {source:.64}: let the pipe's input template make an event of it"))
}

#[cfg(test)]
mod tests {
    use domain::provenance::{RecordedBy, Source};
    use serde_json::{Value, json};

    use super::*;

    fn defaults() -> Defaults {
        let now = Timestamp::parse("t", "2025-06-01T12:00:00Z").unwrap();
        let recorded_by = RecordedBy::new(Source::Queue, &["AROAEXAMPLE"]);
        Defaults { id: ("message-1".into(), "messageId"), workspace: None, created_at: now, now, recorded_by }
    }

    fn notification(message: &str) -> Value {
        json!({
            "Type": "Notification", "MessageId": "sns-1", "TopicArn": "arn:aws:sns:us-east-1:123456789012:tracker",
            "Message": message, "Timestamp": "2025-06-01T11:59:00.123Z", "SignatureVersion": "1", "Signature": "x",
            "SigningCertURL": "https://example.com", "UnsubscribeURL": "https://example.com",
            "MessageAttributes": { "kind": { "Type": "String", "Value": "x" } }
        })
    }

    fn record(body: &str) -> Value {
        json!({
            "messageId": "first-1", "receiptHandle": "r", "body": body, "md5OfBody": "m", "messageAttributes": {},
            "attributes": { "SentTimestamp": "1748779140123", "SenderId": "AROAMADEUP" },
            "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:q", "awsRegion": "us-east-1"
        })
    }

    #[test]
    fn wrappings_are_taken_off_with_their_ids_and_times() {
        let event = json!({ "action": "a.b" });
        for (wrapped, id) in [
            (notification(&event.to_string()), "sns-1"),
            (record(&event.to_string()), "first-1"),
            (notification(&record(&event.to_string()).to_string()), "first-1"),
            (record(&notification(&event.to_string()).to_string()), "sns-1"),
        ] {
            let mut defaults = defaults();
            assert!(is_wrapped(&wrapped.clone().into()));
            assert_eq!(unwrap(wrapped.into(), &mut defaults).unwrap().value, event.clone().into());
            assert_eq!(defaults.id.0, id);
            assert_eq!(defaults.created_at.to_string(), "2025-06-01T11:59:00.123");
            assert_eq!(defaults.recorded_by.principal.as_deref(), Some("AROAEXAMPLE"), "who sent it");
        }
        let mut untouched = defaults();
        assert_eq!(unwrap(event.clone().into(), &mut untouched).unwrap().value, event.into());
        assert_eq!(untouched.id.0, "message-1");
    }

    #[test]
    fn wrapping_without_json_is_refused() {
        for (wrapped, field) in [(notification("plain text"), "Message: "), (record("<xml/>"), "body: ")] {
            let refused = unwrap(wrapped.into(), &mut defaults()).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{field}must be JSON")), "{refused}");
        }
        let mut wrapped = "{}".to_owned();
        for _ in 0..=MAX_WRAPPINGS {
            wrapped = notification(&wrapped).to_string();
        }
        let wrapped = Document::read(&json::parse("body", wrapped.as_bytes()).unwrap());
        let left = unwrap(wrapped, &mut defaults()).unwrap();
        assert!(event(left).is_err());
    }

    #[test]
    fn what_is_no_event_is_refused_by_its_name() {
        for (value, name) in [
            (json!("{\"action\": \"a.b\"}"), "encoded as JSON twice"),
            (json!([{ "action": "a.b" }]), "a message of its own"),
            (json!(["software.amazon.payloadoffloading.PayloadS3Pointer", {}]), "pointer to S3"),
            (json!({ "detail-type": "a.b", "detail": {} }), "envelope of EventBridge"),
            (notification("{}"), "notification of SNS"),
            (
                json!({ "Type": "SubscriptionConfirmation", "TopicArn": "t", "Message": "m" }),
                "must be confirmed",
            ),
            (json!({ "Records": [{ "eventSource": "aws:s3", "s3": {} }] }), "records of aws:s3"),
            (json!({ "Records": [{ "EventSource": "aws:sns", "Sns": {} }] }), "records of aws:sns"),
            (json!({ "Records": [] }), "records of another service"),
            (json!({ "Service": "Amazon S3", "Event": "s3:TestEvent" }), "test of a bucket"),
            (json!({ "eventSource": "aws:kinesis", "data": "e30=" }), "record of aws:kinesis"),
            (json!({ "eventSource": "aws:dynamodb", "dynamodb": {} }), "record of aws:dynamodb"),
            (json!({ "version": "1.0", "requestPayload": { "action": "a.b" } }), "its requestPayload"),
            (json!({ "Entries": [{ "Detail": "{}" }] }), "input of PutEvents"),
        ] {
            let refused = event(value.clone().into()).unwrap_err().to_string();
            assert!(refused.contains(name), "{value}: {refused}");
        }
        for value in [json!({ "action": "a.b" }), json!({}), json!(7), json!("text"), json!(null)] {
            assert_eq!(event(value.clone().into()).unwrap().value, value.into());
        }
    }
}

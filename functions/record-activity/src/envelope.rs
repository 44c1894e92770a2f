//! EventBridge's envelope around an event: `detail-type` is the action, `detail` the event, and `id` and `time` stand in
//! for the event's own. `account` and `source` are its sender. Its other members do not matter.

use domain::event::{Defaults, InputEvent, MAX_TIME_LEN};
use domain::ids::MAX_ID_LEN;
use domain::json::{Document, Json, Members};
use domain::provenance::Source;
use domain::time::Timestamp;
use domain::{Error, Result};

use crate::wrapping::DETAIL_TYPE;
use crate::{Ingress, cloud_event, wrapping};

const ACTION: &str = "action";
const DETAIL: &str = "detail";
/// The longest `detail-type`, in characters: EventBridge allows 128.
const MAX_DETAIL_TYPE_LEN: usize = 128;
/// The longest `source`, in characters: EventBridge allows 256.
const MAX_SOURCE_LEN: usize = 256;
/// The length of an account's id, in characters.
const MAX_ACCOUNT_LEN: usize = 12;

/// Parses the event in an envelope. Its sender, `account/source`, must be one whom `ingress` lets record it.
///
/// # Errors
/// As [`InputEvent::parse`]; also [`Error::BadInput`] when it is no envelope, or lacks a part, or the detail names another
/// action, and [`Error::Forbidden`] when the sender may not record it.
pub(crate) fn parse(
    document: impl Into<Document>,
    mut defaults: Defaults,
    ingress: &Ingress,
) -> Result<InputEvent> {
    let mut envelope = Members::outermost(document.into().sound()?)?;
    let account = envelope.required_text("account", MAX_ACCOUNT_LEN)?;
    let source = envelope.required_text("source", MAX_SOURCE_LEN)?;
    let action = envelope.required_text(DETAIL_TYPE, MAX_DETAIL_TYPE_LEN)?;
    if let Some(id) = envelope.text("id", MAX_ID_LEN)? {
        defaults.id = (id, "id");
    }
    if let Some(time) = envelope.text("time", MAX_TIME_LEN)? {
        defaults.created_at = Timestamp::parse("time", &time)?;
    }
    let detail = envelope.take(DETAIL).filter(|detail| detail.as_object().is_some());
    let detail = detail.ok_or_else(|| Error::bad_input(DETAIL, "must be an object: the event"))?;
    // A pipe says by the detail-type what it reads, and a CloudEvent has a type of its own.
    let event = if wrapping::is_wrapped(&detail) || cloud_event::is_one(&detail) {
        wrapping::event(wrapping::unwrap(detail.into(), &mut defaults)?)?
    } else {
        with_action(wrapping::event(detail.into())?, &action)?
    };
    let sender = ingress.sender(Source::EventBus, &[&format!("{account}/{source}")]);
    defaults.recorded_by = sender.recorded_by.clone();
    sender.admit(InputEvent::parse(event, &defaults)?)
}

/// The event with the action that its envelope says.
fn with_action(mut event: Document, action: &str) -> Result<Document> {
    if let Json::Object(detail) = &mut event.value {
        match detail.get(ACTION) {
            None | Some(Json::Null) => detail.insert(ACTION, action.into()),
            Some(Json::String(own)) if own == action => {}
            Some(_) => {
                let allowed = format!("must be absent, or the envelope's detail-type {action}");
                return Err(Error::bad_input(ACTION, allowed));
            }
        }
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::provenance::RecordedBy;
    use serde_json::{Value, json};

    fn defaults() -> Defaults {
        let now = Timestamp::parse("t", "2025-06-01T12:00:00Z").unwrap();
        let recorded_by = RecordedBy::new(Source::EventBus, &[]);
        Defaults { id: ("message-1".into(), "messageId"), workspace: None, created_at: now, now, recorded_by }
    }

    fn parsed(envelope: Value) -> Result<InputEvent> {
        parse(envelope, defaults(), &Ingress::new(Source::EventBus))
    }

    fn envelope() -> Value {
        json!({
            "version": "0", "id": "envelope-1", "detail-type": "issue.updated", "source": "tracker",
            "account": "123456789012", "time": "2025-06-01T11:59:00Z", "region": "us-east-1", "resources": [],
            "detail": {
                "workspace_id": "ws-1", "issue_id": "issue-1", "actor_type": "user", "actor_id": "user-1",
                "details": { "status": "done" }
            }
        })
    }

    #[test]
    fn the_envelope_gives_what_the_event_lacks_and_no_more() {
        let event = parsed(envelope()).unwrap();
        let by = event.activity.recorded.clone().unwrap().recorded_by;
        assert_eq!((by.source, by.principal.as_deref()), (Source::EventBus, Some("123456789012/tracker")));
        assert_eq!(event.activity.id.as_str(), "envelope-1");
        assert_eq!(event.activity.action.as_str(), "issue.updated");
        assert_eq!(event.activity.created_at.to_string(), "2025-06-01T11:59:00");
        // EventBridge gave the time and not the producer, so another envelope around the same event is no conflict.
        assert!(!event.timed);
        let mut own = envelope();
        own["detail"]["id"] = json!("own-1");
        own["detail"]["created_at"] = json!("2025-01-01T00:00:00Z");
        own["detail"]["action"] = json!("issue.updated");
        let event = parsed(own).unwrap();
        assert_eq!(event.activity.id.as_str(), "own-1");
        assert_eq!(event.activity.created_at.to_string(), "2025-01-01T00:00:00");
        assert!(event.timed);
    }

    #[test]
    fn an_event_without_an_envelope_is_refused() {
        let mut bare = envelope()["detail"].clone();
        bare["action"] = json!("issue.updated");
        let is_envelope = |value: &Value| wrapping::is_envelope(&value.clone().into());
        assert!(!is_envelope(&bare) && is_envelope(&envelope()));
        assert_eq!(parsed(bare).unwrap_err().to_string(), "account: is required");
    }

    #[test]
    fn what_is_wrong_with_an_envelope_is_named() {
        for (member, value, field) in [
            ("detail-type", json!(7), "detail-type"),
            ("detail-type", json!("Issue Updated"), "action"),
            ("detail", json!("{}"), "detail"),
            ("detail", Value::Null, "detail"),
            ("source", Value::Null, "source"),
            ("account", json!(123_456_789_012_u64), "account"),
            ("id", json!("a\u{200b}"), "id"),
            ("time", json!("now"), "time"),
        ] {
            let mut bad = envelope();
            bad[member] = value;
            let Err(Error::BadInput(faults)) = parsed(bad) else { panic!("{member}") };
            assert_eq!(faults.field(), field);
        }
        let mut bad = envelope();
        bad["detail"]["action"] = json!("issue.created");
        let error = parsed(bad).unwrap_err().to_string();
        assert_eq!(error, "action: must be absent, or the envelope's detail-type issue.updated");
    }
}

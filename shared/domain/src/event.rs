//! Events as producers send them, parsed into activities.

mod schema;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::activity::{Action, Activity, ActorType, MAX_ACTION_LEN, Party};
use crate::ids::{ActivityId, ActorId, IssueId, MAX_ID_LEN, Tag, WorkspaceId};
use crate::json::Members;
use crate::time::Timestamp;
use crate::{Error, Result, catalog, directory};

pub use schema::schema;

/// The largest event, in bytes of its compact JSON: 49 of them fit DynamoDB's transaction limit of 4 MB.
pub const MAX_EVENT_LEN: usize = 64 * 1024;
/// The most events of one request.
pub const MAX_BATCH: usize = 500;
/// The most tags of one event: each is compared when a feed is filtered by tag.
pub const MAX_TAGS: usize = 50;
/// The longest name of a person or agent, in characters.
pub const MAX_NAME_LEN: usize = 256;
/// The longest address, in characters: 64 before the `@` and 255 after it, as mail allows.
pub const MAX_EMAIL_LEN: usize = 320;
/// The longest time, in characters; fractions may have more digits than are kept.
pub const MAX_TIME_LEN: usize = 64;
/// How far ahead of our clock a producer's may be.
pub const MAX_AHEAD: TimeDelta = TimeDelta::minutes(5);
/// The same for events that change the directory: until then, one from a right clock, such as a member's removal,
/// would count as the older and change nothing.
pub const MAX_AHEAD_IN_DIRECTORY: TimeDelta = TimeDelta::seconds(5);

const MEMBERS: &str = "id, workspace_id, issue_id, actor_type, actor_id, actor, on_behalf_of, action, details, \
                       affected, tags, created_at";

/// What stands in for members an event does not have. Each source sets its own.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The id, and what errors call the place it came from.
    pub id: (String, &'static str),
    /// The workspace, when the source gives it; an event that names another is refused.
    pub workspace: Option<WorkspaceId>,
    /// When the event happened, if it does not say.
    pub created_at: Timestamp,
    /// The current time.
    pub now: Timestamp,
}

/// An activity that asks to be recorded.
#[derive(Debug, Clone)]
pub struct Event {
    /// What to record.
    pub activity: Activity,
    /// Whether the producer gave the time; a time of ours differs between two deliveries of one event, so it
    /// is no part of the content.
    pub timed: bool,
    /// Tells one content from another: equal for equal content.
    pub fingerprint: String,
    /// Bytes of its compact JSON, which its stored form does not exceed by much.
    pub size: usize,
}

impl Event {
    /// Parses and checks one event.
    ///
    /// # Errors
    /// [`Error::BadInput`] of the member at fault; [`Error::TooLarge`] past [`MAX_EVENT_LEN`].
    pub fn parse(value: Value, defaults: &Defaults) -> Result<Self> {
        let size = value.to_string().len();
        if size > MAX_EVENT_LEN {
            return Err(Error::too_large("body", format!("an event must be at most {MAX_EVENT_LEN} bytes")));
        }
        let mut members = Members::of_event(value)?;
        let id = match members.text("id", MAX_ID_LEN)? {
            Some(id) => ActivityId::parse("id", id)?,
            None => ActivityId::parse(defaults.id.1, defaults.id.0.as_str())?,
        };
        let created_at = members.text("created_at", MAX_TIME_LEN)?;
        let timed = created_at.is_some();
        let created_at = match created_at {
            Some(text) => Timestamp::parse("created_at", &text)?,
            None => defaults.created_at,
        };
        if created_at > defaults.now.plus(MAX_AHEAD) {
            return Err(Error::bad_input("created_at", "must be at most 5 minutes ahead"));
        }
        let (actor_name, actor_email) = match members.take("actor") {
            None => (None, None),
            Some(actor) => {
                let mut actor = Members::of("actor", actor)?;
                let described = (actor.text("name", MAX_NAME_LEN)?, actor.text("email", MAX_EMAIL_LEN)?);
                actor.end("name, email")?;
                described
            }
        };
        let action = Action::parse("action", members.required_text("action", MAX_ACTION_LEN)?)?;
        let activity = Activity {
            id,
            workspace_id: workspace(&mut members, defaults)?,
            issue_id: optional_id(&mut members, "issue_id", IssueId::parse)?,
            actor_type: ActorType::parse("actor_type", &members.required_text("actor_type", 16)?)?,
            actor_id: ActorId::parse("actor_id", members.required_text("actor_id", MAX_ID_LEN)?)?,
            category: catalog::category(&action),
            action,
            details: match members.take("details") {
                None => serde_json::Map::new(),
                Some(Value::Object(details)) => details,
                Some(_) => return Err(Error::bad_input("details", "must be an object")),
            },
            created_at,
            on_behalf_of: party(&mut members, "on_behalf_of")?,
            affected: party(&mut members, "affected")?,
            tags: tags(members.take("tags"))?,
            actor_name,
            actor_email,
        };
        members.end(MEMBERS)?;
        if activity.actor_type == ActorType::User && activity.on_behalf_of.is_some() {
            return Err(Error::bad_input("on_behalf_of", "is only allowed when actor_type is agent"));
        }
        catalog::check(&activity)?;
        if !directory::changes(&activity).is_empty() && created_at > defaults.now.plus(MAX_AHEAD_IN_DIRECTORY)
        {
            let detail = "must be at most 5 seconds ahead for an action that decides who may read";
            return Err(Error::bad_input("created_at", detail));
        }
        let fingerprint = fingerprint(&activity)?;
        Ok(Self { activity, timed, fingerprint, size })
    }
}

fn workspace(members: &mut Members, defaults: &Defaults) -> Result<WorkspaceId> {
    let named = optional_id(members, "workspace_id", WorkspaceId::parse)?;
    match (named, &defaults.workspace) {
        (Some(named), Some(given)) if named != *given => {
            Err(Error::bad_input("workspace_id", format!("must be absent, or the path's {given}")))
        }
        (Some(workspace), _) => Ok(workspace),
        (None, Some(given)) => Ok(given.clone()),
        (None, None) => Err(Error::bad_input("workspace_id", "is required")),
    }
}

fn optional_id<T>(
    members: &mut Members,
    name: &str,
    parse: impl Fn(&str, String) -> Result<T>,
) -> Result<Option<T>> {
    members.text(name, MAX_ID_LEN)?.map(|text| parse(&members.field(name), text)).transpose()
}

fn party(members: &mut Members, name: &str) -> Result<Option<Party>> {
    let Some(value) = members.take(name) else { return Ok(None) };
    let mut party = Members::of(name, value)?;
    let id = ActorId::parse(&party.field("id"), party.required_text("id", MAX_ID_LEN)?)?;
    let (name, email) = (party.text("name", MAX_NAME_LEN)?, party.text("email", MAX_EMAIL_LEN)?);
    party.end("id, name, email")?;
    Ok(Some(Party { id, name, email }))
}

fn tags(value: Option<Value>) -> Result<Vec<Tag>> {
    let refused =
        || Error::bad_input("tags", format!("must be an array of at most {MAX_TAGS} different ids"));
    let values = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) if values.len() <= MAX_TAGS => values,
        Some(_) => return Err(refused()),
    };
    let mut tags = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let Value::String(text) = value else { return Err(refused()) };
        let tag = Tag::parse(&format!("tags[{index}]"), text)?;
        if tags.contains(&tag) {
            return Err(refused());
        }
        tags.push(tag);
    }
    Ok(tags)
}

/// A digest of all an activity says but its time: equal for equal content, however its JSON was written.
/// Half of SHA-256: 128 bits, with the reader's and the writer's order of members made irrelevant by the
/// sorted maps of `serde_json`.
pub(crate) fn fingerprint(activity: &Activity) -> Result<String> {
    let mut content = serde_json::to_value(activity).map_err(Error::internal)?;
    if let Value::Object(members) = &mut content {
        members.remove("created_at");
        members.insert("actor".into(), json!([activity.actor_name, activity.actor_email]));
    }
    let digest = URL_SAFE_NO_PAD.encode(&Sha256::digest(content.to_string().as_bytes())[..16]);
    // Stored for ever; should what is digested ever change, so does the number.
    Ok(format!("1.{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        let now = Timestamp::parse("t", "2025-06-01T12:00:00Z").unwrap();
        Defaults { id: ("key-1".into(), "Idempotency-Key"), workspace: None, created_at: now, now }
    }

    fn event() -> Value {
        json!({
            "id": "act-1", "workspace_id": "ws-1", "issue_id": "issue-1", "actor_type": "agent",
            "actor_id": "agent-1", "actor": {"name": "Ada", "email": "ada@example.com"},
            "on_behalf_of": {"id": "user-1"}, "action": "issue.created",
            "details": {"title": "Fix login bug", "identifier": "ISS-1"},
            "affected": {"id": "user-2", "name": "Bob"}, "tags": ["bug", "p1"],
            "created_at": "2025-01-01T00:00:00Z"
        })
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut event = event();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        event.pointer_mut(parent).unwrap()[name] = value;
        event
    }

    fn refused(value: Value) -> String {
        Event::parse(value, &defaults()).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_member() {
        let parsed = Event::parse(event(), &defaults()).unwrap();
        assert!(parsed.timed);
        assert_eq!(
            serde_json::to_string(&parsed.activity).unwrap(),
            r#"{"id":"act-1","workspace_id":"ws-1","issue_id":"issue-1","actor_type":"agent","actor_id":"agent-1","action":"issue.created","details":{"identifier":"ISS-1","title":"Fix login bug"},"created_at":"2025-01-01T00:00:00","on_behalf_of":{"id":"user-1"},"affected":{"id":"user-2","name":"Bob"},"tags":["bug","p1"]}"#
        );
        assert_eq!(parsed.activity.actor_name.as_deref(), Some("Ada"));
    }

    #[test]
    fn fills_in_what_the_source_knows() {
        let value = json!({"workspace_id": "w", "actor_type": "user", "actor_id": "u", "action": "a.b"});
        let parsed = Event::parse(value, &defaults()).unwrap();
        assert_eq!(parsed.activity.id.as_str(), "key-1");
        assert_eq!(parsed.activity.created_at, defaults().now);
        assert!(!parsed.timed);
    }

    #[test]
    fn names_the_member_at_fault() {
        for (value, field) in [
            (with("/id", json!("a b")), "id: "),
            (with("/id", json!(7)), "id: "),
            (with("/id", json!("")), "id: "),
            (with("/workspace_id", json!("a#b")), "workspace_id: "),
            (with("/issue_id", Value::Null), "issue_id: is required for issue.created"),
            (with("/actor_type", json!("robot")), "actor_type: "),
            (with("/actor_id", Value::Null), "actor_id: is required"),
            (with("/actor/age", json!(36)), "actor.age: is not known here"),
            (with("/actor/name", json!("a\nb")), "actor.name: "),
            (with("/on_behalf_of/id", json!("")), "on_behalf_of.id: "),
            (with("/actor_type", json!("user")), "on_behalf_of: is only allowed"),
            (with("/action", json!("created")), "action: "),
            (with("/details", json!([])), "details: "),
            (with("/details/title", Value::Null), "details.title: is required for issue.created"),
            (with("/details/identifier", json!(1)), "details.identifier: "),
            (with("/affected", json!("bob")), "affected: "),
            (with("/tags", json!("bug")), "tags: "),
            (with("/tags", json!(["a", "a"])), "tags: "),
            (with("/tags", json!(["a", "b c"])), "tags[1]: "),
            (with("/created_at", json!("yesterday")), "created_at: "),
            (with("/created_at", json!("2025-06-01T12:05:00.000001Z")), "created_at: must be at most 5"),
            (
                json!({"workspace_id": "w", "actor_type": "user", "actor_id": "u", "action": "member.removed",
                       "details": {"user": "v"}, "created_at": "2025-06-01T12:00:05.000001Z"}),
                "created_at: must be at most 5 seconds",
            ),
            (with("/colour", json!("red")), "colour: is not known here"),
            (
                with("/details/title", json!("x".repeat(MAX_EVENT_LEN))),
                "body: an event must be at most 65536",
            ),
            (json!("text"), "body: must be an object"),
        ] {
            let message = refused(value);
            assert!(message.starts_with(field), "{message:?} should start with {field:?}");
        }
    }

    #[test]
    fn the_paths_workspace_wins_over_silence_and_contradicts_another() {
        let path = WorkspaceId::parse("ws_id", "ws-1").unwrap();
        let defaults = Defaults { workspace: Some(path), ..defaults() };
        assert!(Event::parse(event(), &defaults).is_ok());
        assert!(Event::parse(with("/workspace_id", Value::Null), &defaults).is_ok());
        assert!(Event::parse(with("/workspace_id", json!("ws-2")), &defaults).is_err());
    }

    #[test]
    fn content_is_everything_but_the_time() {
        let of = |value| Event::parse(value, &defaults()).unwrap().fingerprint;
        let base = of(event());
        // What is stored must be told from a repeat for ever.
        assert_eq!(base, "1.-KDKgMwGVoC1QyRbqJ4uuw");
        let reversed = |value: &Value| {
            let members: Vec<String> = value
                .as_object()
                .unwrap()
                .iter()
                .rev()
                .map(|(name, value)| format!("{name:?} : {value}"))
                .collect();
            format!("{{ {} }}", members.join(", "))
        };
        let details = reversed(&event()["details"]);
        let reordered = reversed(&event()).replacen(&event()["details"].to_string(), &details, 1);
        assert!(reordered.contains(&details) && reordered.starts_with("{ \"workspace_id\""), "{reordered}");
        assert_eq!(of(crate::json::parse(reordered.as_bytes()).unwrap()), base);
        assert_eq!(of(with("/created_at", Value::Null)), base);
        for (pointer, value) in [
            ("/id", json!("act-2")),
            ("/issue_id", json!("issue-2")),
            ("/actor_id", json!("agent-2")),
            ("/actor/name", json!("Bea")),
            ("/actor/email", Value::Null),
            ("/on_behalf_of/id", json!("user-9")),
            ("/details/extra", json!(1)),
            ("/affected/name", Value::Null),
            ("/tags", json!(["p1", "bug"])),
        ] {
            assert_ne!(of(with(pointer, value)), base, "{pointer}");
        }
    }
}

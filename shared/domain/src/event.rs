//! Events as producers send them, parsed into activities.

mod members;
mod schema;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::activity::{Action, Activity, ActorType, Audience, Party};
use crate::grants::Grants;
use crate::ids::{ActivityId, ActorId, IssueId, Tag, WorkspaceId};
use crate::json::{Members, canonical};
use crate::provenance::{Provenance, RecordedBy};
use crate::time::Timestamp;
use crate::{Error, Result, catalog, directory};

use members::{Line, Version, members};

pub use members::Member;
pub use schema::{any as any_schema, schema};

/// The largest event, in bytes of its compact JSON: 49 of them fit DynamoDB's transaction limit of 4 MB.
pub const MAX_EVENT_LEN: usize = 64 * 1024;
/// The most events of one request.
pub const MAX_BATCH: usize = 500;
/// The most tags of one event: a filter by tag compares each of them.
pub const MAX_TAGS: usize = 50;
/// The longest name of a person or agent, in characters.
pub const MAX_NAME_LEN: usize = 256;
/// The longest mail address, in characters: 64 before the `@` and 255 after it, as RFC 5321 allows.
pub const MAX_EMAIL_LEN: usize = 320;
/// The longest time, in characters; fractions may have more digits than are kept.
pub const MAX_TIME_LEN: usize = 64;
/// How far ahead of our clock a producer's clock may be.
pub const MAX_AHEAD: TimeDelta = TimeDelta::minutes(5);
/// The same for events that change the directory. Until its time has come, such an event would win over a later one
/// from a correct clock, such as the removal of a member.
pub const MAX_AHEAD_IN_DIRECTORY: TimeDelta = TimeDelta::seconds(5);

members! {
    /// The members of an event. This table is their only definition: the parser, the JSON Schema, the OpenAPI document
    /// and the guide to recording follow from it.
    pub(crate) struct EventMembers {
        /// Recorded again with this id and the same content, it is the same activity. Without it the `Idempotency-Key`
        /// takes its place, and without that a new id.
        id: Option<ActivityId>,
        /// Absent, or the path's.
        workspace_id: Option<WorkspaceId>,
        /// The issue it belongs to.
        issue_id: Option<IssueId>,
        /// Whether a person or an agent acted.
        actor_type: ActorType,
        /// The id of the actor.
        actor_id: ActorId,
        /// The actor as they are at the time.
        actor: Option<Actor>,
        /// The user an agent acted for; not for users.
        on_behalf_of: Option<Party>,
        /// The action: a dotted type of the form `noun.verb`.
        action: Action,
        /// Data of the action.
        details: Option<Map<String, Value>>,
        /// The person or agent that was affected.
        affected: Option<Party>,
        /// Labels to filter by, each once.
        tags: Option<Vec<Tag>>,
        /// When it happened: RFC 3339, or the same without an offset, which means UTC. At most five minutes ahead, any
        /// time back. Without it, now.
        created_at: Option<Timestamp>,
        /// A number that grows with each change in the system that keeps workspaces and members. A workspace whose first
        /// event has one goes by these numbers and not by time. Only for actions about workspaces and members.
        version: Option<Version>,
        /// Who may see it: `everyone` who may read the workspace, or `staff`, which leaves out the role client. The catalog
        /// says so for its actions, and an event can only narrow that. Any other action is for staff, unless this says
        /// `everyone`.
        audience: Option<Audience>,
    }
}

members! {
    /// The actor of an event, whose id is a member of the event itself.
    #[derive(Default)]
    pub(crate) struct Actor {
        /// Their name at the time.
        name: Option<Line<MAX_NAME_LEN>>,
        /// Their mail address at the time.
        email: Option<Line<MAX_EMAIL_LEN>>,
    }
}

members! {
    /// A person or agent that an event names besides its actor.
    pub(crate) struct PartyMembers {
        /// The user or agent.
        id: ActorId,
        /// Their name at the time.
        name: Option<Line<MAX_NAME_LEN>>,
        /// Their mail address at the time.
        email: Option<Line<MAX_EMAIL_LEN>>,
    }
}

/// The members of an event, for documents made from them.
pub fn members() -> &'static [Member] {
    EventMembers::MEMBERS
}

/// The values that stand in for members an event does not have. Each source sets its own.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The id, and what errors call its origin, such as `Idempotency-Key`.
    pub id: (String, &'static str),
    /// The workspace, when the source gives it; an event that names another is refused.
    pub workspace: Option<WorkspaceId>,
    /// When the event happened, if it does not say.
    pub created_at: Timestamp,
    /// The current time.
    pub now: Timestamp,
    /// The sender, and the way in.
    pub recorded_by: RecordedBy,
}

/// A parsed event: an activity that asks to be recorded.
#[derive(Debug, Clone)]
pub struct InputEvent {
    /// The activity to record.
    pub activity: Activity,
    /// Whether the producer gave the time. Our own time differs between two deliveries of one event, so it is no part
    /// of the content.
    pub timed: bool,
    /// A digest of the content: equal for equal content.
    pub fingerprint: String,
    /// Bytes of its compact JSON, which its stored form does not exceed by much.
    pub size: usize,
    /// The organizations and workspaces for which its sender may record. The recorder judges it by the workspace's entry.
    pub grants: Arc<Grants>,
    /// Whether its sender may know who recorded another activity: that needs the right to change the directory.
    pub sees_principals: bool,
}

impl InputEvent {
    /// Parses and checks one event.
    ///
    /// # Errors
    /// [`Error::BadInput`] of the first member at fault; [`Error::TooLarge`] past [`MAX_EVENT_LEN`].
    pub fn parse(value: Value, defaults: &Defaults) -> Result<Self> {
        let size = value.to_string().len();
        if size > MAX_EVENT_LEN {
            return Err(Error::too_large("body", format!("an event must be at most {MAX_EVENT_LEN} bytes")));
        }
        // A missing workspace is reported before the faults of other members.
        if defaults.workspace.is_none() && value.is_object() && value["workspace_id"].is_null() {
            return Err(Error::bad_input("workspace_id", "is required"));
        }
        let members = EventMembers::read(Members::of_event(value)?)?;
        let timed = members.created_at.is_some();
        let created_at = members.created_at.unwrap_or(defaults.created_at);
        if created_at > defaults.now.plus(MAX_AHEAD) {
            return Err(Error::bad_input("created_at", "must be at most 5 minutes ahead"));
        }
        let actor = members.actor.unwrap_or_default();
        let activity = Activity {
            id: match members.id {
                Some(id) => id,
                None => ActivityId::parse(defaults.id.1, defaults.id.0.as_str())?,
            },
            workspace_id: workspace(members.workspace_id, defaults)?,
            issue_id: members.issue_id,
            actor_type: members.actor_type,
            actor_id: members.actor_id,
            category: catalog::category(&members.action),
            action: members.action,
            details: members.details.unwrap_or_default(),
            created_at,
            on_behalf_of: members.on_behalf_of,
            affected: members.affected,
            tags: members.tags.unwrap_or_default(),
            actor_name: actor.name.map(Line::into_text),
            actor_email: actor.email.map(Line::into_text),
            version: members.version.map(Version::number),
            audience: members.audience,
            recorded: Some(Provenance {
                recorded_at: defaults.now,
                recorded_by: defaults.recorded_by.clone(),
            }),
        };
        if activity.actor_type == ActorType::User && activity.on_behalf_of.is_some() {
            return Err(Error::bad_input("on_behalf_of", "is only allowed when actor_type is agent"));
        }
        catalog::check(&activity)?;
        if activity.version.is_some() && !directory::is_about(activity.action.as_str()) {
            let detail = "is only allowed for an action about workspaces or members";
            return Err(Error::bad_input("version", detail));
        }
        if created_at > defaults.now.plus(MAX_AHEAD_IN_DIRECTORY) && directory::is_changed_by(&activity) {
            let detail = "must be at most 5 seconds ahead for an action that decides who may read";
            return Err(Error::bad_input("created_at", detail));
        }
        let fingerprint = fingerprint(&activity)?;
        Ok(Self { activity, timed, fingerprint, size, grants: Arc::default(), sees_principals: false })
    }
}

fn workspace(named: Option<WorkspaceId>, defaults: &Defaults) -> Result<WorkspaceId> {
    match (named, &defaults.workspace) {
        (Some(named), Some(given)) if named != *given => {
            Err(Error::bad_input("workspace_id", format!("must be absent, or the path's {given}")))
        }
        (Some(workspace), _) => Ok(workspace),
        (None, Some(given)) => Ok(given.clone()),
        (None, None) => Err(Error::bad_input("workspace_id", "is required")),
    }
}

/// A digest of everything an activity says but its time: equal for equal content, however its JSON was written.
///
/// It is half of SHA-256, 128 bits, of the canonical JSON, so that the order of members does not matter.
///
/// # Errors
/// [`Error::Internal`] when the activity cannot be serialized, which no activity causes.
pub fn fingerprint(activity: &Activity) -> Result<String> {
    let mut content = serde_json::to_value(activity).map_err(Error::internal)?;
    if let Value::Object(members) = &mut content {
        members.remove("created_at");
        members.insert("actor".into(), json!([activity.actor_name, activity.actor_email]));
    }
    let digest = URL_SAFE_NO_PAD.encode(&Sha256::digest(canonical(&content).as_bytes())[..16]);
    // The table keeps it for ever. Should the digested content ever change, so must this number.
    Ok(format!("1.{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::Source;

    fn defaults() -> Defaults {
        let now = Timestamp::parse("t", "2025-06-01T12:00:00Z").unwrap();
        let recorded_by = RecordedBy::new(Source::Http, &["ada"]);
        Defaults {
            id: ("key-1".into(), "Idempotency-Key"),
            workspace: None,
            created_at: now,
            now,
            recorded_by,
        }
    }

    fn event() -> Value {
        json!({
            "id": "act-1", "workspace_id": "ws-1", "issue_id": "issue-1", "actor_type": "agent",
            "actor_id": "agent-1", "actor": {"name": "Ada", "email": "ada@example.com"},
            "on_behalf_of": {"id": "user-1"}, "action": "issue.created",
            "details": {"identifier": "ISS-1", "title": "Fix login bug"},
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
        InputEvent::parse(value, &defaults()).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_member() {
        let parsed = InputEvent::parse(event(), &defaults()).unwrap();
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
        let parsed = InputEvent::parse(value, &defaults()).unwrap();
        assert_eq!(parsed.activity.id.as_str(), "key-1");
        assert_eq!(parsed.activity.created_at, defaults().now);
        assert!(!parsed.timed);
    }

    #[test]
    fn names_the_member_at_fault() {
        for (value, field) in [
            (with("/id", json!("a\nb")), "id: "),
            (with("/id", json!(7)), "id: "),
            (with("/id", json!("")), "id: "),
            (with("/workspace_id", json!("a\u{200b}")), "workspace_id: "),
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
            (with("/tags", json!(["a", "b\tc"])), "tags[1]: "),
            (with("/created_at", json!("yesterday")), "created_at: "),
            (with("/created_at", json!("2025-06-01T12:05:00.000001Z")), "created_at: must be at most 5"),
            (
                json!({"workspace_id": "w", "actor_type": "user", "actor_id": "u", "action": "member.removed",
                       "details": {"user": "v"}, "created_at": "2025-06-01T12:00:05.000001Z"}),
                "created_at: must be at most 5 seconds",
            ),
            (with("/audience", json!("clients")), "audience: must be everyone or staff"),
            (
                json!({"workspace_id": "w", "actor_type": "user", "actor_id": "u", "action": "invitation.created",
                       "audience": "everyone"}),
                "audience: must be absent, or staff, for invitation.created",
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
        assert!(InputEvent::parse(event(), &defaults).is_ok());
        assert!(InputEvent::parse(with("/workspace_id", Value::Null), &defaults).is_ok());
        assert!(InputEvent::parse(with("/workspace_id", json!("ws-2")), &defaults).is_err());
    }

    #[test]
    fn content_is_everything_but_the_time() {
        let of = |value| InputEvent::parse(value, &defaults()).unwrap().fingerprint;
        let base = of(event());
        // The table keeps fingerprints for ever, so they must never change.
        assert_eq!(base, "1.-KDKgMwGVoC1QyRbqJ4uuw");
        let reversed = |value: &Value| {
            let mut members: Vec<(&String, &Value)> = value.as_object().unwrap().iter().collect();
            members.sort_by_key(|(name, _)| std::cmp::Reverse(*name));
            let members: Vec<String> =
                members.into_iter().map(|(name, value)| format!("{name:?} : {value}")).collect();
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
            ("/audience", json!("staff")),
            ("/audience", json!("everyone")),
        ] {
            assert_ne!(of(with(pointer, value)), base, "{pointer}");
        }
    }
}

//! Events as producers send them, parsed into activities.

mod members;
mod schema;

use std::sync::Arc;

use chrono::TimeDelta;

use crate::activity::{Action, Activity, ActorType, Audience, Party};
use crate::error::FaultList;
use crate::fingerprint;
use crate::grants::Grants;
use crate::ids::{ActivityId, ActorId, IssueId, Tag, WorkspaceId};
use crate::json::{Details, Document, Json, Members};
use crate::provenance::{Provenance, RecordedBy};
use crate::salt::Salt;
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
        details: Option<Details>,
        /// The person or agent that was affected.
        affected: Option<Party>,
        /// Labels to filter by, each once.
        tags: Option<Vec<Tag>>,
        /// When it happened, in ISO 8601; without an offset it is UTC. At most five minutes ahead, any time back. Without it,
        /// now.
        created_at: Option<Timestamp>,
        /// A number that grows with each change in the system that keeps workspaces and members. A workspace whose first
        /// event has one goes by these numbers and not by time. Only for actions about workspaces and members.
        version: Option<Version>,
        /// Its audience: `everyone` who may read the workspace, or `staff`, which leaves out the role client. The catalog
        /// has one for each of its actions, and an event can only narrow it. Any other action is for staff, unless this
        /// says `everyone`.
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
    /// [`Error::BadInput`] of all members at fault; [`Error::TooLarge`] past [`MAX_EVENT_LEN`].
    pub fn parse(document: impl Into<Document>, defaults: &Defaults) -> Result<Self> {
        let document = document.into();
        let size = document.value.to_string().len();
        if size > MAX_EVENT_LEN {
            return Err(Error::too_large("body", format!("an event must be at most {MAX_EVENT_LEN} bytes")));
        }
        let mut faults = FaultList::default();
        faults.extend(document.faults);
        let event = Members::outermost(document.value)?;
        let mut together = FaultList::default();
        check_together(&event, defaults, &mut together);
        let members = EventMembers::read(event, &mut faults);
        let id = match &members {
            Some(EventMembers { id: None, .. }) => {
                faults.keep(ActivityId::parse(defaults.id.1, defaults.id.0.as_str()))
            }
            _ => None,
        };
        faults.add_all(together);
        let members = faults.finish(members)?;
        let timed = members.created_at.is_some();
        let created_at = members.created_at.unwrap_or(defaults.created_at);
        let actor = members.actor.unwrap_or_default();
        let missing = |member: &str| Error::bad_input(member, "is required");
        let activity = Activity {
            id: members.id.or(id).ok_or_else(|| missing("id"))?,
            workspace_id: members
                .workspace_id
                .or_else(|| defaults.workspace.clone())
                .ok_or_else(|| missing(WORKSPACE))?,
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
            salt: Some(Salt::random()?),
        };
        if created_at > defaults.now.plus(MAX_AHEAD_IN_DIRECTORY) && directory::is_changed_by(&activity) {
            let detail = "must be at most 5 seconds ahead for an action that decides who may read";
            return Err(Error::bad_input("created_at", detail));
        }
        let fingerprint = fingerprint::of(&activity)?;
        Ok(Self { activity, timed, fingerprint, size, grants: Arc::default(), sees_principals: false })
    }
}

const WORKSPACE: &str = "workspace_id";

/// Checks the members of an event against each other, and against what its source says.
fn check_together(event: &Members, defaults: &Defaults, faults: &mut FaultList) {
    let text = |name: &str| event.get(name).and_then(Json::as_str);
    let mut fault = |field: &str, detail: String| faults.add(Error::bad_input(field, detail));
    match (text(WORKSPACE), &defaults.workspace) {
        (Some(named), Some(given)) if named != given.as_str() => {
            fault(WORKSPACE, format!("must be absent, or the path's {given}"));
        }
        (None, None) if event.get(WORKSPACE).is_none() => fault(WORKSPACE, "is required".into()),
        _ => {}
    }
    let created_at = text("created_at").and_then(|time| Timestamp::parse("created_at", time).ok());
    if created_at.is_some_and(|time| time > defaults.now.plus(MAX_AHEAD)) {
        fault("created_at", "must be at most 5 minutes ahead".into());
    }
    if text("actor_type") == Some(ActorType::User.as_str()) && event.get("on_behalf_of").is_some() {
        fault("on_behalf_of", "is only allowed when actor_type is agent".into());
    }
    if event.get("version").is_some() && text("action").is_some_and(|action| !directory::is_about(action)) {
        fault("version", "is only allowed for an action about workspaces or members".into());
    }
    catalog::check(event, faults);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
    fn all_faults_are_told() {
        let event = json!({
            "id": "", "actor_type": "robot", "action": "issue.created", "actor": { "name": "", "age": 36 },
            "details": { "title": 7 }, "tags": ["a", "a"], "created_at": "2026-01-01T00:00:00Z", "version": 1, "colour": "red"
        });
        let Error::BadInput(faults) = InputEvent::parse(event, &defaults()).unwrap_err() else { panic!() };
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "id",
                "actor_type",
                "actor_id",
                "actor.name",
                "actor.age",
                "tags",
                "colour",
                "workspace_id",
                "created_at",
                "version",
                "issue_id",
                "details.title",
                "details.identifier",
            ]
        );
    }
}

//! What is sent, which is parsed by hand and has no type of its own to make a schema from.

#![expect(dead_code, reason = "only their schemas are used")]

use record_activity::BatchResult;
use shared::activity::{Action, Activity, ActorType, Party};
use shared::event::MAX_BATCH;
use shared::ids::{ActivityId, ActorId, IssueId, PATTERN, Tag, WorkspaceId};
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// An activity that asks to be recorded. Its compact JSON is at most 65,536 bytes.
///
/// Members that are null count as absent. Known actions have their details checked: `issue.created` needs `title` and
/// `identifier`, `issue.updated` the changed fields and their new values; `/api/v1/actions` has a schema of each.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "id": "act-abc123",
    "workspace_id": "ws-abc123",
    "issue_id": "issue-abc123",
    "actor_type": "agent",
    "actor_id": "agent-abc123",
    "actor": { "name": "Triage Agent", "email": "triage@example.com" },
    "on_behalf_of": { "id": "user-abc123", "name": "Ada" },
    "action": "issue.created",
    "details": { "title": "Fix login bug", "identifier": "ISS-1" },
    "affected": { "id": "user-def456", "name": "Grace" },
    "tags": ["bug"],
    "created_at": "2025-01-01T00:00:00Z"
}))]
pub(super) struct Event {
    /// Recorded again with this id and the same content, it is the same activity. Without it the `Idempotency-Key`
    /// takes its place, and without that a new id.
    id: Option<ActivityId>,
    /// Absent, or the path's.
    workspace_id: Option<WorkspaceId>,
    /// The issue it belongs to.
    issue_id: Option<IssueId>,
    /// Whether a person or an agent acted.
    actor_type: ActorType,
    /// Who acted.
    actor_id: ActorId,
    /// The actor as they are at the time.
    actor: Option<Actor>,
    /// The user an agent acted for; not for users.
    on_behalf_of: Option<Party>,
    /// What was done.
    action: Action,
    /// Data of the action.
    #[schema(value_type = Option<Object>)]
    details: Option<()>,
    /// Who was affected.
    affected: Option<Party>,
    /// Labels to filter by, each once.
    #[schema(max_items = 50)]
    tags: Option<Vec<Tag>>,
    /// When it happened: RFC 3339, or the same without an offset, which means UTC. At most five minutes ahead, any
    /// time back. Without it, now.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<()>,
}

/// An actor as they are at the time of an event.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Actor {
    #[schema(min_length = 1, max_length = 256)]
    name: Option<String>,
    #[schema(min_length = 1, max_length = 320)]
    email: Option<String>,
}

/// One event, or an array of them.
pub(super) struct Events;

impl PartialSchema for Events {
    fn schema() -> RefOr<Schema> {
        let event = || Ref::from_schema_name(Event::name());
        let several =
            ArrayBuilder::new().items(event()).min_items(Some(1)).max_items(Some(MAX_BATCH)).build();
        Schema::OneOf(OneOfBuilder::new().item(event()).item(several).build()).into()
    }
}

impl ToSchema for Events {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Event::name().into(), Event::schema()));
        Event::schemas(schemas);
    }
}

/// The activity of a single event, or a result for each event of an array.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Recorded {
    One(Box<Activity>),
    Several(Vec<BatchResult>),
}

/// Parameters of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Entries of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u8>,
    /// Entries to skip; not together with `cursor`. Of a workspace's unfiltered feed, as fast at any depth.
    #[param(minimum = 0, default = 0)]
    offset: Option<u64>,
    /// Where the page begins: as the `Link` of the page before has it.
    cursor: Option<String>,
    /// Newest first, or oldest first.
    #[param(inline)]
    order: Option<Order>,
    /// Acts of persons only, or of agents only.
    #[param(inline)]
    actor_type: Option<ActorType>,
    /// Acts of any of these only.
    #[param(max_items = 20)]
    actor_id: Option<Vec<ActorId>>,
    /// Any of these actions only.
    #[param(max_items = 20)]
    action: Option<Vec<Action>>,
    /// With any of these tags only.
    #[param(max_items = 20)]
    tag: Option<Vec<Tag>>,
    /// Not before this time: RFC 3339, or the same without an offset, which means UTC.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<()>,
    /// Before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<()>,
    /// `total` counts the entries into `X-Total-Count`.
    #[param(inline)]
    include: Option<Include>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase", default = "desc")]
pub(super) enum Order {
    Desc,
    Asc,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Include {
    Total,
}

/// Parameters of what is read.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Known {
    /// The `ETag` of an answer that is known.
    #[param(rename = "If-None-Match", nullable = false)]
    if_none_match: Option<String>,
}

/// Parameters of what is recorded.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Idempotency {
    /// The id of an event without one; of an array's events, with a dot and the index.
    #[param(rename = "Idempotency-Key", inline, nullable = false)]
    idempotency_key: Option<Key>,
}

/// An id with room for a dot and three digits.
pub(super) struct Key;

impl PartialSchema for Key {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(PATTERN));
        text.min_length(Some(1)).max_length(Some(124)).into()
    }
}

impl ToSchema for Key {}

//! Events as JSON Schema, for producers to check theirs against before they send them.

use serde_json::{Value, json};

use super::{MAX_EMAIL_LEN, MAX_NAME_LEN, MAX_TAGS, MAX_TIME_LEN};
use crate::activity::ActorType;
use crate::catalog::Entry;
use crate::schema::{id, line, or_null};

/// The JSON Schema, draft 2020-12, of an event of `entry`'s action as it is posted.
///
/// What it lets pass, the recorder takes, but for what a schema cannot say: an event is at most
/// [`super::MAX_EVENT_LEN`] bytes; its workspace is the path's; its time is after the year 0 and at most
/// [`super::MAX_AHEAD`] ahead, or [`super::MAX_AHEAD_IN_DIRECTORY`]; its numbers can be kept exactly. The other way
/// round, it asks for a little more than the parser: a member that is not known must be absent, even if it is null, and
/// a time must have its offset and be written as RFC 3339 writes it, with a `T`.
pub fn schema(entry: &Entry) -> Value {
    let issue_id = if entry.on_issue { id() } else { or_null(id()) };
    let details = entry.details_schema();
    let mut required = vec!["actor_type", "actor_id", "action"];
    required.extend(entry.on_issue.then_some("issue_id"));
    // Details that must hold something must be there.
    required.extend((details["type"] == "object").then_some("details"));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": entry.action,
        "description": entry.description,
        "type": "object",
        "properties": {
            "id": or_null(id()),
            "workspace_id": or_null(id()),
            "issue_id": issue_id,
            "actor_type": { "type": "string", "enum": [ActorType::User, ActorType::Agent] },
            "actor_id": id(),
            "actor": or_null(described(false)),
            "on_behalf_of": or_null(described(true)),
            "action": { "const": entry.action },
            "details": details,
            "affected": or_null(described(true)),
            "tags": {
                "type": ["array", "null"], "items": id(), "maxItems": MAX_TAGS, "uniqueItems": true,
            },
            "created_at": { "type": ["string", "null"], "format": "date-time", "maxLength": MAX_TIME_LEN },
        },
        "required": required,
        "additionalProperties": false,
        "if": { "properties": { "actor_type": { "const": ActorType::User } } },
        "then": { "properties": { "on_behalf_of": { "type": "null" } } },
    })
}

/// A person or agent: with an id, or the one that the event names itself.
fn described(identified: bool) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": { "name": or_null(line(MAX_NAME_LEN)), "email": or_null(line(MAX_EMAIL_LEN)) },
        "additionalProperties": false,
    });
    if identified {
        schema["properties"]["id"] = id();
        schema["required"] = json!(["id"]);
    }
    schema
}

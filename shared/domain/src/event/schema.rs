//! Events as JSON Schema, for producers to check theirs against before they send them.

use serde_json::{Value, json};

use super::EventMembers;
use super::members::object;
use crate::activity::{ActorType, Audience};
use crate::catalog::Entry;
use crate::{directory, ids};

/// The JSON Schema, draft 2020-12, of an event of `entry`'s action as it is posted.
///
/// The recorder takes whatever passes, except for rules that a schema cannot state: an event is at most
/// [`super::MAX_EVENT_LEN`] bytes; its workspace is the path's; its time is after the year 0 and at most
/// [`super::MAX_AHEAD`] ahead, or [`super::MAX_AHEAD_IN_DIRECTORY`]; its numbers can be kept exactly; its ids have at most
/// [`ids::MAX_ID_LEN`] bytes, and no format characters beyond U+FFFF. The schema asks
/// for a little more than the parser does: an unknown member must be absent, even if it is null, and a time must be
/// written as RFC 3339 writes it, with its offset, whereas the parser reads every spelling of ISO 8601.
pub fn schema(entry: &Entry) -> Value {
    let mut schema = any();
    let details = entry.details_schema();
    let mut require = |member: &str| {
        if let Some(required) = schema["required"].as_array_mut() {
            required.push(member.into());
        }
    };
    if entry.on_issue {
        require("issue_id");
    }
    if details["type"] == "object" {
        // Details that must hold something must be there.
        require("details");
    }
    if entry.on_issue {
        schema["properties"]["issue_id"] = ids::json_schema();
    }
    if !directory::is_about(entry.action) {
        schema["properties"]["version"] = json!({ "type": "null" });
    }
    if entry.audience == Audience::Staff {
        schema["properties"]["audience"] = json!({ "enum": [Audience::Staff, null] });
    }
    schema["properties"]["action"] = json!({ "const": entry.action });
    schema["properties"]["details"] = details;
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = entry.action.into();
    schema["description"] = entry.description.into();
    schema
}

/// The JSON Schema of an event of whatever action.
pub fn any() -> Value {
    let mut schema = object(EventMembers::MEMBERS);
    schema["if"] = json!({ "properties": { "actor_type": { "const": ActorType::User } } });
    schema["then"] = json!({ "properties": { "on_behalf_of": { "type": "null" } } });
    schema
}

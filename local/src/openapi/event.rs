//! The schema of an event, from the table of its members.

use domain::event::{MAX_BATCH, MAX_EVENT_LEN, any_schema, members};
use serde_json::{Value, json};

use super::ordered::{Ordered, object};
use super::references::{EVENT, reference};

/// The schema of one event.
pub(super) fn schema() -> Ordered {
    let members = members().iter().map(|member| {
        let mut schema = (member.schema)();
        schema["description"] = member.description.into();
        (member.name, Ordered::Value(schema))
    });
    let description = format!(
        "An activity that asks to be recorded. Its compact JSON is at most {MAX_EVENT_LEN} bytes.\n\n\
         Members that are null count as absent. Known actions have their details checked: `issue.created` needs \
         `title` and `identifier`, `issue.updated` the changed fields and their new values; `/api/v1/actions` has a \
         schema of each."
    );
    let mut schema = vec![
        ("type".to_owned(), "object".into()),
        ("description".to_owned(), description.into()),
        ("properties".to_owned(), Ordered::object(members)),
    ];
    if let Value::Object(rules) = any_schema() {
        let rules = rules.into_iter().filter(|(name, _)| !["type", "properties"].contains(&name.as_str()));
        schema.extend(rules.map(|(name, rule)| (name, rule.into())));
    }
    schema.push(("example".to_owned(), example().into()));
    Ordered::Object(schema)
}

/// The schema of one event or an array of events.
pub(super) fn one_or_several() -> Ordered {
    let several = object([
        ("type", "array".into()),
        ("items", reference(EVENT)),
        ("minItems", json!(1).into()),
        ("maxItems", json!(MAX_BATCH).into()),
    ]);
    object([("oneOf", Ordered::Array(vec![reference(EVENT), several]))])
}

fn example() -> Value {
    json!({
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
        "created_at": "2025-01-01T00:00:00Z",
        "audience": "staff"
    })
}

/// An event to try on the demo workspace. Without an id and a time, each try is recorded, as the newest.
pub(super) fn to_try() -> Value {
    json!({
        "issue_id": "issue-demo-1",
        "actor_type": "agent",
        "actor_id": "agent-demo",
        "on_behalf_of": { "id": "user-demo" },
        "action": "issue.updated",
        "details": { "status": "in_review" }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::event::{Defaults, InputEvent};
    use domain::time::Timestamp;

    use domain::provenance::{RecordedBy, Source};

    use super::*;

    #[test]
    fn example_has_every_member_and_is_recorded() {
        let example = example();
        let shown: BTreeSet<&str> = example.as_object().unwrap().keys().map(String::as_str).collect();
        // Only events about workspaces and members have a version.
        let names = members().iter().map(|member| member.name).filter(|name| *name != "version");
        assert_eq!(shown, names.collect());
        let now = Timestamp::parse("now", "2026-01-01T00:00:00Z").unwrap();
        let recorded_by = RecordedBy::new(Source::Http, &["ada"]);
        let defaults =
            Defaults { id: ("a".into(), "id"), workspace: None, created_at: now, now, recorded_by };
        InputEvent::parse(example, &defaults).unwrap();
    }
}

//! Activities as items of the table.
//!
//! Free-form data is stored as JSON text, not as DynamoDB's own types, which would normalise numbers.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use super::{Item, string};
use crate::activity::{Action, Activity, ActorType, Party};
use crate::catalog::{Audience, OTHER, audience, category};
use crate::ids::{ActivityId, ActorId, IssueId, Tag, WorkspaceId};
use crate::keys::{self, Position};
use crate::time::Timestamp;
use crate::{Error, Result};

/// Set, and true, on activities that were for staff when they were recorded: the counters count these apart.
pub(super) const STAFF: &str = "staff";

/// The item of an activity; `org_key` is its partition in by-organization.
pub(super) fn encode(activity: &Activity, org_key: &str) -> Result<Item> {
    let position = activity.position();
    let workspace = &activity.workspace_id;
    let mut item = HashMap::from([
        (keys::PK.into(), string(keys::workspace(workspace))),
        (keys::SK.into(), string(keys::activity(&position))),
        (keys::ACTOR.into(), string(keys::actor(workspace, &activity.actor_id))),
        (keys::ACTION.into(), string(Position::by_category(activity).as_str())),
        (keys::ORGANIZATION.into(), string(org_key)),
        ("actor_type".into(), string(activity.actor_type.as_str())),
        ("actor_id".into(), string(activity.actor_id.as_str())),
        ("action".into(), string(activity.action.as_str())),
        ("details".into(), json(&activity.details)?),
    ]);
    let mut set = |name: &str, value: AttributeValue| item.insert(name.into(), value);
    if let Some(issue) = &activity.issue_id {
        set(keys::ISSUE, string(keys::issue(workspace, issue)));
        set("issue_id", string(issue.as_str()));
    }
    for (name, party) in [("on_behalf_of", &activity.on_behalf_of), ("affected", &activity.affected)] {
        if let Some(party) = party {
            set(name, json(party)?);
        }
    }
    for (name, text) in [("actor_name", &activity.actor_name), ("actor_email", &activity.actor_email)] {
        if let Some(text) = text {
            set(name, string(text));
        }
    }
    if !activity.tags.is_empty() {
        set("tags", AttributeValue::L(activity.tags.iter().map(|tag| string(tag.as_str())).collect()));
    }
    if is_staff(activity) {
        set(STAFF, AttributeValue::Bool(true));
    }
    Ok(item)
}

/// Whether an activity recorded now is counted as staff's.
pub(super) fn is_staff(activity: &Activity) -> bool {
    audience(&activity.action) == Audience::Staff
}

/// Reads an activity back.
///
/// # Errors
/// [`Error::Internal`] naming the item when it is not one that [`encode`] made: rows are never dropped.
pub(super) fn decode(mut item: Item) -> Result<Activity> {
    let pk = text(&mut item, keys::PK)?;
    let sk = text(&mut item, keys::SK)?;
    read(item, &pk, &sk).map_err(|error| Error::internal(format!("item {pk} {sk}: {}", error.chain())))
}

/// Reads an activity whose key is `pk` and `sk`; what `item` has beyond an activity's attributes does not matter.
pub(super) fn read(mut item: Item, pk: &str, sk: &str) -> Result<Activity> {
    let action = Action::parse("action", text(&mut item, "action")?)?;
    // What had no row when it was recorded stays where it was put.
    let other = keys::category_prefix(OTHER);
    let is_other = optional(&mut item, keys::ACTION)?.is_some_and(|place| place.starts_with(&other));
    let at = sk.strip_prefix(keys::ACTIVITY_PREFIX).and_then(|at| at.split_once('#'));
    let (created_at, id) = at.ok_or_else(|| Error::internal("not an activity's sort key"))?;
    Ok(Activity {
        id: ActivityId::parse("id", id)?,
        workspace_id: WorkspaceId::parse("pk", pk.strip_prefix("WS#").unwrap_or_default())?,
        issue_id: optional(&mut item, "issue_id")?.map(|id| IssueId::parse("issue_id", id)).transpose()?,
        actor_type: ActorType::parse("actor_type", &text(&mut item, "actor_type")?)?,
        actor_id: ActorId::parse("actor_id", text(&mut item, "actor_id")?)?,
        category: if is_other { OTHER } else { category(&action) },
        action,
        details: serde_json::from_str(&text(&mut item, "details")?).map_err(Error::internal)?,
        created_at: Timestamp::parse("sk", created_at)?,
        on_behalf_of: party(&mut item, "on_behalf_of")?,
        affected: party(&mut item, "affected")?,
        tags: match item.remove("tags") {
            None => Vec::new(),
            Some(AttributeValue::L(tags)) => tags.into_iter().map(tag).collect::<Result<_>>()?,
            Some(_) => return Err(Error::internal("tags is no list")),
        },
        actor_name: optional(&mut item, "actor_name")?,
        actor_email: optional(&mut item, "actor_email")?,
    })
}

fn tag(value: AttributeValue) -> Result<Tag> {
    match value {
        AttributeValue::S(text) => Tag::parse("tags", text),
        _ => Err(Error::internal("a tag is no string")),
    }
}

fn party(item: &mut Item, name: &str) -> Result<Option<Party>> {
    let Some(text) = optional(item, name)? else { return Ok(None) };
    let mut members: Map<String, Value> = serde_json::from_str(&text).map_err(Error::internal)?;
    let mut take = |member: &str| match members.remove(member) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (name, email) = (take("name"), take("email"));
    Ok(Some(Party { id: ActorId::parse("id", take("id").unwrap_or_default())?, name, email }))
}

/// Takes a string that may be absent.
pub(super) fn optional(item: &mut Item, name: &str) -> Result<Option<String>> {
    match item.remove(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(_) => Err(Error::internal(format!("{name} is no string"))),
    }
}

/// Takes a string that must be there.
pub(super) fn text(item: &mut Item, name: &str) -> Result<String> {
    optional(item, name)?.ok_or_else(|| Error::internal(format!("{name} is missing")))
}

fn json(value: &impl serde::Serialize) -> Result<AttributeValue> {
    serde_json::to_string(value).map(string).map_err(Error::internal)
}

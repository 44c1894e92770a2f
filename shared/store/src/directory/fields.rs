//! The entries of the directory as items: what was said of each field, and what holds of it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use domain::directory::{
    EntryKey, Field, FieldChange, Precedence, Privacy, Role, Workspace, holding, value_attribute,
};
use domain::ids::{OrganizationId, WorkspaceId};
use serde_json::Value;

use crate::keys::{self, Key};
use crate::{Item, string};

/// The attribute that marks a workspace with activities outside its organization's partition.
pub(crate) const UNCLAIMED: &str = "unclaimed";
/// The attribute that marks a workspace that goes by versions.
pub(crate) const VERSIONED: &str = "versioned";
/// In a field's map: its value.
pub(crate) const VALUE: &str = "v";
/// In a field's map: when its value was said.
pub(crate) const AT: &str = "at";

/// The attribute of a change: when its value was said, beside the value itself unless the attribute's name has it.
pub(crate) fn encode(change: &FieldChange) -> AttributeValue {
    let at = string(keys::precedence(&change.at));
    if change.beside_others {
        return at;
    }
    AttributeValue::M(HashMap::from([(VALUE.into(), attribute_of(&change.value)), (AT.into(), at)]))
}

fn attribute_of(value: &Value) -> AttributeValue {
    match value {
        Value::String(text) => string(text),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        _ => AttributeValue::Null(true),
    }
}

/// When an attribute's value was said, whichever form the attribute has.
pub(crate) fn said_at(attribute: &AttributeValue) -> Option<Precedence> {
    let text = match attribute {
        AttributeValue::M(map) => map.get(AT)?.as_s().ok()?,
        other => other.as_s().ok()?,
    };
    keys::parse_precedence(text)
}

/// A field's value, when it was ever set.
fn field(item: &Item, field: Field) -> Option<&AttributeValue> {
    item.get(field.name())?.as_m().ok()?.get(VALUE)
}

/// The values of a field that decides access, the most restrictive first.
fn values(field: Field) -> Vec<Value> {
    match field {
        Field::Role => {
            let roles = [Role::Client, Role::Member, Role::Admin, Role::Owner].map(Role::as_str);
            std::iter::once(Value::Null).chain(roles.map(Value::from)).collect()
        }
        Field::Privacy => vec!["admins".into(), "members".into()],
        Field::ActivityEnabled => vec![false.into(), true.into()],
        _ => Vec::new(),
    }
}

/// The value that holds of a field that decides access, and when it was said. An item may have it in the form in which a
/// field kept only its newest one.
pub(crate) fn held(item: &Item, field: Field, tolerance: TimeDelta) -> Option<(Value, Precedence)> {
    let values = values(field);
    let alone = item.get(field.name()).and_then(|attribute| attribute.as_m().ok()?.get(VALUE));
    let mut said = Vec::new();
    for (rank, value) in values.iter().enumerate() {
        let kept = item.get(&value_attribute(field, value));
        let is_alone = alone.is_some_and(|alone| *alone == attribute_of(value));
        let times = [kept, item.get(field.name()).filter(|_| is_alone)];
        said.extend(times.into_iter().flatten().filter_map(said_at).map(|at| (rank, at)));
    }
    let (rank, at) = holding(said, tolerance)?;
    Some((values.into_iter().nth(rank)?, at))
}

/// The entry that an item is.
pub(crate) fn entry_key(item: &Item) -> Option<EntryKey> {
    let text = |name| item.get(name)?.as_s().ok();
    match Key::parse(text(keys::PK)?, text(keys::SK)?)? {
        Key::Directory(entry) => Some(entry),
        _ => None,
    }
}

/// A membership's role; none once it ended.
pub(crate) fn role_of(item: &Item, tolerance: TimeDelta) -> Option<Role> {
    Role::parse(held(item, Field::Role, tolerance)?.0.as_str()?)
}

/// The workspace that an item of a listing names.
pub(crate) fn listed_workspace(item: &Item) -> Option<WorkspaceId> {
    keys::listed_workspace(item.get(keys::SK)?.as_s().ok()?)
}

/// The organization in a workspace's entry.
pub(crate) fn organization_in(item: &Item) -> Option<OrganizationId> {
    let id = field(item, Field::Organization)?.as_s().ok()?;
    OrganizationId::parse("organization", id.as_str()).ok()
}

/// A workspace's entry, once its `workspace.created` was recorded; before, there may only be settings.
pub(crate) fn workspace_of(item: &Item, tolerance: TimeDelta) -> Option<Workspace> {
    let held = |field| held(item, field, tolerance).map(|(value, _)| value);
    let text = |name| field(item, name).and_then(|value| value.as_s().ok()).cloned();
    let flag = |name| field(item, name).and_then(|value| value.as_bool().ok()).copied();
    Some(Workspace {
        name: text(Field::Name)?,
        slug: text(Field::Slug),
        organization: text(Field::Organization).and_then(|id| OrganizationId::parse("organization", id).ok()),
        organization_name: text(Field::OrganizationName),
        organization_slug: text(Field::OrganizationSlug),
        versioned: item.contains_key(VERSIONED),
        unclaimed: item.contains_key(UNCLAIMED),
        activity_enabled: held(Field::ActivityEnabled).is_none_or(|enabled| enabled == true),
        privacy: match held(Field::Privacy) {
            Some(privacy) if privacy == "admins" => Privacy::Admins,
            _ => Privacy::Members,
        },
        archived: flag(Field::Archived).unwrap_or(false),
    })
}

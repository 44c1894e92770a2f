//! The catalog: what is known of each action, as data in one place.
//!
//! An action that is not here is recorded as it is: platforms grow. To add one, add a row.

use serde_json::{Map, Value};

use crate::activity::{Action, Activity};
use crate::ids;
use crate::{Error, Result};

/// Who may see an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everyone who may read the workspace.
    Everyone,
    /// Not those with the role client.
    Staff,
}

/// What a member of an action's details must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A string of 1 to 1,000 characters.
    Text,
    /// An identifier.
    Id,
    /// `true` or `false`.
    Bool,
    /// One of these strings.
    OneOf(&'static [&'static str]),
}

/// Which details an action must have.
#[derive(Debug, Clone, Copy)]
pub struct Detail {
    name: &'static str,
    kind: Kind,
    required: bool,
}

/// One row of the catalog.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    action: &'static str,
    audience: Audience,
    details: &'static [Detail],
    /// Whether at least one member is required, whatever its name.
    some_detail: bool,
}

const fn required(name: &'static str, kind: Kind) -> Detail {
    Detail { name, kind, required: true }
}

const fn optional(name: &'static str, kind: Kind) -> Detail {
    Detail { name, kind, required: false }
}

const fn entry(action: &'static str, audience: Audience, details: &'static [Detail]) -> Entry {
    Entry { action, audience, details, some_detail: false }
}

/// The roles a member can have.
pub const ROLES: &[&str] = &["owner", "admin", "member", "client"];
/// Who sees a workspace's feed: all its members, or owners and admins only.
pub const PRIVACY: &[&str] = &["members", "admins"];

use Audience::{Everyone, Staff};
use Kind::{Bool, Id, OneOf, Text};

static CATALOG: &[Entry] = &[
    entry("issue.created", Everyone, &[required("title", Text), required("identifier", Text)]),
    Entry { some_detail: true, ..entry("issue.updated", Everyone, &[]) },
    entry(
        "workspace.created",
        Everyone,
        &[required("name", Text), optional("slug", Id), optional("organization", Id)],
    ),
    Entry {
        some_detail: true,
        ..entry(
            "workspace.settings_updated",
            Staff,
            &[optional("activity_enabled", Bool), optional("privacy", OneOf(PRIVACY))],
        )
    },
    entry("workspace.archived", Everyone, &[]),
    entry("workspace.unarchived", Everyone, &[]),
    entry("member.added", Staff, &[required("user", Id), required("role", OneOf(ROLES))]),
    entry("member.role_changed", Staff, &[required("user", Id), required("role", OneOf(ROLES))]),
    entry("member.removed", Staff, &[required("user", Id)]),
    entry("invitation.created", Staff, &[]),
    entry("invitation.accepted", Staff, &[]),
    entry("custom_field.created", Staff, &[]),
];

fn find(action: &Action) -> Option<&'static Entry> {
    CATALOG.iter().find(|entry| entry.action == action.as_str())
}

/// Who may see `action`; everyone, when it is not in the catalog.
pub fn audience(action: &Action) -> Audience {
    find(action).map_or(Everyone, |entry| entry.audience)
}

/// Checks an activity's details against its action's row.
///
/// # Errors
/// [`Error::BadInput`] of the member at fault, or of `issue_id` when an action on an issue names none.
pub fn check(activity: &Activity) -> Result<()> {
    let Some(entry) = find(&activity.action) else { return Ok(()) };
    if entry.action.starts_with("issue.") && activity.issue_id.is_none() {
        return Err(Error::bad_input("issue_id", format!("is required for {}", entry.action)));
    }
    if entry.some_detail && activity.details.is_empty() {
        let detail = format!("must hold the changed fields and their new values for {}", entry.action);
        return Err(Error::bad_input("details", detail));
    }
    entry.details.iter().try_for_each(|detail| detail.check(entry.action, &activity.details))
}

impl Detail {
    fn check(&self, action: &str, details: &Map<String, Value>) -> Result<()> {
        let field = format!("details.{}", self.name);
        let value = details.get(self.name).filter(|value| !value.is_null());
        let expected = match (value, self.kind) {
            (None, _) if self.required => {
                return Err(Error::bad_input(field, format!("is required for {action}")));
            }
            (None, _) | (Some(Value::Bool(_)), Bool) => return Ok(()),
            (Some(Value::String(text)), Text) if (1..=1000).contains(&text.chars().count()) => return Ok(()),
            (Some(Value::String(text)), Id) if ids::is_valid(text) => return Ok(()),
            (Some(Value::String(text)), OneOf(allowed)) if allowed.contains(&text.as_str()) => return Ok(()),
            (Some(_), Text) => "must be a string of 1 to 1000 characters".into(),
            (Some(_), Id) => "must be an id: 1 to 128 characters of A-Z a-z 0-9 . _ : @ -".into(),
            (Some(_), Bool) => "must be true or false".into(),
            (Some(_), OneOf(allowed)) => format!("must be one of {}", allowed.join(", ")),
        };
        Err(Error::bad_input(field, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_an_action_and_stands_once() {
        for (index, entry) in CATALOG.iter().enumerate() {
            assert!(Action::parse("action", entry.action).is_ok(), "{}", entry.action);
            assert!(CATALOG[..index].iter().all(|other| other.action != entry.action), "{}", entry.action);
        }
    }
}

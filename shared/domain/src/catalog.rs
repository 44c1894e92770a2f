//! The catalog: everything known of each action, as data in one place, [`entries`].
//!
//! An action without a row is recorded as it is, because platforms grow; it is for staff, because nobody has said that
//! a workspace's clients may know of it. To add an action, add a row.

mod detail;
mod rows;
mod sentence;

use serde_json::{Map, Value, json};

use crate::activity::{Action, Activity, Audience};
use crate::error::FaultList;
use crate::json::{Json, Members, Object};
use crate::{Error, Result};

pub use detail::{Detail, Kind};
pub use sentence::{html, text};

/// One row of the catalog.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The action, `issue.created`.
    pub action: &'static str,
    /// Its name in GraphQL, `CREATE_TODO`, which no other action has.
    pub category: &'static str,
    /// Its audience.
    pub audience: Audience,
    /// The meaning of the action for producers, and which members they set.
    pub description: &'static str,
    /// Its sentence for people.
    sentence: &'static str,
    /// Whether an event must name an issue.
    pub on_issue: bool,
    /// Whether the details must have at least one member, whatever its name.
    some_detail: bool,
    details: &'static [Detail],
}

impl Entry {
    /// The JSON Schema of the details. Producers may add members that the row does not know.
    pub(crate) fn details_schema(&self) -> Value {
        let properties: Map<String, Value> =
            self.details.iter().map(|detail| (detail.name.to_owned(), detail.schema())).collect();
        let required: Vec<&str> =
            self.details.iter().filter(|detail| detail.required).map(|detail| detail.name).collect();
        let mut schema = json!({ "type": "object", "properties": properties });
        if required.is_empty() && !self.some_detail {
            return crate::schema::or_null(schema);
        }
        if self.some_detail {
            schema["minProperties"] = 1.into();
        }
        schema["required"] = required.into();
        schema
    }
}

/// The roles a member can have.
pub const ROLES: &[&str] = &["owner", "admin", "member", "client"];
/// The readers of a workspace's feed: all its members, or owners and admins only.
pub const PRIVACY: &[&str] = &["members", "admins"];

/// All rows, grouped by subject.
pub fn entries() -> &'static [Entry] {
    rows::CATALOG
}

/// The row of `action`, when it has one.
pub fn find(action: &Action) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.action == action.as_str())
}

/// The category of actions without a row.
pub const OTHER: &str = "OTHER";

/// The row of `category`, when it has one.
pub fn of_category(category: &str) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.category == category)
}

/// The category of `action` as it is recorded now.
pub fn category(action: &Action) -> &'static str {
    find(action).map_or(OTHER, |entry| entry.category)
}

/// The audience of an activity that is recorded now: what its event asked for; else its action's; else staff.
pub fn audience(activity: &Activity) -> Audience {
    let listed = || find(&activity.action).map(|entry| entry.audience);
    activity.audience.or_else(listed).unwrap_or(Audience::Staff)
}

/// Whether the catalog has `action` for staff now.
pub fn is_for_staff(action: &Action) -> bool {
    find(action).is_some_and(|entry| entry.audience == Audience::Staff)
}

/// Parses a category; an error names `field`.
///
/// # Errors
/// [`Error::BadInput`] when the catalog has no such category.
pub fn parse_category(field: &str, text: &str) -> Result<&'static str> {
    let known = entries().iter().map(|entry| entry.category).chain([OTHER]);
    known
        .into_iter()
        .find(|category| *category == text)
        .ok_or_else(|| Error::bad_input(field, "must be a category"))
}

/// Checks the members of an event against its action's row, if it has one. The faults are those that the members do not have by
/// themselves, such as an `issue_id` that is missing, or an `audience` that would show everyone what is for staff.
pub(crate) fn check(members: &Members, faults: &mut FaultList) {
    let action = members.get("action").and_then(Json::as_str);
    let Some(entry) = entries().iter().find(|entry| Some(entry.action) == action) else { return };
    let mut fault = |field: &str, detail: String| faults.add(Error::bad_input(field, detail));
    if entry.on_issue && members.get("issue_id").is_none() {
        fault("issue_id", format!("is required for {}", entry.action));
    }
    let audience = members.get("audience").and_then(Json::as_str);
    if entry.audience == Audience::Staff && audience == Some(Audience::Everyone.as_str()) {
        fault("audience", format!("must be absent, or staff, for {}", entry.action));
    }
    let none = Object::default();
    let details = match members.get("details") {
        Some(details) => details.as_object(),
        None => Some(&none),
    };
    let Some(details) = details else { return };
    if entry.some_detail && details.is_empty() {
        fault("details", format!("must hold the changed fields and their new values for {}", entry.action));
    }
    entry
        .details
        .iter()
        .filter_map(|detail| detail.check(entry.action, details).err())
        .for_each(|error| faults.add(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The categories of the GraphQL reference, in its order, with the actions they name.
    const REFERENCE: &[(&str, &str)] = &[
        ("CREATE_TODO", "issue.created"),
        ("MARK_TODO_AS_COMPLETE", "issue.completed"),
        ("CREATE_COMMENT", "comment.created"),
        ("CREATE_DISCUSSION", "discussion.created"),
        ("CREATE_STATUS_UPDATE", "status_update.created"),
        ("CREATE_TODO_LIST", "issue_list.created"),
        ("MOVE_TODO", "issue.moved"),
        ("COPY_TODO", "issue.copied"),
        ("ADD_USER_TO_PROJECT", "member.added"),
        ("REMOVE_USER_FROM_PROJECT", "member.removed"),
        ("ARCHIVE_PROJECT", "workspace.archived"),
        ("UNARCHIVE_PROJECT", "workspace.unarchived"),
        ("CREATE_INVITATION", "invitation.created"),
        ("ACCEPT_INVITATION", "invitation.accepted"),
        ("CREATE_CUSTOM_FIELD", "custom_field.created"),
        ("RECEIVE_FORM", "form.received"),
    ];

    #[test]
    fn every_row_is_an_action_with_a_category_of_its_own() {
        for (index, entry) in entries().iter().enumerate() {
            assert!(Action::parse("action", entry.action).is_ok(), "{}", entry.action);
            let words = entry.category.split('_');
            let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
            assert!(words.clone().count() > 1 && words.clone().all(is_word), "{}", entry.category);
            assert!(
                entry.description.ends_with('.') && !entry.description.contains('\n'),
                "{}",
                entry.action
            );
            for other in &entries()[..index] {
                assert_ne!(other.action, entry.action);
                assert_ne!(other.category, entry.category, "{} and {}", other.action, entry.action);
            }
            for (index, detail) in entry.details.iter().enumerate() {
                let same = |other: &Detail| other.name == detail.name;
                assert!(!entry.details[..index].iter().any(same), "{}: {}", entry.action, detail.name);
            }
        }
    }

    #[test]
    fn every_category_of_the_reference_has_its_action() {
        assert_eq!(REFERENCE.len(), 16);
        for &(category, action) in REFERENCE {
            let row = entries().iter().find(|entry| entry.category == category);
            assert_eq!(row.map(|entry| entry.action), Some(action), "{category}");
        }
    }

    #[test]
    fn what_is_about_an_issue_names_it() {
        for entry in entries() {
            assert_eq!(entry.on_issue, entry.action.starts_with("issue."), "{}", entry.action);
        }
    }

    #[test]
    fn administration_is_for_staff() {
        let staff = ["member", "invitation", "custom_field", "configuration", "integration"];
        for entry in entries() {
            let noun = entry.action.split('.').next().unwrap();
            let expected = staff.contains(&noun) || entry.action == "workspace.settings_updated";
            assert_eq!(entry.audience == Audience::Staff, expected, "{}", entry.action);
        }
    }
}

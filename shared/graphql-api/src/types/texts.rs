//! The details of an activity that fields of the schema show by themselves.

use std::collections::HashMap;

use domain::json::Details;

/// Their names.
const SHOWN: &[&str] = &[
    "comment",
    "discussion",
    "issue_title",
    "list",
    "list_title",
    "status_update",
    "text",
    "title",
    "to_list",
    "to_list_title",
    "user",
];

/// The texts of those that an activity has; `None` for what is no text. The other details are parsed only to find these, because
/// parsed JSON may take a hundred times its size in memory.
#[derive(Debug)]
pub(super) struct Texts(HashMap<&'static str, Option<String>>);

impl Texts {
    pub(super) fn of(details: &Details) -> Self {
        let members = details.members();
        let text = |name: &&'static str| Some((*name, members.get(name)?.as_str().map(str::to_owned)));
        Self(SHOWN.iter().filter_map(text).collect())
    }

    /// Whether there is a detail, one of those shown.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The text of a detail, one of those shown.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref()
    }
}

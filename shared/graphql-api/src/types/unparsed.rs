//! Details of an activity that are parsed only while a field is resolved.
//!
//! JSON may take a hundred times its size in memory, so that a page of hostile details would not fit a function.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

/// The details that fields of the schema show by themselves.
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

/// The details that fields show, by their names; `None` for what is no text.
type Texts = HashMap<&'static str, Option<String>>;

/// Details as JSON.
#[derive(Debug)]
pub(super) struct Unparsed {
    /// The JSON of an object.
    pub(super) json: String,
    texts: OnceLock<Texts>,
}

impl Unparsed {
    pub(super) fn new(json: String) -> Self {
        Self { json, texts: OnceLock::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.json == "{}"
    }

    /// All details.
    pub(super) fn parse(&self) -> Map<String, Value> {
        serde_json::from_str(&self.json).unwrap_or_default()
    }

    /// Whether there is a detail, one of [`SHOWN`].
    pub(super) fn has(&self, name: &str) -> bool {
        self.texts().contains_key(name)
    }

    /// The text of a detail, one of [`SHOWN`].
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.texts().get(name)?.clone()
    }

    fn texts(&self) -> &Texts {
        self.texts.get_or_init(|| {
            let details = self.parse();
            let text = |name: &&'static str| Some((*name, details.get(*name)?.as_str().map(str::to_owned)));
            SHOWN.iter().filter_map(text).collect()
        })
    }
}

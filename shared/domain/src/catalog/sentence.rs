//! The sentence of an activity for people: its row's sentence, filled in.
//!
//! In a sentence, `{title}` stands for a member of the details, `{actor}` and `{user}` for people, `{*}` for all of
//! the details; `{title|a page}` says what stands for a member that is not there, and what is in brackets is left out
//! when a member in it is not there.

use std::fmt::Write as _;

use super::{Entry, find};
use crate::activity::Activity;
use crate::json::{Json, Object};

/// The most characters of one value that a sentence shows: a comment may have 60,000.
const MAX_SHOWN: usize = 280;
/// The sentence of an action without a row.
const UNKNOWN: &str = "{actor} recorded {action}";

/// The sentence of an activity as HTML: people in `strong`, what they dealt with in `em`, everything escaped.
pub fn html(activity: &Activity) -> String {
    filled(activity, true)
}

/// The sentence of an activity as plain text, nothing escaped.
pub fn text(activity: &Activity) -> String {
    filled(activity, false)
}

/// Part of a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Words.
    Words(&'a str),
    /// A placeholder, and what stands for it when there is nothing.
    Value(&'a str, Option<&'a str>),
    /// A part that is left out when a value in it is missing.
    Optional(Vec<Part<'a>>),
}

/// Reads a sentence.
pub(super) fn parts(mut rest: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    while let Some(at) = rest.find(['{', '[']) {
        let (words, more) = rest.split_at(at);
        if !words.is_empty() {
            parts.push(Part::Words(words));
        }
        let (open, inner) = more.split_at(1);
        let close = if open == "{" { '}' } else { ']' };
        let (inner, after) = inner.split_once(close).unwrap_or((inner, ""));
        parts.push(match (close, inner.split_once('|')) {
            (']', _) => Part::Optional(self::parts(inner)),
            (_, Some((name, otherwise))) => Part::Value(name, Some(otherwise)),
            (_, None) => Part::Value(inner, None),
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Words(rest));
    }
    parts
}

fn filled(activity: &Activity, html: bool) -> String {
    let sentence = find(&activity.action).map_or(UNKNOWN, |entry: &Entry| entry.sentence);
    let subject = Subject { activity, details: activity.details.members() };
    let mut out = String::new();
    for part in &parts(sentence) {
        // An older event may lack a value that its row promises today, and the part is left out.
        fill(&mut out, part, &subject, html);
    }
    out
}

/// The subject of a sentence.
struct Subject<'a> {
    activity: &'a Activity,
    details: Object,
}

/// Adds a part; false when a value in it is not there.
fn fill(out: &mut String, part: &Part<'_>, subject: &Subject<'_>, html: bool) -> bool {
    match part {
        Part::Words(words) => out.push_str(words),
        Part::Optional(parts) => {
            let before = out.len();
            if !parts.iter().all(|part| fill(out, part, subject, html)) {
                out.truncate(before);
            }
        }
        Part::Value(name, otherwise) => {
            let Some(value) = value(name, subject) else {
                out.push_str(otherwise.unwrap_or_default());
                return otherwise.is_some();
            };
            let tag = if matches!(*name, "actor" | "user") { "strong" } else { "em" };
            if html {
                // Writing into a string cannot fail.
                let _ = write!(out, "<{tag}>{}</{tag}>", Escaped(&value));
            } else {
                out.push_str(&value);
            }
        }
    }
    true
}

/// The value that stands for a placeholder.
fn value(name: &str, Subject { activity, details }: &Subject<'_>) -> Option<String> {
    let named = |name: &Option<String>, id: &str| name.clone().unwrap_or_else(|| id.to_owned());
    let value = match name {
        "actor" => named(&activity.actor_name, activity.actor_id.as_str()),
        "action" => activity.action.as_str().to_owned(),
        "user" => {
            let id = details.get("user").and_then(Json::as_str);
            match (&activity.affected, id) {
                // Somebody else may have been affected too.
                (Some(affected), id) if id.is_none_or(|id| id == affected.id.as_str()) => {
                    named(&affected.name, affected.id.as_str())
                }
                (_, id) => id?.to_owned(),
            }
        }
        "*" => {
            let mut members = String::new();
            for (name, value) in details.iter() {
                // The sentence is cut before the rest.
                if members.len() > 4 * MAX_SHOWN {
                    break;
                }
                let separator = if members.is_empty() { "" } else { ", " };
                let _ = write!(members, "{separator}{name}: {}", shown(value));
            }
            members
        }
        member => match details.get(member)? {
            Json::Null => return None,
            value => shown(value),
        },
    };
    (!value.is_empty()).then(|| shortened(value))
}

fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Text that is nothing but text in HTML, in an attribute also.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::activity::Action;
    use crate::catalog::Kind;
    use crate::event::{Defaults, InputEvent};
    use crate::json::Details;
    use crate::time::Timestamp;

    /// An activity of `action` in which every name and text is `hostile`.
    fn activity(action: &str, hostile: &str) -> Activity {
        let now = Timestamp::parse("now", "2025-01-01T00:00:00Z").unwrap();
        let mut details = serde_json::Map::new();
        if let Some(entry) = find(&Action::parse("action", action).unwrap()) {
            for detail in entry.details {
                details.insert(detail.name.to_owned(), detail.sample(hostile));
            }
            if entry.some_detail {
                details.insert(hostile.to_owned(), hostile.into());
            }
        }
        let event = json!({
            "id": "act-1", "workspace_id": "ws-1", "issue_id": "issue-1", "actor_type": "user", "actor_id": "u-1",
            "actor": { "name": hostile }, "action": action, "details": details,
        });
        let recorded_by = crate::provenance::RecordedBy::new(crate::provenance::Source::Http, &["x"]);
        let defaults =
            Defaults { id: ("x".into(), "id"), workspace: None, created_at: now, now, recorded_by };
        InputEvent::parse(event, &defaults).unwrap().activity
    }

    fn of(action: &str, details: Value) -> Activity {
        let details = Details::from_json(details.to_string()).unwrap();
        Activity { details, ..activity(action, "Ada") }
    }

    #[test]
    fn fills_in_what_is_there_and_leaves_out_what_is_not() {
        let list = json!({ "title": "Fix login", "identifier": "ISS-1", "list_title": "Doing" });
        for (activity, expected) in [
            (
                of("issue.created", list),
                "<strong>Ada</strong> created the todo <em>Fix login</em> in the list <em>Doing</em>",
            ),
            (
                of("issue.created", json!({ "title": "Fix" })),
                "<strong>Ada</strong> created the todo <em>Fix</em>",
            ),
            (of("issue.completed", json!({})), "<strong>Ada</strong> marked the todo as complete"),
            (
                of("issue.completed", json!({ "title": null })),
                "<strong>Ada</strong> marked the todo as complete",
            ),
            (
                of("issue.updated", json!({ "labels": ["a"], "priority": 1 })),
                "<strong>Ada</strong> updated a todo: <em>labels: [&quot;a&quot;], priority: 1</em>",
            ),
            (
                of("member.added", json!({ "user": "u-2", "role": "admin" })),
                "<strong>Ada</strong> added <strong>u-2</strong> to the workspace as <em>admin</em>",
            ),
            (of("deploy.finished", json!({})), "<strong>Ada</strong> recorded <em>deploy.finished</em>"),
        ] {
            assert_eq!(html(&activity), expected);
        }
        assert_eq!(text(&of("issue.created", json!({ "title": "a < b" }))), "Ada created the todo a < b");
    }

    #[test]
    fn no_name_and_no_title_is_more_than_text() {
        let hostile = "<script>alert('x')</script>&\"onload=\"";
        let actions = super::super::entries().iter().map(|entry| entry.action);
        for action in actions.chain(["deploy.finished"]) {
            let activity = activity(action, hostile);
            let html = html(&activity);
            let bare = ["<strong>", "</strong>", "<em>", "</em>"]
                .iter()
                .fold(html.clone(), |html, tag| html.replace(tag, ""));
            assert!(!bare.contains(['<', '>', '"', '\'']), "{html}");
            assert!(bare.contains("&lt;script&gt;"), "{html}");
            let entity = |at: usize| {
                ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().any(|e| bare[at..].starts_with(e))
            };
            assert!(bare.match_indices('&').all(|(at, _)| entity(at)), "{html}");
        }
    }

    #[test]
    fn every_placeholder_is_a_detail_that_its_row_knows() {
        fn check(entry: &Entry, parts: &[Part<'_>], optional: bool) {
            for part in parts {
                match part {
                    Part::Words(words) => {
                        assert!(!words.contains(['{', '}', '[', ']', '|', '<', '&']), "{words}")
                    }
                    Part::Optional(parts) => {
                        assert!(parts.iter().any(|part| matches!(part, Part::Value(..))), "{}", entry.action);
                        check(entry, parts, true);
                    }
                    Part::Value("actor", None) => {}
                    Part::Value("*", None) => assert!(entry.some_detail, "{}", entry.action),
                    Part::Value(name, otherwise) => {
                        let detail = entry.details.iter().find(|detail| detail.name == *name);
                        let detail = detail.unwrap_or_else(|| panic!("{}: {name}", entry.action));
                        // Whatever there may be includes null.
                        let is_there = detail.required && !matches!(detail.kind, Kind::Any);
                        assert!(is_there || optional || otherwise.is_some(), "{}: {name}", entry.action);
                    }
                }
            }
        }
        for entry in super::super::entries() {
            assert!(entry.sentence.starts_with("{actor} "), "{}", entry.action);
            check(entry, &parts(entry.sentence), false);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let activity = of("comment.created", json!({ "text": "é".repeat(MAX_SHOWN + 1) }));
        assert_eq!(text(&activity), format!("Ada commented: {}…", "é".repeat(MAX_SHOWN)));
        let activity = of("comment.created", json!({ "text": "é".repeat(MAX_SHOWN) }));
        assert!(!text(&activity).contains('…'));
    }
}

//! The tables of the guides that are made from definitions in the code.

use std::fmt::Write as _;
use std::path::Path;

use domain::event;
use http_api::params::PARAMETERS;
use serde_json::Value;

/// The table between the marks `<!-- NAME -->` and `<!-- end of NAME -->` of a guide must be `expected`. With
/// `UPDATE_GUIDES=1` it is written there.
fn check(guide: &str, name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(guide);
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (table, after) = rest.split_once(&end).unwrap();
    if std::env::var_os("UPDATE_GUIDES").is_some() {
        std::fs::write(path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(
            table, expected,
            "docs/{guide} is out of date: UPDATE_GUIDES=1 cargo test -p tests guides"
        );
    }
}

/// The values that a JSON Schema allows, in a few words.
fn values(schema: &Value) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<String> =
            choices.iter().map(|choice| format!("`{}`", choice.as_str().unwrap())).collect();
        return choices.join(", ");
    }
    if schema["items"]["enum"].is_array() {
        return format!("{}, each in a parameter of its own", values(&schema["items"]));
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) => format!("up to {} values, each in a parameter of its own", schema["maxItems"]),
        (Some("integer"), _) => match &schema["maximum"] {
            Value::Null => format!("{} or more", schema["minimum"]),
            maximum => format!("{} to {maximum}", schema["minimum"]),
        },
        (_, Some("date-time")) => "a time".to_owned(),
        _ => "text".to_owned(),
    }
}

fn default(schema: &Value) -> String {
    match &schema["default"] {
        Value::Null => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}

#[test]
fn rest_guide_lists_the_parameters() {
    let mut table = "| parameter | meaning | values | default |\n| --- | --- | --- | --- |\n".to_owned();
    for parameter in PARAMETERS {
        let (name, meaning, schema) = (parameter.name, parameter.description, parameter.schema());
        writeln!(table, "| `{name}` | {meaning} | {} | {} |", values(&schema), default(&schema)).unwrap();
    }
    check("rest.md", "parameters", &table.replace(" |  |", " | |"));
}

#[test]
fn recording_guide_lists_the_members_of_events() {
    let mut table = "| member | | meaning |\n| --- | --- | --- |\n".to_owned();
    for member in event::members() {
        let required = if member.required { "required" } else { "" };
        writeln!(table, "| `{}` | {required} | {} |", member.name, member.description).unwrap();
    }
    check("recording.md", "members", &table.replace("|  |", "| |"));
}

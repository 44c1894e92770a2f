//! The list of actions, and the agreement of its JSON Schemas with the parser.

use base64::Engine as _;
use domain::activity::{ACTION_PATTERN, Action};
use domain::catalog::{self, Entry};
use domain::event::{self, Defaults, InputEvent};
use domain::ids::{self, MAX_ID_LEN, WorkspaceId};
use domain::provenance::{RecordedBy, Source};
use domain::time::Timestamp;
use harness::{World, token_claims};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::samples::samples;

const ACTIONS: &str = "/api/v1/actions";

/// A row of the catalog with its compiled schema.
type Row = (&'static Entry, Validator);

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(schema).unwrap()
}

fn rows() -> Vec<Row> {
    catalog::entries().iter().map(|entry| (entry, validator(&event::schema(entry)))).collect()
}

/// The row of an event's action.
fn row_of<'a>(rows: &'a [Row], event: &Value) -> Option<&'a Row> {
    rows.iter().find(|(entry, _)| event["action"] == entry.action)
}

/// Parses an event that is posted to the workspace that it names, or to `ws`.
fn parse(event: &Value) -> domain::Result<InputEvent> {
    let now = Timestamp::parse("now", "2026-01-01T00:00:00Z")?;
    let workspace = WorkspaceId::parse("ws_id", event["workspace_id"].as_str().unwrap_or("ws")).ok();
    let recorded_by = RecordedBy::new(Source::Http, &["ada"]);
    let id = ("id".into(), "id");
    InputEvent::parse(event.clone(), &Defaults { id, workspace, created_at: now, now, recorded_by })
}

/// A value that is valid by a schema: with all members, or with the required ones only.
fn example(schema: &Value, all: bool) -> Value {
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    // The last actor type is `agent`, which may have every member.
    if let Some(allowed) = schema["enum"].as_array() {
        return allowed.iter().rfind(|value| !value.is_null()).unwrap().clone();
    }
    let kind = if schema["type"].is_array() { &schema["type"][0] } else { &schema["type"] };
    match kind.as_str() {
        Some("object") => {
            let required = schema["required"].as_array();
            let is_required = |name: &String| required.is_some_and(|names| names.contains(&json!(name)));
            let members = schema["properties"].as_object().unwrap().iter();
            let members = members.filter(|(name, _)| all || is_required(name));
            let mut object: serde_json::Map<String, Value> =
                members.map(|(name, schema)| (name.clone(), example(schema, all))).collect();
            if object.is_empty() && schema["minProperties"] == 1 {
                object.insert("status".into(), json!("done"));
            }
            object.into()
        }
        Some("array") => json!([example(&schema["items"], all)]),
        Some("string") if schema["format"] == "date-time" => json!("2025-01-01T00:00:00Z"),
        Some("integer") => json!(1),
        Some("number") => json!(0.5),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ => json!("a"),
    }
}

/// The JSON pointers to a value and to everything in it.
fn pointers(value: &Value, at: &str) -> Vec<String> {
    let mut found = vec![at.to_owned()];
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| found.extend(pointers(value, &format!("{at}/{name}"))));
        }
        Value::Array(items) => {
            let each = items.iter().enumerate();
            each.for_each(|(index, value)| found.extend(pointers(value, &format!("{at}/{index}"))));
        }
        _ => {}
    }
    found
}

/// Values that are wrong or at a limit in most places.
fn hostile() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!([]),
        json!(["a"]),
        json!(["a", "a"]),
        json!(["a b"]),
        json!([null]),
        json!({}),
        json!({ "id": "a" }),
        json!({ "id": "a", "name": null }),
        json!({ "id": "a", "name": "" }),
        json!({ "id": "a", "name": "a\nb" }),
        json!({ "id": "a", "colour": "red" }),
        json!({ "name": "Ada" }),
    ];
    values.extend([json!(0), json!(7), json!(-1), json!(u64::MAX), json!(i64::MIN)]);
    values.extend([0.0, -0.0, 5.0, 0.5, -0.5, 1e300].map(|number| json!(number)));
    let words = ["user", "agent", "robot", "owner", "client", "admins", "", " ", "\n", "a\n", "\0", "\u{85}"];
    let ids = [
        ".",
        "..",
        "...",
        "a",
        ".a",
        "..a",
        "...a",
        "a.",
        "a b",
        "a#b",
        "a/b",
        "é",
        "a\u{200b}",
        "\u{ad}",
        "A:b@c_d-9",
    ];
    let times = [
        "2025-01-01T00:00:00+02:00",
        "2025-01-01t00:00:00z",
        "2025-01-01T00:00:00.123456789Z",
        "2025-02-30T00:00:00Z",
        "2025-01-01T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "2025-01-01T00:00:00+25:00",
        "2025-01-01",
        "yesterday",
    ];
    values.extend(words.into_iter().chain(ids).chain(times).map(|text| json!(text)));
    for length in [64, 65, 128, 129, 256, 257, 320, 321, 1000, 1001] {
        values.push(json!("x".repeat(length)));
        // The schema counts an id's characters, and the parser its bytes.
        if length <= MAX_ID_LEN / 2 || length > MAX_ID_LEN {
            values.push(json!("é".repeat(length)));
        }
    }
    // Times of the greatest length and one more. 21 of the characters are not part of the fraction.
    values.extend([64, 65].map(|length| json!(format!("2025-01-01T00:00:00.{}Z", "1".repeat(length - 21)))));
    values.extend([50, 51].map(|count| json!((0..count).map(|n| format!("tag-{n}")).collect::<Vec<_>>())));
    values
}

/// Asserts that parser and schema agree on `event`, and returns whether they accept it.
fn accepted_by_both(row: &Row, event: &Value) -> bool {
    let parsed = parse(event);
    let valid = row.1.validate(event);
    assert_eq!(parsed.is_ok(), valid.is_ok(), "{event}\nparser: {:?}\nschema: {valid:?}", parsed.err());
    valid.is_ok()
}

/// All events that differ from `event` in one place: a missing member, another value, or an unknown member.
fn mutants<'a>(
    event: &'a Value,
    pointers_to_try: impl Iterator<Item = String> + 'a,
    hostile: &'a [Value],
) -> impl Iterator<Item = Value> + 'a {
    pointers_to_try.flat_map(move |pointer| {
        let replaced = hostile.iter().map({
            let pointer = pointer.clone();
            move |value| with(event, &pointer, value.clone())
        });
        let added = event.pointer(&pointer).and_then(Value::as_object).map(|members| {
            let mut members = members.clone();
            members.insert("colour".into(), json!("red"));
            with(event, &pointer, members.into())
        });
        replaced.chain(added).chain(without(event, &pointer))
    })
}

fn with(event: &Value, pointer: &str, value: Value) -> Value {
    let mut event = event.clone();
    *event.pointer_mut(pointer).unwrap() = value;
    event
}

fn without(event: &Value, pointer: &str) -> Option<Value> {
    let (parent, name) = pointer.rsplit_once('/')?;
    let mut event = event.clone();
    event.pointer_mut(parent)?.as_object_mut()?.remove(name)?;
    Some(event)
}

#[test]
fn schemas_and_parser_agree() {
    let hostile = hostile();
    let (mut accepted, mut rejected) = (0, 0);
    for (index, row) in rows().iter().enumerate() {
        let schema = event::schema(row.0);
        for all in [false, true] {
            let event = example(&schema, all);
            assert!(accepted_by_both(row, &event), "{event}");
            // Members that are the same in all rows are tried with one row in ten.
            let tried = |pointer: &String| {
                let own = ["", "/issue_id"].contains(&pointer.as_str()) || pointer.starts_with("/details");
                own || index % 10 == 0 && pointer != "/action"
            };
            for mutant in mutants(&event, pointers(&event, "").into_iter().filter(tried), &hostile) {
                *if accepted_by_both(row, &mutant) { &mut accepted } else { &mut rejected } += 1;
            }
        }
    }
    assert!(accepted > 5_000 && rejected > 5_000, "{accepted} accepted, {rejected} rejected");
}

#[test]
fn schemas_and_parser_agree_on_several_faults() {
    let (rows, hostile) = (rows(), hostile());
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..10_000 {
        let row = &rows[random.usize(..rows.len())];
        let mut event = example(&event::schema(row.0), random.bool());
        for _ in 0..random.usize(2..=4) {
            // The action stays, because another action would need another row.
            let pointers_to_try = pointers(&event, "")
                .into_iter()
                .filter(|pointer| !["", "/action"].contains(&pointer.as_str()));
            let Some(pointer) = random.choice(pointers_to_try.collect::<Vec<_>>()) else { continue };
            event = match without(&event, &pointer) {
                Some(less) if random.u8(..4) == 0 => less,
                _ => with(&event, &pointer, random.choice(&hostile).unwrap().clone()),
            };
        }
        accepted_by_both(row, &event);
    }
}

#[test]
fn schemas_and_parser_differ_only_as_documented() {
    let rows = rows();
    let event = |action: &str| {
        let (entry, _) = rows.iter().find(|(entry, _)| entry.action == action).unwrap();
        example(&event::schema(entry), true)
    };
    let at = |action: &str, time: &str| with(&event(action), "/created_at", json!(time));
    let long = with(&event("comment.created"), "/details/text", json!("x".repeat(event::MAX_EVENT_LEN)));
    for (event, is_parsed) in [
        (long, false),
        (at("comment.created", "2026-01-01T00:05:00.000001Z"), false),
        (at("member.added", "2026-01-01T00:00:05.000001Z"), false),
        (at("comment.created", "0000-12-31T00:00:00Z"), false),
        (with(&event("comment.created"), "/actor_id", json!("é".repeat(129))), false),
        (with(&event("comment.created"), "/actor_id", json!("a\u{e0041}")), false),
        (at("comment.created", "2025-01-01T00:00:00"), true),
        (at("comment.created", "2025-01-01 00:00:00Z"), true),
    ] {
        let (_, schema) = row_of(&rows, &event).unwrap();
        assert_eq!((parse(&event).is_ok(), schema.is_valid(&event)), (is_parsed, !is_parsed), "{event:.300}");
    }
    let mut unknown = event("comment.created");
    unknown["colour"] = Value::Null;
    let (_, schema) = row_of(&rows, &unknown).unwrap();
    assert_eq!((parse(&unknown).is_ok(), schema.is_valid(&unknown)), (true, false));
    let elsewhere = Defaults {
        id: ("id".into(), "id"),
        workspace: Some(WorkspaceId::parse("ws_id", "elsewhere").unwrap()),
        created_at: Timestamp::MAX,
        now: Timestamp::MAX,
        recorded_by: RecordedBy::new(Source::Http, &["ada"]),
    };
    let event = event("comment.created");
    assert!(schema.is_valid(&event) && InputEvent::parse(event, &elsewhere).is_err());
}

proptest! {
    #[test]
    fn patterns_and_parser_agree(text in "[.a_#é\n\u{200b}\u{ad}]{0,5}|[a-z0-9_.A\n]{0,9}|\\PC{0,9}") {
        let ids = validator(&json!({ "pattern": ids::PATTERN }));
        prop_assert_eq!(ids.is_valid(&json!(text)), ids::is_valid(&text), "{:?}", text);
        let actions = validator(&json!({ "pattern": ACTION_PATTERN }));
        prop_assert_eq!(actions.is_valid(&json!(text)), Action::parse("a", text.as_str()).is_ok(), "{:?}", text);
    }
}

#[test]
fn demo_and_samples_are_valid_by_their_schemas() {
    let rows = rows();
    for (_, event) in local::demo::events() {
        let row = row_of(&rows, &event).unwrap_or_else(|| panic!("not in the catalog: {event}"));
        assert!(accepted_by_both(row, &event), "{event}");
    }
    let mut known = 0;
    for (path, expected, sample) in samples("record-http") {
        if !["200", "201", "ok"].contains(&expected.as_str()) {
            continue;
        }
        let body = match (sample["body"].as_str(), &sample["isBase64Encoded"]) {
            (Some(body), Value::Bool(true)) => {
                let body = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
                serde_json::from_slice(&body).unwrap()
            }
            (Some(body), _) => serde_json::from_str(body).unwrap(),
            (None, _) => sample,
        };
        let events = body.as_array().cloned().unwrap_or_else(|| vec![body]);
        for event in events {
            let Some((_, schema)) = row_of(&rows, &event) else { continue };
            assert!(schema.is_valid(&event), "{}: {event}", path.display());
            known += 1;
        }
    }
    assert!(known > 10, "{known}");
}

#[tokio::test]
async fn any_valid_token_may_list_actions() {
    let world = World::new().await;
    let reply = world.get_as("anyone", "", ACTIONS).await;
    assert_eq!((reply.status, reply.headers["content-type"].as_str()), (200, "application/json"));
    let listed = reply.body.as_array().unwrap();
    assert_eq!(listed.len(), catalog::entries().len());
    for (listed, entry) in listed.iter().zip(catalog::entries()) {
        assert_eq!((&listed["action"], &listed["category"]), (&json!(entry.action), &json!(entry.category)));
        validator(&listed["schema"]);
    }
    let staff = |entry: &&Value| entry["audience"] == "staff";
    assert!(listed.iter().filter(staff).any(|entry| entry["action"] == "member.added"));
    let mut moved = listed.iter().find(|entry| entry["action"] == "issue.moved").unwrap().clone();
    let schema = moved.as_object_mut().unwrap().remove("schema").unwrap();
    insta::assert_snapshot!(moved, @r#"{"action":"issue.moved","audience":"everyone","category":"MOVE_TODO","description":"An issue was moved from one list to another."}"#);
    insta::assert_snapshot!(schema["required"], @r#"["actor_type","actor_id","action","issue_id","details"]"#);
    insta::assert_snapshot!(schema["properties"]["details"], @r#"{"properties":{"from_list":{"maxLength":256,"pattern":"^[^\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2064\\u2066-\\u206f\\ufeff\\ufff9-\\ufffb]+$","type":["string","null"]},"from_list_title":{"maxLength":1000,"minLength":1,"type":["string","null"]},"title":{"maxLength":1000,"minLength":1,"type":["string","null"]},"to_list":{"maxLength":256,"pattern":"^[^\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2064\\u2066-\\u206f\\ufeff\\ufff9-\\ufffb]+$","type":"string"},"to_list_title":{"maxLength":1000,"minLength":1,"type":["string","null"]}},"required":["to_list"],"type":"object"}"#);

    let tag = reply.headers["etag"].as_str();
    let claims = || Some(token_claims("anyone", ""));
    let again = world.send("GET", ACTIONS, claims(), &[("if-none-match", tag)], None).await;
    assert_eq!((again.status, &again.body), (304, &Value::Null));
    let unknown = world.get_as("anyone", "", &format!("{ACTIONS}?noun=issue")).await;
    assert_eq!((unknown.status, &unknown.body["field"]), (400, &json!("query")));
    assert_eq!(world.send("GET", ACTIONS, None, &[], None).await.status, 401);
    assert_eq!(world.transport.take_metered().touched.len(), 0, "the table was read");
}

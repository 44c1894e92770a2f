//! The list of actions: what it answers, and whether its schemas say what the parser does.

use base64::Engine as _;
use harness::{World, token_claims};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::activity::{ACTION_PATTERN, Action};
use shared::catalog::{self, Entry};
use shared::event::{self, Defaults, Event};
use shared::ids::{self, WorkspaceId};
use shared::time::Timestamp;

use crate::samples::samples;

const ACTIONS: &str = "/api/v1/actions";

/// A row, and its schema ready for use.
type Row = (&'static Entry, Validator);

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(schema).unwrap()
}

fn rows() -> Vec<Row> {
    catalog::entries().iter().map(|entry| (entry, validator(&event::schema(entry)))).collect()
}

/// The row of an event's action, when it has one.
fn row_of<'a>(rows: &'a [Row], event: &Value) -> Option<&'a Row> {
    rows.iter().find(|(entry, _)| event["action"] == entry.action)
}

/// Parses an event as if it were posted to the workspace it names, or to `ws`.
fn parse(event: &Value) -> shared::Result<Event> {
    let now = Timestamp::parse("now", "2026-01-01T00:00:00Z")?;
    let workspace = WorkspaceId::parse("ws_id", event["workspace_id"].as_str().unwrap_or("ws")).ok();
    Event::parse(event.clone(), &Defaults { id: ("id".into(), "id"), workspace, created_at: now, now })
}

/// Something that a schema of ours lets pass: with all it names, or with only what it requires.
fn example(schema: &Value, whole: bool) -> Value {
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    // Of actor types the last, agent, is the one that may have every member.
    if let Some(allowed) = schema["enum"].as_array() {
        return allowed.iter().rfind(|value| !value.is_null()).unwrap().clone();
    }
    let kind = if schema["type"].is_array() { &schema["type"][0] } else { &schema["type"] };
    match kind.as_str() {
        Some("object") => {
            let required = schema["required"].as_array();
            let is_required = |name: &String| required.is_some_and(|names| names.contains(&json!(name)));
            let members = schema["properties"].as_object().unwrap().iter();
            let members = members.filter(|(name, _)| whole || is_required(name));
            let mut object: serde_json::Map<String, Value> =
                members.map(|(name, schema)| (name.clone(), example(schema, whole))).collect();
            if object.is_empty() && schema["minProperties"] == 1 {
                object.insert("status".into(), json!("done"));
            }
            object.into()
        }
        Some("array") => json!([example(&schema["items"], whole)]),
        Some("string") if schema["format"] == "date-time" => json!("2025-01-01T00:00:00Z"),
        Some("integer") => json!(1),
        Some("number") => json!(0.5),
        Some("boolean") => json!(true),
        _ => json!("a"),
    }
}

/// Where a value has members or items, itself first.
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

/// What may stand where it should not, or only just should.
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
    let ids = [".", "..", "...", "a", ".a", "..a", "...a", "a.", "a b", "a#b", "a/b", "é", "A:b@c_d-9"];
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
        values.extend([json!("x".repeat(length)), json!("é".repeat(length))]);
    }
    // A time as long as that: 21 characters are no fraction.
    values.extend([64, 65].map(|length| json!(format!("2025-01-01T00:00:00.{}Z", "1".repeat(length - 21)))));
    values.extend([50, 51].map(|count| json!((0..count).map(|n| format!("tag-{n}")).collect::<Vec<_>>())));
    values
}

/// Whether both take `event`, which both must or neither.
fn agreed(row: &Row, event: &Value) -> bool {
    let parsed = parse(event);
    let valid = row.1.validate(event);
    assert_eq!(parsed.is_ok(), valid.is_ok(), "{event}\nparser: {:?}\nschema: {valid:?}", parsed.err());
    valid.is_ok()
}

/// Every event that one step at one of the places leads to: a member missing, one of another value, one that is not known.
fn mutants<'a>(
    event: &'a Value,
    places: impl Iterator<Item = String> + 'a,
    hostile: &'a [Value],
) -> impl Iterator<Item = Value> + 'a {
    places.flat_map(move |place| {
        let replaced = hostile.iter().map({
            let place = place.clone();
            move |value| with(event, &place, value.clone())
        });
        let added = event.pointer(&place).and_then(Value::as_object).map(|members| {
            let mut members = members.clone();
            members.insert("colour".into(), json!("red"));
            with(event, &place, members.into())
        });
        replaced.chain(added).chain(without(event, &place))
    })
}

fn with(event: &Value, place: &str, value: Value) -> Value {
    let mut event = event.clone();
    *event.pointer_mut(place).unwrap() = value;
    event
}

fn without(event: &Value, place: &str) -> Option<Value> {
    let (parent, name) = place.rsplit_once('/')?;
    let mut event = event.clone();
    event.pointer_mut(parent)?.as_object_mut()?.remove(name)?;
    Some(event)
}

#[test]
fn the_schemas_say_what_the_parser_does() {
    let hostile = hostile();
    let (mut taken, mut refused) = (0, 0);
    for (index, row) in rows().iter().enumerate() {
        let schema = event::schema(row.0);
        for whole in [false, true] {
            let event = example(&schema, whole);
            assert!(agreed(row, &event), "{event}");
            // What the rows do not decide need not be tried with each of them.
            let tried = |place: &String| {
                let own = ["", "/issue_id"].contains(&place.as_str()) || place.starts_with("/details");
                own || index % 10 == 0 && place != "/action"
            };
            for mutant in mutants(&event, pointers(&event, "").into_iter().filter(tried), &hostile) {
                *if agreed(row, &mutant) { &mut taken } else { &mut refused } += 1;
            }
        }
    }
    assert!(taken > 5_000 && refused > 5_000, "{taken} were taken, {refused} refused");
}

#[test]
fn they_agree_on_several_faults_at_once() {
    let (rows, hostile) = (rows(), hostile());
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..10_000 {
        let row = &rows[random.usize(..rows.len())];
        let mut event = example(&event::schema(row.0), random.bool());
        for _ in 0..random.usize(2..=4) {
            // Of another action, another row would have to be asked.
            let places =
                pointers(&event, "").into_iter().filter(|place| !["", "/action"].contains(&place.as_str()));
            let Some(place) = random.choice(places.collect::<Vec<_>>()) else { continue };
            event = match without(&event, &place) {
                Some(less) if random.u8(..4) == 0 => less,
                _ => with(&event, &place, random.choice(&hostile).unwrap().clone()),
            };
        }
        agreed(row, &event);
    }
}

#[test]
fn they_differ_only_where_that_is_said() {
    let rows = rows();
    let event = |action: &str| {
        let (entry, _) = rows.iter().find(|(entry, _)| entry.action == action).unwrap();
        example(&event::schema(entry), true)
    };
    let at = |action: &str, time: &str| with(&event(action), "/created_at", json!(time));
    let long = with(&event("comment.created"), "/details/text", json!("x".repeat(event::MAX_EVENT_LEN)));
    for (event, taken) in [
        (long, false),
        (at("comment.created", "2026-01-01T00:05:00.000001Z"), false),
        (at("member.added", "2026-01-01T00:00:05.000001Z"), false),
        (at("comment.created", "0000-12-31T00:00:00Z"), false),
        (at("comment.created", "2025-01-01T00:00:00"), true),
        (at("comment.created", "2025-01-01 00:00:00Z"), true),
    ] {
        let (_, schema) = row_of(&rows, &event).unwrap();
        assert_eq!((parse(&event).is_ok(), schema.is_valid(&event)), (taken, !taken), "{event:.300}");
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
    };
    let event = event("comment.created");
    assert!(schema.is_valid(&event) && Event::parse(event, &elsewhere).is_err());
}

proptest! {
    #[test]
    fn the_patterns_say_what_the_parser_does(text in "[.a_#é\n]{0,5}|[a-z0-9_.A\n]{0,9}") {
        let ids = validator(&json!({ "pattern": ids::PATTERN }));
        prop_assert_eq!(ids.is_valid(&json!(text)), ids::is_valid(&text), "{:?}", text);
        let actions = validator(&json!({ "pattern": ACTION_PATTERN }));
        prop_assert_eq!(actions.is_valid(&json!(text)), Action::parse("a", text.as_str()).is_ok(), "{:?}", text);
    }
}

#[test]
fn the_demo_and_the_samples_satisfy_them() {
    let rows = rows();
    for (_, event) in local::demo::events() {
        let row = row_of(&rows, &event).unwrap_or_else(|| panic!("not in the catalog: {event}"));
        assert!(agreed(row, &event), "{event}");
    }
    let mut known = 0;
    for (path, expected, sample) in samples("record-activity") {
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
async fn they_are_listed_for_anyone_with_a_token() {
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
    insta::assert_snapshot!(schema["properties"]["details"], @r#"{"properties":{"from_list":{"maxLength":128,"pattern":"^(\\.{0,2}[A-Za-z0-9_:@-][A-Za-z0-9._:@-]*|\\.{3}[A-Za-z0-9._:@-]*)$","type":["string","null"]},"from_list_title":{"maxLength":1000,"minLength":1,"type":["string","null"]},"title":{"maxLength":1000,"minLength":1,"type":["string","null"]},"to_list":{"maxLength":128,"pattern":"^(\\.{0,2}[A-Za-z0-9_:@-][A-Za-z0-9._:@-]*|\\.{3}[A-Za-z0-9._:@-]*)$","type":"string"},"to_list_title":{"maxLength":1000,"minLength":1,"type":["string","null"]}},"required":["to_list"],"type":"object"}"#);

    let tag = reply.headers["etag"].as_str();
    let claims = || Some(token_claims("anyone", ""));
    let again = world.send("GET", ACTIONS, claims(), &[("if-none-match", tag)], None).await;
    assert_eq!((again.status, &again.body), (304, &Value::Null));
    let unknown = world.get_as("anyone", "", &format!("{ACTIONS}?noun=issue")).await;
    assert_eq!((unknown.status, &unknown.body["field"]), (400, &json!("query")));
    assert_eq!(world.send("GET", ACTIONS, None, &[], None).await.status, 401);
    assert_eq!(world.transport.take().touched.len(), 0, "the table was asked");
}

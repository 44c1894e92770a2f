//! Activities come back as they were sent, and the faults of an event are told in full and harm no other.

use std::time::Duration;

use harness::{Message, World, check, reported_failures, token_claims};
use serde_json::{Value, json};

use crate::event;

const PAGE: &str = "/api/v1/workspaces/ws/activity";
const AT: &str = "2025-01-01T00:00:00Z";
/// Numbers that a double does not keep, or writes otherwise.
const NUMBERS: &str =
    r#"{"a":1700000000.123456789,"b":1e20,"z":[0.10,1.0,-0,1E+2],"c":123456789012345678901234567890}"#;

/// The JSON of an event with these details.
fn with_details(id: &str, details: &str) -> String {
    let mut event = event(id, AT);
    event["details"] = json!("DETAILS");
    event.to_string().replace("\"DETAILS\"", details)
}

async fn world() -> World {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world
}

/// Posts a body, and returns the status and the text of the answer.
async fn post(world: &World, body: &str) -> (u16, String) {
    let claims = token_claims("service", "activity:write");
    world.send_text("POST", PAGE, Some(claims), &[], body.as_bytes()).await
}

#[tokio::test]
async fn numbers_come_back_digit_by_digit() {
    let world = world().await;
    let (status, answer) = post(&world, &with_details("exact", NUMBERS)).await;
    assert!(status == 201 && answer.contains(NUMBERS), "{answer}");
    for path in [PAGE.to_owned(), format!("{PAGE}?include=provenance"), format!("{PAGE}/exact")] {
        let text = world.get_text(&path).await;
        assert!(text.contains(NUMBERS), "{text}");
    }
    let metadata = world
        .ask_text("owner", "{ activityList(projectId: \"ws\", first: 1) { activities { metadata } } }")
        .await;
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["data"]["activityList"]["activities"][0]["metadata"], NUMBERS);
    let message = Message::new("m-1", with_details("queued", NUMBERS));
    assert!(reported_failures(&world.deliver(&[message], Duration::from_secs(9)).await).is_empty());
    assert!(world.get_text(&format!("{PAGE}/queued")).await.contains(NUMBERS));
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn spellings_of_a_value_are_one_content_and_digits_are_not() {
    let world = world().await;
    post(&world, &with_details("exact", r#"{"n":1.50,"m":{"a":1,"b":[2]}}"#)).await;
    world.transport.take_metered();
    let (status, answer) =
        post(&world, &with_details("exact", r#"{"m":{"b":[2.0],"a":1e0},"n":15e-1}"#)).await;
    // The answer is what is recorded, for one more read.
    assert!(status == 200 && answer.contains(r#"{"n":1.50,"m":{"a":1,"b":[2]}}"#), "{answer}");
    let metered = world.transport.take_metered();
    assert_eq!((metered.requests["TransactWriteItems"], metered.requests["GetItem"]), (1, 1));
    for (details, differing) in [
        (r#"{"n":1.500000000000000000001,"m":{"a":1,"b":[2]}}"#, "details.n"),
        (r#"{"n":1.5,"m":{"a":"1","b":[2]}}"#, "details.m"),
        (r#"{"n":1.5,"x":0}"#, "details.x, details.m"),
    ] {
        let (status, answer) = post(&world, &with_details("exact", details)).await;
        assert_eq!(status, 409, "{answer}");
        assert!(
            answer.contains(&format!("exact is recorded with another {differing}; another event")),
            "{answer}"
        );
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn renamed_people_are_no_other_content() {
    let world = world().await;
    let named = |name: &str| {
        let mut event = event("named", AT);
        event["actor"] = json!({ "name": name });
        event["affected"] = json!({ "id": "bob", "name": name });
        event.to_string()
    };
    let (_, first) = post(&world, &named("Ada")).await;
    let again = post(&world, &named("Ada Lovelace")).await;
    assert_eq!(again, (200, first));
    let mut other = event("named", "2025-01-02T00:00:00Z");
    other["affected"] = json!({ "id": "eve" });
    let (status, answer) = post(&world, &other.to_string()).await;
    assert!(status == 409 && answer.contains("another affected.id, created_at;"), "{answer}");
    check(&world.client, &world.table).await;
}

/// Events with one fault each that concerns their JSON, and the member at fault.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let base = with_details("bad", r#"{"status":"XXX"}"#);
    let with = |text: &str, bytes: &[u8]| {
        let at = base.find(text).unwrap();
        [&base.as_bytes()[..at], bytes, &base.as_bytes()[at + text.len()..]].concat()
    };
    vec![
        ("details.status", with("XXX", br"\ud83d")),
        ("details.status", with("XXX", br"x\ude00y")),
        ("details.status", with("XXX", b"caf\xe9")),
        ("details", with("\"status\":", b"\"status\":1,\"status\":")),
        ("details", with("status", br"\ud83d")),
        ("details.status", with("\"XXX\"", b"1e99999999999999999999")),
        ("body", with("\"action\":", b"\"id\":\"bad\",\"action\":")),
    ]
}

#[tokio::test]
async fn one_bad_event_fails_alone() {
    let world = world().await;
    for (field, bad) in broken() {
        let good = |id: &str| event(id, AT).to_string().into_bytes();
        let body = [b"[", &good("one")[..], b",", &bad, b",", &good("two"), b"]"].concat();
        let claims = token_claims("service", "activity:write");
        let (status, answer) = world.send_text("POST", PAGE, Some(claims), &[], &body).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(status, 207, "{field}: {answer}");
        assert!(
            answer[0]["status"].as_u64() < Some(300) && answer[2]["status"].as_u64() < Some(300),
            "{answer}"
        );
        assert_eq!(
            (&answer[1]["status"], &answer[1]["problem"]["field"]),
            (&json!(400), &json!(field)),
            "{answer}"
        );
        if let Ok(bad) = String::from_utf8(bad.clone()) {
            let batch = [
                Message::new("m-1", String::from_utf8(good("three")).unwrap()),
                Message::new("m-2", bad.as_str()),
            ];
            let response = world.deliver(&batch, Duration::from_secs(9)).await;
            assert_eq!(reported_failures(&response), ["m-2"], "{field}");
            let payload = format!("[{},{bad}]", event("four", AT));
            let failure = world.invoke_bytes("record-invoke", payload.as_bytes()).await.unwrap_err();
            assert!(
                failure.contains(&format!("1 of 2 events were not recorded: event 1: {field} ")),
                "{failure}"
            );
        }
    }
    let contents = check(&world.client, &world.table).await;
    assert_eq!(contents.activities["ws"].len(), 5 + 4);
}

#[tokio::test]
async fn all_faults_of_an_event_are_told() {
    let world = world().await;
    let mut bad = event("x", "2025-13-01T00:00:00Z");
    bad["actor_id"] = Value::Null;
    bad["colour"] = json!("red");
    bad["action"] = json!("issue.created");
    let reply = world.post("ws", &bad.to_string(), &[]).await;
    let fields: Vec<&str> = reply.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        ["actor_id", "created_at", "colour", "details.title", "details.identifier"],
        "{:?}",
        reply.body
    );
    let detail = reply.body["detail"].as_str().unwrap();
    assert!(
        fields.iter().all(|field| detail.contains(field)) && reply.body["field"] == "actor_id",
        "{detail}"
    );
    let one = world.post("ws", &json!({ "action": "a.b", "actor_id": "u" }).to_string(), &[]).await;
    assert_eq!((&one.body["field"], one.body.get("errors")), (&json!("actor_type"), None));
}

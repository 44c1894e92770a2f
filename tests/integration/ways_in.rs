//! The ways in: each function believes the payloads of its own way only, and each activity says who recorded it.

use std::time::Duration;

use harness::{Message, World, check, reported_failures, token_claims};
use serde_json::{Value, json};

use crate::event;
use crate::queue::envelope;

const AT: &str = "2025-01-01T00:00:00Z";

/// An event that makes `user` an owner of the workspace.
fn takeover(id: &str) -> Value {
    let mut event = event(id, AT);
    event["action"] = json!("member.added");
    event["details"] = json!({ "user": "mallory", "role": "owner" });
    event
}

/// The stored provenance of an activity, by its id.
pub(crate) async fn provenance(world: &World, id: &str) -> String {
    let key =
        |name: &str, value: String| (name.to_owned(), aws_sdk_dynamodb::types::AttributeValue::S(value));
    let get = world.client.get_item().table_name(&world.table);
    let key = [key("pk", "WS#ws".into()), key("sk", format!("AT#2025-01-01T00:00:00.000000#{id}"))];
    let item = get.set_key(Some(key.into())).send().await.unwrap().item.unwrap();
    item["recorded"].as_s().unwrap().clone()
}

pub(crate) fn batch_from(sender: &str, body: &Value) -> Value {
    let mut batch = Message::batch(&[Message::new("m-1", body.to_string())]);
    batch["Records"][0]["attributes"]["SenderId"] = json!(sender);
    batch
}

#[tokio::test]
async fn payloads_of_another_way_are_refused() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let before = check(&world.client, &world.table).await;
    let request = json!({
        "version": "2.0", "rawPath": "/api/v1/workspaces/ws/activity", "rawQueryString": "",
        "headers": {}, "pathParameters": { "ws_id": "ws" }, "isBase64Encoded": false, "body": takeover("a").to_string(),
        "requestContext": {
            "authorizer": { "jwt": { "claims": token_claims("ceo", "activity:write activity:admin") } },
            "http": { "method": "POST", "path": "/" }, "requestId": "r"
        }
    });
    let queued = batch_from("AIDAEXAMPLE", &takeover("b"));
    let on_bus = batch_from("AIDAEXAMPLE", &envelope(&takeover("c")));
    for (function, payloads) in [
        ("record-http", [&queued, &on_bus, &takeover("d")]),
        ("record-queue", [&request, &takeover("d"), &json!([takeover("d")])]),
        ("record-bus", [&request, &takeover("d"), &envelope(&takeover("d"))]),
        ("record-invoke", [&request, &queued, &on_bus]),
        ("record-directory", [&request, &queued, &envelope(&takeover("d"))]),
    ] {
        for payload in payloads {
            let (outcome, answer) = world.invoke(function, payload).await;
            assert_eq!(outcome, "error", "{function}: {payload}: {answer}");
        }
    }
    // A message of the other queue is refused by itself.
    for (function, payload) in [("record-queue", &on_bus), ("record-bus", &queued)] {
        assert_eq!(world.invoke(function, payload).await.0, "failed-1", "{function}");
    }
    assert_eq!(check(&world.client, &world.table).await, before);
}

#[tokio::test]
async fn only_listed_senders_change_the_directory() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let before = check(&world.client, &world.table).await;
    let from = |source: &str, account: &str| {
        let mut envelope = envelope(&takeover("taken"));
        envelope["source"] = json!(source);
        envelope["account"] = json!(account);
        batch_from("AIDAEVENTBRIDGE", &envelope)
    };
    for (function, payload, refused) in [
        ("record-queue", batch_from("AROAEXAMPLEPRODUCER00:issues", &takeover("taken")), "failed-1"),
        (
            "record-queue",
            batch_from("AROAEXAMPLEPRODUCER00:AROAEXAMPLEACCOUNTS00", &takeover("taken")),
            "failed-1",
        ),
        ("record-bus", from("com.example.issues", "123456789012"), "failed-1"),
        ("record-bus", from("com.example.accounts", "210987654321"), "failed-1"),
        ("record-bus", from("com.example.accounts ", "123456789012"), "failed-1"),
        ("record-invoke", takeover("taken"), "error"),
        ("record-invoke", json!([event("fine", AT), takeover("taken")]), "error"),
    ] {
        let (outcome, answer) = world.invoke(function, &payload).await;
        assert_eq!(outcome, refused, "{function}: {payload}: {answer}");
    }
    let fine = before.activities["ws"].len() + 1;
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), fine);
    for (function, payload, done) in [
        ("record-queue", batch_from("AROAEXAMPLEACCOUNTS00:any", &takeover("q")), "failed-0"),
        ("record-bus", from("com.example.accounts", "123456789012"), "failed-0"),
        ("record-directory", takeover("d"), "ok"),
    ] {
        let (outcome, answer) = world.invoke(function, &payload).await;
        assert_eq!(outcome, done, "{function}: {payload}: {answer}");
    }
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), fine + 3);
}

#[tokio::test]
async fn directory_needs_its_own_scope_over_http() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let post = async |scope: &str, body: Value| {
        let path = "/api/v1/workspaces/ws/activity";
        world.send("POST", path, Some(token_claims("s", scope)), &[], Some(&body.to_string())).await
    };
    for scope in ["activity:write", "activity:write foo,activity:admin", "activity:write xactivity:admin"] {
        let refused = post(scope, takeover("a")).await;
        assert_eq!((refused.status, &refused.body["code"]), (403, &json!("FORBIDDEN")), "{scope}");
        // Only the event about the directory is refused, if there are several.
        let mut invited = takeover("b");
        invited["action"] = json!("member.promoted");
        let id = format!("fine-{}", scope.len());
        let several = post(scope, json!([event(&id, AT), takeover("a"), invited])).await;
        let statuses = [0, 1, 2].map(|index| several.body[index]["status"].as_u64().unwrap());
        assert_eq!((several.status, statuses), (207, [201, 403, 403]), "{scope}");
    }
    assert_eq!(post("activity:admin", takeover("a")).await.status, 403);
    assert_eq!(world.get_as("mallory", "", "/api/v1/workspaces/ws/activity").await.status, 403);
    assert_eq!(post("activity:write activity:admin", takeover("a")).await.status, 201);
    assert_eq!(world.get_as("mallory", "", "/api/v1/workspaces/ws/activity").await.status, 200);
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn every_activity_says_who_recorded_it_and_when() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let mut claims = token_claims("my service", "activity:write");
    claims["client_id"] = json!("app-1");
    let path = "/api/v1/workspaces/ws/activity";
    let body = event("h", AT).to_string();
    assert_eq!(world.send("POST", path, Some(claims), &[], Some(&body)).await.status, 201);
    let queued = batch_from("AROAEXAMPLEPRODUCER00:session", &event("q", AT));
    let bus = batch_from("AIDAEVENTBRIDGE", &envelope(&event("e", AT)));
    for (function, payload) in
        [("record-queue", queued), ("record-bus", bus), ("record-invoke", event("i", AT))]
    {
        world.invoke(function, &payload).await;
    }
    let now = "2026-11-23T00:00:00.000000";
    for (id, expected) in [
        ("h", "h my%20service app-1"),
        ("q", "q AROAEXAMPLEPRODUCER00"),
        ("e", "e 123456789012/tracker"),
        ("i", "i"),
    ] {
        assert_eq!(provenance(&world, id).await, format!("{now} {expected}"));
    }
    // Sent again on another way it is the same activity, and its provenance stays.
    world.advance(Duration::from_secs(60));
    let again = world.deliver(&[Message::new("m", event("h", AT).to_string())], Duration::from_secs(9)).await;
    assert!(reported_failures(&again).is_empty());
    assert_eq!(provenance(&world, "h").await, format!("{now} h my%20service app-1"));
    check(&world.client, &world.table).await;
}

//! Recording from SQS and EventBridge: exactly the messages that were not recorded are reported as failed.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{Fault, Message, World, check, reported_failures};
use record_activity::Summary;
use serde_json::{Value, json};

use crate::event;

const AT: &str = "2025-01-01T00:00:00Z";

async fn failed_messages(world: &World, messages: &[Message]) -> Vec<String> {
    let response = world.deliver(messages, Duration::from_secs(60)).await;
    reported_failures(&response).into_iter().map(str::to_owned).collect()
}

fn message(id: &str, body: &Value) -> Message {
    Message::new(id, body.to_string())
}

pub(crate) fn envelope(event: &Value) -> Value {
    json!({
        "version": "0", "id": "envelope-1", "detail-type": event["action"], "source": "tracker",
        "account": "123456789012", "time": "2025-01-01T00:00:30Z", "region": "us-east-1", "resources": [],
        "detail": event
    })
}

#[tokio::test]
async fn only_bad_messages_are_reported_as_failed() {
    let world = World::new().await.allowing_unknown_workspaces();
    world.given([event("taken", AT)]).await;
    let mut other = event("taken", AT);
    other["details"] = json!({ "status": "open" });
    let mut nowhere = event("nowhere", AT);
    nowhere.as_object_mut().unwrap().remove("workspace_id");
    let mut torn = envelope(&event("torn", AT));
    torn["detail-type"] = json!("issue.created");
    let mut large = event("large", AT);
    large["details"]["x"] = json!("y".repeat(70_000));
    let messages = [
        message("m-1", &event("one", AT)),
        Message::new("not-json", "{"),
        Message::new("empty", ""),
        Message::new("twice", r#"{"id":"a","id":"b"}"#),
        message("array", &json!([event("in-an-array", AT)])),
        message("nowhere", &nowhere),
        message("torn", &torn),
        message("large", &large),
        message("conflict", &other),
        message("repeat", &event("taken", AT)),
        message("m-2", &envelope(&event("two", AT))),
    ];
    let failed = failed_messages(&world, &messages).await;
    assert_eq!(failed, ["torn", "not-json", "empty", "twice", "array", "nowhere", "large", "conflict"]);
    assert_eq!(check(&world.client, &world.table).await.activities["ws"], ["one", "taken", "two"]);
    let summaries = std::mem::take(&mut *world.summaries.lock().unwrap());
    let counts = summaries.iter().map(|summary| {
        let Summary { source, recorded, duplicates, conflicts, rejected, failed, retries, .. } = summary;
        assert_eq!((summary.request_id.as_str(), *failed, *retries), ("invocation-1", 0, 0));
        (*source, *recorded, *duplicates, *conflicts, *rejected)
    });
    assert_eq!(counts.collect::<Vec<_>>(), [("event_bus", 1, 0, 0, 1), ("queue", 1, 1, 1, 6)]);
}

#[tokio::test]
async fn missing_id_and_time_come_from_message_or_envelope() {
    let world = World::new().await.allowing_unknown_workspaces();
    let mut bare = event("", "");
    for member in ["id", "created_at"] {
        bare.as_object_mut().unwrap().remove(member);
    }
    let mut plain = message("m-1", &bare);
    plain.sent -= 90_000;
    let wrapped = message("m-2", &envelope(&bare));
    // Delivered again, the messages are the same two activities. Sent again, they would have other ids.
    for _ in 0..2 {
        assert!(failed_messages(&world, &[plain.clone(), wrapped.clone()]).await.is_empty());
        world.advance(Duration::from_secs(3600));
    }
    world.given_workspace("ws").await;
    let list = world.get("/api/v1/workspaces/ws/activity?action=issue.updated").await;
    assert_eq!(list.ids(), ["m-1", "envelope-1"]);
    let times = [0, 1].map(|index| list.body[index]["created_at"].as_str().unwrap());
    assert_eq!(times, ["2026-11-22T23:58:30", "2025-01-01T00:00:30"]);
}

#[tokio::test]
async fn same_id_is_one_activity_across_batches_and_sources() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let event = event("act-1", AT);
    let messages = [message("m-1", &event), message("m-2", &envelope(&event)), message("m-1", &event)];
    assert!(failed_messages(&world, &messages).await.is_empty());
    assert!(failed_messages(&world, &messages[1..]).await.is_empty());
    assert_eq!(world.post("ws", &event.to_string(), &[]).await.status, 200);
    let (status, answer) = world.invoke("record-invoke", &event).await;
    assert_eq!((status.as_str(), &answer["status"]), ("ok", &json!("repeated")));
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), 6);
}

#[tokio::test]
async fn messages_past_the_deadline_are_reported_as_failed() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let messages: Vec<Message> =
        (0..120).map(|n| message(&format!("m-{n}"), &event(&format!("act-{n}"), AT))).collect();
    // The function reserves half a second of the invocation for its response.
    world.transport.take_metered();
    let response = world.deliver(&messages, Duration::from_millis(500)).await;
    assert_eq!((reported_failures(&response).len(), world.transport.take_metered().total()), (120, 0));
    // The table throttles until the deadline.
    world.transport.fail_transactions([Fault::Throttled; 64]);
    let response = world.deliver(&messages, Duration::from_millis(800)).await;
    assert_eq!(reported_failures(&response).len(), 120);
    world.transport.clear_faults();
    assert!(failed_messages(&world, &messages).await.is_empty());
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), 125);
    let summaries = std::mem::take(&mut *world.summaries.lock().unwrap());
    let counts: Vec<_> =
        summaries.iter().map(|summary| (summary.failed, summary.recorded, summary.retries > 0)).collect();
    assert_eq!(counts, [(120, 0, false), (120, 0, true), (0, 120, false)]);
}

#[tokio::test]
async fn damaged_item_fails_only_its_own_message() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let text = |text: &str| AttributeValue::S(text.into());
    for (pk, sk) in [("ID#ws#act-17", "ID"), ("DIR#USER#bob", "WS#ws")] {
        // The items lack an id's time and fingerprint, and a role's position.
        let put = world.client.put_item().table_name(&world.table).item("pk", text(pk)).item("sk", text(sk));
        put.item("role", text("admin")).send().await.unwrap();
    }
    let mut messages: Vec<Message> =
        (0..40).map(|n| message(&format!("m-{n}"), &event(&format!("act-{n}"), AT))).collect();
    let mut promoted = event("promoted", AT);
    promoted["action"] = json!("member.role_changed");
    promoted["details"] = json!({ "user": "bob", "role": "admin" });
    messages.push(message("m-40", &promoted));
    assert_eq!(failed_messages(&world, &messages).await, ["m-17", "m-40"]);
    let report = world.store.verify().await.unwrap();
    assert_eq!(report.activities.values().map(Vec::len).collect::<Vec<_>>(), [39 + 5]);
    assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
}

#[tokio::test]
async fn records_of_another_service_fail_the_invocation() {
    let world = World::new().await;
    let mut batch = Message::batch(&[message("m-1", &event("one", AT)), message("m-2", &event("two", AT))]);
    batch["Records"][1]["eventSource"] = json!("aws:s3");
    let (status, answer) = world.invoke("record-queue", &batch).await;
    assert_eq!(
        (status.as_str(), answer["error"].as_str()),
        ("error", Some("records of aws:s3 are not understood, only those of aws:sqs"))
    );
    assert!(check(&world.client, &world.table).await.activities.is_empty());
}

#[tokio::test]
async fn batch_takes_one_transaction_per_workspace() {
    let world = World::new().await.allowing_unknown_workspaces();
    let messages: Vec<Message> = (0..200)
        .map(|n| {
            let mut event = event(&format!("act-{n}"), AT);
            event["workspace_id"] = json!(format!("ws-{}", n % 20));
            message(&format!("m-{n}"), &event)
        })
        .collect();
    world.transport.take_metered();
    assert!(failed_messages(&world, &messages).await.is_empty());
    let metered = world.transport.take_metered();
    assert_eq!((metered.requests["TransactWriteItems"], metered.requests["GetItem"]), (20, 20));
    assert_eq!(check(&world.client, &world.table).await.activities.len(), 20);
}

#[test]
fn summary_line_is_in_embedded_metric_format() {
    let summary = Summary {
        source: "queue",
        request_id: "request-1".into(),
        recorded: 7,
        duplicates: 2,
        conflicts: 1,
        rejected: 3,
        parked: Some(9),
        failed: 4,
        superseded: 6,
        ids_taken: 8,
        retries: 5,
        took: Duration::from_millis(42),
    };
    let now = domain::time::Timestamp::parse("now", "2025-01-01T00:00:00Z").unwrap();
    let clock: domain::time::Clock = std::sync::Arc::new(move || now);
    let metrics = [
        "Recorded",
        "Duplicates",
        "Conflicts",
        "Rejected",
        "Failed",
        "Superseded",
        "IdsTaken",
        "Retries",
        "Parked",
    ]
    .map(|name| json!({ "Name": name, "Unit": "Count" }));
    let expected = json!({
        "timestamp": "2025-01-01T00:00:00.000000Z", "level": "INFO", "message": "recorded events",
        "requestId": "request-1", "milliseconds": 42, "FunctionName": "record", "Source": "queue",
        "Recorded": 7, "Duplicates": 2, "Conflicts": 1, "Rejected": 3, "Failed": 4, "Superseded": 6, "IdsTaken": 8, "Retries": 5, "Parked": 9,
        "_aws": {
            "Timestamp": 1_735_689_600_000_u64,
            "CloudWatchMetrics": [{
                "Namespace": "ActivityLog", "Dimensions": [["FunctionName", "Source"]], "Metrics": metrics
            }]
        }
    });
    assert_eq!(summary.line("record", &clock), expected);
}

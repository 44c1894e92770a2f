//! Requests of producers that the local gateway rejects, with the errors of AWS.

use harness::{Reply, exchange};
use serde_json::{Value, json};

use crate::gateway::RunningGateway;
use crate::producers::{INVOCATIONS, PUT_EVENTS, SEND, SEND_BATCH, entry, event};

/// A text over every size limit.
fn large() -> String {
    "x".repeat(1024 * 1024 + 1)
}

fn code(reply: &Reply) -> (u16, &str) {
    assert_eq!(reply.body["__type"], reply.headers["x-amzn-errortype"], "{reply:?}");
    (reply.status, reply.body["__type"].as_str().unwrap())
}

#[tokio::test]
async fn put_events_rejects_what_eventbridge_rejects() {
    let gateway = RunningGateway::new().await;
    let detail = "x".repeat(256 * 1024);
    for (entries, expected) in [
        (json!(null), "ValidationException"),
        (json!([]), "ValidationException"),
        (json!(vec![entry(&event("a")); 11]), "ValidationException"),
        (json!([{ "Source": "s", "DetailType": "a.b", "Detail": detail }]), "ValidationException"),
        (json!({}), "SerializationException"),
        (json!([7]), "SerializationException"),
        (json!([{ "Source": 7 }]), "SerializationException"),
        (json!([{ "Time": "yesterday" }]), "SerializationException"),
        (json!([{ "Resources": [7] }]), "SerializationException"),
    ] {
        let reply = gateway.call("/dev/events/", PUT_EVENTS, &json!({ "Entries": entries })).await;
        assert_eq!(code(&reply), (400, expected), "{entries}");
    }
    let reply = gateway.call("/dev/events", "AWSEvents.ListRules", &json!({})).await;
    assert_eq!(code(&reply), (400, "UnknownOperationException"));
    let reply = gateway.send("POST /dev/events", &[], b"{").await;
    assert_eq!(code(&reply), (400, "SerializationException"));
    assert!(gateway.recorded(0).await.is_empty());
}

#[tokio::test]
async fn queue_rejects_what_sqs_rejects() {
    let gateway = RunningGateway::new().await;
    let batch = |ids: &[String]| {
        let entries: Vec<Value> = ids.iter().map(|id| json!({ "Id": id, "MessageBody": "{}" })).collect();
        json!({ "Entries": entries })
    };
    let eleven: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let half = &large()[..600_000];
    let heavy =
        json!({ "Entries": [{ "Id": "a", "MessageBody": half }, { "Id": "b", "MessageBody": half }] });
    for (operation, input, expected) in [
        (SEND, json!({}), "MissingParameter"),
        (SEND, json!({ "MessageBody": "" }), "MissingParameter"),
        (SEND, json!({ "MessageBody": "\u{1}" }), "InvalidMessageContents"),
        (SEND, json!({ "MessageBody": large() }), "InvalidParameterValue"),
        (SEND, json!({ "MessageBody": "{}", "DelaySeconds": 901 }), "InvalidParameterValue"),
        (SEND_BATCH, batch(&[]), "EmptyBatchRequest"),
        (SEND_BATCH, batch(&eleven), "TooManyEntriesInBatchRequest"),
        (SEND_BATCH, batch(&["a".into(), "a".into()]), "BatchEntryIdsNotDistinct"),
        (SEND_BATCH, batch(&["a b".into()]), "InvalidBatchEntryId"),
        (SEND_BATCH, heavy, "BatchRequestTooLong"),
        ("AmazonSQS.ReceiveMessage", json!({}), "UnsupportedOperation"),
        ("AmazonSQS.PurgeQueue", json!({}), "UnknownOperationException"),
    ] {
        let reply = gateway.queue(operation, input).await;
        assert_eq!(code(&reply), (400, expected), "{operation}");
    }
    let elsewhere = "https://sqs.us-east-1.amazonaws.com/123456789012/other";
    let input = json!({ "QueueUrl": elsewhere, "MessageBody": "{}" });
    let reply = gateway.call("/dev/queue", SEND, &input).await;
    assert_eq!(code(&reply), (400, "QueueDoesNotExist"));
    assert!(gateway.recorded(0).await.is_empty() && gateway.dead_letters().await.is_empty());
}

#[tokio::test]
async fn invoke_rejects_what_lambda_rejects() {
    let gateway = RunningGateway::new().await;
    let (other, quoted) = (INVOCATIONS.replace("record-invoke", "other"), format!("\"{}\"", large()));
    for (line, kind, payload, expected) in [
        (other.as_str(), "Event", "{}", (404, "ResourceNotFoundException")),
        (INVOCATIONS, "Event", "{", (400, "InvalidRequestContentException")),
        (INVOCATIONS, "Later", "{}", (400, "InvalidParameterValueException")),
        (INVOCATIONS, "Event", &quoted, (413, "RequestTooLargeException")),
    ] {
        let reply = gateway.send(line, &[format!("x-amz-invocation-type: {kind}")], payload.as_bytes()).await;
        assert_eq!(code(&reply), expected, "{line} {kind}");
    }
}

#[tokio::test]
async fn full_queue_throttles() {
    let gateway = RunningGateway::new().await;
    let input = json!({ "MessageBody": "x".repeat(1024 * 1024), "DelaySeconds": 900 });
    for _ in 0..64 {
        assert_eq!(gateway.queue(SEND, input.clone()).await.status, 200);
    }
    assert_eq!(gateway.queue(SEND, input).await.body["__type"], "RequestThrottled");
    // The event bus has a queue of its own.
    let answer = gateway.put(&[entry(&event("a"))]).await;
    assert_eq!(answer["FailedEntryCount"], 0);
    gateway.recorded(1).await;
    let batch = json!({ "Entries": [{ "Id": "a", "MessageBody": "{}" }] });
    let answer = gateway.queue(SEND_BATCH, batch).await;
    assert_eq!(
        answer.body["Failed"][0],
        json!({
            "Id": "a", "SenderFault": false, "Code": "RequestThrottled", "Message": answer.body["Failed"][0]["Message"],
        })
    );
}

#[tokio::test]
async fn browser_pages_cannot_call_aws_endpoints() {
    let gateway = RunningGateway::new().await;
    let payload = event("evil").to_string();
    for origin in ["https://evil.example", "null"] {
        let headers = [format!("origin: {origin}")];
        assert_eq!(gateway.send(INVOCATIONS, &headers, payload.as_bytes()).await.status, 403);
        assert_eq!(gateway.send("GET /dev/dead-letters", &headers, b"").await.status, 403);
    }
    // The owner of another host name can point it at this machine.
    let head = [&format!("{INVOCATIONS} HTTP/1.1"), "host: evil.example:8000"];
    assert_eq!(exchange(gateway.address, &head, payload.as_bytes()).await.status, 403);
    assert!(gateway.recorded(0).await.is_empty());
}

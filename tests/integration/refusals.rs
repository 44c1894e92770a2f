//! What the local gateway does not take from producers, and says as AWS does.

use harness::{Reply, exchange};
use serde_json::{Value, json};

use crate::gateway::Served;
use crate::producers::{INVOCATIONS, PUT_EVENTS, SEND, SEND_BATCH, entry, event};

/// A text that is larger than anything may be.
fn large() -> String {
    "x".repeat(1024 * 1024 + 1)
}

fn code(reply: &Reply) -> (u16, &str) {
    assert_eq!(reply.body["__type"], reply.headers["x-amzn-errortype"], "{reply:?}");
    (reply.status, reply.body["__type"].as_str().unwrap())
}

#[tokio::test]
async fn requests_that_eventbridge_refuses() {
    let served = Served::new().await;
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
        let reply = served.call("/dev/events/", PUT_EVENTS, &json!({ "Entries": entries })).await;
        assert_eq!(code(&reply), (400, expected), "{entries}");
    }
    let reply = served.call("/dev/events", "AWSEvents.ListRules", &json!({})).await;
    assert_eq!(code(&reply), (400, "UnknownOperationException"));
    let reply = served.send("POST /dev/events", &[], b"{").await;
    assert_eq!(code(&reply), (400, "SerializationException"));
    assert!(served.recorded(0).await.is_empty());
}

#[tokio::test]
async fn requests_that_sqs_refuses() {
    let served = Served::new().await;
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
        let reply = served.queue(operation, input).await;
        assert_eq!(code(&reply), (400, expected), "{operation}");
    }
    let elsewhere = "https://sqs.us-east-1.amazonaws.com/123456789012/other";
    let input = json!({ "QueueUrl": elsewhere, "MessageBody": "{}" });
    let reply = served.call("/dev/queue", SEND, &input).await;
    assert_eq!(code(&reply), (400, "QueueDoesNotExist"));
    assert!(served.recorded(0).await.is_empty() && served.dead_letters().await.is_empty());
}

#[tokio::test]
async fn requests_that_lambda_refuses() {
    let served = Served::new().await;
    let (other, quoted) = (INVOCATIONS.replace("record-activity", "other"), format!("\"{}\"", large()));
    for (line, kind, payload, expected) in [
        (other.as_str(), "Event", "{}", (404, "ResourceNotFoundException")),
        (INVOCATIONS, "Event", "{", (400, "InvalidRequestContentException")),
        (INVOCATIONS, "Later", "{}", (400, "InvalidParameterValueException")),
        (INVOCATIONS, "Event", &quoted, (413, "RequestTooLargeException")),
    ] {
        let reply = served.send(line, &[format!("x-amz-invocation-type: {kind}")], payload.as_bytes()).await;
        assert_eq!(code(&reply), expected, "{line} {kind}");
    }
}

#[tokio::test]
async fn a_full_queue_throttles() {
    let served = Served::new().await;
    let input = json!({ "MessageBody": "x".repeat(1024 * 1024), "DelaySeconds": 900 });
    for _ in 0..16 {
        assert_eq!(served.queue(SEND, input.clone()).await.status, 200);
    }
    assert_eq!(served.queue(SEND, input).await.body["__type"], "RequestThrottled");
    let answer = served.put(&[entry(&event("a"))]).await;
    assert_eq!(answer["Entries"][0]["ErrorCode"], "ThrottlingException");
    let batch = json!({ "Entries": [{ "Id": "a", "MessageBody": "{}" }] });
    let answer = served.queue(SEND_BATCH, batch).await;
    assert_eq!(
        answer.body["Failed"][0],
        json!({
            "Id": "a", "SenderFault": false, "Code": "RequestThrottled", "Message": answer.body["Failed"][0]["Message"],
        })
    );
}

#[tokio::test]
async fn pages_in_a_browser_are_kept_out() {
    let served = Served::new().await;
    let payload = event("evil").to_string();
    for origin in ["https://evil.example", "null"] {
        let headers = [format!("origin: {origin}")];
        assert_eq!(served.send(INVOCATIONS, &headers, payload.as_bytes()).await.status, 403);
        assert_eq!(served.send("GET /dev/dead-letters", &headers, b"").await.status, 403);
    }
    // Under another name, which its owner may point at this machine.
    let head = [&format!("{INVOCATIONS} HTTP/1.1"), "host: evil.example:8000"];
    assert_eq!(exchange(served.address, &head, payload.as_bytes()).await.status, 403);
    assert!(served.recorded(0).await.is_empty());
}

//! Events in the wrappings of others: gzip, CloudEvents, SNS, pipes, replays.

use std::io::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use harness::{Message, World, check, reported_failures};
use serde_json::{Value, json};

use crate::event;
use crate::gateway::RunningGateway;
use crate::queue::envelope;
use crate::samples::{samples, with_demo};
use crate::ways_in::provenance;

const TIMEOUT: Duration = Duration::from_secs(30);
const AT: &str = "2025-01-01T00:00:00Z";

/// An event without what a wrapping gives.
fn bare() -> Value {
    let mut bare = event("", AT);
    let members = bare.as_object_mut().unwrap();
    members.retain(|name, _| !["id", "action", "created_at"].contains(&name.as_str()));
    bare
}

fn cloud_event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/tracker", "type": "issue.updated", "time": AT,
        "datacontenttype": "application/json", "data": bare()
    })
}

fn notification(id: &str, message: &Value) -> Value {
    json!({
        "Type": "Notification", "MessageId": id, "TopicArn": "arn:aws:sns:us-east-1:123456789012:tracker",
        "Message": message.to_string(), "Timestamp": "2025-01-01T00:00:00.000Z", "SignatureVersion": "1",
        "Signature": "x", "SigningCertURL": "https://example.com", "UnsubscribeURL": "https://example.com"
    })
}

/// A message of another queue, as a pipe sends it on.
fn queue_record(id: &str, body: &Value) -> Value {
    let sent = "1735689600000";
    json!({
        "messageId": id, "receiptHandle": "r", "body": body.to_string(), "messageAttributes": {}, "md5OfBody": "m",
        "attributes": { "SentTimestamp": sent, "SenderId": "AROAMADEUP:session" }, "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:other", "awsRegion": "us-east-1"
    })
}

async fn failures(world: &World, recorder: &str, bodies: &[(&str, Value)]) -> Vec<String> {
    let messages: Vec<Message> =
        bodies.iter().map(|(id, body)| Message::new(*id, body.to_string()).from_role("AROASENDER")).collect();
    let response = world.deliver_to(recorder, &messages, TIMEOUT).await;
    reported_failures(&response).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn queue_takes_wrapped_events_from_their_verified_sender() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let mut untimed = bare();
    untimed["action"] = json!("issue.updated");
    let bodies = |suffix: &str| {
        [
            ("sns", notification("by-sns", &untimed)),
            ("pipe", queue_record("by-pipe", &untimed)),
            ("cloud", cloud_event("by-cloud-event")),
            ("both", notification("another", &cloud_event("by-both"))),
        ]
        .map(|(id, body)| (format!("{id}-{suffix}"), body))
    };
    // Delivered again as other messages of the queue, they are the same events.
    for suffix in ["first", "second"] {
        let bodies = bodies(suffix);
        let bodies: Vec<(&str, Value)> =
            bodies.iter().map(|(id, body)| (id.as_str(), body.clone())).collect();
        assert!(failures(&world, "record-queue", &bodies).await.is_empty(), "{suffix}");
    }
    for id in ["by-sns", "by-pipe", "by-cloud-event", "by-both"] {
        let stored = provenance(&world, id).await;
        assert!(stored.contains("AROASENDER") && !stored.contains("AROAMADEUP"), "{id}: {stored}");
    }
    let counted = check(&world.client, &world.table).await;
    // Nobody can make up who sent an event by wrapping an envelope, nor get anything else in that is no event.
    let on_bus = envelope(&event("forged", AT));
    let refused = [
        ("envelope", on_bus.clone()),
        ("envelope-in-sns", notification("x", &on_bus)),
        ("envelope-in-pipe", queue_record("x", &on_bus)),
        (
            "envelope-in-cloud-event",
            json!({ "specversion": "1.0", "id": "x", "source": "/", "type": "a.b", "data": on_bus }),
        ),
        ("text-in-sns", notification("x", &json!("text"))),
        ("cloud-event-0.3", json!({ "specversion": "0.3", "id": "x", "type": "a.b", "data": bare() })),
        ("twice", json!(event("x", AT).to_string())),
        ("array", json!([event("x", AT)])),
        ("bucket", json!({ "Records": [{ "eventSource": "aws:s3", "s3": {} }] })),
    ];
    let ids: Vec<&str> = refused.iter().map(|(id, _)| *id).collect();
    assert_eq!(failures(&world, "record-queue", &refused).await, ids);
    assert_eq!(check(&world.client, &world.table).await, counted);
}

#[tokio::test]
async fn bus_takes_replays_pipes_and_cloud_events() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let around = |id: &str, detail_type: &str, detail: Value| {
        json!({
            "version": "0", "id": id, "detail-type": detail_type, "source": "tracker", "account": "123456789012",
            "time": AT, "region": "us-east-1", "resources": [], "detail": detail
        })
    };
    let original = around("replayed", "issue.updated", bare());
    let mut replay = original.clone();
    replay["replay-name"] = json!("after-the-outage");
    let mut untimed = bare();
    untimed["action"] = json!("issue.updated");
    let bodies = [
        ("m-1", original),
        ("m-2", replay),
        ("m-3", around("put-1", "Event from aws:sqs", queue_record("by-pipe", &untimed))),
        ("m-4", around("put-2", "Event from aws:sqs", queue_record("by-pipe", &untimed))),
        ("m-5", around("put-3", "com.example.issue", cloud_event("by-cloud-event"))),
    ];
    assert!(failures(&world, "record-bus", &bodies).await.is_empty());
    for id in ["replayed", "by-pipe", "by-cloud-event"] {
        let stored = provenance(&world, id).await;
        assert!(stored.contains("123456789012/tracker"), "{id}: {stored}");
    }
    let feed = world.get("/api/v1/workspaces/ws/activity?since=2025-01-01T00:00:00Z").await;
    assert_eq!(feed.ids(), ["replayed", "by-pipe", "by-cloud-event"]);
    let other = around("x", "issue.updated", json!({ "Records": [{ "eventSource": "aws:s3" }] }));
    assert_eq!(failures(&world, "record-bus", &[("m-6", other)]).await, ["m-6"]);
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn http_takes_cloud_events_in_each_form() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let structured = [("content-type", "application/cloudevents+json")];
    let one = world.post("ws", &cloud_event("one").to_string(), &structured).await;
    assert_eq!((one.status, &one.body["id"]), (201, &json!("one")), "{}", one.body);
    assert_eq!(
        (&one.body["action"], &one.body["created_at"]),
        (&json!("issue.updated"), &json!("2025-01-01T00:00:00"))
    );
    let again = world.post("ws", &cloud_event("one").to_string(), &[]).await;
    assert_eq!((again.status, &again.body), (200, &one.body));
    let batch = json!([cloud_event("two"), cloud_event("three")]).to_string();
    let batch = world.post("ws", &batch, &[("content-type", "application/cloudevents-batch+json")]).await;
    assert_eq!((batch.status, &batch.body[1]["activity"]["id"]), (200, &json!("three")), "{}", batch.body);
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "four"),
        ("ce-source", "/tracker"),
        ("ce-type", "issue.updated"),
        ("ce-time", AT),
        ("content-type", "application/json"),
        // The event has an id.
        ("idempotency-key", "key"),
    ];
    let binary = world.post("ws", &bare().to_string(), &headers).await;
    assert_eq!((binary.status, &binary.body["id"]), (201, &json!("four")), "{}", binary.body);
    for (headers, body, status, field) in [
        (&headers[1..], bare(), 400, "specversion"),
        (&headers[..1], bare(), 400, "id"),
        (&structured[..], bare(), 400, "specversion"),
        (&[("content-type", "application/cloudevents+avro")][..], cloud_event("x"), 415, "Content-Type"),
    ] {
        let refused = world.post("ws", &body.to_string(), headers).await;
        assert_eq!(
            (refused.status, refused.body["field"].as_str()),
            (status, Some(field)),
            "{}",
            refused.body
        );
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn invocation_takes_cloud_events() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let (outcome, answer) = world.invoke("record-invoke", &json!([cloud_event("a"), cloud_event("b")])).await;
    assert_eq!(outcome, "ok", "{answer}");
    assert_eq!(answer["results"][1]["activity"]["id"], "b");
    let (outcome, answer) =
        world.invoke("record-invoke", &json!({ "version": "1.0", "requestPayload": {} })).await;
    assert!(
        outcome == "error" && answer["error"].as_str().unwrap().contains("send its requestPayload"),
        "{answer}"
    );
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn compressed_bodies_are_read_and_other_encodings_refused() {
    let world = with_demo(World::new().await).await;
    let (.., event) = samples("record-http").into_iter().find(|(_, outcome, _)| outcome == "201").unwrap();
    let send = |encoding: &str, content_type: &str, bytes: Vec<u8>| {
        let mut event = event.clone();
        event["headers"]["content-encoding"] = json!(encoding);
        event["headers"]["content-type"] = json!(content_type);
        event["body"] = json!(STANDARD.encode(bytes));
        event["isBase64Encoded"] = json!(true);
        let world = &world;
        async move { world.invoke("record-http", &event).await }
    };
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let text = event["body"].as_str().unwrap();
    let json = "application/json; charset=utf-8";
    assert_eq!(send("gzip", json, gzip(text)).await.0, "201");
    assert_eq!(send("", json, text.as_bytes().to_vec()).await.0, "200");
    for (encoding, content_type, bytes, status, field) in [
        ("br", json, gzip(text), "415", "Content-Encoding"),
        ("gzip, gzip", json, gzip(text), "415", "Content-Encoding"),
        ("", "application/json; charset=latin1", text.as_bytes().to_vec(), "415", "Content-Type"),
        ("gzip", json, text.as_bytes().to_vec(), "400", "body"),
        ("gzip", json, gzip(&" ".repeat(7_000_000)), "413", "body"),
    ] {
        let (outcome, answer) = send(encoding, content_type, bytes).await;
        assert_eq!(outcome, status, "{answer}");
        let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(problem["field"], field, "{problem}");
        assert_eq!(answer["headers"].get("accept-encoding").is_some(), status == "415", "{answer}");
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn local_bus_takes_the_body_of_the_api() {
    let gateway = RunningGateway::new().await;
    let event = |id: &str| crate::producers::event(id);
    let mut exact = event("exact").to_string();
    exact.insert_str(exact.len() - 1, r#","details":{"status":"done","n":1.50}"#);
    exact = exact.replacen(r#""details":{"status":"done"},"#, "", 1);
    for (body, count) in [
        (event("one").to_string(), 1),
        (json!([event("two"), event("three")]).to_string(), 2),
        (json!({ "Entries": [crate::producers::entry(&event("four"))] }).to_string(), 1),
        (exact, 1),
    ] {
        let reply = gateway.send("POST /dev/events", &[], body.as_bytes()).await;
        assert_eq!((reply.status, &reply.body["FailedEntryCount"]), (200, &json!(0)), "{reply:?}");
        assert_eq!(reply.body["Entries"].as_array().unwrap().len(), count);
    }
    assert_eq!(gateway.recorded(5).await.len(), 5);
    for (body, status) in [("7", 200), ("{}", 200), ("[]", 400), ("", 400), ("[1", 400)] {
        let reply = gateway.send("POST /dev/events", &[], body.as_bytes()).await;
        assert_eq!(reply.status, status, "{body}: {reply:?}");
        assert!(status == 400 || reply.body["Entries"][0]["ErrorCode"] == "InvalidArgument", "{reply:?}");
    }
    check(&gateway.world.client, &gateway.world.table).await;
}

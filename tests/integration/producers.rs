//! Producers at the local gateway, which serves the protocols of the AWS CLI and the SDKs. Every event is in the feed
//! once or becomes a dead letter.

use std::time::Duration;

use harness::{Fault, Reply, check};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::gateway::{PAGE, RunningGateway};

const AT: &str = "2025-01-01T00:00:00Z";
pub(crate) const PUT_EVENTS: &str = "AWSEvents.PutEvents";
pub(crate) const SEND: &str = "AmazonSQS.SendMessage";
pub(crate) const SEND_BATCH: &str = "AmazonSQS.SendMessageBatch";
pub(crate) const INVOCATIONS: &str = "POST /dev/lambda/2015-03-31/functions/record-invoke/invocations";

impl RunningGateway {
    /// Calls an operation of AWS's JSON protocol.
    pub(crate) async fn call(&self, path: &str, target: &str, input: &Value) -> Reply {
        let headers =
            ["content-type: application/x-amz-json-1.1".to_owned(), format!("x-amz-target: {target}")];
        self.send(&format!("POST {path}"), &headers, input.to_string().as_bytes()).await
    }

    pub(crate) async fn put(&self, entries: &[Value]) -> Value {
        let reply = self.call("/dev/events", PUT_EVENTS, &json!({ "Entries": entries })).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.body
    }

    pub(crate) async fn queue(&self, target: &str, mut input: Value) -> Reply {
        input["QueueUrl"] = format!("http://localhost:{}/dev/queue", self.address.port()).into();
        self.call("/dev/queue", target, &input).await
    }

    async fn invoke(&self, kind: &str, payload: &Value) -> Reply {
        let headers = [format!("x-amz-invocation-type: {kind}")];
        self.send(INVOCATIONS, &headers, payload.to_string().as_bytes()).await
    }

    pub(crate) async fn dead_letters(&self) -> Vec<Value> {
        let reply = self.send("GET /dev/dead-letters", &[], b"").await;
        reply.body.as_array().unwrap().clone()
    }

    /// The activities of the feed besides those of the demo, once there are `count` of them.
    pub(crate) async fn recorded(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let feed = self.get(&format!("{PAGE}?limit=200"), &self.reader_token()).await;
            let ours = |activity: &&Value| !activity["id"].as_str().unwrap().starts_with("act-demo-");
            let recorded: Vec<Value> = feed.body.as_array().unwrap().iter().filter(ours).cloned().collect();
            assert!(recorded.len() <= count, "more than {count}: {recorded:?}");
            if recorded.len() == count {
                return recorded;
            }
            assert!(Instant::now() < deadline, "not {count}: {recorded:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The dead letters, once there are `count` of them.
    async fn wait_for_dead_letters(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let letters = self.dead_letters().await;
            if letters.len() == count {
                return letters;
            }
            assert!(Instant::now() < deadline, "not {count}: {letters:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An event of the demo workspace. It has neither an id nor a time if `id` is empty.
pub(crate) fn event(id: &str) -> Value {
    let mut event = crate::event(id, AT);
    event["workspace_id"] = json!("ws-demo");
    if id.is_empty() {
        let members = event.as_object_mut().unwrap();
        members.retain(|name, _| !["id", "created_at"].contains(&name.as_str()));
    }
    event
}

pub(crate) fn entry(event: &Value) -> Value {
    json!({ "Source": "tracker", "DetailType": event["action"], "Detail": event.to_string() })
}

#[tokio::test]
async fn put_events_records_good_entries_and_reports_bad_ones() {
    let gateway = RunningGateway::new().await;
    let mut timed = entry(&event(""));
    timed["Time"] = json!(1_735_689_661.75);
    timed["EventBusName"] = json!("activity-log");
    timed["Resources"] = json!(["arn:aws:s3:::bucket"]);
    let mut undetailed = entry(&event("x"));
    undetailed["Detail"] = json!("[1]");
    let entries = [
        entry(&event("own")),
        json!({ "Source": "tracker", "Detail": "{}" }),
        timed,
        json!({ "DetailType": "note.added", "Detail": "{}" }),
        undetailed,
        entry(&event("")),
    ];
    let answer = gateway.put(&entries).await;
    let results = answer["Entries"].as_array().unwrap();
    let codes: Vec<Option<&str>> = results.iter().map(|result| result["ErrorCode"].as_str()).collect();
    let (missing, malformed) = (Some("InvalidArgument"), Some("MalformedDetail"));
    assert_eq!(codes, [None, missing, None, missing, malformed, None]);
    assert_eq!(answer["FailedEntryCount"], 3);
    let recorded = gateway.recorded(3).await;
    let times = [("own", "2025-01-01T00:00:00"), ("2", "2025-01-01T00:01:01"), ("5", "2026-11-23T00:00:00")];
    for (of, time) in times {
        let id = of.parse::<usize>().map_or(of, |index| results[index]["EventId"].as_str().unwrap());
        let activity = recorded.iter().find(|activity| activity["id"] == id).unwrap();
        assert_eq!(activity["created_at"], time);
    }
    assert!(gateway.dead_letters().await.is_empty());
    check(&gateway.world.client, &gateway.world.table).await;
}

#[tokio::test]
async fn poison_message_alone_becomes_a_dead_letter() {
    let gateway = RunningGateway::new().await;
    let mut entries: Vec<Value> = (0..9)
        .map(|n| json!({ "Id": format!("e{n}"), "MessageBody": event(&format!("good-{n}")).to_string() }))
        .collect();
    let poison = r#"{"action": "no workspace"}"#;
    entries.insert(4, json!({ "Id": "poison", "MessageBody": poison }));
    let sent = gateway.queue(SEND_BATCH, json!({ "Entries": entries })).await;
    let successful = sent.body["Successful"].as_array().unwrap();
    assert_eq!((sent.status, successful.len(), &sent.body["Failed"]), (200, 10, &json!([])));
    assert_eq!(successful[4]["MD5OfMessageBody"], "f5f745c515b26d100be372ca89be9fe5");
    gateway.recorded(9).await;
    let letters = gateway.wait_for_dead_letters(1).await;
    assert_eq!(letters[0]["attributes"]["first-message-id"], successful[4]["MessageId"]);
    assert_eq!((&letters[0]["body"], &letters[0]["receive_count"]), (&json!(poison), &json!(0)));
    assert_eq!(letters[0]["attributes"]["code"], "BAD_USER_INPUT");

    let look = json!({
        "QueueUrl": "/dev/RefusedQueue", "MaxNumberOfMessages": 10, "VisibilityTimeout": 0,
        "MessageAttributeNames": ["All"]
    });
    let looked = gateway.call("/dev/queue", "AmazonSQS.ReceiveMessage", &look).await;
    assert_eq!(looked.body["Messages"][0]["Body"], poison);
    assert_eq!(looked.body["Messages"][0]["MessageAttributes"]["code"]["StringValue"], "BAD_USER_INPUT");
    let arn = |queue: &str| format!("arn:aws:sqs:local:000000000000:{queue}");
    let mut task = json!({ "SourceArn": arn("RefusedQueue") });
    let unnamed = gateway.call("/dev/queue", "AmazonSQS.StartMessageMoveTask", &task).await;
    assert_eq!(unnamed.body["__type"], "InvalidParameterValue");
    task["DestinationArn"] = json!(arn("RetryQueue"));
    let moved = gateway.call("/dev/queue", "AmazonSQS.StartMessageMoveTask", &task).await;
    assert!(moved.body["TaskHandle"].is_string(), "{moved:?}");
    // The event is refused again, in a new message, and still knows the first one.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let again = gateway.wait_for_dead_letters(1).await;
        if again[0]["message_id"] != letters[0]["message_id"] {
            assert_eq!(
                (&again[0]["body"], &again[0]["attributes"]),
                (&json!(poison), &letters[0]["attributes"])
            );
            break;
        }
        assert!(Instant::now() < deadline, "{again:?}");
    }
    check(&gateway.world.client, &gateway.world.table).await;
}

#[tokio::test]
async fn event_before_its_workspace_waits_in_the_gateway() {
    let gateway = RunningGateway::new().await;
    let mut early = event("early");
    early["workspace_id"] = json!("ws-later");
    let sent = gateway.queue(SEND, json!({ "MessageBody": early.to_string() })).await;
    assert_eq!(sent.status, 200);
    gateway.world.given_workspace("ws-later").await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check(&gateway.world.client, &gateway.world.table).await.activities["ws-later"]
        .contains(&"early".to_owned())
    {
        assert!(Instant::now() < deadline, "not recorded");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(gateway.dead_letters().await.is_empty());
}

#[tokio::test]
async fn producers_cannot_send_to_the_recorders_queues() {
    let gateway = RunningGateway::new().await;
    for (queue, code) in [("RetryQueue", "AccessDenied"), ("RefusedQueue", "UnsupportedOperation")] {
        for (operation, mut input) in [
            (SEND, json!({ "MessageBody": "{}" })),
            (SEND_BATCH, json!({ "Entries": [{ "Id": "a", "MessageBody": "{}" }] })),
        ] {
            input["QueueUrl"] = json!(format!("/dev/{queue}"));
            let refused = gateway.call("/dev/queue", operation, &input).await;
            assert_eq!(refused.body["__type"], code, "{operation} to {queue}");
        }
    }
}

#[tokio::test]
async fn event_sent_by_every_route_is_recorded_once() {
    let gateway = RunningGateway::new().await;
    let event = event("act-1");
    let message = json!({ "MessageBody": event.to_string() });
    for _ in 0..3 {
        assert_eq!(gateway.put(&[entry(&event), entry(&event)]).await["FailedEntryCount"], 0);
        assert_eq!(gateway.queue(SEND, message.clone()).await.status, 200);
        let invoked = gateway.invoke("RequestResponse", &event).await;
        assert_eq!((invoked.status, &invoked.body["activity"]["id"]), (200, &json!("act-1")), "{invoked:?}");
        assert_eq!(gateway.invoke("Event", &event).await.status, 202);
    }
    gateway.put(&[entry(&self::event("last"))]).await;
    gateway.stop.send(()).unwrap();
    gateway.stopped.await.unwrap().unwrap();
    let contents = check(&gateway.world.client, &gateway.world.table).await;
    let ours = contents.activities["ws-demo"].iter().filter(|id| !id.starts_with("act-demo-"));
    assert_eq!(ours.collect::<Vec<_>>(), ["act-1", "last"]);
}

#[tokio::test]
async fn killed_invocation_and_failing_table_lose_nothing() {
    let gateway = RunningGateway::new().await;
    // The gateway kills the first invocation, which never ends. The table throttles the next ones.
    gateway.world.transport.fail_transactions([Fault::Killed]);
    gateway.world.transport.fail_transactions([Fault::Throttled; 40]);
    let events: Vec<Value> = (0..30).map(|n| event(&format!("act-{n:02}"))).collect();
    for events in events.chunks(10) {
        let entries: Vec<Value> = events.iter().map(entry).collect();
        assert_eq!(gateway.put(&entries).await["FailedEntryCount"], 0);
    }
    let recorded = gateway.recorded(30).await;
    // The activities share one time, so that the feed is ordered by id.
    let ids: Vec<&str> = recorded.iter().rev().map(|activity| activity["id"].as_str().unwrap()).collect();
    assert_eq!(ids, (0..30).map(|n| format!("act-{n:02}")).collect::<Vec<_>>());
    assert!(gateway.dead_letters().await.is_empty());
    check(&gateway.world.client, &gateway.world.table).await;
}

#[tokio::test]
async fn invocation_responds_like_lambda() {
    let gateway = RunningGateway::new().await;
    let bare = gateway.invoke("RequestResponse", &event("")).await;
    assert_eq!((bare.status, &bare.body["status"]), (200, &json!("recorded")));
    assert_eq!(bare.body["activity"]["id"], bare.headers["x-amzn-requestid"]);
    assert!(!bare.headers.contains_key("x-amz-function-error"));

    let failed = gateway.invoke("RequestResponse", &json!({ "action": "a.b" })).await;
    assert_eq!((failed.status, failed.headers["x-amz-function-error"].as_str()), (200, "Unhandled"));
    assert_eq!(failed.body["errorType"], "BAD_USER_INPUT");
    assert!(failed.body["errorMessage"].as_str().unwrap().contains("workspace_id is required"), "{failed:?}");

    assert_eq!(gateway.invoke("DryRun", &event("dry")).await.status, 204);
    let contents = check(&gateway.world.client, &gateway.world.table).await;
    assert!(!contents.activities["ws-demo"].contains(&"dry".to_owned()));
}

#[tokio::test]
async fn failed_async_invocation_is_retried_twice() {
    let gateway = RunningGateway::new().await;
    assert_eq!(gateway.invoke("RequestResponse", &event("taken")).await.status, 200);
    let mut other = event("taken");
    other["actor_id"] = json!("bob");
    let writes = || gateway.world.transport.take_metered().requests["TransactWriteItems"];
    writes();
    let failed = gateway.invoke("RequestResponse", &other).await;
    assert_eq!(failed.headers["x-amz-function-error"], "Unhandled");
    let each = writes();
    let begun = gateway.invoke("Event", &other).await;
    assert_eq!((begun.status, &begun.body), (202, &json!("")));
    gateway.stop.send(()).unwrap();
    gateway.stopped.await.unwrap().unwrap();
    assert_eq!(writes(), 3 * each);
}

#[tokio::test]
async fn async_retries_keep_the_request_id() {
    let gateway = RunningGateway::new().await;
    // One of the two events is invalid, so that the whole invocation is tried three times.
    let begun = gateway.invoke("Event", &json!([event(""), { "action": "a.b" }])).await;
    gateway.stop.send(()).unwrap();
    gateway.stopped.await.unwrap().unwrap();
    let contents = check(&gateway.world.client, &gateway.world.table).await;
    let id = format!("{}.0", begun.headers["x-amzn-requestid"]);
    assert!(contents.activities["ws-demo"].contains(&id), "{contents:?}");
    assert_eq!(contents.activities["ws-demo"].len(), 12 + 1);
}

#[tokio::test]
async fn function_can_be_invoked_by_name_or_arn() {
    let gateway = RunningGateway::new().await;
    for (function, sample) in [
        ("list-workspace-activity", "list-workspace-activity/first-page.200.json"),
        (
            "arn%3Aaws%3Alambda%3Alocal%3A000000000000%3Afunction%3Alist-issue-activity",
            "list-issue-activity/client.200.json",
        ),
        ("000000000000:function:record-http:$LATEST", "record-http/01-single.201.json"),
    ] {
        let path = format!("{}/../events/{sample}", env!("CARGO_MANIFEST_DIR"));
        let line = format!("POST /dev/lambda/2015-03-31/functions/{function}/invocations");
        let reply = gateway.send(&line, &[], &std::fs::read(path).unwrap()).await;
        let expected: u16 = sample.rsplit('.').nth(1).unwrap().parse().unwrap();
        assert_eq!(
            (reply.status, &reply.body["statusCode"]),
            (200, &json!(expected)),
            "{function}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn gateway_drains_the_queue_before_it_stops() {
    let gateway = RunningGateway::new().await;
    for n in 0..20 {
        let entries: Vec<Value> = (0..10).map(|m| entry(&event(&format!("act-{n}-{m}")))).collect();
        assert_eq!(gateway.put(&entries).await["FailedEntryCount"], 0);
    }
    gateway.stop.send(()).unwrap();
    gateway.stopped.await.unwrap().unwrap();
    let contents = check(&gateway.world.client, &gateway.world.table).await;
    assert_eq!(contents.activities["ws-demo"].len(), 12 + 200);
}

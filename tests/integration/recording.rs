//! Recording: each id at most once, and certainly once the caller got a response.

use harness::{Fault, World, check};
use recording::WriteOutcome;
use serde_json::{Value, json};

use crate::{event, far_deadline};

const KEY: &str = "idempotency-key";

#[tokio::test]
async fn same_content_is_a_repeat_and_other_content_a_conflict() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let body = event("act-1", "2025-01-01T00:00:00Z").to_string();
    let first = world.post("ws", &body, &[]).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.headers["location"], "/api/v1/workspaces/ws/activity/act-1");
    assert_eq!(world.get_as("member", "", &first.headers["location"]).await.body, first.body);
    world.advance(std::time::Duration::from_secs(400 * 86_400));
    let again = world.post("ws", &body, &[]).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert!(!again.headers.contains_key("location"));
    for other in [event("act-1", "2025-01-01T00:00:01Z"), {
        let mut other = event("act-1", "2025-01-01T00:00:00Z");
        other["details"]["status"] = json!("open");
        other
    }] {
        let conflict = world.post("ws", &other.to_string(), &[]).await;
        assert_eq!((conflict.status, conflict.body["code"].as_str()), (409, Some("CONFLICT")));
        assert_eq!(conflict.body["field"], "id");
    }
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), 6);
}

#[tokio::test]
async fn same_id_may_exist_in_two_workspaces() {
    let world = World::new().await.allowing_unknown_workspaces();
    for ws in ["ws", "other"] {
        let mut body = event("act-1", "2025-01-01T00:00:00Z");
        body["workspace_id"] = json!(ws);
        assert_eq!(world.post(ws, &body.to_string(), &[]).await.status, 201);
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn default_time_is_not_part_of_the_content() {
    let world = World::new().await.allowing_unknown_workspaces();
    let mut untimed = event("act-1", "");
    untimed.as_object_mut().unwrap().remove("created_at");
    let first = world.post("ws", &untimed.to_string(), &[]).await;
    assert_eq!(first.status, 201);
    world.advance(std::time::Duration::from_secs(90));
    let again = world.post("ws", &untimed.to_string(), &[]).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    // A time that the producer gives must equal the recorded one.
    let recorded = first.body["created_at"].as_str().unwrap();
    assert_eq!(world.post("ws", &event("act-1", recorded).to_string(), &[]).await.status, 200);
    assert_eq!(world.post("ws", &event("act-1", "2025-01-01T00:00:00Z").to_string(), &[]).await.status, 409);
}

#[tokio::test]
async fn idempotency_key_is_the_default_id() {
    let world = World::new().await.allowing_unknown_workspaces();
    let mut body = event("", "2025-01-01T00:00:00Z");
    body.as_object_mut().unwrap().remove("id");
    let first = world.post("ws", &body.to_string(), &[(KEY, "key-1")]).await;
    assert_eq!((first.status, first.body["id"].as_str()), (201, Some("key-1")));
    assert_eq!(world.post("ws", &body.to_string(), &[(KEY, "key-1")]).await.status, 200);
    let batch = json!([body, event("own", "2025-01-01T00:00:00Z"), body]).to_string();
    let several = world.post("ws", &batch, &[(KEY, "key-2")]).await;
    let ids: Vec<&str> =
        several.body.as_array().unwrap().iter().map(|r| r["activity"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["key-2.0", "own", "key-2.2"]);
    let again = world.post("ws", &batch, &[(KEY, "key-2")]).await;
    assert!(again.body.as_array().unwrap().iter().all(|result| result["status"] == 200));
    // Without a key the function makes a new id, so that each request is another event.
    let one = world.post("ws", &body.to_string(), &[]).await;
    let other = world.post("ws", &body.to_string(), &[]).await;
    assert_eq!((one.status, other.status), (201, 201));
    assert_ne!(one.body["id"], other.body["id"]);
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn array_has_one_result_per_event() {
    let world = World::new().await.allowing_unknown_workspaces();
    let at = "2025-01-01T00:00:00Z";
    world.given([event("there", at), event("taken", "2024-01-01T00:00:00Z")]).await;
    let mut malformed = event("bad", at);
    malformed["actor_type"] = json!("robot");
    let batch = json!([
        event("new", at),
        malformed,
        event("there", at),
        event("taken", at),
        event("new", at),
        event("new", "2025-01-01T00:00:01Z"),
        event("taken", "2024-01-01T00:00:00Z"),
    ]);
    let reply = world.post("ws", &batch.to_string(), &[]).await;
    assert_eq!(reply.status, 207);
    let results = reply.body.as_array().unwrap();
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 400, 200, 409, 200, 409, 200]);
    assert_eq!(results[1]["problem"]["field"], "actor_type");
    assert_eq!(check(&world.client, &world.table).await.activities["ws"], ["new", "taken", "there"]);
}

#[tokio::test]
async fn bad_request_names_the_field_and_writes_nothing() {
    let world = World::new().await;
    let good = event("act-1", "2025-01-01T00:00:00Z");
    let with = |name: &str, value: Value| {
        let mut event = good.clone();
        event[name] = value;
        event.to_string()
    };
    let many = Value::from(vec![good.clone(); 501]).to_string();
    let ahead = "2026-11-23T00:05:01Z";
    for (body, headers, status, field) in [
        ("", &[][..], 400, "body"),
        ("{", &[], 400, "body"),
        ("7", &[], 400, "body"),
        ("[]", &[], 400, "body"),
        (&many, &[], 413, "body"),
        (&with("details", json!({ "x": "y".repeat(70_000) })), &[], 413, "body"),
        (&good.to_string().replacen('{', "{\"id\":\"twice\",", 1), &[], 400, "body"),
        (&with("workspace_id", json!("elsewhere")), &[], 400, "workspace_id"),
        (&with("colour", json!(1)), &[], 400, "colour"),
        (&with("id", json!("a\u{200b}b")), &[], 400, "id"),
        (&with("id", Value::Null), &[(KEY, "k".repeat(253).as_str())], 400, "Idempotency-Key"),
        (&with("id", Value::Null), &[(KEY, "")], 400, "Idempotency-Key"),
        (&with("created_at", json!(ahead)), &[], 400, "created_at"),
        (&with("action", json!("issue.created")), &[], 400, "details.title"),
        (&with("issue_id", Value::Null), &[], 400, "issue_id"),
        (&with("details", json!({})), &[], 400, "details"),
    ] {
        let reply = world.post("ws", body, headers).await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!((reply.status, reply.body["field"].as_str()), (status, Some(field)), "{shown}");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        assert_eq!(reply.body["request_id"], "req-1");
    }
    let path = "/api/v1/workspaces/ws/activity";
    let body = good.to_string();
    let post = |path, claims| world.send("POST", path, claims, &[], Some(&body));
    assert_eq!(post(path, None).await.status, 401);
    assert_eq!(post(path, Some(harness::token_claims("owner", "activity:read"))).await.status, 403);
    let writer = || Some(harness::token_claims("s", "activity:write"));
    assert_eq!(post("/api/v1/workspaces/a%0Ab/activity", writer()).await.status, 400);
    assert_eq!(post("/api/v1/workspaces/ws/activity?dry_run=1", writer()).await.status, 400);
    let nothing = world.client.scan().table_name(&world.table).send().await.unwrap();
    assert_eq!(nothing.count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_record_each_id_once() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let world = std::sync::Arc::new(world);
    let mut tasks = Vec::new();
    for writer in 0..8 {
        let world = std::sync::Arc::clone(&world);
        tasks.push(tokio::spawn(async move {
            let mut new = 0;
            for n in 0..20 {
                // Each writer has its own order, with one or two events a call.
                let n = (n * 7 + writer * 3) % 20;
                let events = [n, (n + 1) % 20]
                    .map(|n| world.parse_event(event(&format!("act-{n}"), "2025-01-01T00:00:00Z")));
                for result in
                    world.recorder.record(events[..1 + writer % 2].to_vec(), far_deadline()).await.results
                {
                    new += usize::from(matches!(result.unwrap(), WriteOutcome::New(_)));
                }
            }
            new
        }));
    }
    let mut new = 0;
    for task in tasks {
        new += task.await.unwrap();
    }
    assert_eq!(new, 20);
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), 25);
}

#[tokio::test]
async fn batch_over_many_days_is_split() {
    let world = World::new().await.allowing_unknown_workspaces();
    let events: Vec<Value> = (0..400)
        .map(|n| {
            event(
                &format!("act-{n}"),
                &format!("{}-{:02}-{:02}T00:00:00Z", 1990 + n / 12, 1 + n % 12, 1 + n % 28),
            )
        })
        .collect();
    let reply = world.post("ws", &Value::from(events).to_string(), &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), 400);
}

#[tokio::test]
async fn largest_events_fit_a_transaction() {
    let world = World::new().await.allowing_unknown_workspaces();
    let mut events: Vec<Value> =
        (0..49).map(|n| event(&format!("big-{n}"), "2025-01-01T00:00:00Z")).collect();
    for event in &mut events {
        let padding = domain::event::MAX_EVENT_LEN - event.to_string().len() - r#","x":"""#.len();
        event["details"]["x"] = json!("é".repeat(padding / 2));
    }
    let reply = world.post("ws", &Value::from(events).to_string(), &[]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body[0]);
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), 49);
}

#[tokio::test]
async fn direct_invocation_fails_as_a_whole() {
    let world = World::new().await.allowing_unknown_workspaces();
    let invoke =
        async |payload: Value, request_id: &str| world.invoke_as("record-invoke", &payload, request_id).await;
    let mut bare = event("", "2025-01-01T00:00:00Z");
    bare.as_object_mut().unwrap().remove("id");
    let first = invoke(bare.clone(), "req-7").await.unwrap();
    assert_eq!((&first["status"], &first["activity"]["id"]), (&json!("recorded"), &json!("req-7")));
    // An asynchronous retry has the same request id.
    assert_eq!(invoke(bare.clone(), "req-7").await.unwrap()["status"], "repeated");
    let several = invoke(json!([bare, bare]), "req-8").await.unwrap();
    assert_eq!(several["results"][1]["activity"]["id"], "req-8.1");
    let mut other = bare.clone();
    other["actor_id"] = json!("bob");
    let conflict = invoke(other.clone(), "req-7").await.unwrap_err();
    assert_eq!(conflict.error_type, "CONFLICT");
    other["id"] = json!("req-7");
    let partly = invoke(json!([event("fine", "2025-01-01T00:00:00Z"), other]), "req-9").await.unwrap_err();
    assert!(
        partly.error_message.starts_with("1 of 2 events were not recorded: event 1: req-7"),
        "{partly:?}"
    );
    let nowhere = json!({ "actor_type": "user", "actor_id": "u", "action": "a.b" });
    assert_eq!(invoke(nowhere, "req-10").await.unwrap_err().error_type, "BAD_USER_INPUT");
    assert_eq!(invoke(json!("text"), "req-11").await.unwrap_err().error_type, "BAD_USER_INPUT");
    assert_eq!(
        check(&world.client, &world.table).await.activities["ws"],
        ["fine", "req-7", "req-8.0", "req-8.1"]
    );
}

#[tokio::test]
async fn every_fault_of_the_first_write_is_survived() {
    for fault in Fault::ALL {
        let world = World::new().await;
        world.given_workspace("ws").await;
        world.transport.fail_transactions([fault]);
        let body = event("act-1", "2025-01-01T00:00:00Z").to_string();
        let reply = world.post("ws", &body, &[]).await;
        assert!([200, 201].contains(&reply.status), "{fault:?}: {reply:?}");
        assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), 6, "{fault:?}");
    }
}

#[tokio::test]
async fn busy_table_is_an_error_that_is_safe_to_retry() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let events = [world.parse_event(event("act-1", "2025-01-01T00:00:00Z"))];
    for (fault, busy) in [(Fault::Conflict, true), (Fault::Throttled, true), (Fault::LostResponse, false)] {
        world.transport.fail_transactions([fault; 64]);
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(300);
        let results = world.recorder.record(events.to_vec(), deadline).await.results;
        match (&results[0], busy) {
            (Err(domain::Error::Throttled(_)), true) | (Err(domain::Error::Unavailable(_)), false) => {}
            (other, _) => panic!("{fault:?}: {other:?}"),
        }
        world.transport.clear_faults();
    }
    // The writes of the last fault took effect, because only their responses were lost.
    let results = world.recorder.record(events.to_vec(), far_deadline()).await.results;
    assert!(matches!(results[0], Ok(WriteOutcome::Repeat(_))), "{results:?}");
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), 6);
}

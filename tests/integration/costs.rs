//! Costs of operations, in DynamoDB requests and units. They are exact.

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{Metered, World};
use serde_json::{Value, json};

use crate::event;

const PAGE: &str = "/api/v1/workspaces/ws/activity";

/// `n` events, one for each minute from the start of 2025.
fn minutes(n: usize) -> Vec<Value> {
    let start = chrono::DateTime::from_timestamp(1_735_689_600, 0).unwrap();
    (0..n)
        .map(|minute| {
            let time = start + chrono::TimeDelta::minutes(i64::try_from(minute).unwrap());
            event(&format!("e{minute:05}"), &time.to_rfc3339())
        })
        .collect()
}

async fn cost(world: &World, path: &str) -> (Metered, usize) {
    world.transport.take_metered();
    let reply = world.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
    (world.transport.take_metered(), reply.ids().len())
}

#[tokio::test]
async fn pages_cost_the_same_at_any_depth() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    for chunk in minutes(3000).chunks(490) {
        world.given(chunk.to_vec()).await;
    }
    let (first, entries) = cost(&world, PAGE).await;
    assert_eq!((first.total(), entries), (2, 50), "{first:?}");
    for offset in [1, 49, 50, 1439, 1440, 1500, 2777, 2950] {
        let (deep, entries) = cost(&world, &format!("{PAGE}?offset={offset}")).await;
        assert_eq!((deep.total(), entries), (4, 50), "offset {offset}: {deep:?}");
        // A slot holds ten of the activities, and both counters are small.
        assert!(
            deep.units <= 4.0 * first.units,
            "offset {offset}: {} units, first {}",
            deep.units,
            first.units
        );
    }
    let (past, entries) = cost(&world, &format!("{PAGE}?offset=1000000")).await;
    assert_eq!(entries, 0);
    assert!(past.total() <= 2, "{past:?}");
    let (total, _) = cost(&world, &format!("{PAGE}?include=total")).await;
    assert_eq!(total.total(), 3, "{total:?}");
    let (total, _) = cost(&world, &format!("{PAGE}?include=total&offset=2000")).await;
    assert_eq!(total.total(), 4, "{total:?}");
    for (filter, requests) in [
        ("actor_id=ada", 2),
        // The action is read in its category, and in OTHER, where it was recorded before it had a row in the catalog.
        ("action=issue.updated", 3),
        ("since=2025-01-01T12:00:00Z&until=2025-01-02T00:00:00Z", 2),
    ] {
        let (filtered, entries) = cost(&world, &format!("{PAGE}?{filter}")).await;
        assert_eq!((filtered.total(), entries), (requests, 50), "{filter}: {filtered:?}");
    }
    let (issue, entries) = cost(&world, "/api/v1/workspaces/ws/issues/issue-1/activity").await;
    assert_eq!((issue.total(), entries), (2, 50), "{issue:?}");
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn next_page_costs_two_requests() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.given(minutes(230)).await;
    world.transport.take_metered();
    let seen = world.walk("owner", PAGE, |_| assert_eq!(world.transport.take_metered().total(), 2)).await;
    assert_eq!(seen.len(), 235);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn filters_read_little_more_than_they_return() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    // One in ten of 2,000 is an agent's, spread evenly.
    let events: Vec<Value> = minutes(2000)
        .into_iter()
        .enumerate()
        .map(|(n, mut event)| {
            if n % 10 == 0 {
                event["actor_type"] = json!("agent");
                event["tags"] = json!(["nightly"]);
            }
            event
        })
        .collect();
    for chunk in events.chunks(490) {
        world.given(chunk.to_vec()).await;
    }
    let (unfiltered, _) = cost(&world, PAGE).await;
    for filter in ["actor_type=agent", "tag=nightly", "actor_id=ada&actor_type=agent"] {
        let (filtered, entries) = cost(&world, &format!("{PAGE}?{filter}")).await;
        assert_eq!(entries, 50, "{filter}");
        assert!(filtered.total() <= 5, "{filter}: {filtered:?}");
        assert!(filtered.units <= 12.0 * unfiltered.units, "{filter}: {} units", filtered.units);
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn recording_one_event_takes_one_request_after_the_first() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    for (n, reads) in [(0, 1), (1, 0), (2, 0)] {
        world.transport.take_metered();
        let body = event(&format!("one-{n}"), "2025-01-01T00:00:00Z").to_string();
        assert_eq!(world.post("ws", &body, &[]).await.status, 201);
        let metered = world.transport.take_metered();
        assert_eq!(metered.requests["TransactWriteItems"], 1);
        assert_eq!(metered.total(), 1 + reads, "{metered:?}");
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn transaction_holds_49_events() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.given([event("first", "2025-01-01T00:00:00Z")]).await;
    for (n, transactions) in [(1, 1), (49, 1), (50, 2), (98, 2), (99, 3), (490, 10)] {
        let events: Vec<Value> =
            (0..n).map(|i| event(&format!("batch-{n}-{i}"), "2025-01-01T08:00:00Z")).collect();
        world.transport.take_metered();
        let reply = world.post("ws", &Value::from(events).to_string(), &[]).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.as_array().unwrap().iter().all(|result| result["status"] == 201));
        // The first batch also reads the workspace's organization, which the function then caches.
        let metered = world.transport.take_metered();
        assert_eq!(metered.requests["TransactWriteItems"], transactions, "{n}: {metered:?}");
    }
    harness::check(&world.client, &world.table).await;
}

/// An event of so many bytes, as compact JSON. Everything but its details is as short as [`event`] has it.
fn sized_event(id: &str, bytes: usize) -> Value {
    let mut event = event(id, "2025-01-01T00:00:00Z");
    event["details"]["text"] = json!("");
    let missing = bytes - event.to_string().len();
    event["details"]["text"] = json!("x".repeat(missing));
    event
}

/// The size of the stored item of an activity, as DynamoDB counts it: the bytes of names and values.
async fn stored_size(world: &World, id: &str) -> (usize, usize) {
    let key = |name: &str, value: String| (name.to_owned(), AttributeValue::S(value));
    let key = [key("pk", "WS#ws".into()), key("sk", format!("AT#2025-01-01T00:00:00.000000#{id}"))];
    let get = world.client.get_item().table_name(&world.table).set_key(Some(key.into()));
    let item = get.send().await.unwrap().item.unwrap();
    let size = |(name, value): (&String, &AttributeValue)| {
        name.len()
            + match value {
                AttributeValue::S(text) => text.len(),
                AttributeValue::B(bytes) => bytes.as_ref().len(),
                AttributeValue::Bool(_) => 1,
                other => panic!("{name}: {other:?}"),
            }
    };
    let recorded = size(item.get_key_value("recorded").unwrap());
    (item.iter().map(size).sum(), recorded)
}

#[tokio::test]
async fn units_of_events_with_the_longest_principal() {
    // DynamoDB Local charges index entries twice in a transaction, like items. DynamoDB charges them once.
    if std::env::var("DYNAMODB_ENDPOINT").is_ok() {
        return;
    }
    let world = World::new().await;
    world.given_workspace("ws").await;
    let sub = "s".repeat(200);
    let post = async |body: Value| {
        world.transport.take_metered();
        let claims = harness::token_claims(&sub, "activity:write");
        let reply = world.send("POST", PAGE, Some(claims), &[], Some(&body.to_string())).await;
        assert!(reply.status < 207, "{:?}", reply.body);
        world.transport.take_metered().units_of["TransactWriteItems"]
    };
    post(event("first", "2025-01-01T00:00:00Z")).await;
    let mut measured = Vec::new();
    for bytes in [600, 1_000] {
        let id = format!("alone-{bytes}");
        let alone = post(sized_event(&id, bytes)).await;
        let events: Vec<Value> = (0..49).map(|n| sized_event(&format!("b{n:02}-{bytes}"), bytes)).collect();
        let batch = post(events.into()).await;
        measured.push((bytes, stored_size(&world, &id).await, alone, batch));
    }
    // The size of an event; its item and the provenance in it, in bytes; the units alone, and those of 49.
    assert_eq!(measured, [(600, (811, 105), 12.0, 396.0), (1_000, (1_212, 105), 18.0, 690.0)]);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn activity_costs_12_write_units_alone_and_8_5_in_a_batch() {
    // DynamoDB Local charges index entries twice in a transaction, like items. DynamoDB charges them once.
    if std::env::var("DYNAMODB_ENDPOINT").is_ok() {
        return;
    }
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.given([event("first", "2025-01-01T00:00:00Z")]).await;
    world.transport.take_metered();
    world.given([event("alone", "2025-01-01T00:00:00Z")]).await;
    let alone = world.transport.take_metered().units_of["TransactWriteItems"];
    world.given((0..49).map(|i| event(&format!("batch-{i}"), "2025-01-01T00:00:00Z"))).await;
    let batch = world.transport.take_metered().units_of["TransactWriteItems"] / 49.0;
    assert!(alone <= 12.0, "{alone} alone");
    assert!(batch <= 8.5, "{batch} in a batch");
    harness::check(&world.client, &world.table).await;
}

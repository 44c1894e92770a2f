//! Recording under random faults, seeded, so that a failure can be replayed.

use harness::{Fault, World, check};
use serde_json::{Value, json};
use shared::event::Event;

use crate::{event, soon};

#[tokio::test]
async fn nothing_is_lost_or_doubled_whatever_fails() {
    for seed in 0..6 {
        let world = World::new().await;
        let mut random = fastrand::Rng::with_seed(seed);
        world.transport.fail_randomly(seed, 6, false);
        let events: Vec<Value> = (0..300)
            .map(|n| {
                let ws = ["ws", "ws-b", "ws-c"][n % 3];
                let day = 1 + random.usize(..28);
                let mut event = event(&format!("act-{n}"), &format!("2025-01-{day:02}T00:00:00Z"));
                event["workspace_id"] = json!(ws);
                if n % 10 < 3 {
                    event["action"] = json!("member.role_changed");
                    let role = ["admin", "client"][n % 2];
                    event["details"] = json!({ "user": "ada", "role": role });
                }
                event
            })
            .collect();
        // Three deliveries of everything, each in another order and other batches.
        for _ in 0..3 {
            let mut delivery = events.clone();
            random.shuffle(&mut delivery);
            while !delivery.is_empty() {
                let batch = delivery.split_off(delivery.len().saturating_sub(1 + random.usize(..80)));
                let batch: Vec<Event> = batch.into_iter().map(|value| world.event(value)).collect();
                for result in world.recorder.record(batch, soon()).await.results {
                    assert!(result.is_ok(), "seed {seed}: {result:?}");
                }
            }
        }
        let contents = check(&world.client, &world.table).await;
        let recorded: usize = contents.activities.values().map(Vec::len).sum();
        assert_eq!(recorded, 300, "seed {seed}");
        // The directory says what the latest of its events says.
        for ws in ["ws", "ws-b", "ws-c"] {
            let latest = events
                .iter()
                .filter(|event| event["workspace_id"] == ws && event["details"]["role"].is_string())
                .max_by_key(|event| (event["created_at"].as_str(), event["id"].as_str()))
                .unwrap();
            let key = |value: String| aws_sdk_dynamodb::types::AttributeValue::S(value);
            let item = world
                .client
                .get_item()
                .table_name(&world.table)
                .key("pk", key("DIR#USER#ada".into()))
                .key("sk", key(format!("WS#{ws}")))
                .send()
                .await
                .unwrap()
                .item
                .unwrap();
            let role = item["role"].as_m().unwrap()["v"].as_s().unwrap();
            assert_eq!(latest["details"]["role"], *role, "seed {seed} {ws}");
        }
    }
}

const PAGE: &str = "/api/v1/workspaces/ws/activity";

#[tokio::test]
async fn a_read_that_fails_once_is_read_again() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    for operation in ["Query", "BatchGetItem"] {
        for fault in [Fault::Unsent, Fault::LostAnswer, Fault::Throttled, Fault::ServerError] {
            world.transport.script_reads(operation, [fault]);
            let reply = world.get(&format!("{PAGE}?include=total")).await;
            assert_eq!((reply.status, reply.ids().len()), (200, 5), "{operation} {fault:?}");
        }
    }
    world.transport.script_reads("BatchGetItem", [Fault::Unprocessed, Fault::Unprocessed]);
    assert_eq!(world.get(PAGE).await.status, 200);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn a_table_that_cannot_be_read_is_a_clear_answer_and_nobody_is_let_in() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    for (operation, fault, status) in [
        ("Query", Fault::Throttled, 429),
        ("Query", Fault::ServerError, 503),
        ("Query", Fault::Unsent, 503),
        ("BatchGetItem", Fault::Throttled, 429),
        ("BatchGetItem", Fault::ServerError, 503),
        ("BatchGetItem", Fault::Unprocessed, 429),
    ] {
        world.transport.script_reads(operation, [fault; 8]);
        let reply = world.get(PAGE).await;
        assert_eq!(
            (reply.status, reply.headers["retry-after"].as_str()),
            (status, "1"),
            "{operation} {fault:?}"
        );
        assert!(!reply.body.to_string().contains("injected"), "{:?}", reply.body);
        world.transport.clear();
    }
    // Whatever the page came to, a stranger learns nothing of it.
    world.transport.script_reads("Query", [Fault::ServerError; 8]);
    assert_eq!(world.get_as("stranger", "", PAGE).await.status, 403);
    harness::check(&world.client, &world.table).await;
}

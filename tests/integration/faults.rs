//! Recording and reading under faults. Random faults have a seed, so that a failure can be replayed.

use domain::event::InputEvent;
use harness::{Fault, World, check};
use serde_json::{Value, json};

use crate::{event, far_deadline};

#[tokio::test]
async fn random_faults_lose_and_duplicate_nothing() {
    for seed in 0..6 {
        let world = World::new().await.allowing_unknown_workspaces();
        let mut random = fastrand::Rng::with_seed(seed);
        // Members of a workspace are refused before it is known.
        for ws in ["ws", "ws-b", "ws-c"] {
            world.given_workspace(ws).await;
        }
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
        // Everything is delivered three times, each time in another order and in other batches.
        for _ in 0..3 {
            let mut delivery = events.clone();
            random.shuffle(&mut delivery);
            while !delivery.is_empty() {
                let batch = delivery.split_off(delivery.len().saturating_sub(1 + random.usize(..80)));
                let batch: Vec<InputEvent> =
                    batch.into_iter().map(|value| world.parse_event(value)).collect();
                for result in world.recorder.record(batch, far_deadline()).await.results {
                    assert!(result.is_ok(), "seed {seed}: {result:?}");
                }
            }
        }
        let contents = check(&world.client, &world.table).await;
        let recorded: usize = contents.activities.values().map(Vec::len).sum();
        assert_eq!(recorded, 3 * 5 + 300, "seed {seed}");
        // The latest event decides the role.
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
async fn failed_read_is_retried() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    for operation in ["Query", "BatchGetItem"] {
        for fault in [Fault::Unsent, Fault::LostResponse, Fault::Throttled, Fault::ServerError] {
            world.transport.fail_operation(operation, [fault]);
            let reply = world.get(&format!("{PAGE}?include=total")).await;
            assert_eq!((reply.status, reply.ids().len()), (200, 5), "{operation} {fault:?}");
        }
    }
    world.transport.fail_operation("BatchGetItem", [Fault::Unprocessed, Fault::Unprocessed]);
    assert_eq!(world.get(PAGE).await.status, 200);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn unreadable_table_is_429_or_503_and_denies_access() {
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
        world.transport.fail_operation(operation, [fault; 8]);
        let reply = world.get(PAGE).await;
        assert_eq!(
            (reply.status, reply.headers["retry-after"].as_str()),
            (status, "1"),
            "{operation} {fault:?}"
        );
        assert!(!reply.body.to_string().contains("injected"), "{:?}", reply.body);
        world.transport.clear_faults();
    }
    // A stranger gets the same response whether the page failed or not.
    world.transport.fail_operation("Query", [Fault::ServerError; 8]);
    assert_eq!(world.get_as("stranger", "", PAGE).await.status, 403);
    harness::check(&world.client, &world.table).await;
}

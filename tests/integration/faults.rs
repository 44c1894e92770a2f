//! Recording under random faults, seeded, so that a failure can be replayed.

use harness::{World, check};
use serde_json::{Value, json};
use shared::event::Event;

use crate::{event, soon};

#[tokio::test]
async fn nothing_is_lost_or_doubled_whatever_fails() {
    for seed in 0..6 {
        let world = World::new().await;
        let mut random = fastrand::Rng::with_seed(seed);
        world.transport.fail_randomly(seed, 3);
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
                for result in world.recorder.record(&batch, soon()).await {
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

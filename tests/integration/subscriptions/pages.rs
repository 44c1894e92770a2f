//! Topics with more subscriptions than a page, and documents with larger messages than a chunk.

use domain::subscription::SubscriptionBounds;
use harness::PostOutcome;
use serde_json::{Value, json};

use super::{WORKSPACE, bounded_world, comment, subscriber_world};

#[tokio::test]
async fn every_page_of_subscriptions_is_delivered() {
    let (connections, each) = (5, 60);
    let bounds = SubscriptionBounds { connection: 60, user: 1_000, topic: 1_000 };
    let world = bounded_world(bounds).await;
    let mut open = Vec::new();
    for _ in 0..connections {
        let connection = world.connect_as("member", "").await;
        for id in 0..each {
            world.subscribe(&connection, &id.to_string(), WORKSPACE, json!({ "projectId": "ws-1" })).await;
        }
        assert_eq!(world.sockets.take_messages(&connection).len(), each);
        open.push(connection);
    }
    // One connection fails, which affects no other page.
    world.sockets.script(&open[2], [PostOutcome::Throttled; 400]);
    world.log.given([comment("ws-1", "a"), comment("ws-1", "b")]).await;
    world.broadcast().await;
    for (n, connection) in open.iter().enumerate() {
        let messages = world.sockets.take_messages(connection);
        assert_eq!(
            (messages.len(), world.sockets.is_open(connection)),
            if n == 2 { (0, false) } else { (120, true) }
        );
        for id in 0..each {
            let id = id.to_string();
            let of_id = messages.iter().filter(|message| message["id"] == id);
            let uids: Vec<_> = of_id.map(uid).collect();
            assert!(n == 2 || uids == ["ws-1/a", "ws-1/b"], "{connection} {id}: {uids:?}");
        }
    }
    world.check().await;
}

#[tokio::test]
async fn large_messages_are_delivered_in_order() {
    let world = subscriber_world().await;
    let query = "subscription($projectId: String!) {
        subscribeToActivity(projectId: $projectId) { node { uid a: metadata b: metadata } }
    }";
    let mut open = Vec::new();
    for user in ["member", "owner", "admin"] {
        let connection = world.connect_as(user, "").await;
        world.subscribe(&connection, "1", query, json!({ "projectId": "ws-1" })).await;
        assert_eq!(world.sockets.take_messages(&connection).len(), 1);
        open.push(connection);
    }
    // A chunk is a megabyte. The second subscriber is gone in the second chunk.
    let delivered = std::iter::repeat_n(PostOutcome::Delivered, 14);
    world.sockets.script(&open[1], delivered.chain([PostOutcome::Gone]));
    let expected: Vec<String> = (0..30).map(|n| format!("ws-1/{n:02}")).collect();
    for n in 0..30 {
        let mut large = comment("ws-1", &format!("{n:02}"));
        large["details"]["text"] = "x".repeat(50_000).into();
        world.log.given([large]).await;
    }
    world.broadcast().await;
    for (connection, count) in open.iter().zip([30, 14, 30]) {
        let messages = world.sockets.take_messages(connection);
        let uids: Vec<_> = messages.iter().map(uid).collect();
        assert_eq!(uids, expected[..count], "{connection}");
        let node = &messages[0]["payload"]["data"]["subscribeToActivity"]["node"];
        let details: Value = serde_json::from_str(node["b"].as_str().unwrap()).unwrap();
        assert_eq!(details["text"].as_str().map(str::len), Some(50_000));
    }
    world.check().await;
}

fn uid(message: &Value) -> &str {
    message["payload"]["data"]["subscribeToActivity"]["node"]["uid"].as_str().unwrap()
}

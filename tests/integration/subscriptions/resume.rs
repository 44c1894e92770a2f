//! Resuming: a subscriber loses nothing while it is disconnected.

use std::time::Duration;

use domain::grants::Grants;
use domain::ids::{OrganizationId, WorkspaceId};
use domain::subscription::{ConnectionId, Document, Session, Subscription, Topic};
use harness::PostOutcome;
use serde_json::json;
use store::Handover;

use super::{Subscriber, WORKSPACE, code, comment, subscriber_world};

#[tokio::test]
async fn reconnect_replays_missed_updates() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let mut company = Subscriber::to_company(&world, "member").await;
    // The cursors are from before any update.
    for subscriber in [&mut subscriber, &mut company] {
        subscriber.lose_connection(&world);
    }
    world.log.given((0..5).map(|n| comment("ws-1", &format!("a{n}")))).await;
    world.broadcast().await;
    for subscriber in [&mut subscriber, &mut company] {
        subscriber.connect(&world).await;
        assert_eq!(subscriber.take_received(&world), ["ws-1/a0", "ws-1/a1", "ws-1/a2", "ws-1/a3", "ws-1/a4"]);
    }
    world.log.given([comment("ws-1", "b")]).await;
    world.broadcast().await;
    for subscriber in [&mut subscriber, &mut company] {
        assert_eq!(subscriber.take_received(&world), ["ws-1/b"]);
        subscriber.lose_connection(&world);
        subscriber.connect(&world).await;
        assert_eq!(subscriber.take_received(&world), [""; 0]);
    }
    world.check().await;
}

#[tokio::test]
async fn reconnect_replays_the_rest_of_a_batch() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    world
        .sockets
        .script(&subscriber.connection, [PostOutcome::Delivered, PostOutcome::Delivered, PostOutcome::Gone]);
    world.log.given((0..9).map(|n| comment("ws-1", &format!("a{n}")))).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/a0", "ws-1/a1"]);
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world).len(), 7);
}

#[tokio::test]
async fn late_activity_is_delivered() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let dated = |id: &str, at: &str| {
        let mut event = comment("ws-1", id);
        event["created_at"] = at.into();
        event
    };
    world.log.given([dated("new", "2026-11-22T00:00:00Z")]).await;
    world.broadcast().await;
    subscriber.lose_connection(&world);
    world.log.given([dated("old", "2001-01-01T00:00:00Z")]).await;
    world.broadcast().await;
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/new", "ws-1/old"]);
    world.log.given([dated("older", "2000-01-01T00:00:00Z")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/older"]);
}

#[tokio::test]
async fn long_replay_is_in_order() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    subscriber.lose_connection(&world);
    let mut expected = Vec::new();
    for batch in 0..60 {
        let ids: Vec<String> = (0..4).map(|n| format!("{batch:02}-{n}")).collect();
        world.log.given(ids.iter().map(|id| comment("ws-1", id))).await;
        world.broadcast().await;
        expected.extend(ids.into_iter().map(|id| format!("ws-1/{id}")));
    }
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), expected);
    world.check().await;
}

#[tokio::test]
async fn slow_replay_continues_on_the_next_connection() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    subscriber.lose_connection(&world);
    // The calls are in order, because the transactions of one call are not.
    for n in (0..250).step_by(25) {
        world.log.given((n..n + 25).map(|n| comment("ws-1", &format!("{n:03}")))).await;
    }
    world.broadcast().await;
    // The second hundred updates stop half way, because the client is slow.
    subscriber.connection = world.connect_as("member", "").await;
    let slow = std::iter::repeat_n(PostOutcome::Delivered, 120)
        .chain(std::iter::repeat_n(PostOutcome::Throttled, 100));
    world.sockets.script(&subscriber.connection, slow);
    subscriber.subscribe(&world).await;
    assert!(!world.sockets.is_open(&subscriber.connection));
    assert_eq!(subscriber.received.len(), 120);
    // Without any time left, nothing is delivered, and nothing is lost.
    subscriber.connection = world.connect_as("member", "").await;
    let variables = json!({ "projectId": "ws-1", "after": subscriber.cursor });
    let payload = json!({ "query": WORKSPACE, "variables": variables });
    let message = json!({ "id": "1", "type": "subscribe", "payload": payload }).to_string();
    world.send_within(&subscriber.connection, &message, Duration::from_secs(1)).await;
    assert!(!world.sockets.is_open(&subscriber.connection));
    subscriber.connect(&world).await;
    let expected: Vec<String> = (0..250).map(|n| format!("ws-1/{n:03}")).collect();
    assert_eq!(subscriber.take_received(&world), expected);
    world.check().await;
}

#[tokio::test]
async fn expired_cursor_is_an_error() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let mut other = Subscriber::to_workspace(&world, "member", "ws-2").await;
    world.log.given([comment("ws-1", "a"), comment("ws-2", "a")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/a"]);
    let begun = subscriber.cursor.clone();
    subscriber.lose_connection(&world);
    // A cursor of another topic is invalid.
    other.read(&world);
    other.cursor = begun;
    other.connect(&world).await;
    assert_eq!(code(&other.errors[0]), "BAD_USER_INPUT");
    // The journal exists for a connection's two hours and a day.
    world.log.advance(Duration::from_secs(25 * 3600));
    world.log.given([comment("ws-1", "b")]).await;
    world.broadcast().await;
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/b"]);
    subscriber.lose_connection(&world);
    // After that, the journal ends, and the next one lacks what was recorded between them.
    world.log.advance(Duration::from_secs(28 * 3600));
    world.log.given([comment("ws-1", "c")]).await;
    world.broadcast().await;
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), [""; 0]);
    assert!(subscriber.errors[0][0]["message"].as_str().unwrap().starts_with("after: is too old"));
    assert_eq!(code(&subscriber.errors[0]), "BAD_USER_INPUT");
    subscriber.cursor = None;
    subscriber.subscribe(&world).await;
    world.log.given([comment("ws-1", "d")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/d"]);
}

/// The journal deletes delivered batches in time, which a subscriber that got them does not need.
#[tokio::test]
async fn cursor_of_a_quiet_feed_does_not_expire() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    world.log.given([comment("ws-1", "a"), comment("ws-1", "b")]).await;
    world.broadcast().await;
    subscriber.read(&world);
    for _ in 0..20 {
        world.log.advance(Duration::from_secs(2 * 3600));
        subscriber.lose_connection(&world);
        subscriber.connect(&world).await;
    }
    let keys = world.check().await;
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.into());
    for (pk, sk) in keys.iter().filter(|(_, sk)| sk.starts_with("BATCH#")) {
        let delete = world.log.client.delete_item().table_name(&world.table);
        delete.key("pk", text(pk)).key("sk", text(sk)).send().await.unwrap();
    }
    subscriber.lose_connection(&world);
    world.log.given([comment("ws-1", "c")]).await;
    world.broadcast().await;
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/a", "ws-1/b", "ws-1/c"]);
}

/// The first subscription must not deliver any more when the second has begun, with an earlier cursor.
#[tokio::test]
async fn subscriptions_with_the_same_id_are_distinct() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let begun = subscriber.cursor.clone();
    world.log.given((0..150).map(|n| comment("ws-1", &format!("{n:03}")))).await;
    world.broadcast().await;
    subscriber.take_received(&world);
    let subscription = |nonce: &str| Subscription {
        topic: Topic::Workspace(WorkspaceId::parse("workspace", "ws-1").unwrap()),
        connection: ConnectionId::parse(&subscriber.connection).unwrap(),
        id: "1".into(),
        session: Session {
            sub: "member".into(),
            scope: String::new(),
            grants: Grants::default(),
            token_expires: i64::MAX,
        },
        document: Document { query: WORKSPACE.into(), operation: None, variables: "{}".into() },
        since: None,
        nonce: nonce.into(),
        began: world.dispatcher.now(),
    };
    let (first, second) = (subscription("first"), subscription("second"));
    let connections = &world.dispatcher.connections;
    world.send(&subscriber.connection, r#"{"type":"complete","id":"1"}"#).await;
    assert_eq!(connections.subscribe(&first).await.unwrap(), Ok(()));
    world.send(&subscriber.connection, r#"{"type":"complete","id":"1"}"#).await;
    assert_eq!(connections.subscribe(&second).await.unwrap(), Ok(()));
    assert_eq!(connections.hand_over(&first, u64::MAX).await.unwrap(), Handover::Ended);
    assert_eq!(connections.flag_missed(&first, 7).await.unwrap(), None);
    connections.end(&first).await.unwrap();
    assert_eq!(connections.hand_over(&second, 0).await.unwrap(), Handover::Done);
    world.check().await;
    world.send(&subscriber.connection, r#"{"type":"complete","id":"1"}"#).await;
    subscriber.cursor = begun;
    subscriber.subscribe(&world).await;
    assert_eq!(subscriber.take_received(&world).len(), 150);
}

#[tokio::test]
async fn missing_batch_is_detected() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    subscriber.lose_connection(&world);
    for id in ["a", "b", "c"] {
        world.log.given([comment("ws-1", id)]).await;
        world.broadcast().await;
    }
    let keys = world.check().await;
    let (pk, sk) =
        keys.iter().filter(|(pk, sk)| pk == "JOURNAL#WS#ws-1" && sk.starts_with("BATCH#")).nth(1).unwrap();
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.into());
    let delete = world.log.client.delete_item().table_name(&world.table);
    delete.key("pk", text(pk)).key("sk", text(sk)).send().await.unwrap();
    subscriber.connect(&world).await;
    assert_eq!(code(&subscriber.errors[0]), "BAD_USER_INPUT");
}

/// Batches of an organization are delivered concurrently, because they are from several shards of the stream. A cursor
/// of one batch must not skip an earlier batch that is not delivered yet.
#[tokio::test]
async fn cursor_does_not_skip_an_undelivered_batch() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_company(&world, "member").await;
    world.log.given([comment("ws-1", "a")]).await;
    let first = world.stream_records().await;
    world.log.given([comment("ws-2", "b")]).await;
    let second = world.stream_records().await;
    // The process of the first batch dies after it listed the batch in the journal. The second batch is delivered.
    let topic = Topic::Organization(OrganizationId::parse("organization", "org-1").unwrap());
    let mut heads = world
        .dispatcher
        .connections
        .heads(std::slice::from_ref(&topic), world.dispatcher.now())
        .await
        .unwrap();
    let row = store::activity_of(first[0]["dynamodb"]["NewImage"].as_object().unwrap()).unwrap().unwrap();
    let entries = [(row.activity.workspace_id.clone(), row.activity.position())];
    let head = heads.remove(&topic).unwrap();
    world
        .dispatcher
        .connections
        .add_batch(&topic, head, &entries, world.dispatcher.now())
        .await
        .unwrap()
        .unwrap();
    assert!(world.broadcast_within(&second, Duration::from_secs(120)).await.is_empty());
    assert_eq!(subscriber.take_received(&world), ["ws-2/b"]);
    subscriber.lose_connection(&world);
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/a", "ws-2/b"]);
    // The stream redelivers the first batch. Its abandoned entry in the journal holds back cursors for two minutes.
    assert!(world.broadcast_within(&first, Duration::from_secs(120)).await.is_empty());
    assert_eq!(subscriber.take_received(&world), ["ws-1/a"]);
    world.log.advance(Duration::from_secs(121));
    world.log.given([comment("ws-2", "c")]).await;
    world.broadcast().await;
    subscriber.lose_connection(&world);
    subscriber.received.clear();
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), [""; 0]);
}

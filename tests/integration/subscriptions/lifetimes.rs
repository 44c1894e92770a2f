//! An operation begins and ends by its id, and takes neither its connection nor other operations with it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Subscriber, WORKSPACE, code, comment, subscriber_world};

#[tokio::test]
async fn id_names_one_operation_at_a_time() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "owner", "ws-1").await;
    world.send(&subscriber.connection, r#"{"type":"complete","id":"1"}"#).await;
    subscriber.cursor = None;
    subscriber.subscribe(&world).await;
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/a"]);
    // An id in use is an error of the operation that asks for it. The one that has it goes on.
    for query in [WORKSPACE, "{ __typename }"] {
        world.subscribe(&subscriber.connection, "1", query, json!({ "projectId": "ws-2" })).await;
        let messages = world.sockets.take_messages(&subscriber.connection);
        let [refused] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("1")));
        let extensions = &refused["payload"][0]["extensions"];
        assert_eq!((&extensions["code"], &extensions["field"]), (&json!("BAD_USER_INPUT"), &json!("id")));
        assert!(extensions["requestId"].is_string(), "{refused}");
    }
    world.log.given([comment("ws-1", "b"), comment("ws-2", "c")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/b"]);
    world.check().await;
}

#[tokio::test]
async fn id_is_free_at_once_after_complete() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "owner", "ws-1").await;
    let connection = subscriber.connection.clone();
    for n in 0..10 {
        // API Gateway hands over both messages at once, in either order.
        let subscribe = world.subscribe(&connection, "1", WORKSPACE, json!({ "projectId": "ws-1" }));
        let complete = world.send(&connection, r#"{"type":"complete","id":"1"}"#);
        if n % 2 == 0 {
            tokio::join!(subscribe, complete);
        } else {
            tokio::join!(complete, subscribe);
        }
        let messages = world.sockets.take_messages(&connection);
        let [begun] = messages.as_slice() else { panic!("{n}: {messages:?}") };
        assert!(begun["payload"]["cursor"].is_string(), "{n}: {begun}");
    }
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/a"]);
    world.check().await;
}

#[tokio::test]
async fn invalid_operation_ends_itself_and_no_other() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "owner", "ws-1").await;
    let hash = json!({ "persistedQuery": { "version": 1, "sha256Hash": "ab" } });
    for (id, payload, expected) in [
        ("2", json!(null), "BAD_USER_INPUT"),
        ("2", json!({}), "BAD_USER_INPUT"),
        ("2", json!({ "query": 7 }), "BAD_USER_INPUT"),
        ("2", json!({ "query": "{ __typename }", "variables": [] }), "BAD_USER_INPUT"),
        ("", json!({ "query": "{ __typename }" }), "BAD_USER_INPUT"),
        (&"x".repeat(200), json!({ "query": "{ __typename }" }), "BAD_USER_INPUT"),
        ("2", json!({ "extensions": hash }), "PERSISTED_QUERY_NOT_SUPPORTED"),
    ] {
        let message = json!({ "type": "subscribe", "id": id, "payload": payload });
        world.send(&subscriber.connection, &message.to_string()).await;
        let messages = world.sockets.take_messages(&subscriber.connection);
        let [refused] = messages.as_slice() else { panic!("{payload}: {messages:?}") };
        assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!(id)), "{payload}");
        assert_eq!(code(&refused["payload"]), expected, "{payload}: {refused}");
        let complete = json!({ "type": "complete", "id": id });
        world.send(&subscriber.connection, &complete.to_string()).await;
    }
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/a"]);
}

#[tokio::test]
async fn completed_subscription_gets_no_updates() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "owner", "ws-1").await;
    world.send(&subscriber.connection, r#"{"type":"complete","id":"1"}"#).await;
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), [""; 0]);
    // `complete` may overtake `subscribe`, because API Gateway delivers messages concurrently.
    world.send(&subscriber.connection, r#"{"type":"complete","id":"2"}"#).await;
    world.subscribe(&subscriber.connection, "2", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(world.sockets.take_messages(&subscriber.connection), [] as [Value; 0]);
    world.log.given([comment("ws-1", "b")]).await;
    world.broadcast().await;
    assert_eq!(world.sockets.take_messages(&subscriber.connection), [] as [Value; 0]);
    // The id may be used again. A repeated `complete` has no further effect.
    world.send(&subscriber.connection, r#"{"type":"complete","id":"4"}"#).await;
    world.send(&subscriber.connection, r#"{"type":"complete","id":"4"}"#).await;
    world.subscribe(&subscriber.connection, "4", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(world.sockets.take_messages(&subscriber.connection), [] as [Value; 0]);
    world.subscribe(&subscriber.connection, "2", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(world.sockets.take_messages(&subscriber.connection).len(), 1);
    world.check().await;
    // The table remembers an early `complete` for 30 seconds.
    world.send(&subscriber.connection, r#"{"type":"complete","id":"3"}"#).await;
    world.log.advance(Duration::from_secs(31));
    world.subscribe(&subscriber.connection, "3", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(world.sockets.take_messages(&subscriber.connection)[0]["type"], "pong");
}

#[tokio::test]
async fn field_of_a_subscription_may_stand_in_fragments() {
    let world = subscriber_world().await;
    let connection = world.connect_as("owner", "").await;
    let field = "it: subscribeToActivity(projectId: $p)";
    for (id, query) in [
        format!("subscription($p: String) {{ ...A }} fragment A on Subscription {{ {field} {{ mutation node {{ id: activityId }} }} }}"),
        format!("subscription($p: String) {{ ... on Subscription {{ {field} {{ mutation node {{ id: activityId }} }} }} }}"),
        format!(
            "subscription($p: String, $yes: Boolean = true) {{ ...A @include(if: $yes) ...B }}
             fragment A on Subscription {{ {field} {{ mutation }} }}
             fragment B on Subscription {{ {field} {{ node {{ id: activityId }} }} }}"
        ),
    ]
    .iter()
    .enumerate()
    {
        world.subscribe(&connection, &id.to_string(), query, json!({ "p": "ws-1" })).await;
    }
    let begun = world.sockets.take_messages(&connection);
    assert!(begun.iter().all(|message| message["type"] == "pong"), "{begun:?}");
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    let messages = world.sockets.take_messages(&connection);
    assert_eq!(messages.len(), 3, "{messages:?}");
    for message in messages {
        let expected = json!({ "it": { "mutation": "ACTIVITY_CREATED", "node": { "id": "a" } } });
        assert_eq!(message["payload"]["data"], expected);
    }
}

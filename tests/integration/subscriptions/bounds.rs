//! Bounds of the subscriptions of a user and of a topic: exact, and healed when connections or processes vanish.

use std::time::Duration;

use domain::subscription::SubscriptionBounds;
use futures_util::future::join_all;
use harness::{Fault, SubscriberWorld};
use serde_json::{Value, json};

use super::{COMPANY, Subscriber, WORKSPACE, bounded_world, code, comment};

const BOUNDS: SubscriptionBounds = SubscriptionBounds { connection: 4, user: 5, topic: 7 };

/// The replies to subscriptions that begin at once, each with these numbers of a connection and an id.
async fn subscribe_at_once(
    world: &SubscriberWorld,
    connections: &[String],
    ids: usize,
    query: &str,
    variables: Value,
) -> Vec<Value> {
    let subscriptions = connections.iter().flat_map(|connection| {
        let variables = variables.clone();
        (0..ids).map(move |id| {
            let variables = variables.clone();
            async move { world.subscribe(connection, &id.to_string(), query, variables).await }
        })
    });
    join_all(subscriptions).await;
    connections.iter().flat_map(|connection| world.sockets.take_messages(connection)).collect()
}

/// The number of subscriptions that began. The others were refused with `reason`.
fn begun(replies: &[Value], reason: &str) -> usize {
    let (begun, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply["type"] == "pong");
    for refused in refused {
        assert_eq!(code(&refused["payload"]), "BAD_USER_INPUT", "{refused}");
        let message = refused["payload"][0]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
    begun.len()
}

async fn connect(world: &SubscriberWorld, users: &[&str]) -> Vec<String> {
    let mut connections = Vec::new();
    for user in users {
        connections.push(world.connect_as(user, "").await);
    }
    connections
}

#[tokio::test]
async fn bound_of_a_user_is_exact_over_connections() {
    let world = bounded_world(BOUNDS).await;
    let workspace = || json!({ "projectId": "ws-1" });
    let connections = connect(&world, &["member"; 3]).await;
    let replies = subscribe_at_once(&world, &connections, 3, WORKSPACE, workspace()).await;
    assert_eq!((replies.len(), begun(&replies, "the 5 subscriptions that one user may have")), (9, 5));
    world.check().await;
    // Another user is not affected.
    let other = connect(&world, &["owner"]).await;
    let replies = subscribe_at_once(&world, &other, 2, WORKSPACE, workspace()).await;
    assert_eq!(begun(&replies, ""), 2);
    // Queries need no permit.
    let query = json!({ "query": "{ activityList(projectId: \"ws-1\", first: 1) { totalCount } }" });
    let query = json!({ "type": "subscribe", "id": "q", "payload": query });
    world.send(&connections[0], &query.to_string()).await;
    assert_eq!(world.sockets.take_messages(&connections[0])[0]["type"], "next");
}

#[tokio::test]
async fn bound_of_a_topic_is_exact_over_users() {
    for (query, variables, holder) in [
        (WORKSPACE, json!({ "projectId": "ws-1" }), "workspace"),
        (COMPANY, json!({ "companyId": "org-1" }), "organization"),
    ] {
        let world = bounded_world(BOUNDS).await;
        let connections = connect(&world, &["owner", "admin", "member", "client"]).await;
        let replies = subscribe_at_once(&world, &connections, 3, query, variables).await;
        let reason = format!("the 7 subscriptions that one {holder} may have");
        assert_eq!((replies.len(), begun(&replies, &reason)), (12, 7));
        world.check().await;
        // Another topic is not affected, and those who have a subscription get their updates.
        let mut other = Subscriber::to_workspace(&world, "owner", "ws-2").await;
        world.log.given([comment("ws-1", "a"), comment("ws-2", "b")]).await;
        world.broadcast().await;
        let delivered: Vec<_> =
            connections.iter().flat_map(|connection| world.sockets.take_messages(connection)).collect();
        assert_eq!(delivered.len(), if holder == "workspace" { 7 } else { 14 });
        assert_eq!(other.take_received(&world), ["ws-2/b"]);
    }
}

#[tokio::test]
async fn ended_subscription_makes_room() {
    let world = bounded_world(SubscriptionBounds { user: 1, topic: 1, ..BOUNDS }).await;
    let workspace = || json!({ "projectId": "ws-1" });
    for round in 0..3 {
        let mut member = Subscriber::to_workspace(&world, "member", "ws-1").await;
        // A refused subscription keeps no permit, and neither does one whose id is taken.
        let other = connect(&world, &["owner"]).await;
        let replies = subscribe_at_once(&world, &other, 1, WORKSPACE, workspace()).await;
        assert_eq!(begun(&replies, "one workspace may have"), 0);
        let replies = subscribe_at_once(&world, &other, 1, WORKSPACE, json!({ "projectId": "ws-2" })).await;
        assert_eq!(begun(&replies, ""), 1);
        world.send_event("$disconnect", &other[0], json!({}), Duration::from_secs(9)).await;
        match round {
            0 => world.send(&member.connection, r#"{"type":"complete","id":"1"}"#).await,
            1 => {
                world.send_event("$disconnect", &member.connection, json!({}), Duration::from_secs(9)).await;
            }
            // The dispatcher finds that the connection is gone.
            _ => {
                member.lose_connection(&world);
                world.log.given([comment("ws-1", "a")]).await;
                world.broadcast().await;
            }
        }
        assert!(world.check().await.iter().all(|(pk, _)| !pk.starts_with("PERMIT#")), "{round}");
    }
}

#[tokio::test]
async fn vanished_connection_makes_room_when_it_is_needed() {
    let world = bounded_world(SubscriptionBounds { user: 2, topic: 2, ..BOUNDS }).await;
    // API Gateway sends no `$disconnect`, and nothing is recorded.
    let mut vanished = Subscriber::to_workspace(&world, "member", "ws-1").await;
    vanished.lose_connection(&world);
    let mut present = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let mut late = Subscriber {
        sub: "member",
        query: WORKSPACE,
        variables: json!({ "projectId": "ws-1" }),
        ..Subscriber::default()
    };
    // A permit that was just taken may be of a subscription that is still beginning.
    late.connect(&world).await;
    assert_eq!(code(&late.errors[0]), "BAD_USER_INPUT");
    world.log.advance(Duration::from_secs(60));
    late.subscribe(&world).await;
    assert_eq!(late.errors.len(), 1, "{:?}", late.errors);
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    for subscriber in [&mut present, &mut late] {
        assert_eq!(subscriber.take_received(&world), ["ws-1/a"]);
    }
    world.check().await;
}

#[tokio::test]
async fn permits_expire_with_the_longest_connection() {
    let world = bounded_world(SubscriptionBounds { user: 1, topic: 1, ..BOUNDS }).await;
    Subscriber::to_workspace(&world, "member", "ws-1").await;
    world.log.advance(Duration::from_secs(2 * 3600));
    Subscriber::to_workspace(&world, "member", "ws-1").await;
}

/// A process dies at each request of a subscription, which must not cost its user anything after a minute.
#[tokio::test]
async fn killed_subscribe_leaves_no_permit_behind() {
    for fault in [Fault::Killed, Fault::KilledResponse] {
        let world = bounded_world(SubscriptionBounds { user: 1, topic: 1, ..BOUNDS }).await;
        for nth in 0.. {
            let connection = world.connect_as("member", "").await;
            world.transport.fail_nth(nth, fault);
            tokio::select! {
                () = world.subscribe(&connection, "1", WORKSPACE, json!({ "projectId": "ws-1" })) => {}
                () = world.transport.killed() => {}
            }
            let is_last = world.transport.is_nth_pending();
            world.transport.clear_faults();
            world.sockets.drop_connection(&connection);
            world.log.advance(Duration::from_secs(60));
            let mut next = Subscriber::to_workspace(&world, "member", "ws-1").await;
            world.log.given([comment("ws-1", &format!("{nth}"))]).await;
            world.broadcast().await;
            assert_eq!(next.take_received(&world), [format!("ws-1/{nth}")]);
            world.send_event("$disconnect", &next.connection, json!({}), Duration::from_secs(9)).await;
            world.check().await;
            if is_last {
                assert!(nth > 8, "{fault:?} hit only {nth} requests");
                break;
            }
        }
    }
}

//! Costs of a broadcast, in DynamoDB requests and units. They are exact.

use harness::Metered;

use super::{Subscriber, comment, subscriber_world};

/// The cost of broadcasting one activity.
async fn cost_of_one(world: &harness::SubscriberWorld, id: &str) -> Metered {
    world.log.given([comment("ws-1", id)]).await;
    let records = world.stream_records().await;
    world.transport.take_metered();
    assert!(world.broadcast_within(&records, std::time::Duration::from_secs(120)).await.is_empty());
    world.transport.take_metered()
}

#[tokio::test]
async fn broadcast_costs_nothing_for_other_topics() {
    let world = subscriber_world().await;
    // The requests read the workspace's entry, and the heads of its two topics, which have no journal.
    let unsubscribed = cost_of_one(&world, "a").await;
    assert_eq!(unsubscribed.total(), 2, "{unsubscribed:?}");
    let mut subscribers = vec![Subscriber::to_workspace(&world, "member", "ws-1").await];
    let alone = cost_of_one(&world, "b").await;
    for _ in 0..20 {
        subscribers.push(Subscriber::to_workspace(&world, "member", "ws-2").await);
    }
    let beside = cost_of_one(&world, "c").await;
    assert_eq!(alone.requests, beside.requests);
    assert_eq!(alone.units, beside.units);
    // The entry and the heads; the batch; the four shards of subscribers; the role; and the end of the batch.
    assert_eq!(alone.total(), 9, "{alone:?}");
    // Further subscribers cost only the units to read them.
    for _ in 0..20 {
        subscribers.push(Subscriber::to_workspace(&world, "member", "ws-1").await);
    }
    let posts = world.sockets.requests();
    let crowded = cost_of_one(&world, "d").await;
    assert_eq!(crowded.requests, alone.requests);
    assert!(crowded.units < alone.units + 8.0, "{} {}", crowded.units, alone.units);
    assert_eq!(world.sockets.requests() - posts, 21);
}

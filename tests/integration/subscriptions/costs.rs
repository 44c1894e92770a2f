//! What a broadcast costs, in requests and capacity units, which are exact.

use harness::Metered;

use super::{Watcher, comment, live};

/// What DynamoDB is asked for a batch of one activity.
async fn one(live: &harness::Live, id: &str) -> Metered {
    live.world.given([comment("ws-1", id)]).await;
    let records = live.recorded().await;
    live.transport.take();
    assert!(live.broadcast_in(&records, std::time::Duration::from_secs(120)).await.is_empty());
    live.transport.take()
}

#[tokio::test]
async fn who_does_not_watch_costs_nothing() {
    let live = live().await;
    // The workspace's entry, and the heads of its two topics, which are not there.
    let unwatched = one(&live, "a").await;
    assert_eq!(unwatched.total(), 2, "{unwatched:?}");
    let mut watchers = vec![Watcher::of_workspace(&live, "member", "ws-1").await];
    let alone = one(&live, "b").await;
    for _ in 0..20 {
        watchers.push(Watcher::of_workspace(&live, "member", "ws-2").await);
    }
    let beside = one(&live, "c").await;
    assert_eq!(alone.requests, beside.requests);
    assert_eq!(alone.units, beside.units);
    // The entry and the heads; the batch; the four shards of watchers; the role; and the end of the batch.
    assert_eq!(alone.total(), 9, "{alone:?}");
    // Many more who watch cost what it takes to read them.
    for _ in 0..20 {
        watchers.push(Watcher::of_workspace(&live, "member", "ws-1").await);
    }
    let posts = live.sockets.posts();
    let crowded = one(&live, "d").await;
    assert_eq!(crowded.requests, alone.requests);
    assert!(crowded.units < alone.units + 8.0, "{} {}", crowded.units, alone.units);
    assert_eq!(live.sockets.posts() - posts, 21);
}

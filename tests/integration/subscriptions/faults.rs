//! Faults of connections, tables and processes, one by one and all at once.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Fault, PostOutcome, check};
use serde_json::Value;

use super::{Subscriber, comment, settings, subscriber_world};

const LONG: Duration = Duration::from_secs(120);

/// Asserts that the first occurrences in `received` are exactly `expected`, in order. Updates may be repeated.
fn has_all_in_order(received: &[String], expected: &[String]) {
    let mut first = Vec::new();
    for uid in received {
        if !first.contains(uid) {
            first.push(uid.clone());
        }
    }
    assert_eq!(first, expected);
}

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

fn uids(ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| format!("ws-1/{id}")).collect()
}

#[tokio::test]
async fn failing_connection_does_not_affect_others() {
    let world = subscriber_world().await;
    let mut subscribers = Vec::new();
    for _ in 0..6 {
        subscribers.push(Subscriber::to_workspace(&world, "member", "ws-1").await);
    }
    let script = |n: usize, outcomes: &[PostOutcome]| {
        world.sockets.script(&subscribers[n].connection, outcomes.iter().copied())
    };
    script(0, &[PostOutcome::Gone]);
    script(1, &[PostOutcome::Throttled, PostOutcome::Throttled, PostOutcome::Failed]);
    script(2, &[PostOutcome::LostResponse, PostOutcome::Delivered, PostOutcome::LostResponse]);
    script(3, &[PostOutcome::Throttled; 100]);
    script(4, &[&[PostOutcome::Delivered][..], &[PostOutcome::Failed; 100]].concat());
    let ids = ids("a", 3);
    world.log.given(ids.iter().map(|id| comment("ws-1", id))).await;
    world.broadcast().await;
    let counts: Vec<usize> = subscribers.iter_mut().map(|subscriber| subscriber.read(&world).len()).collect();
    assert_eq!(counts, [0, 3, 5, 0, 1, 3]);
    // Subscribers that missed an update are disconnected, and only those.
    let open: Vec<bool> =
        subscribers.iter().map(|subscriber| world.sockets.is_open(&subscriber.connection)).collect();
    assert_eq!(open, [false, true, true, false, false, true]);
    let subscriptions = world.check().await.iter().filter(|(_, sk)| sk.starts_with("SUB#")).count();
    assert_eq!(subscriptions, 3);
    for subscriber in &mut subscribers {
        if !world.sockets.is_open(&subscriber.connection) {
            subscriber.connect(&world).await;
        }
        has_all_in_order(&subscriber.take_received(&world), &uids(&ids));
    }
}

/// A subscriber that can neither be reached nor closed is forgotten. Its next ping closes the connection.
#[tokio::test]
async fn unclosable_connection_gets_updates_after_reconnect() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    world.sockets.script(&subscriber.connection, [PostOutcome::Throttled; 100]);
    world.sockets.set_unclosable(&subscriber.connection, true);
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    world.sockets.script(&subscriber.connection, []);
    world.log.given([comment("ws-1", "b")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), [""; 0]);
    world.sockets.set_unclosable(&subscriber.connection, false);
    world.log.advance(Duration::from_secs(61));
    world.send(&subscriber.connection, r#"{"type":"ping"}"#).await;
    assert!(!world.sockets.is_open(&subscriber.connection));
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/a", "ws-1/b"]);
    world.check().await;
}

/// The process that replays to a subscriber died, which the subscriber cannot know.
#[tokio::test]
async fn stalled_replay_is_disconnected() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    subscriber.lose_connection(&world);
    world.send_event("$disconnect", &subscriber.connection, serde_json::json!({}), LONG).await;
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    subscriber.connection = world.connect_as("member", "").await;
    // The handover is the last request of a subscription.
    world.transport.fail_operation("UpdateItem", [Fault::Killed]);
    tokio::select! {
        () = subscriber.subscribe(&world) => panic!("it did not die"),
        () = world.transport.killed() => {}
    }
    for (seconds, is_open) in [(0, true), (61, false)] {
        world.log.advance(Duration::from_secs(seconds));
        world.log.given([comment("ws-1", &format!("b{seconds}"))]).await;
        world.broadcast().await;
        assert_eq!(world.sockets.is_open(&subscriber.connection), is_open);
    }
    subscriber.connect(&world).await;
    has_all_in_order(
        &subscriber.take_received(&world),
        &["ws-1/a", "ws-1/b0", "ws-1/b61"].map(str::to_owned),
    );
    world.check().await;
}

#[tokio::test]
async fn repeated_batch_is_delivered_in_order() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let ids = ids("a", 7);
    world.log.given(ids.iter().map(|id| comment("ws-1", id))).await;
    let records = world.stream_records().await;
    for part in [&records[..], &records[..3], &records[3..], &records[..]] {
        assert!(world.broadcast_within(part, LONG).await.is_empty());
    }
    has_all_in_order(&subscriber.take_received(&world), &uids(&ids));
    subscriber.lose_connection(&world);
    subscriber.cursor = None;
    subscriber.connect(&world).await;
    assert!(subscriber.take_received(&world).is_empty());
    world.check().await;
}

#[tokio::test]
async fn unreadable_record_does_not_block_earlier_ones() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let ids = ids("a", 4);
    world.log.given(ids.iter().map(|id| comment("ws-1", id))).await;
    let mut records = world.stream_records().await;
    let number = records[2]["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned();
    records[2]["dynamodb"]["NewImage"]["action"] = serde_json::json!({ "N": "7" });
    assert_eq!(world.broadcast_within(&records, LONG).await, [number.as_str()]);
    assert_eq!(subscriber.take_received(&world), ["ws-1/a0", "ws-1/a1"]);
    // A batch that starts with the record fails, so that Lambda halves it until the record is alone.
    let halved = world.invoke("broadcast", &serde_json::json!({ "Records": records[2..] })).await;
    assert_eq!(halved.0, "error");
    assert_eq!(world.broadcast_within(&records[2..3], LONG).await, [number]);
    assert_eq!(subscriber.take_received(&world), [""; 0]);
    // Records that are no new activities are skipped.
    records[2] = serde_json::json!({
        "eventName": "MODIFY", "dynamodb": { "SequenceNumber": "1", "Keys": {}, "NewImage": { "pk": { "S": "x" } } }
    });
    records.push(serde_json::json!({ "eventName": "REMOVE", "dynamodb": { "SequenceNumber": "2" } }));
    assert!(world.broadcast_within(&records[2..], LONG).await.is_empty());
    assert_eq!(subscriber.take_received(&world), ["ws-1/a3"]);
}

/// Each fault at each request of a broadcast, whose retry delivers everything.
#[tokio::test]
async fn retried_broadcast_completes_after_any_fault() {
    for fault in
        [Fault::Killed, Fault::KilledResponse, Fault::TimedOut, Fault::LostResponse, Fault::ServerError]
    {
        let world = subscriber_world().await;
        let mut subscribers = vec![
            Subscriber::to_workspace(&world, "member", "ws-1").await,
            Subscriber::to_workspace(&world, "client", "ws-1").await,
            Subscriber::to_company(&world, "owner").await,
        ];
        let mut expected = Vec::new();
        for nth in 0.. {
            // One subscriber is disconnected during the broadcast.
            let disconnected = nth % subscribers.len();
            subscribers[disconnected].lose_connection(&world);
            let ids = ids(&format!("{nth}-"), 2);
            world.log.given(ids.iter().map(|id| comment("ws-1", id))).await;
            let records = world.stream_records().await;
            expected.extend(uids(&ids));
            world.transport.fail_nth(nth, fault);
            let failed = tokio::select! {
                failed = world.broadcast_within(&records, LONG) => !failed.is_empty(),
                () = world.transport.killed() => true,
            };
            let is_last = world.transport.is_nth_pending();
            world.transport.clear_faults();
            if failed {
                assert!(world.broadcast_within(&records, LONG).await.is_empty());
            }
            subscribers[disconnected].connect(&world).await;
            for subscriber in &mut subscribers {
                subscriber.read(&world);
                has_all_in_order(&subscriber.received, &expected);
            }
            if is_last {
                assert!(nth > 8, "{fault:?} hit only {nth} requests");
                break;
            }
        }
        world.check().await;
    }
}

/// Each fault at each request of a subscription, whose retry replays everything.
#[tokio::test]
async fn retried_subscribe_completes_after_any_fault() {
    for fault in [Fault::Killed, Fault::KilledResponse, Fault::LostResponse] {
        let world = subscriber_world().await;
        let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
        let mut expected = Vec::new();
        for nth in 0.. {
            subscriber.lose_connection(&world);
            world.send_event("$disconnect", &subscriber.connection, serde_json::json!({}), LONG).await;
            let ids = ids(&format!("{nth}-"), 2);
            world.log.given(ids.iter().map(|id| comment("ws-1", id))).await;
            world.broadcast().await;
            expected.extend(uids(&ids));
            subscriber.connection = world.connect_as("member", "").await;
            world.transport.fail_nth(nth, fault);
            let died = tokio::select! {
                () = subscriber.subscribe(&world) => false,
                () = world.transport.killed() => true,
            };
            let is_last = world.transport.is_nth_pending();
            world.transport.clear_faults();
            if died {
                subscriber.lose_connection(&world);
                world.send_event("$disconnect", &subscriber.connection, serde_json::json!({}), LONG).await;
                subscriber.connect(&world).await;
            }
            world.log.given([comment("ws-1", &format!("{nth}-after"))]).await;
            world.broadcast().await;
            expected.push(format!("ws-1/{nth}-after"));
            subscriber.read(&world);
            has_all_in_order(&subscriber.received, &expected);
            assert!(subscriber.errors.is_empty(), "{:?}", subscriber.errors);
            world.check().await;
            if is_last {
                assert!(nth > 8, "{fault:?} hit only {nth} requests");
                break;
            }
        }
    }
}

/// Broadcasts and replays that run concurrently.
#[tokio::test]
async fn reconnect_during_a_broadcast_loses_nothing() {
    for seed in 0..12 {
        let world = subscriber_world().await;
        let mut subscribers = Vec::new();
        for _ in 0..4 {
            subscribers.push(Subscriber::to_workspace(&world, "member", "ws-1").await);
        }
        let mut expected = Vec::new();
        let mut random = fastrand::Rng::with_seed(seed);
        for round in 0..6 {
            let ids = ids(&format!("{round}-"), random.usize(1..5));
            world.log.given(ids.iter().map(|id| comment("ws-1", id))).await;
            let records = world.stream_records().await;
            expected.extend(uids(&ids));
            let pauses: Vec<u64> = subscribers.iter().map(|_| random.u64(..12)).collect();
            let world = &world;
            let reconnects = subscribers.iter_mut().zip(pauses).map(|(subscriber, pause)| async move {
                subscriber.lose_connection(world);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                subscriber.connect(world).await;
            });
            // Each record is a batch of its own, so that more batches meet replays.
            let broadcasts = async {
                for record in &records {
                    // Lambda retries a batch until it succeeds.
                    let mut attempts = 0;
                    while !world.broadcast_within(std::slice::from_ref(record), LONG).await.is_empty() {
                        attempts += 1;
                        assert!(attempts < 10);
                    }
                }
            };
            tokio::join!(futures_util::future::join_all(reconnects), broadcasts);
            for subscriber in &mut subscribers {
                // When the machine stalls for longer than a message may take, the subscriber is disconnected.
                subscriber.reconnect_if_closed(world).await;
                has_all_in_order(&subscriber.received, &expected);
            }
        }
        world.check().await;
    }
}

/// All faults at once, as the seed decides.
async fn simulate(seed: u64, rounds: usize) {
    let world = subscriber_world().await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut subscribers = vec![
        Subscriber::to_workspace(&world, "owner", "ws-1").await,
        Subscriber::to_workspace(&world, "member", "ws-2").await,
        Subscriber::to_workspace(&world, "client", "ws-1").await,
        Subscriber::to_company(&world, "member").await,
        Subscriber::to_company(&world, "client").await,
    ];
    // The uids of each workspace, and whether they are for staff only.
    let mut recorded: BTreeMap<&str, Vec<(String, bool)>> = BTreeMap::new();
    let mut waiting: Vec<Value> = Vec::new();
    for round in 0..rounds {
        for n in 0..random.usize(1..6) {
            let ws = if random.bool() { "ws-1" } else { "ws-2" };
            let (id, staff) = (format!("{round}-{n}"), random.u8(..4) == 0);
            let event = if staff {
                settings(ws, &id, serde_json::json!({ "activity_enabled": true }))
            } else {
                comment(ws, &id)
            };
            world.log.given([event]).await;
            recorded.entry(ws).or_default().push((format!("{ws}/{id}"), staff));
            world.log.advance(Duration::from_millis(1));
        }
        waiting.extend(world.stream_records().await);
        world.transport.fail_randomly(random.u64(..), 12, true);
        world.sockets.fail_randomly(random.u64(..), 6);
        for subscriber in &mut subscribers {
            if random.u8(..3) == 0 {
                subscriber.lose_connection(&world);
            }
        }
        let size = random.usize(1..4);
        let broadcasts = async {
            for batch in waiting.chunks(size) {
                // Lambda retries a batch until it succeeds.
                loop {
                    tokio::select! {
                        failed = world.broadcast_within(batch, LONG) => if failed.is_empty() { break },
                        () = world.transport.killed() => {}
                    }
                }
            }
        };
        broadcasts.await;
        waiting.clear();
        world.transport.fail_randomly(0, 0, false);
        world.sockets.fail_randomly(0, 0);
        for subscriber in &mut subscribers {
            subscriber.read(&world);
            if !world.sockets.is_open(&subscriber.connection) {
                // API Gateway does not always send a `$disconnect`.
                if random.bool() {
                    world
                        .send_event("$disconnect", &subscriber.connection, serde_json::json!({}), LONG)
                        .await;
                }
                subscriber.connect(&world).await;
            }
        }
    }
    for subscriber in &mut subscribers {
        subscriber.read(&world);
        assert!(subscriber.errors.is_empty(), "seed {seed}: {:?}", subscriber.errors);
        for (ws, all) in &recorded {
            let is_subscribed = subscriber.variables["projectId"].as_str().is_none_or(|topic| topic == *ws);
            let visible =
                all.iter().filter(|(_, staff)| is_subscribed && !(*staff && subscriber.sub == "client"));
            let visible: Vec<String> = visible.map(|(uid, _)| uid.clone()).collect();
            let prefix = format!("{ws}/");
            let received: Vec<String> =
                subscriber.received.iter().filter(|uid| uid.starts_with(&prefix)).cloned().collect();
            has_all_in_order(&received, &visible);
        }
    }
    world.check().await;
    check(&world.log.client, &world.log.table).await;
}

#[tokio::test]
async fn simulation_delivers_every_visible_update_in_order() {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..8).collect(),
    };
    for seed in seeds {
        println!("SEED={seed}");
        simulate(seed, 8).await;
    }
}

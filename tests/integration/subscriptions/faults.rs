//! Connections that take nothing, tables that are away, processes that die; and all of that at once.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Fault, Post, check};
use serde_json::Value;

use super::{Watcher, comment, live, settings};

const LONG: Duration = Duration::from_secs(120);

/// Checks that what was told has each of `expected`, first of all in their order, and nothing else.
fn has_all_in_order(told: &[String], expected: &[String]) {
    let mut first = Vec::new();
    for uid in told {
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
async fn a_connection_that_fails_is_nothing_to_the_others() {
    let live = live().await;
    let mut watchers = Vec::new();
    for _ in 0..6 {
        watchers.push(Watcher::of_workspace(&live, "member", "ws-1").await);
    }
    let script =
        |n: usize, posts: &[Post]| live.sockets.script(&watchers[n].connection, posts.iter().copied());
    script(0, &[Post::Gone]);
    script(1, &[Post::Throttled, Post::Throttled, Post::Failed]);
    script(2, &[Post::LostAnswer, Post::Taken, Post::LostAnswer]);
    script(3, &[Post::Throttled; 100]);
    script(4, &[&[Post::Taken][..], &[Post::Failed; 100]].concat());
    let ids = ids("a", 3);
    live.world.given(ids.iter().map(|id| comment("ws-1", id))).await;
    live.broadcast().await;
    let told: Vec<usize> = watchers.iter_mut().map(|watcher| watcher.read(&live).len()).collect();
    assert_eq!(told, [0, 3, 5, 0, 1, 3]);
    // Who missed anything is gone, or sent away to come again; the others know nothing of it.
    let open: Vec<bool> = watchers.iter().map(|watcher| live.sockets.is_open(&watcher.connection)).collect();
    assert_eq!(open, [false, true, true, false, false, true]);
    let subscriptions = live.check().await.iter().filter(|(_, sk)| sk.starts_with("SUB#")).count();
    assert_eq!(subscriptions, 3);
    for watcher in &mut watchers {
        if !live.sockets.is_open(&watcher.connection) {
            watcher.come(&live).await;
        }
        has_all_in_order(&watcher.news(&live), &uids(&ids));
    }
}

/// Whom nobody can reach or close is forgotten all the same, and finds out when it next asks whether we are there.
#[tokio::test]
async fn a_connection_that_cannot_even_be_closed_is_told_no_more_until_it_comes_again() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    live.sockets.script(&watcher.connection, [Post::Throttled; 100]);
    live.sockets.stay(&watcher.connection, true);
    live.world.given([comment("ws-1", "a")]).await;
    live.broadcast().await;
    live.sockets.script(&watcher.connection, []);
    live.world.given([comment("ws-1", "b")]).await;
    live.broadcast().await;
    assert_eq!(watcher.news(&live), [""; 0]);
    live.sockets.stay(&watcher.connection, false);
    live.world.advance(Duration::from_secs(61));
    live.say(&watcher.connection, r#"{"type":"ping"}"#).await;
    assert!(!live.sockets.is_open(&watcher.connection));
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), ["ws-1/a", "ws-1/b"]);
    live.check().await;
}

/// Who was telling a watcher what it missed has died, and the watcher does not know.
#[tokio::test]
async fn who_waits_for_what_they_missed_in_vain_is_sent_away_to_come_again() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    watcher.vanish(&live);
    live.event("$disconnect", &watcher.connection, serde_json::json!({}), LONG).await;
    live.world.given([comment("ws-1", "a")]).await;
    live.broadcast().await;
    watcher.connection = live.enter("member", "").await;
    // The last thing that a subscription does is to take its turn.
    live.transport.script_reads("UpdateItem", [Fault::Killed]);
    tokio::select! {
        () = watcher.subscribe(&live) => panic!("it did not die"),
        () = live.transport.killed() => {}
    }
    for (seconds, is_open) in [(0, true), (61, false)] {
        live.world.advance(Duration::from_secs(seconds));
        live.world.given([comment("ws-1", &format!("b{seconds}"))]).await;
        live.broadcast().await;
        assert_eq!(live.sockets.is_open(&watcher.connection), is_open);
    }
    watcher.come(&live).await;
    has_all_in_order(&watcher.news(&live), &["ws-1/a", "ws-1/b0", "ws-1/b61"].map(str::to_owned));
    live.check().await;
}

#[tokio::test]
async fn a_batch_that_comes_again_is_told_again_in_order() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    let ids = ids("a", 7);
    live.world.given(ids.iter().map(|id| comment("ws-1", id))).await;
    let records = live.recorded().await;
    for part in [&records[..], &records[..3], &records[3..], &records[..]] {
        assert!(live.broadcast_in(part, LONG).await.is_empty());
    }
    has_all_in_order(&watcher.news(&live), &uids(&ids));
    watcher.vanish(&live);
    watcher.cursor = None;
    watcher.come(&live).await;
    assert!(watcher.news(&live).is_empty());
    live.check().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_nothing_from_being_told_before_it() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    let ids = ids("a", 4);
    live.world.given(ids.iter().map(|id| comment("ws-1", id))).await;
    let mut records = live.recorded().await;
    let number = records[2]["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned();
    records[2]["dynamodb"]["NewImage"]["action"] = serde_json::json!({ "N": "7" });
    assert_eq!(live.broadcast_in(&records, LONG).await, [number.as_str()]);
    assert_eq!(watcher.news(&live), ["ws-1/a0", "ws-1/a1"]);
    // Where it comes first, the batch is halved until it is alone.
    let halved = live.invoke("broadcast", &serde_json::json!({ "Records": records[2..] })).await;
    assert_eq!(halved.0, "error");
    assert_eq!(live.broadcast_in(&records[2..3], LONG).await, [number]);
    assert_eq!(watcher.news(&live), [""; 0]);
    // What is no activity is nobody's news.
    records[2] = serde_json::json!({
        "eventName": "MODIFY", "dynamodb": { "SequenceNumber": "1", "Keys": {}, "NewImage": { "pk": { "S": "x" } } }
    });
    records.push(serde_json::json!({ "eventName": "REMOVE", "dynamodb": { "SequenceNumber": "2" } }));
    assert!(live.broadcast_in(&records[2..], LONG).await.is_empty());
    assert_eq!(watcher.news(&live), ["ws-1/a3"]);
}

/// Whatever request of a broadcast fails, or is its last: what it was to tell is told when it comes again.
#[tokio::test]
async fn a_broadcast_that_dies_anywhere_has_told_all_of_it_when_it_comes_again() {
    for fault in [Fault::Killed, Fault::KilledAnswer, Fault::TimedOut, Fault::LostAnswer, Fault::ServerError]
    {
        let live = live().await;
        let mut watchers = vec![
            Watcher::of_workspace(&live, "member", "ws-1").await,
            Watcher::of_workspace(&live, "client", "ws-1").await,
            Watcher::of_company(&live, "owner").await,
        ];
        let mut expected = Vec::new();
        for nth in 0.. {
            // One of them is always away when it happens.
            let away = nth % watchers.len();
            watchers[away].vanish(&live);
            let ids = ids(&format!("{nth}-"), 2);
            live.world.given(ids.iter().map(|id| comment("ws-1", id))).await;
            let records = live.recorded().await;
            expected.extend(uids(&ids));
            live.transport.script_nth(nth, fault);
            let failed = tokio::select! {
                failed = live.broadcast_in(&records, LONG) => !failed.is_empty(),
                () = live.transport.killed() => true,
            };
            let is_over = live.transport.waits_for_nth();
            live.transport.clear();
            if failed {
                assert!(live.broadcast_in(&records, LONG).await.is_empty());
            }
            watchers[away].come(&live).await;
            for watcher in &mut watchers {
                watcher.read(&live);
                has_all_in_order(&watcher.told, &expected);
            }
            if is_over {
                assert!(nth > 8, "{fault:?} befell {nth} requests");
                break;
            }
        }
        live.check().await;
    }
}

/// And of a subscription: who is not told that it watches comes again, and has missed nothing.
#[tokio::test]
async fn a_subscription_that_dies_anywhere_begins_when_it_comes_again() {
    for fault in [Fault::Killed, Fault::KilledAnswer, Fault::LostAnswer] {
        let live = live().await;
        let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
        let mut expected = Vec::new();
        for nth in 0.. {
            watcher.vanish(&live);
            live.event("$disconnect", &watcher.connection, serde_json::json!({}), LONG).await;
            let ids = ids(&format!("{nth}-"), 2);
            live.world.given(ids.iter().map(|id| comment("ws-1", id))).await;
            live.broadcast().await;
            expected.extend(uids(&ids));
            watcher.connection = live.enter("member", "").await;
            live.transport.script_nth(nth, fault);
            let died = tokio::select! {
                () = watcher.subscribe(&live) => false,
                () = live.transport.killed() => true,
            };
            let is_over = live.transport.waits_for_nth();
            live.transport.clear();
            if died {
                watcher.vanish(&live);
                live.event("$disconnect", &watcher.connection, serde_json::json!({}), LONG).await;
                watcher.come(&live).await;
            }
            live.world.given([comment("ws-1", &format!("{nth}-after"))]).await;
            live.broadcast().await;
            expected.push(format!("ws-1/{nth}-after"));
            watcher.read(&live);
            has_all_in_order(&watcher.told, &expected);
            assert!(watcher.errors.is_empty(), "{:?}", watcher.errors);
            live.check().await;
            if is_over {
                assert!(nth > 8, "{fault:?} befell {nth} requests");
                break;
            }
        }
    }
}

/// A broadcast and those who come for what they missed, at the same time, again and again.
#[tokio::test]
async fn who_comes_back_in_the_middle_of_a_broadcast_misses_nothing_and_hears_it_in_order() {
    for seed in 0..12 {
        let live = live().await;
        let mut watchers = Vec::new();
        for _ in 0..4 {
            watchers.push(Watcher::of_workspace(&live, "member", "ws-1").await);
        }
        let mut expected = Vec::new();
        let mut random = fastrand::Rng::with_seed(seed);
        for round in 0..6 {
            let ids = ids(&format!("{round}-"), random.usize(1..5));
            live.world.given(ids.iter().map(|id| comment("ws-1", id))).await;
            let records = live.recorded().await;
            expected.extend(uids(&ids));
            let pauses: Vec<u64> = watchers.iter().map(|_| random.u64(..12)).collect();
            let live = &live;
            let returning = watchers.iter_mut().zip(pauses).map(|(watcher, pause)| async move {
                watcher.vanish(live);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                watcher.come(live).await;
            });
            // One record at a time, so that there are several batches to meet.
            let telling = async {
                for record in &records {
                    assert!(live.broadcast_in(std::slice::from_ref(record), LONG).await.is_empty());
                }
            };
            tokio::join!(futures_util::future::join_all(returning), telling);
            for watcher in &mut watchers {
                watcher.read(live);
                has_all_in_order(&watcher.told, &expected);
            }
        }
        live.check().await;
    }
}

/// Everything at once, as the seed has it.
async fn simulate(seed: u64, rounds: usize) {
    let live = live().await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut watchers = vec![
        Watcher::of_workspace(&live, "owner", "ws-1").await,
        Watcher::of_workspace(&live, "member", "ws-2").await,
        Watcher::of_workspace(&live, "client", "ws-1").await,
        Watcher::of_company(&live, "member").await,
        Watcher::of_company(&live, "client").await,
    ];
    // By workspace: what everybody sees, and what staff sees too.
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
            live.world.given([event]).await;
            recorded.entry(ws).or_default().push((format!("{ws}/{id}"), staff));
            live.world.advance(Duration::from_millis(1));
        }
        waiting.extend(live.recorded().await);
        live.transport.fail_randomly(random.u64(..), 12, true);
        live.sockets.fail_randomly(random.u64(..), 6);
        for watcher in &mut watchers {
            if random.u8(..3) == 0 {
                watcher.vanish(&live);
            }
        }
        let size = random.usize(1..4);
        let telling = async {
            for batch in waiting.chunks(size) {
                // As Lambda does: until it succeeds.
                loop {
                    tokio::select! {
                        failed = live.broadcast_in(batch, LONG) => if failed.is_empty() { break },
                        () = live.transport.killed() => {}
                    }
                }
            }
        };
        telling.await;
        waiting.clear();
        live.transport.fail_randomly(0, 0, false);
        live.sockets.fail_randomly(0, 0);
        for watcher in &mut watchers {
            watcher.read(&live);
            if !live.sockets.is_open(&watcher.connection) {
                // API Gateway says so, most of the time.
                if random.bool() {
                    live.event("$disconnect", &watcher.connection, serde_json::json!({}), LONG).await;
                }
                watcher.come(&live).await;
            }
        }
    }
    for watcher in &mut watchers {
        watcher.read(&live);
        assert!(watcher.errors.is_empty(), "seed {seed}: {:?}", watcher.errors);
        for (ws, all) in &recorded {
            let is_watched = watcher.variables["projectId"].as_str().is_none_or(|watched| watched == *ws);
            let seen = all.iter().filter(|(_, staff)| is_watched && !(*staff && watcher.sub == "client"));
            let seen: Vec<String> = seen.map(|(uid, _)| uid.clone()).collect();
            let prefix = format!("{ws}/");
            let told: Vec<String> =
                watcher.told.iter().filter(|uid| uid.starts_with(&prefix)).cloned().collect();
            has_all_in_order(&told, &seen);
        }
    }
    live.check().await;
    check(&live.world.client, &live.world.table).await;
}

#[tokio::test]
async fn whatever_fails_everybody_is_told_all_they_may_see_in_order() {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..8).collect(),
    };
    for seed in seeds {
        println!("SEED={seed}");
        simulate(seed, 8).await;
    }
}

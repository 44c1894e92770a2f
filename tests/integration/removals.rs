//! Removals: who was removed last does not read, in whatever order, with whatever delay and by whatever clock the events
//! come; and who has no effect is told.

use std::time::Duration;

use harness::{Message, World, check, token_claims};
use serde_json::{Value, json};

use crate::queue::envelope;

const PAGE: &str = "/api/v1/workspaces/ws/activity";
/// The tolerance of the directory, and the most that a clock is wrong here, in milliseconds.
const TOLERANCE: i64 = 5_000;
const CLOCK_ERROR: i64 = TOLERANCE / 2;

fn membership(id: &str, role: Option<&str>) -> Value {
    let (action, details) = match role {
        Some(role) => ("member.added", json!({ "user": "bob", "role": role })),
        None => ("member.removed", json!({ "user": "bob" })),
    };
    json!({
        "id": id, "workspace_id": "ws", "actor_type": "user", "actor_id": "owner", "action": action,
        "details": details
    })
}

async fn reads(world: &World) -> bool {
    match world.get_as("bob", "", PAGE).await.status {
        200 => true,
        403 => false,
        status => panic!("{status}"),
    }
}

/// The instant `milliseconds` after the start of the world, as events write it.
fn instant(milliseconds: i64) -> String {
    let start = domain::time::Timestamp::parse("t", "2026-11-23T00:00:00Z").unwrap();
    start.plus(chrono::TimeDelta::milliseconds(milliseconds)).rfc3339()
}

/// A way by which an event comes, and by which it is retried.
#[derive(Debug, Clone, Copy)]
enum Way {
    Http,
    Bus,
    Queue,
    Invoke,
}

/// Sends an event on a way. On the bus, one without a time has the time of its envelope, in whole seconds.
async fn send(world: &World, way: Way, event: &Value, put_at: i64) -> Value {
    match way {
        Way::Http => world.post("ws", &event.to_string(), &[]).await.body,
        Way::Bus => {
            let mut envelope = envelope(event);
            envelope["id"] = event["id"].clone();
            envelope["time"] = json!(instant(put_at - put_at.rem_euclid(1000)));
            let message = Message::new(event["id"].as_str().unwrap(), envelope.to_string());
            world.deliver(&[message], Duration::from_secs(30)).await
        }
        Way::Queue => {
            let message = Message::new(event["id"].as_str().unwrap(), event.to_string());
            world.deliver(&[message], Duration::from_secs(30)).await
        }
        Way::Invoke => world.invoke("record-directory", event).await.1,
    }
}

#[tokio::test]
async fn removal_in_the_same_second_holds() {
    for order in [[0, 1], [1, 0]] {
        for ways in [[Way::Bus, Way::Bus], [Way::Http, Way::Bus], [Way::Bus, Way::Http]] {
            for n in 0..3 {
                let world = World::new().await;
                world.given_workspace("ws").await;
                // Ids decide nothing.
                let events = [
                    (ways[0], membership(["m", "a", "z"][n], Some("owner")), 0),
                    (ways[1], membership(["n", "z", "a"][n], None), 400),
                ];
                world.advance(Duration::from_millis(400));
                for at in order {
                    let (way, event, put_at) = &events[at];
                    send(&world, *way, event, *put_at).await;
                }
                assert!(!reads(&world).await, "{order:?} {ways:?} {n}");
                check(&world.client, &world.table).await;
            }
        }
    }
}

#[tokio::test]
async fn clock_ahead_does_not_outlive_a_removal() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let mut ahead = membership("added", Some("admin"));
    ahead["created_at"] = json!(instant(4_000));
    assert_eq!(world.post("ws", &ahead.to_string(), &[]).await.status, 201);
    assert!(reads(&world).await);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.post("ws", &membership("removed", None).to_string(), &[]).await.status, 201);
    assert!(!reads(&world).await);
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn event_without_effect_says_so_on_every_way() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.advance(Duration::from_secs(10));
    assert!(
        world.post("ws", &membership("out", None).to_string(), &[]).await.body["superseded_by"].is_null()
    );
    world.advance(Duration::from_secs(2));
    // Added again within the tolerance, bob stays out, and the answer says until when.
    let after = json!("2026-11-23T00:00:15");
    let timed = |id: &str| {
        let mut event = membership(id, Some("member"));
        event["created_at"] = json!(instant(12_000));
        event
    };
    let added = world.post("ws", &timed("again-1").to_string(), &[]).await;
    assert_eq!(
        (added.status, &added.body["superseded_by"], &added.body["send_again_after"]),
        (201, &json!("out"), &after)
    );
    assert_eq!(world.post("ws", &timed("again-1").to_string(), &[]).await.body, added.body);
    let several = world.post("ws", &json!([timed("again-2"), timed("again-1")]).to_string(), &[]).await;
    assert_eq!(several.body[0]["activity"]["superseded_by"], "out");
    let invoked = world.invoke("record-directory", &timed("again-3")).await.1;
    assert_eq!((&invoked["superseded_by"], &invoked["send_again_after"]), (&json!("out"), &after));
    send(&world, Way::Queue, &timed("again-4"), 0).await;
    let told: usize = world.summaries.lock().unwrap().iter().map(|summary| summary.superseded).sum();
    assert_eq!(told, 4);
    assert!(!reads(&world).await);
    // The answer is right.
    world.advance(Duration::from_secs(4));
    let mut later = membership("again-5", Some("member"));
    later["created_at"] = json!(instant(15_001));
    assert!(world.post("ws", &later.to_string(), &[]).await.body["superseded_by"].is_null());
    assert!(reads(&world).await);
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn directory_event_needs_a_time_where_arrival_says_nothing() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let (outcome, answer) = world.invoke("record-directory", &membership("a", Some("owner"))).await;
    assert_eq!(outcome, "error");
    assert!(answer["error"].as_str().unwrap().contains("created_at is required"), "{answer}");
    let failed = send(&world, Way::Queue, &membership("b", Some("owner")), 0).await;
    assert_eq!(failed["batchItemFailures"][0]["itemIdentifier"], "b");
    assert!(!reads(&world).await);
    // Other events take the time of their arrival.
    let mut other = crate::event("c", "");
    other.as_object_mut().unwrap().remove("created_at");
    assert_eq!(world.invoke("record-invoke", &other).await.0, "ok");
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn versions_give_the_order_where_the_first_event_has_one() {
    let world = World::new().await;
    let event = |id: &str, action: &str, details: Value, version: Option<u64>| {
        let mut event = json!({
            "id": id, "workspace_id": "ws", "actor_type": "user", "actor_id": "owner", "action": action,
            "details": details, "created_at": "2026-11-22T00:00:00Z"
        });
        if let Some(version) = version {
            event["version"] = json!(version);
        }
        event.to_string()
    };
    let bob = |role: &str| json!({ "user": "bob", "role": role });
    let created = event("created", "workspace.created", json!({ "name": "Apollo" }), Some(1));
    assert_eq!(world.post("ws", &created, &[]).await.status, 201);
    for (id, action, details, version, expected) in [
        ("v5", "member.added", bob("member"), Some(5), true),
        ("v7", "member.removed", json!({ "user": "bob" }), Some(7), false),
        ("v6", "member.role_changed", bob("admin"), Some(6), false),
        ("v8", "member.added", bob("client"), Some(8), true),
        ("v8b", "member.removed", json!({ "user": "bob" }), Some(8), false),
        ("v9", "member.added", bob("client"), Some(9), true),
    ] {
        let reply = world.post("ws", &event(id, action, details, version), &[]).await;
        assert_eq!(reply.status, 201, "{id}: {reply:?}");
        assert_eq!(
            reply.body["superseded_by"].is_null(),
            ["v5", "v7", "v8", "v8b", "v9"].contains(&id),
            "{id}"
        );
        assert_eq!(reads(&world).await, expected, "{id}");
    }
    let timed = world.post("ws", &event("t", "member.removed", json!({ "user": "bob" }), None), &[]).await;
    assert_eq!((timed.status, &timed.body["field"]), (400, &json!("version")), "{timed:?}");
    // Another process, which does not know the workspace yet, refuses the same.
    let other = event("t", "workspace.settings_updated", json!({ "privacy": "admins" }), None);
    let response = world.start_process(7).deliver(&[Message::new("t", other)], Duration::from_secs(30)).await;
    assert_eq!(response["batchItemFailures"][0]["itemIdentifier"], "t");
    world.given_workspace("timed").await;
    let path = "/api/v1/workspaces/timed/activity";
    let body =
        event("v", "member.removed", json!({ "user": "owner" }), Some(3)).replace("\"ws\"", "\"timed\"");
    let claims = token_claims("s", "activity:write activity:admin");
    let refused = world.send("POST", path, Some(claims), &[], Some(&body)).await;
    assert_eq!((refused.status, &refused.body["field"]), (400, &json!("version")), "{refused:?}");
    check(&world.client, &world.table).await;
}

/// Random histories of one membership: true times, clock errors up to half the tolerance, delays, another order of
/// arrival, redeliveries, redrives, every way. `SIMULATION_SEED` chooses other histories.
#[tokio::test]
async fn simulation_never_lets_a_removed_member_read() {
    let seed = std::env::var("SIMULATION_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut removed, mut granted) = (0, 0);
    for round in 0..60 {
        let world = World::new().await;
        world.given_workspace("ws").await;
        let mut now = 0;
        // The changes as they truly happened, and when they arrive.
        let (mut truth, mut arrivals, mut at) = (Vec::new(), Vec::new(), 20_000);
        for n in 0..2 + random.usize(..5) {
            let most = if random.bool() { 3_000 } else { 30_000 };
            at += random.i64(1..most);
            let role = ["owner", "member", "client"][random.usize(..3)];
            let role = (random.u8(..5) > 1).then_some(role);
            let mut event = membership(&format!("e-{}-{n}", random.u16(..)), role);
            let way = [Way::Http, Way::Bus, Way::Queue, Way::Invoke][random.usize(..4)];
            // An event that has no time comes over HTTP at once, or over the bus, whose envelope keeps its time.
            let is_timed = matches!(way, Way::Queue | Way::Invoke) || random.bool();
            if is_timed {
                event["created_at"] = json!(instant(at + random.i64(-CLOCK_ERROR..=CLOCK_ERROR)));
            }
            let delay = if matches!(way, Way::Http) && !is_timed { 0 } else { random.i64(0..40_000) };
            truth.push((at, role.is_some()));
            // The message is delivered again, and once more from the dead letters.
            for again in 0..1 + random.i64(0..3) {
                if again == 0 || is_timed || matches!(way, Way::Bus) {
                    arrivals.push((at + delay + again * 7_000, way, event.clone(), at));
                }
            }
        }
        arrivals.sort_by_key(|(arrives, ..)| *arrives);
        for (arrives, way, event, put_at) in arrivals {
            world.advance(Duration::from_millis(u64::try_from(arrives - now).unwrap()));
            now = arrives;
            send(&world, way, &event, put_at).await;
        }
        let (last, is_grant) = *truth.last().unwrap();
        let others = truth[..truth.len() - 1].iter().filter(|(_, grants)| !grants);
        let last_removal = others.map(|(at, _)| *at).max();
        if !is_grant {
            removed += 1;
            assert!(!reads(&world).await, "seed {seed}, round {round}: {truth:?}");
        } else if last_removal.is_none_or(|at| last - at > TOLERANCE + 2 * CLOCK_ERROR + 1_000) {
            granted += 1;
            assert!(reads(&world).await, "seed {seed}, round {round}: {truth:?}");
        }
        check(&world.client, &world.table).await;
    }
    assert!(removed > 5 && granted > 5, "{removed} {granted}");
}

//! Every request that a delivery makes, in turn, meets every fault; delivered again, everything is there once.

use std::time::Duration;

use harness::{Fault, Message, World, check, reported};
use serde_json::{Value, json};

use crate::queue::deliver;

/// A batch that takes every kind of step: a workspace is made and its organization claimed, members come and go, late
/// and early; another is not known; one has more events than a transaction holds; some come twice.
fn messages() -> Vec<Message> {
    let mut events: Vec<Value> = Vec::new();
    let mut add = |ws: &str, action: &str, minute: usize, details: Value| {
        events.push(json!({
            "id": format!("act-{}", events.len()), "workspace_id": ws, "actor_type": "user", "actor_id": "ada",
            "action": action, "details": details, "created_at": format!("2025-01-01T00:{minute:02}:00Z")
        }));
    };
    let member = |role: &str| json!({ "user": "bob", "role": role });
    add("ws-new", "member.removed", 30, json!({ "user": "bob" }));
    add("ws-new", "member.added", 20, member("client"));
    add("ws-new", "workspace.created", 10, json!({ "name": "New", "organization": "org-1" }));
    add("ws-new", "workspace.settings_updated", 40, json!({ "privacy": "admins" }));
    add("ws-unknown", "note.added", 1, json!({}));
    add("ws-unknown", "member.added", 2, member("admin"));
    for n in 0..55 {
        add("ws-large", "note.added", n, json!({ "n": n }));
    }
    let again = [events[1].clone(), events[2].clone(), events[20].clone()];
    let all = events.into_iter().chain(again);
    all.enumerate().map(|(n, event)| Message::new(format!("m-{n}"), event.to_string())).collect()
}

#[tokio::test]
async fn whatever_befalls_any_request_of_a_delivery_the_next_completes_it() {
    let messages = messages();
    for fault in Fault::ALL.into_iter().chain(Fault::KILLS) {
        for earlier in 0.. {
            let world = World::new().await;
            let mut process = world.process(1);
            process.transport.script_nth(earlier, fault);
            let mut left = messages.clone();
            for delivery in 0.. {
                assert!(delivery < 3, "{fault:?} after {earlier} requests: {left:?}");
                let answer = tokio::select! {
                    answer = deliver(&process.app, &left, Duration::from_secs(30)) => answer,
                    () = process.transport.killed() => {
                        process = world.process(2);
                        continue;
                    }
                };
                let reported = reported(&answer);
                left.retain(|message| reported.contains(&message.id.as_str()));
                if left.is_empty() {
                    break;
                }
            }
            let contents = check(&world.client, &world.table).await;
            let counts: Vec<(&str, usize)> =
                contents.activities.iter().map(|(ws, ids)| (ws.as_str(), ids.len())).collect();
            let expected = [("ws-large", 55), ("ws-new", 4), ("ws-unknown", 2)];
            assert_eq!(counts, expected, "{fault:?} after {earlier} requests");
            if process.transport.waits_for_nth() {
                // There were no more requests than that: every one of them has met this fault.
                assert!(earlier >= 6, "a delivery of {earlier} requests only");
                break;
            }
        }
    }
}

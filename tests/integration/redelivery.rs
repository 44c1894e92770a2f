//! Every fault at every request of a delivery. After the next delivery, every event is recorded once.

use std::time::Duration;

use harness::{Fault, Message, World, check, reported_failures};
use serde_json::{Value, json};

/// A batch with every kind of write: a new workspace of an organization, members that are added and removed in and out
/// of order, an unknown workspace, more events than a transaction holds, and repeated events.
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
    add("ws-unknown", "workspace.settings_updated", 2, json!({ "privacy": "admins" }));
    for n in 0..55 {
        add("ws-large", "note.added", n, json!({ "n": n }));
    }
    let again = [events[1].clone(), events[2].clone(), events[20].clone()];
    let all = events.into_iter().chain(again);
    all.enumerate().map(|(n, event)| Message::new(format!("m-{n}"), event.to_string())).collect()
}

#[tokio::test]
async fn redelivery_completes_after_any_fault_at_any_request() {
    let messages = messages();
    for fault in Fault::ALL.into_iter().chain(Fault::KILLS) {
        for earlier in 0.. {
            let world = World::new().await.allowing_unknown_workspaces();
            let mut process = world.start_process(1);
            process.transport.fail_nth(earlier, fault);
            let mut left = messages.clone();
            for delivery in 0.. {
                assert!(delivery < 3, "{fault:?} after {earlier} requests: {left:?}");
                let response = tokio::select! {
                    response = process.deliver(&left, Duration::from_secs(30)) => response,
                    () = process.transport.killed() => {
                        process = world.start_process(2);
                        continue;
                    }
                };
                let reported = reported_failures(&response);
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
            if process.transport.is_nth_pending() {
                // The delivery has no such request, so that every request had this fault.
                assert!(earlier >= 6, "a delivery has only {earlier} requests");
                break;
            }
        }
    }
}

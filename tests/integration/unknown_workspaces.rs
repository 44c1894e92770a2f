//! Workspaces that no `workspace.created` made known: their activities are refused, on every way in.

use std::time::Duration;

use harness::{Fault, Message, World, check, reported_failures};
use serde_json::{Value, json};

use crate::{event, far_deadline};

const AT: &str = "2025-01-01T00:00:00Z";
const NOT_KNOWN: &str = "The workspace is not known: record its workspace.created first";

/// The event with this action and these details, by which the directory changes.
fn change(id: &str, action: &str, details: Value) -> Value {
    let mut event = event(id, AT);
    event["action"] = json!(action);
    event["details"] = details;
    event
}

fn created(details: Value) -> Value {
    change("created", "workspace.created", details)
}

fn member(id: &str) -> Value {
    change(id, "member.added", json!({ "user": "mallory", "role": "owner" }))
}

async fn recorded(world: &World) -> Vec<String> {
    check(&world.client, &world.table).await.activities.remove("ws").unwrap_or_default()
}

#[tokio::test]
async fn typo_in_a_workspace_is_not_swallowed() {
    let world = World::new().await;
    world.given_workspace("other").await;
    for body in [event("a", AT), member("b")] {
        let refused = world.post("ws", &body.to_string(), &[]).await;
        assert_eq!((refused.status, &refused.body["code"]), (404, &json!("NOT_FOUND")));
        assert_eq!(refused.body["detail"], NOT_KNOWN);
        assert!(!refused.headers.contains_key("location"));
    }
    // The same event twice in a call is refused twice, and an invalid creation creates nothing.
    let body = json!([event("a", AT), event("a", AT), member("b"), created(json!({}))]);
    let several = world.post("ws", &body.to_string(), &[]).await;
    let statuses = several.body.as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap());
    assert_eq!((several.status, statuses.collect::<Vec<_>>()), (207, vec![404, 404, 404, 400]));
    let mut elsewhere = event("fine", AT);
    elsewhere["workspace_id"] = json!("other");
    let failure =
        world.invoke_as("record-invoke", &json!([elsewhere, event("a", AT)]), "r").await.unwrap_err();
    assert_eq!(failure.error_type, "NOT_FOUND");
    assert!(failure.error_message.ends_with(&format!("event 1: {NOT_KNOWN}")), "{failure}");
    assert_eq!(world.invoke("record-directory", &member("b")).await.0, "error");
    let contents = check(&world.client, &world.table).await;
    assert_eq!(contents.activities.keys().collect::<Vec<_>>(), ["other"]);
    assert!(contents.activities["other"].contains(&"fine".to_owned()));
}

#[tokio::test]
async fn creation_makes_the_workspace_known_to_its_call() {
    for details in [json!({ "name": "New" }), json!({ "name": "New", "organization": "org-1" })] {
        // The creation has the latest time and stands last. It still comes first.
        let mut last = created(details);
        last["created_at"] = json!("2025-01-02T00:00:00Z");
        let events = [member("b"), event("a", AT), event("a", AT), last];
        let world = World::new().await;
        let reply = world.post("ws", &json!(events).to_string(), &[]).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(recorded(&world).await, ["a", "b", "created"]);

        let world = World::new().await;
        assert_eq!(world.invoke("record-directory", &json!(events)).await.0, "ok");
        assert_eq!(recorded(&world).await, ["a", "b", "created"]);

        let world = World::new().await;
        let messages: Vec<Message> = events
            .iter()
            .enumerate()
            .map(|(n, event)| Message::new(format!("m-{n}"), event.to_string()))
            .collect();
        let answer = world.deliver(&messages, Duration::from_secs(9)).await;
        assert!(reported_failures(&answer).is_empty());
        assert_eq!(recorded(&world).await, ["a", "b", "created"]);
    }
}

#[tokio::test]
async fn workspace_is_known_as_soon_as_another_creates_it() {
    let world = World::new().await;
    let process = world.start_process(7);
    let message = [Message::new("m", event("a", AT).to_string())];
    let refused = process.deliver(&message, Duration::from_secs(9)).await;
    assert_eq!(reported_failures(&refused), ["m"]);
    world.given([created(json!({ "name": "New", "organization": "org-1" }))]).await;
    let accepted = process.deliver(&message, Duration::from_secs(9)).await;
    assert!(reported_failures(&accepted).is_empty());
    // It stays known, which costs no further request.
    process.transport.take_metered();
    let next = [Message::new("n", event("b", AT).to_string())];
    assert!(reported_failures(&process.deliver(&next, Duration::from_secs(9)).await).is_empty());
    assert_eq!(process.transport.take_metered().total(), 1);
    assert_eq!(recorded(&world).await, ["a", "b", "created"]);
}

#[tokio::test]
async fn unanswered_creation_is_no_unknown_workspace() {
    let world = World::new().await;
    let events = || {
        let events = [created(json!({ "name": "New" })), event("a", AT), event("a", AT)];
        events.map(|event| world.parse_event(event)).to_vec()
    };
    for fault in [Fault::Throttled, Fault::Unsent] {
        world.transport.fail_transactions([fault; 64]);
        let deadline = tokio::time::Instant::now() + Duration::from_millis(300);
        for result in world.recorder.record(events(), deadline).await.results {
            assert!(result.as_ref().unwrap_err().is_ours(), "{fault:?}: {result:?}");
        }
        world.transport.clear_faults();
        assert!(recorded(&world).await.is_empty());
    }
    for result in world.recorder.record(events(), far_deadline()).await.results {
        assert!(result.is_ok(), "{result:?}");
    }
    assert_eq!(recorded(&world).await, ["a", "created"]);
}

#[tokio::test]
async fn switch_lets_unknown_workspaces_be_recorded() {
    let world = World::new().await.allowing_unknown_workspaces();
    assert_eq!(world.post("ws", &event("a", AT).to_string(), &[]).await.status, 201);
    assert_eq!(world.invoke("record-invoke", &event("b", AT)).await.0, "ok");
    assert_eq!(recorded(&world).await, ["a", "b"]);
    world.given([created(json!({ "name": "New", "organization": "org-1" }))]).await;
    assert_eq!(recorded(&world).await, ["a", "b", "created"]);
}

#[tokio::test]
async fn nobody_becomes_a_member_before_the_workspace_is_known() {
    let world = World::new().await.allowing_unknown_workspaces();
    assert_eq!(world.post("ws", &event("a", AT).to_string(), &[]).await.status, 201);
    assert_eq!(world.post("ws", &member("planted").to_string(), &[]).await.status, 404);
    let removal = change("removal", "member.removed", json!({ "user": "owner" }));
    assert_eq!(world.post("ws", &removal.to_string(), &[]).await.status, 404);
    // A call that creates the workspace makes its members too.
    let both = json!([member("own"), created(json!({ "name": "Apollo" }))]);
    assert_eq!(world.post("ws", &both.to_string(), &[]).await.status, 200);
    assert_eq!(recorded(&world).await, ["a", "created", "own"]);
}

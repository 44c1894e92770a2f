//! Messages that need not be tried again where they are: the recorders park those of unknown workspaces, and refuse those
//! that can never be recorded, each with its origin.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{Fault, ForwardFault, Forwards, Message, OPERATOR, World, check, reported_failures};
use serde_json::{Value, json};

use crate::event;
use crate::queue::envelope;

const AT: &str = "2025-01-01T00:00:00Z";
const TIME: Duration = Duration::from_secs(9);
const QUEUE: &str = "record-queue";
const BUS: &str = "record-bus";
const RETRY: &str = "record-retry";
const PRODUCER: &str = "AROAEXAMPLEPRODUCER00";

fn message(id: &str, body: &Value) -> Message {
    Message::new(id, body.to_string()).from_role(PRODUCER)
}

fn change(id: &str, action: &str, details: Value) -> Value {
    let mut event = event(id, AT);
    event["action"] = json!(action);
    event["details"] = details;
    event
}

fn without(mut event: Value, members: &[&str]) -> Value {
    event.as_object_mut().unwrap().retain(|name, _| !members.contains(&name.as_str()));
    event
}

/// Delivers messages, and returns the ids of those that are reported as failed.
async fn failed(world: &World, recorder: &str, messages: &[Message]) -> Vec<String> {
    let response = world.deliver_to(recorder, messages, TIME).await;
    reported_failures(&response).into_iter().map(str::to_owned).collect()
}

/// Waits for the delay of each parked message, and delivers it. Returns how many there were.
async fn retry_parked(world: &World, forwards: &Forwards) -> usize {
    let parked = forwards.take_parked();
    for (delay, message) in &parked {
        assert!((1..=120).contains(delay), "{delay}");
        world.advance(Duration::from_secs(*delay));
        assert!(failed(world, RETRY, std::slice::from_ref(message)).await.is_empty());
    }
    parked.len()
}

/// When, by whom and under which time an activity of `ws` was recorded, by its id.
async fn recorded(world: &World, id: &str) -> (String, String) {
    let scan = world.client.scan().table_name(&world.table).send().await.unwrap();
    let is_it = |item: &&std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>| {
        item["pk"].as_s().unwrap() == "WS#ws" && item["sk"].as_s().unwrap().ends_with(&format!("#{id}"))
    };
    let item = scan.items().iter().find(is_it).unwrap_or_else(|| panic!("no {id}")).clone();
    let by = item["recorded"].as_s().unwrap().split_once(' ').unwrap().1.to_owned();
    (item["sk"].as_s().unwrap()[3..29].to_owned(), by)
}

#[tokio::test]
async fn poison_is_refused_at_once_with_its_reason() {
    let (world, forwards) = World::new().await.forwarding();
    world.given_workspace("ws").await;
    world.given([event("taken", AT)]).await;
    assert!(failed(&world, QUEUE, &[message("own", &event("own", AT))]).await.is_empty());
    let [mut taken, mut own] = [event("taken", AT), event("own", AT)];
    for other in [&mut taken, &mut own] {
        other["details"] = json!({ "status": "open" });
    }
    let mut large = event("large", AT);
    large["details"]["x"] = json!("y".repeat(70_000));
    let takeover = change("mallory", "member.added", json!({ "user": "mallory", "role": "owner" }));
    let mut torn = envelope(&event("torn", AT));
    torn["detail-type"] = json!("issue.created");
    let poison = [
        (QUEUE, Message::new("not-json", "{"), "BAD_USER_INPUT"),
        (QUEUE, message("no-actor", &without(event("a", AT), &["actor_id"])), "BAD_USER_INPUT"),
        (QUEUE, message("envelope", &envelope(&event("a", AT))), "BAD_USER_INPUT"),
        (QUEUE, message("conflict", &own), "CONFLICT"),
        (QUEUE, message("taken", &taken), "ID_TAKEN"),
        (QUEUE, message("large", &large), "PAYLOAD_TOO_LARGE"),
        (QUEUE, message("forbidden", &takeover), "FORBIDDEN"),
        (BUS, message("torn", &torn), "BAD_USER_INPUT"),
        (BUS, message("bare", &event("a", AT)), "BAD_USER_INPUT"),
    ];
    for recorder in [QUEUE, BUS] {
        let good = event(&format!("good-{recorder}"), AT);
        let good = if recorder == BUS { envelope(&good) } else { good };
        let of_it = poison.iter().filter(|(of, ..)| *of == recorder).map(|(_, message, _)| message.clone());
        let batch: Vec<Message> = of_it.chain([message("good", &good)]).collect();
        assert!(failed(&world, recorder, &batch).await.is_empty());
    }
    let refused = forwards.take_refused();
    assert_eq!(refused.len(), poison.len());
    for (recorder, sent, code) in &poison {
        let found = refused.iter().find(|message| message.attributes["first-message-id"] == sent.id).unwrap();
        assert_eq!((&found.body, found.attributes["code"].as_str()), (&sent.body, *code), "{}", sent.id);
        assert!(!found.attributes["reason"].is_empty());
        assert_eq!(found.attributes["way-in"], if *recorder == BUS { "event_bus" } else { "queue" });
    }
    assert!(forwards.take_parked().is_empty());
    let contents = check(&world.client, &world.table).await;
    let ours: BTreeSet<&str> = contents.activities["ws"].iter().map(String::as_str).collect();
    assert!(ours.contains("good-record-queue") && ours.contains("good-record-bus"));
    assert_eq!(ours.len(), 5 + 2 + 2);
}

#[tokio::test]
async fn failed_forward_loses_nothing_and_records_once() {
    for fault in
        [ForwardFault::Unsent, ForwardFault::LostResponse, ForwardFault::Throttled, ForwardFault::FirstFailed]
    {
        let (world, forwards) = World::new().await.forwarding();
        let bare = without(event("", ""), &["id", "created_at"]);
        let batch = [message("parked", &bare), Message::new("poison", "{")];
        // Each of the two requests fails in all its attempts.
        forwards.fail([fault; 6]);
        let left = failed(&world, QUEUE, &batch).await;
        assert_eq!(left, ["parked", "poison"], "{fault:?}");
        forwards.fail([]);
        let again: Vec<Message> =
            batch.iter().filter(|message| left.contains(&message.id)).cloned().collect();
        // The SDK may have used fewer faults.
        for _ in 0..4 {
            if failed(&world, QUEUE, &again).await.is_empty() {
                break;
            }
        }
        world.given_workspace("ws").await;
        assert!(retry_parked(&world, &forwards).await >= 1, "{fault:?}");
        assert!(!forwards.take_refused().is_empty(), "{fault:?}");
        let contents = check(&world.client, &world.table).await;
        assert_eq!(contents.activities["ws"].iter().filter(|id| *id == "parked").count(), 1, "{fault:?}");
        assert_eq!(contents.activities["ws"].len(), 6, "{fault:?}");
    }
}

/// The recorder is killed after it has forwarded its messages and before SQS deletes them, so that they come again.
#[tokio::test]
async fn killed_forward_records_once() {
    let (world, forwards) = World::new().await.forwarding();
    let bare = without(event("", ""), &["id", "created_at"]);
    let batch = [message("parked", &bare), Message::new("poison", "{")];
    for _ in 0..3 {
        // Whatever it answers is lost.
        world.deliver_to(QUEUE, &batch, TIME).await;
    }
    world.given_workspace("ws").await;
    assert_eq!(retry_parked(&world, &forwards).await, 3);
    let refused: BTreeSet<String> = forwards
        .take_refused()
        .iter()
        .map(|message| message.attributes["first-message-id"].clone())
        .collect();
    assert_eq!(refused, BTreeSet::from(["poison".to_owned()]));
    let contents = check(&world.client, &world.table).await;
    assert_eq!(contents.activities["ws"].iter().filter(|id| *id == "parked").count(), 1);
    assert_eq!(contents.activities["ws"].len(), 6);
}

#[tokio::test]
async fn parked_event_is_recorded_as_it_came_first() {
    let (world, forwards) = World::new().await.forwarding();
    let bare = without(event("", ""), &["id", "created_at"]);
    let mut first = message("m-1", &bare);
    first.sent -= 90_000;
    first.group = Some("ws".into());
    // A sender who claims to forward is not believed.
    first.attributes.insert("first-message-id".into(), "forged".into());
    first.attributes.insert("first-sender".into(), "AROAEXAMPLEACCOUNTS00".into());
    assert!(failed(&world, QUEUE, &[first]).await.is_empty());
    assert!(failed(&world, BUS, &[message("m-2", &envelope(&bare))]).await.is_empty());
    assert_eq!(retry_parked(&world, &forwards).await, 2);
    world.given_workspace("ws").await;
    // The retry queue is fair between the same groups.
    let parked = forwards.take_parked();
    let groups: BTreeSet<_> = parked.iter().map(|(_, message)| message.group.as_deref()).collect();
    assert_eq!(groups, BTreeSet::from([None, Some("ws")]));
    world.advance(Duration::from_secs(120));
    for (_, message) in parked {
        assert!(failed(&world, RETRY, &[message]).await.is_empty());
    }
    assert_eq!(retry_parked(&world, &forwards).await, 0);
    let expected = ("2026-11-22T23:58:30.000000".to_owned(), format!("q {PRODUCER}"));
    assert_eq!(recorded(&world, "m-1").await, expected);
    let expected = ("2025-01-01T00:00:30.000000".to_owned(), "e 123456789012/tracker".to_owned());
    assert_eq!(recorded(&world, "envelope-1").await, expected);
    assert!(forwards.take_refused().is_empty());
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn unknown_workspace_is_refused_after_fifteen_minutes() {
    let (world, forwards) = World::new().await.forwarding();
    let start = world.now().utc();
    let bare = without(event("", ""), &["id", "created_at"]);
    assert!(failed(&world, QUEUE, &[message("m-1", &bare)]).await.is_empty());
    while retry_parked(&world, &forwards).await > 0 {}
    assert_eq!((world.now().utc() - start).num_seconds(), 901);
    let refused = forwards.take_refused();
    assert_eq!((refused.len(), refused[0].attributes["code"].as_str()), (1, "NOT_FOUND"));
    // Moved back by an operator, it is what it was, and has all the time once more.
    world.advance(Duration::from_secs(3600));
    let moved = refused[0].clone().from_role(OPERATOR);
    assert!(failed(&world, RETRY, std::slice::from_ref(&moved)).await.is_empty());
    world.given_workspace("ws").await;
    assert_eq!(retry_parked(&world, &forwards).await, 1);
    let expected = ("2026-11-23T00:00:00.000000".to_owned(), format!("q {PRODUCER}"));
    assert_eq!(recorded(&world, "m-1").await, expected);
    // Moved back twice, it is the same activity.
    assert!(failed(&world, RETRY, &[moved]).await.is_empty());
    assert_eq!(check(&world.client, &world.table).await.activities["ws"].len(), 6);
}

#[tokio::test]
async fn only_recorders_and_operators_forward() {
    let (world, forwards) = World::new().await.forwarding();
    world.given_workspace("ws").await;
    let before = check(&world.client, &world.table).await;
    let takeover = change("taken", "member.added", json!({ "user": "mallory", "role": "owner" }));
    let mut forged = message("forged", &takeover);
    for (name, value) in [
        ("first-message-id", "first"),
        ("first-sent", "1735689600000"),
        ("first-sender", "AROAEXAMPLEACCOUNTS00"),
        ("way-in", "queue"),
    ] {
        forged.attributes.insert(name.into(), value.into());
    }
    let mut on_bus = forged.clone();
    on_bus.attributes.insert("way-in".into(), "event_bus".into());
    let mut made_up = envelope(&takeover);
    made_up["source"] = json!("com.example.accounts");
    on_bus.body = made_up.to_string();
    for forged in [forged.clone(), on_bus] {
        assert!(failed(&world, RETRY, std::slice::from_ref(&forged)).await.is_empty());
        let refused = forwards.take_refused();
        assert_eq!(refused[0].attributes["code"], "FORBIDDEN");
        assert_eq!(refused[0].attributes["first-message-id"], "forged");
        assert_eq!(refused[0].attributes["first-sender"], PRODUCER);
        // Moved back, it is still the forger's.
        assert!(failed(&world, RETRY, &refused).await.is_empty());
        assert_eq!(forwards.take_refused().len(), 1);
    }
    // The same from a recorder is believed.
    let genuine = forged.from_role(harness::RECORDER);
    let mut incomplete = genuine.clone();
    incomplete.attributes.remove("first-sent");
    assert!(failed(&world, RETRY, &[incomplete]).await.is_empty());
    assert_eq!(forwards.take_refused()[0].attributes["code"], "BAD_USER_INPUT");
    assert_eq!(check(&world.client, &world.table).await, before);
    assert!(failed(&world, RETRY, &[genuine]).await.is_empty());
    assert_eq!(recorded(&world, "taken").await.1, "q AROAEXAMPLEACCOUNTS00");
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn long_outage_ends_in_the_refused_queue_with_origin() {
    let (world, forwards) = World::new().await.forwarding();
    world.given_workspace("ws").await;
    let bare = without(event("", ""), &["id", "created_at"]);
    let mut waiting = message("m-1", &bare);
    for receives in [1, record_activity::LAST_RECEIVES - 1] {
        waiting.receive_count = receives;
        world.transport.fail_transactions([Fault::Throttled; 64]);
        let response = world.deliver_to(QUEUE, &[waiting.clone()], Duration::from_millis(800)).await;
        assert_eq!(reported_failures(&response), ["m-1"]);
        world.transport.clear_faults();
    }
    assert_eq!(forwards.take_requests(), 0);
    waiting.receive_count = record_activity::LAST_RECEIVES;
    world.transport.fail_transactions([Fault::Throttled; 64]);
    let response = world.deliver_to(QUEUE, &[waiting], Duration::from_millis(3_800)).await;
    world.transport.clear_faults();
    assert!(reported_failures(&response).is_empty());
    let refused = forwards.take_refused();
    assert_eq!(refused[0].attributes["code"], "THROTTLED");
    world.advance(Duration::from_secs(7_200));
    assert!(failed(&world, RETRY, &refused).await.is_empty());
    let expected = ("2026-11-23T00:00:00.000000".to_owned(), format!("q {PRODUCER}"));
    assert_eq!(recorded(&world, "m-1").await, expected);
    check(&world.client, &world.table).await;
}

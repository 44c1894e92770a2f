//! A simulation of recording from a queue. Producers repeat events, as plain events and in envelopes, and send some
//! with other content or malformed. The queue delivers in any order and more than once. Concurrent consumers fail, run
//! out of time and die at any request. In the end, the whole table has exactly what the events say.
//!
//! `SIMULATION_SEED` chooses another history, and `SIMULATION_EVENTS` its length.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::activity::Activity;
use domain::fingerprint;
use harness::{Message, Queue, World, check, reported_failures};
use serde_json::{Value, json};

use crate::queue::envelope;

const WORKSPACES: usize = 20;
const CONSUMERS: u64 = 4;
/// The receives after which a message becomes a dead letter. They are so few that faults make good messages dead
/// letters.
const MAX_RECEIVES: u32 = 6;

/// A workspace, and an id in it.
type Key = (String, String);

/// The messages that are sent, and the outcome that they must have.
#[derive(Default)]
struct History {
    messages: Vec<Message>,
    /// The contents that were sent under an id, by their fingerprints without a salt. Any of them may be recorded.
    contents: BTreeMap<Key, BTreeMap<String, Activity>>,
    /// The key and the content of each message's event, by the message's id; `None` for a malformed event.
    events: HashMap<String, Option<(Key, String)>>,
}

impl History {
    fn random(world: &World, random: &mut fastrand::Rng, events: usize) -> Self {
        let mut history = Self::default();
        for n in 0..events {
            let event = event(random, n);
            history.send(world, random, &event);
            while random.u8(..12) == 0 {
                history.send(world, random, &event);
            }
            if random.u8(..200) == 0 {
                let mut other = event.clone();
                other["tags"] = json!(["other"]);
                history.send(world, random, &other);
            }
            if random.u16(..300) == 0 {
                history.send_malformed(random, event);
            }
        }
        history
    }

    fn send(&mut self, world: &World, random: &mut fastrand::Rng, event: &Value) {
        let activity = Activity { salt: None, ..world.parse_event(event.clone()).activity };
        let key = (activity.workspace_id.to_string(), activity.id.to_string());
        let content = fingerprint::of(&activity).unwrap();
        self.contents.entry(key.clone()).or_default().insert(content.clone(), activity);
        let body = if random.bool() { event.clone() } else { envelope(event) };
        self.push(body.to_string(), Some((key, content)));
    }

    fn send_malformed(&mut self, random: &mut fastrand::Rng, mut event: Value) {
        event["id"] = json!(format!("poison-{}", self.messages.len()));
        let body = match random.u8(..4) {
            0 => event.to_string().replacen(':', "", 1),
            1 => {
                event["actor_type"] = json!("robot");
                event.to_string()
            }
            2 => {
                event["created_at"] = json!("2027-01-01T00:00:00Z");
                event.to_string()
            }
            _ => {
                let mut torn = envelope(&event);
                torn["detail-type"] = json!("other.action");
                torn.to_string()
            }
        };
        self.push(body, None);
    }

    fn push(&mut self, body: String, event: Option<(Key, String)>) {
        let id = format!("m-{}", self.messages.len());
        self.events.insert(id.clone(), event);
        self.messages.push(Message::new(id, body));
    }
}

/// The event with this number. One in 20 changes the directory, and many share their time.
fn event(random: &mut fastrand::Rng, n: usize) -> Value {
    let ws = format!("ws-{:02}", n % WORKSPACES);
    let (day, hour, minute) = (random.u8(28..=31), random.u8(8..18), random.u8(..60));
    let mut event = json!({
        "id": format!("e-{n}"), "workspace_id": ws, "actor_type": "user", "actor_id": format!("user-{}", random.u8(..9)),
        "created_at": format!("2026-0{}-{day}T{hour:02}:{minute:02}:00Z", 5 + 2 * random.u8(..2))
    });
    let user = format!("user-{}", random.u8(..9));
    let role = ["owner", "admin", "member", "client"][random.usize(..4)];
    // Each workspace is created by the first event of its history, wherever that arrives.
    let kind = if n < WORKSPACES { u8::MAX } else { random.u8(..80) };
    let (action, details) = match kind {
        0 => ("member.added", json!({ "user": user, "role": role })),
        1 => ("member.role_changed", json!({ "user": user, "role": role })),
        2 => ("member.removed", json!({ "user": user })),
        3 => ("workspace.settings_updated", json!({ "activity_enabled": random.bool() })),
        // Some are created more than once.
        _ if n < WORKSPACES || random.u16(..2_000) == 0 => (
            "workspace.created",
            json!({ "name": format!("Name {n}"), "organization": format!("org-{}", n % 3) }),
        ),
        _ => {
            event["issue_id"] = json!(format!("issue-{}", random.u8(..30)));
            ("issue.updated", json!({ "status": "done", "n": n }))
        }
    };
    event["action"] = json!(action);
    event["details"] = details;
    event
}

/// Consumes messages until the queue is empty. With `faults`, requests fail, deadlines are short, and processes die.
async fn consume(world: Arc<World>, queue: Arc<Mutex<Queue>>, mut seed: u64, faults: bool) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut start = || {
        seed += 1;
        let process = world.start_process(seed);
        process.transport.fail_randomly(seed, if faults { 16 } else { 0 }, true);
        process
    };
    let mut process = start();
    loop {
        let batch = queue.lock().unwrap().receive(random.usize(1..=1_500));
        if batch.is_empty() {
            if queue.lock().unwrap().is_idle() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let timeout = Duration::from_millis(if faults { random.u64(1_000..15_000) } else { 60_000 });
        tokio::select! {
            response = process.deliver(&batch, timeout) => {
                let failed: BTreeSet<&str> = reported_failures(&response).into_iter().collect();
                queue.lock().unwrap().finish(batch, |id| failed.contains(id));
            }
            () = process.transport.killed() => {
                process = start();
                queue.lock().unwrap().finish(batch, |_| true);
            }
        }
    }
}

async fn consume_all(world: &Arc<World>, queue: &Arc<Mutex<Queue>>, seed: u64, faults: bool) {
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|n| tokio::spawn(consume(Arc::clone(world), Arc::clone(queue), seed + 10_000 * n, faults)))
        .collect();
    for consumer in consumers {
        consumer.await.unwrap();
    }
}

/// The fingerprint of every recorded id, from the id items.
async fn fingerprints(world: &World) -> BTreeMap<Key, String> {
    let mut found = BTreeMap::new();
    let request = world.client.scan().table_name(&world.table).filter_expression("begins_with(pk, :id)");
    let id = aws_sdk_dynamodb::types::AttributeValue::S("ID#".into());
    let mut pages = request.expression_attribute_values(":id", id).into_paginator().send();
    while let Some(page) = pages.next().await {
        for item in page.unwrap().items.unwrap_or_default() {
            let (ws, id) = item["pk"].as_s().unwrap()[3..].split_once('#').unwrap();
            found.insert((ws.into(), id.into()), item["fp"].as_s().unwrap().clone());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulation_records_every_event_exactly_once() {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let seed = setting("SIMULATION_SEED").unwrap_or(1) as u64;
    let events = setting("SIMULATION_EVENTS").unwrap_or(50_000);
    println!("seed {seed}, {events} events");
    let world = Arc::new(World::new().await.allowing_unknown_workspaces());
    let history = History::random(&world, &mut fastrand::Rng::with_seed(seed), events);
    let queue = Arc::new(Mutex::new(Queue::new(seed, MAX_RECEIVES)));
    for message in &history.messages {
        queue.lock().unwrap().send(message.clone());
    }
    consume_all(&world, &queue, seed, true).await;
    // Some good messages are dead letters now. The operator of a queue sends them again.
    // Twice, because members of a workspace are refused until it is known.
    for round in 1..=2 {
        let dead_letters = queue.lock().unwrap().take_dead_letters();
        for message in dead_letters {
            queue.lock().unwrap().send(Message::new(message.id, message.body));
        }
        consume_all(&world, &queue, seed + round, false).await;
    }

    let recorded = fingerprints(&world).await;
    assert!(recorded.keys().eq(history.contents.keys()), "other ids are recorded than were sent");
    let content = |(key, stored): (Key, String)| {
        let is_it = |(_, activity): &(&String, &Activity)| fingerprint::matches(&stored, activity).unwrap();
        let found = history.contents[&key].iter().find(is_it);
        let (content, _) = found.unwrap_or_else(|| panic!("{key:?} has a content that was not sent"));
        (key, content.clone())
    };
    let recorded: BTreeMap<Key, String> = recorded.into_iter().map(content).collect();
    // The remaining dead letters are exactly the malformed messages and those that conflict with the recorded content.
    let dead_letters = queue.lock().unwrap().take_dead_letters();
    let dead_letters: BTreeSet<&str> = dead_letters.iter().map(|message| message.id.as_str()).collect();
    let must_fail =
        |event: &Option<(Key, String)>| event.as_ref().is_none_or(|(key, content)| recorded[key] != *content);
    let failures: BTreeSet<&str> =
        history.events.iter().filter(|(_, event)| must_fail(event)).map(|(id, _)| id.as_str()).collect();
    assert_eq!(dead_letters, failures);
    assert!(failures.len() > events / 300, "only {} messages had to fail", failures.len());
    let contents = check(&world.client, &world.table).await;
    assert_eq!(contents.activities.values().map(Vec::len).sum::<usize>(), events);
    assert_eq!(contents.activities.len(), WORKSPACES);
}

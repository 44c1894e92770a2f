//! A table that an earlier build wrote, and one that both builds write, as during a deployment. The fixture is described
//! in `tests/fixtures/c115e02/README.md`.

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::activity::Action;
use domain::catalog::{OTHER, category};
use harness::{Reply, World, check, token_claims};
use recording::WriteOutcome;
use serde_json::{Value, json};

use crate::far_deadline;
use fixture::{Recorded, activities_of, earlier_table, id_items_of, lines, recorded, replay};

/// A workspace that no event created.
const UNKNOWN_WORKSPACE: &str = "ws-early";

async fn post(world: &World, event: &Value) -> Reply {
    let path = format!("/api/v1/workspaces/{}/activity", event["workspace_id"].as_str().unwrap());
    let claims = token_claims("service", "activity:write activity:admin");
    world.send("POST", &path, Some(claims), &[], Some(&event.to_string())).await
}

/// Gives the time of an activity six fraction digits. The earlier build left out the last three when they were zero.
fn pad_time(activity: &mut Value) {
    let time = activity["createdAt"].as_str().unwrap().trim_end_matches('Z').to_owned();
    let (_, fraction) = time.split_once('.').unwrap();
    activity["createdAt"] = json!(format!("{time}{}Z", "0".repeat(6 - fraction.len())));
}

/// Asserts that everybody gets the answers that the earlier build gave.
async fn assert_answers(world: &World, context: &str) {
    for recorded in lines("answers.jsonl") {
        let text = |member: &str| recorded[member].as_str();
        let (sub, scope) = (text("sub").unwrap(), text("scope").unwrap());
        if let Some(path) = text("path") {
            let reply = world.get_as(sub, scope, path).await;
            let context = format!("{context}{sub} {path}");
            assert_eq!(json!(reply.status), recorded["status"], "{context}");
            if reply.status == 200 {
                assert_eq!(json!(reply.ids()), recorded["ids"], "{context}");
                assert_eq!(json!(reply.headers["x-total-count"]), recorded["total"], "{context}");
            }
        } else {
            let query = text("query").unwrap();
            let answer = world.ask(sub, scope, query, Value::Null).await;
            let context = format!("{context}{sub} {query}: {answer}");
            let list = &answer["data"]["activityList"];
            if recorded["code"].is_string() {
                assert_eq!(answer["errors"][0]["extensions"]["code"], recorded["code"], "{context}");
            } else if recorded["list"].is_object() {
                let mut expected = recorded["list"].clone();
                expected["activities"].as_array_mut().into_iter().flatten().for_each(pad_time);
                assert_eq!(*list, expected, "{context}");
            } else {
                let uids = list["activities"].as_array().expect(&context).iter();
                let uids: Vec<&Value> = uids.map(|activity| &activity["uid"]).collect();
                assert_eq!(json!(uids), recorded["uids"], "{context}");
                assert_eq!(list["totalCount"], recorded["total"], "{context}");
            }
        }
    }
}

/// The ids by workspace, as a check of the table returns them.
fn ids_of<'a>(recorded: impl IntoIterator<Item = &'a Recorded>) -> BTreeMap<String, BTreeSet<String>> {
    let mut ids = BTreeMap::<String, BTreeSet<String>>::new();
    for (workspace, id) in recorded.into_iter().map(Recorded::key) {
        ids.entry(workspace).or_default().insert(id);
    }
    ids
}

/// Checks the whole table and that it holds the activities of these events and no others.
async fn assert_contents(world: &World, recorded: &[Recorded]) {
    let found = check(&world.client, &world.table).await.activities;
    let found = found.into_iter().map(|(workspace, ids)| (workspace, ids.into_iter().collect()));
    assert_eq!(found.collect::<BTreeMap<String, BTreeSet<String>>>(), ids_of(recorded));
}

#[tokio::test]
async fn earlier_table_answers_as_it_did() {
    let world = earlier_table("earlier-build-answers").await;
    let recorded = recorded();
    assert_contents(&world, &recorded).await;
    assert_answers(&world, "").await;
    // Single activities, as a member of three workspaces reads them.
    for Recorded { event, activity } in &recorded {
        let workspace = event["workspace_id"].as_str().unwrap();
        let path = format!("/api/v1/workspaces/{workspace}/activity/{}", event["id"].as_str().unwrap());
        if workspace == "ws-apollo" {
            let reply = world.get_as("mia", "", &path).await;
            assert_eq!((reply.status, &reply.body), (200, activity), "{path}");
        }
    }
    let walked = world.walk("mia", "/api/v1/workspaces/ws-apollo/activity?limit=7", |_| {}).await;
    let whole = world.get_as("mia", "", "/api/v1/workspaces/ws-apollo/activity?limit=200").await;
    assert_eq!(walked, whole.ids());
    world.stop().await;
}

#[tokio::test]
async fn earlier_events_repeat_and_conflict() {
    let world = earlier_table("earlier-build-repeats").await;
    let recorded = recorded();
    for Recorded { event, activity } in &recorded {
        // HTTP may refuse events of an unknown workspace before it looks for them.
        if event["workspace_id"] == UNKNOWN_WORKSPACE {
            continue;
        }
        let again = post(&world, event).await;
        assert_eq!((again.status, &again.body), (200, activity), "{event}");
        let mut timed = event.clone();
        timed["created_at"] = activity["created_at"].clone();
        assert_eq!(post(&world, &timed).await.status, 200, "{event}");
        for (member, other) in [("actor_id", "mallory"), ("created_at", "2024-01-01T00:00:00.000001Z")] {
            let mut changed = event.clone();
            changed[member] = json!(other);
            assert_eq!(post(&world, &changed).await.status, 409, "{changed}");
        }
    }
    assert_contents(&world, &recorded).await;
    assert_answers(&world, "").await;
    world.stop().await;
}

#[tokio::test]
async fn new_activities_join_an_earlier_table() {
    let world = earlier_table("earlier-build-joined").await;
    let path = "/api/v1/workspaces/ws-apollo/activity?limit=1&include=total";
    let total = async |sub| {
        let total = world.get_as(sub, "", path).await.headers["x-total-count"].clone();
        total.parse::<u64>().unwrap()
    };
    let before = (total("mia").await, total("carl").await);
    // One for everyone and one for staff, beside each activity: in its partitions, its slot and its second.
    let recorded = recorded();
    let mut added = 0;
    for Recorded { event, activity } in &recorded {
        let workspace = event["workspace_id"].as_str().unwrap();
        if workspace != "ws-apollo" {
            continue;
        }
        let beside = |action: &str| {
            json!({
                "id": format!("beside-{action}-{added}"), "workspace_id": workspace, "action": action,
                "issue_id": "issue-1", "actor_type": "user", "actor_id": event["actor_id"],
                "created_at": activity["created_at"], "tags": ["p1"]
            })
        };
        for action in ["issue.completed", "invitation.created"] {
            assert_eq!(post(&world, &beside(action)).await.status, 201, "{}", beside(action));
        }
        added += 1;
    }
    assert_eq!((total("mia").await, total("carl").await), (before.0 + 2 * added, before.1 + added));
    // Changes of what the earlier build said of members and workspaces.
    for (id, action, details) in [
        ("new-1", "member.removed", json!({ "user": "rolf" })),
        ("new-2", "member.added", json!({ "user": "rita", "role": "client" })),
        ("new-3", "workspace.settings_updated", json!({ "privacy": "admins" })),
    ] {
        let event = json!({
            "id": id, "workspace_id": "ws-apollo", "actor_type": "user", "actor_id": "olga", "action": action,
            "details": details, "created_at": "2025-02-01T00:00:00Z"
        });
        assert_eq!(post(&world, &event).await.status, 201, "{event}");
    }
    let mut statuses = Vec::new();
    for sub in ["olga", "adam", "mia", "rita", "rolf"] {
        statuses.push(world.get_as(sub, "", path).await.status);
    }
    assert_eq!(statuses, [200, 200, 403, 403, 403]);
    check(&world.client, &world.table).await;
    world.stop().await;
}

/// The transactions of a deployment: some of the earlier build, replayed, and the events of the others recorded here.
#[tokio::test]
async fn both_builds_write_one_table() {
    let recorded = recorded();
    let by_key: BTreeMap<_, _> = recorded.iter().map(|recorded| (recorded.key(), recorded)).collect();
    for seed in 0..3 {
        let world = World::new().await;
        world.advance(Duration::from_secs(10 * 86_400));
        let mut random = fastrand::Rng::with_seed(seed);
        let mut known = BTreeSet::new();
        let mut ours = 0;
        for transaction in lines("transactions.jsonl") {
            let keys = activities_of(&transaction);
            let events: Vec<&Recorded> = keys.iter().map(|key| by_key[key]).collect();
            // This build gives other times, judges unknown actions anew, and may refuse unknown workspaces.
            let is_alike = |recorded: &&Recorded| {
                let action = Action::parse("action", recorded.event["action"].as_str().unwrap()).unwrap();
                recorded.is_timed() && category(&action) != OTHER && known.contains(&recorded.key().0)
            };
            // The last seed leaves nothing to the earlier build that this build does alike.
            if events.iter().all(is_alike) && (seed == 2 || random.bool()) {
                record(&world, &events).await;
                assert_repeated(&replay(&world, &transaction).await.unwrap_err(), &transaction);
                ours += 1;
            } else {
                replay(&world, &transaction).await.unwrap();
            }
            let created = events.iter().filter(|recorded| recorded.event["action"] == "workspace.created");
            known.extend(created.map(|recorded| recorded.key().0));
        }
        assert!(ours > 20, "{ours}");
        assert_contents(&world, &recorded).await;
        assert_answers(&world, &format!("seed {seed}: ")).await;
        world.stop().await;
    }
}

async fn record(world: &World, events: &[&Recorded]) {
    let parsed = events.iter().map(|recorded| world.parse_event(recorded.event.clone())).collect();
    for result in world.recorder.record(parsed, far_deadline()).await.results {
        assert!(matches!(result, Ok(WriteOutcome::New(_))), "{result:?}");
    }
}

/// Asserts that the earlier build records its transaction no second time: each id item is there, of the same time. It cannot
/// read the fingerprint, and takes it for one of another content.
fn assert_repeated(reasons: &[Value], transaction: &Value) {
    let ids = id_items_of(transaction);
    assert!(!ids.is_empty());
    for (index, put) in ids {
        assert_eq!(reasons[index]["Code"], "ConditionalCheckFailed", "{reasons:?}");
        assert_eq!(reasons[index]["Item"]["at"], put["at"], "{reasons:?}");
    }
}

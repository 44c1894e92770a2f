//! `Store::verify`: it reports each kind of damage and nothing else.

mod damage;

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use harness::World;
use local::template::Template;
use serde_json::json;

use crate::event;
use damage::{added, damaged, field, get, number, put, removed, string, with, without};

/// Keys of items in [`table`].
const ACT_1: (&str, &str) = ("WS#ws", "AT#2025-01-09T00:10:00.000000#act-1");
const INVITED: (&str, &str) = ("WS#ws", "AT#2025-01-09T23:59:59.999999#invited");
const EARLY: (&str, &str) = ("WS#lone", "AT#2024-02-29T12:00:00.000000#early");
const ID_OF_ACT_1: (&str, &str) = ("ID#ws#act-1", "ID");
const WORKSPACE: (&str, &str) = ("DIR#WS#ws", "WORKSPACE");
const LONE: (&str, &str) = ("DIR#WS#lone", "WORKSPACE");
const CLIENT: (&str, &str) = ("DIR#USER#client", "WS#ws");

/// A table with every kind of item: the workspace `ws` of an organization, and `lone`, which no event created.
async fn table() -> World {
    let world = World::new().await.allowing_unknown_workspaces();
    world.given_workspace("ws").await;
    let mut act = event("act-1", "2025-01-09T00:10:00Z");
    act["details"] = json!({ "status": "done", "weight": 1.5 });
    act["tags"] = json!(["bug", "p1"]);
    act["affected"] = json!({ "id": "bob", "name": "Bob" });
    let mut invited = event("invited", "2025-01-09T23:59:59.999999Z");
    (invited["action"], invited["details"]) = (json!("invitation.created"), json!({}));
    let mut early = event("early", "2024-02-29T12:00:00Z");
    early["workspace_id"] = json!("lone");
    world.given([act, invited, early]).await;
    world
}

async fn faults(world: &World) -> Vec<String> {
    world.store.verify().await.unwrap().faults.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn good_table_has_no_faults_and_is_only_scanned() {
    let world = table().await;
    world.transport.take_metered();
    let report = world.store.verify().await.unwrap();
    assert_eq!(report.faults, []);
    let counts: Vec<_> = report.activities.iter().map(|(ws, ids)| (ws.as_str(), ids.len())).collect();
    assert_eq!(counts, [("lone", 1), ("ws", 7)]);
    // It scans the table and all of its indexes, and does nothing else.
    let template = Template::load().unwrap();
    let indexes = template.table("LogTable").unwrap().get("GlobalSecondaryIndexes").unwrap();
    let indexes = indexes.as_sequence().unwrap().iter().map(|index| index["IndexName"].as_str().unwrap());
    let touched: BTreeSet<_> =
        indexes.chain([""]).map(|index| ("Scan".to_owned(), world.table.clone(), index.to_owned())).collect();
    assert_eq!(world.transport.take_metered().touched, touched);
    world.stop().await;
}

#[tokio::test]
async fn activity_older_than_its_catalog_row_is_no_fault() {
    let world = table().await;
    let key = format!("OTHER#issue.updated{}", ACT_1.1.replace("AT", ""));
    let mut before = get(&world, ACT_1).await.unwrap();
    before.insert("action_key".into(), string(&key));
    put(&world, ACT_1, Some(before)).await;
    assert_eq!(faults(&world).await, Vec::<String>::new());
    let list = world.get("/api/v1/workspaces/ws/activity?action=issue.updated").await;
    assert_eq!(list.ids(), ["act-1"]);
    for (category, ids) in [("OTHER", json!([{ "id": "act-1" }])), ("UPDATE_TODO", json!([]))] {
        let query = format!(
            "{{ activityList(projectId: \"ws\", categories: [{category}]) {{ activities {{ id: activityId }} }} }}"
        );
        let answer = world.ask("owner", "", &query, serde_json::Value::Null).await;
        assert_eq!(answer["data"]["activityList"]["activities"], ids, "{category}: {answer}");
    }
}

#[tokio::test]
async fn mismatch_of_activity_and_id_item_is_found() {
    let world = table().await;
    let found = damaged(&world, ID_OF_ACT_1, removed).await;
    assert_eq!(found, ["ws: act-1 has no id item"]);
    let found = damaged(&world, ACT_1, removed).await;
    assert_eq!(
        found,
        [
            "ws: act-1 has an id item and no activity",
            "ws: counter D#2025-01-09 01 is 1, should not be there",
            "ws: counter M#2025-01 d09 is 2, should be 1",
        ]
    );
    let again = ("WS#ws", "AT#2025-01-09T00:11:00.000000#act-1");
    let mut copy = get(&world, ACT_1).await.unwrap();
    copy.insert("sk".into(), string(again.1));
    copy.insert("action_key".into(), string("UPDATE_TODO#issue.updated#2025-01-09T00:11:00.000000#act-1"));
    let found = damaged(&world, again, |_| Some(copy)).await;
    assert_eq!(
        found,
        [
            "ws: act-1 is there 2 times: at 2025-01-09T00:10:00, 2025-01-09T00:11:00",
            "ws: counter D#2025-01-09 01 is 1, should be 2",
            "ws: counter M#2025-01 d09 is 2, should be 3",
        ]
    );
    let found = damaged(&world, ID_OF_ACT_1, with("fp", string("1.AAAAAAAAAAAAAAAAAAAAAA"))).await;
    assert_eq!(found, ["ws: act-1 has another fingerprint than its id item"]);
    let found = damaged(&world, ACT_1, with("details", string(r#"{"status":"open","weight":1.5}"#))).await;
    assert_eq!(found, ["ws: act-1 has another fingerprint than its id item"]);
    let found = damaged(&world, ID_OF_ACT_1, with("at", string("2025-01-09T00:10:00.000001"))).await;
    assert_eq!(
        found,
        ["ws: act-1 is at 2025-01-09T00:10:00, and at 2025-01-09T00:10:00.000001 by its id item"]
    );
    let found = damaged(&world, ID_OF_ACT_1, with("at", string("2025-01-09T00:10:00Z"))).await;
    assert_eq!(found, ["ws: act-1 has an id item that cannot be read: it is not as it would be written"]);
    let found = damaged(&world, ID_OF_ACT_1, without("fp")).await;
    assert_eq!(found, ["ws: act-1 has an id item that cannot be read: fp is missing"]);
    let stray = ("ID#ws#ghost", "ID");
    let item = [("fp", string("1.AAAAAAAAAAAAAAAAAAAAAA")), ("at", string("2025-01-09T00:10:00.000000"))];
    let found = damaged(&world, stray, added(stray, &item)).await;
    assert_eq!(found, ["ws: ghost has an id item and no activity"]);
    assert_eq!(faults(&world).await, [""; 0]);
    world.stop().await;
}

#[tokio::test]
async fn wrong_or_stray_attribute_is_found() {
    let world = table().await;
    for (name, wrong) in [
        ("issue_key", "WS#ws#ISSUE#issue-2"),
        ("actor_key", "WS#ws#ACTOR#bob"),
        ("action_key", "issue.closed#2025-01-09T00:10:00.000000#act-1"),
    ] {
        let found = damaged(&world, ACT_1, without(name)).await;
        assert_eq!(found, [format!("ws: act-1 lacks {name}")]);
        let found = damaged(&world, ACT_1, with(name, string(wrong))).await;
        assert_eq!(found, [format!("ws: act-1 has a wrong {name}")]);
    }
    let found = damaged(&world, ACT_1, without("org_key")).await;
    assert_eq!(found, ["ws: act-1 lacks org_key"]);
    for foreign in ["ORG#org-2", "ORG#?#lone", "org-1"] {
        let found = damaged(&world, ACT_1, with("org_key", string(foreign))).await;
        assert_eq!(found, [format!("ws: act-1 is in {foreign:?}, which no workspace.created names")]);
    }
    let found = damaged(&world, ACT_1, with("colour\n", string("red"))).await;
    assert_eq!(found, [r"ws: act-1 has a stray colour\n"]);
    // The JSON differs from what the recorder writes: spaces, a member twice.
    for details in [r#"{"status": "done","weight":1.5}"#, r#"{"status":"done","weight":1.5,"weight":2}"#] {
        let found = damaged(&world, ACT_1, with("details", string(details))).await;
        assert_eq!(found, ["ws: act-1 has a wrong details"]);
    }
    for (name, value, why) in [
        ("details", string("[]"), "details are no object"),
        ("actor_type", string("robot"), "actor_type: must be user or agent"),
        ("tags", string("bug"), "tags is no list"),
        ("action", number("1"), "action is no string"),
    ] {
        let found = damaged(&world, ACT_1, with(name, value)).await;
        assert_eq!(found, [format!("ws: act-1 cannot be read: {why}")]);
    }
    let found = damaged(&world, ACT_1, without("actor_id")).await;
    assert_eq!(found, ["ws: act-1 cannot be read: actor_id is missing"]);
    for stray in [
        ("XY#ws", "ID"),
        ("WS#ws", "AT#2025-01-09T00:10:00Z#act-1"),
        ("WS#ws", "AT#2025-01-09T00:10:00.000000#"),
        ("ID#ws", "ID"),
        ("COUNT#ws", "W#2025-01#0"),
        ("COUNT#ws", "M#2025-13#0"),
        ("DIR#ORG#org-1", "ORGANIZATION"),
    ] {
        let found = damaged(&world, stray, added(stray, &[])).await;
        assert_eq!(found, [format!("the table holds {:?} {:?}, an item of no known kind", stray.0, stray.1)]);
    }
    assert_eq!(faults(&world).await, [""; 0]);
    world.stop().await;
}

/// The sort key of the shard that has a number. The recorder chose it at random.
async fn counter(world: &World, sk: &str, attribute: &str) -> String {
    for shard in 0..2 {
        let sk = format!("{sk}#{shard}");
        if get(world, ("COUNT#ws", &sk)).await.is_some_and(|item| item.contains_key(attribute)) {
            return sk;
        }
    }
    panic!("no {sk} {attribute}");
}

#[tokio::test]
async fn wrong_counter_is_found() {
    let world = table().await;
    let day = counter(&world, "D#2025-01-09", "01").await;
    let day = ("COUNT#ws", day.as_str());
    let found = damaged(&world, day, with("01", number("2"))).await;
    assert_eq!(found, ["ws: counter D#2025-01-09 01 is 2, should be 1"]);
    let found = damaged(&world, day, with("02", number("1"))).await;
    assert_eq!(found, ["ws: counter D#2025-01-09 02 is 1, should not be there"]);
    let found = damaged(&world, day, without("01")).await;
    assert_eq!(found, ["ws: counter D#2025-01-09 01 is missing, should be 1"]);
    let month = counter(&world, "M#2020-01", "s01").await;
    let month = ("COUNT#ws", month.as_str());
    let found = damaged(&world, month, with("s01", number("9"))).await;
    assert_eq!(found, ["ws: counter M#2020-01 s01 is 9, should be 4"]);
    // The counters keep the audience that the action had when it was recorded.
    let found = damaged(&world, INVITED, without("staff")).await;
    assert_eq!(
        found,
        [
            "ws: counter D#2025-01-09 s8f is 1, should not be there",
            "ws: counter M#2025-01 s09 is 1, should not be there",
        ]
    );
    let found = damaged(&world, INVITED, with("staff", AttributeValue::Bool(false))).await;
    assert!(found.contains(&"ws: invited has a stray staff".to_owned()), "{found:?}");

    // The audience that its event asked for holds for ever.
    let asked = damaged(&world, INVITED, with("audience", string("staff"))).await;
    assert_eq!(asked, ["ws: invited has another fingerprint than its id item"]);
    let found = damaged(&world, INVITED, with("audience", string("everyone"))).await;
    assert!(found.contains(&"ws: invited has a stray staff".to_owned()), "{found:?}");

    // Any attribute that is no counter makes reads fail.
    for (name, value) in [("zz", "0"), ("d1", "1"), ("d32", "1"), ("01 ", "1")] {
        let found = damaged(&world, month, with(name, number(value))).await;
        assert_eq!(found, [format!("ws: counter M#2020-01 {name} is {value}, should not be there")]);
    }
    let found = damaged(&world, month, with("d01", number("-1"))).await;
    assert_eq!(found, [r#"ws: counter M#2020-01 d01 is N("-1"), should be 5"#]);
    let found = damaged(&world, month, with("d01", string("5\n"))).await;
    assert_eq!(found, [r#"ws: counter M#2020-01 d01 is S("5\n"), should be 5"#]);

    // Verify sums the shards. A further shard is no fault by itself, but must count something.
    let third = ("COUNT#ws", "D#2025-01-09#2");
    let found = damaged(&world, third, added(third, &[("01", number("4"))])).await;
    assert_eq!(found, ["ws: counter D#2025-01-09 01 is 5, should be 1"]);
    let found = damaged(&world, third, added(third, &[])).await;
    assert_eq!(found, ["ws: counter D#2025-01-09 is 0, should not be there"]);
    let unknown = ("COUNT#nowhere", "M#2025-01#0");
    let found = damaged(&world, unknown, added(unknown, &[("d09", number("3"))])).await;
    assert_eq!(found, ["nowhere: counter M#2025-01 d09 is 3, should not be there"]);
    assert_eq!(faults(&world).await, [""; 0]);
    world.stop().await;
}

#[tokio::test]
async fn wrong_directory_entry_is_found() {
    let world = table().await;
    let set = "2020-01-01T00:00:00.000000#ws.client";
    let found = damaged(&world, CLIENT, with("role", field(string("owner"), set))).await;
    assert_eq!(
        found,
        [format!(
            r#"ws: the membership of client, role is "owner" of "{set}", should be "client" of "{set}""#
        )]
    );
    let later = "2020-01-01T00:00:00.000001#ws.client";
    let found = damaged(&world, CLIENT, with("role", field(string("client"), later))).await;
    assert_eq!(
        found,
        [format!(
            r#"ws: the membership of client, role is "client" of "{later}", should be "client" of "{set}""#
        )]
    );
    let found = damaged(&world, CLIENT, with("role", string("client"))).await;
    assert_eq!(
        found,
        [format!(r#"ws: the membership of client, role is S("client"), should be "client" of "{set}""#)]
    );
    let found = damaged(&world, CLIENT, removed).await;
    assert_eq!(found, ["ws: the membership of client is missing"]);
    let stranger = ("DIR#USER#mallory", "WS#ws");
    let found = damaged(&world, stranger, added(stranger, &[("role", field(string("owner"), set))])).await;
    assert_eq!(found, ["ws: the membership of mallory follows from no activity"]);

    let created = "2020-01-01T00:00:00.000000#ws.created";
    let found = damaged(&world, WORKSPACE, without("slug")).await;
    assert_eq!(
        found,
        [format!(r#"ws: the directory entry, slug is missing, should be "apollo" of "{created}""#)]
    );
    let off = field(AttributeValue::Bool(false), created);
    let found = damaged(&world, WORKSPACE, with("activity_enabled", off)).await;
    assert_eq!(
        found,
        [format!(
            r#"ws: the directory entry, activity_enabled is false of "{created}", should not be there"#
        )]
    );
    let found = damaged(&world, WORKSPACE, removed).await;
    assert_eq!(found, ["ws: the directory entry is missing"]);
    let nowhere = ("DIR#WS#nowhere", "WORKSPACE");
    let found = damaged(&world, nowhere, added(nowhere, &[])).await;
    assert_eq!(found, ["nowhere: the directory entry follows from no activity"]);

    let found = damaged(&world, WORKSPACE, with("unclaimed", AttributeValue::Bool(true))).await;
    assert_eq!(found, ["ws: the directory entry, unclaimed is true, should not be there"]);
    let found = damaged(&world, LONE, without("unclaimed")).await;
    assert_eq!(found, ["lone: the directory entry, unclaimed is missing, should be true"]);
    let found = damaged(&world, EARLY, with("org_key", string("ORG#org-1"))).await;
    assert_eq!(
        found,
        [
            r#"lone: early is in "ORG#org-1", which no workspace.created names"#,
            "lone: the directory entry follows from no activity",
        ]
    );
    assert_eq!(faults(&world).await, [""; 0]);
    world.stop().await;
}

//! Nothing is lost while a watcher is away.

use std::time::Duration;

use serde_json::json;

use super::{WORKSPACE, Watcher, code, comment, live};

#[tokio::test]
async fn who_comes_back_is_told_what_they_missed_and_then_what_comes() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    let mut company = Watcher::of_company(&live, "member").await;
    // Before anything was told.
    for watcher in [&mut watcher, &mut company] {
        watcher.vanish(&live);
    }
    live.world.given((0..5).map(|n| comment("ws-1", &format!("a{n}")))).await;
    live.broadcast().await;
    for watcher in [&mut watcher, &mut company] {
        watcher.come(&live).await;
        assert_eq!(watcher.news(&live), ["ws-1/a0", "ws-1/a1", "ws-1/a2", "ws-1/a3", "ws-1/a4"]);
    }
    live.world.given([comment("ws-1", "b")]).await;
    live.broadcast().await;
    for watcher in [&mut watcher, &mut company] {
        assert_eq!(watcher.news(&live), ["ws-1/b"]);
        watcher.vanish(&live);
        watcher.come(&live).await;
        assert_eq!(watcher.news(&live), [""; 0]);
    }
    live.check().await;
}

#[tokio::test]
async fn who_lost_part_of_a_batch_gets_the_rest_of_it() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    live.sockets
        .script(&watcher.connection, [harness::Post::Taken, harness::Post::Taken, harness::Post::Gone]);
    live.world.given((0..9).map(|n| comment("ws-1", &format!("a{n}")))).await;
    live.broadcast().await;
    assert_eq!(watcher.news(&live), ["ws-1/a0", "ws-1/a1"]);
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live).len(), 7);
}

#[tokio::test]
async fn what_is_recorded_late_is_told_too() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    let dated = |id: &str, at: &str| {
        let mut event = comment("ws-1", id);
        event["created_at"] = at.into();
        event
    };
    live.world.given([dated("new", "2026-11-22T00:00:00Z")]).await;
    live.broadcast().await;
    watcher.vanish(&live);
    live.world.given([dated("old", "2001-01-01T00:00:00Z")]).await;
    live.broadcast().await;
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), ["ws-1/new", "ws-1/old"]);
    live.world.given([dated("older", "2000-01-01T00:00:00Z")]).await;
    live.broadcast().await;
    assert_eq!(watcher.news(&live), ["ws-1/older"]);
}

#[tokio::test]
async fn more_than_is_read_at_once_is_told_in_order() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    watcher.vanish(&live);
    let mut expected = Vec::new();
    for batch in 0..60 {
        let ids: Vec<String> = (0..4).map(|n| format!("{batch:02}-{n}")).collect();
        live.world.given(ids.iter().map(|id| comment("ws-1", id))).await;
        live.broadcast().await;
        expected.extend(ids.into_iter().map(|id| format!("ws-1/{id}")));
    }
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), expected);
    live.check().await;
}

#[tokio::test]
async fn what_takes_too_long_goes_on_with_the_next_connection() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    watcher.vanish(&live);
    // One transaction after the other: several at once may come about in any order.
    for n in (0..250).step_by(25) {
        live.world.given((n..n + 25).map(|n| comment("ws-1", &format!("{n:03}")))).await;
    }
    live.broadcast().await;
    // The second hundred is begun, and stopped by a client that is slow.
    watcher.connection = live.enter("member", "").await;
    let slow = std::iter::repeat_n(harness::Post::Taken, 120)
        .chain(std::iter::repeat_n(harness::Post::Throttled, 100));
    live.sockets.script(&watcher.connection, slow);
    watcher.subscribe(&live).await;
    assert!(!live.sockets.is_open(&watcher.connection));
    assert_eq!(watcher.told.len(), 120);
    // And with no time at all, nothing is told, nor lost.
    watcher.connection = live.enter("member", "").await;
    let variables = json!({ "projectId": "ws-1", "after": watcher.cursor });
    let payload = json!({ "query": WORKSPACE, "variables": variables });
    let message = json!({ "id": "1", "type": "subscribe", "payload": payload }).to_string();
    live.say_in(&watcher.connection, &message, Duration::from_secs(1)).await;
    assert!(!live.sockets.is_open(&watcher.connection));
    watcher.come(&live).await;
    let expected: Vec<String> = (0..250).map(|n| format!("ws-1/{n:03}")).collect();
    assert_eq!(watcher.news(&live), expected);
    live.check().await;
}

#[tokio::test]
async fn what_is_too_old_to_be_told_is_said_to_be() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    let mut other = Watcher::of_workspace(&live, "member", "ws-2").await;
    live.world.given([comment("ws-1", "a"), comment("ws-2", "a")]).await;
    live.broadcast().await;
    assert_eq!(watcher.news(&live), ["ws-1/a"]);
    let begun = watcher.cursor.clone();
    watcher.vanish(&live);
    // Of another, it is no cursor at all.
    other.read(&live);
    other.cursor = begun;
    other.come(&live).await;
    assert_eq!(code(&other.errors[0]), "BAD_USER_INPUT");
    // As long as there could be a connection, and a day more, there is a journal.
    live.world.advance(Duration::from_secs(25 * 3600));
    live.world.given([comment("ws-1", "b")]).await;
    live.broadcast().await;
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), ["ws-1/b"]);
    watcher.vanish(&live);
    // Then there is none, and what was recorded meanwhile is not in the next one.
    live.world.advance(Duration::from_secs(28 * 3600));
    live.world.given([comment("ws-1", "c")]).await;
    live.broadcast().await;
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), [""; 0]);
    assert!(watcher.errors[0][0]["message"].as_str().unwrap().starts_with("after: is too old"));
    assert_eq!(code(&watcher.errors[0]), "BAD_USER_INPUT");
    watcher.cursor = None;
    watcher.subscribe(&live).await;
    live.world.given([comment("ws-1", "d")]).await;
    live.broadcast().await;
    assert_eq!(watcher.news(&live), ["ws-1/d"]);
}

/// What was told last goes from the journal in time, and is not missed by who has it.
#[tokio::test]
async fn a_quiet_feed_does_not_grow_too_old() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    live.world.given([comment("ws-1", "a"), comment("ws-1", "b")]).await;
    live.broadcast().await;
    watcher.read(&live);
    for _ in 0..20 {
        live.world.advance(Duration::from_secs(2 * 3600));
        watcher.vanish(&live);
        watcher.come(&live).await;
    }
    let keys = live.check().await;
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.into());
    for (pk, sk) in keys.iter().filter(|(_, sk)| sk.starts_with("BATCH#")) {
        let delete = live.world.client.delete_item().table_name(&live.table);
        delete.key("pk", text(pk)).key("sk", text(sk)).send().await.unwrap();
    }
    watcher.vanish(&live);
    live.world.given([comment("ws-1", "c")]).await;
    live.broadcast().await;
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), ["ws-1/a", "ws-1/b", "ws-1/c"]);
}

/// The first one's telling ends when the second has begun, further back.
#[tokio::test]
async fn subscriptions_of_one_id_are_told_apart() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    let begun = watcher.cursor.clone();
    live.world.given((0..150).map(|n| comment("ws-1", &format!("{n:03}")))).await;
    live.broadcast().await;
    watcher.news(&live);
    let watch = |mark: &str| shared::live::Watch {
        topic: shared::live::Topic::parse("WS#ws-1").unwrap(),
        connection: shared::live::ConnectionId::parse(&watcher.connection).unwrap(),
        id: "1".into(),
        session: shared::live::Session {
            sub: "member".into(),
            scope: String::new(),
            token_expires: i64::MAX,
        },
        document: shared::live::Document { query: WORKSPACE.into(), operation: None, variables: "{}".into() },
        since: None,
        mark: mark.into(),
        began: live.teller.now(),
    };
    let (first, second) = (watch("first"), watch("second"));
    let connections = &live.teller.connections;
    live.say(&watcher.connection, r#"{"type":"complete","id":"1"}"#).await;
    assert_eq!(connections.watch(&first).await.unwrap(), None);
    live.say(&watcher.connection, r#"{"type":"complete","id":"1"}"#).await;
    assert_eq!(connections.watch(&second).await.unwrap(), None);
    assert_eq!(connections.take_turn(&first, u64::MAX).await.unwrap(), shared::store::Turn::Ended);
    assert_eq!(connections.leave_note(&first, 7).await.unwrap(), None);
    connections.end(&first).await.unwrap();
    assert_eq!(connections.take_turn(&second, 0).await.unwrap(), shared::store::Turn::Taken);
    live.check().await;
    live.say(&watcher.connection, r#"{"type":"complete","id":"1"}"#).await;
    watcher.cursor = begun;
    watcher.subscribe(&live).await;
    assert_eq!(watcher.news(&live).len(), 150);
}

#[tokio::test]
async fn what_has_gone_from_the_middle_is_missed() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    watcher.vanish(&live);
    for id in ["a", "b", "c"] {
        live.world.given([comment("ws-1", id)]).await;
        live.broadcast().await;
    }
    let keys = live.check().await;
    let (pk, sk) =
        keys.iter().filter(|(pk, sk)| pk == "JOURNAL#WS#ws-1" && sk.starts_with("BATCH#")).nth(1).unwrap();
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.into());
    let delete = live.world.client.delete_item().table_name(&live.table);
    delete.key("pk", text(pk)).key("sk", text(sk)).send().await.unwrap();
    watcher.come(&live).await;
    assert_eq!(code(&watcher.errors[0]), "BAD_USER_INPUT");
}

/// Of an organization, batches of several shards of the stream are told at the same time. A cursor of one must not lead
/// past what is missing of another.
#[tokio::test]
async fn a_cursor_never_leads_past_a_batch_that_is_still_being_told() {
    let live = live().await;
    let mut watcher = Watcher::of_company(&live, "member").await;
    live.world.given([comment("ws-1", "a")]).await;
    let first = live.recorded().await;
    live.world.given([comment("ws-2", "b")]).await;
    let second = live.recorded().await;
    // The first is in the journal, and its process is gone before anybody is told; the second one is told.
    let topic = shared::live::Topic::parse("ORG#org-1").unwrap();
    let mut heads =
        live.teller.connections.heads(std::slice::from_ref(&topic), live.teller.now()).await.unwrap();
    let row =
        shared::store::activity_of(first[0]["dynamodb"]["NewImage"].as_object().unwrap()).unwrap().unwrap();
    let entries = [(row.activity.workspace_id.clone(), row.activity.position())];
    let head = heads.remove(&topic).unwrap();
    live.teller.connections.add_batch(&topic, head, &entries, live.teller.now()).await.unwrap().unwrap();
    assert!(live.broadcast_in(&second, Duration::from_secs(120)).await.is_empty());
    assert_eq!(watcher.news(&live), ["ws-2/b"]);
    watcher.vanish(&live);
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), ["ws-1/a", "ws-2/b"]);
    // In the end it comes again, and is waited for no more.
    assert!(live.broadcast_in(&first, Duration::from_secs(120)).await.is_empty());
    assert_eq!(watcher.news(&live), ["ws-1/a"]);
    live.world.advance(Duration::from_secs(121));
    live.world.given([comment("ws-2", "c")]).await;
    live.broadcast().await;
    watcher.vanish(&live);
    watcher.told.clear();
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), [""; 0]);
}

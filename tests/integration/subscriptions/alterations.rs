//! Activities and id items that are overwritten or deleted. Nothing in the project does that; the stream shows it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use broadcast::Alteration;
use harness::SubscriberWorld;
use serde_json::json;

use super::{Subscriber, comment, subscriber_world};

type Item = HashMap<String, AttributeValue>;

fn text(item: &Item, name: &str) -> String {
    item[name].as_s().unwrap().clone()
}

/// The items of the log whose partition keys begin with `prefix`.
async fn items(world: &SubscriberWorld, prefix: &str) -> Vec<Item> {
    let found = world.log.client.scan().table_name(&world.log.table).send().await.unwrap().items.unwrap();
    found.into_iter().filter(|item| text(item, "pk").starts_with(prefix)).collect()
}

async fn put(world: &SubscriberWorld, item: Item) {
    world.log.client.put_item().table_name(&world.log.table).set_item(Some(item)).send().await.unwrap();
}

async fn delete(world: &SubscriberWorld, item: &Item) {
    let key = ["pk", "sk"].map(|name| (name.to_owned(), item[name].clone())).into();
    world.log.client.delete_item().table_name(&world.log.table).set_key(Some(key)).send().await.unwrap();
}

/// The alterations reported since the last call: what was done, and the keys.
fn take_alterations(world: &SubscriberWorld) -> Vec<(String, String, String)> {
    let found = std::mem::take(&mut *world.alterations.lock().unwrap());
    found.into_iter().map(|found| (found.event_name, found.pk, found.sk)).collect()
}

#[tokio::test]
async fn altered_activities_and_ids_are_reported() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/a"]);
    // Recording adds items, and changes counters and the directory. None of that is an alteration.
    assert_eq!(take_alterations(&world), []);
    for prefix in ["WS#ws-1", "ID#ws-1#a"] {
        let mut item = items(&world, prefix).await.pop().unwrap();
        let (pk, sk) = (text(&item, "pk"), text(&item, "sk"));
        item.insert("forged".into(), AttributeValue::Bool(true));
        put(&world, item.clone()).await;
        world.broadcast().await;
        assert_eq!(take_alterations(&world), [("MODIFY".to_owned(), pk.clone(), sk.clone())]);
        delete(&world, &item).await;
        world.broadcast().await;
        assert_eq!(take_alterations(&world), [("REMOVE".to_owned(), pk, sk)]);
    }
    assert_eq!(subscriber.take_received(&world), [] as [&str; 0]);
}

#[tokio::test]
async fn altered_items_do_not_delay_a_delivery() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    world.log.given([comment("ws-1", "a")]).await;
    for item in items(&world, "ID#ws-1#a").await {
        delete(&world, &item).await;
    }
    world.log.given([comment("ws-1", "b")]).await;
    let records = world.stream_records().await;
    assert_eq!(records.len(), 3);
    assert!(world.broadcast_within(&records, Duration::from_secs(60)).await.is_empty());
    assert_eq!(subscriber.take_received(&world), ["ws-1/a", "ws-1/b"]);
    assert_eq!(take_alterations(&world).len(), 1);
}

#[test]
fn alteration_is_a_line_with_a_metric() {
    let alteration = Alteration {
        event_name: "REMOVE".into(),
        pk: "ID#ws#act-1".into(),
        sk: "ID".into(),
        sequence_number: "7".into(),
    };
    let now = domain::time::Timestamp::parse("now", "2025-01-01T00:00:00Z").unwrap();
    let metrics = json!([{ "Name": "AlteredItems", "Unit": "Count" }]);
    let directive =
        json!({ "Namespace": "ActivityLog", "Dimensions": [["FunctionName"]], "Metrics": metrics });
    let expected = json!({
        "timestamp": "2025-01-01T00:00:00.000000Z", "level": "ERROR",
        "message": "item of the log was overwritten or deleted", "eventName": "REMOVE", "pk": "ID#ws#act-1",
        "sk": "ID", "sequenceNumber": "7", "FunctionName": "broadcast", "AlteredItems": 1,
        "_aws": { "Timestamp": 1_735_689_600_000_u64, "CloudWatchMetrics": [directive] }
    });
    assert_eq!(alteration.metrics().to_json("broadcast", now), expected);
}

//! Damages single items without the recorder, and repairs them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use harness::World;

use super::faults;

type Item = HashMap<String, AttributeValue>;

pub(super) fn string(value: &str) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn key((pk, sk): (&str, &str)) -> Item {
    HashMap::from([("pk".into(), string(pk)), ("sk".into(), string(sk))])
}

pub(super) async fn get(world: &World, at: (&str, &str)) -> Option<Item> {
    let request = world.client.get_item().table_name(&world.table).consistent_read(true);
    request.set_key(Some(key(at))).send().await.unwrap().item
}

pub(super) async fn put(world: &World, at: (&str, &str), item: Option<Item>) {
    match item {
        Some(item) => {
            world.client.put_item().table_name(&world.table).set_item(Some(item)).send().await.unwrap();
        }
        None => {
            let request = world.client.delete_item().table_name(&world.table);
            request.set_key(Some(key(at))).send().await.unwrap();
        }
    }
}

/// Changes, adds or removes one item, returns the faults, and restores the item.
pub(super) async fn damaged(
    world: &World,
    at: (&str, &str),
    change: impl FnOnce(Option<Item>) -> Option<Item>,
) -> Vec<String> {
    let before = get(world, at).await;
    put(world, at, change(before.clone())).await;
    let found = faults(world).await;
    put(world, at, before).await;
    found
}

/// A change that removes an item.
pub(super) fn removed(item: Option<Item>) -> Option<Item> {
    assert!(item.is_some(), "nothing to remove");
    None
}

/// A change that sets an attribute of an existing item.
pub(super) fn with(name: &str, value: AttributeValue) -> impl FnOnce(Option<Item>) -> Option<Item> {
    move |item| {
        let mut item = item.unwrap();
        assert_ne!(item.insert(name.into(), value.clone()), Some(value), "nothing changes");
        Some(item)
    }
}

/// A change that removes an attribute.
pub(super) fn without(name: &str) -> impl FnOnce(Option<Item>) -> Option<Item> {
    move |item| {
        let mut item = item.unwrap();
        assert!(item.remove(name).is_some(), "nothing to remove");
        Some(item)
    }
}

/// A change that adds an item.
pub(super) fn added(
    at: (&str, &str),
    more: &[(&str, AttributeValue)],
) -> impl FnOnce(Option<Item>) -> Option<Item> {
    let mut new = key(at);
    new.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    move |item| {
        assert_eq!(item, None);
        Some(new)
    }
}

pub(super) fn number(value: &str) -> AttributeValue {
    AttributeValue::N(value.into())
}

/// A field of the directory.
pub(super) fn field(value: AttributeValue, at: &str) -> AttributeValue {
    AttributeValue::M(HashMap::from([("v".into(), value), ("at".into(), string(at))]))
}

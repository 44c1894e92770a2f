//! Checks a whole table: that everything in it agrees with everything else.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

type Item = HashMap<String, AttributeValue>;

/// What a table holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The ids of each workspace's activities.
    pub activities: BTreeMap<String, Vec<String>>,
}

/// Reads all of a table, and each of its indexes, and fails unless: every activity has its id item and the other
/// way round, the counters count every day and slot, no more and no less, and the indexes hold what they must.
pub async fn check(client: &Client, table: &str) -> Contents {
    let items = scan(client, table, None).await;
    let mut activities = BTreeMap::new();
    let mut ids = BTreeMap::new();
    let mut counted: BTreeMap<(String, String), i64> = BTreeMap::new();
    for item in &items {
        let (pk, sk) = (text(item, "pk"), text(item, "sk"));
        let (kind, rest) = pk.split_once('#').unwrap();
        match kind {
            "WS" => {
                let (time, id) = sk.strip_prefix("AT#").unwrap().split_once('#').unwrap();
                activities.insert((rest.to_owned(), id.to_owned()), (time.to_owned(), item));
            }
            "ID" => {
                let (ws, id) = rest.split_once('#').unwrap();
                ids.insert((ws.to_owned(), id.to_owned()), text(item, "at").to_owned());
            }
            "COUNT" => {
                let (bucket, _shard) = sk.rsplit_once('#').unwrap();
                for (name, value) in item.iter().filter(|(name, _)| *name != "pk" && *name != "sk") {
                    let number: i64 = value.as_n().unwrap().parse().unwrap();
                    *counted.entry((rest.to_owned(), format!("{bucket} {name}"))).or_default() += number;
                }
            }
            "DIR" => {}
            _ => panic!("an item of no known kind: {pk} {sk}"),
        }
    }
    let mut expected: BTreeMap<(String, String), i64> = BTreeMap::new();
    for ((ws, id), (time, item)) in &activities {
        assert_eq!(ids.get(&(ws.clone(), id.clone())), Some(time), "the id item of {ws} {id}");
        let (month, day, hour, minute) = (&time[..7], &time[8..10], &time[11..13], &time[14..16]);
        let slot = (hour.parse::<u32>().unwrap() * 60 + minute.parse::<u32>().unwrap()) / 10;
        let staff = item.contains_key("staff");
        let kinds: &[(&str, &str)] = if staff { &[("d", ""), ("s", "s")] } else { &[("d", "")] };
        for (of_day, of_slot) in kinds {
            *expected.entry((ws.clone(), format!("M#{month} {of_day}{day}"))).or_default() += 1;
            *expected.entry((ws.clone(), format!("D#{} {of_slot}{slot:02x}", &time[..10]))).or_default() += 1;
        }
    }
    assert_eq!(ids.len(), activities.len(), "id items without an activity");
    assert_eq!(counted, expected, "the counters");
    for (index, attribute) in [
        ("by-issue", "issue_key"),
        ("by-actor", "actor_key"),
        ("by-action", "action_key"),
        ("by-organization", "org_key"),
    ] {
        let mut indexed = scan(client, table, Some(index)).await;
        let mut belong: Vec<&Item> =
            activities.values().map(|(_, item)| *item).filter(|item| item.contains_key(attribute)).collect();
        let key = |item: &Item| (text(item, "pk").to_owned(), text(item, "sk").to_owned());
        indexed.sort_by_key(key);
        belong.sort_by_key(|item| key(item));
        assert_eq!(indexed.iter().collect::<Vec<_>>(), belong, "index {index}");
    }
    let mut contents = Contents::default();
    for (ws, id) in activities.into_keys() {
        contents.activities.entry(ws).or_default().push(id);
    }
    contents
}

fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item[name].as_s().unwrap()
}

async fn scan(client: &Client, table: &str, index: Option<&str>) -> Vec<Item> {
    let request = client.scan().table_name(table).set_index_name(index.map(str::to_owned));
    let mut items = Vec::new();
    let mut start = None;
    loop {
        let page = request.clone().set_exclusive_start_key(start).send().await.unwrap();
        items.extend(page.items.unwrap_or_default());
        start = page.last_evaluated_key;
        if start.is_none() {
            return items;
        }
    }
}

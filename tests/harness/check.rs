//! Checks a whole table: everything in it agrees with everything else.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use store::Store;

/// The contents of a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The ids of each workspace's activities.
    pub activities: BTreeMap<String, Vec<String>>,
}

/// Reads a whole table and each of its indexes, and panics at any fault that [`Store::verify`] finds.
pub async fn check(client: &Client, table: &str) -> Contents {
    let report = Store::new(client.clone(), table).verify().await.unwrap();
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let activities = report
        .activities
        .into_iter()
        .map(|(workspace, ids)| (workspace.to_string(), ids.iter().map(ToString::to_string).collect()));
    Contents { activities: activities.collect() }
}

//! A batch of a DynamoDB stream, as Lambda hands it over.

use serde::Deserialize;
use serde_json::{Map, Value};
use store::{Row, activity_of, is_permanent};

use crate::Alteration;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamEvent {
    records: Vec<StreamRecord>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StreamRecord {
    event_name: String,
    dynamodb: ItemChange,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ItemChange {
    sequence_number: String,
    #[serde(default)]
    keys: Map<String, Value>,
    #[serde(default)]
    new_image: Map<String, Value>,
}

/// The activities of a batch of records.
#[derive(Debug, Default)]
pub(crate) struct RecordBatch {
    /// The activities before the first unreadable record, in the order of the stream.
    pub(crate) rows: Vec<Row>,
    /// The alterations before the first unreadable record.
    pub(crate) alterations: Vec<Alteration>,
    /// The number of records.
    pub(crate) count: usize,
    /// The sequence number of the first record.
    pub(crate) first: Option<String>,
    /// The sequence number of the first record whose key is an activity's and whose other attributes do not decode.
    pub(crate) unreadable: Option<String>,
}

/// Parses a batch. Only a new item can be an activity to deliver. Other changes of the table are skipped, unless they
/// alter what is permanent.
///
/// # Errors
/// When the payload is not a batch of a stream.
pub(crate) fn parse(payload: Value) -> Result<RecordBatch, serde_json::Error> {
    let event: StreamEvent = serde_json::from_value(payload)?;
    let mut batch = RecordBatch { count: event.records.len(), ..RecordBatch::default() };
    for StreamRecord { event_name, dynamodb: change } in event.records {
        let ItemChange { sequence_number, keys, new_image } = change;
        batch.first.get_or_insert_with(|| sequence_number.clone());
        if event_name != "INSERT" {
            let key =
                |name: &str| keys.get(name).and_then(|key| key["S"].as_str()).unwrap_or_default().to_owned();
            let (pk, sk) = (key("pk"), key("sk"));
            if is_permanent(&pk) {
                batch.alterations.push(Alteration { event_name, pk, sk, sequence_number });
            }
            continue;
        }
        match activity_of(&new_image) {
            Ok(row) => batch.rows.extend(row),
            Err(error) => {
                tracing::error!(error = error.chain(), sequence_number, "stopped at unreadable record");
                batch.unreadable = Some(sequence_number);
                break;
            }
        }
    }
    Ok(batch)
}

//! A batch of a DynamoDB stream, as Lambda hands it over.

use serde::Deserialize;
use serde_json::{Map, Value};
use store::{Row, activity_of};

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
    new_image: Map<String, Value>,
}

/// The activities of a batch of records.
#[derive(Debug, Default)]
pub(crate) struct RecordBatch {
    /// The activities before the first unreadable record, in the order of the stream.
    pub(crate) rows: Vec<Row>,
    /// The number of records.
    pub(crate) count: usize,
    /// The sequence number of the first record.
    pub(crate) first: Option<String>,
    /// The sequence number of the first record whose key is an activity's and whose other attributes do not decode.
    pub(crate) unreadable: Option<String>,
}

/// Parses a batch. Only a new item can be an activity, so that other changes of the table are skipped.
///
/// # Errors
/// When the payload is not a batch of a stream.
pub(crate) fn parse(payload: Value) -> Result<RecordBatch, serde_json::Error> {
    let event: StreamEvent = serde_json::from_value(payload)?;
    let mut batch = RecordBatch { count: event.records.len(), ..RecordBatch::default() };
    for StreamRecord { event_name, dynamodb: ItemChange { sequence_number, new_image } } in event.records {
        batch.first.get_or_insert_with(|| sequence_number.clone());
        if event_name != "INSERT" {
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

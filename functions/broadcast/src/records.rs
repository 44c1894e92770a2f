//! A batch of a DynamoDB stream, as Lambda hands it over.

use serde::Deserialize;
use serde_json::{Map, Value};
use shared::store::{Row, activity_of};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    dynamodb: Change,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
    #[serde(default)]
    new_image: Map<String, Value>,
}

/// The activities of a batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In the order of the stream, up to what failed.
    pub(crate) rows: Vec<Row>,
    /// The sequence number of the first record.
    pub(crate) first: Option<String>,
    /// How many records there are.
    pub(crate) records: usize,
    /// That of the first which is no activity of ours although its key says so.
    pub(crate) failed: Option<String>,
}

/// Reads a batch. Whatever else changes in the table is nobody's news.
///
/// # Errors
/// When it is no batch of a stream.
pub(crate) fn parse(payload: Value) -> Result<Batch, serde_json::Error> {
    let event: Event = serde_json::from_value(payload)?;
    let mut batch = Batch { records: event.records.len(), ..Batch::default() };
    for Record { event_name, dynamodb: Change { sequence_number, new_image } } in event.records {
        batch.first.get_or_insert_with(|| sequence_number.clone());
        if event_name != "INSERT" {
            continue;
        }
        match activity_of(&new_image) {
            Ok(row) => batch.rows.extend(row),
            Err(error) => {
                let error = error.chain();
                tracing::error!(error, sequence_number, "a record of the stream could not be read");
                batch.failed = Some(sequence_number);
                break;
            }
        }
    }
    Ok(batch)
}

//! Reads the records of a stream, shard by shard.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{Record, ShardIteratorType};
use serde_json::Value;

use super::pattern::matches;
use super::record::{event_record, sequence_number};
use crate::engine::error_chain;

/// Reads a stream from some time on.
pub struct StreamReader {
    client: Client,
    arn: String,
    patterns: Vec<Value>,
    /// The open shards, by their ids.
    positions: HashMap<String, ShardPosition>,
    /// The ids of all shards that were ever found.
    known_shards: HashSet<String>,
    /// Whether there may be shards that are not known yet.
    may_have_new_shards: bool,
}

/// The position at which a shard is read next.
#[derive(Clone)]
struct ShardPosition {
    iterator: String,
    /// The sequence number of the last record that was read.
    last_read: Option<String>,
    /// The kind of position at which reading began.
    start: ShardIteratorType,
}

impl StreamReader {
    /// A reader of the records that are written from now on. It returns those that match any of `patterns`, or all when there
    /// is none.
    pub(super) async fn at_end(client: Client, arn: String, patterns: Vec<Value>) -> Result<Self, String> {
        let (positions, known_shards) = (HashMap::new(), HashSet::new());
        let mut reader = Self { client, arn, patterns, positions, known_shards, may_have_new_shards: true };
        reader.find_shards(&ShardIteratorType::Latest).await?;
        Ok(reader)
    }

    /// Reads every shard once, and returns the records that match. Returns `None` when there was no record at all.
    pub async fn read(&mut self) -> Option<Vec<Value>> {
        let mut found = None;
        for (id, position) in self.positions.clone() {
            let Some((records, next)) = self.read_shard(&id, &position).await else { continue };
            let records: Vec<Value> = records.iter().map(event_record).collect();
            let last_read = records.last().and_then(sequence_number).map(str::to_owned);
            if !records.is_empty() {
                let patterns = &self.patterns;
                let is_wanted = |record: &Value| {
                    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, record))
                };
                found.get_or_insert_with(Vec::new).extend(records.into_iter().filter(is_wanted));
            }
            match next {
                Some(iterator) => {
                    let last_read = last_read.or(position.last_read);
                    self.positions.insert(id, ShardPosition { iterator, last_read, start: position.start });
                }
                None => {
                    self.positions.remove(&id);
                    // The shard's children continue where it ended.
                    self.may_have_new_shards = true;
                }
            }
        }
        if self.may_have_new_shards
            && let Err(error) = self.find_shards(&ShardIteratorType::TrimHorizon).await
        {
            tracing::warn!(error, "failed to list the stream's shards");
        }
        found
    }

    /// The next records of a shard, and the iterator after them, which a closed shard lacks at its end. Returns `None` when the
    /// shard cannot be read now.
    async fn read_shard(
        &mut self,
        id: &str,
        position: &ShardPosition,
    ) -> Option<(Vec<Record>, Option<String>)> {
        let error = match self.client.get_records().shard_iterator(&position.iterator).send().await {
            Ok(output) => return Some((output.records.unwrap_or_default(), output.next_shard_iterator)),
            Err(error) => error,
        };
        tracing::warn!(error = error_chain(&error), shard = id, "failed to read the stream");
        let error = error.into_service_error();
        if error.is_trimmed_data_access_exception() {
            // The next records were deleted, so that reading resumes at the oldest record left. DynamoDB Local answers like
            // this until a shard has its first record.
            self.reopen(id, position, &ShardIteratorType::TrimHorizon, None).await;
        } else if error.is_expired_iterator_exception() {
            // An iterator expires while this machine sleeps.
            let (start, after) = match &position.last_read {
                Some(last) => (&ShardIteratorType::AfterSequenceNumber, Some(last.clone())),
                None => (&position.start, None),
            };
            self.reopen(id, position, start, after).await;
        }
        None
    }

    /// Opens a shard again, from `start` on. A failure leaves its position as it is, for the next read to try again.
    async fn reopen(
        &mut self,
        id: &str,
        position: &ShardPosition,
        start: &ShardIteratorType,
        after: Option<String>,
    ) {
        if let Ok(Some(iterator)) = self.shard_iterator(id, start, after).await {
            self.positions.insert(id.to_owned(), ShardPosition { iterator, ..position.clone() });
        }
    }

    /// Finds the shards that are not known yet, and reads them from `start` on.
    async fn find_shards(&mut self, start: &ShardIteratorType) -> Result<(), String> {
        let mut last_shard = None;
        loop {
            let request = self.client.describe_stream().stream_arn(&self.arn);
            let output = request.set_exclusive_start_shard_id(last_shard).send().await;
            let found = output.map_err(|error| error_chain(&error))?.stream_description;
            let found = found.ok_or("the stream has no description")?;
            for id in found.shards.unwrap_or_default().into_iter().filter_map(|shard| shard.shard_id) {
                if self.known_shards.contains(&id) {
                    continue;
                }
                if let Some(iterator) = self.shard_iterator(&id, start, None).await? {
                    let position = ShardPosition { iterator, last_read: None, start: start.clone() };
                    self.positions.insert(id.clone(), position);
                }
                self.known_shards.insert(id);
            }
            last_shard = found.last_evaluated_shard_id;
            if last_shard.is_none() {
                self.may_have_new_shards = false;
                return Ok(());
            }
        }
    }

    /// An iterator that begins at `start`, or after the record with the sequence number `after` when `start` says so.
    async fn shard_iterator(
        &self,
        shard: &str,
        start: &ShardIteratorType,
        after: Option<String>,
    ) -> Result<Option<String>, String> {
        let request = self.client.get_shard_iterator().stream_arn(&self.arn).shard_id(shard);
        let output = request.shard_iterator_type(start.clone()).set_sequence_number(after).send().await;
        Ok(output.map_err(|error| error_chain(&error))?.shard_iterator)
    }
}

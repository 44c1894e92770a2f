//! A table's stream, and what Lambda's event source mapping does with it: batches in order, to the function that is fed
//! from it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client as Tables;
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::{Config, Region};
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, ShardIteratorType};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::aws::{REGION, arn};
use crate::functions::{Function, Functions};
use crate::tables::{cause, stream_of};
use crate::template::{StreamSource, Template};
use crate::{answer, engine};

/// How often the stream is read when nothing was recorded here: others may record into the same table.
const PAUSE: Duration = Duration::from_millis(200);
/// How long after something was recorded it is looked for: a stream may be a little late.
const LATE: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(50)];
/// The longest pause before a batch that failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the stream is worked off when the gateway stops.
const PATIENCE: Duration = Duration::from_secs(5);

/// The stream of a table.
#[derive(Debug, Clone)]
pub struct Stream {
    client: Client,
    arn: String,
    source: StreamSource,
    trouble: Option<u64>,
}

impl Stream {
    /// The same, fed as badly as Lambda may at times: now and then, as `seed` decides, a batch comes twice, or its first
    /// invocation is killed half way.
    #[must_use]
    pub fn unreliable(self, seed: u64) -> Self {
        Self { trouble: Some(seed), ..self }
    }

    /// The stream that the template feeds a function from, of the table called `table` at `endpoint`; it is switched on
    /// if it is not.
    ///
    /// # Errors
    /// One line: why there is none.
    pub async fn open(
        endpoint: &str,
        tables: &Tables,
        template: &Template,
        logical_id: &str,
        table: &str,
    ) -> Result<Self, String> {
        let found = template.stream_sources().into_iter().find(|source| source.table == logical_id);
        let source = found.ok_or_else(|| format!("template.yaml feeds no function from {logical_id}"))?;
        let client = Client::from_conf(
            Config::builder()
                .behavior_version_latest()
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .region(Region::new(engine::REGION))
                .credentials_provider(engine::credentials())
                .endpoint_url(endpoint)
                .build(),
        );
        let failed =
            |error: &dyn std::error::Error| format!("no stream of the table {table}: {}", cause(error));
        let of_table = client.list_streams().table_name(table).send().await;
        let streams = of_table.map_err(|error| failed(&error))?.streams.unwrap_or_default();
        let arn = match streams.into_iter().next_back() {
            Some(stream) => stream.stream_arn,
            // For this DynamoDB Local looks through all tables, so that the table had better be made with its stream.
            None => {
                let update = tables.update_table().table_name(table);
                let updated = update.set_stream_specification(stream_of(template, logical_id)).send().await;
                let table = updated.map_err(|error| failed(&error))?.table_description;
                table.and_then(|table| table.latest_stream_arn)
            }
        };
        let arn = arn.ok_or_else(|| format!("no stream of the table {table}"))?;
        Ok(Self { client, arn, source, trouble: None })
    }

    /// An iterator that begins where `from` says; after which record, if that is what it says.
    async fn iterator(
        &self,
        shard: &str,
        from: ShardIteratorType,
        after: Option<String>,
    ) -> Result<Option<String>, String> {
        let request = self.client.get_shard_iterator().stream_arn(&self.arn).shard_id(shard);
        let answer = request.shard_iterator_type(from).set_sequence_number(after).send().await;
        Ok(answer.map_err(|error| cause(&error))?.shard_iterator)
    }

    /// Reads the stream from its end on.
    ///
    /// # Errors
    /// One line: why it cannot be read.
    pub async fn tail(&self) -> Result<Tail, String> {
        let (places, known) = (HashMap::new(), HashSet::new());
        let mut tail = Tail { stream: self.clone(), places, known, must_look: true };
        tail.look(ShardIteratorType::Latest).await?;
        Ok(tail)
    }

    /// Begins to feed the function with what is recorded from now on.
    pub(crate) async fn start(&self, functions: &Arc<Functions>) -> Result<Running, String> {
        let function = Function::named(&self.source.function);
        let function = function.ok_or_else(|| format!("{} is not served here", self.source.function))?;
        let tail = self.tail().await?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let feeder = Feeder {
            source: self.source.clone(),
            functions: Arc::clone(functions),
            function,
            trouble: self.trouble.map(|seed| Mutex::new(fastrand::Rng::with_seed(seed))),
        };
        Ok(Running { stop, task: tokio::spawn(feeder.run(tail, stopped)) })
    }
}

/// What feeds the function while the gateway serves.
pub(crate) struct Running {
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Feeds what is in the stream by now, as far as it comes in some time.
    pub(crate) async fn finish(self) {
        self.stop.send(()).ok();
        tokio::time::timeout(PATIENCE, self.task).await.ok();
    }
}

/// What comes into a stream, from some time on.
pub struct Tail {
    stream: Stream,
    places: HashMap<String, Place>,
    known: HashSet<String>,
    /// Whether there are shards that are not known yet.
    must_look: bool,
}

/// Where a shard is read.
#[derive(Clone)]
struct Place {
    iterator: String,
    /// The sequence number of the last record that was fed.
    last: Option<String>,
    /// Where it began.
    from: ShardIteratorType,
}

impl Tail {
    /// Finds the shards that are not known yet.
    async fn look(&mut self, from: ShardIteratorType) -> Result<(), String> {
        let mut start = None;
        loop {
            let request = self.stream.client.describe_stream().stream_arn(&self.stream.arn);
            let answer = request.set_exclusive_start_shard_id(start).send().await;
            let found = answer.map_err(|error| cause(&error))?.stream_description;
            let found = found.ok_or("the stream has no description")?;
            for id in found.shards.unwrap_or_default().into_iter().filter_map(|shard| shard.shard_id) {
                if !self.known.contains(&id) {
                    let iterator = self.stream.iterator(&id, from.clone(), None).await?;
                    self.places
                        .extend(iterator.map(|iterator| {
                            (id.clone(), Place { iterator, last: None, from: from.clone() })
                        }));
                    self.known.insert(id);
                }
            }
            start = found.last_evaluated_shard_id;
            if start.is_none() {
                self.must_look = false;
                return Ok(());
            }
        }
    }

    /// Reads every shard once: the records, as Lambda hands them over, of those that the function gets; `None` when there
    /// were none at all.
    pub async fn read(&mut self) -> Option<Vec<Value>> {
        let mut found = None;
        for (id, place) in self.places.clone() {
            let answer = self.stream.client.get_records().shard_iterator(&place.iterator).send().await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::warn!("the stream could not be read: {}", cause(&error));
                    let error = error.into_service_error();
                    if error.is_trimmed_data_access_exception() {
                        self.find_again(id, place, ShardIteratorType::TrimHorizon, None).await;
                    } else if error.is_expired_iterator_exception() {
                        let (from, after) = match &place.last {
                            Some(last) => (ShardIteratorType::AfterSequenceNumber, Some(last.clone())),
                            None => (place.from.clone(), None),
                        };
                        self.find_again(id, place, from, after).await;
                    }
                    continue;
                }
            };
            let records: Vec<Value> = answer.records.unwrap_or_default().iter().map(event).collect();
            let last = records.last().and_then(|record| record["dynamodb"]["SequenceNumber"].as_str());
            let last = last.map(str::to_owned).or(place.last);
            if !records.is_empty() {
                let patterns = &self.stream.source.patterns;
                let wanted = records.into_iter().filter(|record| {
                    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, record))
                });
                found.get_or_insert_with(Vec::new).extend(wanted);
            }
            match answer.next_shard_iterator {
                Some(iterator) => drop(self.places.insert(id, Place { iterator, last, from: place.from })),
                None => {
                    self.places.remove(&id);
                    // Its children go on where it ended.
                    self.must_look = true;
                }
            }
        }
        if self.must_look
            && let Err(error) = self.look(ShardIteratorType::TrimHorizon).await
        {
            tracing::warn!("the stream's shards could not be read: {error}");
        }
        found
    }

    /// Takes up a shard again: after the last record that was read, if its iterator has expired, as after this machine has
    /// slept; or with the oldest one, if that is a later one. DynamoDB Local has it so until the first record is there.
    async fn find_again(&mut self, id: String, place: Place, from: ShardIteratorType, after: Option<String>) {
        if let Ok(Some(iterator)) = self.stream.iterator(&id, from, after).await {
            self.places.insert(id, Place { iterator, ..place });
        }
    }
}

struct Feeder {
    source: StreamSource,
    functions: Arc<Functions>,
    function: Function,
    trouble: Option<Mutex<fastrand::Rng>>,
}

impl Feeder {
    async fn run(self, mut tail: Tail, mut stopped: tokio::sync::oneshot::Receiver<()>) {
        loop {
            // After something was recorded here, looked for until it comes; else now and then.
            let pauses: &[Duration] = tokio::select! {
                () = self.functions.recorded.notified() => &LATE,
                () = tokio::time::sleep(PAUSE) => &[Duration::ZERO],
                _ = &mut stopped => {
                    while self.pass_on(&mut tail).await {}
                    return;
                }
            };
            for pause in pauses {
                tokio::time::sleep(*pause).await;
                let mut found = false;
                while self.pass_on(&mut tail).await {
                    found = true;
                }
                if found {
                    break;
                }
            }
        }
    }

    /// Feeds what there is; says whether there was anything.
    async fn pass_on(&self, tail: &mut Tail) -> bool {
        let Some(records) = tail.read().await else { return false };
        for batch in records.chunks(self.source.batch_size) {
            if let Some(time) = self.next_trouble() {
                let payload = json!({ "Records": batch }).to_string().into_bytes();
                let (request_id, most) = (answer::request_id(), self.source.timeout);
                let answer =
                    self.functions.invoke_until(self.function, payload, &request_id, most, time).await;
                tracing::info!(records = batch.len(), killed = answer.is_err(), "a batch comes again");
            }
            self.feed(batch.to_vec(), 0).await;
        }
        true
    }

    /// How long the next batch's first invocation lives, if it is to have one more.
    fn next_trouble(&self) -> Option<Duration> {
        let mut random = self.trouble.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        match random.u8(..8) {
            0 => Some(self.source.timeout),
            1 | 2 => Some(Duration::from_millis(random.u64(..40))),
            _ => None,
        }
    }

    /// Feeds a batch until it succeeds, or has failed for good.
    async fn feed(&self, mut batch: Vec<Value>, mut attempt: u32) {
        let source = &self.source;
        while !batch.is_empty() {
            let request_id = answer::request_id();
            let payload = json!({ "Records": batch }).to_string().into_bytes();
            let answer = self.functions.invoke(self.function, payload, &request_id, source.timeout).await;
            let failed_at = match answer {
                Ok(answer) if source.reports_failures => match first_failed(&answer, &batch) {
                    None => return,
                    Some(index) => index,
                },
                Ok(_) => return,
                Err(failure) => {
                    tracing::warn!(request_id, "a batch of {} records failed: {failure}", batch.len());
                    0
                }
            };
            batch.drain(..failed_at);
            if attempt >= source.max_retries {
                tracing::error!("{} records of the stream were given up", batch.len());
                return;
            }
            if source.bisects && batch.len() > 1 {
                let second = batch.split_off(batch.len() / 2);
                Box::pin(self.feed(std::mem::take(&mut batch), attempt + 1)).await;
                batch = second;
            }
            tokio::time::sleep((Duration::from_millis(20) * 2u32.pow(attempt.min(10))).min(LONGEST_PAUSE))
                .await;
            attempt += 1;
        }
    }
}

/// The first record of a batch that an answer reports as failed; all of them, as Lambda has it, when it names another.
fn first_failed(answer: &Value, batch: &[Value]) -> Option<usize> {
    let failures = answer["batchItemFailures"].as_array().filter(|failures| !failures.is_empty())?;
    let number = |failure: &Value| {
        let id = failure["itemIdentifier"].as_str()?;
        batch.iter().position(|record| record["dynamodb"]["SequenceNumber"] == id)
    };
    Some(failures.iter().map(|failure| number(failure).unwrap_or(0)).min().unwrap_or(0))
}

/// Whether a record matches a pattern: each of its members is one of the values, or begins with a prefix, that it lists.
fn matches(pattern: &Value, record: &Value) -> bool {
    match pattern {
        Value::Object(members) => members.iter().all(|(name, pattern)| matches(pattern, &record[name])),
        Value::Array(rules) => rules.iter().any(|rule| match rule["prefix"].as_str() {
            Some(prefix) => record.as_str().is_some_and(|text| text.starts_with(prefix)),
            None => rule == record,
        }),
        _ => false,
    }
}

/// A record as Lambda hands it over.
fn event(record: &Record) -> Value {
    let change = record.dynamodb.as_ref();
    let image = |image: Option<&HashMap<String, AttributeValue>>| {
        let members = image?.iter().map(|(name, value)| (name.clone(), attribute(value)));
        Some(Value::Object(members.collect()))
    };
    let mut data = Map::new();
    let keys = change.and_then(|change| image(change.keys.as_ref()));
    let new = change.and_then(|change| image(change.new_image.as_ref()));
    data.extend(keys.map(|keys| ("Keys".to_owned(), keys)));
    data.extend(new.map(|new| ("NewImage".to_owned(), new)));
    let number = change.and_then(|change| change.sequence_number.clone());
    data.extend(number.map(|number| ("SequenceNumber".to_owned(), number.into())));
    data.insert("StreamViewType".to_owned(), "NEW_IMAGE".into());
    json!({
        "eventID": record.event_id,
        "eventName": record.event_name.as_ref().map(|name| name.as_str()),
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": arn("dynamodb", "table/log/stream"),
        "awsRegion": REGION,
        "dynamodb": data,
    })
}

/// A value in DynamoDB's JSON, of the types that items of ours have.
fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::L(items) => json!({ "L": items.iter().map(attribute).collect::<Vec<_>>() }),
        AttributeValue::M(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), attribute(value)));
            json!({ "M": members.collect::<Map<_, _>>() })
        }
        _ => json!({ "NULL": true }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_lists_what_a_record_may_have() {
        let source = Template::load().unwrap().stream_sources().pop().unwrap();
        let record = |name: &str, sk: &str| json!({ "eventName": name, "dynamodb": { "Keys": { "pk": { "S": "WS#a" }, "sk": { "S": sk } } } });
        let wanted = |record| source.patterns.iter().any(|pattern| matches(pattern, &record));
        assert!(wanted(record("INSERT", "AT#2025")));
        assert!(!wanted(record("MODIFY", "AT#2025")));
        assert!(!wanted(record("INSERT", "ID")));
        assert!(!wanted(json!({ "eventName": "INSERT" })));
    }

    #[test]
    fn an_answer_names_from_where_on_a_batch_failed() {
        let batch = ["1", "2", "3"].map(|number| json!({ "dynamodb": { "SequenceNumber": number } }));
        let failed = |ids: &[&str]| {
            let failures = ids.iter().map(|id| json!({ "itemIdentifier": id })).collect::<Vec<_>>();
            first_failed(&json!({ "batchItemFailures": failures }), &batch)
        };
        assert_eq!(failed(&[]), None);
        assert_eq!(failed(&["2"]), Some(1));
        assert_eq!(failed(&["3", "2"]), Some(1));
        assert_eq!(failed(&["4"]), Some(0));
        assert_eq!(first_failed(&Value::Null, &batch), None);
    }
}

//! Event source mappings: the queues and streams from which Lambda feeds functions.

use std::time::Duration;

use yaml_serde::{Mapping, Value};

use super::yaml::{at, list, strings, target};

/// A queue whose messages a function gets in batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSource {
    /// The name of the function.
    pub function: String,
    /// Time for one invocation of the function.
    pub timeout: Duration,
    /// The queue's logical id.
    pub queue: String,
    /// The most messages of a batch.
    pub batch_size: usize,
    /// How long a batch is gathered.
    pub window: Duration,
    /// Whether the function's answer names the messages that failed. Otherwise all of them fail or none.
    pub reports_failures: bool,
    /// How long a received message stays hidden from other receivers.
    pub visibility: Duration,
    /// How often a message is received before it goes to `dead_letters`.
    pub max_receives: u64,
    /// The logical id of the dead-letter queue.
    pub dead_letters: String,
}

/// A table's stream, whose records a function gets in batches.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSource {
    /// The name of the function.
    pub function: String,
    /// Time for one invocation of the function.
    pub timeout: Duration,
    /// The table's logical id.
    pub table: String,
    /// The most records of a batch.
    pub batch_size: usize,
    /// How often a failed batch is retried.
    pub max_retries: u32,
    /// Whether a failed batch is halved before it is retried.
    pub bisects: bool,
    /// Whether the function's answer names the first record that failed. Otherwise all of them fail or none.
    pub reports_failures: bool,
    /// Patterns in EventBridge's language. The function gets the records that match any of them, or all records when
    /// there is no pattern.
    pub patterns: Vec<serde_json::Value>,
}

/// The resources that a mapping refers to, and the defaults of functions.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) resources: &'a Mapping,
    pub(super) globals: &'a Value,
}

impl QueueSource {
    /// Reads the properties of a mapping. Returns `None` when it is no mapping of a queue, or lacks a part.
    pub(super) fn read(scope: Scope<'_>, mapping: &Value) -> Option<Self> {
        let queue_id = target(mapping.get("EventSourceArn")?)?;
        let queue = scope.resources.get(queue_id)?.get("Properties")?;
        let redrive = queue.get("RedrivePolicy")?;
        let (function, timeout) = scope.fed_function(mapping)?;
        let seconds = |value: &Value, name| value.get(name)?.as_u64().map(Duration::from_secs);
        Some(Self {
            function,
            timeout,
            queue: queue_id.to_owned(),
            batch_size: mapping.get("BatchSize")?.as_u64()?.try_into().ok()?,
            window: seconds(mapping, "MaximumBatchingWindowInSeconds").unwrap_or_default(),
            reports_failures: reports_failures(mapping),
            visibility: seconds(queue, "VisibilityTimeout")?,
            max_receives: redrive.get("maxReceiveCount")?.as_u64()?,
            dead_letters: target(redrive.get("deadLetterTargetArn")?)?.to_owned(),
        })
    }
}

impl StreamSource {
    /// Reads the properties of a mapping. Returns `None` when it is no mapping of a stream, or lacks a part.
    pub(super) fn read(scope: Scope<'_>, mapping: &Value) -> Option<Self> {
        let source = mapping.get("EventSourceArn")?;
        let is_stream = matches!(source, Value::Tagged(tagged)
            if tagged.value.as_str().is_some_and(|attribute| attribute.ends_with(".StreamArn")));
        let (function, timeout) = scope.fed_function(mapping)?;
        let patterns = list(at(mapping, &["FilterCriteria", "Filters"]));
        let pattern = |filter: &Value| serde_json::from_str(filter.get("Pattern")?.as_str()?).ok();
        is_stream.then_some(Self {
            function,
            timeout,
            table: target(source)?.to_owned(),
            batch_size: mapping.get("BatchSize")?.as_u64()?.try_into().ok()?,
            max_retries: mapping.get("MaximumRetryAttempts")?.as_u64()?.try_into().ok()?,
            bisects: mapping.get("BisectBatchOnFunctionError")?.as_bool()?,
            reports_failures: reports_failures(mapping),
            patterns: patterns.map(pattern).collect::<Option<_>>()?,
        })
    }
}

impl Scope<'_> {
    /// The name of the function that a mapping feeds, and the time for one invocation.
    fn fed_function(self, mapping: &Value) -> Option<(String, Duration)> {
        let logical_id = target(mapping.get("FunctionName")?)?;
        let function = self.resources.get(logical_id)?;
        let timeout = at(function, &["Properties", "Timeout"]).or_else(|| self.globals.get("Timeout"))?;
        Some((function_name(logical_id), Duration::from_secs(timeout.as_u64()?)))
    }
}

/// The name of the function with this logical id: `record-http` of `RecordHttpFunction`.
pub(super) fn function_name(logical_id: &str) -> String {
    let words = logical_id.strip_suffix("Function").unwrap_or(logical_id);
    let mut name = String::with_capacity(words.len() + 4);
    for (index, letter) in words.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

fn reports_failures(mapping: &Value) -> bool {
    strings(mapping, "FunctionResponseTypes").iter().any(|kind| kind == "ReportBatchItemFailures")
}

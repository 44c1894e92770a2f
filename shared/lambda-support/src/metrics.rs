//! Metrics: lines of the log from which CloudWatch makes them.

use std::io::Write as _;

use domain::time::Timestamp;
use serde_json::{Map, Value, json};

/// The CloudWatch namespace of the metrics.
const NAMESPACE: &str = "ActivityLog";

/// A line of the log with metrics.
#[derive(Debug, Clone)]
pub struct MetricLine {
    /// Its level, as CloudWatch writes it: `INFO` or `ERROR`.
    pub level: &'static str,
    /// The message.
    pub message: &'static str,
    /// The dimensions of the metrics besides the function: names and values.
    pub dimensions: Vec<(&'static str, &'static str)>,
    /// The metrics: names and counts.
    pub counts: Vec<(&'static str, u64)>,
    /// The line's other fields.
    pub fields: Map<String, Value>,
}

impl MetricLine {
    /// The line of `function` at `now`, in CloudWatch's embedded metric format, version 0:
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
    pub fn to_json(&self, function: &str, now: Timestamp) -> Value {
        let dimensions: Vec<_> =
            std::iter::once(("FunctionName", function)).chain(self.dimensions.iter().copied()).collect();
        let names: Vec<_> = dimensions.iter().map(|(name, _)| *name).collect();
        let metrics: Vec<_> =
            self.counts.iter().map(|(name, _)| json!({ "Name": name, "Unit": "Count" })).collect();
        let mut line = self.fields.clone();
        let mut add = |name: &str, value: Value| line.insert(name.to_owned(), value);
        add("timestamp", now.utc().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into());
        add("level", self.level.into());
        add("message", self.message.into());
        for (name, value) in dimensions {
            add(name, value.into());
        }
        for &(name, count) in &self.counts {
            add(name, count.into());
        }
        let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [names], "Metrics": metrics });
        let metadata = json!({ "Timestamp": now.utc().timestamp_millis(), "CloudWatchMetrics": [directive] });
        add("_aws", metadata);
        Value::Object(line)
    }

    /// Writes the line of this function to standard output, which Lambda hands to CloudWatch.
    pub fn write(&self, now: Timestamp) {
        let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
        // The reported work is done, so a line that cannot be written is no reason to fail.
        writeln!(std::io::stdout().lock(), "{}", self.to_json(&function, now)).ok();
    }
}

//! The summary of an invocation: a line of the log, from which CloudWatch also makes metrics.

use std::io::Write as _;
use std::time::Duration;

use chrono::SecondsFormat;
use domain::provenance::Source;
use domain::time::Clock;
use domain::{Error, Result};
use recording::WriteOutcome;
use serde_json::{Value, json};

/// Takes the summary of each invocation.
pub type Sink = Box<dyn Fn(&Summary) + Send + Sync>;

/// The CloudWatch namespace of the metrics.
const NAMESPACE: &str = "ActivityLog";

/// The results of one invocation's events. Each event is counted once, under one of the first five counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Their way in.
    pub source: Source,
    /// The invocation's request id.
    pub request_id: String,
    /// Events that are new in the log.
    pub recorded: usize,
    /// Events that were there already.
    pub duplicates: usize,
    /// Events whose ids are taken by activities with other content.
    pub conflicts: usize,
    /// Events that are malformed.
    pub rejected: usize,
    /// Events that may not be recorded, because the table was busy or unavailable until the time was up.
    pub failed: usize,
    /// How often a request was retried.
    pub retries: u32,
    /// How long recording took.
    pub took: Duration,
}

impl Summary {
    pub(crate) fn of(
        source: Source,
        request_id: &str,
        results: &[Result<WriteOutcome>],
        retries: u32,
        took: Duration,
    ) -> Self {
        let request_id = request_id.to_owned();
        let mut summary = Self {
            source,
            request_id,
            recorded: 0,
            duplicates: 0,
            conflicts: 0,
            rejected: 0,
            failed: 0,
            retries,
            took,
        };
        for result in results {
            let count = match result {
                Ok(WriteOutcome::New(_)) => &mut summary.recorded,
                Ok(WriteOutcome::Repeat(_)) => &mut summary.duplicates,
                Err(Error::Conflict { .. }) => &mut summary.conflicts,
                Err(error) if error.is_ours() => &mut summary.failed,
                Err(_) => &mut summary.rejected,
            };
            *count += 1;
        }
        summary
    }

    fn counts(&self) -> [(&'static str, u64); 6] {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        [
            ("Recorded", count(self.recorded)),
            ("Duplicates", count(self.duplicates)),
            ("Conflicts", count(self.conflicts)),
            ("Rejected", count(self.rejected)),
            ("Failed", count(self.failed)),
            ("Retries", u64::from(self.retries)),
        ]
    }

    /// The line, in CloudWatch's embedded metric format, version 0:
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
    pub fn line(&self, function: &str, clock: &Clock) -> Value {
        let now = clock().utc();
        let counts = self.counts();
        let metrics = counts.map(|(name, _)| json!({ "Name": name, "Unit": "Count" }));
        let mut line = json!({
            "timestamp": now.to_rfc3339_opts(SecondsFormat::Micros, true),
            "level": "INFO",
            "message": "recorded events",
            "requestId": self.request_id,
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "FunctionName": function,
            "Source": self.source.as_str(),
            "_aws": {
                "Timestamp": now.timestamp_millis(),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE, "Dimensions": [["FunctionName", "Source"]], "Metrics": metrics
                }]
            }
        });
        for (name, count) in counts {
            line[name] = count.into();
        }
        line
    }
}

/// Writes the lines to standard output, which Lambda hands to CloudWatch.
pub fn to_stdout(clock: Clock) -> Sink {
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    Box::new(move |summary| {
        // The events are recorded, so a line that cannot be written is no reason to fail.
        writeln!(std::io::stdout().lock(), "{}", summary.line(&function, &clock)).ok();
    })
}

//! Activities and id items that were overwritten or deleted, which the project's own functions never do.

use domain::time::Clock;
use lambda_support::MetricLine;
use serde_json::{Map, Value};

/// Takes each alteration.
pub type AlterationSink = Box<dyn Fn(&Alteration) + Send + Sync>;

/// An activity or an id item that was overwritten or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alteration {
    /// The stream's word for what was done: `MODIFY` or `REMOVE`.
    pub event_name: String,
    /// The item's partition key.
    pub pk: String,
    /// The item's sort key.
    pub sk: String,
    /// The sequence number of the stream's record.
    pub sequence_number: String,
}

impl Alteration {
    /// The line of the log for it, with its metric.
    pub fn metrics(&self) -> MetricLine {
        let fields = [
            ("eventName", &self.event_name),
            ("pk", &self.pk),
            ("sk", &self.sk),
            ("sequenceNumber", &self.sequence_number),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), Value::from(value.clone())));
        MetricLine {
            level: "ERROR",
            message: "item of the log was overwritten or deleted",
            dimensions: Vec::new(),
            counts: vec![("AlteredItems", 1)],
            fields: Map::from_iter(fields),
        }
    }
}

/// Writes alterations to standard output, as lines of the log from which CloudWatch also makes a metric.
pub fn to_stdout(clock: Clock) -> AlterationSink {
    Box::new(move |alteration| alteration.metrics().write(clock()))
}

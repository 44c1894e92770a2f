//! The summary of an invocation: a line of the log, from which CloudWatch also makes metrics.

use std::time::Duration;

use domain::error::Missing;
use domain::time::Clock;
use domain::{Error, Result};
use lambda_support::MetricLine;
use recording::WriteOutcome;
use serde_json::{Map, Value};

/// Takes the summary of each invocation.
pub type Sink = Box<dyn Fn(&Summary) + Send + Sync>;

/// The results of one invocation's events. Each event is counted once, under one of the first six counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The name of their way in, as the environment has it.
    pub source: &'static str,
    /// The invocation's request id.
    pub request_id: String,
    /// Events that are new in the log.
    pub recorded: usize,
    /// Events that were there already.
    pub duplicates: usize,
    /// Events whose ids are taken by activities with other content.
    pub conflicts: usize,
    /// Events that are malformed, or may not be recorded.
    pub rejected: usize,
    /// Events of workspaces that are not known, which are parked for a while; `None` on the ways in that park nothing, where
    /// such events are rejected.
    pub parked: Option<usize>,
    /// Events that may not be recorded, because the table was busy or unavailable until the time was up.
    pub failed: usize,
    /// Events among them that are new in the log and had no effect on workspaces and members, because something else holds.
    pub superseded: usize,
    /// Conflicts among them with an activity that another principal recorded.
    pub ids_taken: usize,
    /// How often a request was retried.
    pub retries: u32,
    /// How long recording took.
    pub took: Duration,
}

impl Summary {
    pub(crate) fn of(
        (source, parks): (&'static str, bool),
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
            parked: parks.then_some(0),
            failed: 0,
            superseded: 0,
            ids_taken: 0,
            retries,
            took,
        };
        for result in results {
            if let Ok(WriteOutcome::New(recorded)) = result {
                summary.superseded += usize::from(recorded.superseded.is_some());
            }
            summary.ids_taken += usize::from(matches!(result, Err(Error::IdTaken { .. })));
            let count = match result {
                Ok(WriteOutcome::New(_)) => &mut summary.recorded,
                Ok(WriteOutcome::Repeat(_)) => &mut summary.duplicates,
                Err(Error::Conflict { .. } | Error::IdTaken { .. }) => &mut summary.conflicts,
                Err(error) if error.is_ours() => &mut summary.failed,
                Err(Error::NotFound(Missing::RecordedWorkspace)) => {
                    summary.parked.as_mut().unwrap_or(&mut summary.rejected)
                }
                Err(_) => &mut summary.rejected,
            };
            *count += 1;
        }
        summary
    }

    fn metrics(&self) -> MetricLine {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let milliseconds = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        let mut counts = vec![
            ("Recorded", count(self.recorded)),
            ("Duplicates", count(self.duplicates)),
            ("Conflicts", count(self.conflicts)),
            ("Rejected", count(self.rejected)),
            ("Failed", count(self.failed)),
            ("Superseded", count(self.superseded)),
            ("IdsTaken", count(self.ids_taken)),
            ("Retries", u64::from(self.retries)),
        ];
        counts.extend(self.parked.map(|parked| ("Parked", count(parked))));
        MetricLine {
            level: "INFO",
            message: "recorded events",
            dimensions: vec![("Source", self.source)],
            counts,
            fields: Map::from_iter([
                ("requestId".to_owned(), self.request_id.clone().into()),
                ("milliseconds".to_owned(), milliseconds.into()),
            ]),
        }
    }

    /// The line of `function`.
    pub fn line(&self, function: &str, clock: &Clock) -> Value {
        self.metrics().to_json(function, clock())
    }
}

/// Writes the lines to standard output, which Lambda hands to CloudWatch.
pub fn to_stdout(clock: Clock) -> Sink {
    Box::new(move |summary| summary.metrics().write(clock()))
}

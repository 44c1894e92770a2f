//! The functions behind the routes: the same handlers that Lambda runs.

use lambda_http::{Request, Response};
use record_activity::{App, Sink, Summary};
use shared::store::Store;
use shared::time::Clock;

/// A function that serves HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    ListWorkspace,
    ListIssue,
    Record,
}

impl Function {
    /// The function with this crate.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "list-workspace-activity" => Some(Self::ListWorkspace),
            "list-issue-activity" => Some(Self::ListIssue),
            "record-activity" => Some(Self::Record),
            _ => None,
        }
    }
}

/// The functions, each with what it keeps from one invocation to the next.
pub(crate) struct Functions {
    store: Store,
    recording: App,
}

impl Functions {
    pub(crate) fn new(store: Store, clock: Clock, jitter: fastrand::Rng) -> Self {
        Self { recording: App::new(store.clone(), clock, jitter, log()), store }
    }

    /// Answers one invocation.
    pub(crate) async fn answer(&self, function: Function, request: Request) -> Response<String> {
        let Ok(response) = match function {
            Function::ListWorkspace => list_workspace_activity::handle(&self.store, request).await,
            Function::ListIssue => list_issue_activity::handle(&self.store, request).await,
            Function::Record => record_activity::handle(&self.recording, request).await,
        };
        response
    }
}

/// A line of the log for each invocation that records.
fn log() -> Sink {
    Box::new(|summary: &Summary| {
        let Summary { source, recorded, duplicates, conflicts, rejected, failed, retries, .. } = summary;
        let source = source.as_str();
        tracing::info!(source, recorded, duplicates, conflicts, rejected, failed, retries, "events");
    })
}

//! The functions behind the routes: the same handlers that Lambda runs.

use std::sync::Arc;
use std::time::Duration;

use lambda_http::lambda_runtime::Diagnostic;
use lambda_http::{Context, LambdaEvent, Request, Response};
use live::Teller;
use record_activity::{App, Sink, Summary};
use serde_json::{Value, json};
use shared::Error;
use subscriptions::Keys;
use tokio::sync::Notify;

use crate::invocation;

/// A function of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    ListWorkspace,
    ListIssue,
    Record,
    Graphql,
    Subscriptions,
    Broadcast,
}

impl Function {
    /// The function with this crate.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "list-workspace-activity" => Some(Self::ListWorkspace),
            "list-issue-activity" => Some(Self::ListIssue),
            "record-activity" => Some(Self::Record),
            "graphql" => Some(Self::Graphql),
            "subscriptions" => Some(Self::Subscriptions),
            "broadcast" => Some(Self::Broadcast),
            _ => None,
        }
    }
}

/// An invocation that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    error_type: String,
    error_message: String,
}

impl Failure {
    fn new(error_type: &str, error: impl std::fmt::Display) -> Self {
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }

    /// What Lambda shows to the caller.
    pub(crate) fn payload(&self) -> Value {
        json!({ "errorType": self.error_type, "errorMessage": self.error_message })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error_type, self.error_message)
    }
}

/// The functions, each with what it keeps from one invocation to the next.
pub(crate) struct Functions {
    teller: Teller,
    subscriptions: subscriptions::App,
    recording: App,
    /// Told after each invocation that records.
    pub(crate) recorded: Notify,
}

impl Functions {
    /// With what `teller` knows of tables and connections, and tokens that `keys` verify.
    pub(crate) fn new(teller: Teller, keys: Keys, jitter: fastrand::Rng) -> Self {
        let recording = App::new(teller.store.clone(), Arc::clone(&teller.clock), jitter, log());
        let subscriptions = subscriptions::App::new(teller.clone(), keys);
        Self { teller, subscriptions, recording, recorded: Notify::new() }
    }

    /// Answers one request of the API.
    pub(crate) async fn answer(&self, function: Function, request: Request) -> Response<String> {
        let Ok(response) = match function {
            Function::ListWorkspace => list_workspace_activity::handle(&self.teller.store, request).await,
            Function::ListIssue => list_issue_activity::handle(&self.teller.store, request).await,
            Function::Graphql => graphql::handle(&self.teller.graphql, request).await,
            Function::Record => {
                let response = record_activity::handle(&self.recording, request).await;
                self.recorded.notify_one();
                response
            }
            Function::Subscriptions | Function::Broadcast => {
                let no_route = async { Err(Error::internal("the function takes no requests")) };
                shell::answer(&request, no_route).await
            }
        };
        response
    }

    /// Invokes a function with a payload, JSON as Lambda would be given it, in a task of its own: neither a panic nor
    /// a caller that leaves is felt by others.
    ///
    /// # Errors
    /// What the function says, or that it crashed, or took longer than `time`.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        function: Function,
        payload: Vec<u8>,
        request_id: &str,
        time: Duration,
    ) -> Result<Value, Failure> {
        self.invoke_until(function, payload, request_id, time, time).await
    }

    /// The same, killed `after` some of its time.
    ///
    /// # Errors
    /// As of [`Functions::invoke`].
    pub(crate) async fn invoke_until(
        self: &Arc<Self>,
        function: Function,
        payload: Vec<u8>,
        request_id: &str,
        time: Duration,
        after: Duration,
    ) -> Result<Value, Failure> {
        let (functions, context) = (Arc::clone(self), invocation::context(request_id, time));
        let task = tokio::spawn(async move { functions.run(function, &payload, context).await });
        let abort = task.abort_handle();
        match tokio::time::timeout(after, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Failure::new("Runtime.ExitError", panic)),
            Err(_) => {
                abort.abort();
                Err(Failure::new("Sandbox.Timedout", format!("Task timed out after {} s", time.as_secs())))
            }
        }
    }

    async fn run(&self, function: Function, payload: &[u8], context: Context) -> Result<Value, Failure> {
        let failed = |error: Diagnostic| Failure::new(&error.error_type, error.error_message);
        match function {
            Function::Record => {
                let payload = serde_json::from_slice(payload).map_err(unreadable)?;
                let result = record_activity::invoke(&self.recording, LambdaEvent { payload, context }).await;
                self.recorded.notify_one();
                result.map_err(failed)
            }
            Function::Subscriptions => {
                let payload = serde_json::from_slice(payload).map_err(unreadable)?;
                let event = LambdaEvent { payload, context };
                let answer = subscriptions::invoke(&self.subscriptions, event).await.map_err(failed)?;
                serde_json::to_value(answer).map_err(unreadable)
            }
            Function::Broadcast => {
                let payload = serde_json::from_slice(payload).map_err(unreadable)?;
                let event = LambdaEvent { payload, context };
                let answer = broadcast::invoke(&self.teller, event).await.map_err(failed)?;
                serde_json::to_value(answer).map_err(unreadable)
            }
            // The others know nothing but requests.
            Function::ListWorkspace | Function::ListIssue | Function::Graphql => {
                let payload = serde_json::from_slice(payload).map_err(unreadable)?;
                let answer = |request| async move { Ok(self.answer(function, request).await) };
                let Ok(response) = shell::serve(LambdaEvent { payload, context }, answer).await;
                serde_json::to_value(response).map_err(unreadable)
            }
        }
    }
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::new("InvalidEvent", error)
}

/// A line of the log for each invocation that records.
fn log() -> Sink {
    Box::new(|summary: &Summary| {
        let Summary { source, recorded, duplicates, conflicts, rejected, failed, retries, .. } = summary;
        let source = source.as_str();
        tracing::info!(source, recorded, duplicates, conflicts, rejected, failed, retries, "events");
    })
}

//! The registry of Lambda functions, and their invocation. The functions run the handlers that they run in Lambda.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use broadcast::{Alteration, AlterationSink};
use domain::provenance::Source;
use futures_util::future::BoxFuture;
use lambda_http::lambda_runtime::Diagnostic;
use lambda_http::{Context, LambdaEvent, Request, Response};
use live_delivery::Dispatcher;
use record_activity::{App, Forwarded, Ingress, Principals};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use subscriptions::KeySet;
use tokio::sync::Notify;

/// The function that records what other recorders forward.
pub(crate) const RETRY: &str = "record-retry";

/// All functions. A new function is a row here and a dependency of this crate, and nothing else in it.
static FUNCTIONS: &[Function] = &[
    Function {
        name: "list-workspace-activity",
        handler: |functions, invocation| {
            let store = &functions.dispatcher.store;
            Box::pin(serve(invocation, |request| list_workspace_activity::handle(store, request)))
        },
    },
    Function {
        name: "list-issue-activity",
        handler: |functions, invocation| {
            let store = &functions.dispatcher.store;
            Box::pin(serve(invocation, |request| list_issue_activity::handle(store, request)))
        },
    },
    Function {
        name: "record-http",
        handler: |functions, invocation| record(functions, &functions.recorders.http, invocation),
    },
    Function {
        name: "record-queue",
        handler: |functions, invocation| record(functions, &functions.recorders.queue, invocation),
    },
    Function {
        name: "record-bus",
        handler: |functions, invocation| record(functions, &functions.recorders.bus, invocation),
    },
    Function {
        name: RETRY,
        handler: |functions, invocation| record(functions, &functions.recorders.retry, invocation),
    },
    Function {
        name: "record-invoke",
        handler: |functions, invocation| record(functions, &functions.recorders.invoke, invocation),
    },
    Function {
        name: "record-directory",
        handler: |functions, invocation| record(functions, &functions.recorders.directory, invocation),
    },
    Function {
        name: "graphql",
        handler: |functions, invocation| {
            let app = &functions.dispatcher.graphql;
            Box::pin(serve(invocation, |request| graphql::handle(app, request)))
        },
    },
    Function {
        name: "subscriptions",
        handler: |functions, invocation| {
            Box::pin(run(invocation, |event| subscriptions::invoke(&functions.subscriptions, event)))
        },
    },
    Function {
        name: "broadcast",
        handler: |functions, invocation| {
            Box::pin(run(invocation, |event| broadcast::invoke(&functions.broadcast, event)))
        },
    },
];

/// Time for an invocation by an API, a little less than API Gateway waits.
pub const API_TIMEOUT: Duration = Duration::from_secs(29);

/// A Lambda function.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name, which is its logical id in the template without `Function`, in lowercase with hyphens.
    name: &'static str,
    handler: Handler,
}

type Handler = for<'a> fn(&'a Functions, Invocation) -> BoxFuture<'a, Result<Value, Failure>>;

/// The state of the functions, which each keeps from one invocation to the next.
pub struct Functions {
    dispatcher: Dispatcher,
    subscriptions: subscriptions::App,
    broadcast: broadcast::App,
    recorders: Recorders,
    /// Notified after each invocation that records, so that a reader of the stream need not wait for its next poll.
    pub(crate) recorded: Notify,
}

/// The functions that record, one for each way in.
pub struct Recorders {
    http: App,
    queue: App,
    bus: App,
    retry: App,
    invoke: App,
    directory: App,
}

impl Recorders {
    /// The recorders, each made by `app` for its way in. On the queue and the bus, `directory` may change the directory.
    /// Messages that `forwarding` forwards are believed.
    pub fn new(directory: &Principals, forwarding: &Principals, mut app: impl FnMut(Ingress) -> App) -> Self {
        let forwarded = Forwarded { senders: forwarding.clone(), bus_directory: directory.clone() };
        Self {
            http: app(Ingress::new(Source::Http)),
            queue: app(Ingress::new(Source::Queue).with_directory(directory.clone())),
            bus: app(Ingress::new(Source::EventBus).with_directory(directory.clone())),
            retry: app(Ingress::of_forwarded(forwarded).with_directory(directory.clone())),
            invoke: app(Ingress::new(Source::Invoke)),
            directory: app(Ingress::new(Source::Invoke).with_directory(Principals::All)),
        }
    }
}

/// A failed invocation, as Lambda describes it to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of error.
    pub error_type: String,
    /// The cause.
    pub error_message: String,
}

/// The payload and the context of an invocation.
struct Invocation {
    payload: Vec<u8>,
    context: Context,
}

impl Function {
    /// All functions.
    pub fn all() -> impl Iterator<Item = Self> {
        FUNCTIONS.iter().copied()
    }

    /// The function with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|function| function.name == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The target of its log messages.
    pub fn log_target(self) -> String {
        self.name.replace('-', "_")
    }
}

impl Functions {
    /// Functions that read and deliver through `dispatcher`, verify the tokens of subscribers with `keys`, and record with
    /// `recorders`. Altered items of the log are logged.
    pub fn new(dispatcher: Dispatcher, keys: KeySet, recorders: Recorders) -> Self {
        let subscriptions = subscriptions::App::new(dispatcher.clone(), keys);
        let broadcast = broadcast::App::new(dispatcher.clone(), Box::new(log_alteration));
        Self { dispatcher, subscriptions, broadcast, recorders, recorded: Notify::new() }
    }

    /// The same functions, whose `broadcast` gives each altered item of the log to `alterations`.
    #[must_use]
    pub fn with_alterations(self, alterations: AlterationSink) -> Self {
        Self { broadcast: broadcast::App::new(self.dispatcher.clone(), alterations), ..self }
    }

    /// Invokes a function with a payload of JSON. The invocation runs in a task of its own, so that a panic stays there and
    /// a caller that goes away stops nothing.
    ///
    /// # Errors
    /// The function's own failure, a panic, or an invocation that takes longer than `timeout`.
    pub async fn invoke(
        self: &Arc<Self>,
        function: Function,
        payload: Vec<u8>,
        request_id: &str,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        self.invoke_and_kill(function, payload, request_id, timeout, timeout).await
    }

    /// Invokes a function in the caller's task. A caller that drops the future kills the invocation, and a panic is the
    /// caller's.
    ///
    /// # Errors
    /// The function's own failure.
    pub async fn invoke_in_place(
        &self,
        function: Function,
        payload: Vec<u8>,
        request_id: &str,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        let invocation = Invocation { payload, context: context(request_id, timeout) };
        (function.handler)(self, invocation).await
    }

    /// Invokes a function that believes to have `timeout`, and kills it after `lifetime`.
    ///
    /// # Errors
    /// As [`Functions::invoke`].
    pub(crate) async fn invoke_and_kill(
        self: &Arc<Self>,
        function: Function,
        payload: Vec<u8>,
        request_id: &str,
        timeout: Duration,
        lifetime: Duration,
    ) -> Result<Value, Failure> {
        let (functions, context) = (Arc::clone(self), context(request_id, timeout));
        let invocation = Invocation { payload, context };
        let task = tokio::spawn(async move { (function.handler)(&functions, invocation).await });
        let abort = task.abort_handle();
        match tokio::time::timeout(lifetime, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Failure::new("Runtime.ExitError", panic)),
            Err(_) => {
                abort.abort();
                let seconds = timeout.as_secs();
                Err(Failure::new("Sandbox.Timedout", format!("Task timed out after {seconds} s")))
            }
        }
    }
}

impl Failure {
    fn new(error_type: &str, error: impl std::fmt::Display) -> Self {
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }

    /// The payload that Lambda answers with.
    pub(crate) fn payload(&self) -> Value {
        json!({ "errorType": self.error_type, "errorMessage": self.error_message })
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new("InvalidEvent", error)
    }
}

impl From<Diagnostic> for Failure {
    fn from(Diagnostic { error_type, error_message }: Diagnostic) -> Self {
        Self { error_type, error_message }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error_type, self.error_message)
    }
}

/// Runs a function that records.
fn record<'a>(
    functions: &'a Functions,
    app: &'a App,
    invocation: Invocation,
) -> BoxFuture<'a, Result<Value, Failure>> {
    Box::pin(async move {
        let answer = run(invocation, |event| record_activity::invoke(app, event)).await;
        functions.recorded.notify_one();
        answer
    })
}

/// Runs a function that takes events.
async fn run<P, T, F>(
    Invocation { payload, context }: Invocation,
    handler: impl FnOnce(LambdaEvent<P>) -> F,
) -> Result<Value, Failure>
where
    P: DeserializeOwned,
    T: Serialize,
    F: Future<Output = Result<T, Diagnostic>>,
{
    let payload = serde_json::from_slice(&payload)?;
    Ok(serde_json::to_value(handler(LambdaEvent { payload, context }).await?)?)
}

/// Runs a function that takes requests of the HTTP API.
async fn serve<F>(
    Invocation { payload, context }: Invocation,
    handler: impl Fn(Request) -> F,
) -> Result<Value, Failure>
where
    F: Future<Output = Result<Response<String>, Infallible>> + Send,
{
    let payload = serde_json::from_slice(&payload)?;
    let Ok(response) = lambda_support::serve(LambdaEvent { payload, context }, handler).await;
    Ok(serde_json::to_value(response)?)
}

fn log_alteration(Alteration { event_name, pk, sk, .. }: &Alteration) {
    tracing::error!(event_name, pk, sk, "item of the log was overwritten or deleted");
}

/// The context of an invocation that may take `timeout` from now.
fn context(request_id: &str, timeout: Duration) -> Context {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut context = Context::default();
    context.request_id = request_id.to_owned();
    context.deadline = u64::try_from((now + timeout).as_millis()).unwrap_or(u64::MAX);
    context
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

    #[test]
    fn registry_has_the_functions_of_the_template() {
        let template = Template::load().unwrap();
        let mut expected: Vec<String> = template.functions().map(|(name, _)| name).collect();
        let mut registered: Vec<&str> = Function::all().map(Function::name).collect();
        expected.sort();
        registered.sort_unstable();
        assert_eq!(registered, expected);
    }
}

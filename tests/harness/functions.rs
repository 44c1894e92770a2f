//! The functions, as `local` invokes them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_apigatewaymanagement::config::{Credentials, Region};
use domain::subscription::SubscriptionBounds;
use domain::time::Clock;
use live_delivery::{Dispatcher, Sender};
use local::functions::{Failure, Function, Functions, Recorders};
use local::token::{AUDIENCE, Issuer};
use record_activity::{App, Principals, Summary};
use serde_json::{Value, json};
use store::{Connections, Store};
use subscriptions::KeySet;
use subscriptions::verify::Verifier;

use crate::{Forwards, Message, OPERATOR, RECORDER, Sockets};

/// Those who may change the directory by queue and bus: the senders of the samples that do, and of [`Message`].
pub const DIRECTORY_PRINCIPALS: &str =
    "AROAEXAMPLEACCOUNTS00,123456789012/com.example.accounts,AIDAEXAMPLE,123456789012/tracker";

/// The surroundings of a process that runs the functions.
pub(crate) struct Surroundings<'a> {
    pub(crate) store: &'a Store,
    pub(crate) clock: &'a Clock,
    /// Spreads its retries.
    pub(crate) seed: u64,
    /// Whether it records activities of unknown workspaces.
    pub(crate) allows_unknown_workspaces: bool,
    /// The queues to which its recorders forward, if they do.
    pub(crate) forwards: Option<&'a Forwards>,
    /// Where the summaries of what it records go.
    pub(crate) summaries: &'a Arc<Mutex<Vec<Summary>>>,
}

/// The functions of a process, and the dispatcher that they share. `connections` names the table beside the log's.
pub(crate) fn functions(
    surroundings: &Surroundings<'_>,
    (connections, bounds): (&str, SubscriptionBounds),
    sockets: &Sockets,
    issuer: &Issuer,
) -> (Functions, Dispatcher) {
    let &Surroundings { store, clock, seed, allows_unknown_workspaces, forwards, summaries } = surroundings;
    let dispatcher = Dispatcher {
        graphql: graphql_api::App::new(store.clone()),
        connections: Connections::beside(store, connections).with_bounds(bounds),
        store: store.clone(),
        sender: sender(sockets),
        clock: Arc::clone(clock),
    };
    let verifier = Verifier::new(issuer.url(), vec![AUDIENCE.into()], &issuer.keys());
    let mut jitter = fastrand::Rng::with_seed(seed);
    let forwarding = Principals::parse(&format!("{RECORDER},{OPERATOR}"));
    let recorders = Recorders::new(&Principals::parse(DIRECTORY_PRINCIPALS), &forwarding, |ingress| {
        let summaries = Arc::clone(summaries);
        let keep = move |summary: &Summary| summaries.lock().unwrap().push(summary.clone());
        let ingress = ingress.with_unknown_workspaces(allows_unknown_workspaces);
        App::new(ingress, store.clone(), Arc::clone(clock), jitter.fork(), Box::new(keep))
            .with_forwarder(forwards.map(Forwards::forwarder))
    });
    (Functions::new(dispatcher.clone(), KeySet::fixed(verifier), recorders), dispatcher)
}

/// A sender to `sockets`, which need no network.
fn sender(sockets: &Sockets) -> Sender {
    let config = live_delivery::config("http://sockets.example/live".into())
        .http_client(sockets.clone())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"));
    let client = aws_sdk_apigatewaymanagement::Client::from_conf(config.build());
    Sender::new(client, fastrand::Rng::with_seed(6))
}

/// The function with this name.
pub(crate) fn function(name: &str) -> Function {
    Function::named(name).unwrap_or_else(|| panic!("no function {name}"))
}

/// Invokes the recorders with a batch of messages: that of the bus with the envelopes, and then that of the queue with the
/// others. Returns their responses as one.
pub(crate) async fn deliver(functions: &Functions, messages: &[Message], timeout: Duration) -> Value {
    let (envelopes, events): (Vec<Message>, Vec<Message>) =
        messages.iter().cloned().partition(|message| message.body.contains("\"detail-type\""));
    let mut failures = Vec::new();
    for (recorder, batch) in [("record-bus", envelopes), ("record-queue", events)] {
        if !batch.is_empty() {
            let response = deliver_to(functions, recorder, &batch, timeout).await;
            failures.extend(response["batchItemFailures"].as_array().unwrap().iter().cloned());
        }
    }
    json!({ "batchItemFailures": failures })
}

/// Invokes the recorder of this name with a batch of messages, and returns its response.
pub(crate) async fn deliver_to(
    functions: &Functions,
    recorder: &str,
    batch: &[Message],
    timeout: Duration,
) -> Value {
    let payload = Message::batch(batch).to_string().into_bytes();
    functions.invoke_in_place(function(recorder), payload, "invocation-1", timeout).await.unwrap()
}

/// The outcome of an invocation, in the words of the sample events' names, and the response.
pub(crate) fn outcome(result: Result<Value, Failure>) -> (String, Value) {
    let response = match result {
        Ok(response) => response,
        Err(failure) => return ("error".into(), json!({ "error": failure.error_message })),
    };
    let graphql_code = || {
        let body: Value = serde_json::from_str(response["body"].as_str()?).ok()?;
        let code = body.pointer("/errors/0/extensions/code")?.as_str()?;
        Some(code.to_lowercase().replace('_', "-"))
    };
    let outcome = match (response.get("statusCode"), response["batchItemFailures"].as_array()) {
        (Some(status), _) => graphql_code().unwrap_or_else(|| status.to_string()),
        (None, Some(failures)) => format!("failed-{}", failures.len()),
        (None, None) => "ok".into(),
    };
    (outcome, response)
}

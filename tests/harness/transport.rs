//! The transport under the SDK: it counts requests and capacity, and fails on demand.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::RuntimeComponents;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

/// Ways in which a request can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing fails.
    None,
    /// The connection breaks before the request arrives.
    Unsent,
    /// The request takes effect and its answer is lost.
    LostAnswer,
    /// The table refuses for capacity.
    Throttled,
    /// Another transaction is at work on the same items.
    Conflict,
    /// The service fails inside.
    ServerError,
    /// The table leaves all keys of a batch unread.
    Unprocessed,
}

impl Fault {
    /// All that can befall a write.
    pub const ALL: [Self; 5] =
        [Self::Unsent, Self::LostAnswer, Self::Throttled, Self::Conflict, Self::ServerError];
}

/// What was sent, and what DynamoDB says it cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metered {
    /// Requests that reached the table, by operation.
    pub requests: BTreeMap<String, usize>,
    /// Read units, or write units, it reported.
    pub units: f64,
    /// The same by operation.
    pub units_of: BTreeMap<String, f64>,
    /// Operations with the index they read, empty for the table itself.
    pub touched: BTreeSet<(String, String)>,
}

impl Metered {
    /// Requests of all operations.
    pub fn total(&self) -> usize {
        self.requests.values().sum()
    }
}

#[derive(Debug, Default)]
struct State {
    metered: Metered,
    /// What befalls the next writes, in order.
    script: VecDeque<Fault>,
    /// What befalls the next reads of an operation, in order.
    reads: HashMap<String, VecDeque<Fault>>,
    /// What befalls the writes after that: one in so many fails, at random.
    random: Option<(fastrand::Rng, u32)>,
}

/// The transport; clones share their counts and their faults.
#[derive(Debug, Clone)]
pub struct Transport {
    inner: SharedHttpClient,
    state: Arc<Mutex<State>>,
}

impl Transport {
    /// Plain HTTP to a local engine.
    pub fn new() -> Self {
        Self { inner: aws_smithy_http_client::Builder::new().build_http(), state: Arc::default() }
    }

    /// What was counted since the last call.
    pub fn take(&self) -> Metered {
        std::mem::take(&mut self.state.lock().unwrap().metered)
    }

    /// Lets these befall the next writes, in order.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().script.extend(faults);
    }

    /// Lets these befall the next reads by `operation`, in order.
    pub fn script_reads(&self, operation: &str, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().reads.entry(operation.into()).or_default().extend(faults);
    }

    /// Forgets the faults scripted so far.
    pub fn clear(&self) {
        let mut state = self.state.lock().unwrap();
        state.script.clear();
        state.reads.clear();
    }

    /// Lets one write in `one_in` fail from now on, in ways that `seed` decides; 0 ends it.
    pub fn fail_randomly(&self, seed: u64, one_in: u32) {
        self.state.lock().unwrap().random = (one_in > 0).then(|| (fastrand::Rng::with_seed(seed), one_in));
    }

    fn next_fault(&self, operation: &str) -> Fault {
        let mut state = self.state.lock().unwrap();
        if operation != "TransactWriteItems" {
            let script = state.reads.get_mut(operation).and_then(VecDeque::pop_front);
            return script.unwrap_or(Fault::None);
        }
        if let Some(fault) = state.script.pop_front() {
            return fault;
        }
        let Some((random, one_in)) = &mut state.random else { return Fault::None };
        let fails = random.u32(..*one_in) == 0;
        if fails { Fault::ALL[random.usize(..Fault::ALL.len())] } else { Fault::None }
    }

    fn count(&self, operation: &str, sent: &Value, body: &Value) {
        let mut state = self.state.lock().unwrap();
        let index = sent["IndexName"].as_str().unwrap_or_default();
        state.metered.touched.insert((operation.into(), index.into()));
        *state.metered.requests.entry(operation.into()).or_default() += 1;
        let consumed = match &body["ConsumedCapacity"] {
            Value::Array(tables) => tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum(),
            table => table["CapacityUnits"].as_f64().unwrap_or_default(),
        };
        state.metered.units += consumed;
        *state.metered.units_of.entry(operation.into()).or_default() += consumed;
    }
}

impl Default for Transport {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpClient for Transport {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, transport: self.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    transport: Transport,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (inner, transport) = (self.inner.clone(), self.transport.clone());
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            let fault = transport.next_fault(&operation);
            let sent: Value =
                serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
            match fault {
                Fault::None | Fault::LostAnswer => {}
                Fault::Unsent => return Err(ConnectorError::io("connection reset before sending".into())),
                Fault::Throttled => return answer(400, "ThrottlingException", json!({})),
                Fault::ServerError => return answer(500, "InternalServerError", json!({})),
                Fault::Unprocessed => {
                    let answer = json!({ "Responses": {}, "UnprocessedKeys": sent["RequestItems"] });
                    let ok = 200.try_into().map_err(|_| ConnectorError::other("no status".into(), None))?;
                    return Ok(HttpResponse::new(ok, SdkBody::from(answer.to_string())));
                }
                Fault::Conflict => {
                    let items = sent["TransactItems"].as_array().map_or(1, Vec::len);
                    let mut reasons = vec![json!({ "Code": "None" }); items];
                    reasons[items / 2] = json!({ "Code": "TransactionConflict" });
                    let reasons = json!({ "CancellationReasons": reasons });
                    return answer(400, "TransactionCanceledException", reasons);
                }
            }
            let response = inner.call(request).await?;
            let status = response.status();
            let headers = response.headers().clone();
            let body = response.into_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
            transport.count(&operation, &sent, &serde_json::from_slice(&body).unwrap_or_default());
            if fault == Fault::LostAnswer {
                tokio::time::sleep(Duration::from_millis(1)).await;
                return Err(ConnectorError::io("connection reset before the answer".into()));
            }
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}

fn answer(status: u16, code: &str, mut body: Value) -> Result<HttpResponse, ConnectorError> {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{code}"));
    body["message"] = json!("injected");
    let status = status.try_into().map_err(|_| ConnectorError::other("no status".into(), None))?;
    Ok(HttpResponse::new(status, SdkBody::from(body.to_string())))
}

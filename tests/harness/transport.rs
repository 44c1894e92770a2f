//! The HTTP transport of the SDK. It counts requests and capacity, and fails on demand.

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
use tokio::sync::{Notify, Semaphore};

/// The way in which a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing fails.
    None,
    /// The connection breaks before the request reaches the table.
    Unsent,
    /// The request takes effect, and its response is lost.
    LostResponse,
    /// The request times out without effect.
    TimedOut,
    /// The request takes effect, and times out.
    TimedOutResponse,
    /// The table throttles the request.
    Throttled,
    /// The transaction conflicts with another.
    Conflict,
    /// The table responds with status 500.
    ServerError,
    /// The table processes no key of a batch.
    Unprocessed,
    /// Nothing fails. The table gets the request only when all others were answered and no more of them come.
    Late,
    /// The process dies before it sends the request; see [`Transport::killed`].
    Killed,
    /// The process dies after the request took effect.
    KilledResponse,
}

impl Fault {
    /// Every fault of a write from which the same process recovers.
    pub const ALL: [Self; 7] = [
        Self::Unsent,
        Self::LostResponse,
        Self::TimedOut,
        Self::TimedOutResponse,
        Self::Throttled,
        Self::Conflict,
        Self::ServerError,
    ];
    /// Every fault that kills the process.
    pub const KILLS: [Self; 2] = [Self::Killed, Self::KilledResponse];

    /// The fault in the form that `operation` can have, because only transactions conflict.
    fn of(self, operation: &str) -> Self {
        match self {
            Self::Conflict if operation != WRITE => Self::Throttled,
            other => other,
        }
    }
}

const WRITE: &str = "TransactWriteItems";

/// The time without a new request after which no more are expected.
const QUIET: Duration = Duration::from_millis(20);

/// The requests that were sent, with the capacity that DynamoDB reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metered {
    /// Requests that were sent, whether or not anybody waited for their responses.
    pub sent: usize,
    /// Requests that reached the table, by operation.
    pub requests: BTreeMap<String, usize>,
    /// Read units and write units.
    pub units: f64,
    /// Units by operation.
    pub units_of: BTreeMap<String, f64>,
    /// Operations with their table and index. The index is empty for the table itself.
    pub touched: BTreeSet<(String, String, String)>,
}

impl Metered {
    /// The number of requests of all operations.
    pub fn total(&self) -> usize {
        self.requests.values().sum()
    }
}

#[derive(Debug, Default)]
struct State {
    metered: Metered,
    /// Faults of the next transactions, in order.
    transactions: VecDeque<Fault>,
    /// Faults of the next requests of other operations, in order.
    operations: HashMap<String, VecDeque<Fault>>,
    /// The fault of one request, after this many others.
    nth: Option<(usize, Fault)>,
    /// Random faults of all further requests.
    random: Option<RandomFaults>,
    /// The requests that were ever sent, without late ones that still wait.
    begun: usize,
    /// Those of them that were answered.
    answered: usize,
    /// The writes of transactions, if they are kept: the kind, such as `Put`, and the partition key.
    writes: Option<BTreeSet<(String, String)>>,
}

/// Random faults.
#[derive(Debug)]
struct RandomFaults {
    random: fastrand::Rng,
    /// One request in this many fails.
    one_in: u32,
    /// Whether some faults kill the process.
    kills: bool,
    /// The text of a part of the table that is unavailable, for this many more requests.
    outage: (u32, Vec<u8>),
}

impl RandomFaults {
    fn next(&mut self, request: &[u8]) -> Fault {
        let (left, part) = &self.outage;
        if *left > 0 && request.windows(part.len()).any(|window| window == part) {
            self.outage.0 -= 1;
            return Fault::ServerError;
        }
        if self.random.u32(..self.one_in) > 0 {
            return Fault::None;
        }
        if self.kills && self.random.u8(..8) == 0 {
            return Fault::KILLS[self.random.usize(..Fault::KILLS.len())];
        }
        if self.random.u8(..8) == 0 {
            // The first item's key names the workspace of most transactions.
            let request = json(request);
            let key = request.pointer("/TransactItems/0/Put/Item/pk/S").and_then(Value::as_str);
            self.outage = (self.random.u32(1..12), key.unwrap_or("pk").into());
        }
        Fault::ALL[self.random.usize(..Fault::ALL.len())]
    }
}

/// The transport. Clones share counts and faults.
#[derive(Debug, Clone)]
pub struct Transport {
    inner: SharedHttpClient,
    state: Arc<Mutex<State>>,
    kill: Arc<Notify>,
    /// One permit for each request in flight.
    permits: Arc<Semaphore>,
}

impl Transport {
    /// A transport over plain HTTP, for a local engine.
    pub fn new() -> Self {
        let inner = aws_smithy_http_client::Builder::new().build_http();
        let permits = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { inner, state: Arc::default(), kill: Arc::default(), permits }
    }

    /// The same transport with at most `requests` in flight. The others wait here.
    ///
    /// A local engine serves one request at a time, also requests whose senders timed out and sent them again. Without
    /// the limit, the engine would serve only such requests in the end. DynamoDB has no such queue.
    #[must_use]
    pub fn with_concurrency(self, requests: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(requests)), ..self }
    }

    /// The counts since the last call.
    pub fn take_metered(&self) -> Metered {
        std::mem::take(&mut self.state.lock().unwrap().metered)
    }

    /// Keeps the writes of transactions from now on.
    pub fn keep_writes(&self) {
        self.state.lock().unwrap().writes = Some(BTreeSet::new());
    }

    /// The kept writes: the kind, such as `Put`, and the item's partition key.
    pub fn writes(&self) -> BTreeSet<(String, String)> {
        self.state.lock().unwrap().writes.clone().unwrap_or_default()
    }

    /// Makes the next transactions fail with these faults, in order.
    pub fn fail_transactions(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().transactions.extend(faults);
    }

    /// Makes the next requests of `operation`, other than a transaction, fail with these faults, in order.
    pub fn fail_operation(&self, operation: &str, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().operations.entry(operation.into()).or_default().extend(faults);
    }

    /// Makes one request of any operation fail, after `earlier` others.
    pub fn fail_nth(&self, earlier: usize, fault: Fault) {
        self.state.lock().unwrap().nth = Some((earlier, fault));
    }

    /// Whether the request that [`Transport::fail_nth`] names has not been sent yet.
    pub fn is_nth_pending(&self) -> bool {
        self.state.lock().unwrap().nth.is_some()
    }

    /// Removes all faults but the random ones.
    pub fn clear_faults(&self) {
        let mut state = self.state.lock().unwrap();
        state.transactions.clear();
        state.operations.clear();
        state.nth = None;
    }

    /// Makes one request in `one_in` fail from now on, with faults that `seed` decides; 0 ends the faults. With
    /// `kills`, some faults kill the process.
    pub fn fail_randomly(&self, seed: u64, one_in: u32, kills: bool) {
        let random = fastrand::Rng::with_seed(seed);
        let faults = RandomFaults { random, one_in, kills, outage: (0, Vec::new()) };
        self.state.lock().unwrap().random = (one_in > 0).then_some(faults);
    }

    /// Completes once a fault has killed the process. The caller must then drop the future that the process runs, and
    /// never use the process again.
    pub async fn killed(&self) {
        self.kill.notified().await;
    }

    fn next_fault(&self, operation: &str, request: &[u8]) -> Fault {
        let mut state = self.state.lock().unwrap();
        if let Some((earlier, fault)) = state.nth.take() {
            if earlier == 0 {
                return fault;
            }
            state.nth = Some((earlier - 1, fault));
        }
        let scripted = match state.operations.get_mut(operation) {
            Some(faults) => faults.pop_front(),
            None if operation == WRITE => state.transactions.pop_front(),
            None => None,
        };
        scripted.or_else(|| Some(state.random.as_mut()?.next(request))).unwrap_or(Fault::None)
    }

    /// Never returns, because the process is dead.
    async fn die(&self) -> Result<HttpResponse, ConnectorError> {
        self.kill.notify_one();
        std::future::pending().await
    }

    /// Completes when all requests were answered, and no more of them come.
    async fn idle(&self) {
        let mut seen = None;
        loop {
            let now = {
                let state = self.state.lock().unwrap();
                (state.begun == state.answered).then_some(state.begun)
            };
            if now.is_some() && now == seen {
                return;
            }
            seen = now;
            tokio::time::sleep(QUIET).await;
        }
    }

    fn count(&self, operation: &str, sent: &[u8], body: &Value) {
        // A transaction is parsed only if its writes are kept, because that takes longer than to send it. It names no index.
        let checks = operation == WRITE
            && std::str::from_utf8(sent).is_ok_and(|sent| sent.contains("\"ConditionCheck\""));
        let request = if operation == WRITE { Value::Null } else { json(sent) };
        let mut state = self.state.lock().unwrap();
        if let Some(writes) = state.writes.as_mut().filter(|_| operation == WRITE) {
            writes.extend(transaction_writes(sent));
        }
        let index = request["IndexName"].as_str().unwrap_or_default();
        let tables = match &body["ConsumedCapacity"] {
            Value::Array(tables) => tables.iter().map(|table| &table["TableName"]).collect(),
            table => vec![&table["TableName"]],
        };
        for table in tables {
            let table = table.as_str().or_else(|| request["TableName"].as_str()).unwrap_or_default();
            state.metered.touched.insert((operation.into(), table.into(), index.into()));
            if checks {
                state.metered.touched.insert(("ConditionCheckItem".into(), table.into(), index.into()));
            }
        }
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
            let sent = request.body().bytes().unwrap_or_default().to_vec();
            transport.state.lock().unwrap().metered.sent += 1;
            let fault = transport.next_fault(&operation, &sent).of(&operation);
            match fault {
                Fault::None | Fault::LostResponse | Fault::TimedOutResponse | Fault::KilledResponse => {}
                Fault::Late => transport.idle().await,
                Fault::Killed => return transport.die().await,
                Fault::TimedOut => return Err(ConnectorError::timeout("no response in time".into())),
                Fault::Unsent => return Err(ConnectorError::io("connection reset before sending".into())),
                Fault::Throttled => return error_response(400, "ThrottlingException", json!({})),
                Fault::ServerError => return error_response(500, "InternalServerError", json!({})),
                Fault::Unprocessed => {
                    let body = json!({ "Responses": {}, "UnprocessedKeys": json(&sent)["RequestItems"] });
                    let ok = 200.try_into().map_err(|_| ConnectorError::other("no status".into(), None))?;
                    return Ok(HttpResponse::new(ok, SdkBody::from(body.to_string())));
                }
                Fault::Conflict => {
                    let items = json(&sent)["TransactItems"].as_array().map_or(1, Vec::len);
                    let mut reasons = vec![json!({ "Code": "None" }); items];
                    reasons[items / 2] = json!({ "Code": "TransactionConflict" });
                    let reasons = json!({ "CancellationReasons": reasons });
                    return error_response(400, "TransactionCanceledException", reasons);
                }
            }
            let _permit = transport
                .permits
                .acquire()
                .await
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            transport.state.lock().unwrap().begun += 1;
            let response = inner.call(request).await?;
            let status = response.status();
            let headers = response.headers().clone();
            let body = response.into_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
            transport.count(&operation, &sent, &json(&body));
            transport.state.lock().unwrap().answered += 1;
            match fault {
                Fault::LostResponse => {
                    return Err(ConnectorError::io("connection reset before the response".into()));
                }
                Fault::TimedOutResponse => return Err(ConnectorError::timeout("no response in time".into())),
                Fault::KilledResponse => return transport.die().await,
                _ => {}
            }
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}

/// The writes of a transaction: the kind, and the partition key.
fn transaction_writes(request: &[u8]) -> Vec<(String, String)> {
    let request = json(request);
    let items = request["TransactItems"].as_array().into_iter().flatten();
    let members = items.filter_map(Value::as_object).flatten();
    let write = |(kind, write): (&String, &Value)| {
        let place = if kind == "Put" { "/Item/pk/S" } else { "/Key/pk/S" };
        (kind.clone(), write.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned())
    };
    members.map(write).collect()
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_default()
}

fn error_response(status: u16, code: &str, mut body: Value) -> Result<HttpResponse, ConnectorError> {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{code}"));
    body["message"] = json!("injected");
    let status = status.try_into().map_err(|_| ConnectorError::other("no status".into(), None))?;
    Ok(HttpResponse::new(status, SdkBody::from(body.to_string())))
}

//! The transport under the SDK: it counts requests and capacity, and fails on demand.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

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

/// Ways in which a request can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing fails.
    None,
    /// The connection breaks before the request arrives.
    Unsent,
    /// The request takes effect and its answer is lost.
    LostAnswer,
    /// No answer comes in time, and the request has no effect.
    TimedOut,
    /// No answer comes in time, though the request took effect.
    TimedOutAnswer,
    /// The table refuses for capacity.
    Throttled,
    /// Another transaction is at work on the same items.
    Conflict,
    /// The service fails inside.
    ServerError,
    /// The table leaves all keys of a batch unread.
    Unprocessed,
    /// The process ends before the request leaves it; see [`Transport::killed`].
    Killed,
    /// The process ends when the request has taken effect.
    KilledAnswer,
}

impl Fault {
    /// All that can befall a write.
    pub const ALL: [Self; 7] = [
        Self::Unsent,
        Self::LostAnswer,
        Self::TimedOut,
        Self::TimedOutAnswer,
        Self::Throttled,
        Self::Conflict,
        Self::ServerError,
    ];
    /// All that can befall a process.
    pub const KILLS: [Self; 2] = [Self::Killed, Self::KilledAnswer];

    /// As it can befall `operation`: only transactions conflict, and a read without its answer is a read undone.
    fn of(self, operation: &str) -> Self {
        match self {
            Self::Conflict if operation != WRITE => Self::Throttled,
            other => other,
        }
    }
}

const WRITE: &str = "TransactWriteItems";

/// What was sent, and what DynamoDB says it cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metered {
    /// Requests that reached the table, by operation.
    pub requests: BTreeMap<String, usize>,
    /// Read units, or write units, it reported.
    pub units: f64,
    /// The same by operation.
    pub units_of: BTreeMap<String, f64>,
    /// Operations with their table, and the index they read, empty for the table itself.
    pub touched: BTreeSet<(String, String, String)>,
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
    /// What befalls the one request after so many.
    nth: Option<(usize, Fault)>,
    /// What befalls the requests after that, at random.
    random: Option<Trouble>,
}

/// Faults at random.
#[derive(Debug)]
struct Trouble {
    random: fastrand::Rng,
    /// One request in so many fails.
    one_in: u32,
    /// The process may be killed too.
    kills: bool,
    /// So many more requests fail that contain the text: a part of the table is away.
    outage: (u32, Vec<u8>),
}

impl Trouble {
    fn next(&mut self, sent: &[u8]) -> Fault {
        let (left, part) = &self.outage;
        if *left > 0 && sent.windows(part.len()).any(|window| window == part) {
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
            // The key of whatever this request is about: a workspace, most of the time.
            let sent = json(sent);
            let key = sent.pointer("/TransactItems/0/Put/Item/pk/S").and_then(Value::as_str);
            self.outage = (self.random.u32(1..12), key.unwrap_or("pk").into());
        }
        Fault::ALL[self.random.usize(..Fault::ALL.len())]
    }
}

/// The transport; clones share their counts and their faults.
#[derive(Debug, Clone)]
pub struct Transport {
    inner: SharedHttpClient,
    state: Arc<Mutex<State>>,
    kill: Arc<Notify>,
    /// One for each request that may be on its way.
    permits: Arc<Semaphore>,
}

impl Transport {
    /// Plain HTTP to a local engine.
    pub fn new() -> Self {
        let inner = aws_smithy_http_client::Builder::new().build_http();
        let permits = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { inner, state: Arc::default(), kill: Arc::default(), permits }
    }

    /// The same with so many requests on their way at once; the others wait here.
    ///
    /// An engine of this machine does one thing at a time. What waits there too long for its sender is done all the
    /// same, and sent again, until the engine does nothing but what nobody waits for any more. DynamoDB has no such
    /// queue.
    #[must_use]
    pub fn at_most(self, requests: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(requests)), ..self }
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

    /// Lets this befall the one request, of any operation, that comes after `earlier` others.
    pub fn script_nth(&self, earlier: usize, fault: Fault) {
        self.state.lock().unwrap().nth = Some((earlier, fault));
    }

    /// Whether the request that [`Transport::script_nth`] waits for has not come yet.
    pub fn waits_for_nth(&self) -> bool {
        self.state.lock().unwrap().nth.is_some()
    }

    /// Forgets the faults scripted so far.
    pub fn clear(&self) {
        let mut state = self.state.lock().unwrap();
        state.script.clear();
        state.reads.clear();
        state.nth = None;
    }

    /// Lets one request in `one_in` fail from now on, in ways that `seed` decides; 0 ends it. With `kills`, some are the
    /// process's last.
    pub fn fail_randomly(&self, seed: u64, one_in: u32, kills: bool) {
        let random = fastrand::Rng::with_seed(seed);
        let trouble = Trouble { random, one_in, kills, outage: (0, Vec::new()) };
        self.state.lock().unwrap().random = (one_in > 0).then_some(trouble);
    }

    /// Ready once a fault has killed the process: whoever runs it drops it then, in the middle of whatever it was
    /// about, and never asks it again.
    pub async fn killed(&self) {
        self.kill.notified().await;
    }

    fn next_fault(&self, operation: &str, sent: &[u8]) -> Fault {
        let mut state = self.state.lock().unwrap();
        if let Some((earlier, fault)) = state.nth.take() {
            if earlier == 0 {
                return fault;
            }
            state.nth = Some((earlier - 1, fault));
        }
        let scripted = match state.reads.get_mut(operation) {
            Some(reads) => reads.pop_front(),
            None if operation == WRITE => state.script.pop_front(),
            None => None,
        };
        scripted.or_else(|| Some(state.random.as_mut()?.next(sent))).unwrap_or(Fault::None)
    }

    /// Never answers: the process is gone.
    async fn die(&self) -> Result<HttpResponse, ConnectorError> {
        self.kill.notify_one();
        std::future::pending().await
    }

    fn count(&self, operation: &str, sent: &[u8], body: &Value) {
        // Reads name their index; a write is long, and parsing it would take longer than sending it.
        let sent = if operation == WRITE { Value::Null } else { json(sent) };
        let mut state = self.state.lock().unwrap();
        let index = sent["IndexName"].as_str().unwrap_or_default();
        let tables = match &body["ConsumedCapacity"] {
            Value::Array(tables) => tables.iter().map(|table| &table["TableName"]).collect(),
            table => vec![&table["TableName"]],
        };
        for table in tables {
            let table = table.as_str().or_else(|| sent["TableName"].as_str()).unwrap_or_default();
            state.metered.touched.insert((operation.into(), table.into(), index.into()));
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
            let fault = transport.next_fault(&operation, &sent).of(&operation);
            match fault {
                Fault::None | Fault::LostAnswer | Fault::TimedOutAnswer | Fault::KilledAnswer => {}
                Fault::Killed => return transport.die().await,
                Fault::TimedOut => return Err(ConnectorError::timeout("no answer in time".into())),
                Fault::Unsent => return Err(ConnectorError::io("connection reset before sending".into())),
                Fault::Throttled => return answer(400, "ThrottlingException", json!({})),
                Fault::ServerError => return answer(500, "InternalServerError", json!({})),
                Fault::Unprocessed => {
                    let answer = json!({ "Responses": {}, "UnprocessedKeys": json(&sent)["RequestItems"] });
                    let ok = 200.try_into().map_err(|_| ConnectorError::other("no status".into(), None))?;
                    return Ok(HttpResponse::new(ok, SdkBody::from(answer.to_string())));
                }
                Fault::Conflict => {
                    let items = json(&sent)["TransactItems"].as_array().map_or(1, Vec::len);
                    let mut reasons = vec![json!({ "Code": "None" }); items];
                    reasons[items / 2] = json!({ "Code": "TransactionConflict" });
                    let reasons = json!({ "CancellationReasons": reasons });
                    return answer(400, "TransactionCanceledException", reasons);
                }
            }
            let _permit = transport
                .permits
                .acquire()
                .await
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            let response = inner.call(request).await?;
            let status = response.status();
            let headers = response.headers().clone();
            let body = response.into_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
            transport.count(&operation, &sent, &json(&body));
            match fault {
                Fault::LostAnswer => {
                    return Err(ConnectorError::io("connection reset before the answer".into()));
                }
                Fault::TimedOutAnswer => return Err(ConnectorError::timeout("no answer in time".into())),
                Fault::KilledAnswer => return transport.die().await,
                _ => {}
            }
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_default()
}

fn answer(status: u16, code: &str, mut body: Value) -> Result<HttpResponse, ConnectorError> {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{code}"));
    body["message"] = json!("injected");
    let status = status.try_into().map_err(|_| ConnectorError::other("no status".into(), None))?;
    Ok(HttpResponse::new(status, SdkBody::from(body.to_string())))
}

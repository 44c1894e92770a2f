//! A world with subscribers: the functions behind the WebSocket API, with connections that fail on demand.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::RuntimeComponents;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use broadcast::Alteration;
use domain::subscription::SubscriptionBounds;
use live_delivery::Dispatcher;
use local::engine;
use local::functions::{Failure, Function, Functions};
use local::stream::{Stream, StreamReader};
use local::template::Template;
use local::token::Issuer;
use serde_json::{Value, json};
use store::Store;

use crate::functions::{Surroundings, function, functions, outcome};
use crate::{Transport, World, reported_failures};

/// The outcome of a message to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostOutcome {
    /// The message arrives.
    Delivered,
    /// The API throttles the message.
    Throttled,
    /// The API fails before the message arrives.
    Failed,
    /// The message arrives, and the API fails.
    LostResponse,
    /// The connection is gone from now on.
    Gone,
}

#[derive(Debug, Default)]
struct Socket {
    /// When it was opened, in milliseconds since 1970.
    connected_at: i64,
    received: Vec<Value>,
    /// The outcomes of the next messages.
    script: VecDeque<PostOutcome>,
    is_closed: bool,
    /// Whether attempts to close it fail.
    is_unclosable: bool,
}

#[derive(Debug, Default)]
struct State {
    sockets: BTreeMap<String, Socket>,
    random: Option<(fastrand::Rng, u32)>,
    requests: usize,
}

/// API Gateway's management API, in this process. Clones share the connections.
#[derive(Debug, Clone, Default)]
pub struct Sockets(Arc<Mutex<State>>);

impl Sockets {
    /// Removes and returns the messages that a connection received.
    pub fn take_messages(&self, connection: &str) -> Vec<Value> {
        let mut state = self.0.lock().unwrap();
        state
            .sockets
            .get_mut(connection)
            .map(|socket| std::mem::take(&mut socket.received))
            .unwrap_or_default()
    }

    /// Whether a connection is open.
    pub fn is_open(&self, connection: &str) -> bool {
        self.0.lock().unwrap().sockets.get(connection).is_some_and(|socket| !socket.is_closed)
    }

    /// Closes a connection without a `$disconnect`.
    pub fn drop_connection(&self, connection: &str) {
        self.0.lock().unwrap().sockets.get_mut(connection).unwrap().is_closed = true;
    }

    /// Sets whether attempts to close a connection fail.
    pub fn set_unclosable(&self, connection: &str, is_unclosable: bool) {
        self.0.lock().unwrap().sockets.get_mut(connection).unwrap().is_unclosable = is_unclosable;
    }

    /// Sets the outcomes of the next messages to a connection, in order.
    pub fn script(&self, connection: &str, outcomes: impl IntoIterator<Item = PostOutcome>) {
        self.0.lock().unwrap().sockets.get_mut(connection).unwrap().script.extend(outcomes);
    }

    /// Makes one message in `one_in` fail from now on, with outcomes that `seed` decides; 0 ends the failures.
    pub fn fail_randomly(&self, seed: u64, one_in: u32) {
        self.0.lock().unwrap().random = (one_in > 0).then(|| (fastrand::Rng::with_seed(seed), one_in));
    }

    /// The number of requests to the API.
    pub fn requests(&self) -> usize {
        self.0.lock().unwrap().requests
    }

    fn open(&self, connection: &str, connected_at: i64) {
        let socket = Socket { connected_at, ..Socket::default() };
        self.0.lock().unwrap().sockets.insert(connection.to_owned(), socket);
    }

    fn connected_at(&self, connection: &str) -> Option<i64> {
        self.0.lock().unwrap().sockets.get(connection).map(|socket| socket.connected_at)
    }

    /// Handles a request: the status, and the error's name.
    fn handle(&self, method: &str, connection: &str, body: &[u8]) -> (u16, &'static str) {
        let mut state = self.0.lock().unwrap();
        state.requests += 1;
        let State { sockets, random, .. } = &mut *state;
        let Some(socket) = sockets.get_mut(connection).filter(|socket| !socket.is_closed) else {
            return (410, "GoneException");
        };
        if method == "GET" {
            return (200, "");
        }
        if method == "DELETE" {
            if socket.is_unclosable {
                return (429, "LimitExceededException");
            }
            socket.is_closed = true;
            return (204, "");
        }
        if body.len() > 128 * 1024 {
            return (413, "PayloadTooLargeException");
        }
        let random_outcome = || {
            let (random, one_in) = random.as_mut()?;
            let failures =
                [PostOutcome::Throttled, PostOutcome::Failed, PostOutcome::LostResponse, PostOutcome::Gone];
            (random.u32(..*one_in) == 0).then(|| failures[random.usize(..failures.len())])
        };
        let outcome = socket.script.pop_front().or_else(random_outcome).unwrap_or(PostOutcome::Delivered);
        if matches!(outcome, PostOutcome::Delivered | PostOutcome::LostResponse) {
            socket.received.push(serde_json::from_slice(body).unwrap());
        }
        match outcome {
            PostOutcome::Delivered => (200, ""),
            PostOutcome::Throttled => (429, "LimitExceededException"),
            PostOutcome::Failed | PostOutcome::LostResponse => (500, "InternalServerError"),
            PostOutcome::Gone => {
                socket.is_closed = true;
                (410, "GoneException")
            }
        }
    }
}

impl HttpClient for Sockets {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Sockets {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let path = request.uri().rsplit('/').next().unwrap();
        let connection = path.replace("%3D", "=");
        let body = request.body().bytes().unwrap_or_default();
        let (status, error) = self.handle(request.method(), &connection, body);
        let status = status.try_into().map_err(|_| ConnectorError::other("no status".into(), None));
        HttpConnectorFuture::ready(status.map(|status| {
            let mut response = HttpResponse::new(status, SdkBody::from("{}"));
            if !error.is_empty() {
                response.headers_mut().insert("x-amzn-errortype", error);
            }
            response
        }))
    }
}

/// A world, its subscribers, and the functions that serve them.
pub struct SubscriberWorld {
    /// The world whose log has subscribers.
    pub log: World,
    /// The connections.
    pub sockets: Sockets,
    /// The transport of the functions.
    pub transport: Transport,
    /// The dispatcher of the functions.
    pub dispatcher: Dispatcher,
    /// The altered items that the stream's function reported.
    pub alterations: Arc<Mutex<Vec<Alteration>>>,
    /// The name of the table of connections.
    pub table: String,
    functions: Functions,
    /// The function behind the WebSocket API.
    web_socket_function: Function,
    /// The function behind the log's stream.
    stream_function: Function,
    issuer: Issuer,
    stream: tokio::sync::Mutex<StreamReader>,
    connections: AtomicUsize,
}

impl SubscriberWorld {
    /// A world around a log with a stream, whose records count from now on.
    pub async fn new(log: World) -> Self {
        Self::with_bounds(log, SubscriptionBounds::default()).await
    }

    /// The same, with other bounds of subscriptions.
    pub async fn with_bounds(log: World, bounds: SubscriptionBounds) -> Self {
        let template = Template::load().unwrap();
        let table = format!("{}-connections", log.table);
        local::tables::ensure(&log.client, &template, "ConnectionsTable", &table, true).await.unwrap();
        let stream = Stream::open(log.endpoint(), &log.client, &template, "LogTable", &log.table).await;
        let stream = stream.unwrap().follow().await.unwrap();
        let (sockets, transport) = (Sockets::default(), Transport::new());
        let config = engine::config(log.endpoint()).http_client(transport.clone()).build();
        let store = Store::new(Client::from_conf(config), &log.table);
        let issuer = Issuer::new("https://issuer.example".into());
        let surroundings = Surroundings {
            store: &store,
            clock: &log.clock(),
            seed: 1,
            allows_unknown_workspaces: false,
            forwards: None,
            summaries: &Arc::default(),
        };
        let (functions, dispatcher) = functions(&surroundings, (&table, bounds), &sockets, &issuer);
        let alterations = Arc::<Mutex<Vec<Alteration>>>::default();
        let kept = Arc::clone(&alterations);
        let keep = move |alteration: &Alteration| kept.lock().unwrap().push(alteration.clone());
        let functions = functions.with_alterations(Box::new(keep));
        Self {
            log,
            sockets,
            transport,
            dispatcher,
            alterations,
            table,
            functions,
            web_socket_function: function(&template.web_socket_function().unwrap()),
            stream_function: function(&template.stream_sources()[0].function),
            issuer,
            stream: tokio::sync::Mutex::new(stream),
            connections: AtomicUsize::new(0),
        }
    }

    /// A token for `sub` with the scopes `scope`, valid for an hour from now.
    pub fn token(&self, sub: &str, scope: &str) -> String {
        self.issuer.token(sub, scope, self.log.now())
    }

    /// Invokes the function of the WebSocket API with an event that has `members`, within `timeout`. The caller kills
    /// the invocation by dropping the future.
    pub async fn send_event(
        &self,
        route: &str,
        connection: &str,
        members: Value,
        timeout: Duration,
    ) -> Value {
        // A connection that was never opened here is as old as the world.
        let connected = self.sockets.connected_at(connection).unwrap_or(crate::world::START / 1_000);
        let mut event = json!({ "requestContext": {
            "routeKey": route, "connectionId": connection, "connectedAt": connected,
            "requestTimeEpoch": self.log.now().utc().timestamp_millis()
        } });
        event.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.run(self.web_socket_function, &event, timeout).await.unwrap()
    }

    /// Invokes the function with this crate with a whole event, in which a token replaces `${TOKEN}`. Returns the
    /// outcome, in the words of the sample events' names, and the response, or the messages to the connection of a
    /// message.
    pub async fn invoke(&self, name: &str, event: &Value) -> (String, Value) {
        let event = event.to_string().replace("${TOKEN}", &self.token("user-demo", ""));
        let event: Value = serde_json::from_str(&event).unwrap();
        let context = &event["requestContext"];
        let connection = context["connectionId"].as_str().unwrap_or_default();
        let is_message = context["eventType"] == "MESSAGE";
        if is_message && !self.sockets.is_open(connection) {
            self.sockets.open(connection, crate::world::START / 1_000);
        }
        let result = self.run(function(name), &event, LONG).await;
        if !is_message || result.is_err() {
            return outcome(result);
        }
        let messages = self.sockets.take_messages(connection);
        let kind = match messages.last() {
            _ if !self.sockets.is_open(connection) => "closed".to_owned(),
            Some(message) => message["type"].as_str().unwrap().replace('_', "-"),
            None => "nothing".to_owned(),
        };
        (kind, json!(messages))
    }

    async fn run(&self, function: Function, event: &Value, timeout: Duration) -> Result<Value, Failure> {
        let payload = event.to_string().into_bytes();
        let request_id = uuid::Uuid::new_v4().to_string();
        self.functions.invoke_in_place(function, payload, &request_id, timeout).await
    }

    /// Opens a connection without a session, and returns its id.
    pub async fn connect(&self) -> String {
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        let connection = format!("connection{number:04}=");
        let headers = json!({ "headers": { "sec-websocket-protocol": "graphql-transport-ws" } });
        let response = self.send_event("$connect", &connection, headers, LONG).await;
        assert_eq!(response["statusCode"], 200, "{response}");
        self.sockets.open(&connection, self.log.now().utc().timestamp_millis());
        connection
    }

    /// Sends a message of a client.
    pub async fn send(&self, connection: &str, message: &str) {
        self.send_within(connection, message, LONG).await;
    }

    /// Sends a message of a client to a function that has this much time.
    pub async fn send_within(&self, connection: &str, message: &str, timeout: Duration) {
        let response = self.send_event("$default", connection, json!({ "body": message }), timeout).await;
        assert_eq!(response, json!({ "statusCode": 200 }), "{message}");
    }

    /// Opens a connection with a session of `sub` with `scope`.
    pub async fn connect_as(&self, sub: &str, scope: &str) -> String {
        let connection = self.connect().await;
        let payload = json!({ "authorization": format!("Bearer {}", self.token(sub, scope)) });
        self.send(&connection, &json!({ "type": "connection_init", "payload": payload }).to_string()).await;
        assert_eq!(self.sockets.take_messages(&connection), [json!({ "type": "connection_ack" })]);
        connection
    }

    /// Sends a `subscribe` message with this id.
    pub async fn subscribe(&self, connection: &str, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        let message = json!({ "id": id, "type": "subscribe", "payload": payload });
        self.send(connection, &message.to_string()).await;
    }

    /// The records of the log's stream since the last call.
    pub async fn stream_records(&self) -> Vec<Value> {
        // The record of an item that is put last shows that the stream has all records before it.
        let last = format!("LAST#{}", uuid::Uuid::new_v4());
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let key = HashMap::from([("pk".to_owned(), text(&last)), ("sk".to_owned(), text("AT#"))]);
        let (client, table) = (&self.log.client, &self.log.table);
        client.put_item().table_name(table).set_item(Some(key.clone())).send().await.unwrap();
        let mut stream = self.stream.lock().await;
        let mut records = Vec::new();
        let is_last = |record: &Value| record["dynamodb"]["Keys"]["pk"]["S"] == last;
        for _ in 0..3_000 {
            match stream.read().await {
                Some(found) => records.extend(found),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            if records.last().is_some_and(is_last) {
                records.pop();
                client.delete_item().table_name(table).set_key(Some(key)).send().await.unwrap();
                return records;
            }
        }
        panic!("the stream lacks the last record");
    }

    /// Invokes the broadcast with records, within `timeout`, and returns the sequence numbers that it reports as
    /// failed. The caller kills the invocation by dropping the future.
    pub async fn broadcast_within(&self, records: &[Value], timeout: Duration) -> Vec<String> {
        let response = self.run(self.stream_function, &json!({ "Records": records }), timeout).await.unwrap();
        reported_failures(&response).into_iter().map(str::to_owned).collect()
    }

    /// Broadcasts the records of the stream since the last time. No record may fail.
    pub async fn broadcast(&self) {
        for batch in self.stream_records().await.chunks(100) {
            assert_eq!(self.broadcast_within(batch, LONG).await, [] as [&str; 0]);
        }
    }

    /// Reads the whole table of connections, asserts that its items agree, and returns their keys in order.
    pub async fn check(&self) -> Vec<(String, String)> {
        let items =
            self.log.client.scan().table_name(&self.table).consistent_read(true).into_paginator().items();
        let items: Vec<_> = items.send().collect::<Result<_, _>>().await.unwrap();
        let text = |item: &HashMap<String, AttributeValue>, name: &str| {
            item.get(name).and_then(|value| value.as_s().ok()).cloned()
        };
        let mut keys = Vec::new();
        let mut batches: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for item in &items {
            let (pk, sk) = (text(item, "pk").unwrap(), text(item, "sk").unwrap());
            assert!(item.contains_key("expires_at"), "{pk} {sk} does not expire");
            if let Some(number) = sk.strip_prefix("BATCH#") {
                batches.entry(pk.clone()).or_default().push(number.parse().unwrap());
            }
            keys.push((pk, sk));
        }
        keys.sort();
        let permits: HashMap<(&str, u64), String> = items
            .iter()
            .filter_map(|item| {
                let (scope, number) =
                    (item["pk"].as_s().ok()?.strip_prefix("PERMIT#")?, item["sk"].as_s().ok()?.parse().ok()?);
                Some(((scope, number), text(item, "mark").unwrap()))
            })
            .collect();
        let has = |pk: &str, sk: &str| keys.binary_search(&(pk.to_owned(), sk.to_owned())).is_ok();
        for item in &items {
            let (pk, sk) = (text(item, "pk").unwrap(), text(item, "sk").unwrap());
            if pk.starts_with("WATCH#") {
                let (connection, id) = sk.split_once('#').unwrap();
                let is_found = has(&format!("CONN#{connection}"), &format!("SUB#{id}"));
                assert!(is_found, "{pk} {sk} has no subscription");
            }
            // The permits of an expired subscription may be others' by now.
            let expires_at: i64 = item["expires_at"].as_n().unwrap().parse().unwrap();
            let is_expired = expires_at <= self.log.now().utc().timestamp();
            // A connection that was only half forgotten may leave subscriptions without a session until they expire.
            if let (Some(connection), Some(id)) = (pk.strip_prefix("CONN#"), sk.strip_prefix("SUB#"))
                && has(&pk, "SESSION")
                && let Some(topic) = text(item, "topic")
            {
                let subscriber = format!("{connection}#{id}");
                let shards = (0..4).filter(|shard| has(&format!("WATCH#{topic}#{shard}"), &subscriber));
                assert_eq!(shards.count(), 1, "{pk} {sk} has not exactly one subscriber");
                if is_expired {
                    continue;
                }
                let user = format!("USER#{}", text(item, "sub").unwrap());
                for (scope, attribute) in [(user, "user_permit"), (topic, "topic_permit")] {
                    let number = item[attribute].as_n().unwrap().parse().unwrap();
                    let holder = permits.get(&(scope.as_str(), number)).cloned();
                    assert_eq!(holder, text(item, "mark"), "{pk} {sk} does not hold its {attribute}");
                }
            }
        }
        for (journal, mut numbers) in batches {
            numbers.sort_unstable();
            assert!(
                numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                "{journal} lacks batches: {numbers:?}"
            );
            assert!(has(&journal, "HEAD"), "{journal} has no head");
        }
        keys
    }
}

/// More time than any invocation takes.
const LONG: Duration = Duration::from_secs(120);

//! Watchers of a world: the functions behind the WebSocket, with connections that fail on demand.

use std::collections::{BTreeMap, VecDeque};
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
use live::{Sender, Teller};
use local::engine;
use local::stream::{Stream, Tail};
use local::template::Template;
use local::token::{AUDIENCE, Issuer};
use serde_json::{Value, json};
use shared::store::{Connections, Store};
use subscriptions::Keys;
use subscriptions::verify::Verifier;

use crate::{Transport, World};

/// What becomes of a message to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    /// It arrives.
    Taken,
    /// There is too much at once.
    Throttled,
    /// The API fails before it arrives.
    Failed,
    /// It arrives, and the API fails.
    LostAnswer,
    /// The connection is gone from now on.
    Gone,
}

#[derive(Debug, Default)]
struct Socket {
    received: Vec<Value>,
    script: VecDeque<Post>,
    is_closed: bool,
    /// It cannot be closed.
    stays: bool,
}

#[derive(Debug, Default)]
struct State {
    sockets: BTreeMap<String, Socket>,
    random: Option<(fastrand::Rng, u32)>,
    posts: usize,
}

/// API Gateway's management API, in this process; clones share the connections.
#[derive(Debug, Clone, Default)]
pub struct Sockets(Arc<Mutex<State>>);

impl Sockets {
    /// Takes what a connection has received.
    pub fn take(&self, connection: &str) -> Vec<Value> {
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

    /// Ends a connection without a word.
    pub fn drop(&self, connection: &str) {
        self.0.lock().unwrap().sockets.get_mut(connection).unwrap().is_closed = true;
    }

    /// Lets every attempt to close a connection fail, or no more.
    pub fn stay(&self, connection: &str, stays: bool) {
        self.0.lock().unwrap().sockets.get_mut(connection).unwrap().stays = stays;
    }

    /// Lets these befall the next messages to a connection, in order.
    pub fn script(&self, connection: &str, posts: impl IntoIterator<Item = Post>) {
        self.0.lock().unwrap().sockets.get_mut(connection).unwrap().script.extend(posts);
    }

    /// Lets one message in `one_in` fail from now on, in ways that `seed` decides; 0 ends it.
    pub fn fail_randomly(&self, seed: u64, one_in: u32) {
        self.0.lock().unwrap().random = (one_in > 0).then(|| (fastrand::Rng::with_seed(seed), one_in));
    }

    /// How often the API was called.
    pub fn posts(&self) -> usize {
        self.0.lock().unwrap().posts
    }

    fn open(&self, connection: &str) {
        self.0.lock().unwrap().sockets.insert(connection.to_owned(), Socket::default());
    }

    /// Answers a call: the status, and the error's name.
    fn call(&self, method: &str, connection: &str, body: &[u8]) -> (u16, &'static str) {
        let mut state = self.0.lock().unwrap();
        state.posts += 1;
        let State { sockets, random, .. } = &mut *state;
        let Some(socket) = sockets.get_mut(connection).filter(|socket| !socket.is_closed) else {
            return (410, "GoneException");
        };
        if method == "DELETE" {
            if socket.stays {
                return (429, "LimitExceededException");
            }
            socket.is_closed = true;
            return (204, "");
        }
        if body.len() > 128 * 1024 {
            return (413, "PayloadTooLargeException");
        }
        let at_random = || {
            let (random, one_in) = random.as_mut()?;
            let fates = [Post::Throttled, Post::Failed, Post::LostAnswer, Post::Gone];
            (random.u32(..*one_in) == 0).then(|| fates[random.usize(..fates.len())])
        };
        let post = socket.script.pop_front().or_else(at_random).unwrap_or(Post::Taken);
        if matches!(post, Post::Taken | Post::LostAnswer) {
            socket.received.push(serde_json::from_slice(body).unwrap());
        }
        match post {
            Post::Taken => (200, ""),
            Post::Throttled => (429, "LimitExceededException"),
            Post::Failed | Post::LostAnswer => (500, "InternalServerError"),
            Post::Gone => {
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
        let (status, error) = Self::call(self, request.method(), &connection, body);
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

/// A world, and who watches it.
pub struct Live {
    /// What is watched.
    pub world: World,
    /// The connections.
    pub sockets: Sockets,
    /// What the functions reach the tables through.
    pub transport: Transport,
    /// What they share.
    pub teller: Teller,
    /// The name of the table of connections.
    pub table: String,
    subscriptions: subscriptions::App,
    issuer: Issuer,
    tail: tokio::sync::Mutex<Tail>,
    connected: std::sync::atomic::AtomicUsize,
}

impl Live {
    /// Around a world that is watched, whose news begins now.
    pub async fn new(world: World) -> Self {
        let template = Template::load().unwrap();
        let table = format!("{}-connections", world.table);
        local::tables::ensure(&world.client, &template, "ConnectionsTable", &table, true).await.unwrap();
        let stream = Stream::open(world.endpoint(), &world.client, &template, "LogTable", &world.table).await;
        let tail = stream.unwrap().tail().await.unwrap();
        let (sockets, transport) = (Sockets::default(), Transport::new());
        let config = engine::config(world.endpoint()).http_client(transport.clone()).build();
        let store = Store::new(Client::from_conf(config), &world.table);
        let config = live::config("http://sockets.example/live".into())
            .http_client(sockets.clone())
            .region(aws_sdk_apigatewaymanagement::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_apigatewaymanagement::config::Credentials::new(
                "local", "local", None, None, "local",
            ));
        let teller = Teller {
            graphql: graphql::App::new(store.clone()),
            connections: Connections::beside(&store, &table),
            store,
            sender: Sender::new(aws_sdk_apigatewaymanagement::Client::from_conf(config.build())),
            clock: world.clock(),
        };
        let issuer = Issuer::new("https://issuer.example".into());
        let verifier = Verifier::new(issuer.url(), vec![AUDIENCE.into()], &issuer.keys());
        Self {
            world,
            sockets,
            transport,
            subscriptions: subscriptions::App::new(teller.clone(), Keys::known(verifier)),
            teller,
            table,
            issuer,
            tail: tokio::sync::Mutex::new(tail),
            connected: Default::default(),
        }
    }

    /// A token for `sub` with the scopes `scope`, good for an hour from now.
    pub fn token(&self, sub: &str, scope: &str) -> String {
        self.issuer.token(sub, scope, self.world.now())
    }

    /// Hands an event of the WebSocket API to the function, in `time`.
    pub async fn event(&self, route: &str, connection: &str, more: Value, time: Duration) -> Value {
        // Connections are as old as the world.
        let connected = crate::world::START / 1_000;
        let context_of = json!({ "routeKey": route, "connectionId": connection, "connectedAt": connected });
        let mut event = json!({ "requestContext": context_of });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let event = lambda_http::LambdaEvent { payload: event, context: context(time) };
        serde_json::to_value(subscriptions::invoke(&self.subscriptions, event).await.unwrap()).unwrap()
    }

    /// Sends a whole event to the function with this crate, with a token in place of `${TOKEN}`. Gives what it comes to, in
    /// the words of the sample events' names, and what was answered.
    pub async fn invoke(&self, function: &str, event: &Value) -> (String, Value) {
        let event = event.to_string().replace("${TOKEN}", &self.token("user-demo", ""));
        let payload: Value = serde_json::from_str(&event).unwrap();
        let connection = payload["requestContext"]["connectionId"].as_str().unwrap_or_default().to_owned();
        let is_message = payload["requestContext"]["eventType"] == "MESSAGE";
        if is_message && !self.sockets.is_open(&connection) {
            self.sockets.open(&connection);
        }
        let event = lambda_http::LambdaEvent { payload, context: context(LONG) };
        let answer = match function {
            "subscriptions" => {
                subscriptions::invoke(&self.subscriptions, event).await.map(|answer| json!(answer))
            }
            "broadcast" => broadcast::invoke(&self.teller, event).await.map(|answer| json!(answer)),
            other => panic!("no function {other}"),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return ("error".into(), json!({ "error": error.error_message })),
        };
        if let Some(failures) = answer["batchItemFailures"].as_array() {
            return (format!("failed-{}", failures.len()), answer);
        }
        if !is_message {
            return (answer["statusCode"].to_string(), answer);
        }
        let sent = self.sockets.take(&connection);
        let kind = match sent.last() {
            _ if !self.sockets.is_open(&connection) => "closed".to_owned(),
            Some(message) => message["type"].as_str().unwrap().replace('_', "-"),
            None => "nothing".to_owned(),
        };
        (kind, json!(sent))
    }

    /// Connects, without a word yet; gives the connection's id.
    pub async fn connect(&self) -> String {
        let number = self.connected.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let connection = format!("connection{number:04}=");
        let headers = json!({ "headers": { "sec-websocket-protocol": "graphql-transport-ws" } });
        let answer = self.event("$connect", &connection, headers, LONG).await;
        assert_eq!(answer["statusCode"], 200, "{answer}");
        self.sockets.open(&connection);
        connection
    }

    /// Says something. What is answered is received.
    pub async fn say(&self, connection: &str, message: &str) {
        self.say_in(connection, message, LONG).await;
    }

    /// Says something to a function that has so much time.
    pub async fn say_in(&self, connection: &str, message: &str, time: Duration) {
        let answer = self.event("$default", connection, json!({ "body": message }), time).await;
        assert_eq!(answer, json!({ "statusCode": 200 }), "{message}");
    }

    /// Connects as `sub` with `scope`, as a client does.
    pub async fn enter(&self, sub: &str, scope: &str) -> String {
        let connection = self.connect().await;
        let payload = json!({ "authorization": format!("Bearer {}", self.token(sub, scope)) });
        self.say(&connection, &json!({ "type": "connection_init", "payload": payload }).to_string()).await;
        assert_eq!(self.sockets.take(&connection), [json!({ "type": "connection_ack" })]);
        connection
    }

    /// Subscribes under `id`.
    pub async fn subscribe(&self, connection: &str, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        let message = json!({ "id": id, "type": "subscribe", "payload": payload });
        self.say(connection, &message.to_string()).await;
    }

    /// What came into the stream since the last call.
    pub async fn recorded(&self) -> Vec<Value> {
        // A stream may be late: what is put last tells when it has all.
        let last = format!("LAST#{}", uuid::Uuid::new_v4());
        let key = [("pk", last.as_str()), ("sk", "AT#")];
        let key = Some(key.map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned()))).into());
        let (client, table) = (&self.world.client, &self.world.table);
        client.put_item().table_name(table).set_item(key.clone()).send().await.unwrap();
        let mut tail = self.tail.lock().await;
        let mut records = Vec::new();
        let is_last = |record: &Value| record["dynamodb"]["Keys"]["pk"]["S"] == last;
        for _ in 0..3_000 {
            match tail.read().await {
                Some(found) => records.extend(found),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            if records.last().is_some_and(is_last) {
                records.pop();
                client.delete_item().table_name(table).set_key(key).send().await.unwrap();
                return records;
            }
        }
        panic!("the stream has not got what was put last");
    }

    /// Hands records to broadcast, in `time`; gives the sequence numbers that it reports.
    pub async fn broadcast_in(&self, records: &[Value], time: Duration) -> Vec<String> {
        let event =
            lambda_http::LambdaEvent { payload: json!({ "Records": records }), context: context(time) };
        let answer = broadcast::invoke(&self.teller, event).await.unwrap();
        answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    /// Hands over all that was recorded since the last time; nothing may fail.
    pub async fn broadcast(&self) {
        for batch in self.recorded().await.chunks(100) {
            assert_eq!(self.broadcast_in(batch, LONG).await, [] as [&str; 0]);
        }
    }

    /// Reads the whole table of connections, by partition and sort key, and fails at whatever does not belong together.
    pub async fn check(&self) -> Vec<(String, String)> {
        let items =
            self.world.client.scan().table_name(&self.table).consistent_read(true).into_paginator().items();
        let items: Vec<_> = items.send().collect::<Result<_, _>>().await.unwrap();
        let text =
            |item: &shared::store::Item, name: &str| item.get(name).and_then(|v| v.as_s().ok()).cloned();
        let mut keys = Vec::new();
        let mut batches: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for item in &items {
            let (pk, sk) = (text(item, "pk").unwrap(), text(item, "sk").unwrap());
            assert!(item.contains_key("expires_at"), "{pk} {sk} stays for ever");
            if let Some(number) = sk.strip_prefix("BATCH#") {
                batches.entry(pk.clone()).or_default().push(number.parse().unwrap());
            }
            keys.push((pk, sk));
        }
        keys.sort();
        let has = |pk: &str, sk: &str| keys.binary_search(&(pk.to_owned(), sk.to_owned())).is_ok();
        for item in &items {
            let (pk, sk) = (text(item, "pk").unwrap(), text(item, "sk").unwrap());
            if pk.starts_with("WATCH#") {
                let (connection, id) = sk.split_once('#').unwrap();
                assert!(has(&format!("CONN#{connection}"), &format!("SUB#{id}")), "{pk} {sk} is nobody's");
            }
            // Of a connection that was forgotten by half, something is left until it expires.
            if let (Some(connection), Some(id)) = (pk.strip_prefix("CONN#"), sk.strip_prefix("SUB#"))
                && has(&pk, "SESSION")
                && let Some(topic) = text(item, "topic")
            {
                let watch = format!("{connection}#{id}");
                let shards = (0..4).filter(|shard| has(&format!("WATCH#{topic}#{shard}"), &watch));
                assert_eq!(shards.count(), 1, "{pk} {sk} watches nothing");
            }
        }
        for (journal, mut numbers) in batches {
            numbers.sort_unstable();
            assert!(
                numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                "{journal} has holes: {numbers:?}"
            );
            assert!(has(&journal, "HEAD"), "{journal} has no head");
        }
        keys
    }
}

/// More time than anything takes.
const LONG: Duration = Duration::from_secs(120);

fn context(time: Duration) -> lambda_http::Context {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut context = lambda_http::Context::default();
    context.request_id = uuid::Uuid::new_v4().to_string();
    context.deadline = u64::try_from((now + time).as_millis()).unwrap();
    context
}

//! A table of its own, with the functions that use it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use domain::event::{Defaults, InputEvent};
use domain::provenance::{RecordedBy, Source};
use domain::subscription::SubscriptionBounds;
use domain::time::{Clock, Timestamp};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};
use local::engine::{self, Engine};
use local::functions::{API_TIMEOUT, Failure, Functions};
use local::http_api::{self, HttpApi, HttpCall};
use local::template::Template;
use local::token::Issuer;
use record_activity::Summary;
use recording::{Recorder, WriteOutcome};
use serde_json::{Value, json};
use store::Store;

use crate::functions::{Surroundings, deliver, deliver_to, function, functions, outcome};
use crate::transport::Transport;
use crate::{Forwards, Message, Sockets};

/// The time at which every world starts, in microseconds: 2026-11-23T00:00:00Z, after the times of the sample events.
pub(crate) const START: i64 = 1_795_392_000_000_000;

/// The most requests of a process in flight.
const PROCESS_REQUESTS: usize = 2;

/// A table, the functions that use it, and a clock that stands still.
pub struct World {
    /// The table, through the transport.
    pub store: Store,
    /// A client of the table's engine that neither counts nor fails.
    pub client: Client,
    /// The table's name.
    pub table: String,
    /// The transport of the functions and the recorder.
    pub transport: Transport,
    /// The summaries of the recording function's invocations.
    pub summaries: Arc<Mutex<Vec<Summary>>>,
    /// The recorder, for tests that need no function.
    pub recorder: Recorder,
    functions: Functions,
    allows_unknown_workspaces: bool,
    forwards: Option<Forwards>,
    api: HttpApi,
    now: Arc<AtomicI64>,
    endpoint: String,
    engine: Option<Engine>,
}

/// Another process of the functions, with empty caches and a transport of its own.
pub struct RecorderProcess {
    /// The transport of its requests.
    pub transport: Transport,
    functions: Functions,
}

impl RecorderProcess {
    /// Invokes the recorder with a batch of messages, and returns its response. The caller kills the process by
    /// dropping the future.
    pub async fn deliver(&self, messages: &[Message], timeout: Duration) -> Value {
        deliver(&self.functions, messages, timeout).await
    }
}

/// An HTTP response.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, by their lowercase names.
    pub headers: BTreeMap<String, String>,
    /// The body, or null when it is empty.
    pub body: Value,
}

impl Reply {
    /// The ids of a listed page.
    pub fn ids(&self) -> Vec<&str> {
        self.body.as_array().unwrap().iter().map(|activity| activity["id"].as_str().unwrap()).collect()
    }

    /// The path and query of the next page.
    pub fn next(&self) -> Option<&str> {
        self.headers
            .get("link")
            .map(|link| link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap())
    }
}

/// The header of a token with these claims, which nobody signed: the harness stands in for the authorizer.
pub fn bearer(claims: &Value) -> String {
    let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("Bearer {}.{}.", part(&json!({ "alg": "none" })), part(claims))
}

/// The claims of a token.
pub fn token_claims(sub: &str, scope: &str) -> Value {
    json!({ "sub": sub, "scope": scope, "iss": "https://issuer.example", "aud": "activity-log" })
}

impl World {
    /// A world with a new table, in an engine of its own or in the one that `DYNAMODB_ENDPOINT` names.
    pub async fn new() -> Self {
        Self::in_any_engine(false).await
    }

    /// A world whose table has a stream.
    pub async fn with_stream() -> Self {
        Self::in_any_engine(true).await
    }

    async fn in_any_engine(stream: bool) -> Self {
        match std::env::var("DYNAMODB_ENDPOINT") {
            Ok(endpoint) => Self::at(endpoint, &format!("log-{}", uuid::Uuid::new_v4()), stream, None).await,
            Err(_) => Self::in_engine(Engine::start(None).await.unwrap(), stream).await,
        }
    }

    /// A world without a stream in an embedded engine of its own, in memory or in this file.
    ///
    /// # Errors
    /// Those of [`Engine::start`].
    pub async fn embedded(db_path: Option<&Path>) -> Result<Self, String> {
        Ok(Self::in_engine(Engine::start(db_path).await?, false).await)
    }

    /// A world on the table that a gateway wrote into this file, without a stream.
    ///
    /// # Errors
    /// Those of [`Engine::start`].
    pub async fn of_gateway(db_path: &Path) -> Result<Self, String> {
        let engine = Engine::start(Some(db_path)).await?;
        Ok(Self::at(engine.endpoint().to_owned(), "activity-log", false, Some(engine)).await)
    }

    async fn in_engine(engine: Engine, stream: bool) -> Self {
        Self::at(engine.endpoint().to_owned(), "log", stream, Some(engine)).await
    }

    /// The URL of the table's engine.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A world with the table `table` at `endpoint`, which is created if it does not exist.
    async fn at(endpoint: String, table: &str, stream: bool, engine: Option<Engine>) -> Self {
        let (transport, store) = connect(Transport::new(), &endpoint, table);
        let client = engine::client(&endpoint).await;
        let template = Template::load().unwrap();
        local::tables::ensure(&client, &template, "LogTable", table, stream).await.unwrap();
        let now = Arc::new(AtomicI64::new(START));
        let summaries = Arc::<Mutex<Vec<Summary>>>::default();
        let functions = log_functions(&Surroundings {
            store: &store,
            clock: &clock(&now),
            seed: 1,
            allows_unknown_workspaces: false,
            forwards: None,
            summaries: &summaries,
        });
        let recorder = Recorder::new(store.clone(), fastrand::Rng::with_seed(2));
        let api = HttpApi::new(&template);
        let table = table.to_owned();
        Self {
            store,
            client,
            table,
            transport,
            summaries,
            recorder,
            functions,
            allows_unknown_workspaces: false,
            forwards: None,
            api,
            now,
            endpoint,
            engine,
        }
    }

    /// The same world, whose functions and recorder record activities of unknown workspaces too, as a stack does with the
    /// parameter `AllowUnknownWorkspaces`.
    #[must_use]
    pub fn allowing_unknown_workspaces(mut self) -> Self {
        self.allows_unknown_workspaces = true;
        self.recorder = self.recorder.with_unknown_workspaces(true);
        self.functions = self.start_functions();
        self
    }

    /// The same world, whose recorders forward messages to the queues that come back with it. Otherwise they report them as
    /// failed, as when SQS is out of reach.
    #[must_use]
    pub fn forwarding(mut self) -> (Self, Forwards) {
        let forwards = Forwards::default();
        self.forwards = Some(forwards.clone());
        self.functions = self.start_functions();
        (self, forwards)
    }

    /// Invokes the recorder of this name with a batch of messages, and returns its response.
    pub async fn deliver_to(&self, recorder: &str, batch: &[Message], timeout: Duration) -> Value {
        deliver_to(&self.functions, recorder, batch, timeout).await
    }

    fn start_functions(&self) -> Functions {
        log_functions(&Surroundings {
            store: &self.store,
            clock: &self.clock(),
            seed: 1,
            allows_unknown_workspaces: self.allows_unknown_workspaces,
            forwards: self.forwards.as_ref(),
            summaries: &self.summaries,
        })
    }

    /// The clock, which stands still until [`World::advance`].
    pub fn clock(&self) -> Clock {
        clock(&self.now)
    }

    /// The time of the clock.
    pub fn now(&self) -> Timestamp {
        (self.clock())()
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Starts another process. `seed` spreads its retries.
    pub fn start_process(&self, seed: u64) -> RecorderProcess {
        let transport = Transport::new().with_concurrency(PROCESS_REQUESTS);
        let (transport, store) = connect(transport, &self.endpoint, &self.table);
        let functions = log_functions(&Surroundings {
            store: &store,
            clock: &self.clock(),
            seed,
            allows_unknown_workspaces: self.allows_unknown_workspaces,
            forwards: self.forwards.as_ref(),
            summaries: &Arc::default(),
        });
        RecorderProcess { transport, functions }
    }

    /// Stops the engine, if the world has its own.
    pub async fn stop(self) {
        if let Some(engine) = self.engine {
            engine.stop().await;
        }
    }

    /// Parses an event as the HTTP source does.
    pub fn parse_event(&self, value: Value) -> InputEvent {
        let now = self.now();
        let recorded_by = RecordedBy::new(Source::Http, &["harness"]);
        let id = ("unused".into(), "id");
        let defaults = Defaults { id, workspace: None, created_at: now, now, recorded_by };
        InputEvent::parse(value, &defaults).unwrap()
    }

    /// Records events that must be new.
    pub async fn given(&self, events: impl IntoIterator<Item = Value>) {
        let events: Vec<InputEvent> = events.into_iter().map(|event| self.parse_event(event)).collect();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        for result in self.recorder.record(events, deadline).await.results {
            assert!(matches!(result, Ok(WriteOutcome::New(_))), "{result:?}");
        }
    }

    /// Records the workspace `ws`, whose members are `owner`, `admin`, `member` and `client`.
    pub async fn given_workspace(&self, ws: &str) {
        let event = |id: &str, action: &str, details: Value| {
            json!({
                "id": format!("{ws}.{id}"), "workspace_id": ws, "actor_type": "user", "actor_id": "owner",
                "action": action, "details": details, "created_at": "2020-01-01T00:00:00Z"
            })
        };
        let created = json!({ "name": "Apollo", "slug": "apollo", "organization": "org-1" });
        let members = ["owner", "admin", "member", "client"];
        let added = members.map(|role| event(role, "member.added", json!({ "user": role, "role": role })));
        self.given([event("created", "workspace.created", created)]).await;
        self.given(added).await;
    }

    /// Gets a path with its query, as `sub` with `scope`.
    pub async fn get_as(&self, sub: &str, scope: &str, path: &str) -> Reply {
        self.send("GET", path, Some(token_claims(sub, scope)), &[], None).await
    }

    /// Gets a path with its query, as the workspace's owner.
    pub async fn get(&self, path: &str) -> Reply {
        self.get_as("owner", "", path).await
    }

    /// Follows the links from a first page to the last one, calls `each` with every page, and returns all ids.
    pub async fn walk(&self, sub: &str, first: &str, each: impl FnMut(&Reply)) -> Vec<String> {
        self.walk_as(sub, "", first, each).await
    }

    /// As [`World::walk`], with a token of `scope`.
    pub async fn walk_as(
        &self,
        sub: &str,
        scope: &str,
        first: &str,
        mut each: impl FnMut(&Reply),
    ) -> Vec<String> {
        let mut next = Some(first.to_owned());
        let mut ids = Vec::new();
        while let Some(path) = next {
            let reply = self.get_as(sub, scope, &path).await;
            assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
            each(&reply);
            ids.extend(reply.ids().into_iter().map(str::to_owned));
            next = reply.next().map(str::to_owned);
            assert!(ids.len() < 10_000, "the links of {first} do not end");
        }
        ids
    }

    /// Gets a path as the workspace's owner, and returns the text of the body.
    pub async fn get_text(&self, path: &str) -> String {
        text(self.call("GET", path, Some(token_claims("owner", "")), &[], None).await)
    }

    /// Queries GraphQL as `sub`, and returns the text of the body.
    pub async fn ask_text(&self, sub: &str, query: &str) -> String {
        let body = json!({ "query": query }).to_string();
        text(self.call("POST", "/graphql", Some(token_claims(sub, "")), &[], Some(body.as_bytes())).await)
    }

    /// Sets whether the functions use the transport. Benchmarks turn it off, because counting takes time.
    pub fn set_metering(&mut self, is_metered: bool) {
        self.store = if is_metered {
            connect(self.transport.clone(), &self.endpoint, &self.table).1
        } else {
            Store::new(self.client.clone(), self.table.clone())
        };
        self.functions = self.start_functions();
    }

    /// Queries GraphQL as `sub` with `scope`, and returns the whole response.
    pub async fn ask(&self, sub: &str, scope: &str, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables }).to_string();
        self.send("POST", "/graphql", Some(token_claims(sub, scope)), &[], Some(&body)).await.body
    }

    /// Posts a body to a workspace, with headers, as a service that may record everything.
    pub async fn post(&self, ws: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        let path = format!("/api/v1/workspaces/{ws}/activity");
        let claims = token_claims("service", "activity:write activity:admin");
        self.send("POST", &path, Some(claims), headers, Some(body)).await
    }

    /// Sends a request to the function of its route.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        claims: Option<Value>,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Reply {
        let response = self.call(method, path, claims, headers, body.map(str::as_bytes)).await;
        let header = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        Reply {
            status: response.status().as_u16(),
            headers: response
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), header(value)))
                .collect(),
            body: match text(response).as_str() {
                "" => Value::Null,
                body => serde_json::from_str(body).unwrap(),
            },
        }
    }

    /// Sends a request with any bytes for a body, and returns the status and the text of the answer.
    pub async fn send_text(
        &self,
        method: &str,
        path: &str,
        claims: Option<Value>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String) {
        let response = self.call(method, path, claims, headers, Some(body)).await;
        (response.status().as_u16(), text(response))
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        claims: Option<Value>,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Response<Vec<u8>> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let found = self.api.route(method, path);
        let matched = found.unwrap_or_else(|error| panic!("no route for {method} {path}: {error:?}"));
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        let mut headers: HeaderMap = headers.collect();
        if let Some(claims) = &claims {
            headers.insert(AUTHORIZATION, bearer(claims).parse().unwrap());
        }
        // API Gateway passes on claims as texts.
        let claims = claims.map(|claims| http_api::claims_as_texts(claims.as_object().unwrap().clone()));
        let call = HttpCall {
            method,
            path,
            query,
            version: Version::HTTP_11,
            headers: &headers,
            body: body.unwrap_or_default().to_vec(),
            claims,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request_id: "req-1",
            time: self.now(),
            domain: "api.example",
        };
        let event = self.api.event(&matched, call).unwrap();
        let response = self.invoke_as(&matched.route.function, &event, "req-1").await.unwrap();
        http_api::response(response).unwrap()
    }

    /// Invokes the function with this name with a whole event, of API Gateway, SQS or a direct caller. Returns the
    /// outcome, in the words of the sample events' names, and the response.
    pub async fn invoke(&self, function: &str, event: &Value) -> (String, Value) {
        outcome(self.invoke_as(function, event, &uuid::Uuid::new_v4().to_string()).await)
    }

    /// Invokes the function with this name with any payload.
    ///
    /// # Errors
    /// The message of the function's failure.
    pub async fn invoke_bytes(&self, name: &str, payload: &[u8]) -> Result<Value, String> {
        let answer =
            self.functions.invoke_in_place(function(name), payload.to_vec(), "req-1", API_TIMEOUT).await;
        answer.map_err(|failure| failure.error_message)
    }

    /// Invokes the function with this name with a whole event and a request id.
    ///
    /// # Errors
    /// The function's own failure.
    pub async fn invoke_as(&self, name: &str, event: &Value, request_id: &str) -> Result<Value, Failure> {
        let payload = event.to_string().into_bytes();
        self.functions.invoke_in_place(function(name), payload, request_id, API_TIMEOUT).await
    }

    /// Invokes the recorder with a batch of messages, and returns its response.
    pub async fn deliver(&self, messages: &[Message], timeout: Duration) -> Value {
        deliver(&self.functions, messages, timeout).await
    }
}

/// The table through `transport`.
fn connect(transport: Transport, endpoint: &str, table: &str) -> (Transport, Store) {
    let config = engine::config(endpoint).http_client(transport.clone()).build();
    (transport, Store::new(Client::from_conf(config), table))
}

/// The functions on a log without subscribers.
fn log_functions(surroundings: &Surroundings<'_>) -> Functions {
    let issuer = Issuer::new("https://issuer.example".into());
    functions(surroundings, ("none", SubscriptionBounds::default()), &Sockets::default(), &issuer).0
}

fn clock(now: &Arc<AtomicI64>) -> Clock {
    let now = Arc::clone(now);
    Arc::new(move || {
        Timestamp::truncate(DateTime::from_timestamp_micros(now.load(Ordering::SeqCst)).unwrap())
    })
}

fn text(response: Response<Vec<u8>>) -> String {
    String::from_utf8(response.into_body()).unwrap()
}

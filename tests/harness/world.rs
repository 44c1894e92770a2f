//! A table of its own, with the handlers around it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use chrono::DateTime;
use lambda_http::{LambdaEvent, Request, Response};
use local::engine::{self, Engine};
use local::template::Template;
use record_activity::{App, Summary};
use serde_json::{Value, json};
use shared::event::{Defaults, Event};
use shared::json::Exact;
use shared::record::{Recorded, Recorder};
use shared::store::Store;
use shared::time::{Clock, Timestamp};

use crate::transport::Transport;

/// When every world begins, in microseconds: 2026-11-23T00:00:00Z, after the times of the sample events.
pub(crate) const START: i64 = 1_795_392_000_000_000;

/// Requests of a process on their way at once.
const PROCESS_REQUESTS: usize = 2;

/// A table, the functions that use it, and a clock that stands still.
pub struct World {
    /// The table.
    pub store: Store,
    /// A client of its engine that neither counts nor fails.
    pub client: Client,
    /// The table's name.
    pub table: String,
    /// What the store's requests go through.
    pub transport: Transport,
    /// The recording function.
    pub app: App,
    /// The function that answers GraphQL.
    pub graphql: graphql::App,
    /// What it said of its invocations.
    pub summaries: Arc<Mutex<Vec<Summary>>>,
    /// The recorder, for tests that do without HTTP.
    pub recorder: Recorder,
    now: Arc<AtomicI64>,
    endpoint: String,
    engine: Option<Engine>,
}

/// One more process that runs the recording function, with nothing in its memory.
pub struct Process {
    /// The recording function.
    pub app: App,
    /// What its requests go through.
    pub transport: Transport,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, by their lowercase names.
    pub headers: BTreeMap<String, String>,
    /// The body; null when it is empty.
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

/// The claims of a token.
pub fn token_claims(sub: &str, scope: &str) -> Value {
    json!({ "sub": sub, "scope": scope, "iss": "https://issuer.example", "aud": "activity-log" })
}

impl World {
    /// A new table, in an engine of its own, or in the one that `DYNAMODB_ENDPOINT` names.
    pub async fn new() -> Self {
        Self::anywhere(false).await
    }

    /// The same with its stream.
    pub async fn watched() -> Self {
        Self::anywhere(true).await
    }

    async fn anywhere(stream: bool) -> Self {
        match std::env::var("DYNAMODB_ENDPOINT") {
            Ok(endpoint) => Self::on(endpoint, &format!("log-{}", uuid::Uuid::new_v4()), stream, None).await,
            Err(_) => Self::of(Engine::start(None).await.unwrap(), stream).await,
        }
    }

    /// A table without a stream in an embedded engine of its own: in memory, or the one in this file.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn embedded(db_path: Option<&Path>) -> Result<Self, String> {
        Ok(Self::of(Engine::start(db_path).await?, false).await)
    }

    async fn of(engine: Engine, stream: bool) -> Self {
        Self::on(engine.endpoint().to_owned(), "log", stream, Some(engine)).await
    }

    /// Where its engine is served.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The table `table` at `endpoint`, made when it is not there.
    async fn on(endpoint: String, table: &str, stream: bool, engine: Option<Engine>) -> Self {
        let (transport, store) = reached(Transport::new(), &endpoint, table);
        let client = engine::client(&endpoint).await;
        local::tables::ensure(&client, &Template::load().unwrap(), "LogTable", table, stream).await.unwrap();
        let now = Arc::new(AtomicI64::new(START));
        let summaries = Arc::<Mutex<Vec<Summary>>>::default();
        let said = Arc::clone(&summaries);
        let sink = Box::new(move |summary: &Summary| said.lock().unwrap().push(summary.clone()));
        let app = App::new(store.clone(), clock(&now), fastrand::Rng::with_seed(1), sink);
        let recorder = Recorder::new(store.clone(), fastrand::Rng::with_seed(2));
        let graphql = graphql::App::new(store.clone());
        Self {
            store,
            client,
            table: table.into(),
            transport,
            app,
            graphql,
            summaries,
            recorder,
            now,
            endpoint,
            engine,
        }
    }

    /// The clock, which stands still until [`World::advance`].
    pub fn clock(&self) -> Clock {
        clock(&self.now)
    }

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        (self.clock())()
    }

    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Starts another process, whose retries `seed` spreads.
    pub fn process(&self, seed: u64) -> Process {
        let (transport, store) =
            reached(Transport::new().at_most(PROCESS_REQUESTS), &self.endpoint, &self.table);
        let sink = Box::new(|_: &Summary| {});
        Process { app: App::new(store, self.clock(), fastrand::Rng::with_seed(seed), sink), transport }
    }

    /// Stops the engine, if this world has one of its own.
    pub async fn stop(self) {
        if let Some(engine) = self.engine {
            engine.stop().await;
        }
    }

    /// Parses an event as the HTTP source would.
    pub fn event(&self, value: Value) -> Event {
        let now = self.now();
        Event::parse(value, &Defaults { id: ("unused".into(), "id"), workspace: None, created_at: now, now })
            .unwrap()
    }

    /// Records events that must be new.
    pub async fn given(&self, events: impl IntoIterator<Item = Value>) {
        let events: Vec<Event> = events.into_iter().map(|event| self.event(event)).collect();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        for result in self.recorder.record(events, deadline).await.results {
            assert!(matches!(result, Ok(Recorded::New(_))), "{result:?}");
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

    /// Follows the links from a first page to the last, shows `each` of them, and gives the ids of all.
    pub async fn walk(&self, sub: &str, first: &str, mut each: impl FnMut(&Reply)) -> Vec<String> {
        let mut next = Some(first.to_owned());
        let mut ids = Vec::new();
        while let Some(path) = next {
            let reply = self.get_as(sub, "", &path).await;
            assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
            each(&reply);
            ids.extend(reply.ids().into_iter().map(str::to_owned));
            next = reply.next().map(str::to_owned);
            assert!(ids.len() < 10_000, "a walk without end: {first}");
        }
        ids
    }

    /// Gets a path as the workspace's owner, as the text that is sent.
    pub async fn get_raw(&self, path: &str) -> String {
        let request = self.request("GET", path, Some(token_claims("owner", "")), &[], None);
        self.handle("GET", path, request).await.into_body()
    }

    /// Asks GraphQL, as `sub`, and gives the text that is sent.
    pub async fn ask_raw(&self, sub: &str, query: &str) -> String {
        let body = json!({ "query": query }).to_string();
        let request = self.request("POST", "/graphql", Some(token_claims(sub, "")), &[], Some(&body));
        self.handle("POST", "/graphql", request).await.into_body()
    }

    /// Whether reads go through the transport from now on: to meter them takes time of its own.
    pub fn meter(&mut self, reads: bool) {
        self.store = if reads {
            reached(self.transport.clone(), &self.endpoint, &self.table).1
        } else {
            Store::new(self.client.clone(), self.table.clone())
        };
        self.graphql = graphql::App::new(self.store.clone());
    }

    /// Asks GraphQL, as `sub` with `scope`, and gives the whole answer.
    pub async fn ask(&self, sub: &str, scope: &str, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables }).to_string();
        self.send("POST", "/graphql", Some(token_claims(sub, scope)), &[], Some(&body)).await.body
    }

    /// Posts a body to a workspace, with headers.
    pub async fn post(&self, ws: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        let path = format!("/api/v1/workspaces/{ws}/activity");
        self.send("POST", &path, Some(token_claims("service", "activity:write")), headers, Some(body)).await
    }

    /// Sends a request through the function that serves its path.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        claims: Option<Value>,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Reply {
        let response = self.handle(method, path, self.request(method, path, claims, headers, body)).await;
        let text = |value: &lambda_http::http::HeaderValue| value.to_str().unwrap().to_owned();
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: match response.body().as_str() {
                "" => Value::Null,
                body => serde_json::from_str(body).unwrap(),
            },
        }
    }

    /// Sends a whole event, as API Gateway would, SQS or a direct caller, to the function with this crate. Gives what
    /// it comes to, in the words of the sample events' names, and what was answered.
    pub async fn invoke(&self, function: &str, event: &Value) -> (String, Value) {
        if function == "record-activity" {
            let mut context = lambda_http::Context::default();
            context.request_id = uuid::Uuid::new_v4().to_string();
            let event = LambdaEvent { payload: Exact(event.clone()), context };
            return match record_activity::invoke(&self.app, event).await {
                Ok(answer) => match (answer.get("statusCode"), answer.get("batchItemFailures")) {
                    (Some(status), _) => (status.to_string(), answer),
                    (_, Some(failures)) => (format!("failed-{}", failures.as_array().unwrap().len()), answer),
                    _ => ("ok".into(), answer),
                },
                Err(error) => ("error".into(), json!({ "error": error.error_message })),
            };
        }
        let payload = serde_json::from_value(event.clone()).unwrap();
        let event = LambdaEvent { payload, context: lambda_http::Context::default() };
        let answer = match function {
            "list-workspace-activity" => {
                let list = |request| list_workspace_activity::handle(&self.store, request);
                serde_json::to_value(shell::serve(event, list).await.unwrap())
            }
            "list-issue-activity" => {
                let list = |request| list_issue_activity::handle(&self.store, request);
                serde_json::to_value(shell::serve(event, list).await.unwrap())
            }
            "graphql" => {
                let answer = |request| graphql::handle(&self.graphql, request);
                let answer = serde_json::to_value(shell::serve(event, answer).await.unwrap()).unwrap();
                let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
                let code = body["errors"][0]["extensions"]["code"].as_str();
                let code = code.map(|code| code.to_lowercase().replace('_', "-"));
                return (code.unwrap_or_else(|| answer["statusCode"].to_string()), answer);
            }
            other => panic!("no function {other}"),
        };
        let answer = answer.unwrap();
        (answer["statusCode"].to_string(), answer)
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        claims: Option<Value>,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Request {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let segments: Vec<&str> = path.split('/').collect();
        let parameters = match segments.as_slice() {
            ["", "api", "v1", "actions"] | ["", "graphql"] => Value::Null,
            ["", "api", "v1", "workspaces", ws, "activity"] => json!({ "ws_id": ws }),
            ["", "api", "v1", "workspaces", ws, "activity", id] => json!({ "ws_id": ws, "activity_id": id }),
            ["", "api", "v1", "workspaces", ws, "issues", issue, "activity"] => {
                json!({ "ws_id": ws, "issue_id": issue })
            }
            _ => panic!("no route for {path}"),
        };
        let headers: BTreeMap<&str, &str> =
            headers.iter().copied().chain([("host", "api.example")]).collect();
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
            "headers": headers, "pathParameters": parameters, "body": body, "isBase64Encoded": false,
            "requestContext": {
                "requestId": "req-1", "stage": "$default",
                "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1" },
                "authorizer": claims.map(|claims| json!({ "jwt": { "claims": claims, "scopes": null } })),
            }
        });
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    async fn handle(&self, method: &str, path: &str, request: Request) -> Response<String> {
        if path == "/graphql" {
            let Ok(response) = graphql::handle(&self.graphql, request).await;
            return response;
        }
        let recorder = method == "POST" || path.starts_with("/api/v1/actions");
        let Ok(response) = match (recorder, path.contains("/issues/")) {
            (true, _) => record_activity::handle(&self.app, request).await,
            (_, true) => list_issue_activity::handle(&self.store, request).await,
            _ => list_workspace_activity::handle(&self.store, request).await,
        };
        response
    }
}

/// The table through `transport`.
fn reached(transport: Transport, endpoint: &str, table: &str) -> (Transport, Store) {
    let config = engine::config(endpoint).http_client(transport.clone()).build();
    (transport, Store::new(Client::from_conf(config), table))
}

fn clock(now: &Arc<AtomicI64>) -> Clock {
    let now = Arc::clone(now);
    Arc::new(move || {
        Timestamp::truncate(DateTime::from_timestamp_micros(now.load(Ordering::SeqCst)).unwrap())
    })
}

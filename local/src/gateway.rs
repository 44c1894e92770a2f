//! API Gateway on this machine: it routes requests as `template.yaml` says, authorizes them, and invokes functions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::config::Credentials;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, Response};
use domain::time::Clock;
use domain::{Error, Result};
use live_delivery::{Dispatcher, Sender};
use record_activity::{App, Forwarder, Principals, Sink, Summary};
use serde_json::Value;
use store::{Connections, Store};
use subscriptions::KeySet;
use subscriptions::verify::Verifier;

use crate::async_invocations::AsyncInvocations;
use crate::aws::Aws;
use crate::background::BackgroundWork;
use crate::functions::{API_TIMEOUT, Function, Functions, RETRY, Recorders};
use crate::http_api::{self, HttpApi, HttpCall, NoRoute, RouteMatch};
use crate::queue::{FunctionQueue, Queue};
use crate::queue_poller::QueuePoller;
use crate::signing_key::SigningKey;
use crate::stream::Stream;
use crate::stream_poller::StreamPoller;
use crate::template::{Cors, QueueSource, Template};
use crate::token::{AUDIENCE, Issuer, TokenIssuer};
use crate::web_sockets::WebSockets;
use crate::{authorizer, body, engine, response};

/// The factor by which queues retry sooner than in AWS, so that a failed message is retried after a second instead of three
/// minutes.
const QUEUE_SPEEDUP: u32 = 180;

/// The pause before a failed asynchronous invocation is retried, when there is no queue whose pause it shares.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The path of the connections' management API.
pub(crate) const MANAGEMENT_PATH: &str = "/dev/live";

/// The tables, the stream and the clock of a gateway.
#[derive(Clone)]
pub struct Backend {
    /// The log.
    pub store: Store,
    /// The connections and their subscriptions.
    pub connections: Connections,
    /// The log's stream. `None` delivers nothing to subscribers.
    pub stream: Option<Stream>,
    /// The clock that decides when activities are recorded, and which tokens are valid.
    pub clock: Clock,
    /// Spreads retries.
    pub jitter: fastrand::Rng,
    /// Signs development tokens.
    pub key: SigningKey,
}

/// A gateway that serves the routes of the template, and issues development tokens. Clones share everything.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    store: Store,
    http_api: HttpApi,
    functions: Arc<Functions>,
    /// `None` when the template has no known function behind the WebSocket API.
    web_sockets: Option<WebSockets>,
    stream: Option<Stream>,
    producers: Producers,
    cors: Cors,
    tokens: TokenIssuer,
    verifier: Verifier,
    clock: Clock,
    /// Host and port.
    domain: String,
}

/// The ways in for producers beside the HTTP API.
struct Producers {
    aws: Aws,
    invocations: AsyncInvocations,
    /// The queues, each with the function that it feeds.
    queues: Vec<(FunctionQueue, Function)>,
}

impl Gateway {
    /// A gateway at `url`, which its tokens name as their issuer.
    pub fn new(backend: Backend, template: &Template, url: String) -> Self {
        let hurried =
            |source: QueueSource| QueueSource { visibility: source.visibility / QUEUE_SPEEDUP, ..source };
        let queues = template.queue_sources().into_iter().map(hurried).collect();
        Self::with_queues(backend, template, url, queues)
    }

    /// A gateway whose queues are `queues` instead of the template's.
    pub fn with_queues(backend: Backend, template: &Template, url: String, queues: Vec<QueueSource>) -> Self {
        let Backend { store, connections, stream, clock, mut jitter, key } = backend;
        let domain = url.split_once("://").map_or(url.as_str(), |(_, domain)| domain).to_owned();
        let issuer = Arc::new(Issuer::with_key(url.clone(), key));
        let verifier = || Verifier::new(issuer.url(), vec![AUDIENCE.to_owned()], &issuer.keys());
        let dispatcher = Dispatcher {
            graphql: graphql_api::App::new(store.clone()),
            store: store.clone(),
            connections,
            sender: sender(&domain, jitter.fork()),
            clock: Arc::clone(&clock),
        };
        // Nobody's credentials are checked here, so that everybody may change the directory by queue and bus.
        // Nobody can guess the recorders' access key id, which stands for their roles.
        let recorder = format!("AROA{}", uuid::Uuid::new_v4().simple());
        let forwarder = template.forwarding_queues(RETRY).map(|queues| forwarder(&domain, &recorder, queues));
        let recorders = Recorders::new(&Principals::All, &Principals::parse(&recorder), |ingress| {
            App::new(ingress, store.clone(), Arc::clone(&clock), jitter.fork(), log_summaries())
                .with_forwarder(forwarder.clone())
        });
        let functions = Arc::new(Functions::new(dispatcher, KeySet::fixed(verifier()), recorders));
        let web_socket_function = template.web_socket_function().and_then(|name| known(&name));
        let web_sockets = web_socket_function
            .map(|function| WebSockets::new(Arc::clone(&functions), function, Arc::clone(&clock), &domain));
        Self(Arc::new(Inner {
            store,
            http_api: HttpApi::new(template),
            web_sockets,
            stream,
            producers: Producers::new(queues, template.bus_queue(), &functions, &clock, (&recorder, &url)),
            cors: template.cors.clone(),
            verifier: verifier(),
            tokens: TokenIssuer { issuer, clock: Arc::clone(&clock) },
            functions,
            clock,
            domain,
        }))
    }

    /// A token for `sub` with the scopes `scope`, which are separated by spaces.
    pub fn token(&self, sub: &str, scope: &str) -> String {
        self.0.tokens.issuer.token(sub, scope, (self.0.clock)())
    }

    /// Reads from the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn require_log(&self) -> Result<()> {
        self.0.store.warm_up().await
    }

    /// Starts to work on the queue and on the stream, until the work is finished or dropped.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub(crate) async fn start(&self) -> Result<BackgroundWork, String> {
        let stream = match &self.0.stream {
            Some(stream) => Some(StreamPoller::start(stream, &self.0.functions).await?),
            None => None,
        };
        let Producers { queues, invocations, .. } = &self.0.producers;
        let poller = |(queue, function): &(FunctionQueue, Function)| QueuePoller {
            queue: Arc::clone(&queue.queue),
            functions: Arc::clone(&self.0.functions),
            function: *function,
            source: queue.source.clone(),
        };
        Ok(BackgroundWork::start(queues.iter().map(poller).collect(), invocations.clone(), stream))
    }

    /// The paths of the HTTP API.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.http_api.paths()
    }

    /// The HTTP API's CORS settings.
    pub(crate) fn cors(&self) -> &Cors {
        &self.0.cors
    }

    /// The issuer of its tokens.
    pub(crate) fn tokens(&self) -> &TokenIssuer {
        &self.0.tokens
    }

    /// The AWS APIs of producers.
    pub(crate) fn aws(&self) -> &Aws {
        &self.0.producers.aws
    }

    /// The WebSocket API.
    pub(crate) fn web_sockets(&self) -> Option<&WebSockets> {
        self.0.web_sockets.as_ref()
    }

    /// Accepts a WebSocket connection.
    pub(crate) async fn connect(
        &self,
        upgrade: WebSocketUpgrade,
        headers: HeaderMap,
        peer: SocketAddr,
    ) -> Response<Body> {
        match &self.0.web_sockets {
            Some(web_sockets) => web_sockets.accept(upgrade, headers, peer).await,
            None => response::not_found(&response::new_request_id()),
        }
    }

    /// Answers a request to the HTTP API.
    pub(crate) async fn answer(&self, request: Request, peer: SocketAddr) -> Response<Body> {
        let request_id = response::new_request_id();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let matched = match self.0.http_api.route(method.as_str(), &path) {
            Ok(matched) => matched,
            Err(NoRoute::NotFound) => return response::not_found(&request_id),
            Err(NoRoute::MethodNotAllowed { allowed }) => {
                return response::method_not_allowed(&method, &allowed, &request_id);
            }
        };
        let answer = self.0.answer(&matched, request, peer, &request_id).await;
        answer.unwrap_or_else(|response| response)
    }
}

impl Inner {
    /// Answers a request to a route.
    ///
    /// # Errors
    /// The response to a request that reached no function, or whose function failed.
    async fn answer(
        &self,
        matched: &RouteMatch<'_>,
        request: Request,
        peer: SocketAddr,
        request_id: &str,
    ) -> Result<Response<Body>, Response<Body>> {
        let (parts, body) = request.into_parts();
        let time = (self.clock)();
        let scopes = &matched.route.scopes;
        let claims = authorizer::authorize(&self.verifier, &parts.headers, scopes, time, request_id);
        // A client that is still sending reads no response, so that the body is read even when the request is refused.
        let body = body::read(body).await;
        let claims = claims.map_err(response::of_problem)?;
        let refuse = |error: Error| response::of_error(&error, request_id);
        let call = HttpCall {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            version: parts.version,
            headers: &parts.headers,
            body: body.map_err(refuse)?,
            claims: Some(claims),
            peer: peer.ip(),
            request_id,
            time,
            domain: &self.domain,
        };
        let event = self.http_api.event(matched, call).map_err(refuse)?;
        let response = self.invoke(&matched.route.function, &event, request_id).await.map_err(refuse)?;
        Ok(response.map(Body::from))
    }

    async fn invoke(&self, function: &str, event: &Value, request_id: &str) -> Result<Response<Vec<u8>>> {
        let function =
            Function::named(function).ok_or_else(|| Error::internal("the function is not served here"))?;
        let payload = event.to_string().into_bytes();
        let answer = self.functions.invoke(function, payload, request_id, API_TIMEOUT).await;
        let answered = answer.map_err(|failure| Error::internal(failure.to_string()));
        answered.and_then(http_api::response).inspect_err(|error| {
            tracing::error!(request_id, error = error.chain(), "failed function");
        })
    }
}

impl Producers {
    /// The ways in through those of `sources` that feed a known function. The event bus sends to `bus_queue`, and the
    /// recorders have the access key id `recorder`.
    fn new(
        sources: Vec<QueueSource>,
        bus_queue: Option<&str>,
        functions: &Arc<Functions>,
        clock: &Clock,
        (recorder, url): (&str, &str),
    ) -> Self {
        let queue = |source: QueueSource| {
            let function = known(&source.function)?;
            let queue = Queue::new(Arc::clone(clock), source.max_receives, source.visibility);
            Some((FunctionQueue { queue: Arc::new(queue), source }, function))
        };
        let queues: Vec<_> = sources.into_iter().filter_map(queue).collect();
        let retry_pause = queues.first().map_or(RETRY_PAUSE, |(queue, _)| queue.source.visibility);
        let invocations = AsyncInvocations::new(retry_pause);
        let served = queues.iter().map(|(queue, _)| queue.clone()).collect();
        let aws = Aws::new(served, bus_queue, functions, invocations.clone(), clock, recorder, url);
        Self { aws, invocations, queues }
    }
}

/// The function with this crate. The log has those that the template names and that are not registered here.
fn known(name: &str) -> Option<Function> {
    let function = Function::named(name);
    if function.is_none() {
        tracing::warn!(function = name, "function of template.yaml is not served here");
    }
    function
}

/// Sends to the connections of a gateway, through its own management API.
fn sender(domain: &str, jitter: fastrand::Rng) -> Sender {
    // The address is a number, because the name may have other addresses too, where nobody listens.
    let domain = domain.replace("localhost", "127.0.0.1");
    let config = live_delivery::config(format!("http://{domain}{MANAGEMENT_PATH}"))
        .region(aws_sdk_apigatewaymanagement::config::Region::new(engine::CLIENT_REGION))
        .credentials_provider(engine::credentials());
    Sender::new(aws_sdk_apigatewaymanagement::Client::from_conf(config.build()), jitter)
}

/// Forwards to two queues of a gateway, through its own SQS API.
fn forwarder(domain: &str, recorder: &str, (retry_queue, refused_queue): (&str, &str)) -> Forwarder {
    // As above.
    let endpoint = format!("http://{}/dev/queue", domain.replace("localhost", "127.0.0.1"));
    let config = record_activity::config()
        .endpoint_url(endpoint)
        .region(aws_sdk_sqs::config::Region::new(engine::CLIENT_REGION))
        .credentials_provider(Credentials::new(recorder, "local", None, None, "local"));
    Forwarder {
        client: aws_sdk_sqs::Client::from_conf(config.build()),
        retry_queue: retry_queue.to_owned(),
        refused_queue: refused_queue.to_owned(),
    }
}

/// Logs the summary of each invocation that records.
fn log_summaries() -> Sink {
    Box::new(|summary: &Summary| {
        let Summary { source, recorded, duplicates, conflicts, rejected, failed, retries, .. } = summary;
        tracing::info!(source, recorded, duplicates, conflicts, rejected, failed, retries, "recorded events");
    })
}

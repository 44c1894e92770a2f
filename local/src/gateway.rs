//! API Gateway on this machine: routes and scopes as `template.yaml` says, events as Lambda gets them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, Response};
use axum::middleware::{self, Next};
use axum::routing::any;
use live::{Sender, Teller};
use shared::Error;
use shared::store::{Connections, Store};
use shared::time::Clock;
use subscriptions::Keys;
use subscriptions::verify::Verifier;
use tower_http::cors::{Any, CorsLayer};

use crate::aws::{self, Aws};
use crate::functions::{Function, Functions};
use crate::invocation::{self, Call};
use crate::sockets::{self, Sockets};
use crate::stream::Stream;
use crate::template::{Cors, QueueSource, Template};
use crate::token::{AUDIENCE, Desk, Issuer};
use crate::{answer, authorizer, engine, graphiql, openapi, pipeline, stream, token};

/// Queues wait so many times shorter here: what fails is tried again after a second, not after three minutes.
const HASTE: u32 = 180;

/// Where the connections' management API is.
const MANAGEMENT: &str = "/dev/live";

/// What is behind a gateway.
#[derive(Clone)]
pub struct Behind {
    /// The log.
    pub store: Store,
    /// Who watches it.
    pub connections: Connections,
    /// Where watchers hear from what was recorded; `None` if they are told nothing.
    pub stream: Option<Stream>,
    /// Decides what is recorded when, and which tokens are valid.
    pub clock: Clock,
    /// Spreads the recorder's retries.
    pub jitter: fastrand::Rng,
}

/// Serves the routes of the template, with an issuer of development tokens.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    functions: Arc<Functions>,
    sockets: Sockets,
    stream: Option<Stream>,
    /// `None` when the template feeds no function of ours from a queue.
    aws: Option<Aws>,
    endpoints: BTreeMap<String, Vec<Endpoint>>,
    cors: CorsLayer,
    issuer: Arc<Issuer>,
    verifier: Verifier,
    clock: Clock,
    domain: String,
}

/// A method of a path.
struct Endpoint {
    method: String,
    /// `None` for a function that the gateway does not know.
    function: Option<Function>,
    route_key: String,
    scopes: Vec<String>,
}

impl Gateway {
    /// A gateway to the functions on what is `behind` it, at the address `issuer`, which is also what its tokens name as
    /// their issuer.
    pub fn new(behind: Behind, template: &Template, issuer: String) -> Self {
        let here = |source: QueueSource| QueueSource { visibility: source.visibility / HASTE, ..source };
        let queues = template.queue_sources().into_iter().map(here).collect();
        Self::with(behind, template, issuer, queues)
    }

    /// The same, with the queues as they are given.
    pub fn with(behind: Behind, template: &Template, issuer: String, queues: Vec<QueueSource>) -> Self {
        let Behind { store, connections, stream, clock, jitter } = behind;
        let mut endpoints: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
        for route in &template.routes {
            let function = Function::named(&route.function);
            if function.is_none() {
                tracing::warn!(
                    function = route.function,
                    "template.yaml has a function that is not served here"
                );
            }
            endpoints.entry(route.path.clone()).or_default().push(Endpoint {
                method: route.method.clone(),
                function,
                route_key: format!("{} {}", route.method, route.path),
                scopes: route.scopes.clone(),
            });
        }
        let domain = issuer.split_once("://").map_or(issuer.as_str(), |(_, domain)| domain).to_owned();
        // By number, as a name may be that of an address on which nobody listens.
        let sender = sender(format!("http://{}{MANAGEMENT}", domain.replace("localhost", "127.0.0.1")));
        let url = issuer;
        let issuer = Arc::new(Issuer::new(url.clone()));
        let verifier = || Verifier::new(issuer.url(), vec![AUDIENCE.to_owned()], &issuer.keys());
        let graphql = graphql::App::new(store.clone());
        let teller = Teller { graphql, store, connections, sender, clock: Arc::clone(&clock) };
        let functions = Arc::new(Functions::new(teller, Keys::known(verifier()), jitter));
        let aws = Aws::new(queues, &functions, &clock, &url);
        Self(Arc::new(Inner {
            functions,
            sockets: Sockets::new(),
            stream,
            aws,
            endpoints,
            cors: cors(&template.cors),
            verifier: verifier(),
            issuer,
            clock,
            domain,
        }))
    }

    /// A token for `sub` with the scopes `scope`, words separated by spaces.
    pub fn token(&self, sub: &str, scope: &str) -> String {
        self.0.issuer.token(sub, scope, (self.0.clock)())
    }

    /// Begins to work on the queue and on the stream, until what is given back is dropped.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub(crate) async fn start(&self) -> Result<Running, String> {
        let aws = self.0.aws.as_ref();
        let stream = match &self.0.stream {
            Some(stream) => Some(stream.start(&self.0.functions).await?),
            None => None,
        };
        let queue = aws.map(|aws| pipeline::Running::start(&aws.pipeline, &aws.asynchronous));
        Ok(Running { queue, stream })
    }

    /// Closes all WebSocket connections.
    pub(crate) fn hang_up(&self) {
        self.0.sockets.close();
    }

    /// Waits until the functions know of the end of all WebSocket connections.
    pub(crate) async fn hung_up(&self) {
        self.0.sockets.ended().await;
    }

    /// Takes a WebSocket connection.
    pub(crate) async fn connect(
        &self,
        upgrade: WebSocketUpgrade,
        headers: HeaderMap,
        peer: SocketAddr,
    ) -> Response<Body> {
        let (functions, clock) = (Arc::clone(&self.0.functions), Arc::clone(&self.0.clock));
        self.0.sockets.accept(functions, clock, self.0.domain.clone(), (upgrade, headers, peer)).await
    }

    /// Everything there is to serve.
    pub fn router(&self) -> Router {
        let api = self.0.endpoints.keys().fold(Router::new(), |router, path| {
            router.route(path, any(call).with_state((self.clone(), Arc::from(path.as_str()))))
        });
        let aws = self.0.aws.clone().map(aws::routes).unwrap_or_default();
        let desk = Desk { issuer: Arc::clone(&self.0.issuer), clock: Arc::clone(&self.0.clock) };
        api.fallback(async || answer::no_such_path(&answer::request_id()))
            .layer(self.0.cors.clone())
            .merge(
                token::routes(desk.clone()).merge(openapi::routes()).merge(aws).method_not_allowed_fallback(
                    // What is allowed instead, the router adds by itself.
                    async |method: Method| answer::method_not_allowed(&method, &[], &answer::request_id()),
                ),
            )
            // Another method of a path of the API.
            .merge(graphiql::routes(desk, self.clone()))
            .layer(middleware::from_fn(log))
            // A request for each message to each connection would drown the others in the log.
            .merge(
                sockets::routes(MANAGEMENT, self.0.sockets.clone()).layer(middleware::from_fn(aws::no_pages)),
            )
    }
}

impl Inner {
    /// Answers a request to `path`, a path as the template writes it.
    async fn answer(
        &self,
        path: &str,
        parameters: Result<RawPathParams, RawPathParamsRejection>,
        peer: SocketAddr,
        request: Request,
    ) -> Response<Body> {
        let request_id = &answer::request_id();
        let endpoints = self.endpoints.get(path).map_or(&[][..], Vec::as_slice);
        let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.method == request.method().as_str())
        else {
            let allowed: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.method.as_str()).collect();
            return answer::method_not_allowed(request.method(), &allowed, request_id);
        };
        let (parts, body) = request.into_parts();
        let time = (self.clock)();
        let claims =
            authorizer::authorize(&self.verifier, &parts.headers, &endpoint.scopes, time, request_id);
        // The body is read in any case: a client that is still sending does not read the answer.
        let body = invocation::read(body).await;
        let claims = match claims {
            Ok(claims) => authorizer::as_strings(claims),
            Err(problem) => return answer::problem(problem),
        };
        let parameters = parameters.map_err(|_| Error::bad_input("path", "must be UTF-8, percent-encoded"));
        let request = body.and_then(|body| {
            let parameters = parameters?;
            let path_parameters =
                parameters.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            let (route_key, scopes, domain) = (&endpoint.route_key, &endpoint.scopes, &self.domain);
            let parts = &parts;
            Call { parts, body, request_id, peer, time, route_key, path_parameters, claims, scopes, domain }
                .into_request()
        });
        match (request, endpoint.function) {
            (Ok(request), Some(function)) => self.functions.answer(function, request).await.map(Body::from),
            (Ok(_), None) => answer::refuse(&Error::internal("the function is not served here"), request_id),
            (Err(error), _) => answer::refuse(&error, request_id),
        }
    }
}

/// What works while the gateway serves.
pub(crate) struct Running {
    queue: Option<pipeline::Running>,
    stream: Option<stream::Running>,
}

impl Running {
    /// Lets everything come to its end, as far as it does in some time: what the queue has is recorded, and then listed for
    /// those who will have missed it.
    pub(crate) async fn finish(self) {
        if let Some(queue) = self.queue {
            queue.finish().await;
        }
        if let Some(stream) = self.stream {
            stream.finish().await;
        }
    }
}

/// Sends to connections of this gateway, through its own management API.
fn sender(endpoint: String) -> Sender {
    let config = live::config(endpoint)
        .region(aws_sdk_apigatewaymanagement::config::Region::new(engine::REGION))
        .credentials_provider(engine::credentials());
    Sender::new(aws_sdk_apigatewaymanagement::Client::from_conf(config.build()))
}

type Served = (Gateway, Arc<str>);

/// Answers a request in a task of its own: a panic becomes an answer, and a client that leaves does not stop what it
/// has begun, as it does not stop a Lambda function.
async fn call(
    State((gateway, path)): State<Served>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response<Body> {
    let task = tokio::spawn(async move { gateway.0.answer(&path, parameters, peer, request).await });
    task.await.unwrap_or_else(|error| {
        let request_id = answer::request_id();
        tracing::error!(%error, request_id, "a handler panicked");
        answer::refuse(&Error::internal(error), &request_id)
    })
}

/// Writes the access log.
async fn log(request: Request, next: Next) -> Response<Body> {
    let (method, path, started) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    let response = next.run(request).await;
    tracing::info!("{method} {path} {} {} ms", response.status().as_u16(), started.elapsed().as_millis());
    response
}

/// The answers to browsers. Any origin may try, as the template's default says: what opens the log is a token.
fn cors(cors: &Cors) -> CorsLayer {
    let headers =
        |names: &[String]| names.iter().filter_map(|name| name.parse().ok()).collect::<Vec<HeaderName>>();
    let methods: Vec<Method> = cors.allow_methods.iter().filter_map(|name| name.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(methods)
        .allow_headers(headers(&cors.allow_headers))
        .expose_headers(headers(&cors.expose_headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_with_a_route_is_served() {
        for route in Template::load().unwrap().routes {
            assert!(Function::named(&route.function).is_some(), "{}", route.function);
        }
    }
}

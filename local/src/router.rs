//! Everything that the gateway serves, and the access log.

use std::net::SocketAddr;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, Method, Response};
use axum::middleware::{self, Next};
use axum::routing::{any, get};
use serde_json::json;
use tower_http::cors::{Any, CorsLayer};

use crate::aws_protocol::refuse_pages;
use crate::gateway::{Gateway, MANAGEMENT_PATH};
use crate::template::Cors;
use crate::web_sockets::management;
use crate::{aws, graphiql, openapi, response, token};

/// The routes of a gateway.
pub(crate) fn router(gateway: &Gateway) -> Router {
    let mut paths: Vec<&str> = gateway.paths().collect();
    paths.sort_unstable();
    paths.dedup();
    let api = paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(call)));
    let api = api.fallback(call).with_state(gateway.clone()).layer(cors_layer(gateway.cors()));
    // Other origins must not read the page, because it has a token in it.
    let api = api.layer(middleware::from_fn_with_state(gateway.clone(), page_or_web_socket));
    let extras = token::routes(gateway.tokens().clone())
        .merge(graphiql::routes())
        .merge(openapi::routes())
        .merge(aws::routes(gateway.aws().clone()))
        // The router adds the header with the allowed methods.
        .method_not_allowed_fallback(async |method: Method| {
            response::method_not_allowed(&method, &[], &response::new_request_id())
        });
    let health = Router::new().route("/healthz", get(health)).with_state(gateway.clone());
    let management = gateway.web_sockets().map(|sockets| management::routes(MANAGEMENT_PATH, sockets));
    let management = management.unwrap_or_default().layer(middleware::from_fn(refuse_pages));
    // The management API is not in the access log, because each message to each connection is a request to it.
    api.merge(health).merge(extras).layer(middleware::from_fn(log)).merge(management)
}

async fn call(
    State(gateway): State<Gateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    gateway.answer(request, peer).await
}

/// The page to try GraphQL on, or a WebSocket connection for a client that asks for one. Other requests, and queries by
/// GET, pass.
async fn page_or_web_socket(
    State(gateway): State<Gateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
    next: Next,
) -> Response<Body> {
    if request.uri().path() != graphiql::PATH || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match upgrade {
        Ok(upgrade) => gateway.connect(upgrade, request.headers().clone(), peer).await,
        Err(_) if graphiql::is_for_page(request.uri().query()) => {
            graphiql::page(gateway.tokens(), request.uri().query(), request.headers())
        }
        Err(_) => next.run(request).await,
    }
}

/// Whether the gateway can read its log: 200 or 503. Nothing that is recorded is in the answer, so it takes no token.
async fn health(State(gateway): State<Gateway>) -> Response<Body> {
    match gateway.require_log().await {
        Ok(()) => response::of_json(&json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })),
        Err(error) => response::of_error(&error, &response::new_request_id()),
    }
}

/// Writes the access log.
async fn log(request: Request, next: Next) -> Response<Body> {
    let (method, path, began) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    let response = next.run(request).await;
    let (status, milliseconds) = (response.status().as_u16(), began.elapsed().as_millis());
    tracing::info!(%method, path, status, milliseconds, "answered request");
    response
}

/// CORS as the template has it, for any origin, which is the template's default. A token is what opens the log, and not the
/// origin.
fn cors_layer(cors: &Cors) -> CorsLayer {
    let headers =
        |names: &[String]| names.iter().filter_map(|name| name.parse().ok()).collect::<Vec<HeaderName>>();
    let methods: Vec<Method> = cors.allow_methods.iter().filter_map(|name| name.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(methods)
        .allow_headers(headers(&cors.allow_headers))
        .expose_headers(headers(&cors.expose_headers))
}

//! API Gateway's WebSocket API: connections, the events that their messages become, and the management API through which
//! functions answer. The limits are those of API Gateway's quotas for WebSocket APIs.

mod connection;
pub(crate) mod management;
mod registry;
mod session;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::header::{SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use axum::http::{HeaderMap, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use domain::time::Clock;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::functions::{Function, Functions};
use crate::response;

use connection::{Client, Connection, Event};
use registry::Registry;

/// The largest message in either direction, in bytes.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// The largest frame of a client, in bytes.
const MAX_FRAME_BYTES: usize = 32 * 1024;
/// The bytes of a connection's read buffer, which are few so that thousands of connections fit in memory.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// The most open connections.
const MAX_CONNECTIONS: u32 = 100_000;
/// The random bytes of a connection's id, which make it as long as API Gateway's.
const ID_BYTES: usize = 11;

/// The WebSocket API. Clones share its connections.
#[derive(Clone)]
pub(crate) struct WebSockets {
    functions: Arc<Functions>,
    /// The function behind the API.
    function: Function,
    clock: Clock,
    /// Host and port of the gateway.
    domain: Arc<str>,
    registry: Registry,
    /// Each connection holds a permit until the function knows that it has ended.
    permits: Arc<Semaphore>,
}

impl WebSockets {
    /// An API without connections.
    pub(crate) fn new(functions: Arc<Functions>, function: Function, clock: Clock, domain: &str) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
        Self { functions, function, clock, domain: domain.into(), registry: Registry::default(), permits }
    }

    /// Accepts a connection, if the function does.
    pub(crate) async fn accept(
        &self,
        upgrade: WebSocketUpgrade,
        headers: HeaderMap,
        address: SocketAddr,
    ) -> Response<Body> {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let connection = Connection {
            id: URL_SAFE.encode(&uuid::Uuid::new_v4().as_bytes()[..ID_BYTES]),
            functions: Arc::clone(&self.functions),
            function: self.function,
            clock: Arc::clone(&self.clock),
            domain: Arc::clone(&self.domain),
            client: Client { address, agent: agent.to_owned() },
            connected: (self.clock)(),
        };
        let headers: BTreeMap<&str, &str> =
            headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let response = match connection.invoke(Event::Connect, json!({ "headers": headers })).await {
            Some(response) if response.status().is_success() => response,
            Some(response) => {
                let mut refused = Response::new(Body::from(response.body().clone()));
                *refused.status_mut() = response.status();
                return refused;
            }
            None => return response::empty(StatusCode::BAD_GATEWAY),
        };
        let mut upgrade = upgrade
            .max_message_size(MAX_MESSAGE_BYTES)
            .max_frame_size(MAX_FRAME_BYTES)
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0);
        if let Some(protocol) = response.headers().get(SEC_WEBSOCKET_PROTOCOL) {
            upgrade.set_selected_protocol(protocol.clone());
        }
        let (registry, permits) = (self.registry.clone(), Arc::clone(&self.permits));
        upgrade.on_upgrade(move |socket| {
            Box::pin(async move {
                let _permit = permits.acquire_owned().await;
                session::serve(&registry, connection, socket).await;
            })
        })
    }

    /// Closes all connections, as API Gateway does at a deployment.
    pub(crate) fn close_all(&self) {
        self.registry.close_all();
    }

    /// Waits until the function knows that all connections have ended.
    pub(crate) async fn wait_until_closed(&self) {
        self.permits.acquire_many(MAX_CONNECTIONS).await.ok();
    }
}

//! A connection as the function behind the API sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{Response, StatusCode};
use domain::time::{Clock, Timestamp};
use serde_json::{Value, json};

use crate::functions::{API_TIMEOUT, Function, Functions};
use crate::http_api;
use crate::response::new_request_id;

/// The client of a connection.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) agent: String,
}

/// A connection, and the function that gets its events.
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) functions: Arc<Functions>,
    pub(super) function: Function,
    pub(super) clock: Clock,
    /// Host and port of the gateway.
    pub(super) domain: Arc<str>,
    pub(super) client: Client,
    pub(super) connected: Timestamp,
}

/// An event of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Connect,
    Message,
    Disconnect,
}

impl Connection {
    /// Invokes the function with an event, and returns its response, or `None` when it failed. Only the response to a
    /// `Connect` reaches the client.
    pub(super) async fn invoke(&self, event: Event, members: Value) -> Option<Response<Vec<u8>>> {
        let request_id = new_request_id();
        let payload = self.payload(event, members, &request_id).to_string().into_bytes();
        let answer = self.functions.invoke(self.function, payload, &request_id, API_TIMEOUT).await;
        match answer.map(http_api::response) {
            Ok(Ok(response)) if response.status() >= StatusCode::INTERNAL_SERVER_ERROR => None,
            Ok(Ok(response)) => Some(response),
            Ok(Err(error)) => {
                tracing::error!(request_id, error = error.chain(), "malformed answer to a WebSocket event");
                None
            }
            Err(failure) => {
                tracing::error!(request_id, %failure, "failed WebSocket event");
                None
            }
        }
    }

    fn payload(&self, event: Event, mut members: Value, request_id: &str) -> Value {
        let (route, kind) = match event {
            Event::Connect => ("$connect", "CONNECT"),
            Event::Message => ("$default", "MESSAGE"),
            Event::Disconnect => ("$disconnect", "DISCONNECT"),
        };
        let now = (self.clock)();
        members["requestContext"] = json!({
            "routeKey": route,
            "eventType": kind,
            "connectionId": self.id,
            "requestId": request_id,
            "extendedRequestId": request_id,
            "messageId": (event == Event::Message).then(new_request_id),
            "messageDirection": "IN",
            "stage": "live",
            "apiId": "local",
            "domainName": *self.domain,
            "connectedAt": self.connected.utc().timestamp_millis(),
            "requestTimeEpoch": now.utc().timestamp_millis(),
            "requestTime": now.utc().format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "identity": { "sourceIp": self.client.address.ip().to_string(), "userAgent": self.client.agent },
        });
        members["isBase64Encoded"] = false.into();
        members
    }
}

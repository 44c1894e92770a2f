//! The response to API Gateway, and the WebSocket handshake.

use std::collections::BTreeMap;

use lambda_http::http::HeaderMap;
use lambda_http::http::header::SEC_WEBSOCKET_PROTOCOL;
use live_delivery::message::PROTOCOL;
use serde::Serialize;

/// The response to API Gateway. Only the response to `$connect` reaches the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyResponse {
    /// The HTTP status. Any but 2xx refuses the connection on `$connect`, and is a failure on other routes.
    pub status_code: u16,
    /// The headers of the handshake.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<&'static str, &'static str>,
    /// The reason why a connection is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl ProxyResponse {
    pub(crate) fn new(status_code: u16) -> Self {
        Self { status_code, headers: BTreeMap::new(), body: None }
    }
}

/// Accepts a connection whose client offers the protocol.
pub(crate) fn respond(headers: &HeaderMap) -> ProxyResponse {
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
    if !offered.is_some_and(|offered| offered.split(',').any(|name| name.trim() == PROTOCOL)) {
        let body = Some(format!("The subprotocol must be {PROTOCOL}"));
        return ProxyResponse { body, ..ProxyResponse::new(400) };
    }
    let headers = BTreeMap::from([("Sec-WebSocket-Protocol", PROTOCOL)]);
    ProxyResponse { headers, ..ProxyResponse::new(200) }
}

//! The management API, through which functions send to connections, close them and look at them.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;

use super::registry::{Outgoing, Registry};
use super::{MAX_MESSAGE_BYTES, WebSockets};
use crate::aws_protocol::{AwsError, respond};
use crate::{body, response};

/// The API at `path`, which stands for a stage.
pub(crate) fn routes(path: &str, web_sockets: &WebSockets) -> Router {
    let connection = get(show).post(send).delete(close);
    let registry = web_sockets.registry.clone();
    Router::new().route(&format!("{path}/@connections/{{id}}"), connection).with_state(registry)
}

async fn send(State(registry): State<Registry>, Path(id): Path<String>, request: Request) -> Response<Body> {
    let too_large = |detail: String| {
        let error = AwsError::new("PayloadTooLargeException", detail);
        error.with_status(StatusCode::PAYLOAD_TOO_LARGE).into_response()
    };
    let Ok(message) = body::read(request.into_body()).await else {
        return too_large("The message is too large".to_owned());
    };
    if message.len() > MAX_MESSAGE_BYTES {
        return too_large(format!("A message is at most {MAX_MESSAGE_BYTES} bytes"));
    }
    let message = String::from_utf8_lossy(&message).into_owned();
    match registry.with(&id, |socket| socket.outbox.try_send(Outgoing::Message(message))) {
        Some(Ok(())) => respond(StatusCode::OK, &json!({})),
        Some(Err(TrySendError::Full(_))) => {
            AwsError::new("LimitExceededException", "The client's buffer is full")
                .with_status(StatusCode::TOO_MANY_REQUESTS)
                .into_response()
        }
        Some(Err(TrySendError::Closed(_))) | None => gone(),
    }
}

async fn close(State(registry): State<Registry>, Path(id): Path<String>) -> Response<Body> {
    let Some(socket) = registry.remove(&id) else { return gone() };
    socket.close();
    response::empty(StatusCode::NO_CONTENT)
}

async fn show(State(registry): State<Registry>, Path(id): Path<String>) -> Response<Body> {
    let shown = registry.with(&id, |socket| {
        json!({
            "connectedAt": socket.connected.rfc3339(),
            "lastActiveAt": socket.last_active.get().rfc3339(),
            "identity": {
                "sourceIp": socket.client.address.ip().to_string(), "userAgent": socket.client.agent
            },
        })
    });
    shown.map_or_else(gone, |shown| respond(StatusCode::OK, &shown))
}

fn gone() -> Response<Body> {
    AwsError::new("GoneException", "The connection is gone").with_status(StatusCode::GONE).into_response()
}

//! The routes of the WebSocket API: `$connect`, `$default` and `$disconnect`.
//!
//! `message` parses the graphql-transport-ws protocol. `session` begins sessions, with tokens that `verify` and `jwks`
//! check. `subscribe` begins operations, and `replay` delivers the updates that a subscriber missed. API Gateway invokes
//! the function for several messages of a connection at the same time, so that all state of a connection is in the table.

mod app;
mod handshake;
mod jwks;
mod message;
mod replay;
mod session;
mod subscribe;
pub mod verify;

use std::time::Duration;

use domain::subscription::ConnectionId;
use domain::{Error, Result};
use lambda_http::LambdaEvent;
use lambda_http::aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest as WebSocketEvent;
use lambda_http::lambda_runtime::Diagnostic;
use live_delivery::DeliveryError;
use live_delivery::message::{closing, pong};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

pub use app::App;
use app::{Reply, Request};
pub use handshake::ProxyResponse;
pub use jwks::{FailureSink, KeySet};
use message::{ClientMessage, MalformedMessage};

/// Time reserved at the end of an invocation to close a connection that could not get all the updates that it missed.
const DISCONNECT_RESERVE: Duration = Duration::from_secs(9);
/// How long a connection may lack a session, in milliseconds. Whatever its client sends later closes it.
const INIT_TIMEOUT_MS: i64 = 60_000;
/// The shortest delay before a connection is closed because a table is away.
const MIN_CLOSE_DELAY: Duration = Duration::from_secs(1);
/// The longest addition to that delay, in milliseconds. It is random, so that clients do not reconnect together.
const CLOSE_DELAY_SPREAD_MS: u64 = 2_000;

/// Handles an event of the WebSocket API.
///
/// # Errors
/// `InvalidEvent` when the payload is not such an event.
pub async fn invoke(app: &App, event: LambdaEvent<Value>) -> Result<ProxyResponse, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    let deadline = lambda_support::deadline(Some(&context)) - DISCONNECT_RESERVE;
    let event: WebSocketEvent = serde_json::from_value(payload).map_err(lambda_support::invalid_event)?;
    let answered = async {
        app.handle(&event, &context.request_id, deadline).await.unwrap_or_else(|error| {
            lambda_support::log(&error);
            ProxyResponse::new(500)
        })
    };
    Ok(Box::pin(answered).instrument(lambda_support::invocation_span(&context.request_id)).await)
}

impl App {
    async fn handle(
        &self,
        event: &WebSocketEvent,
        request_id: &str,
        deadline: Instant,
    ) -> Result<ProxyResponse> {
        let context = &event.request_context;
        let connection = ConnectionId::parse(context.connection_id.as_deref().unwrap_or_default())?;
        match context.route_key.as_deref() {
            Some("$connect") => Ok(handshake::respond(&event.headers)),
            Some("$disconnect") => {
                self.dispatcher.connections.forget(&connection).await?;
                Ok(ProxyResponse::new(200))
            }
            Some(_) => {
                let request = Request { connection: &connection, request_id, deadline };
                let message = event.body.as_deref().unwrap_or_default();
                // Both times are API Gateway's.
                let is_new = context.request_time_epoch - context.connected_at < INIT_TIMEOUT_MS;
                let reply = match self.receive(&request, message, is_new).await {
                    Ok(reply) => reply,
                    Err(error) => self.close_later(&error).await,
                };
                self.reply(&request, reply).await;
                Ok(ProxyResponse::new(200))
            }
            None => Err(Error::internal("the event has no route")),
        }
    }

    /// Handles a message.
    async fn receive(&self, request: &Request<'_>, message: &str, is_new: bool) -> Result<Reply> {
        let (connection, connections) = (request.connection, &self.dispatcher.connections);
        let message = match ClientMessage::parse(message) {
            Ok(message) => message,
            Err(MalformedMessage(reason)) => return Ok(Reply::Close(reason)),
        };
        // An operation needs a session anyway, and reads it with the connection's subscriptions. A connection that was
        // forgotten may still be open, because it could not be closed.
        let is_operation = matches!(message, ClientMessage::Subscribe { .. });
        if !is_new && !is_operation && !connections.has_session(connection).await? {
            return Ok(Reply::Close("Connection initialisation timeout".to_owned()));
        }
        match message {
            ClientMessage::Init { token } => self.begin_session(connection, token.as_deref()).await,
            ClientMessage::Ping => Ok(Reply::Message(pong())),
            ClientMessage::Pong => Ok(Reply::Nothing),
            ClientMessage::Subscribe { id, document } => {
                Box::pin(self.subscribe(request, &id, &document)).await
            }
            // No operation has such an id.
            ClientMessage::Complete { id } if !message::is_valid(&id) => Ok(Reply::Nothing),
            ClientMessage::Complete { id } => {
                connections.complete(connection, &id, self.dispatcher.now()).await?;
                Ok(Reply::Nothing)
            }
        }
    }

    /// The reply to a message that could not be handled. The connection is closed, because the client reconnects and
    /// retries, where an error would end its operation for good. The delay spaces out those retries.
    async fn close_later(&self, error: &Error) -> Reply {
        lambda_support::log(error);
        let spread = self.dispatcher.store.jitter().below(CLOSE_DELAY_SPREAD_MS);
        sleep(MIN_CLOSE_DELAY + Duration::from_millis(spread)).await;
        Reply::Close(error.to_string())
    }

    async fn reply(&self, request: &Request<'_>, reply: Reply) {
        let &Request { connection, deadline, .. } = request;
        let sender = &self.dispatcher.sender;
        match reply {
            Reply::Nothing => {}
            Reply::Message(message) => {
                if let Err(cause) = sender.send(connection, || message.clone(), deadline).await {
                    self.dispatcher.disconnect(connection, cause).await;
                }
            }
            Reply::Close(reason) => {
                tracing::info!(connection = connection.as_str(), reason, "ended session");
                let sent = sender.send(connection, || closing(&reason), deadline).await;
                self.dispatcher.disconnect(connection, sent.err().unwrap_or(DeliveryError::Refused)).await;
            }
        }
    }
}

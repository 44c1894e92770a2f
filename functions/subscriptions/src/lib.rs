//! The routes of the WebSocket API: `$connect`, `$default` and `$disconnect`.
//!
//! `message` reads the graphql-transport-ws protocol, `verify` and `keys` who speaks it, `subscribe` begins to watch. API
//! Gateway hands over the messages of a connection at the same time, and a process knows nothing of the others, so that
//! all that is known of a connection is in the table.

mod keys;
mod message;
mod subscribe;
pub mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use lambda_http::LambdaEvent;
use lambda_http::lambda_runtime::Diagnostic;
use live::message::{PROTOCOL, closing, connection_ack, pong};
use live::{Teller, message as sent};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::live::{ConnectionId, Session};
use shared::{Error, Result};
use tokio::time::Instant;

pub use keys::Keys;
use message::{Malformed, Message};
use verify::{LEEWAY, scopes};

/// Time kept back at the end, to close a connection that could not be told all it missed.
const CLOSING: Duration = Duration::from_secs(5);

/// What lives as long as the process.
pub struct App {
    teller: Teller,
    keys: Keys,
}

impl App {
    /// Tells subscribers through `teller`, and knows them by tokens that `keys` verify.
    pub fn new(teller: Teller, keys: Keys) -> Self {
        Self { teller, keys }
    }
}

/// What API Gateway is told. A body goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The status; of `$connect`, one that is not 2xx refuses the connection.
    pub status_code: u16,
    /// Headers of the handshake.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<&'static str, &'static str>,
    /// A message to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Answer {
    fn of(status_code: u16, body: Option<String>) -> Self {
        Self { status_code, headers: BTreeMap::new(), body }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    request_context: Context,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    route_key: String,
    connection_id: String,
}

/// What follows from a message.
#[derive(Debug)]
enum Reply {
    Nothing,
    Message(String),
    /// The connection is to be closed, for this reason.
    Close(String),
}

/// Handles an event of the WebSocket API.
///
/// # Errors
/// When the payload is no such event.
pub async fn invoke(app: &App, event: LambdaEvent<Value>) -> Result<Answer, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    let deadline = shell::deadline(Some(&context)) - CLOSING;
    let event: Event = serde_json::from_value(payload).map_err(shell::unreadable)?;
    let handled = Box::pin(app.handle(&event, &context.request_id, deadline)).await;
    Ok(handled.unwrap_or_else(|error| {
        shell::log(&error, Some(&context.request_id));
        Answer::of(500, None)
    }))
}

impl App {
    async fn handle(&self, event: &Event, request_id: &str, deadline: Instant) -> Result<Answer> {
        let connection = ConnectionId::parse(&event.request_context.connection_id)?;
        match event.request_context.route_key.as_str() {
            "$connect" => Ok(connect(event.headers.as_ref())),
            "$disconnect" => {
                self.teller.connections.forget(&connection).await?;
                Ok(Answer::of(200, None))
            }
            _ => {
                let body = event.body.as_deref().unwrap_or_default();
                let reply = self.receive(&connection, body, request_id, deadline).await;
                let reply = reply.unwrap_or_else(|error| {
                    // Its client tries again by itself, and an error of one operation would end that for good.
                    shell::log(&error, Some(request_id));
                    Reply::Close(error.to_string())
                });
                match reply {
                    Reply::Nothing => Ok(Answer::of(200, None)),
                    Reply::Message(message) => Ok(Answer::of(200, Some(message))),
                    Reply::Close(reason) => {
                        self.close(&connection, &reason, deadline).await;
                        Ok(Answer::of(200, None))
                    }
                }
            }
        }
    }

    async fn receive(
        &self,
        connection: &ConnectionId,
        body: &str,
        request_id: &str,
        deadline: Instant,
    ) -> Result<Reply> {
        match Message::parse(body) {
            Err(Malformed(reason)) => Ok(Reply::Close(reason)),
            Ok(Message::Init { token }) => self.init(connection, token.as_deref()).await,
            Ok(Message::Ping) => Ok(Reply::Message(pong())),
            Ok(Message::Pong) => Ok(Reply::Nothing),
            Ok(Message::Subscribe { id, document }) => {
                Box::pin(self.subscribe(connection, id, document, request_id, deadline)).await
            }
            Ok(Message::Complete { id }) => {
                self.teller.connections.complete(connection, &id, self.teller.now()).await?;
                Ok(Reply::Nothing)
            }
        }
    }

    /// Begins a session with the token that the client gives.
    async fn init(&self, connection: &ConnectionId, token: Option<&str>) -> Result<Reply> {
        let refused = |reason: &str| Ok(Reply::Close(reason.to_owned()));
        let Some(token) = token else {
            return refused("A bearer token is required as authorization in the payload of connection_init");
        };
        let now = self.teller.now();
        let claims = match self.keys.verify(token, now).await? {
            Ok(claims) => claims,
            Err(refusal) => return refused(refusal.detail()),
        };
        let Some(sub) = claims.get("sub").and_then(Value::as_str) else {
            return refused("The token has no subject");
        };
        let expires = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        let session = Session {
            sub: sub.to_owned(),
            scope: scopes(&claims).collect::<Vec<_>>().join(" "),
            token_expires: (expires + LEEWAY) as i64,
        };
        if self.teller.connections.begin(connection, &session, now).await? {
            Ok(Reply::Message(connection_ack()))
        } else {
            refused("Too many initialisation requests")
        }
    }

    /// Closes a connection, after saying why: API Gateway closes it without a code or a reason.
    async fn close(&self, connection: &ConnectionId, reason: &str, deadline: Instant) {
        tracing::info!(connection = connection.as_str(), reason, "a connection is closed");
        let sender = &self.teller.sender;
        if sender.send(connection, &closing(reason), deadline).await.is_ok() {
            sender.close(connection).await;
        }
        if let Err(error) = self.teller.connections.forget(connection).await {
            tracing::warn!(error = error.chain(), "a connection was not forgotten");
        }
    }
}

/// Takes a connection of the protocol spoken here.
fn connect(headers: Option<&BTreeMap<String, String>>) -> Answer {
    let asked =
        headers.into_iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"));
    let speaks = asked.is_some_and(|(_, value)| value.split(',').any(|name| name.trim() == PROTOCOL));
    if !speaks {
        return Answer::of(400, Some(format!("The subprotocol must be {PROTOCOL}")));
    }
    Answer { headers: BTreeMap::from([("Sec-WebSocket-Protocol", PROTOCOL)]), ..Answer::of(200, None) }
}

/// The message that ends an operation with an error that is its client's.
fn refusal(id: &str, error: Error) -> Result<Reply> {
    if error.is_ours() {
        Err(error)
    } else {
        Ok(Reply::Message(sent::error(id, &graphql::Refused::of(error).0)))
    }
}

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
use live::{Lost, Teller, message as sent};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::live::{ConnectionId, Session};
use shared::{Error, Result};
use tokio::time::Instant;

pub use keys::Keys;
use message::{Malformed, Message};
use verify::{Claims, LEEWAY, scopes};

/// Time kept back at the end, to close a connection that could not be told all it missed.
const CLOSING: Duration = Duration::from_secs(9);

/// How long a connection may be there without a session, in seconds.
const INITIALISING: i64 = 60;
/// How long a connection is kept waiting that is closed since a table is away, about.
const PAUSE: Duration = Duration::from_secs(2);

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

/// What API Gateway is told. A body is for a handshake that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The status; of `$connect`, one that is not 2xx refuses the connection.
    pub status_code: u16,
    /// Headers of the handshake.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<&'static str, &'static str>,
    /// Why a connection is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Answer {
    fn of(status_code: u16) -> Self {
        Self { status_code, headers: BTreeMap::new(), body: None }
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
    /// In milliseconds since 1970.
    connected_at: Option<i64>,
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
        Answer::of(500)
    }))
}

impl App {
    async fn handle(&self, event: &Event, request_id: &str, deadline: Instant) -> Result<Answer> {
        let connection = ConnectionId::parse(&event.request_context.connection_id)?;
        match event.request_context.route_key.as_str() {
            "$connect" => Ok(connect(event.headers.as_ref())),
            "$disconnect" => {
                self.teller.connections.forget(&connection).await?;
                Ok(Answer::of(200))
            }
            _ => {
                let body = event.body.as_deref().unwrap_or_default();
                let connected = event.request_context.connected_at.unwrap_or(i64::MAX) / 1_000;
                let is_new = self.teller.now() - connected < INITIALISING;
                let reply = match self.receive(&connection, body, request_id, is_new, deadline).await {
                    Ok(reply) => reply,
                    Err(error) => {
                        shell::log(&error, Some(request_id));
                        // An error would end the operation for good; of a closed connection, the client tries again. It
                        // may do so at once, and for as long as it takes.
                        tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
                        Reply::Close(error.to_string())
                    }
                };
                self.reply(&connection, reply, deadline).await;
                Ok(Answer::of(200))
            }
        }
    }

    async fn reply(&self, connection: &ConnectionId, reply: Reply, deadline: Instant) {
        let sender = &self.teller.sender;
        match reply {
            Reply::Nothing => {}
            Reply::Message(message) => {
                if let Err(lost) = sender.send(connection, || message.clone(), deadline).await {
                    self.teller.give_up(connection, lost).await;
                }
            }
            Reply::Close(reason) => {
                tracing::info!(connection = connection.as_str(), reason, "a connection is closed");
                let lost = sender.send(connection, || closing(&reason), deadline).await.err();
                self.teller.give_up(connection, lost.unwrap_or(Lost::Refused)).await;
            }
        }
    }

    async fn receive(
        &self,
        connection: &ConnectionId,
        body: &str,
        request_id: &str,
        is_new: bool,
        deadline: Instant,
    ) -> Result<Reply> {
        match Message::parse(body) {
            Err(Malformed(reason)) => Ok(Reply::Close(reason)),
            Ok(Message::Init { token }) => self.init(connection, token.as_deref()).await,
            // One that was given up may be there all the same, if it could not be closed: its client is to know.
            Ok(Message::Ping) if !is_new && !self.teller.connections.has_begun(connection).await? => {
                Ok(Reply::Close("Connection initialisation timeout".to_owned()))
            }
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

    /// Begins a session with the token that the client gives. One that is not taken does not close the connection, as the
    /// protocol has it: API Gateway closes without a reason, and stock clients come again at once, for ever. Instead each
    /// of its operations is refused.
    async fn init(&self, connection: &ConnectionId, token: Option<&str>) -> Result<Reply> {
        let now = self.teller.now();
        let session = match token {
            None => Err("A bearer token is required as authorization in the payload of connection_init"),
            Some(token) => match self.keys.verify(token, now).await? {
                Ok(claims) => session(&claims),
                Err(refusal) => Err(refusal.detail()),
            },
        };
        let sub = session.as_ref().map(|session| session.sub.as_str()).ok();
        let refused = session.as_ref().err();
        // Beside what it will read, the record of who has read the log.
        tracing::info!(connection = connection.as_str(), sub, refused, "a session begins");
        if self
            .teller
            .connections
            .begin(connection, session.as_ref().map_err(|refused| *refused), now)
            .await?
        {
            Ok(Reply::Message(connection_ack()))
        } else {
            Ok(Reply::Close("Too many initialisation requests".to_owned()))
        }
    }
}

/// Who a token is of.
fn session(claims: &Claims) -> Result<Session, &'static str> {
    let sub = claims.get("sub").and_then(Value::as_str).ok_or("The token has no subject")?;
    let expires = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
    Ok(Session {
        sub: sub.to_owned(),
        scope: scopes(claims).collect::<Vec<_>>().join(" "),
        token_expires: (expires + LEEWAY) as i64,
    })
}

/// Takes a connection of the protocol spoken here.
fn connect(headers: Option<&BTreeMap<String, String>>) -> Answer {
    let asked =
        headers.into_iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"));
    let speaks = asked.is_some_and(|(_, value)| value.split(',').any(|name| name.trim() == PROTOCOL));
    if !speaks {
        return Answer { body: Some(format!("The subprotocol must be {PROTOCOL}")), ..Answer::of(400) };
    }
    Answer { headers: BTreeMap::from([("Sec-WebSocket-Protocol", PROTOCOL)]), ..Answer::of(200) }
}

/// The message that ends an operation with an error that is its client's.
fn refusal(id: &str, error: Error) -> Result<Reply> {
    if error.is_ours() {
        Err(error)
    } else {
        Ok(Reply::Message(sent::error(id, &graphql::Refused::of(error).0)))
    }
}

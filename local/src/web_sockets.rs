//! API Gateway's WebSocket API: connections, what they say to the function behind them, and the API by which functions
//! answer. Its limits are those that the developer guide lists (Amazon API Gateway quotas, WebSocket APIs).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use axum::http::header::{SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};
use shared::time::{Clock, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::aws::{Refusal, respond};
use crate::functions::{Function, Functions};
use crate::{answer, invocation};

/// The largest message, either way, in bytes.
const MAX_MESSAGE: usize = 128 * 1024;
/// The largest frame that a client may send, in bytes.
const MAX_FRAME: usize = 32 * 1024;
/// How long a connection may be silent, both ways.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// How long a connection lasts.
const LIFETIME: Duration = Duration::from_secs(2 * 3600);
/// How long a client is waited for that is to close, too.
const GOODBYE: Duration = Duration::from_secs(1);
/// The code of every close that is asked for. Stock clients come again at once after it.
const NORMAL: u16 = 1000;
/// The code where a limit has been reached.
const AWAY: u16 = 1001;
/// Messages that wait for a slow client; beyond, no more are taken.
const BUFFERED: usize = 64;
/// Messages of a client that are handled at once; beyond, no more are read.
const HANDLED: usize = 16;
/// Connections at once.
const MOST: u32 = 100_000;
/// Bytes of a connection's buffers: thousands of connections are to fit in memory.
const BUFFER: usize = 4 * 1024;

/// The connections that are open.
#[derive(Clone)]
pub(crate) struct Sockets {
    open: Arc<Mutex<HashMap<String, Open>>>,
    /// A permit is out for each, until the function knows of its end.
    alive: Arc<Semaphore>,
}

struct Open {
    outbox: mpsc::Sender<Out>,
    connected: Timestamp,
    client: Client,
    /// Ends it when its outbox is full.
    end: Arc<Notify>,
    /// When anything last passed, either way.
    active: Arc<Mutex<Timestamp>>,
}

#[derive(Clone)]
struct Client {
    address: SocketAddr,
    agent: String,
}

impl Open {
    /// Closes it, once it has got what waits for it, or after a while if it takes nothing.
    fn close(&self) {
        self.outbox.try_send(Out::Close).ok();
        let end = Arc::clone(&self.end);
        tokio::spawn(async move {
            tokio::time::sleep(GOODBYE).await;
            end.notify_one();
        });
    }
}

enum Out {
    Message(String),
    Close,
}

/// A connection, for the function behind it.
struct Connection {
    id: String,
    functions: Arc<Functions>,
    clock: Clock,
    domain: String,
    client: Client,
    connected: Timestamp,
}

impl Sockets {
    /// None so far.
    pub(crate) fn new() -> Self {
        Self { open: Arc::default(), alive: Arc::new(Semaphore::new(MOST as usize)) }
    }

    /// Waits until the functions know of the end of all.
    pub(crate) async fn ended(&self) {
        self.alive.acquire_many(MOST).await.ok();
    }

    fn with<T>(&self, id: &str, of: impl FnOnce(&Open) -> T) -> Option<T> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(of)
    }

    /// Takes a connection, if the function does.
    pub(crate) async fn accept(
        &self,
        functions: Arc<Functions>,
        clock: Clock,
        domain: String,
        (upgrade, headers, address): (WebSocketUpgrade, HeaderMap, SocketAddr),
    ) -> Response<Body> {
        let agent =
            headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
        let client = Client { address, agent };
        // As long as API Gateway's.
        let id = URL_SAFE.encode(&uuid::Uuid::new_v4().as_bytes()[..11]);
        let connected = clock();
        let connection = Connection { id, functions, clock, domain, client, connected };
        let headers: BTreeMap<&str, &str> =
            headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let answer = connection.tell("$connect", "CONNECT", json!({ "headers": headers })).await;
        let status = answer.as_ref().and_then(|answer| answer["statusCode"].as_u64()).unwrap_or(502);
        if !(200..300).contains(&status) {
            let detail = answer.and_then(|answer| answer["body"].as_str().map(str::to_owned));
            let mut response = Response::new(Body::from(detail.unwrap_or_default()));
            *response.status_mut() = u16::try_from(status)
                .ok()
                .and_then(|status| StatusCode::from_u16(status).ok())
                .unwrap_or_default();
            return response;
        }
        let headers = answer.as_ref().and_then(|answer| answer["headers"].as_object()).into_iter().flatten();
        let protocol = headers
            .filter(|(name, _)| name.eq_ignore_ascii_case(SEC_WEBSOCKET_PROTOCOL.as_str()))
            .find_map(|(_, value)| value.as_str());
        let mut upgrade = upgrade
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_FRAME)
            .read_buffer_size(BUFFER)
            .write_buffer_size(0);
        if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
            upgrade.set_selected_protocol(protocol);
        }
        let sockets = self.clone();
        upgrade.on_upgrade(move |socket| Box::pin(sockets.serve(connection, socket)))
    }

    /// Serves a connection to its end.
    async fn serve(self, connection: Connection, mut socket: WebSocket) {
        let _here = self.alive.clone().acquire_owned().await;
        let (outbox, mut inbox) = mpsc::channel(BUFFERED);
        let handled = Arc::new(Semaphore::new(HANDLED));
        let (active, ended) = (Arc::new(Mutex::new(connection.connected)), Arc::new(Notify::new()));
        let open = Open {
            outbox: outbox.clone(),
            end: Arc::clone(&ended),
            connected: connection.connected,
            client: connection.client.clone(),
            active: Arc::clone(&active),
        };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(connection.id.clone(), open);
        let connection = Arc::new(connection);
        let last = Instant::now() + LIFETIME;
        let mut code = NORMAL;
        loop {
            let silent = Instant::now() + IDLE;
            let sent = tokio::select! {
                out = inbox.recv() => match out {
                    Some(Out::Message(message)) => tokio::select! {
                        sent = socket.send(Message::Text(message.into())) => sent.is_ok(),
                        () = ended.notified() => false,
                        () = tokio::time::sleep_until(silent.min(last)) => false,
                    },
                    Some(Out::Close) | None => false,
                },
                (place, received) = next(&mut socket, &handled) => match received {
                    Some(Ok(Message::Text(text))) => {
                        connection.receive(text.to_string(), &outbox, place);
                        true
                    }
                    Some(Ok(Message::Binary(bytes))) => {
                        connection.receive(String::from_utf8_lossy(&bytes).into_owned(), &outbox, place);
                        true
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => false,
                },
                () = ended.notified() => false,
                () = tokio::time::sleep_until(silent.min(last)) => {
                    code = AWAY;
                    false
                }
            };
            if !sent {
                break;
            }
            *active.lock().unwrap_or_else(PoisonError::into_inner) = (connection.clock)();
        }
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection.id);
        let goodbye = async {
            let frame = CloseFrame { code, reason: Utf8Bytes::default() };
            socket.send(Message::Close(Some(frame))).await.ok();
            while let Some(Ok(_)) = socket.recv().await {}
        };
        tokio::time::timeout(GOODBYE, goodbye).await.ok();
        connection.tell("$disconnect", "DISCONNECT", json!({})).await;
    }

    /// Closes all connections, as when API Gateway is deployed anew.
    pub(crate) fn close(&self) {
        for open in self.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            open.close();
        }
    }
}

/// Room for a message that is handled.
type Place = Option<OwnedSemaphorePermit>;

/// The next message of a client, once there is room for it.
async fn next(
    socket: &mut WebSocket,
    handled: &Arc<Semaphore>,
) -> (Place, Option<Result<Message, axum::Error>>) {
    (Arc::clone(handled).acquire_owned().await.ok(), socket.recv().await)
}

impl Connection {
    /// Hands a message to the function, beside those before it, as API Gateway does. What the function answers is nothing to
    /// the client, as the route has no response.
    fn receive(self: &Arc<Self>, body: String, outbox: &mpsc::Sender<Out>, place: Place) {
        let (connection, outbox) = (Arc::clone(self), outbox.clone());
        tokio::spawn(async move {
            let _place = place;
            if connection.tell("$default", "MESSAGE", json!({ "body": body })).await.is_none() {
                // What API Gateway says when its integration fails.
                let message = json!({ "message": "Internal server error", "connectionId": connection.id });
                outbox.send(Out::Message(message.to_string())).await.ok();
            }
        });
    }

    /// Invokes the function; `None` when it failed.
    async fn tell(&self, route: &str, kind: &str, mut event: Value) -> Option<Value> {
        let (request_id, now) = (answer::request_id(), (self.clock)());
        event["requestContext"] = json!({
            "routeKey": route,
            "eventType": kind,
            "connectionId": self.id,
            "requestId": request_id,
            "extendedRequestId": request_id,
            "messageId": if kind == "MESSAGE" { Value::from(answer::request_id()) } else { Value::Null },
            "messageDirection": "IN",
            "stage": "live",
            "apiId": "local",
            "domainName": self.domain,
            "connectedAt": self.connected.utc().timestamp_millis(),
            "requestTimeEpoch": now.utc().timestamp_millis(),
            "requestTime": now.utc().format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "identity": { "sourceIp": self.client.address.ip().to_string(), "userAgent": self.client.agent },
        });
        event["isBase64Encoded"] = false.into();
        let payload = event.to_string().into_bytes();
        let time = invocation::TIME_LIMIT;
        match self.functions.invoke(Function::Subscriptions, payload, &request_id, time).await {
            Ok(answer) if answer["statusCode"].as_u64().is_some_and(|status| status >= 500) => None,
            Ok(answer) => Some(answer),
            Err(failure) => {
                tracing::error!(request_id, "a message could not be handled: {failure}");
                None
            }
        }
    }
}

/// The management API, at the path of a stage.
pub(crate) fn routes(path: &str, sockets: Sockets) -> Router {
    let connection = get(show).post(post).delete(close);
    Router::new().route(&format!("{path}/@connections/{{id}}"), connection).with_state(sockets)
}

fn gone() -> Response<Body> {
    Refusal::new("GoneException", "The connection is gone").with(StatusCode::GONE).into_response()
}

async fn post(State(sockets): State<Sockets>, Path(id): Path<String>, request: Request) -> Response<Body> {
    let Ok(body) = invocation::read(request.into_body()).await else {
        return Refusal::new("PayloadTooLargeException", "The message is too large")
            .with(StatusCode::PAYLOAD_TOO_LARGE)
            .into_response();
    };
    if body.len() > MAX_MESSAGE {
        return Refusal::new("PayloadTooLargeException", format!("A message is at most {MAX_MESSAGE} bytes"))
            .with(StatusCode::PAYLOAD_TOO_LARGE)
            .into_response();
    }
    let message = String::from_utf8_lossy(&body).into_owned();
    match sockets.with(&id, |open| open.outbox.try_send(Out::Message(message))) {
        Some(Ok(())) => respond(StatusCode::OK, &json!({})),
        Some(Err(mpsc::error::TrySendError::Full(_))) => {
            Refusal::new("LimitExceededException", "The client's buffer is full")
                .with(StatusCode::TOO_MANY_REQUESTS)
                .into_response()
        }
        Some(Err(mpsc::error::TrySendError::Closed(_))) | None => gone(),
    }
}

async fn close(State(sockets): State<Sockets>, Path(id): Path<String>) -> Response<Body> {
    let Some(open) = sockets.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) else {
        return gone();
    };
    open.close();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

async fn show(State(sockets): State<Sockets>, Path(id): Path<String>) -> Response<Body> {
    let shown = sockets.with(&id, |open| {
        json!({
            "connectedAt": open.connected.rfc3339(),
            "lastActiveAt": open.active.lock().unwrap_or_else(PoisonError::into_inner).rfc3339(),
            "identity": { "sourceIp": open.client.address.ip().to_string(), "userAgent": open.client.agent },
        })
    });
    shown.map_or_else(gone, |shown| respond(StatusCode::OK, &shown))
}

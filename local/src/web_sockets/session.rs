//! Serves an open connection to its end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Connection, Event};
use super::registry::{CLOSE_TIMEOUT, LastActive, OpenSocket, Outgoing, Registry};

/// How long a connection may be silent in both directions.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How long a connection may last.
const MAX_DURATION: Duration = Duration::from_secs(2 * 3600);
/// The most messages that wait for a slow client. The management API refuses more.
const MAX_BUFFERED_MESSAGES: usize = 64;
/// The messages of a client that the function handles at once. The gateway reads no more until one is done.
const MAX_CONCURRENT_MESSAGES: usize = 16;
/// The code of a close that somebody asked for. Usual clients reconnect at once after it.
const CLOSE_NORMAL: u16 = 1000;
/// The code of a close because a time limit was reached.
const CLOSE_GOING_AWAY: u16 = 1001;
/// The code of a close because a client broke the protocol of WebSockets.
const CLOSE_PROTOCOL_ERROR: u16 = 1002;
/// The code of a close because a client sent a binary message, of which API Gateway takes none.
const CLOSE_UNSUPPORTED: u16 = 1003;
/// The code of a close because a client sent a text that is not UTF-8.
const CLOSE_INVALID_TEXT: u16 = 1007;
/// The code of a close because a client sent a frame or a message that is too large. Usual clients do not reconnect after
/// it, because they would send it again.
const CLOSE_TOO_LARGE: u16 = 1009;

/// Serves a connection to its end, and lets its function know of that.
pub(super) async fn serve(registry: &Registry, connection: Connection, mut socket: WebSocket) {
    let (outbox, outgoing) = mpsc::channel(MAX_BUFFERED_MESSAGES);
    let (last_active, end) = (LastActive::new(connection.connected), Arc::new(Notify::new()));
    let open = OpenSocket {
        outbox: outbox.clone(),
        end: Arc::clone(&end),
        connected: connection.connected,
        client: connection.client.clone(),
        last_active: last_active.clone(),
    };
    registry.insert(&connection.id, open);
    let connection = Arc::new(connection);
    let slots = Arc::new(Semaphore::new(MAX_CONCURRENT_MESSAGES));
    let session = Session { connection: Arc::clone(&connection), outbox, slots, end, last_active };
    let code = session.exchange(&mut socket, outgoing).await;
    registry.remove(&connection.id);
    let close = async {
        let frame = CloseFrame { code, reason: Utf8Bytes::default() };
        socket.send(Message::Close(Some(frame))).await.ok();
        while let Some(Ok(_)) = socket.recv().await {}
    };
    timeout(CLOSE_TIMEOUT, close).await.ok();
    connection.invoke(Event::Disconnect, json!({})).await;
}

struct Session {
    connection: Arc<Connection>,
    outbox: mpsc::Sender<Outgoing>,
    /// Slots for messages that the function handles.
    slots: Arc<Semaphore>,
    end: Arc<Notify>,
    last_active: LastActive,
}

/// The next step of a session.
enum Step {
    /// A message passed.
    Active,
    /// A control frame passed, which is no sign of activity.
    Control,
    /// The connection ends with this code.
    End(u16),
}

impl Session {
    /// Exchanges messages until the connection ends, and returns the code to close it with.
    async fn exchange(&self, socket: &mut WebSocket, mut outgoing: mpsc::Receiver<Outgoing>) -> u16 {
        let last = Instant::now() + MAX_DURATION;
        loop {
            let deadline = last.min(Instant::now() + IDLE_TIMEOUT);
            let step = tokio::select! {
                message = outgoing.recv() => match message {
                    Some(Outgoing::Message(message)) => self.send(socket, message, deadline).await,
                    Some(Outgoing::Close) | None => Step::End(CLOSE_NORMAL),
                },
                (slot, received) = self.next(socket) => self.receive(slot, received),
                () = self.end.notified() => Step::End(CLOSE_NORMAL),
                () = sleep_until(deadline) => Step::End(CLOSE_GOING_AWAY),
            };
            match step {
                Step::Active => self.last_active.set((self.connection.clock)()),
                Step::Control => {}
                Step::End(code) => return code,
            }
        }
    }

    /// Sends a message to the client, which may be slow to take it.
    async fn send(&self, socket: &mut WebSocket, message: String, deadline: Instant) -> Step {
        let is_sent = tokio::select! {
            sent = socket.send(Message::Text(message.into())) => sent.is_ok(),
            () = self.end.notified() => false,
            () = sleep_until(deadline) => false,
        };
        if is_sent { Step::Active } else { Step::End(CLOSE_NORMAL) }
    }

    /// The next message of the client, once the function can take it.
    async fn next(&self, socket: &mut WebSocket) -> (Slot, Option<Result<Message, axum::Error>>) {
        (Arc::clone(&self.slots).acquire_owned().await.ok(), socket.recv().await)
    }

    fn receive(&self, slot: Slot, received: Option<Result<Message, axum::Error>>) -> Step {
        let body = match received {
            Some(Ok(Message::Text(text))) => text.to_string(),
            Some(Ok(Message::Binary(_))) => return Step::End(CLOSE_UNSUPPORTED),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Step::Control,
            Some(Err(error)) => return Step::End(code_after(error)),
            Some(Ok(Message::Close(_))) | None => return Step::End(CLOSE_NORMAL),
        };
        self.handle(body, slot);
        Step::Active
    }

    /// Hands a message to the function, beside earlier ones that are still in progress. The function's response does not go to
    /// the client, because the route has no response.
    fn handle(&self, body: String, slot: Slot) {
        let (connection, outbox) = (Arc::clone(&self.connection), self.outbox.clone());
        tokio::spawn(async move {
            let _slot = slot;
            if connection.invoke(Event::Message, json!({ "body": body })).await.is_none() {
                // API Gateway sends this when its integration fails.
                let message = json!({ "message": "Internal server error", "connectionId": connection.id });
                outbox.send(Outgoing::Message(message.to_string())).await.ok();
            }
        });
    }
}

/// The code to close a connection with after an error of reading it.
fn code_after(error: axum::Error) -> u16 {
    match error.into_inner().downcast_ref() {
        Some(tungstenite::Error::Capacity(_)) => CLOSE_TOO_LARGE,
        Some(tungstenite::Error::Utf8(_)) => CLOSE_INVALID_TEXT,
        Some(tungstenite::Error::Protocol(_)) => CLOSE_PROTOCOL_ERROR,
        _ => CLOSE_NORMAL,
    }
}

/// A slot for a message that the function handles.
type Slot = Option<OwnedSemaphorePermit>;

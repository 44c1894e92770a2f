//! The open connections, by their ids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::time::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::connection::Client;

/// Time for a client to take the messages that wait for it, and to close its side, before the connection is dropped.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The open connections. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Registry(Arc<Mutex<HashMap<String, OpenSocket>>>);

/// An open connection.
pub(super) struct OpenSocket {
    pub(super) outbox: mpsc::Sender<Outgoing>,
    pub(super) connected: Timestamp,
    pub(super) client: Client,
    /// Ends the connection at once.
    pub(super) end: Arc<Notify>,
    pub(super) last_active: LastActive,
}

/// A message or a close frame on its way to a client.
pub(super) enum Outgoing {
    Message(String),
    Close,
}

/// The time of the last message in either direction. Clones share it.
#[derive(Clone)]
pub(super) struct LastActive(Arc<Mutex<Timestamp>>);

impl Registry {
    /// Adds a connection.
    pub(super) fn insert(&self, id: &str, socket: OpenSocket) {
        self.lock().insert(id.to_owned(), socket);
    }

    /// Removes a connection.
    pub(super) fn remove(&self, id: &str) -> Option<OpenSocket> {
        self.lock().remove(id)
    }

    /// Looks at a connection, if it is open.
    pub(super) fn with<T>(&self, id: &str, look: impl FnOnce(&OpenSocket) -> T) -> Option<T> {
        self.lock().get(id).map(look)
    }

    /// Closes all connections.
    pub(super) fn close_all(&self) {
        self.lock().values().for_each(OpenSocket::close);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, OpenSocket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenSocket {
    /// Closes the connection after the messages that wait for its client, or after [`CLOSE_TIMEOUT`] if the client takes none.
    pub(super) fn close(&self) {
        self.outbox.try_send(Outgoing::Close).ok();
        let end = Arc::clone(&self.end);
        tokio::spawn(async move {
            tokio::time::sleep(CLOSE_TIMEOUT).await;
            end.notify_one();
        });
    }
}

impl LastActive {
    pub(super) fn new(time: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    pub(super) fn get(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, time: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }
}

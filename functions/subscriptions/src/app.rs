//! The function's state, and what passes between its modules.

use domain::subscription::ConnectionId;
use live_delivery::Dispatcher;
use tokio::time::Instant;

use crate::jwks::KeySet;

/// The state that lasts as long as the process.
pub struct App {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) keys: KeySet,
}

impl App {
    /// An app that delivers through `dispatcher`, to clients whose tokens `keys` verify.
    pub fn new(dispatcher: Dispatcher, keys: KeySet) -> Self {
        Self { dispatcher, keys }
    }
}

/// One message of a connection, and the invocation that handles it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) connection: &'a ConnectionId,
    pub(crate) request_id: &'a str,
    pub(crate) deadline: Instant,
}

/// The reaction to a message.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nothing is sent.
    Nothing,
    /// This message is sent.
    Message(String),
    /// The connection is closed for this reason.
    Close(String),
}

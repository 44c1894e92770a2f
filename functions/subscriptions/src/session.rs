//! Begins a connection's session.

use domain::Result;
use domain::access::{self, scopes};
use domain::subscription::{ConnectionId, Session};
use live_delivery::message::connection_ack;
use serde_json::Value;

use crate::app::{App, Reply};
use crate::verify::{Claims, LEEWAY};

impl App {
    /// Begins a session with the client's token. An invalid token does not close the connection, although the protocol
    /// demands it, because API Gateway closes without a reason and stock clients then reconnect at once for ever. The
    /// session refuses each operation instead.
    pub(crate) async fn begin_session(
        &self,
        connection: &ConnectionId,
        token: Option<&str>,
    ) -> Result<Reply> {
        let now = self.dispatcher.now();
        let session = match token {
            None => Err("A bearer token is required as authorization in the payload of connection_init"),
            Some(token) => match self.keys.verify(token, now).await? {
                Ok(claims) => session(&claims),
                Err(error) => Err(error.detail()),
            },
        };
        let reason = session.as_ref().err().copied();
        let begun = self.dispatcher.connections.begin_session(
            connection,
            session.as_ref().map_err(|reason| *reason),
            now,
        );
        if !begun.await? {
            return Ok(Reply::Close("Too many initialisation requests".to_owned()));
        }
        // The log tells who read what: this line has the reader, and the lines of subscriptions have the topics.
        let (connection, sub) =
            (connection.as_str(), session.as_ref().ok().map(|session| session.sub.as_str()));
        tracing::info!(connection, sub, reason, "began session");
        Ok(Reply::Message(connection_ack()))
    }
}

/// The session of a verified token.
fn session(claims: &Claims) -> Result<Session, &'static str> {
    let sub = access::subject(claims).ok_or("The token has no subject")?;
    let expires = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
    Ok(Session {
        sub,
        scope: scopes(claims).collect::<Vec<_>>().join(" "),
        grants: lambda_support::grants_of(claims),
        token_expires: (expires + LEEWAY) as i64,
    })
}

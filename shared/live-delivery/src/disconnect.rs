//! Disconnects clients that missed a message, so that they reconnect and resume.

use std::time::Duration;

use domain::subscription::{ConnectionId, Subscription};
use domain::{Error, Result};
use store::Bound;
use store::parallel::try_all;
use tokio::time::{Instant, timeout};

use crate::dispatcher::{DeliveryOutcome, Dispatcher};
use crate::message;
use crate::sender::DeliveryError;

/// Connections that are checked at once.
const MAX_CONCURRENT_CHECKS: usize = 8;
/// Time to delete a connection's items, however many there are.
const FORGET_TIMEOUT: Duration = Duration::from_secs(4);

impl Dispatcher {
    /// Disconnects a client that missed a message, because it must not get the next one.
    pub async fn disconnect(&self, connection: &ConnectionId, cause: DeliveryError) {
        self.close_and_forget(connection, None, cause).await;
    }

    /// Disconnects the client of a subscription that missed an update. Returns [`DeliveryOutcome::Disconnected`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection could be neither closed nor forgotten. The next update would then reach a
    /// client that missed this one.
    pub async fn disconnect_subscriber(
        &self,
        subscription: &Subscription,
        cause: DeliveryError,
    ) -> Result<DeliveryOutcome> {
        if self.close_and_forget(&subscription.connection, Some(subscription), cause).await {
            return Ok(DeliveryOutcome::Disconnected);
        }
        Err(Error::Unavailable("a connection could be neither closed nor forgotten".into()))
    }

    /// Disconnects a client whose token has expired. It may reconnect with another.
    pub(crate) async fn disconnect_expired(
        &self,
        subscription: &Subscription,
        deadline: Instant,
    ) -> Result<DeliveryOutcome> {
        let message = || message::closing("The token has expired");
        let sent = self.sender.send(&subscription.connection, message, deadline).await;
        self.disconnect_subscriber(subscription, sent.err().unwrap_or(DeliveryError::Refused)).await
    }

    /// Frees permits of a bound that a subscription has reached, of connections that are gone and of subscriptions that no
    /// longer exist; says whether there were any. API Gateway does not always send a `$disconnect`.
    pub async fn free_permits(&self, bound: Bound, new: &Subscription) -> Result<bool> {
        let checked = self.connections.check_permits(bound, new).await?;
        let holders = checked.holders.iter().map(|connection| async move {
            let is_gone = self.sender.is_gone(connection).await;
            if is_gone {
                self.connections.forget(connection).await?;
            }
            Ok(is_gone)
        });
        let are_gone = try_all(MAX_CONCURRENT_CHECKS, holders.collect()).await?;
        Ok(checked.is_any_free || are_gone.contains(&true))
    }

    /// Closes a connection, then deletes its items; returns whether it gets no more updates. Closing comes first, because
    /// this process may die in between, and a client that is forgotten but not closed would wait in vain.
    async fn close_and_forget(
        &self,
        connection: &ConnectionId,
        subscription: Option<&Subscription>,
        cause: DeliveryError,
    ) -> bool {
        let is_closed = cause == DeliveryError::Gone || self.sender.close(connection).await;
        let forgotten = async {
            self.connections.forget(connection).await?;
            match subscription {
                // A subscriber's item that lacks its subscription is not found from the connection.
                Some(subscription) => self.connections.end(subscription).await,
                None => Ok(()),
            }
        };
        let forgotten = timeout(FORGET_TIMEOUT, forgotten).await;
        let is_forgotten = matches!(forgotten, Ok(Ok(())));
        let connection = connection.as_str();
        if let Ok(Err(error)) = forgotten {
            tracing::warn!(error = error.chain(), connection, "failed to forget connection");
        }
        tracing::info!(connection, ?cause, is_closed, is_forgotten, "disconnected subscriber");
        is_closed || is_forgotten
    }
}

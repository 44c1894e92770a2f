//! Begins operations: answers queries, and begins subscriptions.

use domain::subscription::{Document, JournalPosition, Session, Subscription, Topic};
use domain::{Error, Result};
use feeds::reader::Reader;
use graphql_api::{GraphqlErrors, Operation, SubscriptionArguments};
use live_delivery::{DeliveryError, message};
use store::{Bound, ConnectionState, SubscribeError, new_nonce};
use tokio::time::timeout_at;

use crate::app::{App, Reply, Request};

const ID_TAKEN: &str = "Subscriber already exists: an id names one operation at a time";

impl App {
    /// Begins the operation that a client sent.
    pub(crate) async fn subscribe(
        &self,
        request: &Request<'_>,
        id: String,
        document: Document,
    ) -> Result<Reply> {
        let session = match self.session_for(request, &id).await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        let caller = session.caller();
        match self.dispatcher.graphql.run(&document, caller.clone(), request.request_id).await {
            Err(errors) => Ok(Reply::Message(message::error(&id, errors.as_json()))),
            Ok(Operation::Answered(payload)) => Ok(self.answer(request, &id, &payload).await),
            Ok(Operation::Subscription(arguments)) => {
                let reader = Reader::new(self.dispatcher.store.clone(), caller);
                match self.begin(request, &id, &arguments, &reader, session, document).await? {
                    Ok((subscription, from, last)) => {
                        self.start_delivery(request, &subscription, from, last).await
                    }
                    Err(reply) => Ok(reply),
                }
            }
        }
    }

    /// The session of the connection, if it may begin another operation.
    async fn session_for(&self, request: &Request<'_>, id: &str) -> Result<Result<Session, Reply>> {
        let now = self.dispatcher.now();
        let close = |reason: &str| Ok(Err(Reply::Close(reason.to_owned())));
        let state = self.dispatcher.connections.state(request.connection, now).await?;
        let Some(ConnectionState { session, subscriptions }) = state else {
            return close("Unauthorized: connection_init comes first");
        };
        let session = match session {
            Ok(session) => session,
            Err(reason) => {
                let errors = GraphqlErrors::unauthenticated(reason);
                return Ok(Err(Reply::Message(message::error(id, errors.as_json()))));
            }
        };
        if session.is_expired(now) {
            return close("The token has expired");
        }
        if subscriptions.contains_key(id) {
            return close(ID_TAKEN);
        }
        let bounds = self.dispatcher.connections.bounds();
        if subscriptions.len() as u64 >= bounds.connection {
            return reject(id, too_many(bounds.connection, "connection")).map(Err);
        }
        Ok(Ok(session))
    }

    /// Sends the answer to a query.
    async fn answer(&self, request: &Request<'_>, id: &str, payload: &str) -> Reply {
        let answer = || message::next(id, payload);
        match self.dispatcher.sender.send(request.connection, answer, request.deadline).await {
            Ok(()) => Reply::Message(message::complete(id)),
            Err(_) => Reply::Close("The answer was not taken".to_owned()),
        }
    }

    /// Begins a subscription. Returns it, the position to replay from, and the last batch that the journal has.
    async fn begin(
        &self,
        request: &Request<'_>,
        id: &str,
        arguments: &SubscriptionArguments,
        reader: &Reader,
        session: Session,
        document: Document,
    ) -> Result<Result<(Subscription, JournalPosition, u64), Reply>> {
        let (connections, now) = (&self.dispatcher.connections, self.dispatcher.now());
        let topic = match arguments.topic(reader).await {
            Ok(topic) => topic,
            Err(error) => return reject(id, error).map(Err),
        };
        let last = connections.open_journal(&topic, now).await?;
        let from = match arguments.resume_at(&topic) {
            Ok(position) => position.unwrap_or(JournalPosition::end_of(last)),
            Err(error) => return reject(id, error).map(Err),
        };
        let subscription = Subscription {
            topic,
            connection: request.connection.clone(),
            id: id.to_owned(),
            session,
            document,
            nonce: new_nonce(),
            began: now,
            since: None,
        };
        Ok(Err(match self.subscribe_within_bounds(&subscription).await? {
            Ok(()) => return Ok(Ok((subscription, from, last))),
            // The client completed the subscription already, and expects nothing but this.
            Err(SubscribeError::Ended) => Reply::Message(message::complete(id)),
            Err(SubscribeError::IdTaken) => Reply::Close(ID_TAKEN.to_owned()),
            Err(SubscribeError::TooMany(bound)) => {
                let bounds = connections.bounds();
                let (most, holder) = match (bound, &subscription.topic) {
                    (Bound::Connection, _) => (bounds.connection, "connection"),
                    (Bound::User, _) => (bounds.user, "user"),
                    (Bound::Topic, Topic::Workspace(_)) => (bounds.topic, "workspace"),
                    (Bound::Topic, Topic::Organization(_)) => (bounds.topic, "organization"),
                };
                let (sub, topic) = (&subscription.session.sub, &subscription.topic);
                tracing::info!(sub, %topic, holder, "refused subscription, a bound is reached");
                reject(id, too_many(most, holder))?
            }
        }))
    }

    /// Begins a subscription. When a bound is reached, first frees what connections hold that are gone.
    async fn subscribe_within_bounds(
        &self,
        subscription: &Subscription,
    ) -> Result<Result<(), SubscribeError>> {
        let connections = &self.dispatcher.connections;
        let mut begun = connections.subscribe(subscription).await?;
        // Both the user's bound and the topic's may be reached.
        for _ in 0..2 {
            let Err(SubscribeError::TooMany(bound)) = begun else { break };
            if !self.dispatcher.free_permits(bound, subscription).await? {
                break;
            }
            begun = connections.subscribe(subscription).await?;
        }
        Ok(begun)
    }

    /// Replays the journal to a subscription that has begun, until the broadcast delivers to it.
    async fn start_delivery(
        &self,
        request: &Request<'_>,
        subscription: &Subscription,
        from: JournalPosition,
        last: u64,
    ) -> Result<Reply> {
        let Subscription { topic, id, .. } = subscription;
        tracing::info!(connection = request.connection.as_str(), id, %topic, "began subscription");
        let replay = Box::pin(self.replay(subscription, from, last, request.deadline));
        match timeout_at(request.deadline, replay).await {
            Ok(Ok(Some(position))) => Ok(Reply::Message(message::subscribed(id, &position.cursor(topic)))),
            Ok(Ok(None)) => Ok(Reply::Nothing),
            Ok(Err(error)) => {
                self.dispatcher.connections.end(subscription).await?;
                reject(id, error)
            }
            // The client reconnects, and resumes after the last message that it got.
            Err(_) => {
                self.dispatcher.disconnect_subscriber(subscription, DeliveryError::Refused).await?;
                Ok(Reply::Nothing)
            }
        }
    }
}

/// The message that ends an operation with its client's error.
///
/// # Errors
/// The error itself, when it is not the client's.
fn reject(id: &str, error: Error) -> Result<Reply> {
    if error.is_ours() {
        return Err(error);
    }
    Ok(Reply::Message(message::error(id, GraphqlErrors::from(error).as_json())))
}

fn too_many(most: u64, holder: &str) -> Error {
    Error::bad_input("id", format!("is one more than the {most} subscriptions that one {holder} may have"))
}

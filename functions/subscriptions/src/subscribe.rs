//! Begins operations: answers queries, and begins subscriptions.

use std::time::Duration;

use domain::subscription::{Document, JournalPosition, Session, Subscription, Topic};
use domain::{Error, Result};
use feeds::reader::Reader;
use graphql_api::{GraphqlErrors, Operation, SubscriptionArguments};
use live_delivery::{DeliveryError, message};
use store::{Bound, ConnectionState, SubscribeError, new_nonce};
use tokio::time::{sleep, timeout_at};

use crate::app::{App, Reply, Request};
use crate::message::InvalidOperation;

/// The times that an operation looks whether its id is free, because the `complete` that frees it may be under way.
const ID_CHECKS: u32 = 7;
/// The pause after the first of these checks. Each further pause is twice as long, all together 3.2 s.
const ID_PAUSE: Duration = Duration::from_millis(50);

impl App {
    /// Begins the operation that a client sent, as soon as its id is free.
    pub(crate) async fn subscribe(
        &self,
        request: &Request<'_>,
        id: &str,
        document: &Result<Document, InvalidOperation>,
    ) -> Result<Reply> {
        for check in 0..ID_CHECKS {
            if check > 0 {
                sleep(ID_PAUSE * 2_u32.pow(check - 1)).await;
            }
            if let Some(reply) = self.subscribe_if_free(request, id, document).await? {
                return Ok(reply);
            }
        }
        let detail = "names another operation of this connection, which goes on; complete that first";
        reject(request, id, Error::bad_input("id", detail))
    }

    /// Begins an operation; `None` when another has its id.
    async fn subscribe_if_free(
        &self,
        request: &Request<'_>,
        id: &str,
        document: &Result<Document, InvalidOperation>,
    ) -> Result<Option<Reply>> {
        let session = match self.session_for(request, id).await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        let document = match document {
            Ok(document) => document,
            Err(InvalidOperation::PersistedQuery) => {
                return Ok(Some(refuse(request, id, &GraphqlErrors::persisted_query())));
            }
            Err(InvalidOperation::Member(member, detail)) => {
                return reject(request, id, Error::bad_input(*member, detail.clone())).map(Some);
            }
        };
        let caller = session.caller();
        match self.dispatcher.graphql.run(document, caller.clone(), request.request_id).await {
            Err(errors) => Ok(Some(refuse(request, id, &errors))),
            Ok(Operation::Answered(payload)) => Ok(Some(self.answer(request, id, &payload).await)),
            Ok(Operation::Subscription(arguments)) => {
                let reader = Reader::new(self.dispatcher.store.clone(), caller);
                match self.begin(request, id, &arguments, &reader, session, document.clone()).await? {
                    Ok((subscription, from, last)) => {
                        self.start_delivery(request, &subscription, from, last).await.map(Some)
                    }
                    Err(reply) => Ok(reply),
                }
            }
        }
    }

    /// The session of the connection, if it may begin another operation. Otherwise the reply, or `None` when another
    /// operation has the id.
    async fn session_for(&self, request: &Request<'_>, id: &str) -> Result<Result<Session, Option<Reply>>> {
        let now = self.dispatcher.now();
        let close = |reason: &str| Ok(Err(Some(Reply::Close(reason.to_owned()))));
        let state = self.dispatcher.connections.state(request.connection, now).await?;
        let Some(ConnectionState { session, subscriptions }) = state else {
            return close("Unauthorized: connection_init comes first");
        };
        let session = match session {
            Ok(session) => session,
            Err(reason) => {
                return Ok(Err(Some(refuse(request, id, &GraphqlErrors::unauthenticated(reason)))));
            }
        };
        if session.is_expired(now) {
            return close("The token has expired");
        }
        if subscriptions.contains_key(id) {
            return Ok(Err(None));
        }
        let bounds = self.dispatcher.connections.bounds();
        if subscriptions.len() as u64 >= bounds.connection {
            return reject(request, id, too_many(bounds.connection, "connection")).map(Some).map(Err);
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

    /// Begins a subscription. Returns it, the position to replay from, and the last batch that the journal has. Otherwise
    /// the reply, or `None` when another operation has the id.
    async fn begin(
        &self,
        request: &Request<'_>,
        id: &str,
        arguments: &SubscriptionArguments,
        reader: &Reader,
        session: Session,
        document: Document,
    ) -> Result<Result<(Subscription, JournalPosition, u64), Option<Reply>>> {
        let (connections, now) = (&self.dispatcher.connections, self.dispatcher.now());
        let topic = match arguments.topic(reader).await {
            Ok(topic) => topic,
            Err(error) => return reject(request, id, error).map(Some).map(Err),
        };
        let last = connections.open_journal(&topic, now).await?;
        let from = match arguments.resume_at(&topic) {
            Ok(position) => position.unwrap_or(JournalPosition::end_of(last)),
            Err(error) => return reject(request, id, error).map(Some).map(Err),
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
            // The client completed the subscription already. It expects no message, and may have the id in use again.
            Err(SubscribeError::Ended) => Some(Reply::Nothing),
            Err(SubscribeError::IdTaken) => None,
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
                Some(reject(request, id, too_many(most, holder))?)
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
        let replay = Box::pin(self.replay(subscription, from, last, request));
        match timeout_at(request.deadline, replay).await {
            Ok(Ok(Some(position))) => Ok(Reply::Message(message::subscribed(id, &position.cursor(topic)))),
            Ok(Ok(None)) => Ok(Reply::Nothing),
            Ok(Err(error)) => {
                self.dispatcher.connections.end(subscription).await?;
                reject(request, id, error)
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
fn reject(request: &Request<'_>, id: &str, error: Error) -> Result<Reply> {
    if error.is_ours() {
        return Err(error);
    }
    lambda_support::log(&error);
    Ok(refuse(request, id, &GraphqlErrors::from(error)))
}

/// The message that ends an operation with errors.
fn refuse(request: &Request<'_>, id: &str, errors: &GraphqlErrors) -> Reply {
    Reply::Message(message::error(id, &errors.to_json(request.request_id)))
}

fn too_many(most: u64, holder: &str) -> Error {
    Error::bad_input("id", format!("is one more than the {most} subscriptions that one {holder} may have"))
}

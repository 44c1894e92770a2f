//! Delivers updates to the subscriptions of a topic: to each those that its subscriber may see, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domain::directory::Workspace;
use domain::ids::WorkspaceId;
use domain::subscription::{Document, Session, Subscription, Topic};
use domain::{Error, Result};
use futures_util::future;
use futures_util::stream::{self, StreamExt as _};
use graphql_api::{GraphqlErrors, GraphqlUpdate};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::dispatcher::{DeliveryOutcome, Dispatcher, Update};
use crate::fair::Lane;
use crate::message;
use crate::sender::{DeliveryError, RetryBudget};
use crate::visibility::{DirectorySnapshot, VisibleUpdate};

/// Bytes of messages that a topic has in memory at once, for all its documents.
const TOPIC_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of messages of one document that are rendered before they are sent. The last one may exceed them.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Documents of some subscriptions that are delivered at once.
const MAX_CONCURRENT_DOCUMENTS: usize = 64;

/// The delivery of updates to one topic, with what all its pages of subscriptions may take together.
#[derive(Debug)]
pub struct TopicDelivery {
    topic: Topic,
    /// The id of the invocation, by which errors are found in the log.
    request_id: String,
    /// The topic's name, by which it takes turns with others.
    lane: String,
    /// KiB of messages that may still be rendered.
    memory: Semaphore,
    deadline: Instant,
}

impl TopicDelivery {
    /// A delivery of the invocation `request_id` that ends by `deadline`.
    pub fn new(topic: Topic, request_id: &str, deadline: Instant) -> Self {
        let (lane, request_id) = (topic.to_string(), request_id.to_owned());
        Self { topic, request_id, lane, memory: Semaphore::new(TOPIC_BYTES / 1024), deadline }
    }

    /// The topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }
}

/// Subscriptions with equal keys get equal messages, except for provenance.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey<'a> {
    query: &'a str,
    operation: Option<&'a str>,
    switches: String,
}

/// A subscription of a group, by its index, and the updates that it may see. An update is rendered once for all that may
/// see its provenance and once for all others, or once altogether if the document does not select that.
struct Recipient {
    subscription: usize,
    updates: Vec<VisibleUpdate>,
}

/// Why a subscription gets no updates any more.
enum Rejection {
    TokenExpired,
    Errors(GraphqlErrors),
}

/// Payloads of updates.
struct RenderedChunk<'a> {
    payloads: BTreeMap<VisibleUpdate, String>,
    /// Their part of the topic's memory.
    _memory: SemaphorePermit<'a>,
}

/// Why a chunk was not rendered.
enum ChunkError {
    /// The document is refused.
    Errors(GraphqlErrors),
    /// The topic's time was up.
    TooLate,
}

/// The outcomes of some subscriptions, by their indexes.
type Outcomes = Vec<(usize, Result<DeliveryOutcome>)>;

/// One delivery to some subscriptions.
struct Delivery<'a> {
    dispatcher: &'a Dispatcher,
    to: &'a TopicDelivery,
    subscriptions: &'a [Subscription],
    updates: &'a [Update],
    directory: &'a DirectorySnapshot,
}

impl Dispatcher {
    /// Delivers `updates` to subscriptions of a topic, and returns the outcome of each, in their order. `workspaces` has the
    /// entries of the updates' workspaces. A subscriber that cannot be reached in time is disconnected. It resumes after its
    /// last message.
    ///
    /// # Errors
    /// When the directory could not be read, in which case nothing was delivered; when an ended subscription could not be
    /// deleted; or when a subscriber missed an update and could be neither disconnected nor forgotten. The caller must then
    /// deliver all of it again.
    pub async fn deliver(
        &self,
        to: &TopicDelivery,
        subscriptions: Vec<Subscription>,
        updates: &[Update],
        workspaces: HashMap<WorkspaceId, Workspace>,
    ) -> Result<Vec<DeliveryOutcome>> {
        let directory = DirectorySnapshot::read(&self.store, &subscriptions, updates, workspaces).await?;
        let delivery =
            Delivery { dispatcher: self, to, subscriptions: &subscriptions, updates, directory: &directory };
        delivery.run().await
    }
}

impl Delivery<'_> {
    async fn run(&self) -> Result<Vec<DeliveryOutcome>> {
        let (groups, rejected) = self.group();
        let rejections = rejected.into_iter().map(|(index, rejection)| self.reject(index, rejection));
        let deliveries = stream::iter(groups).map(|recipients| self.deliver_to_group(recipients));
        let deliveries = deliveries.buffer_unordered(MAX_CONCURRENT_DOCUMENTS).collect::<Vec<Outcomes>>();
        let (rejected, delivered) = future::join(future::join_all(rejections), deliveries).await;
        // A subscription that may see none of the updates is in no group.
        let mut outcomes: Vec<Result<DeliveryOutcome>> =
            self.subscriptions.iter().map(|_| Ok(DeliveryOutcome::Delivered)).collect();
        for (index, outcome) in rejected.into_iter().chain(delivered.into_iter().flatten()) {
            outcomes[index] = outcome;
        }
        outcomes.into_iter().collect()
    }

    /// Groups the subscriptions that get equal messages, except for provenance, and finds those that get no updates any more.
    fn group(&self) -> (Vec<Vec<Recipient>>, Vec<(usize, Rejection)>) {
        let now = self.dispatcher.now();
        let mut groups: BTreeMap<GroupKey<'_>, Vec<Recipient>> = BTreeMap::new();
        let mut visible_by_session: HashMap<&Session, Result<Vec<VisibleUpdate>, Error>> = HashMap::new();
        let mut rejected = Vec::new();
        for (index, subscription) in self.subscriptions.iter().enumerate() {
            let session = &subscription.session;
            let visible = visible_by_session
                .entry(session)
                .or_insert_with(|| self.directory.visible_updates(&self.to.topic, session, self.updates));
            match visible {
                Ok(visible) if visible.is_empty() => {}
                _ if session.is_expired(now) => rejected.push((index, Rejection::TokenExpired)),
                Ok(visible) => {
                    let selects = graphql_api::selects_provenance(&subscription.document);
                    let updates = visible.iter().map(|update| VisibleUpdate {
                        shows_provenance: update.shows_provenance && selects,
                        ..*update
                    });
                    let recipient = Recipient { subscription: index, updates: updates.collect() };
                    groups.entry(GroupKey::of(&subscription.document)).or_default().push(recipient);
                }
                Err(error) => {
                    rejected.push((index, Rejection::Errors(GraphqlErrors::from(error.duplicate()))));
                }
            }
        }
        (groups.into_values().collect(), rejected)
    }

    /// Delivers to subscriptions that get equal messages. They are rendered in chunks, and every subscriber gets a chunk
    /// before the next one is rendered.
    async fn deliver_to_group(&self, recipients: Vec<Recipient>) -> Outcomes {
        let Some(first) = recipients.first() else { return Vec::new() };
        let document = &self.subscriptions[first.subscription].document;
        let wanted: BTreeSet<VisibleUpdate> =
            recipients.iter().flat_map(|recipient| recipient.updates.iter().copied()).collect();
        let mut wanted: Vec<VisibleUpdate> = wanted.into_iter().collect();
        let mut ended = Outcomes::new();
        let mut present: Vec<_> =
            recipients.into_iter().map(|recipient| (recipient, RetryBudget::default())).collect();
        while !wanted.is_empty() && !present.is_empty() {
            let chunk = self.render(document, &wanted).await;
            let sent = present.into_iter().map(|(recipient, mut budget)| {
                let chunk = &chunk;
                async move {
                    let outcome = self.send_chunk(&recipient, chunk, &mut budget).await;
                    (recipient, budget, outcome)
                }
            });
            present = Vec::new();
            for (recipient, budget, outcome) in future::join_all(sent).await {
                match outcome {
                    Ok(DeliveryOutcome::Delivered) => present.push((recipient, budget)),
                    outcome => ended.push((recipient.subscription, outcome)),
                }
            }
            wanted.drain(..chunk.map_or(wanted.len(), |chunk| chunk.payloads.len()));
        }
        let delivered = present.into_iter();
        ended
            .extend(delivered.map(|(recipient, _)| (recipient.subscription, Ok(DeliveryOutcome::Delivered))));
        ended
    }

    /// Renders the first of some updates, as a document selects them.
    async fn render(
        &self,
        document: &Document,
        wanted: &[VisibleUpdate],
    ) -> Result<RenderedChunk<'_>, ChunkError> {
        const MOST: usize = (CHUNK_BYTES + graphql_api::MAX_PAYLOAD) / 1024;
        let acquired = self.to.memory.acquire_many(u32::try_from(MOST).unwrap_or(u32::MAX));
        let acquired = timeout_at(self.to.deadline, acquired).await;
        let Ok(Ok(mut memory)) = acquired else { return Err(ChunkError::TooLate) };
        if Instant::now() >= self.to.deadline {
            return Err(ChunkError::TooLate);
        }
        let updates = wanted.iter().map(|&VisibleUpdate { index, shows_provenance }| {
            let Update { activity, resume_at, .. } = &self.updates[index];
            let workspace = self.directory.workspace(&activity.workspace_id);
            let cursor = resume_at.cursor(&self.to.topic);
            GraphqlUpdate { activity: Arc::clone(activity), workspace, shows_provenance, cursor }
        });
        let rendered = self.dispatcher.graphql.render_updates(document, updates.collect(), CHUNK_BYTES).await;
        let rendered = rendered.map_err(ChunkError::Errors)?;
        let kib = rendered.iter().map(String::len).sum::<usize>().div_ceil(1024);
        drop(memory.split(MOST.saturating_sub(kib)));
        Ok(RenderedChunk { payloads: wanted.iter().copied().zip(rendered).collect(), _memory: memory })
    }

    /// Sends a subscriber those updates of a chunk that it may see.
    async fn send_chunk(
        &self,
        recipient: &Recipient,
        chunk: &Result<RenderedChunk<'_>, ChunkError>,
        budget: &mut RetryBudget,
    ) -> Result<DeliveryOutcome> {
        let subscription = &self.subscriptions[recipient.subscription];
        match chunk {
            Ok(chunk) => {
                let payloads = recipient.updates.iter().filter_map(|update| chunk.payloads.get(update));
                self.send_all(subscription, payloads, budget).await
            }
            Err(ChunkError::Errors(errors)) => self.end_with_errors(subscription, errors).await,
            Err(ChunkError::TooLate) => {
                self.dispatcher.disconnect_subscriber(subscription, DeliveryError::Refused).await
            }
        }
    }

    /// Sends payloads in order, and disconnects the subscriber at the first that does not arrive.
    async fn send_all(
        &self,
        subscription: &Subscription,
        payloads: impl Iterator<Item = &String>,
        budget: &mut RetryBudget,
    ) -> Result<DeliveryOutcome> {
        for payload in payloads {
            let message = || message::next(&subscription.id, payload);
            if let Err(cause) = self.send(subscription, message, budget).await {
                return self.dispatcher.disconnect_subscriber(subscription, cause).await;
            }
        }
        Ok(DeliveryOutcome::Delivered)
    }

    /// Sends a message, when it is the turn of the topic and of the subscriber.
    async fn send(
        &self,
        subscription: &Subscription,
        message: impl Fn() -> String,
        budget: &mut RetryBudget,
    ) -> Result<(), DeliveryError> {
        let lane = Lane { topic: &self.to.lane, user: &subscription.session.sub };
        let sender = &self.dispatcher.sender;
        sender.send_within(lane, &subscription.connection, message, budget, self.to.deadline).await
    }

    async fn reject(&self, index: usize, rejection: Rejection) -> (usize, Result<DeliveryOutcome>) {
        let subscription = &self.subscriptions[index];
        let outcome = match rejection {
            Rejection::TokenExpired => {
                self.dispatcher.disconnect_expired(subscription, self.to.deadline).await
            }
            Rejection::Errors(errors) => self.end_with_errors(subscription, &errors).await,
        };
        (index, outcome)
    }

    /// Ends a subscription, and sends its client the reason.
    async fn end_with_errors(
        &self,
        subscription: &Subscription,
        errors: &GraphqlErrors,
    ) -> Result<DeliveryOutcome> {
        let errors = errors.to_json(&self.to.request_id);
        let message = || message::error(&subscription.id, &errors);
        match self.send(subscription, message, &mut RetryBudget::default()).await {
            Ok(()) => self.dispatcher.connections.end(subscription).await.map(|()| DeliveryOutcome::Ended),
            Err(cause) => self.dispatcher.disconnect_subscriber(subscription, cause).await,
        }
    }
}

impl<'a> GroupKey<'a> {
    fn of(Document { query, operation, variables }: &'a Document) -> Self {
        Self { query, operation: operation.as_deref(), switches: switches(variables) }
    }
}

/// The variables that can make messages differ: the booleans, which `@include` and `@skip` take. All others only name the
/// topic and the position to resume at.
fn switches(variables: &str) -> String {
    let Ok(Value::Object(mut variables)) = serde_json::from_str(variables) else {
        return variables.to_owned();
    };
    variables.retain(|_, value| value.is_boolean());
    Value::Object(variables).to_string()
}

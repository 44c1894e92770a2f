//! Delivers updates to the subscriptions of a topic: to each those that its subscriber may see, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::directory::Workspace;
use domain::ids::WorkspaceId;
use domain::subscription::{Document, Session, Subscription, Topic};
use domain::{Error, Result};
use futures_util::future;
use futures_util::stream::{self, StreamExt as _};
use graphql_api::{GraphqlErrors, GraphqlUpdate};
use serde_json::Value;
use tokio::time::Instant;

use crate::dispatcher::{DeliveryOutcome, Dispatcher, Update};
use crate::message;
use crate::sender::{DeliveryError, RetryBudget};
use crate::visibility::{DirectorySnapshot, VisibleUpdate};

/// Documents whose messages are in memory at once. A batch of a hundred activities makes at most 12.7 MB of messages for
/// each document.
const MAX_CONCURRENT_DOCUMENTS: usize = 16;

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

/// The outcomes of some subscriptions, by their indexes.
type Outcomes = Vec<(usize, Result<DeliveryOutcome>)>;

/// One delivery.
struct Delivery<'a> {
    dispatcher: &'a Dispatcher,
    topic: &'a Topic,
    subscriptions: &'a [Subscription],
    updates: &'a [Update],
    directory: &'a DirectorySnapshot,
    deadline: Instant,
}

impl Dispatcher {
    /// Delivers `updates` to subscriptions of `topic`, and returns the outcome of each, in their order. `workspaces` has
    /// the entries of the updates' workspaces. A subscriber that cannot be reached by `deadline` is disconnected. It
    /// resumes after its last message.
    ///
    /// # Errors
    /// When the directory could not be read, in which case nothing was delivered; when an ended subscription could not be
    /// deleted; or when a subscriber missed an update and could be neither disconnected nor forgotten. The caller must then
    /// deliver all of it again.
    pub async fn deliver(
        &self,
        topic: &Topic,
        subscriptions: Vec<Subscription>,
        updates: &[Update],
        workspaces: HashMap<WorkspaceId, Workspace>,
        deadline: Instant,
    ) -> Result<Vec<DeliveryOutcome>> {
        let directory = DirectorySnapshot::read(&self.store, &subscriptions, updates, workspaces).await?;
        let delivery = Delivery {
            dispatcher: self,
            topic,
            subscriptions: &subscriptions,
            updates,
            directory: &directory,
            deadline,
        };
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
                .or_insert_with(|| self.directory.visible_updates(self.topic, session, self.updates));
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

    /// Delivers to the subscriptions of a group.
    async fn deliver_to_group(&self, recipients: Vec<Recipient>) -> Outcomes {
        let Some(first) = recipients.first() else { return Vec::new() };
        if Instant::now() >= self.deadline {
            let disconnected = recipients.iter().map(|recipient| async {
                let subscription = &self.subscriptions[recipient.subscription];
                let cause = DeliveryError::Refused;
                let outcome = self.dispatcher.disconnect_subscriber(subscription, cause).await;
                (recipient.subscription, outcome)
            });
            return future::join_all(disconnected).await;
        }
        let document = &self.subscriptions[first.subscription].document;
        let wanted: BTreeSet<VisibleUpdate> =
            recipients.iter().flat_map(|recipient| recipient.updates.iter().copied()).collect();
        let payloads = self.render(document, &wanted).await;
        let payloads = &payloads;
        let delivered = recipients.into_iter().map(|recipient| async move {
            let subscription = &self.subscriptions[recipient.subscription];
            let outcome = match payloads {
                Ok(payloads) => {
                    let payloads = recipient.updates.iter().filter_map(|update| payloads.get(update));
                    self.send_all(subscription, payloads).await
                }
                Err(errors) => self.end_with_errors(subscription, errors).await,
            };
            (recipient.subscription, outcome)
        });
        future::join_all(delivered).await
    }

    /// The payloads of some updates, as a document selects them.
    async fn render(
        &self,
        document: &Document,
        wanted: &BTreeSet<VisibleUpdate>,
    ) -> Result<BTreeMap<VisibleUpdate, String>, GraphqlErrors> {
        let updates = wanted.iter().map(|&VisibleUpdate { index, shows_provenance }| {
            let Update { row, resume_at } = &self.updates[index];
            let workspace = self.directory.workspace(&row.activity.workspace_id);
            let (activity, cursor) = (row.activity.clone(), resume_at.cursor(self.topic));
            GraphqlUpdate { activity, workspace, shows_provenance, cursor }
        });
        let payloads = self.dispatcher.graphql.render_updates(document, updates.collect()).await?;
        Ok(wanted.iter().copied().zip(payloads).collect())
    }

    /// Sends payloads in order, and disconnects the subscriber at the first that does not arrive.
    async fn send_all(
        &self,
        subscription: &Subscription,
        payloads: impl Iterator<Item = &String>,
    ) -> Result<DeliveryOutcome> {
        let (sender, mut budget) = (&self.dispatcher.sender, RetryBudget::default());
        for payload in payloads {
            let message = || message::next(&subscription.id, payload);
            let sent = sender.send_within(&subscription.connection, message, &mut budget, self.deadline);
            if let Err(cause) = sent.await {
                return self.dispatcher.disconnect_subscriber(subscription, cause).await;
            }
        }
        Ok(DeliveryOutcome::Delivered)
    }

    async fn reject(&self, index: usize, rejection: Rejection) -> (usize, Result<DeliveryOutcome>) {
        let subscription = &self.subscriptions[index];
        let outcome = match rejection {
            Rejection::TokenExpired => self.dispatcher.disconnect_expired(subscription, self.deadline).await,
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
        let message = || message::error(&subscription.id, errors.as_json());
        match self.dispatcher.sender.send(&subscription.connection, message, self.deadline).await {
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

//! Lists activities in the journals of their topics, and delivers them to the topics' subscriptions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::activity::Activity;
use domain::directory::Workspace;
use domain::ids::WorkspaceId;
use domain::subscription::{Subscription, Topic};
use domain::{Error, Result};
use futures_util::future;
use futures_util::stream::{self, Stream, StreamExt as _};
use live_delivery::{DeliveryError, Dispatcher, TopicDelivery, Update};
use store::parallel::try_all;
use store::{JournalBatch, JournalHead, PageStart, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A replay has died when it lasts longer than this, in seconds, because an invocation of subscriptions is shorter.
const MAX_REPLAY_SECONDS: i64 = 60;
/// Subscriptions that are flagged at once.
const MAX_CONCURRENT_FLAGS: usize = 16;

/// Time for a batch of one topic. A topic with more to deliver would hold up the next batch, which may be for others. Its
/// subscribers that are not reached in this time are disconnected, and catch up by replay.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of one topic's subscriptions that are delivered at once, so that a slow connection holds up none of the others.
const MAX_CONCURRENT_PAGES: usize = 8;
/// Pages of all topics in memory, beyond the first one of each. A page takes up to 900 KB.
const MAX_FURTHER_PAGES: usize = 32;

/// Delivers activities to the subscriptions of their workspaces and organizations.
///
/// # Errors
/// The first error of a topic. The other topics are delivered all the same.
pub(crate) async fn deliver(
    dispatcher: &Dispatcher,
    rows: Vec<Row>,
    request_id: &str,
    deadline: Instant,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut ids: Vec<WorkspaceId> = rows.iter().map(|row| row.activity.workspace_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let workspaces = dispatcher.store.workspaces(&ids).await?;
    let activities_by_topic = by_topic(rows, &workspaces);
    let topics: Vec<Topic> = activities_by_topic.keys().cloned().collect();
    let mut heads = dispatcher.connections.heads(&topics, dispatcher.now()).await?;
    let deadline = deadline.min(Instant::now() + TOPIC_TIMEOUT);
    let further_pages = Arc::new(Semaphore::new(MAX_FURTHER_PAGES));
    let deliveries = activities_by_topic.into_iter().filter_map(|(topic, activities)| {
        let head = heads.remove(&topic)?;
        let to = TopicDelivery::new(topic, request_id, deadline);
        let batch =
            TopicBatch { dispatcher, to, workspaces: &workspaces, further_pages: Arc::clone(&further_pages) };
        Some(async move { Box::pin(batch.deliver(head, activities)).await })
    });
    let delivered: Vec<Result<()>> = future::join_all(deliveries).await;
    delivered.into_iter().collect()
}

/// An activity of a batch, which its topics share, and whether it is for staff.
type SharedActivity = (Arc<Activity>, bool);

/// Sorts activities by their topics. A workspace that was never created has none, because nobody may see it.
fn by_topic(
    rows: Vec<Row>,
    workspaces: &HashMap<WorkspaceId, Workspace>,
) -> BTreeMap<Topic, Vec<SharedActivity>> {
    let mut topics: BTreeMap<Topic, Vec<SharedActivity>> = BTreeMap::new();
    for Row { activity, staff } in rows {
        let id = activity.workspace_id.clone();
        let Some(workspace) = workspaces.get(&id) else { continue };
        let activity = Arc::new(activity);
        if let Some(organization) = &workspace.organization {
            let topic = Topic::Organization(organization.clone());
            topics.entry(topic).or_default().push((Arc::clone(&activity), staff));
        }
        topics.entry(Topic::Workspace(id)).or_default().push((activity, staff));
    }
    topics
}

/// A batch of one topic.
struct TopicBatch<'a> {
    dispatcher: &'a Dispatcher,
    to: TopicDelivery,
    workspaces: &'a HashMap<WorkspaceId, Workspace>,
    further_pages: Arc<Semaphore>,
}

impl TopicBatch<'_> {
    /// Adds the batch to the topic's journal, and delivers it to the topic's subscriptions.
    async fn deliver(&self, head: JournalHead, activities: Vec<SharedActivity>) -> Result<()> {
        let (connections, topic) = (&self.dispatcher.connections, self.to.topic());
        let entries: Vec<_> = activities
            .iter()
            .map(|(activity, _)| (activity.workspace_id.clone(), activity.position()))
            .collect();
        let added = connections.add_batch(topic, head, &entries, self.dispatcher.now()).await?;
        let Some(batch) = added else { return Ok(()) };
        let updates = updates(activities, &batch);
        let delivered = self
            .pages()
            .map(|page| async {
                let (page, _room) = page?;
                Box::pin(self.deliver_page(page, &batch, &updates)).await
            })
            .buffer_unordered(MAX_CONCURRENT_PAGES)
            .collect::<Vec<Result<usize>>>()
            .await;
        let subscriptions: usize = delivered.into_iter().sum::<Result<usize>>()?;
        if subscriptions > 0 {
            tracing::info!(%topic, activities = updates.len(), subscriptions, "delivered batch");
        }
        // A batch that stays open only makes subscribers that resume within the next minutes get some updates twice.
        if let Err(error) = connections.close_batch(topic, &batch).await {
            tracing::warn!(error = error.chain(), %topic, batch = batch.number, "failed to close batch");
        }
        Ok(())
    }

    /// The pages of the topic's subscriptions. They are read only after the batch is in the journal, so that a subscription
    /// which is not among them replays the batch. All topics share the room for pages other than their first.
    fn pages(&self) -> impl Stream<Item = Result<(Vec<Subscription>, Option<OwnedSemaphorePermit>)>> {
        stream::try_unfold((Some(PageStart::default()), true), async |(start, is_first)| {
            let Some(start) = start else { return Ok(None) };
            let room = match is_first {
                true => None,
                false => {
                    Some(Arc::clone(&self.further_pages).acquire_owned().await.map_err(Error::internal)?)
                }
            };
            let now = self.dispatcher.now();
            let (page, next) = self.dispatcher.connections.subscriptions(self.to.topic(), start, now).await?;
            Ok(Some(((page, room), (next, false))))
        })
    }

    /// Delivers to a page of subscriptions, and returns the number of those that were ready for the batch.
    async fn deliver_page(
        &self,
        page: Vec<Subscription>,
        batch: &JournalBatch,
        updates: &[Update],
    ) -> Result<usize> {
        let (ready, replaying) = self.ready(page, batch).await?;
        let count = ready.len();
        if count > 0 {
            let ids = updates.iter().map(|update| &update.activity.workspace_id);
            let workspaces =
                ids.filter_map(|id| Some((id.clone(), self.workspaces.get(id)?.clone()))).collect();
            self.dispatcher.deliver(&self.to, ready, updates, workspaces).await?;
        }
        disconnect_stuck(self.dispatcher, &replaying).await?;
        Ok(count)
    }

    /// Those of some subscriptions that are ready for a batch, and those that still replay the journal.
    async fn ready(
        &self,
        found: Vec<Subscription>,
        batch: &JournalBatch,
    ) -> Result<(Vec<Subscription>, Vec<Subscription>)> {
        let connections = &self.dispatcher.connections;
        let flagged = found.into_iter().map(|mut subscription| async {
            if subscription.since.is_none() {
                subscription.since = connections.flag_missed(&subscription, batch.number).await?;
            }
            Ok(subscription)
        });
        let flagged = try_all(MAX_CONCURRENT_FLAGS, flagged.collect()).await?;
        let (mut ready, replaying): (Vec<_>, Vec<_>) =
            flagged.into_iter().partition(|subscription| subscription.since.is_some());
        // A subscription that was handed over meanwhile may have replayed the batch.
        ready.retain(|subscription| subscription.since.is_some_and(|since| since < batch.number));
        Ok((ready, replaying))
    }
}

/// The updates that a batch of the journal consists of.
fn updates(activities: Vec<SharedActivity>, batch: &JournalBatch) -> Vec<Update> {
    let count = activities.len();
    let update = |(entry, (activity, staff)): (u32, SharedActivity)| {
        let is_last = entry as usize + 1 == count;
        Update { activity, staff, resume_at: batch.resume_at(entry, is_last) }
    };
    (0..).zip(activities).map(update).collect()
}

/// Disconnects subscribers whose replay has died, so that they reconnect and replay.
async fn disconnect_stuck(dispatcher: &Dispatcher, replaying: &[Subscription]) -> Result<()> {
    let is_stuck = |subscription: &&Subscription| dispatcher.now() - subscription.began > MAX_REPLAY_SECONDS;
    let disconnected = replaying
        .iter()
        .filter(is_stuck)
        .map(|subscription| dispatcher.disconnect_subscriber(subscription, DeliveryError::Refused));
    future::try_join_all(disconnected).await.map(drop)
}

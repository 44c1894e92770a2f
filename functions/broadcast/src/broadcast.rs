//! Lists activities in the journals of their topics, and delivers them to the topics' subscriptions.

use std::collections::{BTreeMap, HashMap};

use domain::Result;
use domain::directory::Workspace;
use domain::ids::WorkspaceId;
use domain::subscription::{Subscription, Topic};
use futures_util::future;
use live_delivery::{DeliveryError, Dispatcher, Update};
use store::parallel::try_all;
use store::{JournalBatch, JournalHead, Row};
use tokio::time::Instant;

/// A replay has died when it lasts longer than this, in seconds, because an invocation of subscriptions is shorter.
const MAX_REPLAY_SECONDS: i64 = 60;
/// Subscriptions that are flagged at once.
const MAX_CONCURRENT_FLAGS: usize = 16;

/// Delivers activities to the subscriptions of their workspaces and organizations.
///
/// # Errors
/// The first error of a topic. The other topics are delivered all the same.
pub(crate) async fn deliver(dispatcher: &Dispatcher, rows: Vec<Row>, deadline: Instant) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut ids: Vec<WorkspaceId> = rows.iter().map(|row| row.activity.workspace_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let workspaces = dispatcher.store.workspaces(&ids).await?;
    let rows_by_topic = by_topic(rows, &workspaces);
    let topics: Vec<Topic> = rows_by_topic.keys().cloned().collect();
    let mut heads = dispatcher.connections.heads(&topics, dispatcher.now()).await?;
    let deliveries = rows_by_topic.into_iter().filter_map(|(topic, rows)| {
        let head = heads.remove(&topic)?;
        Some(deliver_to_topic(dispatcher, topic, head, rows, &workspaces, deadline))
    });
    let delivered: Vec<Result<()>> = future::join_all(deliveries).await;
    delivered.into_iter().collect()
}

/// Sorts activities by their topics. A workspace that was never created has none, because nobody may see it.
fn by_topic(rows: Vec<Row>, workspaces: &HashMap<WorkspaceId, Workspace>) -> BTreeMap<Topic, Vec<Row>> {
    let mut topics: BTreeMap<Topic, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let id = &row.activity.workspace_id;
        let Some(workspace) = workspaces.get(id) else { continue };
        if let Some(organization) = &workspace.organization {
            topics.entry(Topic::Organization(organization.clone())).or_default().push(row.clone());
        }
        topics.entry(Topic::Workspace(id.clone())).or_default().push(row);
    }
    topics
}

/// Adds a batch to a topic's journal, and delivers it to the topic's subscriptions.
async fn deliver_to_topic(
    dispatcher: &Dispatcher,
    topic: Topic,
    head: JournalHead,
    rows: Vec<Row>,
    workspaces: &HashMap<WorkspaceId, Workspace>,
    deadline: Instant,
) -> Result<()> {
    let connections = &dispatcher.connections;
    let entries: Vec<_> =
        rows.iter().map(|row| (row.activity.workspace_id.clone(), row.activity.position())).collect();
    let Some(batch) = connections.add_batch(&topic, head, &entries, dispatcher.now()).await? else {
        return Ok(());
    };
    let (ready, replaying) = subscriptions(dispatcher, &topic, &batch).await?;
    if !ready.is_empty() {
        let workspaces: HashMap<_, _> =
            entries.iter().filter_map(|(id, _)| Some((id.clone(), workspaces.get(id)?.clone()))).collect();
        let updates = updates(rows, &batch);
        let count = ready.len();
        dispatcher.deliver(&topic, ready, &updates, workspaces, deadline).await?;
        tracing::info!(%topic, activities = updates.len(), subscriptions = count, "delivered batch");
    }
    disconnect_stuck(dispatcher, &replaying).await?;
    // A batch that stays open only makes subscribers that resume within the next minutes get some updates twice.
    if let Err(error) = connections.close_batch(&topic, &batch).await {
        tracing::warn!(error = error.chain(), %topic, batch = batch.number, "failed to close batch");
    }
    Ok(())
}

/// The subscriptions that are ready for a batch, and those that still replay the journal. They are read only after the
/// batch is in the journal, so that a subscription which is not among them replays the batch.
async fn subscriptions(
    dispatcher: &Dispatcher,
    topic: &Topic,
    batch: &JournalBatch,
) -> Result<(Vec<Subscription>, Vec<Subscription>)> {
    let connections = &dispatcher.connections;
    let found = connections.subscriptions(topic, dispatcher.now()).await?;
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

/// The updates that a batch of the journal consists of.
fn updates(rows: Vec<Row>, batch: &JournalBatch) -> Vec<Update> {
    let count = rows.len();
    let update = |(entry, row): (u32, Row)| {
        let is_last = entry as usize + 1 == count;
        Update { row, resume_at: batch.resume_at(entry, is_last) }
    };
    (0..).zip(rows).map(update).collect()
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

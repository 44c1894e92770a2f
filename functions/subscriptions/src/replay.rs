//! Replays the journal to a subscriber that missed updates.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use domain::ids::WorkspaceId;
use domain::position::TimePosition;
use domain::subscription::{JournalPosition, Subscription};
use domain::{Error, Result};
use live_delivery::{DeliveryOutcome, TopicDelivery, Update};
use store::{Handover, JournalEntry, Row};

use crate::app::{App, Request};

/// The most entries that are read and delivered at once.
const CHUNK: usize = 100;

impl App {
    /// Delivers everything that a topic's journal lists after `from`, until the broadcast takes over, and returns the
    /// position after the last batch. `None` when the subscription has ended; its client replays the rest when it
    /// subscribes again. `last` is a batch that the journal had.
    ///
    /// # Errors
    /// [`domain::error::QueryError::ResumeExpired`] when the journal no longer has everything that follows `from`.
    pub(crate) async fn replay(
        &self,
        subscription: &Subscription,
        from: JournalPosition,
        last: u64,
        request: &Request<'_>,
    ) -> Result<Option<JournalPosition>> {
        let connections = &self.dispatcher.connections;
        let (mut delivered, mut known) = (from, HashSet::new());
        loop {
            let (mut entries, next) = connections.journal(&subscription.topic, delivered, last).await?;
            if next == delivered {
                match connections.hand_over(subscription, delivered.batch).await? {
                    Handover::Done => return Ok(Some(delivered)),
                    Handover::Missed => continue,
                    Handover::Ended => return Ok(None),
                }
            }
            // The journal lists a redelivered batch of the stream twice.
            entries.retain(|entry| known.insert((entry.workspace.clone(), entry.position.clone())));
            for chunk in entries.chunks(CHUNK) {
                if self.deliver(subscription, chunk, request).await? != DeliveryOutcome::Delivered {
                    return Ok(None);
                }
            }
            delivered = next;
        }
    }

    async fn deliver(
        &self,
        subscription: &Subscription,
        entries: &[JournalEntry],
        request: &Request<'_>,
    ) -> Result<DeliveryOutcome> {
        let store = &self.dispatcher.store;
        let positions: Vec<(WorkspaceId, TimePosition)> =
            entries.iter().map(|entry| (entry.workspace.clone(), entry.position.clone())).collect();
        let mut ids: Vec<WorkspaceId> = positions.iter().map(|(workspace, _)| workspace.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let (rows, workspaces) = tokio::try_join!(store.activities(&positions), store.workspaces(&ids))?;
        let updates = updates(entries, &positions, rows)?;
        let subscriptions = vec![subscription.clone()];
        let to = TopicDelivery::new(subscription.topic.clone(), request.request_id, request.deadline);
        let outcomes = self.dispatcher.deliver(&to, subscriptions, &updates, workspaces).await?;
        Ok(outcomes.first().copied().unwrap_or(DeliveryOutcome::Delivered))
    }
}

/// The updates of entries of a journal, whose activities were read in any order.
fn updates(
    entries: &[JournalEntry],
    positions: &[(WorkspaceId, TimePosition)],
    rows: Vec<Row>,
) -> Result<Vec<Update>> {
    let position = |row: &Row| (row.activity.workspace_id.clone(), row.activity.position());
    let rows: BTreeMap<_, _> =
        rows.into_iter().map(|row| (position(&row), (Arc::new(row.activity), row.staff))).collect();
    let update = |(entry, position): (&JournalEntry, &_)| {
        let row = rows.get(position);
        let (activity, staff) =
            row.ok_or_else(|| Error::internal("a journal lists an activity that the log lacks"))?;
        Ok(Update { activity: Arc::clone(activity), staff: *staff, resume_at: entry.resume_at })
    };
    entries.iter().zip(positions).map(update).collect()
}

//! Tells whoever watches of what was recorded, batch by batch of the table's stream.
//!
//! A batch fails only when a table could not be read or written: then it comes again, and some of it is told twice. What
//! a connection does never fails it.

mod records;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future;
use lambda_http::LambdaEvent;
use lambda_http::lambda_runtime::Diagnostic;
use live::{News, Teller};
use serde::Serialize;
use serde_json::Value;
use shared::Result;
use shared::directory::Workspace;
use shared::ids::WorkspaceId;
use shared::live::{Topic, Watch};
use shared::store::{Head, Row};
use tokio::time::Instant;

/// Time kept back at the end, to close the connections that could not be told.
const CLOSING: Duration = Duration::from_secs(5);

/// What Lambda is told of a batch: from which record on it is to come again.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The first record that failed, if any did.
    pub batch_item_failures: Vec<Failure>,
}

/// A record that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its sequence number.
    pub item_identifier: String,
}

/// Handles a batch of the stream.
///
/// # Errors
/// When the payload is no batch of a stream at all.
pub async fn invoke(teller: &Teller, event: LambdaEvent<Value>) -> Result<Answer, Diagnostic> {
    let deadline = shell::deadline(Some(&event.context)) - CLOSING;
    let request_id = event.context.request_id;
    let batch = records::parse(event.payload).map_err(shell::unreadable)?;
    let failed = match Box::pin(broadcast(teller, batch.rows, deadline)).await {
        Ok(()) => batch.failed,
        Err(error) => {
            shell::log(&error, Some(&request_id));
            batch.first
        }
    };
    let batch_item_failures = failed.map(|item_identifier| Failure { item_identifier }).into_iter().collect();
    Ok(Answer { batch_item_failures })
}

async fn broadcast(teller: &Teller, rows: Vec<Row>, deadline: Instant) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut ids: Vec<WorkspaceId> = rows.iter().map(|row| row.activity.workspace_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let workspaces = teller.store.workspaces(&ids).await?;
    let mut topics: BTreeMap<Topic, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let id = &row.activity.workspace_id;
        // Of a workspace that was never created, nobody may see anything.
        let Some(workspace) = workspaces.get(id) else { continue };
        if let Some(organization) = &workspace.organization {
            topics.entry(Topic::Organization(organization.clone())).or_default().push(row.clone());
        }
        topics.entry(Topic::Workspace(id.clone())).or_default().push(row);
    }
    let names: Vec<Topic> = topics.keys().cloned().collect();
    let mut heads = teller.connections.heads(&names, teller.now()).await?;
    let told = topics.into_iter().filter_map(|(topic, rows)| {
        let head = heads.remove(&topic)?;
        Some(tell(teller, topic, head, rows, &workspaces, deadline))
    });
    // All are told, whatever happens with one.
    let told: Vec<Result<()>> = future::join_all(told).await;
    told.into_iter().collect()
}

/// Adds a batch to a topic's journal, and tells those who watch it.
async fn tell(
    teller: &Teller,
    topic: Topic,
    head: Head,
    rows: Vec<Row>,
    workspaces: &HashMap<WorkspaceId, Workspace>,
    deadline: Instant,
) -> Result<()> {
    let connections = &teller.connections;
    let entries: Vec<_> =
        rows.iter().map(|row| (row.activity.workspace_id.clone(), row.activity.position())).collect();
    let Some(batch) = connections.add_batch(&topic, head, &entries, teller.now()).await? else {
        return Ok(());
    };
    // Only now, so that whoever is not among them finds the batch in the journal.
    let mut watchers: Vec<Watch> = Vec::new();
    for mut watch in connections.watchers(&topic, teller.now()).await? {
        if watch.since.is_none() {
            watch.since = connections.leave_note(&watch, batch.number).await?;
        }
        if watch.since.is_some_and(|since| since < batch.number) {
            watchers.push(watch);
        }
    }
    if !watchers.is_empty() {
        let of_topic: HashMap<_, _> =
            entries.iter().filter_map(|(id, _)| Some((id.clone(), workspaces.get(id)?.clone()))).collect();
        let news = (0u32..).zip(rows).map(|(entry, row)| News { row, mark: batch.mark(entry) });
        let (news, count) = (news.collect::<Vec<_>>(), watchers.len());
        teller.tell(&topic, watchers, &news, of_topic, deadline).await?;
        tracing::info!(topic = topic.name(), activities = news.len(), watchers = count, "told");
    }
    // If this is lost, others wait for it in vain for a while, and repeat a little more to those who come again.
    if let Err(error) = connections.close_batch(&topic, &batch).await {
        tracing::warn!(error = error.chain(), "a batch was not closed");
    }
    Ok(())
}

//! Tells whoever watches of what was recorded, batch by batch of the table's stream.
//!
//! A batch fails when a table could not be read or written: then it comes again, and some of it is told twice. It fails
//! from a record on that cannot be read. What a connection does fails it only when that can be neither told, nor closed, nor
//! forgotten.

mod records;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use lambda_http::LambdaEvent;
use lambda_http::lambda_runtime::Diagnostic;
use live::{Lost, News, Teller};
use serde::Serialize;
use serde_json::Value;
use shared::directory::Workspace;
use shared::ids::WorkspaceId;
use shared::live::{Topic, Watch};
use shared::store::{Head, Row};
use shared::{Error, Result};
use tokio::time::Instant;

/// Time kept back at the end, to close the connections that could not be told.
const CLOSING: Duration = Duration::from_secs(9);

/// How long it takes to tell a watcher what it missed, in seconds, at the most: longer than an invocation of subscriptions.
const CATCHING_UP: i64 = 60;
/// Notes that are left at once.
const AT_ONCE: usize = 16;

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
/// When the payload is no batch of a stream at all; or its first record is none of ours, so that Lambda halves the batch
/// until that is alone.
pub async fn invoke(teller: &Teller, event: LambdaEvent<Value>) -> Result<Answer, Diagnostic> {
    let deadline = shell::deadline(Some(&event.context)) - CLOSING;
    let request_id = event.context.request_id;
    let batch = records::parse(event.payload).map_err(shell::unreadable)?;
    if batch.failed.is_some() && batch.failed == batch.first && batch.records > 1 {
        let error_message = "the first record of the batch cannot be read".to_owned();
        return Err(Diagnostic { error_type: "UnreadableRecord".to_owned(), error_message });
    }
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
    let noted = connections.watchers(&topic, teller.now()).await?.into_iter().map(|mut watch| async {
        if watch.since.is_none() {
            watch.since = connections.leave_note(&watch, batch.number).await?;
        }
        Ok::<_, Error>(watch)
    });
    let noted: Vec<Watch> = stream::iter(noted).buffered(AT_ONCE).try_collect().await?;
    let (mut watchers, waiting): (Vec<Watch>, Vec<Watch>) =
        noted.into_iter().partition(|watch| watch.since.is_some());
    watchers.retain(|watch| watch.since.is_some_and(|since| since < batch.number));
    if !watchers.is_empty() {
        let of_topic: HashMap<_, _> =
            entries.iter().filter_map(|(id, _)| Some((id.clone(), workspaces.get(id)?.clone()))).collect();
        let news = (0u32..).zip(rows).map(|(entry, row)| {
            let is_last = entry as usize + 1 == entries.len();
            News { row, mark: batch.mark(entry, is_last) }
        });
        let (news, count) = (news.collect::<Vec<_>>(), watchers.len());
        teller.tell(&topic, watchers, &news, of_topic, deadline).await?;
        tracing::info!(topic = topic.name(), activities = news.len(), watchers = count, "told");
    }
    // Of whom nobody tells what they missed, since that process has died: they have to come again.
    let is_stuck = |watch: &&Watch| teller.now() - watch.began > CATCHING_UP;
    let lost = waiting.iter().filter(is_stuck).map(|watch| teller.lose(watch, Lost::Refused));
    future::try_join_all(lost).await?;
    // If this is lost, others wait for it in vain for a while, and repeat a little more to those who come again.
    if let Err(error) = connections.close_batch(&topic, &batch).await {
        tracing::warn!(error = error.chain(), "a batch was not closed");
    }
    Ok(())
}

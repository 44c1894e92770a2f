//! Journals: the activities of a topic, batch by batch, while anybody subscribes to it or did within a day.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnConsumedCapacity, TransactWriteItem, Update};

use domain::error::QueryError;
use domain::ids::WorkspaceId;
use domain::position::TimePosition;
use domain::subscription::{CONNECTION_SECONDS, JOURNAL_SECONDS, JournalPosition, Topic};
use domain::{Error, Result};

use super::{Connections, EXPIRES, integer, number};
use crate::backoff::Backoff;
use crate::keys::{self, connections as connection_keys};
use crate::write::is_contention;
use crate::{Item, failed, key, string};

/// Attribute of a head: the last batch.
const BATCH: &str = "batch";
/// Attribute of a head: the batches that are not delivered to everybody yet.
const OPEN: &str = "open";
/// Attribute of a batch: its entries.
const ENTRIES: &str = "entries";

/// A head's expiry is extended by this much more than it needs, in seconds, so that it is written once an hour however
/// many subscriptions begin.
const REFRESH_SECONDS: i64 = 3600;
/// A head that expires sooner than this is not continued, in seconds, because another process's clock may say it has
/// expired.
const LAST_SECONDS: i64 = 600;
/// How long cursors wait for an open batch to be delivered, in seconds: twice as long as an invocation may take.
const OPEN_SECONDS: i64 = 120;
/// Attempts to write a head. The broadcasts of an organization's shards conflict there.
const ATTEMPTS: u32 = 20;
/// The longest first pause between those attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between them.
const LONGEST_PAUSE: Duration = Duration::from_millis(160);
/// Abandoned batches that one write removes from a head, because an expression has at most 4 KB.
const MAX_REMOVED: usize = 50;
/// Batches that one request reads.
const MAX_BATCHES: i32 = 50;
/// Microseconds in a second: batches are numbered from the time of the first.
const MICROS: i64 = 1_000_000;

impl Connections {
    /// The last batch of a topic's journal. The journal is kept from now on until a day after the last connection that
    /// exists now, and begins now if there is none.
    pub async fn open_journal(&self, topic: &Topic, now: i64) -> Result<u64> {
        let until = now + CONNECTION_SECONDS + JOURNAL_SECONDS + LAST_SECONDS;
        let mut backoff = self.backoff();
        for _ in 0..ATTEMPTS {
            let found = self.0.item(connection_keys::head(topic)).await?;
            let expires = found.as_ref().and_then(|head| integer::<i64>(head, EXPIRES));
            let last = found
                .as_ref()
                .and_then(|head| JournalHead::read(head, now + LAST_SECONDS))
                .map(|head| head.last);
            if let Some(last) = last
                && expires.is_some_and(|expires| expires >= until)
            {
                return Ok(last);
            }
            // A journal that begins again numbers its batches past all that it had, so that no old cursor fits it.
            let begins = u64::try_from(now.saturating_mul(MICROS)).map_err(Error::internal)?;
            let mut update = self
                .0
                .client
                .update_item()
                .table_name(&self.0.table)
                .set_key(Some(key(connection_keys::head(topic))))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .expression_attribute_names("#expires", EXPIRES)
                .expression_attribute_values(":expires", number(until + REFRESH_SECONDS));
            update = match expires {
                None => update.condition_expression("attribute_not_exists(#expires)"),
                Some(seen) => update
                    .condition_expression("#expires = :seen")
                    .expression_attribute_values(":seen", number(seen)),
            };
            update = match last {
                Some(_) => update.update_expression("SET #expires = :expires"),
                None => update
                    .update_expression("SET #expires = :expires, #batch = :batch, #open = :open")
                    .expression_attribute_names("#batch", BATCH)
                    .expression_attribute_names("#open", OPEN)
                    .expression_attribute_values(":batch", number(begins))
                    .expression_attribute_values(":open", AttributeValue::M(Item::new())),
            };
            match update.send().await {
                // A journal that is only kept longer may have got more batches meanwhile. The replay reads them too.
                Ok(_) => return Ok(last.unwrap_or(begins)),
                // Another process did the same, or a broadcast is adding a batch.
                Err(SdkError::ServiceError(error))
                    if error.err().is_conditional_check_failed_exception()
                        || error.err().is_transaction_conflict_exception() =>
                {
                    backoff.wait().await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(contended())
    }

    /// The heads of the journals, of those topics that have one.
    pub async fn heads(&self, topics: &[Topic], now: i64) -> Result<HashMap<Topic, JournalHead>> {
        let heads = self.0.batch_get(topics, connection_keys::head).await?;
        let known: HashMap<String, &Topic> =
            topics.iter().map(|topic| (connection_keys::journal(topic), topic)).collect();
        let head = |item: &Item| {
            let topic = known.get(item.get(keys::PK)?.as_s().ok()?)?;
            Some(((*topic).clone(), JournalHead::read(item, now)?))
        };
        Ok(heads.iter().filter_map(head).collect())
    }

    /// Adds a batch to a topic's journal, whose head was last read as `head`; `None` when the topic no longer has a
    /// journal. All of the batch is there, or nothing. It is open until [`Connections::close_batch`].
    pub async fn add_batch(
        &self,
        topic: &Topic,
        head: JournalHead,
        entries: &[(WorkspaceId, TimePosition)],
        now: i64,
    ) -> Result<Option<JournalBatch>> {
        let entry = |(workspace, position): &(WorkspaceId, TimePosition)| {
            string(format!("{}#{}", keys::time_position(position), workspace.key()))
        };
        let entries = AttributeValue::L(entries.iter().map(entry).collect());
        let (mut head, mut backoff) = (Some(head), self.backoff());
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                backoff.wait().await;
                let found = self.0.item(connection_keys::head(topic)).await?;
                head = found.as_ref().and_then(|head| JournalHead::read(head, now));
            }
            let Some(seen) = &head else { return Ok(None) };
            let number = seen.last + 1;
            let request = self
                .0
                .client
                .transact_write_items()
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .transact_items(self.advance(topic, seen, now)?)
                .transact_items(self.batch(topic, number, &entries, now)?);
            match request.send().await {
                Ok(_) => return Ok(Some(JournalBatch { number, resume_at: seen.resume_at(now) })),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(contended())
    }

    /// Closes a batch, because each subscriber got it or is no longer connected.
    pub async fn close_batch(&self, topic: &Topic, batch: &JournalBatch) -> Result<()> {
        let mut backoff = self.backoff();
        for _ in 0..ATTEMPTS {
            let update = self
                .0
                .client
                .update_item()
                .table_name(&self.0.table)
                .set_key(Some(key(connection_keys::head(topic))))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .update_expression("REMOVE #open.#number")
                .condition_expression("attribute_exists(#open.#number)")
                .expression_attribute_names("#open", OPEN)
                .expression_attribute_names("#number", batch.number.to_string());
            match update.send().await {
                Ok(_) => return Ok(()),
                // It took so long that cursors no longer wait for it, or the journal has begun again.
                Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                    return Ok(());
                }
                Err(SdkError::ServiceError(error)) if error.err().is_transaction_conflict_exception() => {
                    backoff.wait().await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(contended())
    }

    fn backoff(&self) -> Backoff<'_> {
        Backoff::new(self.0.jitter(), FIRST_PAUSE, LONGEST_PAUSE)
    }

    /// Moves a head on by one batch, which is open, and removes batches whose broadcast died.
    fn advance(&self, topic: &Topic, seen: &JournalHead, now: i64) -> Result<TransactWriteItem> {
        let next = seen.last + 1;
        let mut update = Update::builder()
            .table_name(&self.0.table)
            .set_key(Some(key(connection_keys::head(topic))))
            .condition_expression("#batch = :seen")
            .expression_attribute_names("#batch", BATCH)
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_names("#next", next.to_string())
            .expression_attribute_values(":seen", number(seen.last))
            .expression_attribute_values(":next", number(next))
            .expression_attribute_values(":now", number(now));
        let mut removed = Vec::new();
        let abandoned = seen.open.iter().filter(|(_, since)| is_abandoned(**since, now));
        for (index, (batch, _)) in abandoned.take(MAX_REMOVED).enumerate() {
            removed.push(format!("#open.#gone{index}"));
            update = update.expression_attribute_names(format!("#gone{index}"), batch.to_string());
        }
        let mut expression = "SET #batch = :next, #open.#next = :now".to_owned();
        if !removed.is_empty() {
            expression.push_str(&format!(" REMOVE {}", removed.join(", ")));
        }
        let update = update.update_expression(expression).build().map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn batch(
        &self,
        topic: &Topic,
        number_of: u64,
        entries: &AttributeValue,
        now: i64,
    ) -> Result<TransactWriteItem> {
        let mut item = key(connection_keys::batch(topic, number_of));
        item.insert(ENTRIES.into(), entries.clone());
        item.insert(EXPIRES.into(), number(now + JOURNAL_SECONDS));
        let put = Put::builder().table_name(&self.0.table).set_item(Some(item));
        Ok(TransactWriteItem::builder().put(put.build().map_err(Error::internal)?).build())
    }

    /// The entries of a topic's journal after a position, from at most 50 batches; and the position after the last of
    /// them, which is `after` itself when there is nothing more. `last` is a batch that the journal had.
    ///
    /// # Errors
    /// [`QueryError::ResumeExpired`] when the journal no longer has everything that follows `after`.
    pub async fn journal(
        &self,
        topic: &Topic,
        after: JournalPosition,
        last: u64,
    ) -> Result<(Vec<JournalEntry>, JournalPosition)> {
        let is_whole = after == JournalPosition::end_of(after.batch);
        let first = if is_whole { after.batch.saturating_add(1) } else { after.batch };
        let (from, to) = (connection_keys::batch(topic, first).1, connection_keys::batch(topic, u64::MAX).1);
        let request = self
            .0
            .query_partition(connection_keys::journal(topic), "#sk BETWEEN :sk AND :last", &from)
            .expression_attribute_values(":last", string(to))
            .limit(MAX_BATCHES);
        let items = request.send().await.map_err(failed)?.items.unwrap_or_default();
        if items.is_empty() && after < JournalPosition::end_of(last) {
            return Err(QueryError::ResumeExpired.into());
        }
        let (mut entries, mut reached, mut expected) = (Vec::new(), after, first);
        for item in items {
            let sk = item.get(keys::SK).and_then(|sk| sk.as_s().ok());
            if sk != Some(&connection_keys::batch(topic, expected).1) {
                return Err(QueryError::ResumeExpired.into());
            }
            let listed = item.get(ENTRIES).and_then(|entries| entries.as_l().ok());
            let listed = listed.ok_or_else(|| Error::internal("a batch without its entries"))?;
            for (index, entry) in (0u32..).zip(listed) {
                if (JournalPosition { batch: expected, entry: index }) > after {
                    let is_last = index as usize + 1 == listed.len();
                    entries
                        .push(JournalEntry::parse(JournalPosition::after(expected, index, is_last), entry)?);
                }
            }
            reached = JournalPosition::end_of(expected);
            expected += 1;
        }
        Ok((entries, reached))
    }
}

/// An activity in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Where to resume once it is delivered.
    pub resume_at: JournalPosition,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its position in the workspace's feed.
    pub position: TimePosition,
}

impl JournalEntry {
    fn parse(resume_at: JournalPosition, value: &AttributeValue) -> Result<Self> {
        let parsed = || {
            let (position, workspace) = value.as_s().ok()?.rsplit_once('#')?;
            let workspace = WorkspaceId::from_key(workspace)?;
            Some(Self { resume_at, workspace, position: keys::parse_time_position(position)? })
        };
        parsed().ok_or_else(|| Error::internal("an entry of a journal does not decode"))
    }
}

/// The head of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalHead {
    /// The last batch.
    last: u64,
    /// The batches that are not delivered to everybody yet, and since when, in seconds since 1970.
    open: BTreeMap<u64, i64>,
}

impl JournalHead {
    /// Reads a head; `None` unless its journal is kept beyond `now`.
    fn read(item: &Item, now: i64) -> Option<Self> {
        let expires: i64 = integer(item, EXPIRES)?;
        let last = (expires > now).then(|| integer(item, BATCH))??;
        let open = item.get(OPEN)?.as_m().ok()?;
        let open = open.keys().filter_map(|number| Some((number.parse().ok()?, integer(open, number)?)));
        Some(Self { last, open: open.collect() })
    }

    /// The position before the first open batch; `None` when no batch is open.
    fn resume_at(&self, now: i64) -> Option<JournalPosition> {
        let first = self.open.iter().find(|(_, since)| !is_abandoned(**since, now));
        first.map(|(batch, _)| JournalPosition::end_of(batch.saturating_sub(1)))
    }
}

/// A batch that was added to a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalBatch {
    /// Its number.
    pub number: u64,
    /// Before the first batch that was open when this one was added.
    resume_at: Option<JournalPosition>,
}

impl JournalBatch {
    /// Where a subscriber resumes who got this entry and those before it in the batch. While an earlier batch is open,
    /// as one of an organization's other workspaces may be, that is before the earlier batch.
    pub fn resume_at(&self, entry: u32, is_last: bool) -> JournalPosition {
        self.resume_at.unwrap_or_else(|| JournalPosition::after(self.number, entry, is_last))
    }
}

/// Whether a batch was refused because another was added at the same time, or because the table was busy.
fn is_conflict(error: &SdkError<TransactWriteItemsError>) -> bool {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
            let mut codes = canceled.cancellation_reasons().iter().filter_map(|reason| reason.code());
            codes.any(|code| code == "ConditionalCheckFailed" || is_contention(code))
        }
        Some(error) => error.is_transaction_in_progress_exception(),
        None => false,
    }
}

/// Whether the broadcast of a batch that is open since then has died. The stream redelivers its activities, which then
/// are in another batch.
fn is_abandoned(since: i64, now: i64) -> bool {
    since + OPEN_SECONDS <= now
}

fn contended() -> Error {
    Error::Throttled("a journal's head is contended".into())
}

//! Journals: what was recorded of a topic, batch by batch, while anybody watched it or had within a day.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnConsumedCapacity, TransactWriteItem, Update};

use super::{Connections, EXPIRES, integer, number};
use crate::ids::WorkspaceId;
use crate::keys::{self, Position, live};
use crate::live::{CONNECTION_SECONDS, JOURNAL_SECONDS, Mark, Topic};
use crate::store::write::is_contention;
use crate::store::{Item, failed, key, string};
use crate::{Error, Result};

/// Of a head: the last batch.
const BATCH: &str = "batch";
/// Of a head: the batches of which not everybody has been told yet.
const OPEN: &str = "open";
/// Of a batch: what is in it.
const ENTRIES: &str = "entries";

/// A head is written anew when its topic has less time left than it was given by this much, in seconds: so once an hour,
/// however many come to watch.
const REFRESH_SECONDS: i64 = 3600;
/// A head that has less time left than this is not taken up again, in seconds: somebody's clock may say it is over.
const LAST_SECONDS: i64 = 600;
/// How long others wait for a batch to be told, in seconds: twice as long as an invocation may take.
const OPEN_SECONDS: i64 = 120;
/// Attempts to add a batch. Broadcasts of an organization meet at its head, one for each shard of the stream.
const ATTEMPTS: u32 = 20;
/// The longest pause between attempts, to begin with; it doubles with each to add a batch, up to a sixteenfold.
const PAUSE: Duration = Duration::from_millis(10);
/// Dead batches forgotten at once: an expression is 4 KB at the most.
const MOST_REMOVED: usize = 50;
/// Batches read at once.
const BATCHES: i32 = 50;
/// Microseconds in a second: batches are numbered from the time of the first.
const MICROS: i64 = 1_000_000;

impl Connections {
    /// The last batch of a topic's journal, which is kept from now on, if it was not yet, until a day after the
    /// connections that there are now.
    pub async fn open_journal(&self, topic: &Topic, now: i64) -> Result<u64> {
        let until = now + CONNECTION_SECONDS + JOURNAL_SECONDS + LAST_SECONDS;
        for _ in 0..ATTEMPTS {
            let found = self.0.item(live::head(topic)).await?;
            let expires = found.as_ref().and_then(|head| integer::<i64>(head, EXPIRES));
            let last =
                found.as_ref().and_then(|head| Head::of(head, now + LAST_SECONDS)).map(|head| head.last);
            if let Some(last) = last
                && expires.is_some_and(|expires| expires >= until)
            {
                return Ok(last);
            }
            // A journal that begins again is numbered past all that it had: no cursor of then leads into it.
            let begins = u64::try_from(now.saturating_mul(MICROS)).map_err(Error::internal)?;
            let mut update = self
                .0
                .client
                .update_item()
                .table_name(&self.0.table)
                .set_key(Some(key(live::head(topic))))
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
                // Where it is only kept longer, more may have come meanwhile, which is told too.
                Ok(_) => return Ok(last.unwrap_or(begins)),
                // Another did the same, or a broadcast is adding to it.
                Err(SdkError::ServiceError(error))
                    if error.err().is_conditional_check_failed_exception()
                        || error.err().is_transaction_conflict_exception() =>
                {
                    pause(0).await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(contended())
    }

    /// How far the journals go of those of some topics that have one.
    pub async fn heads(&self, topics: &[Topic], now: i64) -> Result<HashMap<Topic, Head>> {
        let heads = self.0.all_items(topics, live::head).await?;
        let known: HashMap<String, &Topic> =
            topics.iter().map(|topic| (live::journal(topic), topic)).collect();
        let head = |item: &Item| {
            let topic = known.get(item.get(keys::PK)?.as_s().ok()?)?;
            Some(((*topic).clone(), Head::of(item, now)?))
        };
        Ok(heads.iter().filter_map(head).collect())
    }

    /// Adds a batch to a topic's journal, which goes as far as `head`; `None` when the topic has no journal any more.
    /// All of the batch is there, or nothing. It is open until [`Connections::close_batch`].
    pub async fn add_batch(
        &self,
        topic: &Topic,
        head: Head,
        entries: &[(WorkspaceId, Position)],
        now: i64,
    ) -> Result<Option<Batch>> {
        let entry = |(workspace, place): &(WorkspaceId, Position)| {
            string(place.clone().in_workspace(workspace).as_str())
        };
        let entries = AttributeValue::L(entries.iter().map(entry).collect());
        let mut head = Some(head);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                pause(attempt).await;
                head = self.0.item(live::head(topic)).await?.as_ref().and_then(|head| Head::of(head, now));
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
                Ok(_) => return Ok(Some(Batch { number, told: seen.told(now) })),
                Err(error) if is_turned_away(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(contended())
    }

    /// Notes that everybody who watches has been told of a batch, or is connected no more.
    pub async fn close_batch(&self, topic: &Topic, batch: &Batch) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            let update = self
                .0
                .client
                .update_item()
                .table_name(&self.0.table)
                .set_key(Some(key(live::head(topic))))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .update_expression("REMOVE #open.#number")
                .condition_expression("attribute_exists(#open.#number)")
                .expression_attribute_names("#open", OPEN)
                .expression_attribute_names("#number", batch.number.to_string());
            match update.send().await {
                Ok(_) => return Ok(()),
                // It took so long that others do not wait for it any more, or the journal is another one by now.
                Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                    return Ok(());
                }
                Err(SdkError::ServiceError(error)) if error.err().is_transaction_conflict_exception() => {
                    pause(attempt).await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(contended())
    }

    /// Moves a head on by a batch, which is open; and forgets those whose broadcast died.
    fn advance(&self, topic: &Topic, seen: &Head, now: i64) -> Result<TransactWriteItem> {
        let next = seen.last + 1;
        let mut update = Update::builder()
            .table_name(&self.0.table)
            .set_key(Some(key(live::head(topic))))
            .condition_expression("#batch = :seen")
            .expression_attribute_names("#batch", BATCH)
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_names("#next", next.to_string())
            .expression_attribute_values(":seen", number(seen.last))
            .expression_attribute_values(":next", number(next))
            .expression_attribute_values(":now", number(now));
        let mut removed = Vec::new();
        let dead = seen.open.iter().filter(|(_, since)| is_dead(**since, now));
        for (index, (batch, _)) in dead.take(MOST_REMOVED).enumerate() {
            removed.push(format!("#open.#dead{index}"));
            update = update.expression_attribute_names(format!("#dead{index}"), batch.to_string());
        }
        let mut expression = "SET #batch = :next, #open.#next = :now".to_owned();
        if !removed.is_empty() {
            expression.push_str(&format!(" REMOVE {}", removed.join(", ")));
        }
        let update = update.update_expression(expression).build().map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn batch(&self, topic: &Topic, at: u64, entries: &AttributeValue, now: i64) -> Result<TransactWriteItem> {
        let mut item = key(live::batch(topic, at));
        item.insert(ENTRIES.into(), entries.clone());
        item.insert(EXPIRES.into(), number(now + JOURNAL_SECONDS));
        let put = Put::builder().table_name(&self.0.table).set_item(Some(item));
        Ok(TransactWriteItem::builder().put(put.build().map_err(Error::internal)?).build())
    }

    /// What a topic's journal has after a mark, [`BATCHES`] at the most, each entry with its own mark; and the mark up to
    /// which that is all, which is `after` itself when there is nothing more. `last` is a batch that it had.
    ///
    /// # Errors
    /// [`Error::BadInput`] of `after` when part of what follows it is not there any more.
    pub async fn journal(&self, topic: &Topic, after: Mark, last: u64) -> Result<(Vec<Entry>, Mark)> {
        let first =
            if after == Mark::end_of(after.batch) { after.batch.saturating_add(1) } else { after.batch };
        let (from, to) = (live::batch(topic, first).1, live::batch(topic, u64::MAX).1);
        let request = self
            .0
            .of_partition(live::journal(topic), "#sk BETWEEN :sk AND :last", &from)
            .expression_attribute_values(":last", string(to))
            .limit(BATCHES);
        let items = request.send().await.map_err(failed)?.items.unwrap_or_default();
        if items.is_empty() && after < Mark::end_of(last) {
            return Err(gone());
        }
        let (mut entries, mut told, mut expected) = (Vec::new(), after, first);
        for item in items {
            if item.get(keys::SK).and_then(|sk| sk.as_s().ok()) != Some(&live::batch(topic, expected).1) {
                return Err(gone());
            }
            let listed = item.get(ENTRIES).and_then(|entries| entries.as_l().ok());
            let listed = listed.ok_or_else(|| Error::internal("a batch without its entries"))?;
            for (index, entry) in (0u32..).zip(listed) {
                if (Mark { batch: expected, entry: index }) > after {
                    let is_last = index as usize + 1 == listed.len();
                    entries.push(Entry::parse(mark(expected, index, is_last), entry)?);
                }
            }
            told = Mark::end_of(expected);
            expected += 1;
        }
        Ok((entries, told))
    }
}

/// An activity in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is listed.
    pub mark: Mark,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its place in the log.
    pub place: Position,
}

impl Entry {
    fn parse(mark: Mark, value: &AttributeValue) -> Result<Self> {
        let parsed = || {
            let (place, workspace) = value.as_s().ok()?.rsplit_once('#')?;
            let workspace = WorkspaceId::parse("workspace", workspace).ok()?;
            Some(Self { mark, workspace, place: Position::parse(place)? })
        };
        parsed().ok_or_else(|| Error::internal("an entry of a journal that is none"))
    }
}

/// How far a journal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The last batch.
    last: u64,
    /// Those of which not everybody has been told yet, and since when, in seconds since 1970.
    open: BTreeMap<u64, i64>,
}

impl Head {
    /// Reads a head, of a journal that is kept beyond `now`.
    fn of(item: &Item, now: i64) -> Option<Self> {
        let expires: i64 = integer(item, EXPIRES)?;
        let last = (expires > now).then(|| integer(item, BATCH))??;
        let open = item.get(OPEN)?.as_m().ok()?;
        let open = open.keys().filter_map(|number| Some((number.parse().ok()?, integer(open, number)?)));
        Some(Self { last, open: open.collect() })
    }

    /// Up to where everybody has been told; `None` when that is all.
    fn told(&self, now: i64) -> Option<Mark> {
        let first = self.open.iter().find(|(_, since)| !is_dead(**since, now));
        first.map(|(batch, _)| Mark::end_of(batch.saturating_sub(1)))
    }
}

/// A batch that was added to a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub number: u64,
    told: Option<Mark>,
}

impl Batch {
    /// From where one goes on who was told of this entry, and of those before it in the batch. While an earlier batch is
    /// open, as those of an organization's other workspaces may be, that is before it.
    pub fn mark(&self, entry: u32, is_last: bool) -> Mark {
        self.told.unwrap_or_else(|| mark(self.number, entry, is_last))
    }
}

/// The place of an entry. After the last of its batch, nothing of that is needed any more to go on.
fn mark(batch: u64, entry: u32, is_last: bool) -> Mark {
    if is_last { Mark::end_of(batch) } else { Mark { batch, entry } }
}

/// Whether a batch was turned away by another that was added, or by a busy table.
fn is_turned_away(error: &SdkError<TransactWriteItemsError>) -> bool {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
            let mut codes = canceled.cancellation_reasons().iter().filter_map(|reason| reason.code());
            codes.any(|code| code == "ConditionalCheckFailed" || is_contention(code))
        }
        Some(error) => error.is_transaction_in_progress_exception(),
        None => false,
    }
}

/// Whether a batch that is open since then is nobody's any more. Its activities come again, in another batch.
fn is_dead(since: i64, now: i64) -> bool {
    since + OPEN_SECONDS <= now
}

fn contended() -> Error {
    Error::Throttled("a journal's head is contended".into())
}

fn gone() -> Error {
    Error::bad_input(
        "after",
        "is too old: what follows it is listed for a day only; read activityList instead",
    )
}

async fn pause(attempt: u32) {
    tokio::time::sleep(PAUSE.mul_f64(fastrand::f64() * f64::from(1 << attempt.min(4)))).await;
}

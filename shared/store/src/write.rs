//! The one write there is: activities, with everything that must stand or fall with them, in a transaction.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Config;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};

use super::counters::{day_attribute, slot_attribute};
use super::directory::{AT, UNCLAIMED};
use super::{Item, Store, directory, failed, item, key, string};
use crate::directory::Change;
use crate::event::Event;
use crate::ids::{ActivityId, WorkspaceId};
use crate::keys::{self, Position};
use crate::time::Timestamp;
use crate::{Error, Result};

/// The most items of a DynamoDB transaction.
pub const TRANSACTION_ITEMS: usize = 100;

/// Attribute of an id item: the content's fingerprint.
const FINGERPRINT: &str = "fp";

/// Activities of one workspace, no two with the same id, to be recorded together or not at all.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Whose they are.
    pub workspace: &'a WorkspaceId,
    /// What to record.
    pub events: Vec<&'a Event>,
    /// Their partition in by-organization.
    pub org_key: String,
    /// What changes in the directory, at most one for each item.
    pub directory: Vec<Change>,
    /// Which of the counters' shards to add to.
    pub shard: u64,
}

/// What the table remembers of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredId {
    /// Digest of the content recorded under it.
    pub fingerprint: String,
    /// The time recorded under it.
    pub created_at: Timestamp,
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is recorded.
    Committed,
    /// Nothing is.
    Refused {
        /// Events whose ids are taken, by index, with what they name.
        taken: Vec<(usize, StoredId)>,
        /// Changes of the directory, by index, of which newer activities had decided all or part.
        late: Vec<(usize, Vec<(crate::directory::Field, Position)>)>,
        /// Set when another transaction was at work on the same items, or the table refused for capacity: the
        /// same batch may succeed later.
        contended: Option<crate::error::Source>,
    },
}

/// What stands at an index of the transaction.
enum Part {
    Activity,
    Id(usize),
    Counter,
    Directory(usize),
}

impl Batch<'_> {
    /// How many items its transaction has; at most [`TRANSACTION_ITEMS`] can be sent.
    pub fn weight(&self) -> usize {
        2 * self.events.len() + self.counters().len() + self.directory.len()
    }

    /// What to add to which attribute of which counter.
    fn counters(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut counters: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for event in &self.events {
            let time = event.activity.created_at;
            let kinds: &[bool] = if item::is_staff(&event.activity) { &[false, true] } else { &[false] };
            for &staff in kinds {
                let month = (keys::month_counter(time.day(), self.shard), day_attribute(time, staff));
                let day = (keys::day_counter(time.day(), self.shard), slot_attribute(time, staff));
                for (sk, attribute) in [month, day] {
                    *counters.entry(sk).or_default().entry(attribute).or_default() += 1;
                }
            }
        }
        counters
    }
}

impl Store {
    /// Records a batch.
    ///
    /// All of it is there or none of it, whatever else is being written; of two batches with one id, one is
    /// refused. `token` names this very batch: sent again with it within ten minutes, also after an answer that
    /// was lost, it is recorded once and answered alike. A batch that differs in anything needs another token.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::Throttled`]: it may or may not be recorded; send the same again.
    pub async fn record(&self, batch: &Batch<'_>, token: &str) -> Result<Outcome> {
        let (items, parts) = self.transaction(batch)?;
        let request = self
            .client
            .transact_write_items()
            .client_request_token(token)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_transact_items(Some(items));
        // The recorder tries again by itself, with its invocation's deadline in view.
        let once = Config::builder().retry_config(RetryConfig::disabled());
        match request.customize().config_override(once).send().await {
            Ok(_) => Ok(Outcome::Committed),
            Err(SdkError::ServiceError(service)) => match service.err() {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    let reasons = cancelled.cancellation_reasons().to_vec();
                    refusal(batch, &parts, reasons)
                }
                _ => Err(failed(SdkError::ServiceError(service))),
            },
            Err(error) => Err(failed(error)),
        }
    }

    fn transaction(&self, batch: &Batch<'_>) -> Result<(Vec<TransactWriteItem>, Vec<Part>)> {
        let mut items = Vec::with_capacity(batch.weight());
        let mut parts = Vec::with_capacity(batch.weight());
        for (index, event) in batch.events.iter().enumerate() {
            let activity = &event.activity;
            items.push(self.put_new(item::encode(activity, &batch.org_key)?)?);
            parts.push(Part::Activity);
            let stored = StoredId { fingerprint: event.fingerprint.clone(), created_at: activity.created_at };
            items.push(self.put_new(id_item(batch.workspace, &activity.id, &stored))?);
            parts.push(Part::Id(index));
        }
        for (sk, numbers) in batch.counters() {
            items.push(self.add((keys::counters(batch.workspace), sk), numbers)?);
            parts.push(Part::Counter);
        }
        for (index, change) in batch.directory.iter().enumerate() {
            items.push(self.change(change)?);
            parts.push(Part::Directory(index));
        }
        Ok((items, parts))
    }

    fn put_new(&self, item: Item) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(TransactWriteItem::builder().put(put.build().map_err(Error::internal)?).build())
    }

    fn add(&self, at: (String, String), numbers: BTreeMap<String, u64>) -> Result<TransactWriteItem> {
        let mut update = Update::builder().table_name(&self.table).set_key(Some(key(at)));
        let mut terms = Vec::new();
        for (index, (attribute, number)) in numbers.into_iter().enumerate() {
            terms.push(format!("#n{index} :n{index}"));
            update = update
                .expression_attribute_names(format!("#n{index}"), attribute)
                .expression_attribute_values(format!(":n{index}"), AttributeValue::N(number.to_string()));
        }
        let update = update.update_expression(format!("ADD {}", terms.join(", ")));
        Ok(TransactWriteItem::builder().update(update.build().map_err(Error::internal)?).build())
    }

    /// Sets every field that an earlier activity set, or fails as a whole.
    fn change(&self, change: &Change) -> Result<TransactWriteItem> {
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(change.key.clone())))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let (mut terms, mut conditions) = (Vec::new(), Vec::new());
        for (index, set) in change.sets.iter().enumerate() {
            terms.push(format!("#f{index} = :f{index}"));
            conditions.push(format!("(attribute_not_exists(#f{index}) OR #f{index}.#at < :at{index})"));
            update = update
                .expression_attribute_names(format!("#f{index}"), set.field.name())
                .expression_attribute_names("#at", AT)
                .expression_attribute_values(format!(":f{index}"), directory::encode(set))
                .expression_attribute_values(format!(":at{index}"), string(set.at.as_str()));
        }
        if change.unclaimed {
            terms.push("#unclaimed = :true".into());
            update = update
                .expression_attribute_names("#unclaimed", UNCLAIMED)
                .expression_attribute_values(":true", AttributeValue::Bool(true));
        }
        let update = update
            .update_expression(format!("SET {}", terms.join(", ")))
            .set_condition_expression((!conditions.is_empty()).then(|| conditions.join(" AND ")));
        Ok(TransactWriteItem::builder().update(update.build().map_err(Error::internal)?).build())
    }
}

/// Whether the reason that a transaction was refused for is another at work on the same item, or a busy table.
pub(super) fn is_contention(code: &str) -> bool {
    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"]
        .contains(&code)
}

fn refusal(batch: &Batch<'_>, parts: &[Part], reasons: Vec<CancellationReason>) -> Result<Outcome> {
    let (mut taken, mut late, mut contended, mut lone) = (Vec::new(), Vec::new(), None, false);
    for (part, reason) in parts.iter().zip(reasons) {
        match (reason.code().unwrap_or("None"), part) {
            ("None", _) => {}
            ("ConditionalCheckFailed", Part::Id(index)) => {
                let item = reason.item.ok_or_else(|| Error::internal("a taken id came without its item"))?;
                taken.push((*index, stored_id(item)?));
            }
            ("ConditionalCheckFailed", Part::Directory(index)) => {
                late.push((*index, decided(&batch.directory[*index], &reason)));
            }
            // Its id item says the same, and says more; one without the other would be a damaged table.
            ("ConditionalCheckFailed", Part::Activity) => lone = true,
            (code, _) if is_contention(code) => contended = Some(code.to_owned().into()),
            (code, _) => {
                let message = reason.message().unwrap_or_default();
                return Err(Error::internal(format!("transaction refused: {code}: {message}")));
            }
        }
    }
    if taken.is_empty() && late.is_empty() && contended.is_none() {
        let what = if lone { "an activity is there without its id item" } else { "for no reason given" };
        return Err(Error::internal(format!("transaction refused: {what}")));
    }
    Ok(Outcome::Refused { taken, late, contended })
}

/// The id item of an activity.
pub(super) fn id_item(workspace: &WorkspaceId, id: &ActivityId, stored: &StoredId) -> Item {
    let mut item = key(keys::id_item(workspace, id));
    item.insert(FINGERPRINT.into(), string(&stored.fingerprint));
    item.insert(AT.into(), string(stored.created_at.key()));
    item
}

/// Reads an id item back.
pub(super) fn stored_id(mut item: Item) -> Result<StoredId> {
    Ok(StoredId {
        fingerprint: item::text(&mut item, FINGERPRINT)?,
        created_at: Timestamp::parse(AT, &item::text(&mut item, AT)?)?,
    })
}

/// When the fields that a change wants to set were last decided.
fn decided(change: &Change, reason: &CancellationReason) -> Vec<(crate::directory::Field, Position)> {
    let Some(item) = &reason.item else { return Vec::new() };
    let at = |name: &str| match item.get(name)?.as_m().ok()?.get(AT)? {
        AttributeValue::S(text) => Position::parse(text),
        _ => None,
    };
    change.sets.iter().filter_map(|set| Some((set.field, at(set.field.name())?))).collect()
}

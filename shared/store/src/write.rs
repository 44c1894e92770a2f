//! The one write to the log: activities, with everything that must stand or fall with them, in a transaction.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Config;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Put, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use domain::directory::{
    self as domain_directory, EntryChange, EntryKey, EntryKind, Field, FieldChange, Precedence,
};
use domain::error::Source;
use domain::event::InputEvent;
use domain::ids::{ActivityId, OrganizationId, WorkspaceId};
use domain::time::Timestamp;
use domain::{Error, Result};

use super::counters::{day_attribute, slot_attribute};
use super::directory::{AT, UNCLAIMED, VALUE, VERSIONED, organization_in};
use super::keys::{self, ItemKey, OrgPartition};
use super::{Item, Store, directory, failed, item, key, string};

/// The most items of a DynamoDB transaction.
pub const TRANSACTION_ITEMS: usize = 100;

/// Attribute of an id item: the content's fingerprint.
const FINGERPRINT: &str = "fp";

/// An event made ready to be written: everything that does not depend on what is written beside it.
#[derive(Debug)]
pub struct PreparedEvent {
    event: InputEvent,
    item: Item,
    stored: StoredId,
    is_staff: bool,
    changes: Vec<EntryChange>,
    organization: Option<OrganizationId>,
}

impl PreparedEvent {
    /// Prepares an event.
    ///
    /// # Errors
    /// [`Error::Internal`] when its data cannot be serialized, which no parsed event causes.
    pub fn new(event: InputEvent) -> Result<Self> {
        let activity = &event.activity;
        Ok(Self {
            item: item::encode(activity)?,
            stored: StoredId { fingerprint: event.fingerprint.clone(), created_at: activity.created_at },
            is_staff: item::is_staff(activity),
            changes: domain_directory::changes(activity),
            organization: domain_directory::organization_of(activity),
            event,
        })
    }

    /// The event itself.
    pub fn event(&self) -> &InputEvent {
        &self.event
    }

    /// The event and what the table remembers of it once it is recorded.
    pub fn into_parts(self) -> (InputEvent, StoredId) {
        (self.event, self.stored)
    }

    /// The changes that it makes to the directory.
    pub fn changes(&self) -> &[EntryChange] {
        &self.changes
    }

    /// The organization that it says its workspace belongs to.
    pub fn organization(&self) -> Option<&OrganizationId> {
        self.organization.as_ref()
    }
}

/// Activities of one workspace, no two with the same id, to be recorded together or not at all.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// Their workspace.
    pub workspace: &'a WorkspaceId,
    /// The events to record.
    pub events: Vec<&'a PreparedEvent>,
    /// Their partition in by-organization.
    pub partition: OrgPartition,
    /// The changes of the directory, at most one for each entry.
    pub directory: Vec<EntryChange>,
    /// The shard of the counters to add to.
    pub shard: u64,
    /// The organization that must still be the workspace's, or that it must still have none, when the right to record was
    /// judged by it.
    pub judged_by: Option<Option<OrganizationId>>,
}

/// The content of an id item: everything the table remembers of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredId {
    /// Digest of the content recorded under it.
    pub fingerprint: String,
    /// The time recorded under it.
    pub created_at: Timestamp,
}

/// How a transaction ended.
#[derive(Debug)]
pub enum TransactionOutcome {
    /// Everything is recorded.
    Committed,
    /// Nothing is recorded.
    Refused {
        /// Events whose ids are taken, by index, with what the table remembers of the ids.
        taken: Vec<(usize, StoredId)>,
        /// Changes of the directory, by index, with those of its attributes that say something newer, and since when.
        late: Vec<(usize, Vec<(String, Precedence)>)>,
        /// Changes of the directory, by index, that come with a version to a workspace that goes by time, or the other
        /// way round.
        misordered: Vec<usize>,
        /// Whether the workspace's organization is another than the right to record was judged by.
        moved: bool,
        /// Set when another transaction was at work on the same items, or the table refused for capacity: the same
        /// transaction may succeed later.
        contended: Option<Source>,
    },
}

/// The purpose of an item of the transaction.
enum Part {
    Activity,
    Id(usize),
    Counter,
    Directory(usize),
    Organization,
}

impl Transaction<'_> {
    /// How many items it has; at most [`TRANSACTION_ITEMS`] can be sent.
    pub fn len(&self) -> usize {
        2 * self.events.len()
            + self.counters().len()
            + self.directory.len()
            + usize::from(self.checks_organization())
    }

    /// Whether an item of its own checks the organization: an item that changes the workspace's entry checks it too.
    fn checks_organization(&self) -> bool {
        self.judged_by.is_some()
            && self.directory.iter().all(|change| change.entry.kind != EntryKind::Workspace)
    }

    /// Whether it has nothing to record.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The numbers to add to each attribute of each counter.
    fn counters(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut counters: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for event in &self.events {
            let time = event.stored.created_at;
            let kinds: &[bool] = if event.is_staff { &[false, true] } else { &[false] };
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
    /// Records activities in one transaction.
    ///
    /// All of it is there or none of it, whatever else is being written; of two transactions with one id, one is
    /// refused. `token` names this very transaction: sent again with it within ten minutes, also after an answer that
    /// was lost, it is recorded once and answered alike. A transaction that differs in anything needs another token.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::Throttled`]: it may or may not be recorded; send the same again.
    pub async fn record(&self, transaction: &Transaction<'_>, token: &str) -> Result<TransactionOutcome> {
        let (items, parts) = self.items_of(transaction)?;
        let request = self
            .client
            .transact_write_items()
            .client_request_token(token)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_transact_items(Some(items));
        // The recorder retries by itself, because it knows its invocation's deadline.
        let once = Config::builder().retry_config(RetryConfig::disabled());
        match request.customize().config_override(once).send().await {
            Ok(_) => Ok(TransactionOutcome::Committed),
            Err(SdkError::ServiceError(service)) => match service.err() {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    let reasons = cancelled.cancellation_reasons().to_vec();
                    refusal(transaction, &parts, reasons)
                }
                _ => Err(failed(SdkError::ServiceError(service))),
            },
            Err(error) => Err(failed(error)),
        }
    }

    fn items_of(&self, transaction: &Transaction<'_>) -> Result<(Vec<TransactWriteItem>, Vec<Part>)> {
        let mut items = Vec::with_capacity(transaction.len());
        let mut parts = Vec::with_capacity(transaction.len());
        for (index, event) in transaction.events.iter().enumerate() {
            let mut activity = event.item.clone();
            item::index(&event.event.activity, &transaction.partition, &mut activity);
            items.push(self.put_new(activity)?);
            parts.push(Part::Activity);
            let id_item = id_item(transaction.workspace, &event.event.activity.id, &event.stored);
            items.push(self.put_new(id_item)?);
            parts.push(Part::Id(index));
        }
        for (sk, numbers) in transaction.counters() {
            items.push(self.add((keys::counters(transaction.workspace), sk), numbers)?);
            parts.push(Part::Counter);
        }
        for (index, change) in transaction.directory.iter().enumerate() {
            items.push(self.change(change, transaction.judged_by.as_ref())?);
            parts.push(Part::Directory(index));
        }
        if let Some(organization) =
            transaction.judged_by.as_ref().filter(|_| transaction.checks_organization())
        {
            items.push(self.check_organization(transaction.workspace, organization.as_ref())?);
            parts.push(Part::Organization);
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

    fn add(&self, at: ItemKey, numbers: BTreeMap<String, u64>) -> Result<TransactWriteItem> {
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

    /// Fails when a workspace has another organization than this one.
    fn check_organization(
        &self,
        workspace: &WorkspaceId,
        organization: Option<&OrganizationId>,
    ) -> Result<TransactWriteItem> {
        let (condition, value) = organization_is(organization);
        let mut check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key(keys::directory(&EntryKey::workspace(workspace)))))
            .condition_expression(condition)
            .expression_attribute_names("#organization", Field::Organization.name());
        if let Some(value) = value {
            check = check
                .expression_attribute_names("#value", VALUE)
                .expression_attribute_values(":organization", value);
        }
        Ok(TransactWriteItem::builder().condition_check(check.build().map_err(Error::internal)?).build())
    }

    /// Sets every field, or fails as a whole when a newer activity decided one of them.
    fn change(
        &self,
        change: &EntryChange,
        judged_by: Option<&Option<OrganizationId>>,
    ) -> Result<TransactWriteItem> {
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(keys::directory(&change.entry))))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let (mut terms, mut conditions) = (Vec::new(), Vec::new());
        for (index, field) in change.fields.iter().enumerate() {
            terms.push(format!("#f{index} = :f{index}"));
            let said_at = if field.beside_others {
                format!("#f{index}")
            } else {
                update = update.expression_attribute_names("#at", AT);
                format!("#f{index}.#at")
            };
            conditions.push(format!("(attribute_not_exists(#f{index}) OR {said_at} < :at{index})"));
            update = update
                .expression_attribute_names(format!("#f{index}"), field.attribute())
                .expression_attribute_values(format!(":f{index}"), directory::encode(field))
                .expression_attribute_values(format!(":at{index}"), string(keys::precedence(&field.at)));
        }
        if change.entry.kind == EntryKind::Workspace && !change.fields.is_empty() {
            // The first event of a workspace decides whether it goes by versions.
            update = update.expression_attribute_names("#versioned", VERSIONED);
            if change.is_versioned() {
                terms.push("#versioned = :true".into());
                conditions.push("(attribute_exists(#versioned) OR attribute_not_exists(#known))".into());
                update = update
                    .expression_attribute_names("#known", Field::Name.name())
                    .expression_attribute_values(":true", AttributeValue::Bool(true));
            } else {
                conditions.push("attribute_not_exists(#versioned)".into());
            }
        }
        if let Some(organization) = judged_by.filter(|_| change.entry.kind == EntryKind::Workspace) {
            let (condition, value) = organization_is(organization.as_ref());
            conditions.push(condition.into());
            update = update.expression_attribute_names("#organization", Field::Organization.name());
            if let Some(value) = value {
                update = update
                    .expression_attribute_names("#value", VALUE)
                    .expression_attribute_values(":organization", value);
            }
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

/// The condition that a workspace's `#organization` is still this one, and the `:organization` that it compares with.
fn organization_is(organization: Option<&OrganizationId>) -> (&'static str, Option<AttributeValue>) {
    match organization {
        Some(organization) => ("#organization.#value = :organization", Some(string(organization.as_str()))),
        None => ("attribute_not_exists(#organization)", None),
    }
}

/// Whether a transaction was refused because another was at work on the same item, or because the table was busy.
pub(super) fn is_contention(code: &str) -> bool {
    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"]
        .contains(&code)
}

fn refusal(
    transaction: &Transaction<'_>,
    parts: &[Part],
    reasons: Vec<CancellationReason>,
) -> Result<TransactionOutcome> {
    let (mut taken, mut late, mut misordered) = (Vec::new(), Vec::new(), Vec::new());
    let (mut contended, mut lone, mut moved) = (None, false, false);
    for (part, reason) in parts.iter().zip(reasons) {
        match (reason.code().unwrap_or("None"), part) {
            ("None", _) => {}
            ("ConditionalCheckFailed", Part::Id(index)) => {
                let item = reason.item.ok_or_else(|| Error::internal("a taken id came without its item"))?;
                taken.push((*index, stored_id(item)?));
            }
            ("ConditionalCheckFailed", Part::Directory(index)) => {
                let change = &transaction.directory[*index];
                let item = reason.item.ok_or_else(|| Error::internal("an entry came without its item"))?;
                let is_workspace = change.entry.kind == EntryKind::Workspace;
                let judged_by = transaction.judged_by.as_ref().filter(|_| is_workspace);
                let has_moved = judged_by.is_some_and(|judged_by| organization_in(&item) != *judged_by);
                moved |= has_moved;
                if is_workspace
                    && !change.fields.is_empty()
                    && item.contains_key(VERSIONED) != change.is_versioned()
                {
                    misordered.push(*index);
                } else if !has_moved {
                    late.push((*index, decided(change, &item)));
                }
            }
            ("ConditionalCheckFailed", Part::Organization) => moved = true,
            // The id item says the same, and says more; one without the other would be a damaged table.
            ("ConditionalCheckFailed", Part::Activity) => lone = true,
            (code, _) if is_contention(code) => contended = Some(code.to_owned().into()),
            (code, _) => {
                let message = reason.message().unwrap_or_default();
                return Err(Error::internal(format!("transaction refused: {code}: {message}")));
            }
        }
    }
    if taken.is_empty() && late.is_empty() && misordered.is_empty() && !moved && contended.is_none() {
        let what = if lone { "an activity is there without its id item" } else { "for no reason given" };
        return Err(Error::internal(format!("transaction refused: {what}")));
    }
    Ok(TransactionOutcome::Refused { taken, late, misordered, moved, contended })
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

/// When the attributes that a change wants to set were last said.
fn decided(change: &EntryChange, item: &Item) -> Vec<(String, Precedence)> {
    let said = |change: &FieldChange| {
        let name = change.attribute();
        let at = directory::said_at(item.get(&name)?)?;
        Some((name, at))
    };
    change.fields.iter().filter_map(said).collect()
}

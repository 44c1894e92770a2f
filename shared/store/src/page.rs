//! Reads of feeds: pieces of one partition in order, and counts of them.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, Select};

use super::item::{STAFF, decode};
use super::{Item, Store, failed, item, string};
use crate::activity::{Action, Activity};
use crate::feed::{Filter, Order, Sort};
use crate::ids::{ActivityId, ActorId, Tag, WorkspaceId};
use crate::keys::{self, Key, Position};
use crate::time::Timestamp;
use crate::{Error, Result};

/// Part of a partition, of the table or of an index, that holds activities in the order of their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Whose activities it holds; `None` when they are of several workspaces.
    pub workspace: Option<WorkspaceId>,
    /// The index; `None` for the table itself.
    pub index: Option<&'static str>,
    /// The partition key attribute, and its value.
    pub partition: (&'static str, String),
    /// The sort key attribute, and what comes before the place in it.
    pub key: (&'static str, String),
    /// What its places are ordered by.
    pub sort: Sort,
    /// The part.
    pub span: Span,
}

/// Two bounds in a feed, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Nothing earlier.
    pub from: Position,
    /// Nothing later.
    pub to: Position,
}

impl Span {
    fn is_empty(&self) -> bool {
        self.from > self.to
    }
}

/// What is left to filter by, beyond what the source itself selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Residual {
    /// What the feed shows.
    pub filter: Filter,
    /// Not earlier, where the source is not in the order of time.
    pub since: Option<Timestamp>,
    /// Earlier, there.
    pub until: Option<Timestamp>,
    /// Not what is for staff.
    pub hide_staff: bool,
}

/// An activity read, with what the reader needs beside it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The activity.
    pub activity: Activity,
    /// Whether it is for staff: because it was when recorded, or because its action is now.
    pub staff: bool,
}

/// One answer to a Query.
#[derive(Debug)]
pub struct Chunk {
    /// What passed the filter, in order.
    pub rows: Vec<Row>,
    /// Where to go on; `None` when the span has been read to its end.
    pub next: Option<Item>,
    /// How many were read, filtered out or not.
    pub scanned: usize,
}

impl Source {
    /// The place of the last activity read, by [`Chunk::next`], and its workspace.
    pub fn reached(&self, next: &Item) -> Option<(Position, WorkspaceId)> {
        let text = |name| next.get(name).and_then(|value: &AttributeValue| value.as_s().ok());
        let Key::Activity(workspace, time, id) = Key::parse(text(keys::PK)?, text(keys::SK)?)? else {
            return None;
        };
        let place = match self.sort {
            Sort::Time => Position::new(time, &id),
            Sort::Category => Position::parse_by_category(text(keys::ACTION)?)?,
        };
        Some((place, workspace))
    }
}

impl Store {
    /// Reads up to `limit` activities of `source`, or 1 MB, whichever is less, and filters them. `start` is the last
    /// answer's [`Chunk::next`]. Eventually consistent, as indexes are.
    pub async fn chunk(
        &self,
        source: &Source,
        order: Order,
        residual: &Residual,
        limit: usize,
        start: Option<Item>,
    ) -> Result<Chunk> {
        if source.span.is_empty() {
            return Ok(Chunk { rows: Vec::new(), next: None, scanned: 0 });
        }
        let request = self
            .query(source, residual)
            .scan_index_forward(order == Order::Ascending)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start);
        let answer = request.send().await.map_err(failed)?;
        Ok(Chunk {
            rows: answer.items.unwrap_or_default().into_iter().map(row).collect::<Result<_>>()?,
            next: answer.last_evaluated_key,
            scanned: usize::try_from(answer.scanned_count).unwrap_or_default(),
        })
    }

    /// Counts what [`Store::chunk`] would return of 1 MB of `source`, from `start` on; and says where to go on.
    pub async fn count(
        &self,
        source: &Source,
        residual: &Residual,
        start: Option<Item>,
    ) -> Result<(u64, Option<Item>)> {
        if source.span.is_empty() {
            return Ok((0, None));
        }
        let request = self.query(source, residual).select(Select::Count).set_exclusive_start_key(start);
        let answer = request.send().await.map_err(failed)?;
        Ok((u64::try_from(answer.count).unwrap_or_default(), answer.last_evaluated_key))
    }

    /// The activities at these places, in no order, of those that are there.
    pub async fn activities(&self, places: &[(WorkspaceId, Position)]) -> Result<Vec<Row>> {
        let key_of = |(workspace, place): &(_, _)| (keys::workspace(workspace), keys::activity(place));
        self.all_items(places, key_of).await?.into_iter().map(row).collect()
    }

    /// One activity by its id.
    pub async fn activity(&self, workspace: &WorkspaceId, id: &ActivityId) -> Result<Option<Row>> {
        let Some(mut found) = self.item(keys::id_item(workspace, id)).await? else { return Ok(None) };
        let at = Timestamp::parse("at", &item::text(&mut found, super::directory::AT)?)?;
        let at = (keys::workspace(workspace), keys::activity(&Position::new(at, id)));
        let Some(found) = self.item(at).await? else {
            return Err(Error::internal(format!("id item without its activity: {workspace} {id}")));
        };
        row(found).map(Some)
    }

    fn query(&self, source: &Source, residual: &Residual) -> QueryFluentBuilder {
        let bound = |place: &Position| string(format!("{}{}", source.key.1, place.as_str()));
        let filter = Expression::of(residual);
        let mut names = filter.names;
        names.insert("#pk".into(), source.partition.0.into());
        names.insert("#sk".into(), source.key.0.into());
        let mut values = filter.values;
        values.insert(":pk".into(), string(&source.partition.1));
        values.insert(":from".into(), bound(&source.span.from));
        values.insert(":to".into(), bound(&source.span.to));
        self.client
            .query()
            .table_name(&self.table)
            .set_index_name(source.index.map(str::to_owned))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
            .set_filter_expression((!filter.terms.is_empty()).then(|| filter.terms.join(" AND ")))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
    }
}

pub(super) fn row(item: Item) -> Result<Row> {
    let marked = item.contains_key(STAFF);
    let activity = decode(item)?;
    Ok(Row { staff: marked || item::is_staff(&activity), activity })
}

/// A filter expression under construction.
#[derive(Default)]
struct Expression {
    terms: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Expression {
    fn of(residual: &Residual) -> Self {
        let mut filter = Self::default();
        if let Some(actor_type) = residual.filter.actor_type {
            filter.any("actor_type", std::iter::once(actor_type.as_str()), |name, value| {
                format!("{name} = {value}")
            });
        }
        let equals = |name: &str, value: &str| format!("{name} = {value}");
        filter.any("actor_id", residual.filter.actors.iter().map(ActorId::as_str), equals);
        filter.any("action", residual.filter.actions.iter().map(Action::as_str), equals);
        let categories = residual.filter.categories.iter().map(|category| keys::category_prefix(category));
        let categories: Vec<String> = categories.collect();
        filter.any(keys::ACTION, categories.iter().map(String::as_str), |name, value| {
            format!("begins_with({name}, {value})")
        });
        filter.any("tags", residual.filter.tags.iter().map(Tag::as_str), |name, value| {
            format!("contains({name}, {value})")
        });
        for (name, operator, time) in [(":since", ">=", residual.since), (":until", "<", residual.until)] {
            if let Some(time) = time {
                filter.names.insert("#at".into(), keys::SK.into());
                filter.values.insert(name.into(), string(keys::activity(&Position::start_of(time))));
                filter.terms.push(format!("#at {operator} {name}"));
            }
        }
        if residual.hide_staff {
            filter.names.insert("#staff".into(), STAFF.into());
            filter.terms.push("attribute_not_exists(#staff)".into());
        }
        filter
    }

    /// Adds: the attribute satisfies `term` with any of the values. No values, no condition.
    fn any<'a>(
        &mut self,
        attribute: &str,
        values: impl Iterator<Item = &'a str>,
        term: impl Fn(&str, &str) -> String,
    ) {
        let name = format!("#{attribute}");
        let mut terms = Vec::new();
        for (index, value) in values.enumerate() {
            let placeholder = format!(":{attribute}{index}");
            terms.push(term(&name, &placeholder));
            self.values.insert(placeholder, string(value));
        }
        if !terms.is_empty() {
            self.names.insert(name, attribute.to_owned());
            self.terms.push(format!("({})", terms.join(" OR ")));
        }
    }
}

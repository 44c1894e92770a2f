//! Reads of feeds: pieces of one partition in order, and counts of them.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, Select};

use tokio::time::Instant;

use super::item::{STAFF, decode};
use super::{Item, Store, failed, item, key, string};
use crate::activity::{Action, Activity};
use crate::feed::{Filter, Order};
use crate::ids::{ActivityId, ActorId, Tag, WorkspaceId};
use crate::keys::Position;
use crate::time::Timestamp;
use crate::{Error, Result, keys};

/// A partition, of the table or of an index, that holds activities in the order of their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The index; `None` for the table itself.
    pub index: Option<&'static str>,
    /// The partition key attribute, and its value.
    pub partition: (&'static str, String),
    /// The sort key attribute, and what comes before the position in it.
    pub sort: (&'static str, String),
}

/// Two bounds in a feed, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Nothing earlier.
    pub from: Position,
    /// Nothing later.
    pub to: Position,
}

/// What is left to filter by, beyond what the source itself selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Residual {
    /// What the feed shows.
    pub filter: Filter,
    /// Not what is for staff.
    pub hide_staff: bool,
}

/// An activity read, with what the reader needs beside it.
#[derive(Debug)]
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

impl Chunk {
    /// The position of the last activity read.
    pub fn reached(next: &Item) -> Option<Position> {
        let AttributeValue::S(sk) = next.get(keys::SK)? else { return None };
        Position::parse(sk.strip_prefix(keys::ACTIVITY_PREFIX)?)
    }
}

impl Store {
    /// Reads up to `limit` activities of `source` within `span`, or 1 MB, whichever is less, and filters them.
    /// `start` is the last answer's [`Chunk::next`]. Eventually consistent, as indexes are.
    pub async fn chunk(
        &self,
        source: &Source,
        span: &Span,
        order: Order,
        residual: &Residual,
        limit: usize,
        start: Option<Item>,
    ) -> Result<Chunk> {
        if span.from > span.to {
            return Ok(Chunk { rows: Vec::new(), next: None, scanned: 0 });
        }
        let request = self
            .query(source, span, residual)
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

    /// Counts what [`Store::chunk`] would return over the whole span; `None` when `requests` requests of 1 MB
    /// each, begun before `until`, are not enough.
    pub async fn count(
        &self,
        source: &Source,
        span: &Span,
        residual: &Residual,
        requests: usize,
        until: Instant,
    ) -> Result<Option<u64>> {
        if span.from > span.to {
            return Ok(Some(0));
        }
        let request = self.query(source, span, residual).select(Select::Count);
        let mut total = 0;
        let mut start = None;
        for _ in 0..requests {
            if Instant::now() >= until {
                break;
            }
            let answer = request.clone().set_exclusive_start_key(start).send().await.map_err(failed)?;
            total += u64::try_from(answer.count).unwrap_or_default();
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(Some(total));
            }
        }
        Ok(None)
    }

    /// One activity by its id.
    pub async fn activity(&self, workspace: &WorkspaceId, id: &ActivityId) -> Result<Option<Row>> {
        let get = |at| {
            self.client
                .get_item()
                .table_name(&self.table)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .consistent_read(true)
                .set_key(Some(key(at)))
                .send()
        };
        let Some(mut found) = get(keys::id_item(workspace, id)).await.map_err(failed)?.item else {
            return Ok(None);
        };
        let at = Timestamp::parse("at", &item::text(&mut found, super::directory::AT)?)?;
        let at = (keys::workspace(workspace), keys::activity(&Position::new(at, id)));
        let Some(found) = get(at).await.map_err(failed)?.item else {
            return Err(Error::internal(format!("id item without its activity: {workspace} {id}")));
        };
        row(found).map(Some)
    }

    fn query(&self, source: &Source, span: &Span, residual: &Residual) -> QueryFluentBuilder {
        let bound = |position: &Position| string(format!("{}{}", source.sort.1, position.as_str()));
        let filter = Expression::of(residual);
        let mut names = filter.names;
        names.insert("#pk".into(), source.partition.0.into());
        names.insert("#sk".into(), source.sort.0.into());
        let mut values = filter.values;
        values.insert(":pk".into(), string(&source.partition.1));
        values.insert(":from".into(), bound(&span.from));
        values.insert(":to".into(), bound(&span.to));
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

fn row(item: Item) -> Result<Row> {
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
        filter.any("tags", residual.filter.tags.iter().map(Tag::as_str), |name, value| {
            format!("contains({name}, {value})")
        });
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

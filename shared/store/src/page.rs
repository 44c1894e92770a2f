//! Reads of feeds: pieces of one partition in order, and counts of them.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, Select};
use domain::activity::{Action, Activity};
use domain::catalog::is_for_staff;
use domain::filter::{Filter, FilterKind, Matching, Order, Sort};
use domain::ids::{ActivityId, ActorId, IssueId, OrganizationId, WorkspaceId};
use domain::position::{Bound, TimePosition};
use domain::time::Timestamp;
use domain::{Error, Result};

use super::item::{STAFF, decode};
use super::keys::{self, Index, Key};
use super::{Item, Store, failed, item, string};

/// A partition of the table or of an index, whose activities are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partition {
    /// A workspace, by time.
    Workspace(WorkspaceId),
    /// An issue, by time.
    Issue(WorkspaceId, IssueId),
    /// The activities of an actor in a workspace, by time.
    Actor(WorkspaceId, ActorId),
    /// The activities of one action in a workspace that were recorded in one category, by time.
    Action {
        /// The workspace.
        workspace: WorkspaceId,
        /// The category that the action was recorded with.
        category: &'static str,
        /// The action.
        action: Action,
    },
    /// A workspace, by category.
    Categories(WorkspaceId),
    /// The workspaces of an organization, by time. An index does not order activities of one instant and id.
    Organization(OrganizationId),
}

/// Where a partition is in DynamoDB.
struct Address {
    index: Option<Index>,
    pk: String,
    /// The prefix of its sort keys, before the position.
    sk_prefix: String,
}

impl Partition {
    /// The workspace whose activities it holds; `None` when they are of several.
    pub fn workspace(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Workspace(workspace)
            | Self::Issue(workspace, _)
            | Self::Actor(workspace, _)
            | Self::Action { workspace, .. }
            | Self::Categories(workspace) => Some(workspace),
            Self::Organization(_) => None,
        }
    }

    /// The order of its activities.
    pub fn sort(&self) -> Sort {
        if matches!(self, Self::Categories(_)) { Sort::Category } else { Sort::Time }
    }

    /// The key at which a Query continues after an item.
    fn key_of(&self, item: &Item) -> Item {
        let (pk, sk) = self.address().index.map_or((keys::PK, keys::SK), Index::key_attributes);
        let names = [keys::PK, keys::SK, pk, sk];
        let attribute = |name: &str| Some((name.to_owned(), item.get(name)?.clone()));
        names.into_iter().filter_map(attribute).collect()
    }

    fn address(&self) -> Address {
        let (index, pk) = match self {
            Self::Workspace(workspace) => (None, keys::workspace(workspace)),
            Self::Issue(workspace, issue) => (Some(Index::Issue), keys::issue(workspace, issue)),
            Self::Actor(workspace, actor) => (Some(Index::Actor), keys::actor(workspace, actor)),
            Self::Action { workspace, .. } | Self::Categories(workspace) => {
                (Some(Index::Action), keys::workspace(workspace))
            }
            Self::Organization(organization) => (Some(Index::Organization), keys::organization(organization)),
        };
        let sk_prefix = match self {
            Self::Action { category, action, .. } => keys::action_prefix(category, action),
            Self::Categories(_) => String::new(),
            _ => keys::ACTIVITY_PREFIX.into(),
        };
        Address { index, pk, sk_prefix }
    }
}

/// Part of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The partition.
    pub partition: Partition,
    /// The part.
    pub span: Span,
}

/// Two bounds in a partition, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Nothing earlier.
    pub from: Bound,
    /// Nothing later.
    pub to: Bound,
}

impl Span {
    fn is_empty(&self) -> bool {
        self.from > self.to
    }
}

/// The filters that apply beyond what the source itself selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Residual {
    /// The filters of the feed that the source does not fulfil by itself.
    pub filter: Filter,
    /// Only activities of this time or later, where the source is not in the order of time.
    pub since: Option<Timestamp>,
    /// Only earlier activities, where the source is not in the order of time.
    pub until: Option<Timestamp>,
    /// Whether to leave out what is for staff.
    pub hide_staff: bool,
}

/// An activity as it was read, with what decides who sees it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The activity.
    pub activity: Activity,
    /// Whether it is for staff: because it was when it was recorded, or because its action is now.
    pub staff: bool,
}

/// One answer to a Query.
#[derive(Debug)]
pub struct Chunk {
    /// The activities that passed the filters, in order.
    pub rows: Vec<Row>,
    /// Where to continue; `None` when the span was read to its end.
    pub next: Option<Continuation>,
    /// How many activities were read, whether they passed the filters or not.
    pub scanned: usize,
}

/// Where reading a source stopped.
#[derive(Debug, Clone)]
pub struct Continuation {
    key: Item,
    /// The position of the last activity read, without its workspace.
    pub reached: Bound,
    /// The workspace of that activity.
    pub workspace: WorkspaceId,
}

impl Continuation {
    fn new(source: &Source, key: Item) -> Result<Self> {
        let text = |name: &str| key.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
        let parsed = || {
            let Key::Activity(workspace, position) = Key::parse(text(keys::PK), text(keys::SK))? else {
                return None;
            };
            let reached = match source.partition.sort() {
                Sort::Time => position.into(),
                Sort::Category => keys::parse_category_position(text(Index::Action.attribute()))?.into(),
            };
            Some((reached, workspace))
        };
        let (reached, workspace) =
            parsed().ok_or_else(|| Error::internal("a Query stopped at a key that is no activity's"))?;
        Ok(Self { key, reached, workspace })
    }
}

impl Store {
    /// Reads up to `limit` activities of `source`, or 1 MB, whichever is less, and filters them. Keeps no more than
    /// `max_bytes` of them, but one at least. `start` is the last answer's [`Chunk::next`]. Eventually consistent, as
    /// indexes are.
    pub async fn chunk(
        &self,
        source: &Source,
        order: Order,
        residual: &Residual,
        (limit, max_bytes): (usize, usize),
        start: Option<Continuation>,
    ) -> Result<Chunk> {
        if source.span.is_empty() {
            return Ok(Chunk { rows: Vec::new(), next: None, scanned: 0 });
        }
        let request = self
            .query(source, residual)
            .scan_index_forward(order == Order::Ascending)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start.map(|start| start.key));
        let answer = request.send().await.map_err(failed)?;
        let (mut items, mut last) = (answer.items.unwrap_or_default(), answer.last_evaluated_key);
        let mut scanned = usize::try_from(answer.scanned_count).unwrap_or_default();
        let mut bytes = 0;
        let exceeds = |item: &Item| {
            bytes += item_bytes(item);
            bytes > max_bytes
        };
        if let Some(fitting) = items.iter().position(exceeds) {
            let kept = fitting.max(1);
            if kept < items.len() {
                // As many of those that did not pass the filters are taken to lie before the last one that is kept.
                scanned = (scanned * kept).div_ceil(items.len());
                items.truncate(kept);
                last = items.last().map(|item| source.partition.key_of(item));
            }
        }
        Ok(Chunk {
            rows: items.into_iter().map(row).collect::<Result<_>>()?,
            next: last.map(|key| Continuation::new(source, key)).transpose()?,
            scanned,
        })
    }

    /// Counts what [`Store::chunk`] would return of 1 MB of `source`, from `start` on; and says where to continue.
    pub async fn count(
        &self,
        source: &Source,
        residual: &Residual,
        start: Option<Continuation>,
    ) -> Result<(u64, Option<Continuation>)> {
        if source.span.is_empty() {
            return Ok((0, None));
        }
        let start = start.map(|start| start.key);
        let request = self.query(source, residual).select(Select::Count).set_exclusive_start_key(start);
        let answer = request.send().await.map_err(failed)?;
        let next = answer.last_evaluated_key.map(|key| Continuation::new(source, key)).transpose()?;
        Ok((u64::try_from(answer.count).unwrap_or_default(), next))
    }

    /// The activities at these positions that exist, in no order.
    pub async fn activities(&self, positions: &[(WorkspaceId, TimePosition)]) -> Result<Vec<Row>> {
        let key_of = |(workspace, position): &(_, _)| (keys::workspace(workspace), keys::activity(position));
        self.batch_get(positions, key_of).await?.into_iter().map(row).collect()
    }

    /// The position of an activity by its id; `None` when no activity has the id.
    pub async fn position_of(
        &self,
        workspace: &WorkspaceId,
        id: &ActivityId,
    ) -> Result<Option<TimePosition>> {
        let Some(mut found) = self.item(keys::id_item(workspace, id)).await? else { return Ok(None) };
        let created_at = Timestamp::parse("at", &item::text(&mut found, super::directory::AT)?)?;
        Ok(Some(TimePosition { created_at, id: id.clone() }))
    }

    /// The activity at a position, strongly consistent; `None` when there is none.
    pub async fn activity(&self, workspace: &WorkspaceId, position: &TimePosition) -> Result<Option<Row>> {
        self.item((keys::workspace(workspace), keys::activity(position))).await?.map(row).transpose()
    }

    fn query(&self, source: &Source, residual: &Residual) -> QueryFluentBuilder {
        let Address { index, pk, sk_prefix } = source.partition.address();
        let (pk_attribute, sk_attribute) = index.map_or((keys::PK, keys::SK), Index::key_attributes);
        let bound = |bound: &Bound| string(format!("{sk_prefix}{}", keys::bound(bound)));
        let filter = Expression::of(residual);
        let mut names = filter.names;
        names.insert("#pk".into(), pk_attribute.into());
        names.insert("#sk".into(), sk_attribute.into());
        let mut values = filter.values;
        values.insert(":pk".into(), string(pk));
        values.insert(":from".into(), bound(&source.span.from));
        values.insert(":to".into(), bound(&source.span.to));
        self.client
            .query()
            .table_name(&self.table)
            .set_index_name(index.map(|index| index.name().to_owned()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
            .set_filter_expression((!filter.terms.is_empty()).then(|| filter.terms.join(" AND ")))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
    }
}

/// The bytes of an item's texts.
fn item_bytes(item: &Item) -> usize {
    item.values().map(|value| value.as_s().map_or(0, String::len)).sum()
}

pub(super) fn row(item: Item) -> Result<Row> {
    let marked = item.contains_key(STAFF);
    let activity = decode(item)?;
    Ok(Row { staff: marked || is_for_staff(&activity.action), activity })
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
        for &kind in FilterKind::ALL {
            let values = residual.filter.values(kind).into_iter();
            match kind.matching() {
                Matching::Equals(attribute) => {
                    filter
                        .any(attribute, values.map(str::to_owned), |name, value| format!("{name} = {value}"))
                }
                Matching::Contains(attribute) => {
                    filter.any(attribute, values.map(str::to_owned), |name, value| {
                        format!("contains({name}, {value})")
                    });
                }
                Matching::Category => {
                    filter.any(
                        Index::Action.attribute(),
                        values.map(keys::category_prefix),
                        |name, value| format!("begins_with({name}, {value})"),
                    );
                }
            }
        }
        for (name, operator, time) in [(":since", ">=", residual.since), (":until", "<", residual.until)] {
            if let Some(time) = time {
                filter.names.insert("#at".into(), keys::SK.into());
                filter.values.insert(name.into(), string(keys::activities_from(time)));
                filter.terms.push(format!("#at {operator} {name}"));
            }
        }
        if residual.hide_staff {
            filter.names.insert("#staff".into(), STAFF.into());
            filter.terms.push("attribute_not_exists(#staff)".into());
        }
        filter
    }

    /// Adds the condition that the attribute satisfies `term` with any of the values. Without values there is none.
    fn any(
        &mut self,
        attribute: &str,
        values: impl Iterator<Item = String>,
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

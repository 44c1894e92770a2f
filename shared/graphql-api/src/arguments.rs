//! The arguments of `activityList`, checked once.

use std::collections::BTreeSet;

use async_graphql::Enum;
use shared::feed::{Filter, Order, Query, Scope, Sort, cursor};
use shared::ids::{ActorId, Tag};
use shared::params::{DEFAULT_LIMIT, MAX_LIMIT, MAX_VALUES};
use shared::time::Timestamp;
use shared::{Error, Result};

use crate::category::Category;
use crate::date_time::DateTime;

/// In what order activities are listed. Activities are never changed, so by `updatedAt` is by `createdAt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "ActivityOrderByInput")]
pub(crate) enum OrderBy {
    /// Most recent first.
    #[graphql(name = "createdAt_DESC")]
    CreatedAtDesc,
    /// Oldest first.
    #[graphql(name = "createdAt_ASC")]
    CreatedAtAsc,
    /// Most recently updated first.
    #[graphql(name = "updatedAt_DESC")]
    UpdatedAtDesc,
    /// Least recently updated first.
    #[graphql(name = "updatedAt_ASC")]
    UpdatedAtAsc,
    /// Alphabetical by category, then oldest first.
    #[graphql(name = "category_ASC")]
    CategoryAsc,
    /// Reverse alphabetical by category, then most recent first.
    #[graphql(name = "category_DESC")]
    CategoryDesc,
}

impl OrderBy {
    fn parts(self) -> (Sort, Order) {
        match self {
            Self::CreatedAtDesc | Self::UpdatedAtDesc => (Sort::Time, Order::Descending),
            Self::CreatedAtAsc | Self::UpdatedAtAsc => (Sort::Time, Order::Ascending),
            Self::CategoryDesc => (Sort::Category, Order::Descending),
            Self::CategoryAsc => (Sort::Category, Order::Ascending),
        }
    }
}

/// What is asked for, beyond whose it is.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) user_id: Option<String>,
    pub(crate) user_ids: Option<Vec<String>>,
    pub(crate) tag_ids: Option<Vec<String>>,
    pub(crate) categories: Option<Vec<Category>>,
    pub(crate) start_date: Option<DateTime>,
    pub(crate) end_date: Option<DateTime>,
    pub(crate) skip: Option<i32>,
    pub(crate) first: Option<i32>,
    pub(crate) last: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) before: Option<String>,
    pub(crate) order_by: Option<OrderBy>,
}

/// What a feed is asked for, and whether it can show anything at all.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) query: Query,
    /// No user is both the one and among the others.
    pub(crate) is_empty: bool,
}

impl Arguments {
    /// Whether the range of dates ends before it begins, or as it does.
    pub(crate) fn are_reversed(&self) -> bool {
        self.start_date.zip(self.end_date).is_some_and(|(start, end)| start.0 >= end.0)
    }

    /// What they ask of `scope`.
    ///
    /// # Errors
    /// [`Error::BadInput`] of the argument at fault.
    pub(crate) fn of(&self, scope: Scope) -> Result<Asked> {
        let start = self.start_date.map(|date| date.0);
        // Both dates are included.
        let end = self.end_date.map(|date| date.0.plus(Timestamp::RESOLUTION));
        let (limit, backward) = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(Error::bad_input("first", "must not be given together with last"));
            }
            (None, None) => (DEFAULT_LIMIT, false),
            (Some(first), None) => (number("first", first, 1, MAX_LIMIT)?, false),
            (None, Some(last)) => (number("last", last, 1, MAX_LIMIT)?, true),
        };
        let skip = self.skip.map_or(Ok(0), |skip| number("skip", skip, 0, usize::MAX))?;
        let (sort, order) = self.order_by.unwrap_or(OrderBy::CreatedAtDesc).parts();
        let mut actors = many("userIds", self.user_ids.as_deref(), |id| ActorId::parse("userIds", id))?;
        let mut is_empty = false;
        if let Some(user) = &self.user_id {
            let user = ActorId::parse("userId", user)?;
            is_empty = !actors.is_empty() && !actors.contains(&user);
            actors = vec![user];
        }
        let categories =
            self.categories.as_deref().map(|all| all.iter().map(|category| category.0).collect::<Vec<_>>());
        let filter = Filter {
            actors,
            categories: many("categories", categories.as_deref(), |name| Ok(*name))?,
            tags: many("tagIds", self.tag_ids.as_deref(), |id| Tag::parse("tagIds", id))?,
            ..Filter::default()
        };
        let mut query = Query {
            filter,
            since: start,
            until: end,
            sort,
            order,
            backward,
            skip: skip as u64,
            ..Query::new(scope, limit)
        };
        let place = |name, text: &Option<String>| {
            text.as_ref().map(|text| cursor::decode(&query, name, text)).transpose()
        };
        let (after, before) = (place("after", &self.after)?, place("before", &self.before)?);
        (query.after, query.before) = (after, before);
        Ok(Asked { query, is_empty })
    }
}

fn number(name: &str, value: i32, least: usize, most: usize) -> Result<usize> {
    match usize::try_from(value) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ if most == usize::MAX => Err(Error::bad_input(name, format!("must be {least} or more"))),
        _ => Err(Error::bad_input(name, format!("must be from {least} to {most}"))),
    }
}

/// A list of which any may match. None says nothing; of an empty list, nobody knows whether it means all or nothing.
fn many<T, U: Ord>(name: &str, values: Option<&[T]>, parse: impl Fn(&T) -> Result<U>) -> Result<Vec<U>> {
    let Some(values) = values else { return Ok(Vec::new()) };
    let values: BTreeSet<U> = values.iter().map(parse).collect::<Result<_>>()?;
    if values.is_empty() {
        return Err(Error::bad_input(name, "must not be empty; leave it out, or give null, to show all"));
    }
    if values.len() > MAX_VALUES {
        return Err(Error::bad_input(name, format!("must have at most {MAX_VALUES} values")));
    }
    Ok(values.into_iter().collect())
}

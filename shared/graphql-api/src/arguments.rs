//! The arguments of `activityList`.

use async_graphql::Enum;
use domain::filter::{Filter, FilterKind, Order, Sort};
use domain::ids::ActorId;
use domain::position::Bound;
use domain::time::Timestamp;
use domain::{Error, Result};
use feeds::{Query, Scope, cursor};
use http_api::params::{DEFAULT_LIMIT, MAX_LIMIT, add_values};

use crate::date_time::DateTime;

/// The orders of a list. An activity never changes, so that the orders by `updatedAt` are those by `createdAt`.
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

/// The arguments of one list, without its scope. [`ListArguments::query`] checks them late, because a caller who may not
/// read the scope must get that error first.
#[derive(Debug)]
pub(crate) struct ListArguments {
    pub(crate) filters: Filters,
    pub(crate) dates: DateRange,
    pub(crate) paging: Paging,
}

impl ListArguments {
    /// The query for a page of `scope`.
    ///
    /// # Errors
    /// [`Error::BadInput`] of the argument at fault.
    pub(crate) fn query(&self, scope: Scope) -> Result<Query> {
        let Paging { first, last, after, before, .. } = &self.paging;
        let (limit, backward) = match (*first, *last) {
            (Some(_), Some(_)) => {
                return Err(Error::bad_input("first", "must not be given together with last"));
            }
            (None, None) => (DEFAULT_LIMIT, false),
            (Some(first), None) => (number("first", first, 1, MAX_LIMIT)?, false),
            (None, Some(last)) => (number("last", last, 1, MAX_LIMIT)?, true),
        };
        let skip = self.paging.skip.map_or(Ok(0), |skip| number("skip", skip, 0, usize::MAX))?;
        let (sort, order) = self.paging.order_by.unwrap_or(OrderBy::CreatedAtDesc).parts();
        let mut query = Query {
            filter: self.filters.filter()?,
            since: self.dates.since,
            until: self.dates.until,
            sort,
            order,
            backward,
            skip: skip as u64,
            ..Query::new(scope, limit)
        };
        let bound = |argument, cursor: &Option<String>, purpose| -> Result<Option<Bound>> {
            not_empty(argument, cursor.as_deref(), purpose)?;
            cursor.as_ref().map(|text| cursor::decode(&query, argument, text)).transpose()
        };
        let (after, before) =
            (bound("after", after, "for the first page")?, bound("before", before, "for the last page")?);
        (query.after, query.before) = (after, before);
        Ok(query)
    }
}

/// The arguments that choose a page.
#[derive(Debug)]
pub(crate) struct Paging {
    pub(crate) skip: Option<i32>,
    pub(crate) first: Option<i32>,
    pub(crate) last: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) before: Option<String>,
    pub(crate) order_by: Option<OrderBy>,
}

/// The times of the activities that a list shows.
#[derive(Debug)]
pub(crate) struct DateRange {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl DateRange {
    /// The range from one date to another, both included, the end as exactly as it was given; `None` unless the start is
    /// before the end.
    pub(crate) fn new(start: Option<DateTime>, end: Option<DateTime>) -> Option<Self> {
        let is_reversed = start.zip(end).is_some_and(|(start, end)| start.time >= end.time);
        (!is_reversed).then(|| Self { since: start.map(|start| start.time), until: end.map(DateTime::end) })
    }
}

/// Checks that an argument is not empty, because that could mean everything as well as nothing. `purpose` says what the
/// argument's absence is for.
///
/// # Errors
/// [`Error::BadInput`] of the argument.
pub(crate) fn not_empty(argument: &str, value: Option<&str>, purpose: &str) -> Result<()> {
    if value.is_some_and(str::is_empty) {
        return Err(empty(argument, purpose));
    }
    Ok(())
}

fn empty(argument: &str, purpose: &str) -> Error {
    Error::bad_input(argument, format!("must not be empty; leave it out, or give null, {purpose}"))
}

/// The filters of a list, collected from their arguments. It keeps the first error until [`Filters::filter`].
#[derive(Debug, Default)]
pub(crate) struct Filters {
    filter: Filter,
    excludes_all: bool,
    error: Option<Error>,
}

impl Filters {
    /// Shows only activities that match any of `values`. A null argument filters nothing. An empty list is an error,
    /// because it could mean all activities as well as none.
    pub(crate) fn any_of<T: AsRef<str>>(
        self,
        kind: FilterKind,
        argument: &str,
        values: Option<Vec<T>>,
    ) -> Self {
        self.with(values, |filters, values| {
            if values.is_empty() {
                return Err(empty(argument, "to show all"));
            }
            add_values(&mut filters.filter, kind, argument, values.iter().map(AsRef::as_ref))
        })
    }

    /// Shows only what one actor did, out of the actors that the filter shows so far.
    pub(crate) fn only_actor(self, argument: &str, id: Option<String>) -> Self {
        self.with(id, |filters, id| {
            not_empty(argument, Some(&id), "to show all")?;
            let id = ActorId::parse(argument, id)?;
            let actors = &mut filters.filter.actors;
            filters.excludes_all = !actors.is_empty() && !actors.contains(&id);
            *actors = vec![id];
            Ok(())
        })
    }

    fn with<T>(mut self, value: Option<T>, add: impl FnOnce(&mut Self, T) -> Result<()>) -> Self {
        if let (Some(value), None) = (value, &self.error) {
            self.error = add(&mut self, value).err();
        }
        self
    }

    /// Whether no activity can pass.
    pub(crate) fn excludes_all(&self) -> bool {
        self.excludes_all
    }

    fn filter(&self) -> Result<Filter> {
        self.error.as_ref().map_or_else(|| Ok(self.filter.clone()), |error| Err(error.duplicate()))
    }
}

fn number(argument: &str, value: i32, min: usize, max: usize) -> Result<usize> {
    match usize::try_from(value) {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ if max == usize::MAX => Err(Error::bad_input(argument, format!("must be {min} or more"))),
        _ => Err(Error::bad_input(argument, format!("must be from {min} to {max}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Option<Vec<String>> {
        Some(ids.iter().map(|&id| id.to_owned()).collect())
    }

    #[test]
    fn end_in_milliseconds_includes_the_whole_of_one() {
        let until = |end: &str| {
            let end = async_graphql::ScalarType::parse(end.into()).unwrap();
            DateRange::new(None, Some(end)).unwrap().until.unwrap().key()
        };
        for (end, expected) in [
            ("2025-01-01T00:00:00.123Z", "2025-01-01T00:00:00.124000"),
            ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00.001000"),
            ("2025-01-01T02:00:00.5+02:00", "2025-01-01T00:00:00.501000"),
            ("2025-01-01T00:00:00.123000Z", "2025-01-01T00:00:00.123001"),
            ("2025-01-01T00:00:00.123999", "2025-01-01T00:00:00.124000"),
        ] {
            assert_eq!(until(end), expected, "{end}");
        }
    }

    fn only(actors: &[&str], actor: &str) -> (Result<Filter>, bool) {
        let filters = Filters::default().any_of(FilterKind::Actor, "userIds", ids(actors));
        let filters = filters.only_actor("userId", Some(actor.to_owned()));
        (filters.filter(), filters.excludes_all())
    }

    #[test]
    fn one_user_is_taken_out_of_several() {
        let (filter, excludes_all) = only(&["b", "a"], "a");
        assert_eq!((filter.unwrap().values(FilterKind::Actor), excludes_all), (vec!["a"], false));
        assert!(only(&["b", "c"], "a").1);
    }

    #[test]
    fn first_error_of_a_filter_is_kept() {
        let filters = Filters::default()
            .any_of::<String>(FilterKind::Tag, "tagIds", None)
            .any_of(FilterKind::Actor, "userIds", ids(&[]))
            .only_actor("userId", Some("a\n".to_owned()));
        assert!(filters.filter().unwrap_err().to_string().starts_with("userIds: must not be empty"));
        assert!(only(&["a"], "a\n").0.unwrap_err().to_string().starts_with("userId: "));
    }
}

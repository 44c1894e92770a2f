//! Which partitions a feed is read from: the narrowest index, several of it merged, the rest as filters.

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{Order, Query, Start};
use crate::keys::{self, Position};
use crate::store::{Residual, Source, Span, Store};
use crate::{Error, Result};

/// Requests of 1 MB that counting a filtered feed may take, in all.
const COUNT_REQUESTS: usize = 400;

/// How a feed is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Disjoint partitions, to be merged.
    pub(super) sources: Vec<Source>,
    /// What to filter their activities by.
    pub(super) residual: Residual,
    /// Where the page lies.
    pub(super) span: Span,
    /// Where the feed lies.
    whole: Span,
    counted: bool,
}

impl Plan {
    pub(super) fn of(query: &Query) -> Self {
        let filter = &query.filter;
        let mut residual = Residual { filter: filter.clone(), hide_staff: false };
        let by_time = |index, attribute, partition| Source {
            index,
            partition: (attribute, partition),
            sort: (keys::SK, keys::ACTIVITY_PREFIX.into()),
        };
        let workspace = &query.workspace;
        let few_actors = filter.actions.is_empty() || filter.actors.len() <= filter.actions.len();
        let sources = if let Some(issue) = &query.issue {
            vec![by_time(Some("by-issue"), keys::ISSUE, keys::issue(workspace, issue))]
        } else if !filter.actors.is_empty() && few_actors {
            let actors = std::mem::take(&mut residual.filter.actors).into_iter();
            actors
                .map(|actor| by_time(Some("by-actor"), keys::ACTOR, keys::actor(workspace, &actor)))
                .collect()
        } else if !filter.actions.is_empty() {
            let actions = std::mem::take(&mut residual.filter.actions).into_iter();
            let by_action = |action| Source {
                index: Some("by-action"),
                partition: (keys::PK, keys::workspace(workspace)),
                sort: (keys::ACTION, keys::action_prefix(&action)),
            };
            actions.map(by_action).collect()
        } else {
            vec![by_time(None, keys::PK, keys::workspace(workspace))]
        };
        let whole = whole(query);
        let mut span = whole.clone();
        match (&query.start, query.order) {
            (Start::Offset(_), _) => {}
            (Start::After(place), Order::Ascending) => span.from = span.from.max(place.just_after()),
            (Start::After(place), Order::Descending) => span.to = span.to.min(place.just_before()),
        }
        let counted = query.issue.is_none() && *filter == super::Filter::default();
        Self { sources, residual, span, whole, counted }
    }

    /// Whether counters count exactly what this feed shows.
    pub(super) fn is_counted(&self) -> bool {
        self.counted
    }

    /// How many activities the whole feed shows, counted by reading them.
    pub(super) async fn count(&self, store: &Store, hide_staff: bool, until: Instant) -> Result<u64> {
        let residual = Residual { hide_staff, ..self.residual.clone() };
        let requests = COUNT_REQUESTS / self.sources.len().max(1);
        let counts =
            self.sources.iter().map(|source| store.count(source, &self.whole, &residual, requests, until));
        let counts: Option<Vec<u64>> = try_join_all(counts).await?.into_iter().collect();
        let too_much = || {
            let detail =
                "total would read more of this feed than a request may; narrow it with since and until";
            Error::bad_input("include", detail)
        };
        Ok(counts.ok_or_else(too_much)?.into_iter().sum())
    }
}

/// The bounds that `since` and `until` set.
pub(super) fn whole(query: &Query) -> Span {
    Span {
        from: query.since.map_or_else(Position::first, Position::start_of),
        to: query.until.map_or_else(Position::last, Position::start_of),
    }
}

//! Which partitions a feed is read from: the narrowest index, several of it merged, the rest as filters.

use std::collections::{BTreeSet, HashMap};

use super::{Order, Query, Scope, Sort};
use crate::access::Place;
use crate::activity::Action;
use crate::catalog;
use crate::ids::{OrganizationId, WorkspaceId};
use crate::keys::{self, Position};
use crate::store::{Residual, Source, Span};
use crate::{Error, Result};

/// So many workspaces are read each for itself; of more, their organization's partition may do with one request.
const FEW: usize = 4;
/// The most partitions of an index to merge, where a wider one would do.
const MANY: usize = 16;
/// The most partitions of several workspaces to merge at all: a request each.
const SOURCES: usize = 400;

/// Where in a feed to read. Both ends are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// Which way.
    pub(super) order: Order,
    /// From where.
    pub(super) start: Option<Position>,
    /// To where.
    pub(super) end: Option<Position>,
}

impl Window {
    /// Whether a place lies in it.
    pub(super) fn admits(&self, place: &Position) -> bool {
        self.start.as_ref().is_none_or(|start| self.order.is_before(start, place))
            && self.end.as_ref().is_none_or(|end| self.order.is_before(place, end))
    }

    /// What to ask an index for. Keys do not tell places apart by workspace, so that of `several`, the ends are read
    /// too.
    fn span(&self, several: bool) -> Span {
        let (from, to) = match self.order {
            Order::Ascending => (&self.start, &self.end),
            Order::Descending => (&self.end, &self.start),
        };
        let from =
            from.as_ref().map(|place| if several { place.in_any_workspace() } else { place.just_after() });
        let to =
            to.as_ref().map(|place| if several { place.in_any_workspace() } else { place.just_before() });
        Span { from: from.unwrap_or_else(Position::first), to: to.unwrap_or_else(Position::last) }
    }
}

/// How a feed is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Disjoint partitions, to be merged.
    pub(super) sources: Vec<Source>,
    /// What to filter their activities by.
    pub(super) residual: Residual,
    /// Whether their categories are still to be compared, which no filter can in an index by category.
    pub(super) sift: bool,
    /// Where the page lies.
    pub(super) window: Window,
    /// Whether partitions that others share are among the sources.
    pub(super) is_wide: bool,
}

impl Plan {
    /// The plan with the fewest requests, as far as the query tells.
    ///
    /// # Errors
    /// [`Error::BadInput`] when those are more than [`SOURCES`].
    pub(super) fn of(query: &Query, places: &[Place], window: Window) -> Result<Self> {
        Planner::new(query, places, &window, false).plan(window)
    }

    /// The plan that reads nothing of other workspaces.
    ///
    /// # Errors
    /// As [`Plan::of`].
    pub(super) fn narrow(query: &Query, places: &[Place], window: Window) -> Result<Self> {
        Planner::new(query, places, &window, true).plan(window)
    }
}

struct Planner<'a> {
    query: &'a Query,
    places: &'a [Place],
    span: Span,
    /// Whether to read nothing of other workspaces.
    narrow: bool,
}

impl<'a> Planner<'a> {
    fn new(query: &'a Query, places: &'a [Place], window: &Window, narrow: bool) -> Self {
        Self { query, places, span: window.span(query.scope.workspace().is_none()), narrow }
    }

    /// Partitions of several workspaces to read in an index, rather than others.
    fn most(&self) -> usize {
        if self.narrow { SOURCES } else { MANY }
    }

    fn plan(&self, window: Window) -> Result<Plan> {
        let Query { scope, filter, since, until, sort, .. } = self.query;
        let mut residual = Residual { filter: filter.clone(), ..Residual::default() };
        let workspaces = || self.places.iter().map(|place| &place.workspace);
        let mut sift = false;
        let sources = if *sort == Sort::Category {
            // Time is in no order there.
            (residual.since, residual.until) = (*since, *until);
            residual.filter.categories.clear();
            let mut prefixes = self.prefixes();
            if self.are_few(prefixes.len(), SOURCES) {
                // By action, unless they are by category.
                residual.filter.actions.retain(|_| !filter.categories.is_empty());
            } else {
                (prefixes, sift) = (vec![String::new()], true);
            }
            let source = |workspace| prefixes.iter().map(move |prefix| self.by_category(workspace, prefix));
            workspaces().flat_map(source).collect()
        } else if let Scope::Issue(workspace, issue) = scope {
            let partition = (keys::ISSUE, keys::issue(workspace, issue));
            vec![self.by_time(Some(workspace), Some("by-issue"), partition)]
        } else if self.by_actor() {
            residual.filter.actors.clear();
            let of = |workspace| {
                filter.actors.iter().map(move |actor| {
                    let partition = (keys::ACTOR, keys::actor(workspace, actor));
                    self.by_time(Some(workspace), Some("by-actor"), partition)
                })
            };
            workspaces().flat_map(of).collect()
        } else if let Some(actions) = self.by_action() {
            residual.filter.actions.clear();
            residual.filter.categories.clear();
            let of = |workspace| actions.iter().map(move |prefix| self.of_action(workspace, prefix));
            workspaces().flat_map(of).collect()
        } else if self.narrow || self.places.len() <= FEW {
            workspaces().map(|workspace| self.of_workspace(workspace)).collect()
        } else {
            self.of_organizations()
        };
        if self.places.len() > 1 && sources.len() > SOURCES {
            let detail =
                format!("is required: together, more than {SOURCES} workspaces cannot be read like this");
            return Err(Error::bad_input("projectId", detail));
        }
        let is_wide = sources.iter().any(|source| source.workspace.is_none());
        Ok(Plan { sources, residual, sift, window, is_wide })
    }

    /// Whether so many partitions of each workspace are no more than `most`, or those of a single one.
    fn are_few(&self, partitions: usize, most: usize) -> bool {
        self.places.len() == 1 || partitions * self.places.len() <= most
    }

    fn by_actor(&self) -> bool {
        let filter = &self.query.filter;
        let kinds = filter.actions.len() + filter.categories.len();
        let actors = filter.actors.len();
        actors > 0 && (kinds == 0 || actors <= kinds) && self.are_few(actors, self.most())
    }

    /// What the keys of the wanted actions start with in by-action, in time order each; none when they are not wanted,
    /// or in no such order.
    fn by_action(&self) -> Option<Vec<String>> {
        let filter = &self.query.filter;
        let prefixes: Vec<String> = match (filter.actions.as_slice(), filter.categories.as_slice()) {
            ([], []) => return None,
            (_, []) => self.prefixes(),
            ([], categories) => {
                let action =
                    |category: &&str| Action::parse("action", catalog::of_category(category)?.action).ok();
                let prefix = |category: &&str| Some(keys::action_prefix(category, &action(category)?));
                // OTHER is of many actions, one after the other.
                categories.iter().map(prefix).collect::<Option<_>>()?
            }
            _ => return None,
        };
        self.are_few(prefixes.len(), self.most()).then_some(prefixes)
    }

    /// What the keys of the wanted categories or actions start with in by-action.
    fn prefixes(&self) -> Vec<String> {
        let filter = &self.query.filter;
        match (filter.actions.as_slice(), filter.categories.as_slice()) {
            ([], []) => vec![String::new()],
            (actions, []) => {
                let prefixes = |action: &Action| {
                    // What was recorded before its action had a row is in OTHER.
                    let categories = BTreeSet::from([catalog::category(action), catalog::OTHER]);
                    let prefix = |category| keys::action_prefix(category, action);
                    categories.into_iter().map(prefix).collect::<Vec<_>>()
                };
                actions.iter().flat_map(prefixes).collect()
            }
            (_, categories) => categories.iter().map(|category| keys::category_prefix(category)).collect(),
        }
    }

    /// Places, in the order of time, of one partition. Without a workspace, it is of several.
    fn by_time(
        &self,
        workspace: Option<&WorkspaceId>,
        index: Option<&'static str>,
        partition: (&'static str, String),
    ) -> Source {
        let (workspace, sort) = (workspace.cloned(), Sort::Time);
        let key = (keys::SK, keys::ACTIVITY_PREFIX.into());
        Source { workspace, index, partition, key, span: self.in_time(), sort }
    }

    fn of_workspace(&self, workspace: &WorkspaceId) -> Source {
        self.by_time(Some(workspace), None, (keys::PK, keys::workspace(workspace)))
    }

    fn of_action(&self, workspace: &WorkspaceId, prefix: &str) -> Source {
        let partition = (keys::PK, keys::workspace(workspace));
        Source {
            key: (keys::ACTION, prefix.to_owned()),
            ..self.by_time(Some(workspace), Some("by-action"), partition)
        }
    }

    /// Places in the order of categories; those whose keys start with `prefix`.
    fn by_category(&self, workspace: &WorkspaceId, prefix: &str) -> Source {
        let mut span = self.span.clone();
        if !prefix.is_empty() {
            span.from = span.from.max(Position::start_of_prefix(prefix));
            span.to = span.to.min(Position::end_of_prefix(prefix));
        }
        Source {
            workspace: Some(workspace.clone()),
            index: Some("by-action"),
            partition: (keys::PK, keys::workspace(workspace)),
            key: (keys::ACTION, String::new()),
            span,
            sort: Sort::Category,
        }
    }

    /// The partitions of the organizations that have more than a few of the places, and those of the other places.
    fn of_organizations(&self) -> Vec<Source> {
        let mut sizes: HashMap<&OrganizationId, usize> = HashMap::new();
        for organization in self.places.iter().filter_map(Place::shared_with) {
            *sizes.entry(organization).or_default() += 1;
        }
        sizes.retain(|_, places| *places > FEW);
        let is_alone = |place: &&Place| !place.shared_with().is_some_and(|shared| sizes.contains_key(shared));
        let alone = self.places.iter().filter(is_alone);
        let mut sources: Vec<Source> = alone.map(|place| self.of_workspace(&place.workspace)).collect();
        sources.extend(sizes.into_keys().map(|organization| {
            let partition = (keys::ORGANIZATION, keys::organization(organization));
            self.by_time(None, Some("by-organization"), partition)
        }));
        sources
    }

    /// The window, and the bounds that `since` and `until` set.
    fn in_time(&self) -> Span {
        let whole = whole(self.query);
        Span { from: whole.from.max(self.span.from.clone()), to: whole.to.min(self.span.to.clone()) }
    }
}

/// The bounds that `since` and `until` set.
pub(super) fn whole(query: &Query) -> Span {
    Span {
        from: query.since.map_or_else(Position::first, Position::start_of),
        to: query.until.map_or_else(Position::last, Position::start_of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::View;
    use crate::feed::Filter;
    use crate::ids::ActorId;

    fn place(workspace: usize, organization: usize) -> Place {
        Place {
            workspace: WorkspaceId::parse("w", format!("ws-{workspace}")).unwrap(),
            view: View::All,
            organization: Some(OrganizationId::parse("o", format!("org-{organization}")).unwrap()),
            unclaimed: false,
        }
    }

    /// Workspaces, each so many in its organization.
    fn places(workspaces: usize, each: usize) -> Vec<Place> {
        (0..workspaces).map(|n| place(n, n / each)).collect()
    }

    fn plan(query: &Query, places: &[Place]) -> Result<Plan> {
        Plan::of(query, places, Window { order: Order::Descending, start: None, end: None })
    }

    /// How many partitions are read, and whether others share any of them.
    fn read(query: &Query, places: &[Place]) -> (usize, bool) {
        let plan = plan(query, places).unwrap();
        (plan.sources.len(), plan.is_wide)
    }

    fn everything() -> Query {
        Query::new(Scope::Everything, 50)
    }

    #[test]
    fn an_organizations_partition_is_read_for_more_than_a_few_of_its_workspaces() {
        assert_eq!(read(&everything(), &places(4, 4)), (4, false));
        assert_eq!(read(&everything(), &places(5, 5)), (1, true));
        assert_eq!(read(&everything(), &places(400, 400)), (1, true));
        // Of each organization only a few.
        assert_eq!(read(&everything(), &places(12, 4)), (12, false));
        assert_eq!(read(&everything(), &places(12, 10)), (3, true));
        let mut some = places(7, 7);
        some[0].unclaimed = true;
        some[1].organization = None;
        assert_eq!(read(&everything(), &some), (3, true));
    }

    #[test]
    fn an_index_is_read_while_that_takes_few_partitions() {
        let actors = vec![ActorId::parse("a", "x").unwrap(), ActorId::parse("a", "y").unwrap()];
        let query = Query { filter: Filter { actors, ..Filter::default() }, ..everything() };
        assert_eq!(read(&query, &places(1, 1)), (2, false));
        assert_eq!(read(&query, &places(8, 8)), (16, false));
        let wide = plan(&query, &places(9, 9)).unwrap();
        assert_eq!((wide.sources.len(), wide.is_wide, wide.residual.filter.actors.len()), (1, true, 2));
        let narrow = |n| Plan::narrow(&query, &places(n, n), wide.window.clone()).unwrap().sources.len();
        assert_eq!((narrow(200), narrow(201)), (400, 201));
    }

    #[test]
    fn what_is_too_much_for_an_order_is_sifted_and_then_refused() {
        let categories: Vec<&str> = catalog::entries().iter().take(20).map(|entry| entry.category).collect();
        let filter = Filter { categories, ..Filter::default() };
        let query = Query { sort: Sort::Category, filter, ..everything() };
        let plan_of = |n| plan(&query, &places(n, n));
        let (whole, sifted) = (plan_of(20).unwrap(), plan_of(21).unwrap());
        assert_eq!((whole.sources.len(), whole.sift), (400, false));
        assert_eq!((sifted.sources.len(), sifted.sift), (21, true));
        assert!(plan_of(400).is_ok());
        assert!(plan_of(401).unwrap_err().to_string().starts_with("projectId: is required"));
        // Of one workspace, all.
        assert_eq!(plan(&query, &places(1, 1)).unwrap().sources.len(), 20);
    }
}

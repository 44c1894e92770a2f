//! The partitions that a feed is read from: the narrowest index, several partitions merged, the rest as filters.

use std::collections::{BTreeSet, HashMap};

use domain::access::{SETTINGS_UPDATED, View, VisibleWorkspace};
use domain::activity::Action;
use domain::catalog;
use domain::error::QueryError;
use domain::filter::Sort;
use domain::ids::{OrganizationId, WorkspaceId};
use domain::position::{Bound, Edge, Prefix};
use domain::{Error, Result};
use store::{Partition, Residual, Source, Span};

use crate::query::{Query, Scope};
use crate::window::Window;

/// Up to so many workspaces are read each by itself; for more, one request to their organization's partition may do.
const FEW_WORKSPACES: usize = 4;
/// The most partitions of an index to merge where a wider partition would do.
const MAX_MERGED: usize = 16;
/// The most partitions of several workspaces that one feed merges, at a request each.
pub const MAX_SOURCES: usize = 400;

/// How a feed is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Disjoint partitions, to be merged.
    pub(crate) sources: Vec<Source>,
    /// The filters that the sources do not fulfil.
    pub(crate) residual: Residual,
    /// The partitions of workspaces of which only changes of the settings are shown.
    pub(crate) settings: Vec<Source>,
    /// The filters that those partitions do not fulfil.
    pub(crate) settings_residual: Residual,
    /// Whether actions and categories must be compared in memory, because an index by category cannot filter by its own
    /// key.
    pub(crate) sift: bool,
    /// The part of the feed to read.
    pub(crate) window: Window,
    /// Whether partitions that other workspaces share are among the sources.
    pub(crate) is_wide: bool,
}

impl Plan {
    /// The plan with the fewest requests, as far as the query tells.
    ///
    /// # Errors
    /// [`QueryError::TooManyWorkspaces`] when those are more than [`MAX_SOURCES`].
    pub(crate) fn of(query: &Query, visible: &[VisibleWorkspace], window: Window) -> Result<Self> {
        Planner::new(query, visible, &window, false).plan(window)
    }

    /// The plan that reads nothing of other workspaces.
    ///
    /// # Errors
    /// As [`Plan::of`].
    pub(crate) fn narrow(query: &Query, visible: &[VisibleWorkspace], window: Window) -> Result<Self> {
        Planner::new(query, visible, &window, true).plan(window)
    }
}

struct Planner<'a> {
    query: &'a Query,
    /// The workspaces of which more is shown than changes of the settings.
    visible: Vec<&'a VisibleWorkspace>,
    /// The others.
    settings: Vec<&'a VisibleWorkspace>,
    span: Span,
    /// Whether to read nothing of other workspaces.
    narrow: bool,
}

/// A range of by-action.
enum Range<'a> {
    /// Everything.
    Whole,
    /// One category.
    Category(&'static str),
    /// One action, in one of the categories it was recorded with.
    Action(&'static str, &'a Action),
}

impl<'a> Planner<'a> {
    fn new(query: &'a Query, visible: &'a [VisibleWorkspace], window: &Window, narrow: bool) -> Self {
        let (settings, visible) = visible.iter().partition(|visible| visible.view == View::Settings);
        Self { query, visible, settings, span: window.span(query.has_several_workspaces()), narrow }
    }

    /// The most partitions of several workspaces to read in an index rather than elsewhere.
    fn max_merged(&self) -> usize {
        if self.narrow { MAX_SOURCES } else { MAX_MERGED }
    }

    fn plan(&self, window: Window) -> Result<Plan> {
        let Query { scope, filter, since, until, sort, .. } = self.query;
        let mut residual = Residual { filter: filter.clone(), ..Residual::default() };
        let workspaces = || self.visible.iter().map(|visible| &visible.workspace);
        let mut sift = false;
        let sources = if self.visible.is_empty() {
            Vec::new()
        } else if *sort == Sort::Category {
            // Such a feed is not in the order of time.
            (residual.since, residual.until) = (*since, *until);
            residual.filter.categories.clear();
            let mut ranges = self.ranges();
            if self.are_few(ranges.len(), MAX_SOURCES) {
                // The ranges are of actions, unless categories are wanted too.
                residual.filter.actions.retain(|_| !filter.categories.is_empty());
            } else {
                (ranges, sift) = (vec![Range::Whole], true);
            }
            let source = |workspace| ranges.iter().map(move |range| self.by_category(workspace, range));
            workspaces().flat_map(source).collect()
        } else if let Scope::Issue(workspace, issue) = scope {
            vec![self.by_time(Partition::Issue(workspace.clone(), issue.clone()))]
        } else if self.by_actor() {
            residual.filter.actors.clear();
            let of = |workspace: &'a WorkspaceId| {
                let actors = filter.actors.iter();
                actors.map(move |actor| self.by_time(Partition::Actor(workspace.clone(), actor.clone())))
            };
            workspaces().flat_map(of).collect()
        } else if let Some(actions) = self.by_action() {
            residual.filter.actions.clear();
            residual.filter.categories.clear();
            let of = |workspace: &'a WorkspaceId| {
                actions.iter().map(move |(category, action)| {
                    let (workspace, action) = (workspace.clone(), action.clone());
                    self.by_time(Partition::Action { workspace, category, action })
                })
            };
            workspaces().flat_map(of).collect()
        } else if self.narrow || self.visible.len() <= FEW_WORKSPACES {
            workspaces().map(|workspace| self.by_time(Partition::Workspace(workspace.clone()))).collect()
        } else {
            self.by_organization()
        };
        let (settings, settings_residual) = self.settings()?;
        let workspaces = self.visible.len() + self.settings.len();
        if workspaces > 1 && sources.len() + settings.len() > MAX_SOURCES {
            return Err(Error::Query(QueryError::TooManyWorkspaces));
        }
        let is_wide = sources.iter().any(|source| source.partition.workspace().is_none());
        Ok(Plan { sources, residual, settings, settings_residual, sift, window, is_wide })
    }

    /// The partitions of the changes of settings where nothing else is shown, and the filters that they do not fulfil.
    fn settings(&self) -> Result<(Vec<Source>, Residual)> {
        let Query { scope, filter, since, until, sort, .. } = self.query;
        let action = Action::parse("action", SETTINGS_UPDATED)?;
        let mut residual = Residual { filter: filter.clone(), ..Residual::default() };
        if !filter.actions.is_empty() && !filter.actions.contains(&action) {
            return Ok((Vec::new(), residual));
        }
        let workspaces = self.settings.iter().map(|visible| &visible.workspace);
        if let Scope::Issue(workspace, issue) = scope {
            residual.filter.actions = vec![action];
            let issue = |_| self.by_time(Partition::Issue(workspace.clone(), issue.clone()));
            return Ok((workspaces.map(issue).collect(), residual));
        }
        residual.filter.actions.clear();
        residual.filter.categories.clear();
        if *sort == Sort::Category {
            (residual.since, residual.until) = (*since, *until);
        }
        let is_wanted =
            |category: &&str| filter.categories.is_empty() || filter.categories.contains(category);
        let categories: Vec<_> =
            categories_of(&action).map(|(category, _)| category).filter(is_wanted).collect();
        let source = |workspace: &WorkspaceId, category| match sort {
            Sort::Category => self.by_category(workspace, &Range::Action(category, &action)),
            Sort::Time => self.by_time(Partition::Action {
                workspace: workspace.clone(),
                category,
                action: action.clone(),
            }),
        };
        let sources = workspaces
            .flat_map(|workspace| categories.iter().map(move |category| (workspace, *category)))
            .map(|(workspace, category)| source(workspace, category));
        Ok((sources.collect(), residual))
    }

    /// Whether so many partitions of each workspace are no more than `most`, or those of a single workspace.
    fn are_few(&self, partitions: usize, most: usize) -> bool {
        self.visible.len() == 1 || partitions * self.visible.len() <= most
    }

    /// Whether the feed is read from by-actor.
    fn by_actor(&self) -> bool {
        let filter = &self.query.filter;
        let kinds = filter.actions.len() + filter.categories.len();
        let actors = filter.actors.len();
        actors > 0 && (kinds == 0 || actors <= kinds) && self.are_few(actors, self.max_merged())
    }

    /// The categories and actions whose partitions of by-action have everything in the order of time; `None` when the
    /// feed is not read from there.
    fn by_action(&self) -> Option<Vec<(&'static str, Action)>> {
        let filter = &self.query.filter;
        let actions: Vec<_> = match (filter.actions.as_slice(), filter.categories.as_slice()) {
            (actions, []) if !actions.is_empty() => actions
                .iter()
                .flat_map(categories_of)
                .map(|(category, action)| (category, action.clone()))
                .collect(),
            ([], categories) if !categories.is_empty() => {
                let of = |category: &&'static str| {
                    // OTHER has many actions, one after the other, so it is not in the order of time.
                    let action = catalog::of_category(category)?.action;
                    Some((*category, Action::parse("action", action).ok()?))
                };
                categories.iter().map(of).collect::<Option<_>>()?
            }
            _ => return None,
        };
        self.are_few(actions.len(), self.max_merged()).then_some(actions)
    }

    /// The ranges of by-action that have everything, for a feed by category.
    fn ranges(&self) -> Vec<Range<'a>> {
        let filter = &self.query.filter;
        match (filter.actions.as_slice(), filter.categories.as_slice()) {
            ([], []) => vec![Range::Whole],
            (actions, []) => actions
                .iter()
                .flat_map(categories_of)
                .map(|(category, action)| Range::Action(category, action))
                .collect(),
            (_, categories) => categories.iter().map(|category| Range::Category(category)).collect(),
        }
    }

    /// A partition in the order of time.
    fn by_time(&self, partition: Partition) -> Source {
        let range = in_time(self.query);
        let from = range.from.max(self.span.from.clone());
        Source { partition, span: Span { from, to: range.to.min(self.span.to.clone()) } }
    }

    /// A range of a workspace in the order of categories.
    fn by_category(&self, workspace: &WorkspaceId, range: &Range<'_>) -> Source {
        let mut span = self.span.clone();
        let prefix = match range {
            Range::Whole => Prefix::Whole,
            Range::Category(category) => Prefix::Category((*category).to_owned()),
            Range::Action(category, action) => Prefix::Action((*category).to_owned(), (*action).clone()),
        };
        span.from = span.from.max(Bound::new(prefix.clone(), Edge::Before));
        span.to = span.to.min(Bound::new(prefix, Edge::After));
        Source { partition: Partition::Categories(workspace.clone()), span }
    }

    /// The partitions of the organizations that have more than a few of the workspaces, and those of all other
    /// workspaces.
    fn by_organization(&self) -> Vec<Source> {
        let mut sizes: HashMap<&OrganizationId, usize> = HashMap::new();
        for organization in self.visible.iter().filter_map(|visible| visible.shared_with()) {
            *sizes.entry(organization).or_default() += 1;
        }
        sizes.retain(|_, workspaces| *workspaces > FEW_WORKSPACES);
        let is_alone = |visible: &&VisibleWorkspace| {
            !visible.shared_with().is_some_and(|shared| sizes.contains_key(shared))
        };
        let alone = self.visible.iter().copied().filter(is_alone);
        let mut sources: Vec<Source> =
            alone.map(|visible| self.by_time(Partition::Workspace(visible.workspace.clone()))).collect();
        let organizations = sizes.into_keys();
        sources.extend(
            organizations.map(|organization| self.by_time(Partition::Organization(organization.clone()))),
        );
        sources
    }
}

/// The categories that an action may have been recorded with: its own, and OTHER, because it may have been recorded
/// before it had a row in the catalog.
fn categories_of(action: &Action) -> impl Iterator<Item = (&'static str, &Action)> {
    let categories = BTreeSet::from([catalog::category(action), catalog::OTHER]);
    categories.into_iter().map(move |category| (category, action))
}

/// The span that `since` and `until` leave.
pub(crate) fn in_time(query: &Query) -> Span {
    Span {
        from: query.since.map_or_else(Bound::first, Bound::start_of),
        to: query.until.map_or_else(Bound::last, Bound::start_of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::filter::{Filter, Order};
    use domain::ids::ActorId;

    fn visible(workspace: usize, organization: usize) -> VisibleWorkspace {
        VisibleWorkspace {
            workspace: WorkspaceId::parse("w", format!("ws-{workspace}")).unwrap(),
            view: View::All,
            organization: Some(OrganizationId::parse("o", format!("org-{organization}")).unwrap()),
            unclaimed: false,
            sees_provenance: false,
        }
    }

    /// Workspaces, of which each organization has so many.
    fn workspaces(workspaces: usize, each: usize) -> Vec<VisibleWorkspace> {
        (0..workspaces).map(|n| visible(n, n / each)).collect()
    }

    fn plan(query: &Query, visible: &[VisibleWorkspace]) -> Result<Plan> {
        Plan::of(query, visible, Window { order: Order::Descending, start: None, end: None })
    }

    /// How many partitions are read, and whether other workspaces share any of them.
    fn read(query: &Query, visible: &[VisibleWorkspace]) -> (usize, bool) {
        let plan = plan(query, visible).unwrap();
        (plan.sources.len(), plan.is_wide)
    }

    fn everything() -> Query {
        Query::new(Scope::Everything, 50)
    }

    #[test]
    fn an_organizations_partition_is_read_for_more_than_a_few_of_its_workspaces() {
        assert_eq!(read(&everything(), &workspaces(4, 4)), (4, false));
        assert_eq!(read(&everything(), &workspaces(5, 5)), (1, true));
        assert_eq!(read(&everything(), &workspaces(400, 400)), (1, true));
        // Only a few belong to each organization.
        assert_eq!(read(&everything(), &workspaces(12, 4)), (12, false));
        assert_eq!(read(&everything(), &workspaces(12, 10)), (3, true));
        let mut some = workspaces(7, 7);
        some[0].unclaimed = true;
        some[1].organization = None;
        assert_eq!(read(&everything(), &some), (3, true));
    }

    #[test]
    fn an_index_is_read_while_that_takes_few_partitions() {
        let actors = vec![ActorId::parse("a", "x").unwrap(), ActorId::parse("a", "y").unwrap()];
        let query = Query { filter: Filter { actors, ..Filter::default() }, ..everything() };
        assert_eq!(read(&query, &workspaces(1, 1)), (2, false));
        assert_eq!(read(&query, &workspaces(8, 8)), (16, false));
        let wide = plan(&query, &workspaces(9, 9)).unwrap();
        assert_eq!((wide.sources.len(), wide.is_wide, wide.residual.filter.actors.len()), (1, true, 2));
        let narrow = |n| Plan::narrow(&query, &workspaces(n, n), wide.window.clone()).unwrap().sources.len();
        assert_eq!((narrow(200), narrow(201)), (400, 201));
    }

    #[test]
    fn what_is_too_much_for_an_order_is_sifted_and_then_refused() {
        let categories: Vec<&str> = catalog::entries().iter().take(20).map(|entry| entry.category).collect();
        let filter = Filter { categories, ..Filter::default() };
        let query = Query { sort: Sort::Category, filter, ..everything() };
        let plan_of = |n| plan(&query, &workspaces(n, n));
        let (whole, sifted) = (plan_of(20).unwrap(), plan_of(21).unwrap());
        assert_eq!((whole.sources.len(), whole.sift), (400, false));
        assert_eq!((sifted.sources.len(), sifted.sift), (21, true));
        assert!(plan_of(400).is_ok());
        assert!(matches!(plan_of(401), Err(Error::Query(QueryError::TooManyWorkspaces))));
        // One workspace may have all of them.
        assert_eq!(plan(&query, &workspaces(1, 1)).unwrap().sources.len(), 20);
    }
}

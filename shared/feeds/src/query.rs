//! A page of a feed, as it is asked for.

use domain::filter::{Filter, Order, Sort};
use domain::ids::{IssueId, OrganizationId, WorkspaceId};
use domain::position::Bound;
use domain::time::Timestamp;

use crate::window::Window;

/// The activities that a feed is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A workspace.
    Workspace(WorkspaceId),
    /// An issue of a workspace.
    Issue(WorkspaceId, IssueId),
    /// All that the reader may see of an organization.
    Organization(OrganizationId),
    /// All that the reader may see.
    Everything,
}

impl Scope {
    /// The workspace, when it is one.
    pub fn workspace(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Workspace(workspace) | Self::Issue(workspace, _) => Some(workspace),
            Self::Organization(_) | Self::Everything => None,
        }
    }
}

/// A page of a feed, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The activities that the feed is made of.
    pub scope: Scope,
    /// The filters.
    pub filter: Filter,
    /// Only activities of this time or later.
    pub since: Option<Timestamp>,
    /// Only activities before this time.
    pub until: Option<Timestamp>,
    /// The order.
    pub sort: Sort,
    /// The direction.
    pub order: Order,
    /// Only what comes after this bound.
    pub after: Option<Bound>,
    /// Only what comes before this bound.
    pub before: Option<Bound>,
    /// Whether the page is the last one between those bounds, and not the first.
    pub backward: bool,
    /// How many activities to leave out, at the end from which the page is taken.
    pub skip: u64,
    /// The most activities of the page; 0 for the total alone.
    pub limit: usize,
    /// The most bytes of the page, as the API weighs its entries. One entry fits always.
    pub max_bytes: usize,
    /// Whether to count the whole feed too.
    pub total: bool,
    /// Whether to find out if anything lies on the side where reading began.
    pub behind: bool,
}

impl Query {
    /// The first page of a feed, newest first, of any number of bytes.
    pub fn new(scope: Scope, limit: usize) -> Self {
        Self {
            scope,
            filter: Filter::default(),
            since: None,
            until: None,
            sort: Sort::Time,
            order: Order::Descending,
            after: None,
            before: None,
            backward: false,
            skip: 0,
            limit,
            max_bytes: usize::MAX,
            total: false,
            behind: false,
        }
    }

    /// Whether counters know how many activities it shows, and which of them has a given rank.
    pub(crate) fn is_counted(&self) -> bool {
        !matches!(self.scope, Scope::Issue(..)) && self.filter.is_empty()
    }

    /// Whether the feed may show activities of several workspaces.
    pub(crate) fn has_several_workspaces(&self) -> bool {
        self.scope.workspace().is_none()
    }

    /// The direction in which the page is read.
    pub(crate) fn direction(&self) -> Order {
        if self.backward { self.order.reversed() } else { self.order }
    }

    /// The part of the feed that the page is taken from.
    pub(crate) fn window(&self) -> Window {
        let (start, end) =
            if self.backward { (&self.before, &self.after) } else { (&self.after, &self.before) };
        Window { order: self.direction(), start: start.clone(), end: end.clone() }
    }

    /// Whether the page begins where the window does.
    pub(crate) fn begins_at_window(&self) -> bool {
        self.limit > 0 && !self.seeks()
    }

    /// Whether counters must say where the page begins. A page that resumes at a bound begins without them.
    pub(crate) fn seeks(&self) -> bool {
        let resume = if self.backward { &self.before } else { &self.after };
        self.limit > 0 && self.skip > 0 && self.is_counted() && self.sort == Sort::Time && resume.is_none()
    }
}

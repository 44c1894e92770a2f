//! The part of a feed that a page is taken from.

use domain::filter::Order;
use domain::position::Bound;
use store::Span;

/// The part of a feed to read. Both ends are excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// The direction of reading.
    pub(crate) order: Order,
    /// Where reading starts.
    pub(crate) start: Option<Bound>,
    /// Where reading ends.
    pub(crate) end: Option<Bound>,
}

impl Window {
    /// Whether a position lies in it.
    pub(crate) fn admits(&self, position: &Bound) -> bool {
        self.start.as_ref().is_none_or(|start| self.order.is_before(start, position))
            && self.end.as_ref().is_none_or(|end| self.order.is_before(position, end))
    }

    /// The span to ask an index for. Keys do not tell positions apart by workspace, so a feed of several workspaces reads
    /// the ends too.
    pub(crate) fn span(&self, several_workspaces: bool) -> Span {
        let (from, to) = match self.order {
            Order::Ascending => (&self.start, &self.end),
            Order::Descending => (&self.end, &self.start),
        };
        let bound = |bound: &Bound, exclusive: fn(Bound) -> Bound| {
            if several_workspaces { bound.in_any_workspace() } else { exclusive(bound.clone()) }
        };
        Span {
            from: from.as_ref().map_or_else(Bound::first, |from| bound(from, Bound::just_after)),
            to: to.as_ref().map_or_else(Bound::last, |to| bound(to, Bound::just_before)),
        }
    }
}

//! Where activities stand in feeds, and the bounds between them.

use std::cmp::Ordering;

use crate::activity::{Action, Activity};
use crate::ids::{ActivityId, WorkspaceId};
use crate::time::Timestamp;

/// The position of an activity in a feed ordered by time: by instant, then by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimePosition {
    /// When the activity happened.
    pub created_at: Timestamp,
    /// Its id, which tells activities of one instant apart.
    pub id: ActivityId,
}

/// The position of an activity in a feed ordered by category: by category, then by action, then by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CategoryPosition {
    /// The category the activity was recorded with.
    pub category: String,
    /// Its action; only the category OTHER has several.
    pub action: Action,
    /// Its position among activities of the same action.
    pub time: TimePosition,
}

impl Activity {
    /// Its position in feeds ordered by time.
    pub fn position(&self) -> TimePosition {
        TimePosition { created_at: self.created_at, id: self.id.clone() }
    }

    /// Its position in feeds ordered by category.
    pub fn category_position(&self) -> CategoryPosition {
        CategoryPosition {
            category: self.category.to_owned(),
            action: self.action.clone(),
            time: self.position(),
        }
    }
}

/// A point in a feed: at a position, or just before or after everything that begins as the bound does.
///
/// Bounds of one feed are ordered as the feed is when oldest or first in the alphabet comes first. A feed of several
/// workspaces tells equal positions apart by [`Bound::in_workspace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    prefix: Prefix,
    workspace: Option<WorkspaceId>,
    edge: Edge,
}

/// The part of a position that a bound fixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing: the bound is the start or the end of the feed.
    Whole,
    /// An instant, in a feed ordered by time.
    Instant(Timestamp),
    /// A whole position, in a feed ordered by time.
    Time(TimePosition),
    /// A category, in a feed ordered by category.
    Category(String),
    /// A category and an action, in a feed ordered by category.
    Action(String, Action),
    /// A whole position, in a feed ordered by category.
    ByCategory(CategoryPosition),
}

/// On which side of everything that begins with its prefix a bound lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// Before all of it.
    Before,
    /// At it.
    At,
    /// After all of it.
    After,
}

impl From<TimePosition> for Bound {
    fn from(position: TimePosition) -> Self {
        Self::new(Prefix::Time(position), Edge::At)
    }
}

impl From<CategoryPosition> for Bound {
    fn from(position: CategoryPosition) -> Self {
        Self::new(Prefix::ByCategory(position), Edge::At)
    }
}

impl Bound {
    /// The bound on one side of everything that begins with `prefix`.
    pub fn new(prefix: Prefix, edge: Edge) -> Self {
        Self { prefix, workspace: None, edge }
    }

    /// Before every activity.
    pub fn first() -> Self {
        Self::new(Prefix::Whole, Edge::Before)
    }

    /// After every activity.
    pub fn last() -> Self {
        Self::new(Prefix::Whole, Edge::After)
    }

    /// Before every activity of that instant or later.
    pub fn start_of(time: Timestamp) -> Self {
        Self::new(Prefix::Instant(time), Edge::Before)
    }

    /// This position, told apart from equal ones in other workspaces.
    #[must_use]
    pub fn in_workspace(self, workspace: &WorkspaceId) -> Self {
        Self { workspace: Some(workspace.clone()), ..self }
    }

    /// This position, whatever its workspace. A bound that is no position stays as it is.
    #[must_use]
    pub fn in_any_workspace(&self) -> Self {
        let edge = if self.is_position() { Edge::At } else { self.edge };
        Self { prefix: self.prefix.clone(), workspace: None, edge }
    }

    /// The bound just before this position. A bound beside positions stays as it is, because nothing lies at it.
    #[must_use]
    pub fn just_before(self) -> Self {
        if self.edge == Edge::At { Self { edge: Edge::Before, ..self } } else { self }
    }

    /// The bound just after this position: without a workspace, after this position in every workspace. A bound beside
    /// positions stays as it is, because nothing lies at it.
    #[must_use]
    pub fn just_after(self) -> Self {
        if self.edge == Edge::At { Self { edge: Edge::After, ..self } } else { self }
    }

    /// Whether it fixes a whole position.
    fn is_position(&self) -> bool {
        matches!(self.prefix, Prefix::Time(_) | Prefix::ByCategory(_))
    }

    /// The bound before, or after, everything that happened at this position's instant. The start and the end of a feed
    /// have none, and stay as they are.
    #[must_use]
    pub fn around_its_instant(&self, edge: Edge) -> Self {
        match self.parts().time {
            Some(time) => Self::new(Prefix::Instant(time), edge),
            None => self.clone(),
        }
    }

    /// The part of a position that this bound fixes.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The workspace of the position, in a feed of several.
    pub fn workspace(&self) -> Option<&WorkspaceId> {
        self.workspace.as_ref()
    }

    /// On which side of its prefix it lies.
    pub fn edge(&self) -> Edge {
        self.edge
    }

    fn parts(&self) -> Parts<'_> {
        let mut parts = Parts { workspace: self.workspace.as_ref(), ..Parts::default() };
        let time = match &self.prefix {
            Prefix::Whole => None,
            Prefix::Instant(time) => {
                parts.time = Some(*time);
                None
            }
            Prefix::Time(position) => Some(position),
            Prefix::Category(category) => {
                parts.category = Some(category.as_str());
                None
            }
            Prefix::Action(category, action) => {
                (parts.category, parts.action) = (Some(category.as_str()), Some(action));
                None
            }
            Prefix::ByCategory(CategoryPosition { category, action, time }) => {
                (parts.category, parts.action) = (Some(category.as_str()), Some(action));
                Some(time)
            }
        };
        if let Some(TimePosition { created_at, id }) = time {
            (parts.time, parts.id) = (Some(*created_at), Some(id));
        }
        parts
    }
}

/// The parts by which bounds are compared, one after the other. A bound ends at the first part that it lacks.
#[derive(Default)]
struct Parts<'a> {
    category: Option<&'a str>,
    action: Option<&'a Action>,
    time: Option<Timestamp>,
    id: Option<&'a ActivityId>,
    workspace: Option<&'a WorkspaceId>,
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        let (ours, theirs) = (self.parts(), other.parts());
        let edges = (self.edge, other.edge);
        by_part(ours.category, theirs.category, edges)
            .then_with(|| by_part(ours.action, theirs.action, edges))
            .then_with(|| by_part(ours.time, theirs.time, edges))
            .then_with(|| by_part(ours.id, theirs.id, edges))
            .then_with(|| by_part(ours.workspace, theirs.workspace, edges))
            .then(self.edge.cmp(&other.edge))
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares one part. Where one bound ends, its edge decides, because the other begins with all of it.
fn by_part<T: Ord>(ours: Option<T>, theirs: Option<T>, (our_edge, their_edge): (Edge, Edge)) -> Ordering {
    let against_longer = |edge| if edge == Edge::After { Ordering::Greater } else { Ordering::Less };
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours.cmp(&theirs),
        (None, None) => Ordering::Equal,
        (None, Some(_)) => against_longer(our_edge),
        (Some(_), None) => against_longer(their_edge).reverse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str, id: &str) -> Bound {
        let created_at = Timestamp::parse("t", time).unwrap();
        TimePosition { created_at, id: ActivityId::parse("id", id).unwrap() }.into()
    }

    fn ws(id: &str) -> WorkspaceId {
        WorkspaceId::parse("w", id).unwrap()
    }

    #[test]
    fn bounds_of_time_are_in_order() {
        let noon = Timestamp::parse("t", "2025-01-01T12:00:00Z").unwrap();
        let in_order = [
            Bound::first(),
            at("2025-01-01T11:00:00Z", "z"),
            Bound::start_of(noon),
            at("2025-01-01T12:00:00Z", "a").just_before(),
            at("2025-01-01T12:00:00Z", "a"),
            at("2025-01-01T12:00:00Z", "a").in_workspace(&ws("ws-1")).just_before(),
            at("2025-01-01T12:00:00Z", "a").in_workspace(&ws("ws-1")),
            at("2025-01-01T12:00:00Z", "a").in_workspace(&ws("ws-1")).just_after(),
            at("2025-01-01T12:00:00Z", "a").in_workspace(&ws("ws-2")),
            at("2025-01-01T12:00:00Z", "a").just_after(),
            at("2025-01-01T12:00:00Z", "a-"),
            Bound::new(Prefix::Instant(noon), Edge::After),
            Bound::last(),
        ];
        for (index, bound) in in_order.iter().enumerate() {
            for (other, bound_there) in in_order.iter().enumerate() {
                assert_eq!(bound.cmp(bound_there), index.cmp(&other), "{bound:?} and {bound_there:?}");
            }
        }
    }

    #[test]
    fn bounds_beside_positions_have_no_neighbours() {
        let noon = Timestamp::parse("t", "2025-01-01T12:00:00Z").unwrap();
        let after_noon = Bound::new(Prefix::Instant(noon), Edge::After);
        for bound in [Bound::first(), Bound::start_of(noon), after_noon, Bound::last()] {
            assert_eq!(bound.clone().just_before(), bound);
            assert_eq!(bound.clone().just_after(), bound);
            assert_eq!(bound.in_any_workspace(), bound);
        }
        let position = at("2025-01-01T12:00:00Z", "a");
        for bound in [position.clone().just_before(), position.clone().just_after()] {
            assert_eq!(bound.clone().just_before(), bound);
            assert_eq!(bound.clone().just_after(), bound);
        }
        let here = position.clone().in_workspace(&ws("ws-1"));
        assert_eq!(here.clone().just_before().in_any_workspace(), position);
        assert_eq!(here.just_after().in_any_workspace(), position);
    }

    #[test]
    fn bounds_of_categories_are_in_order() {
        let action = |text: &str| Action::parse("a", text).unwrap();
        let position = |category: &str, name: &str, time: &str| {
            let Prefix::Time(time) = at(time, "a").prefix().clone() else { unreachable!() };
            Bound::from(CategoryPosition { category: category.into(), action: action(name), time })
        };
        let in_order = [
            Bound::first(),
            position("COPY", "issue.copied", "2025-01-01T00:00:00Z"),
            Bound::new(Prefix::Category("OTHER".into()), Edge::Before),
            position("OTHER", "a.b", "2025-01-02T00:00:00Z"),
            Bound::new(Prefix::Action("OTHER".into(), action("a.c")), Edge::Before),
            position("OTHER", "a.c", "2025-01-01T00:00:00Z"),
            position("OTHER", "a.c", "2025-01-01T00:00:00Z").just_after(),
            Bound::new(Prefix::Action("OTHER".into(), action("a.c")), Edge::After),
            position("OTHER", "a.c.d", "2025-01-01T00:00:00Z"),
            Bound::new(Prefix::Category("OTHER".into()), Edge::After),
            Bound::last(),
        ];
        assert!(in_order.windows(2).all(|pair| pair[0] < pair[1]), "{in_order:?}");
    }
}

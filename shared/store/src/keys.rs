//! Every key of the `log` table is spelled here and nowhere else; those of the `connections` table in [`connections`].
//!
//! Parts are joined by `#`, which no action, no time and no encoded id contains, so no id can reach into another's keys.

pub(crate) mod connections;
mod read;

use chrono::NaiveDate;
use domain::activity::{Action, Activity};
use domain::directory::{EntryKey, EntryKind, Precedence};
use domain::filter::Sort;
use domain::ids::{ActivityId, ActorId, IssueId, OrganizationId, Slug, WorkspaceId};
use domain::position::{Bound, CategoryPosition, Edge, Prefix, TimePosition};
use domain::time::Timestamp;

pub(crate) use read::{
    Key, category_position as parse_category_position, listed_workspace, precedence as parse_precedence,
    time_position as parse_time_position,
};

/// The partition key and the sort key of an item.
pub(crate) type ItemKey = (String, String);

/// Partition key attribute of the table, and of by-action.
pub(crate) const PK: &str = "pk";
/// Sort key attribute of the table and of all indexes but by-action.
pub(crate) const SK: &str = "sk";

/// Counters are spread over this many items, so that concurrent transactions of one workspace conflict less often.
/// Readers sum all of them, however many there are, but each makes a deep page slower: measured, 1.7 times a first page
/// with one, 1.9 with two, 2.5 with four.
pub const COUNTER_SHARDS: u64 = 2;

/// The prefixes of the partition keys of activities and of id items.
const PERMANENT_PREFIXES: [&str; 2] = ["WS#", "ID#"];
/// The prefix of activities' sort keys.
pub(crate) const ACTIVITY_PREFIX: &str = "AT#";

/// Whether the items of a partition are permanent: activities and id items. Counters and the directory change.
pub fn is_permanent(pk: &str) -> bool {
    PERMANENT_PREFIXES.iter().any(|prefix| pk.starts_with(prefix))
}

/// A global secondary index of the `log` table. It projects all attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// Activities of an issue, by time.
    Issue,
    /// Activities of an actor in a workspace, by time.
    Actor,
    /// Activities of a workspace, by category, action and time.
    Action,
    /// Activities of an organization's workspaces, by time.
    Organization,
}

impl Index {
    /// All indexes.
    pub const ALL: [Self; 4] = [Self::Issue, Self::Actor, Self::Action, Self::Organization];

    /// Its name, its key attribute that the table does not have, and whether that is its partition key. The other key
    /// attribute is the table's.
    const fn definition(self) -> (&'static str, &'static str, bool) {
        match self {
            Self::Issue => ("by-issue", "issue_key", true),
            Self::Actor => ("by-actor", "actor_key", true),
            Self::Action => ("by-action", "action_key", false),
            Self::Organization => ("by-organization", "org_key", true),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.definition().0
    }

    /// The key attribute that puts an item into it.
    pub(crate) const fn attribute(self) -> &'static str {
        self.definition().1
    }

    /// The attributes of its partition key and of its sort key.
    pub(crate) const fn key_attributes(self) -> (&'static str, &'static str) {
        match self.definition() {
            (_, attribute, true) => (attribute, SK),
            (_, attribute, false) => (PK, attribute),
        }
    }

    /// The value of [`Index::attribute`] for an activity; `None` when the activity is not in the index.
    pub(crate) fn value(self, activity: &Activity, partition: &OrgPartition) -> Option<String> {
        let workspace = &activity.workspace_id;
        match self {
            Self::Issue => activity.issue_id.as_ref().map(|id| issue(workspace, id)),
            Self::Actor => Some(actor(workspace, &activity.actor_id)),
            Self::Action => Some(category_position(&activity.category_position())),
            Self::Organization => Some(org_partition(workspace, partition)),
        }
    }
}

/// The partition of by-organization that a workspace's activities go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrgPartition {
    /// The partition of an organization.
    Organization(OrganizationId),
    /// The partition of activities recorded before their workspace's organization was known.
    Unclaimed,
}

/// Partition of a workspace's activities.
pub(crate) fn workspace(id: &WorkspaceId) -> String {
    format!("WS#{}", id.key())
}

/// Sort key of an activity.
pub(crate) fn activity(position: &TimePosition) -> String {
    format!("{ACTIVITY_PREFIX}{}", time_position(position))
}

/// The least sort key that an activity at `time` or later can have.
pub(crate) fn activities_from(time: Timestamp) -> String {
    format!("{ACTIVITY_PREFIX}{}", time.key())
}

/// The text of a position, as sort keys, cursors, journals and fields of the directory hold it. Byte order is feed order.
pub(crate) fn time_position(TimePosition { created_at, id }: &TimePosition) -> String {
    format!("{}#{}", created_at.key(), id.key())
}

/// When something was said of the directory: a time with an id, or a version with an id, which comes after all times.
pub(crate) fn precedence(at: &Precedence) -> String {
    match at {
        Precedence::Time(position) => time_position(position),
        Precedence::Version(version, id) => format!("{VERSION_PREFIX}{version:020}#{}", id.key()),
    }
}

/// Begins the text of a version. It comes after every digit, and so after every time.
const VERSION_PREFIX: &str = "V";

/// by-issue: partition of an issue's activities.
pub(crate) fn issue(workspace: &WorkspaceId, issue: &IssueId) -> String {
    format!("WS#{}#ISSUE#{}", workspace.key(), issue.key())
}

/// by-actor: partition of an actor's activities in a workspace.
pub(crate) fn actor(workspace: &WorkspaceId, actor: &ActorId) -> String {
    format!("WS#{}#ACTOR#{}", workspace.key(), actor.key())
}

/// by-action: the prefix of the sort keys of one category; the action follows.
pub(crate) fn category_prefix(category: &str) -> String {
    format!("{category}#")
}

/// by-action: the prefix of the sort keys of one action; the position follows.
pub(crate) fn action_prefix(category: &str, action: &Action) -> String {
    format!("{}{}#", category_prefix(category), action.as_str())
}

/// by-action: sort key of an activity.
pub(crate) fn category_position(CategoryPosition { category, action, time }: &CategoryPosition) -> String {
    format!("{}{}", action_prefix(category, action), time_position(time))
}

/// by-organization: partition of an organization's activities.
pub(crate) fn organization(id: &OrganizationId) -> String {
    format!("ORG#{}", id.key())
}

/// by-organization: partition of a workspace's activities. Those recorded before the workspace's organization was known
/// are in a partition of their own; its directory entry says whether there are any.
pub(crate) fn org_partition(workspace: &WorkspaceId, partition: &OrgPartition) -> String {
    match partition {
        OrgPartition::Organization(id) => organization(id),
        OrgPartition::Unclaimed => format!("ORG#?#{}", workspace.key()),
    }
}

/// The text of a bound: the part of a sort key behind the partition's prefix, and the payload of a cursor. Its byte
/// order is the order of bounds in one partition.
pub fn bound(bound: &Bound) -> String {
    let mut text = match bound.prefix() {
        // No key may be empty. These sort before and after every character that a position starts with.
        Prefix::Whole => return if bound.edge() == Edge::After { "~" } else { "!" }.into(),
        Prefix::Instant(time) => {
            let after = if bound.edge() == Edge::After { "~" } else { "" };
            return format!("{}{after}", time.key());
        }
        Prefix::Category(category) => return around(category_prefix(category), bound.edge()),
        Prefix::Action(category, action) => return around(action_prefix(category, action), bound.edge()),
        Prefix::Time(position) => time_position(position),
        Prefix::ByCategory(position) => category_position(position),
    };
    if let Some(workspace) = bound.workspace() {
        text = format!("{text}#{}", workspace.key());
    }
    match bound.edge() {
        Edge::At => text,
        // A space sorts before every character of an id.
        Edge::After => text + " ",
        Edge::Before => {
            // One less in the last character, then what sorts after every character of an id.
            let last = text.pop().and_then(|last| char::from_u32(u32::from(last).saturating_sub(1)));
            text.extend(last.into_iter().chain(['~']));
            text
        }
    }
}

/// The bound before, or after, every key that starts with `prefix`.
fn around(prefix: String, edge: Edge) -> String {
    prefix + if edge == Edge::After { "~" } else { "!" }
}

/// Reads the text of a bound that a cursor can hold: a position, or in a feed of several workspaces also an instant.
pub fn parse_bound(text: &str, sort: Sort, several_workspaces: bool) -> Option<Bound> {
    let position = |text: &str| match sort {
        Sort::Time => read::time_position(text).map(Bound::from),
        Sort::Category => read::category_position(text).map(Bound::from),
    };
    if !several_workspaces {
        return position(text);
    }
    match text.rsplit_once('#') {
        Some((text, workspace)) => Some(position(text)?.in_workspace(&WorkspaceId::from_key(workspace)?)),
        None => {
            let (time, edge) =
                text.strip_suffix('~').map_or((text, Edge::Before), |time| (time, Edge::After));
            let parsed = Timestamp::parse("time", time).ok()?;
            (parsed.key() == time).then(|| Bound::new(Prefix::Instant(parsed), edge))
        }
    }
}

/// Key of an id item: a partition of its own, so that ids spread over the table.
pub(crate) fn id_item(workspace: &WorkspaceId, id: &ActivityId) -> ItemKey {
    (format!("ID#{}#{}", workspace.key(), id.key()), "ID".into())
}

/// Key of an entry of the directory. Memberships are under their user, so that one Query finds all of a user's
/// workspaces; listings are under what they can be found by.
pub(crate) fn directory(EntryKey { workspace, kind }: &EntryKey) -> ItemKey {
    let partition = match kind {
        EntryKind::Workspace => return (format!("DIR#WS#{}", workspace.key()), "WORKSPACE".into()),
        EntryKind::Member(user) => memberships(user),
        EntryKind::Organization(id) => organization_workspaces(id),
        EntryKind::Slug(slug) => slug_workspaces(slug),
        EntryKind::OrganizationSlug(slug) => organization_slug_workspaces(slug),
    };
    (partition, format!("{LISTED_PREFIX}{}", workspace.key()))
}

/// Partition of a user's memberships.
pub(crate) fn memberships(user: &ActorId) -> String {
    format!("DIR#USER#{}", user.key())
}

/// Partition of an organization's workspaces.
pub(crate) fn organization_workspaces(id: &OrganizationId) -> String {
    format!("DIR#ORG#{}", id.key())
}

/// Partition of the workspaces that ever had a slug.
pub(crate) fn slug_workspaces(slug: &Slug) -> String {
    format!("DIR#SLUG#{}", slug.key())
}

/// Partition of the workspaces whose organization ever had a slug.
pub(crate) fn organization_slug_workspaces(slug: &Slug) -> String {
    format!("DIR#ORGSLUG#{}", slug.key())
}

/// The prefix of the sort keys of workspaces in such a partition, or in a user's.
pub(crate) const LISTED_PREFIX: &str = "WS#";

/// Partition of a workspace's counters.
pub(crate) fn counters(workspace: &WorkspaceId) -> String {
    format!("COUNT#{}", workspace.key())
}

/// The prefix of the sort keys of month counters.
pub(crate) const MONTH_PREFIX: &str = "M#";

/// Sort key of one shard of a month's counter, which holds a number for each day.
pub(crate) fn month_counter(day: NaiveDate, shard: u64) -> String {
    format!("{MONTH_PREFIX}{}#{shard}", day.format("%Y-%m"))
}

/// The prefix of the sort keys of a day's counters; the shard follows.
pub(crate) fn day_counter_prefix(day: NaiveDate) -> String {
    format!("D#{}#", day.format("%Y-%m-%d"))
}

/// Sort key of one shard of a day's counter, which holds a number for each ten-minute slot.
pub(crate) fn day_counter(day: NaiveDate, shard: u64) -> String {
    format!("{}{shard}", day_counter_prefix(day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(time: &str, id: &str) -> TimePosition {
        TimePosition {
            created_at: Timestamp::parse("t", time).unwrap(),
            id: ActivityId::parse("id", id).unwrap(),
        }
    }

    #[test]
    fn keys_are_spelled_exactly_so() {
        let ws = WorkspaceId::parse("w", "ws-1").unwrap();
        let at = position("2025-01-01T00:00:00.5Z", "act-1");
        let action = Action::parse("action", "issue.created").unwrap();
        let id = ActivityId::parse("id", "act-1").unwrap();
        let user = ActorId::parse("id", "u-1").unwrap();
        let org = OrganizationId::parse("o", "org-1").unwrap();
        let day = NaiveDate::from_ymd_opt(2025, 1, 9).unwrap();
        assert_eq!(workspace(&ws), "WS#ws-1");
        assert_eq!(activity(&at), "AT#2025-01-01T00:00:00.500000#act-1");
        assert_eq!(issue(&ws, &IssueId::parse("i", "iss-1").unwrap()), "WS#ws-1#ISSUE#iss-1");
        assert_eq!(actor(&ws, &user), "WS#ws-1#ACTOR#u-1");
        assert_eq!(
            category_position(&CategoryPosition { category: "CREATE_TODO".into(), action, time: at }),
            "CREATE_TODO#issue.created#2025-01-01T00:00:00.500000#act-1"
        );
        assert_eq!(org_partition(&ws, &OrgPartition::Organization(org.clone())), "ORG#org-1");
        assert_eq!(org_partition(&ws, &OrgPartition::Unclaimed), "ORG#?#ws-1");
        assert_eq!(id_item(&ws, &id), ("ID#ws-1#act-1".into(), "ID".into()));
        assert_eq!(directory(&EntryKey::workspace(&ws)), ("DIR#WS#ws-1".into(), "WORKSPACE".into()));
        assert_eq!(directory(&EntryKey::member(&ws, &user)), ("DIR#USER#u-1".into(), "WS#ws-1".into()));
        let slug = Slug::parse("s", "apollo").unwrap();
        for (kind, partition) in [
            (EntryKind::Organization(org), "DIR#ORG#org-1"),
            (EntryKind::Slug(slug.clone()), "DIR#SLUG#apollo"),
            (EntryKind::OrganizationSlug(slug), "DIR#ORGSLUG#apollo"),
        ] {
            let entry = EntryKey { workspace: ws.clone(), kind };
            assert_eq!(directory(&entry), (partition.into(), "WS#ws-1".into()));
        }
        assert_eq!(counters(&ws), "COUNT#ws-1");
        assert_eq!(month_counter(day, 3), "M#2025-01#3");
        assert_eq!(day_counter(day, 0), "D#2025-01-09#0");
    }

    #[test]
    fn cursor_texts_read_back_and_forged_ones_do_not() {
        let ws = WorkspaceId::parse("w", "ws-1").unwrap();
        let at = position("2025-01-01T00:00:00Z", "a");
        let action = Action::parse("action", "issue.created").unwrap();
        let by_category = CategoryPosition { category: "CREATE_TODO".into(), action, time: at.clone() };
        let (time, category) = (Bound::from(at.clone()), Bound::from(by_category));
        let instant = |edge| Bound::new(Prefix::Instant(at.created_at), edge);
        for (whole, sort, several) in [
            (time.clone(), Sort::Time, false),
            (time.in_workspace(&ws), Sort::Time, true),
            (category.clone(), Sort::Category, false),
            (category.in_workspace(&ws), Sort::Category, true),
            (instant(Edge::Before), Sort::Time, true),
            (instant(Edge::After), Sort::Time, true),
        ] {
            let text = bound(&whole);
            assert_eq!(parse_bound(&text, sort, several).as_ref(), Some(&whole), "{text}");
            assert_eq!(parse_bound(&text, sort, !several), None, "{text}");
        }
        for bad in [
            "",
            "~",
            "2025-01-01T00:00:00.000000",
            "2025-01-01T00:00:00Z#a",
            "2025-01-01T00:00:00.000000#a b",
        ] {
            assert_eq!(parse_bound(bad, Sort::Time, false), None, "{bad}");
        }
    }

    fn bounds(by_category: bool) -> impl Strategy<Value = Bound> {
        let id = "[A-Za-z0-9._:@% #~/é-]{1,3}";
        let edge = prop_oneof![Just(Edge::Before), Just(Edge::At), Just(Edge::After)];
        (0u8..4, 0i64..3, id, "(A|AB)", "[a-c]\\.[a-c]", edge, prop::option::of(id)).prop_map(
            move |(shape, micros, id, category, action, edge, workspace)| {
                let created_at =
                    Timestamp::truncate(chrono::DateTime::from_timestamp_micros(micros).unwrap());
                let time = TimePosition { created_at, id: ActivityId::parse("id", id).unwrap() };
                let action = Action::parse("action", action).unwrap();
                let outside = if edge == Edge::At { Edge::Before } else { edge };
                let position = match (by_category, shape) {
                    (_, 0) => return Bound::new(Prefix::Whole, outside),
                    (false, 1) => return Bound::new(Prefix::Instant(created_at), outside),
                    (true, 1) => return Bound::new(Prefix::Category(category), outside),
                    (true, 2) => return Bound::new(Prefix::Action(category, action), outside),
                    (false, _) => Prefix::Time(time),
                    (true, _) => Prefix::ByCategory(CategoryPosition { category, action, time }),
                };
                let whole = Bound::new(position, edge);
                match workspace {
                    // Cursors hold whole positions only.
                    Some(workspace) if edge == Edge::At => {
                        whole.in_workspace(&WorkspaceId::parse("w", workspace).unwrap())
                    }
                    _ => whole,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn byte_order_is_the_order_of_bounds(
            (a, b) in prop_oneof![(bounds(false), bounds(false)), (bounds(true), bounds(true))],
        ) {
            // Keys of a partition have no workspace, and only they are compared with bounds on one side of a position.
            let comparable = a.workspace().is_none() && b.workspace().is_none()
                || a.edge() == Edge::At && b.edge() == Edge::At;
            prop_assume!(comparable);
            prop_assert_eq!(bound(&a).cmp(&bound(&b)), a.cmp(&b), "{:?} {:?}", bound(&a), bound(&b));
        }
    }
}

//! Every key of the `log` table is spelled here and nowhere else; those of the `connections` table in [`live`].
//!
//! Parts are joined by `#`, which no id, action or time contains, so no id can reach into another's keys.

pub mod live;
mod read;

use chrono::NaiveDate;

pub use read::{DirectoryItem, Key, listed_in};

use crate::activity::{Action, Activity};
use crate::ids::{ActivityId, ActorId, IssueId, OrganizationId, Slug, WorkspaceId};
use crate::time::Timestamp;

/// Partition key attribute of the table, and of by-action.
pub const PK: &str = "pk";
/// Sort key attribute of the table and of all indexes but by-action.
pub const SK: &str = "sk";
/// Partition key attribute of by-issue.
pub const ISSUE: &str = "issue_key";
/// Partition key attribute of by-actor.
pub const ACTOR: &str = "actor_key";
/// Sort key attribute of by-action.
pub const ACTION: &str = "action_key";
/// Partition key attribute of by-organization.
pub const ORGANIZATION: &str = "org_key";

/// Counters are spread over this many items, so that concurrent transactions of one workspace meet less often. Readers
/// sum all of them, however many there are; but each makes a deep page slower: measured, 1.7 times a first page with
/// one, 1.9 with two, 2.5 with four.
pub const COUNTER_SHARDS: u64 = 2;

/// What an activity's sort key starts with.
pub const ACTIVITY_PREFIX: &str = "AT#";

/// A place in a feed: the time and id of an activity, in a feed by category with its category and action before them;
/// or a bound between two places. Byte order is feed order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(String);

impl Position {
    /// The place of an activity.
    pub fn new(created_at: Timestamp, id: &ActivityId) -> Self {
        Self(format!("{}#{id}", created_at.key()))
    }

    /// Before every activity of that time or later.
    pub fn start_of(time: Timestamp) -> Self {
        Self(time.key())
    }

    /// The place of an activity in a feed by category: by action within OTHER, then by time and id.
    pub fn by_category(activity: &Activity) -> Self {
        Self(action(activity.category, &activity.action, &activity.position()))
    }

    /// This place, told from those with the same time and id in other workspaces.
    pub fn in_workspace(self, workspace: &WorkspaceId) -> Self {
        Self(format!("{}#{workspace}", self.0))
    }

    /// The bound that lies after this place in any workspace.
    pub fn in_last_workspace(self) -> Self {
        Self(format!("{}#~", self.0))
    }

    /// The last part taken off: this place without its workspace.
    pub fn in_any_workspace(&self) -> Self {
        Self(self.0.rsplit_once('#').map_or(self.as_str(), |(place, _)| place).to_owned())
    }

    /// Before, or after, everything that happened at the time of this place.
    pub fn around_its_time(&self, after: bool) -> Self {
        let time = self.0.split_once('#').map_or(self.as_str(), |(time, _)| time);
        Self(if after { format!("{time}~") } else { time.to_owned() })
    }

    /// Reads the text of such a bound.
    pub fn parse_around(text: &str) -> Option<Self> {
        let time = text.strip_suffix('~').unwrap_or(text);
        let parsed = Timestamp::parse("time", time).ok()?;
        (parsed.key() == time).then(|| Self(text.to_owned()))
    }

    /// Before every place that starts with `prefix`.
    pub fn start_of_prefix(prefix: &str) -> Self {
        Self(format!("{prefix}!"))
    }

    /// After every place that starts with `prefix`.
    pub fn end_of_prefix(prefix: &str) -> Self {
        Self(format!("{prefix}~"))
    }

    /// Before every activity. No key is empty, nor may be asked for.
    pub fn first() -> Self {
        Self("!".into())
    }

    /// After every activity.
    pub fn last() -> Self {
        Self("~".into())
    }

    /// Reads the text of a place, as [`Position::as_str`] gave it; `None` when it is not an activity's.
    pub fn parse(text: &str) -> Option<Self> {
        read::position(text).map(|_| Self(text.to_owned()))
    }

    /// Reads the text of a place in a feed by category.
    pub fn parse_by_category(text: &str) -> Option<Self> {
        read::category_place(text).map(|()| Self(text.to_owned()))
    }

    /// The bound that lies after this place and before every later one.
    pub fn just_after(&self) -> Self {
        // A space sorts before every character of an id.
        Self(format!("{} ", self.0))
    }

    /// The bound that lies before this place and after every earlier one.
    pub fn just_before(&self) -> Self {
        let mut bytes = self.0.clone().into_bytes();
        if let Some(last) = bytes.pop() {
            // One less in the last character, then what sorts after every character of an id.
            bytes.push(last.saturating_sub(1));
            bytes.push(b'~');
        }
        Self(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The text that [`Position::parse`] reads.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Partition of a workspace's activities.
pub fn workspace(id: &WorkspaceId) -> String {
    format!("WS#{id}")
}

/// Sort key of an activity.
pub fn activity(position: &Position) -> String {
    format!("{ACTIVITY_PREFIX}{}", position.as_str())
}

/// by-issue: partition of an issue's activities.
pub fn issue(workspace: &WorkspaceId, issue: &IssueId) -> String {
    format!("WS#{workspace}#ISSUE#{issue}")
}

/// by-actor: partition of what an actor did in a workspace.
pub fn actor(workspace: &WorkspaceId, actor: &ActorId) -> String {
    format!("WS#{workspace}#ACTOR#{actor}")
}

/// by-action: what the sort keys of one category start with; the action follows.
pub fn category_prefix(category: &str) -> String {
    format!("{category}#")
}

/// by-action: what the sort keys of one action start with; the position follows.
pub fn action_prefix(category: &str, action: &Action) -> String {
    format!("{}{}#", category_prefix(category), action.as_str())
}

/// by-action: sort key of an activity.
pub fn action(category: &str, action: &Action, position: &Position) -> String {
    format!("{}{}", action_prefix(category, action), position.as_str())
}

/// by-organization: partition of an organization's activities.
pub fn organization(id: &OrganizationId) -> String {
    format!("ORG#{id}")
}

/// by-organization: partition of a workspace's activities recorded before its organization was known. An
/// organization's feed reads this too, for workspaces whose directory entry says they have any.
pub fn unclaimed(workspace: &WorkspaceId) -> String {
    format!("ORG#?#{workspace}")
}

/// Key of an id item: a partition of its own, so that ids spread over the table.
pub fn id_item(workspace: &WorkspaceId, id: &ActivityId) -> (String, String) {
    (format!("ID#{workspace}#{id}"), "ID".into())
}

/// Key of a workspace's directory entry.
pub fn directory_workspace(id: &WorkspaceId) -> (String, String) {
    (format!("DIR#WS#{id}"), "WORKSPACE".into())
}

/// Partition of a user's memberships.
pub fn memberships(user: &ActorId) -> String {
    format!("DIR#USER#{user}")
}

/// Key of a membership: under the user, so that one Query finds all their workspaces.
pub fn directory_member(user: &ActorId, workspace: &WorkspaceId) -> (String, String) {
    (memberships(user), listed_workspace(workspace))
}

/// Partition of an organization's workspaces.
pub fn organization_workspaces(id: &OrganizationId) -> String {
    format!("DIR#ORG#{id}")
}

/// Partition of the workspaces that were ever given a slug.
pub fn slug_workspaces(slug: &Slug) -> String {
    format!("DIR#SLUG#{slug}")
}

/// Partition of the workspaces that ever said their organization had a slug.
pub fn organization_slug_workspaces(slug: &Slug) -> String {
    format!("DIR#ORGSLUG#{slug}")
}

/// What the sort keys of workspaces start with in such a partition, or in a user's.
pub const LISTED_PREFIX: &str = "WS#";

/// Sort key of a workspace there.
pub fn listed_workspace(id: &WorkspaceId) -> String {
    format!("{LISTED_PREFIX}{id}")
}

/// Partition of a workspace's counters.
pub fn counters(workspace: &WorkspaceId) -> String {
    format!("COUNT#{workspace}")
}

/// What every month counter's sort key starts with.
pub const MONTH_PREFIX: &str = "M#";

/// Sort key of one shard of a month's counter, which holds a number for each day.
pub fn month_counter(day: NaiveDate, shard: u64) -> String {
    format!("{MONTH_PREFIX}{}#{shard}", day.format("%Y-%m"))
}

/// What the sort keys of a day's counters start with; the shard follows.
pub fn day_counter_prefix(day: NaiveDate) -> String {
    format!("D#{}#", day.format("%Y-%m-%d"))
}

/// Sort key of one shard of a day's counter, which holds a number for each ten-minute slot.
pub fn day_counter(day: NaiveDate, shard: u64) -> String {
    format!("{}{shard}", day_counter_prefix(day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(time: &str, id: &str) -> Position {
        Position::new(Timestamp::parse("t", time).unwrap(), &ActivityId::parse("id", id).unwrap())
    }

    #[test]
    fn keys_are_spelled_exactly_so() {
        let ws = WorkspaceId::parse("w", "ws-1").unwrap();
        let at = position("2025-01-01T00:00:00.5Z", "act-1");
        let action_type = Action::parse("action", "issue.created").unwrap();
        let id = ActivityId::parse("id", "act-1").unwrap();
        let user = ActorId::parse("id", "u-1").unwrap();
        let day = NaiveDate::from_ymd_opt(2025, 1, 9).unwrap();
        assert_eq!(workspace(&ws), "WS#ws-1");
        assert_eq!(activity(&at), "AT#2025-01-01T00:00:00.500000#act-1");
        assert_eq!(issue(&ws, &IssueId::parse("i", "iss-1").unwrap()), "WS#ws-1#ISSUE#iss-1");
        assert_eq!(actor(&ws, &user), "WS#ws-1#ACTOR#u-1");
        assert_eq!(
            action("CREATE_TODO", &action_type, &at),
            "CREATE_TODO#issue.created#2025-01-01T00:00:00.500000#act-1"
        );
        assert_eq!(organization(&OrganizationId::parse("o", "org-1").unwrap()), "ORG#org-1");
        assert_eq!(unclaimed(&ws), "ORG#?#ws-1");
        assert_eq!(id_item(&ws, &id), ("ID#ws-1#act-1".into(), "ID".into()));
        assert_eq!(directory_workspace(&ws), ("DIR#WS#ws-1".into(), "WORKSPACE".into()));
        assert_eq!(directory_member(&user, &ws), ("DIR#USER#u-1".into(), "WS#ws-1".into()));
        let slug = Slug::parse("s", "apollo").unwrap();
        assert_eq!(organization_workspaces(&OrganizationId::parse("o", "org-1").unwrap()), "DIR#ORG#org-1");
        assert_eq!(slug_workspaces(&slug), "DIR#SLUG#apollo");
        assert_eq!(organization_slug_workspaces(&slug), "DIR#ORGSLUG#apollo");
        assert_eq!(listed_workspace(&ws), "WS#ws-1");
        assert_eq!(counters(&ws), "COUNT#ws-1");
        assert_eq!(month_counter(day, 3), "M#2025-01#3");
        assert_eq!(day_counter(day, 0), "D#2025-01-09#0");
    }

    #[test]
    fn positions_read_back_and_forged_ones_do_not() {
        let at = position("2025-01-01T00:00:00Z", "a");
        assert_eq!(Position::parse(at.as_str()), Some(at));
        for bad in [
            "",
            "~",
            "2025-01-01T00:00:00.000000",
            "2025-01-01T00:00:00Z#a",
            "2025-01-01T00:00:00.000000#a b",
        ] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn positions_sort_by_time_then_id_and_bounds_fit_between(
            (t1, a) in (0i64..3, "[A-Za-z0-9._:@-]{0,2}[A-Za-z0-9_:@-]"),
            (t2, b) in (0i64..3, "[A-Za-z0-9._:@-]{0,2}[A-Za-z0-9_:@-]"),
        ) {
            let at = |micros: i64, id: &str| {
                let time = chrono::DateTime::from_timestamp_micros(micros).unwrap();
                Position::new(Timestamp::truncate(time), &ActivityId::parse("id", id).unwrap())
            };
            let (x, y) = (at(t1, &a), at(t2, &b));
            prop_assert_eq!(x.cmp(&y), (t1, &a).cmp(&(t2, &b)));
            if x < y {
                prop_assert!(x.just_after() < y && x.just_after() > x);
                prop_assert!(y.just_before() > x && y.just_before() < y);
            }
            prop_assert!(Position::first() < x && x < Position::last());
        }
    }
}

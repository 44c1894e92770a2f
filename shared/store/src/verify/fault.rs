//! The faults that a table can have.

use domain::directory::{EntryKey, EntryKind};
use domain::ids::{ActivityId, WorkspaceId};
use domain::time::Timestamp;

/// Something in a table that contradicts the rest of it. Its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An item that nothing here writes.
    #[error("{location} holds {pk:?} {sk:?}, an item of no known kind")]
    Stray {
        /// `the table`, or an index's name.
        location: &'static str,
        /// Its partition key.
        pk: String,
        /// Its sort key.
        sk: String,
    },
    /// An activity, its id item, or its entry in an index.
    #[error("{workspace}: {id} {wrong}")]
    Activity {
        /// Its workspace.
        workspace: WorkspaceId,
        /// Its id.
        id: ActivityId,
        /// The fault.
        wrong: Wrong,
    },
    /// A counter that does not count what is there.
    #[error("{workspace}: counter {} {}", number.escape_debug(), compared(found, there))]
    Counter {
        /// Its workspace.
        workspace: WorkspaceId,
        /// The sort key without its shard, and the attribute: `M#2025-01 d09`.
        number: String,
        /// Its sum over the shards; or the stored value, when that is no whole number.
        found: Option<String>,
        /// The number of activities it should count; `None` where there are none, or nothing is counted.
        there: Option<u64>,
    },
    /// An entry of the directory that is not what the activities come to, in the order of their positions.
    #[error("{}: {}, {} {}", entry.workspace, title(entry), field.escape_debug(), compared(found, log))]
    Directory {
        /// The entry.
        entry: EntryKey,
        /// The field.
        field: String,
        /// The value stored, and the position of the activity that set it.
        found: Option<String>,
        /// The value that the log gives.
        log: Option<String>,
    },
    /// An entry of the directory that the log gives and the table does not have.
    #[error("{}: {} is missing", .0.workspace, title(.0))]
    NoEntry(EntryKey),
    /// An entry of the directory that follows from no activity.
    #[error("{}: {} follows from no activity", .0.workspace, title(.0))]
    StrayEntry(EntryKey),
}

/// The faults that an activity can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It does not decode, for this reason. Its effects on its id item and the directory are not known.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It lacks an attribute that its content gives.
    #[error("lacks {0}")]
    Missing(String),
    /// It has an attribute with another value than its content gives.
    #[error("has a wrong {0}")]
    Different(String),
    /// It has an attribute that its content does not give.
    #[error("has a stray {}", .0.escape_debug())]
    Unknown(String),
    /// It was recorded earlier than it may have happened, by what it says.
    #[error("is said to be recorded at {0}, before it happened")]
    RecordedBefore(Timestamp),
    /// There are several of its id.
    #[error("is there {} times: at {}", .0.len(), list(.0))]
    Repeated(Vec<Timestamp>),
    /// It has no id item.
    #[error("has no id item")]
    NoIdItem,
    /// There is only its id item.
    #[error("has an id item and no activity")]
    NoActivity,
    /// Its id item is not one, for this reason.
    #[error("has an id item that cannot be read: {0}")]
    UnreadableIdItem(String),
    /// Its id item says that it happened at another time.
    #[error("is at {there}, and at {id_item} by its id item")]
    OtherTime {
        /// When the activity happened.
        there: Timestamp,
        /// When its id item says that it did.
        id_item: Timestamp,
    },
    /// Its content is not the one that its id item has the fingerprint of.
    #[error("has another fingerprint than its id item")]
    OtherContent,
    /// This index does not hold it.
    #[error("is missing in {0}")]
    NotIndexed(&'static str),
    /// This index holds it with another content.
    #[error("differs in {0}")]
    IndexDiffers(&'static str),
    /// This index holds it, with this time, and should not.
    #[error("should not be in {0}, where it is at {1}")]
    OnlyIndexed(&'static str, Timestamp),
    /// It is in this partition of by-organization, of which no `workspace.created` of its workspace speaks.
    #[error("is in {0:?}, which no workspace.created names")]
    ForeignOrganization(String),
}

fn title(entry: &EntryKey) -> String {
    match &entry.kind {
        EntryKind::Workspace => "the directory entry".into(),
        EntryKind::Member(user) => format!("the membership of {user}"),
        EntryKind::Organization(organization) => format!("the listing under organization {organization}"),
        EntryKind::Slug(slug) => format!("the listing under slug {slug}"),
        EntryKind::OrganizationSlug(slug) => format!("the listing under organization slug {slug}"),
    }
}

fn list(times: &[Timestamp]) -> String {
    times.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn compared(found: &Option<String>, right: &Option<impl ToString>) -> String {
    match (found, right.as_ref().map(ToString::to_string)) {
        (None, right) => format!("is missing, should be {}", right.unwrap_or_default()),
        (Some(found), Some(right)) => format!("is {found}, should be {right}"),
        (Some(found), None) => format!("is {found}, should not be there"),
    }
}

//! Subscriptions to live updates, and positions in the journals that let them resume.
//!
//! The activities of a topic that anybody subscribes to, or did within the last day, are listed in the topic's journal,
//! batch by batch. A cursor is a position in that journal. It therefore knows what was recorded after it, however late
//! that was and whatever time the activities bear.

use crate::access::Caller;
use crate::grants::Grants;
use crate::ids::{OrganizationId, WorkspaceId};
use crate::{Error, Result, cursor};

/// The longest id a client may give a subscription, in bytes; a UUID has 36.
pub const MAX_SUBSCRIPTION_ID: usize = 128;
/// How long a connection can last, in seconds: API Gateway ends it after two hours.
pub const CONNECTION_SECONDS: i64 = 2 * 3600;
/// How long a journal keeps a batch, in seconds, and how long a topic keeps its journal after its last connection.
pub const JOURNAL_SECONDS: i64 = 24 * 3600;

/// First byte of a cursor. Those of feeds begin with another.
const CURSOR_VERSION: u8 = 64;
/// The longest connection id, in bytes. API Gateway's have 16.
const MAX_CONNECTION_ID: usize = 128;

/// The most subscriptions at the same time. Each adds to the cost of every batch of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionBounds {
    /// Those of one connection.
    pub connection: u64,
    /// Those of one user, on all connections.
    pub user: u64,
    /// Those of one topic: a workspace or an organization.
    pub topic: u64,
}

impl Default for SubscriptionBounds {
    /// A batch of a hundred activities still reaches a thousand subscribers within one invocation of the dispatcher.
    fn default() -> Self {
        Self { connection: 50, user: 100, topic: 1_000 }
    }
}

/// The topic of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A workspace.
    Workspace(WorkspaceId),
    /// All that the subscriber may see of an organization.
    Organization(OrganizationId),
}

/// For the log, and for the digest that binds cursors to their topic.
impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Workspace(id) => write!(f, "workspace {id}"),
            Self::Organization(id) => write!(f, "organization {id}"),
        }
    }
}

/// A connection, by the id that API Gateway gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(String);

impl ConnectionId {
    /// Parses the id of an event.
    ///
    /// # Errors
    /// [`Error::Internal`] of a text that could not be part of a key.
    pub fn parse(text: &str) -> Result<Self> {
        let good = (1..=MAX_CONNECTION_ID).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if good { Ok(Self(text.to_owned())) } else { Err(Error::internal("a connection's id is malformed")) }
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The client of a connection, as its verified token said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session {
    /// The token's subject.
    pub sub: String,
    /// Its scopes, words separated by spaces.
    pub scope: String,
    /// The tenants that its scopes are for.
    pub grants: Grants,
    /// When it expires, in seconds since 1970.
    pub token_expires: i64,
}

impl Session {
    /// The caller.
    pub fn caller(&self) -> Caller {
        Caller::new(&self.sub, self.scope.split(' ')).with_grants(self.grants.clone())
    }

    /// Whether the token has expired at `now`, in seconds since 1970.
    pub fn is_expired(&self, now: i64) -> bool {
        self.token_expires <= now
    }
}

/// A GraphQL document, as a client subscribed with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Document {
    /// The text of the document.
    pub query: String,
    /// The name of its operation, if the client gave one.
    pub operation: Option<String>,
    /// The variables, an object as JSON.
    pub variables: String,
}

/// A subscription to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topic.
    pub topic: Topic,
    /// The connection that gets the updates.
    pub connection: ConnectionId,
    /// The id that the client gave it.
    pub id: String,
    /// The subscriber.
    pub session: Session,
    /// The document that makes a message of each activity.
    pub document: Document,
    /// Tells it apart from an earlier or later subscription with the same id.
    pub nonce: String,
    /// When it began, in seconds since 1970.
    pub began: i64,
    /// The batch of the journal up to which updates were delivered, once the dispatcher delivers new ones; `None` while
    /// the subscription still replays the journal.
    pub since: Option<u64>,
}

/// A position in a topic's journal: everything up to this entry of this batch was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalPosition {
    /// The batch.
    pub batch: u64,
    /// The entry in it.
    pub entry: u32,
}

impl JournalPosition {
    /// The position after all entries of a batch.
    pub fn end_of(batch: u64) -> Self {
        Self { batch, entry: u32::MAX }
    }

    /// The position after an entry of a batch. After the last one it is the end of the batch, so that resuming there
    /// needs nothing of the batch any more.
    pub fn after(batch: u64, entry: u32, is_last: bool) -> Self {
        if is_last { Self::end_of(batch) } else { Self { batch, entry } }
    }

    /// The cursor of this position in a topic's journal.
    pub fn cursor(self, topic: &Topic) -> String {
        let mut payload = self.batch.to_be_bytes().to_vec();
        payload.extend(self.entry.to_be_bytes());
        cursor::encode(CURSOR_VERSION, &payload, &topic.to_string())
    }

    /// The position that a cursor names.
    ///
    /// # Errors
    /// [`Error::BadInput`] of `field` unless the cursor was made for this topic.
    pub fn from_cursor(field: &str, text: &str, topic: &Topic) -> Result<Self> {
        let position = cursor::decode(CURSOR_VERSION, text, &topic.to_string()).and_then(|payload| {
            let (batch, entry) = payload.split_at_checked(size_of::<u64>())?;
            Some(Self {
                batch: u64::from_be_bytes(batch.try_into().ok()?),
                entry: u32::from_be_bytes(entry.try_into().ok()?),
            })
        });
        position
            .ok_or_else(|| Error::bad_input(field, "must be a cursor that a subscription to the same gave"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(id: &str) -> Topic {
        Topic::Workspace(WorkspaceId::parse("w", id).unwrap())
    }

    fn read(cursor: &str, topic: &Topic) -> Result<JournalPosition> {
        JournalPosition::from_cursor("after", cursor, topic)
    }

    #[test]
    fn a_cursor_names_its_position_in_its_own_topic_only() {
        for position in [
            JournalPosition { batch: 0, entry: 0 },
            JournalPosition { batch: 7, entry: 3 },
            JournalPosition::end_of(u64::MAX),
        ] {
            let cursor = position.cursor(&workspace("ws-1"));
            assert_eq!(read(&cursor, &workspace("ws-1")).unwrap(), position);
            assert!(read(&cursor, &workspace("ws-2")).is_err());
            let organization = OrganizationId::parse("o", "ws-1").unwrap();
            assert!(read(&cursor, &Topic::Organization(organization)).is_err());
            for at in 0..cursor.len() {
                let mut damaged = cursor.clone().into_bytes();
                damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
                assert!(read(std::str::from_utf8(&damaged).unwrap(), &workspace("ws-1")).is_err());
                assert!(read(&cursor[..at], &workspace("ws-1")).is_err());
            }
        }
    }

    #[test]
    fn connection_ids_cannot_reach_into_other_keys() {
        assert!(ConnectionId::parse("L0SM9cOFvHcCIhw=").is_ok());
        for bad in ["", "a#b", "a b", "é", &"x".repeat(129)] {
            assert!(ConnectionId::parse(bad).is_err(), "{bad}");
        }
    }
}

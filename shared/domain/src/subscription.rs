//! Live feeds: who watches what, and how far they have been told.
//!
//! What is recorded of a topic that anybody watches, or watched within the last day, is listed in the topic's journal,
//! batch by batch. A cursor is a mark in that journal, so it knows what was recorded after it, however late it was
//! recorded and whatever time it bears.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::access::Caller;
use crate::ids::{OrganizationId, WorkspaceId};
use crate::{Error, Result};

/// The most subscriptions of one connection: each costs every broadcast of its topic.
pub const MAX_SUBSCRIPTIONS: usize = 50;
/// The longest id a client may give a subscription, in bytes; a UUID has 36.
pub const MAX_SUBSCRIPTION_ID: usize = 128;
/// How long a connection can last, in seconds: API Gateway ends it after two hours.
pub const CONNECTION_SECONDS: i64 = 2 * 3600;
/// How long a journal is kept, in seconds, and how long a topic has one after the last connection that could watch it.
pub const JOURNAL_SECONDS: i64 = 24 * 3600;

/// First byte of a cursor. Those of feeds begin with another.
const VERSION: u8 = 64;
/// Bytes of digest at a cursor's end, as those of feeds have.
const DIGEST: usize = 12;
/// The longest connection id, in bytes. API Gateway's have 16.
const MAX_CONNECTION_ID: usize = 128;

/// What can be watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A workspace.
    Workspace(WorkspaceId),
    /// What a watcher may see of an organization.
    Organization(OrganizationId),
}

impl Topic {
    /// Its name in keys.
    pub fn name(&self) -> String {
        match self {
            Self::Workspace(id) => format!("WS#{id}"),
            Self::Organization(id) => format!("ORG#{id}"),
        }
    }

    /// Reads a name of [`Topic::name`].
    pub fn parse(name: &str) -> Option<Self> {
        match name.split_once('#')? {
            ("WS", id) => Some(Self::Workspace(WorkspaceId::parse("topic", id).ok()?)),
            ("ORG", id) => Some(Self::Organization(OrganizationId::parse("topic", id).ok()?)),
            _ => None,
        }
    }
}

/// A connection, as API Gateway calls it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(String);

impl ConnectionId {
    /// Reads the id of an event.
    ///
    /// # Errors
    /// [`Error::Internal`] of what could not be part of a key.
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

/// Who is at the other end of a connection, as their verified token said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session {
    /// The token's subject.
    pub sub: String,
    /// Its scopes, words separated by spaces.
    pub scope: String,
    /// When it expires, in seconds since 1970.
    pub token_expires: i64,
}

impl Session {
    /// Who asks.
    ///
    /// # Errors
    /// As [`Caller::from_claims`].
    pub fn caller(&self) -> Result<Caller> {
        Caller::from_claims(Some(&self.sub), Some(&self.scope))
    }

    /// Whether the token counts no more.
    pub fn is_over(&self, now: i64) -> bool {
        self.token_expires <= now
    }
}

/// What a client subscribed with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Document {
    /// The document.
    pub query: String,
    /// Which of its operations.
    pub operation: Option<String>,
    /// The variables, an object as JSON.
    pub variables: String,
}

/// A subscription to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// What is watched.
    pub topic: Topic,
    /// Where it goes.
    pub connection: ConnectionId,
    /// What the client calls it.
    pub id: String,
    /// Who watches.
    pub session: Session,
    /// What they want to have of each activity.
    pub document: Document,
    /// What tells it from another that had, or will have, its id.
    pub mark: String,
    /// When it began, in seconds since 1970.
    pub began: i64,
    /// The batch of the journal up to which they have been told, once they are told what comes; `None` while they are
    /// still being told what they have missed.
    pub since: Option<u64>,
}

/// A place in a topic's journal: up to this entry of this batch, everything has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The batch.
    pub batch: u64,
    /// The entry in it.
    pub entry: u32,
}

impl Mark {
    /// After all of a batch.
    pub fn end_of(batch: u64) -> Self {
        Self { batch, entry: u32::MAX }
    }

    /// The cursor of this place in a topic's journal.
    pub fn cursor(self, topic: &Topic) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.batch.to_be_bytes());
        bytes.extend(self.entry.to_be_bytes());
        let digest = digest(topic, &bytes);
        bytes.extend(digest);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a cursor names.
    ///
    /// # Errors
    /// [`Error::BadInput`] of `after` unless the cursor was made for this topic.
    pub fn of(cursor: &str, topic: &Topic) -> Result<Self> {
        let mark = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| {
            let (signed, found) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
            let (batch, entry) = signed.strip_prefix(&[VERSION])?.split_at_checked(size_of::<u64>())?;
            let mark = Self {
                batch: u64::from_be_bytes(batch.try_into().ok()?),
                entry: u32::from_be_bytes(entry.try_into().ok()?),
            };
            (found == digest(topic, signed)).then_some(mark)
        });
        mark.ok_or_else(|| Error::bad_input("after", "must be a cursor that a subscription to the same gave"))
    }
}

fn digest(topic: &Topic, signed: &[u8]) -> [u8; DIGEST] {
    let whole = Sha256::new().chain_update(topic.name()).chain_update([0]).chain_update(signed).finalize();
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&whole[..DIGEST]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(id: &str) -> Topic {
        Topic::Workspace(WorkspaceId::parse("w", id).unwrap())
    }

    #[test]
    fn a_cursor_leads_back_in_its_own_topic_only() {
        for mark in [Mark { batch: 0, entry: 0 }, Mark { batch: 7, entry: 3 }, Mark::end_of(u64::MAX)] {
            let cursor = mark.cursor(&workspace("ws-1"));
            assert_eq!(Mark::of(&cursor, &workspace("ws-1")).unwrap(), mark);
            assert!(Mark::of(&cursor, &workspace("ws-2")).is_err());
            let organization = OrganizationId::parse("o", "ws-1").unwrap();
            assert!(Mark::of(&cursor, &Topic::Organization(organization)).is_err());
            for at in 0..cursor.len() {
                let mut damaged = cursor.clone().into_bytes();
                damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
                assert!(Mark::of(std::str::from_utf8(&damaged).unwrap(), &workspace("ws-1")).is_err());
                assert!(Mark::of(&cursor[..at], &workspace("ws-1")).is_err());
            }
        }
    }

    #[test]
    fn a_topics_name_leads_back() {
        for topic in [workspace("a:b@c"), Topic::Organization(OrganizationId::parse("o", "WS").unwrap())] {
            assert_eq!(Topic::parse(&topic.name()), Some(topic));
        }
        for bad in ["", "WS", "WS#", "WS#a#b", "X#a", "ORG# "] {
            assert_eq!(Topic::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_connections_id_is_no_way_into_other_keys() {
        assert!(ConnectionId::parse("L0SM9cOFvHcCIhw=").is_ok());
        for bad in ["", "a#b", "a b", "é", &"x".repeat(129)] {
            assert!(ConnectionId::parse(bad).is_err(), "{bad}");
        }
    }
}

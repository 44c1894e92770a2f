//! Every key of the `connections` table is spelled here and nowhere else.

use crate::live::{ConnectionId, Topic};

/// The partitions that the watchers of a topic are spread over, so that many can come at once, and be read at once. Each
/// costs a broadcast of the topic one read.
pub const WATCH_SHARDS: u64 = 4;

/// Sort key of who is at the other end of a connection.
pub const SESSION: &str = "SESSION";
/// What the sort key of a connection's subscription starts with; its id follows.
pub const SUBSCRIPTION_PREFIX: &str = "SUB#";
/// What the sort key of a batch of the journal starts with; its number follows.
pub const BATCH_PREFIX: &str = "BATCH#";

/// Partition of a connection: its session and its subscriptions.
pub fn connection(connection: &ConnectionId) -> String {
    format!("CONN#{}", connection.as_str())
}

/// Key of a connection's session.
pub fn session(of: &ConnectionId) -> (String, String) {
    (connection(of), SESSION.into())
}

/// Key of a connection's subscription, which says what it watches.
pub fn subscription(of: &ConnectionId, id: &str) -> (String, String) {
    (connection(of), format!("{SUBSCRIPTION_PREFIX}{id}"))
}

/// Key of a subscription among the watchers of a topic. The id comes last, as it may be of any characters.
pub fn watch(topic: &Topic, connection: &ConnectionId, id: &str) -> (String, String) {
    (watchers(topic, shard(connection)), format!("{}#{id}", connection.as_str()))
}

/// A partition of a topic's watchers.
pub fn watchers(topic: &Topic, shard: u64) -> String {
    format!("WATCH#{}#{shard}", topic.name())
}

/// Which of them a connection's subscriptions are in.
fn shard(connection: &ConnectionId) -> u64 {
    // FNV-1a: the same in every process and every version of this program.
    let hash = connection.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ((hash >> 32) ^ hash) % WATCH_SHARDS
}

/// Partition of a topic's journal.
pub fn journal(topic: &Topic) -> String {
    format!("JOURNAL#{}", topic.name())
}

/// Key of how far the journal goes.
pub fn head(topic: &Topic) -> (String, String) {
    (journal(topic), "HEAD".into())
}

/// Key of a batch of the journal.
pub fn batch(topic: &Topic, number: u64) -> (String, String) {
    (journal(topic), format!("{BATCH_PREFIX}{number:020}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{OrganizationId, WorkspaceId};

    #[test]
    fn keys_are_spelled_as_they_always_were() {
        let connection = ConnectionId::parse("L0SM9cOFvHcCIhw=").unwrap();
        let workspace = Topic::Workspace(WorkspaceId::parse("w", "ws-1").unwrap());
        let organization = Topic::Organization(OrganizationId::parse("o", "org-1").unwrap());
        let key = |(pk, sk)| format!("{pk} {sk}");
        assert_eq!(key(session(&connection)), "CONN#L0SM9cOFvHcCIhw= SESSION");
        assert_eq!(key(subscription(&connection, "a#b")), "CONN#L0SM9cOFvHcCIhw= SUB#a#b");
        assert_eq!(key(watch(&workspace, &connection, "1")), "WATCH#WS#ws-1#2 L0SM9cOFvHcCIhw=#1");
        assert_eq!(key(watch(&organization, &connection, "1")), "WATCH#ORG#org-1#2 L0SM9cOFvHcCIhw=#1");
        assert_eq!(key(head(&workspace)), "JOURNAL#WS#ws-1 HEAD");
        assert_eq!(key(batch(&workspace, 7)), "JOURNAL#WS#ws-1 BATCH#00000000000000000007");
    }

    #[test]
    fn connections_spread_over_the_partitions() {
        let mut counts = [0; WATCH_SHARDS as usize];
        for number in 0..1_000 {
            counts[shard(&ConnectionId::parse(&format!("connection-{number}=")).unwrap()) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
    }
}

//! Every key of the `connections` table is spelled here and nowhere else.

use domain::ids::{OrganizationId, WorkspaceId};
use domain::subscription::{ConnectionId, Topic};

use super::ItemKey;

/// The partitions that the subscriptions of a topic are spread over, so that many can begin at once and be read at once.
/// Each costs a batch of the topic one read.
pub(crate) const SUBSCRIBER_SHARDS: u64 = 4;

/// The most characters of a user's subject in a key.
const MAX_SUB_CHARS: usize = 256;

/// Sort key of a connection's session.
pub(crate) const SESSION: &str = "SESSION";
/// The prefix of the sort keys of a connection's subscriptions; the id follows.
pub(crate) const SUBSCRIPTION_PREFIX: &str = "SUB#";
/// The prefix of the sort keys of a journal's batches; the number follows.
pub(crate) const BATCH_PREFIX: &str = "BATCH#";

/// Partition of a connection: its session and its subscriptions.
pub(crate) fn connection(connection: &ConnectionId) -> String {
    format!("CONN#{}", connection.as_str())
}

/// Key of a connection's session.
pub(crate) fn session(of: &ConnectionId) -> ItemKey {
    (connection(of), SESSION.into())
}

/// Key of the item by which a connection's subscription is found, which says what topic it has.
pub(crate) fn subscription(of: &ConnectionId, id: &str) -> ItemKey {
    (connection(of), format!("{SUBSCRIPTION_PREFIX}{id}"))
}

/// Key of a subscription among those of its topic. The id comes last, because it may hold any character.
pub(crate) fn subscriber(topic: &Topic, connection: &ConnectionId, id: &str) -> ItemKey {
    (subscribers(topic, shard(connection)), format!("{}#{id}", connection.as_str()))
}

/// One of the partitions of a topic's subscriptions.
pub(crate) fn subscribers(topic: &Topic, shard: u64) -> String {
    format!("WATCH#{}#{shard}", topic_name(topic))
}

/// The shard that holds a connection's subscriptions.
fn shard(connection: &ConnectionId) -> u64 {
    // FNV-1a: the same in every process and every version of this program.
    let hash = connection.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ((hash >> 32) ^ hash) % SUBSCRIBER_SHARDS
}

/// The subscriptions that share a bound.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PermitScope<'a> {
    /// Those of a user, by the token's subject.
    User(&'a str),
    /// Those of a topic.
    Topic(&'a Topic),
}

/// Partition of the permits of a scope.
pub(crate) fn permits(scope: PermitScope<'_>) -> String {
    match scope {
        // A subject can be longer than a key. Users whose subjects begin alike for so long share a bound.
        PermitScope::User(sub) => {
            let sub: String = sub.chars().take(MAX_SUB_CHARS).collect();
            format!("PERMIT#USER#{sub}")
        }
        PermitScope::Topic(topic) => format!("PERMIT#{}", topic_name(topic)),
    }
}

/// Key of a permit.
pub(crate) fn permit(scope: PermitScope<'_>, number: u64) -> ItemKey {
    (permits(scope), format!("{number:06}"))
}

/// A topic's name in keys and attributes.
pub(crate) fn topic_name(topic: &Topic) -> String {
    match topic {
        Topic::Workspace(id) => format!("WS#{}", id.key()),
        Topic::Organization(id) => format!("ORG#{}", id.key()),
    }
}

/// Reads a name of [`topic_name`].
pub(crate) fn parse_topic(name: &str) -> Option<Topic> {
    match name.split_once('#')? {
        ("WS", id) => Some(Topic::Workspace(WorkspaceId::from_key(id)?)),
        ("ORG", id) => Some(Topic::Organization(OrganizationId::from_key(id)?)),
        _ => None,
    }
}

/// Partition of a topic's journal.
pub(crate) fn journal(topic: &Topic) -> String {
    format!("JOURNAL#{}", topic_name(topic))
}

/// Key of a journal's head, which says how far the journal goes.
pub(crate) fn head(topic: &Topic) -> ItemKey {
    (journal(topic), "HEAD".into())
}

/// Key of a batch of the journal.
pub(crate) fn batch(topic: &Topic, number: u64) -> ItemKey {
    (journal(topic), format!("{BATCH_PREFIX}{number:020}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_they_always_were() {
        let connection = ConnectionId::parse("L0SM9cOFvHcCIhw=").unwrap();
        let workspace = Topic::Workspace(WorkspaceId::parse("w", "ws-1").unwrap());
        let organization = Topic::Organization(OrganizationId::parse("o", "org-1").unwrap());
        let key = |(pk, sk)| format!("{pk} {sk}");
        assert_eq!(key(session(&connection)), "CONN#L0SM9cOFvHcCIhw= SESSION");
        assert_eq!(key(subscription(&connection, "a#b")), "CONN#L0SM9cOFvHcCIhw= SUB#a#b");
        assert_eq!(key(subscriber(&workspace, &connection, "1")), "WATCH#WS#ws-1#2 L0SM9cOFvHcCIhw=#1");
        assert_eq!(key(subscriber(&organization, &connection, "1")), "WATCH#ORG#org-1#2 L0SM9cOFvHcCIhw=#1");
        assert_eq!(key(permit(PermitScope::User("a|b#c"), 7)), "PERMIT#USER#a|b#c 000007");
        assert_eq!(key(permit(PermitScope::Topic(&organization), 999)), "PERMIT#ORG#org-1 000999");
        assert_eq!(permits(PermitScope::User(&"é".repeat(3_000))).len(), 12 + 2 * 256);
        assert_eq!(key(head(&workspace)), "JOURNAL#WS#ws-1 HEAD");
        assert_eq!(key(batch(&workspace, 7)), "JOURNAL#WS#ws-1 BATCH#00000000000000000007");
    }

    #[test]
    fn topic_names_read_back() {
        let organization = Topic::Organization(OrganizationId::parse("o", "WS").unwrap());
        for topic in [Topic::Workspace(WorkspaceId::parse("w", "a:b@c").unwrap()), organization] {
            assert_eq!(parse_topic(&topic_name(&topic)), Some(topic));
        }
        for bad in ["", "WS", "WS#", "WS#a#b", "X#a", "ORG# "] {
            assert_eq!(parse_topic(bad), None, "{bad}");
        }
    }

    #[test]
    fn connections_spread_over_the_partitions() {
        let mut counts = [0; SUBSCRIBER_SHARDS as usize];
        for number in 0..1_000 {
            counts[shard(&ConnectionId::parse(&format!("connection-{number}=")).unwrap()) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
    }
}

//! Cursors: a place in a feed, bound to the feed and the filters it came from. They carry no authority: what
//! may be read comes from the path and the token alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Order, Query};
use crate::keys::Position;
use crate::{Error, Result};

/// First byte of a cursor; another layout gets another number.
const VERSION: u8 = 1;
/// Bytes of digest at the end: enough that a damaged or foreign cursor is never taken for a good one.
const DIGEST: usize = 12;

/// The cursor of `place` in the feed of `query`.
pub fn encode(query: &Query, place: &Position) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(place.as_str().as_bytes());
    let digest = digest(query, &bytes);
    bytes.extend(digest);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place a cursor names.
///
/// # Errors
/// [`Error::BadInput`] of `cursor` unless it was made for this very feed, with these filters and this order.
pub fn decode(query: &Query, cursor: &str) -> Result<Position> {
    let place = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| {
        let (signed, found) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
        let place = std::str::from_utf8(signed.strip_prefix(&[VERSION])?).ok()?;
        (found == digest(query, signed)).then(|| Position::parse(place))?
    });
    place.ok_or_else(|| {
        Error::bad_input("cursor", "must be one that this feed gave, used with the same filters and order")
    })
}

fn digest(query: &Query, signed: &[u8]) -> [u8; DIGEST] {
    let Query { workspace, issue, filter, since, until, order, start: _, limit: _, total: _ } = query;
    let mut actors: Vec<_> = filter.actors.iter().map(|id| id.as_str()).collect();
    let mut actions: Vec<_> = filter.actions.iter().map(|action| action.as_str()).collect();
    let mut tags: Vec<_> = filter.tags.iter().map(|tag| tag.as_str()).collect();
    // "Any of" has no order.
    for list in [&mut actors, &mut actions, &mut tags] {
        list.sort_unstable();
    }
    let scope = serde_json::json!([
        workspace,
        issue,
        filter.actor_type,
        actors,
        actions,
        tags,
        since,
        until,
        *order == Order::Ascending,
    ]);
    let whole =
        Sha256::new().chain_update(scope.to_string()).chain_update([0]).chain_update(signed).finalize();
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&whole[..DIGEST]);
    digest
}

#[cfg(test)]
mod tests {
    use super::super::{Filter, Start};
    use super::*;
    use crate::activity::{Action, ActorType};
    use crate::ids::{ActivityId, ActorId, IssueId, Tag, WorkspaceId};
    use crate::time::Timestamp;

    fn query() -> Query {
        Query {
            workspace: WorkspaceId::parse("w", "ws-1").unwrap(),
            issue: None,
            filter: Filter::default(),
            since: None,
            until: None,
            order: Order::Descending,
            start: Start::Offset(0),
            limit: 50,
            total: false,
        }
    }

    fn place() -> Position {
        let time = Timestamp::parse("t", "2025-01-01T00:00:00.123456Z").unwrap();
        Position::new(time, &ActivityId::parse("id", "act-1").unwrap())
    }

    #[test]
    fn reads_back_at_full_precision_whatever_the_limit() {
        let cursor = encode(&query(), &place());
        let longer = Query { limit: 200, total: true, ..query() };
        assert_eq!(decode(&longer, &cursor).unwrap(), place());
    }

    #[test]
    fn is_bound_to_its_feed_and_filters() {
        let cursor = encode(&query(), &place());
        let time = Timestamp::parse("t", "2025-01-01T00:00:00Z").unwrap();
        let with = |filter| Query { filter, ..query() };
        for other in [
            Query { workspace: WorkspaceId::parse("w", "ws-2").unwrap(), ..query() },
            Query { issue: Some(IssueId::parse("i", "issue-1").unwrap()), ..query() },
            Query { since: Some(time), ..query() },
            Query { until: Some(time), ..query() },
            Query { order: Order::Ascending, ..query() },
            with(Filter { actor_type: Some(ActorType::User), ..Filter::default() }),
            with(Filter { actors: vec![ActorId::parse("a", "x").unwrap()], ..Filter::default() }),
            with(Filter { actions: vec![Action::parse("a", "x.y").unwrap()], ..Filter::default() }),
            with(Filter { tags: vec![Tag::parse("t", "x").unwrap()], ..Filter::default() }),
        ] {
            assert!(decode(&other, &cursor).is_err(), "{other:?}");
        }
    }

    #[test]
    fn any_damage_is_seen() {
        let cursor = encode(&query(), &place());
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&query(), &URL_SAFE_NO_PAD.encode(damaged)).is_err(), "byte {at}");
        }
        for bad in ["", "AQ", "!!", &cursor[1..], &format!("{cursor}="), &format!("{cursor}AA")] {
            assert!(decode(&query(), bad).is_err(), "{bad}");
        }
    }
}

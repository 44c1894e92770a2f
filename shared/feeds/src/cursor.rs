//! Cursors: a place in a feed, bound to the feed and the filters it came from. They carry no authority: what
//! may be read comes from the path and the token alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Filter, Order, Query, Scope, Sort};
use crate::ids::WorkspaceId;
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
/// [`Error::BadInput`] of `field` unless it was made for this very feed, with these filters and this order.
pub fn decode(query: &Query, field: &str, cursor: &str) -> Result<Position> {
    let place = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| {
        let (signed, found) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
        let place = std::str::from_utf8(signed.strip_prefix(&[VERSION])?).ok()?;
        (found == digest(query, signed)).then(|| parse(query, place))?
    });
    place.ok_or_else(|| {
        Error::bad_input(field, "must be one that this feed gave, used with the same filters and order")
    })
}

/// Reads the text of a place in the feed of `query`.
fn parse(query: &Query, text: &str) -> Option<Position> {
    let parse = |text| match query.sort {
        Sort::Time => Position::parse(text),
        Sort::Category => Position::parse_by_category(text),
    };
    if query.scope.workspace().is_some() {
        return parse(text);
    }
    match text.rsplit_once('#') {
        Some((place, workspace)) => {
            Some(parse(place)?.in_workspace(&WorkspaceId::parse("workspace", workspace).ok()?))
        }
        // Where a partition of several workspaces was left.
        None => Position::parse_around(text),
    }
}

fn digest(query: &Query, signed: &[u8]) -> [u8; DIGEST] {
    let Query { scope, filter, since, until, sort, order, .. } = query;
    let Query { after: _, before: _, backward: _, skip: _, limit: _, total: _, behind: _, .. } = query;
    let Filter { actor_type, actors, actions, categories, tags } = filter;
    let mut actors: Vec<_> = actors.iter().map(|id| id.as_str()).collect();
    let mut actions: Vec<_> = actions.iter().map(|action| action.as_str()).collect();
    let mut categories = categories.clone();
    let mut tags: Vec<_> = tags.iter().map(|tag| tag.as_str()).collect();
    // "Any of" has no order.
    for list in [&mut actors, &mut actions, &mut categories, &mut tags] {
        list.sort_unstable();
    }
    let scope = match scope {
        Scope::Workspace(workspace) => serde_json::json!(["workspace", workspace]),
        Scope::Issue(workspace, issue) => serde_json::json!(["issue", workspace, issue]),
        Scope::Organization(organization) => serde_json::json!(["organization", organization]),
        Scope::Everything => serde_json::json!([]),
    };
    let scope = serde_json::json!([
        scope,
        actor_type,
        actors,
        actions,
        categories,
        tags,
        since,
        until,
        *sort == Sort::Category,
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
    use super::*;
    use crate::activity::{Action, ActorType};
    use crate::ids::{ActivityId, ActorId, IssueId, OrganizationId, Tag};
    use crate::time::Timestamp;

    fn workspace(id: &str) -> WorkspaceId {
        WorkspaceId::parse("w", id).unwrap()
    }

    fn query() -> Query {
        Query::new(Scope::Workspace(workspace("ws-1")), 50)
    }

    fn place() -> Position {
        let time = Timestamp::parse("t", "2025-01-01T00:00:00.123456Z").unwrap();
        Position::new(time, &ActivityId::parse("id", "act-1").unwrap())
    }

    #[test]
    fn reads_back_at_full_precision_whatever_the_limit() {
        let cursor = encode(&query(), &place());
        let longer = Query { limit: 200, total: true, ..query() };
        assert_eq!(decode(&longer, "cursor", &cursor).unwrap(), place());
    }

    #[test]
    fn reads_back_in_every_kind_of_feed() {
        let by_category = Position::parse_by_category("OTHER#a.b#2025-01-01T00:00:00.000000#act-1").unwrap();
        for scope in [query().scope, Scope::Everything] {
            for (sort, place) in [(Sort::Time, place()), (Sort::Category, by_category.clone())] {
                let query = Query { scope: scope.clone(), sort, ..query() };
                let mut places = vec![place.clone()];
                if scope == Scope::Everything {
                    places = vec![place.in_workspace(&workspace("ws-1"))];
                    if sort == Sort::Time {
                        places.extend([places[0].around_its_time(false), places[0].around_its_time(true)]);
                    }
                }
                for place in places {
                    assert_eq!(decode(&query, "cursor", &encode(&query, &place)).unwrap(), place);
                }
            }
        }
    }

    #[test]
    fn is_bound_to_its_feed_and_filters() {
        let cursor = encode(&query(), &place());
        let time = Timestamp::parse("t", "2025-01-01T00:00:00Z").unwrap();
        let with = |filter| Query { filter, ..query() };
        for other in [
            Query { scope: Scope::Workspace(workspace("ws-2")), ..query() },
            Query {
                scope: Scope::Issue(workspace("ws-1"), IssueId::parse("i", "issue-1").unwrap()),
                ..query()
            },
            Query { scope: Scope::Organization(OrganizationId::parse("o", "ws-1").unwrap()), ..query() },
            Query { scope: Scope::Everything, ..query() },
            Query { since: Some(time), ..query() },
            Query { until: Some(time), ..query() },
            Query { sort: Sort::Category, ..query() },
            Query { order: Order::Ascending, ..query() },
            with(Filter { actor_type: Some(ActorType::User), ..Filter::default() }),
            with(Filter { actors: vec![ActorId::parse("a", "x").unwrap()], ..Filter::default() }),
            with(Filter { actions: vec![Action::parse("a", "x.y").unwrap()], ..Filter::default() }),
            with(Filter { categories: vec!["CREATE_TODO"], ..Filter::default() }),
            with(Filter { tags: vec![Tag::parse("t", "x").unwrap()], ..Filter::default() }),
        ] {
            assert!(decode(&other, "cursor", &cursor).is_err(), "{other:?}");
        }
    }

    #[test]
    fn any_damage_is_seen() {
        let cursor = encode(&query(), &place());
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&query(), "cursor", &URL_SAFE_NO_PAD.encode(damaged)).is_err(), "byte {at}");
        }
        for bad in ["", "AQ", "!!", &cursor[1..], &format!("{cursor}="), &format!("{cursor}AA")] {
            assert!(decode(&query(), "cursor", bad).is_err(), "{bad}");
        }
    }
}

//! Cursors of feeds: a bound in a feed, tied to the feed, its filters and its order.

use domain::filter::{FilterKind, Order, Sort};
use domain::position::Bound;
use domain::{Error, Result, cursor};
use store::{cursor_text, parse_cursor_text};

use crate::query::{Query, Scope};

/// First byte of a cursor; another layout of the payload or the binding gets another number.
const VERSION: u8 = 2;

/// The mark of a cursor whose page begins with the activity at its position, and not after it.
const WITH: char = '=';

/// The cursor of `bound` in the feed of `query`.
pub fn encode(query: &Query, bound: &Bound) -> String {
    cursor::encode(VERSION, cursor_text(bound).as_bytes(), &binding(query))
}

/// The cursor of the page that begins with the activity at `position`.
pub fn encode_with(query: &Query, position: &Bound) -> String {
    let text = format!("{WITH}{}", cursor_text(position));
    cursor::encode(VERSION, text.as_bytes(), &binding(query))
}

/// The bound that a cursor names.
///
/// # Errors
/// [`Error::BadInput`] of `field` unless it was made for this very feed, with these filters and this order.
pub fn decode(query: &Query, field: &str, text: &str) -> Result<Bound> {
    let parse = |text: &str| parse_cursor_text(text, query.sort, query.has_several_workspaces());
    let bound = cursor::decode(VERSION, text, &binding(query)).and_then(|payload| {
        let text = std::str::from_utf8(&payload).ok()?;
        match (text.strip_prefix(WITH), query.order) {
            (None, _) => parse(text),
            (Some(position), Order::Ascending) => parse(position).map(Bound::just_before),
            (Some(position), Order::Descending) => parse(position).map(Bound::just_after),
        }
    });
    bound.ok_or_else(|| {
        Error::bad_input(field, "must be one that this feed gave, used with the same filters and order")
    })
}

/// A text that is equal for queries of the same feed only.
fn binding(query: &Query) -> String {
    // Naming every field lets the compiler ask, of each new one, whether it makes another feed.
    let Query { scope, filter, since, until, sort, order, .. } = query;
    let Query {
        after: _, before: _, backward: _, skip: _, limit: _, max_bytes: _, total: _, behind: _, ..
    } = query;
    let scope = match scope {
        Scope::Workspace(workspace) => serde_json::json!(["workspace", workspace]),
        Scope::Issue(workspace, issue) => serde_json::json!(["issue", workspace, issue]),
        Scope::Organization(organization) => serde_json::json!(["organization", organization]),
        Scope::Everything => serde_json::json!([]),
    };
    let filters: Vec<Vec<&str>> = FilterKind::ALL.iter().map(|kind| filter.values(*kind)).collect();
    let descending = *order == Order::Descending;
    serde_json::json!([scope, filters, since, until, *sort == Sort::Category, descending]).to_string()
}

#[cfg(test)]
mod tests {
    use domain::activity::{Action, ActorType};
    use domain::filter::Filter;
    use domain::ids::{ActivityId, ActorId, IssueId, OrganizationId, Tag, WorkspaceId};
    use domain::position::{CategoryPosition, Edge, TimePosition};
    use domain::time::Timestamp;

    use super::*;

    fn workspace(id: &str) -> WorkspaceId {
        WorkspaceId::parse("w", id).unwrap()
    }

    fn query() -> Query {
        Query::new(Scope::Workspace(workspace("ws-1")), 50)
    }

    fn position() -> TimePosition {
        let created_at = Timestamp::parse("t", "2025-01-01T00:00:00.123456Z").unwrap();
        TimePosition { created_at, id: ActivityId::parse("id", "act-1").unwrap() }
    }

    #[test]
    fn reads_back_at_full_precision_whatever_the_limit() {
        let bound = Bound::from(position());
        let cursor = encode(&query(), &bound);
        let longer = Query { limit: 200, total: true, ..query() };
        assert_eq!(decode(&longer, "cursor", &cursor).unwrap(), bound);
    }

    #[test]
    fn reads_back_in_every_kind_of_feed() {
        let action = Action::parse("a", "a.b").unwrap();
        let by_category = CategoryPosition { category: "OTHER".into(), action, time: position() };
        for scope in [query().scope, Scope::Everything] {
            for (sort, bound) in
                [(Sort::Time, Bound::from(position())), (Sort::Category, by_category.clone().into())]
            {
                let query = Query { scope: scope.clone(), sort, ..query() };
                let mut bounds = vec![bound.clone()];
                if scope == Scope::Everything {
                    bounds = vec![bound.in_workspace(&workspace("ws-1"))];
                    if sort == Sort::Time {
                        bounds.extend(
                            [Edge::Before, Edge::After].map(|edge| bounds[0].around_its_instant(edge)),
                        );
                    }
                }
                for bound in bounds {
                    assert_eq!(decode(&query, "cursor", &encode(&query, &bound)).unwrap(), bound);
                }
            }
        }
    }

    #[test]
    fn is_bound_to_its_feed_and_filters() {
        let cursor = encode(&query(), &position().into());
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
            with(Filter { actor_types: vec![ActorType::User], ..Filter::default() }),
            with(Filter { actors: vec![ActorId::parse("a", "x").unwrap()], ..Filter::default() }),
            with(Filter { actions: vec![Action::parse("a", "x.y").unwrap()], ..Filter::default() }),
            with(Filter { categories: vec!["CREATE_TODO"], ..Filter::default() }),
            with(Filter { tags: vec![Tag::parse("t", "x").unwrap()], ..Filter::default() }),
        ] {
            assert!(decode(&other, "cursor", &cursor).is_err(), "{other:?}");
        }
    }
}

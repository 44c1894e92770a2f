//! The measured reads, as requests and as SQL.

use harness::World;

use crate::Result;
use crate::data::{Data, WORKSPACE};

/// A read.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) path: String,
    /// The statements of a service on PostgreSQL.
    pub(crate) sql: Vec<String>,
    /// The first id of its page, if it is known.
    pub(crate) begins_with: Option<String>,
    pub(crate) limits: Limits,
}

/// The targets of a read.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) requests: Option<usize>,
    /// The most read units, as a multiple of the first page's, plus those of a slot.
    pub(crate) units: Option<f64>,
    /// The longest time, as a multiple of the first page's.
    pub(crate) median: Option<f64>,
}

/// All reads. The others are compared with the first one, which is the first page.
pub(crate) async fn all(world: &World, data: &Data) -> Result<Vec<Case>> {
    let workspace = format!("/api/v1/workspaces/{WORKSPACE}/activity");
    let page = |filter: &str, tail: &str| {
        format!(
            "SELECT id, workspace_id, issue_id, actor_type, actor_id, action, details, created_at FROM activities \
             WHERE workspace_id = '{WORKSPACE}'{filter} ORDER BY created_at DESC, id DESC LIMIT 50{tail}"
        )
    };
    let count = || format!("SELECT count(*) FROM activities WHERE workspace_id = '{WORKSPACE}'");
    let case = |name: &str, query: &str, sql: Vec<String>| Case {
        name: name.into(),
        path: format!("{workspace}{query}"),
        sql,
        begins_with: None,
        limits: Limits::default(),
    };
    let at = |offset: usize| Case {
        begins_with: data.len.checked_sub(offset + 1).map(|index| data.row(index).id),
        limits: Limits { requests: Some(4), units: Some(4.0), median: Some(2.0) },
        ..case(
            &format!("page at offset {offset}"),
            &format!("?offset={offset}"),
            vec![page("", &format!(" OFFSET {offset}"))],
        )
    };
    let deepest = at(data.depth);
    // The link of a deep page leads to this one.
    let before = world.get(&format!("{workspace}?offset={}", data.depth - 100)).await;
    let next = before.next().ok_or("a deep page without a next one")?;
    let query = next.strip_prefix(&workspace).ok_or("a next page of another feed")?;
    let last = data.row(data.len - (data.depth - 100) - 50);
    let (time, id) = (&last.created_at, &last.id);
    let mut cases = vec![
        Case {
            limits: Limits { requests: Some(2), ..Limits::default() },
            ..case("first page of 50", "", vec![page("", "")])
        },
        Case {
            limits: Limits { median: Some(2.0), ..Limits::default() },
            ..case("first page, include=total", "?include=total", vec![page("", ""), count()])
        },
    ];
    cases.extend([1_000, 100_000].into_iter().filter(|offset| *offset < data.depth).map(at));
    cases.push(deepest);
    let issue = data.row(data.len / 2).issue;
    let mut of_issue =
        case("issue feed, first page", "", vec![page(&format!(" AND issue_id = '{issue}'"), "")]);
    of_issue.path = format!("/api/v1/workspaces/{WORKSPACE}/issues/{issue}/activity");
    cases.extend([
        case(
            "next page by cursor, as deep",
            query,
            vec![page(&format!(" AND (created_at, id) < ('{time}', '{id}')"), "")],
        ),
        of_issue,
        case("by actor", "?actor_id=actor-07", vec![page(" AND actor_id = 'actor-07'", "")]),
        case("by action", "?action=issue.closed", vec![page(" AND action = 'issue.closed'", "")]),
        case(
            "by date range",
            "?since=2024-03-01T00:00:00Z&until=2024-04-01T00:00:00Z",
            vec![page(
                " AND created_at >= '2024-03-01T00:00:00Z' AND created_at < '2024-04-01T00:00:00Z'",
                "",
            )],
        ),
        case(
            "by actor and action",
            "?actor_id=actor-07&action=issue.closed",
            vec![page(" AND actor_id = 'actor-07' AND action = 'issue.closed'", "")],
        ),
        case(
            "by actor type and action",
            "?actor_type=agent&action=issue.closed",
            vec![page(" AND actor_type = 'agent' AND action = 'issue.closed'", "")],
        ),
    ]);
    Ok(cases)
}

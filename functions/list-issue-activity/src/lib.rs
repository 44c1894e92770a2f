//! `GET /api/v1/workspaces/{ws_id}/issues/{issue_id}/activity`.

use std::convert::Infallible;

use lambda_http::http::header::IF_NONE_MATCH;
use lambda_http::{Request, Response};
use shared::ids::{IssueId, WorkspaceId};
use shared::store::Store;
use shared::{Result, listing};

/// Answers a page of an issue's feed.
///
/// # Errors
/// None: every failure is an answer.
pub async fn handle(store: &Store, request: Request) -> Result<Response<String>, Infallible> {
    shell::answer(&request, async {
        let caller = shell::caller(&request)?;
        let workspace = WorkspaceId::parse("ws_id", shell::path_parameter(&request, "ws_id")?)?;
        let issue = Some(IssueId::parse("issue_id", shell::path_parameter(&request, "issue_id")?)?);
        let if_none_match = shell::header(&request, IF_NONE_MATCH.as_str())?;
        let query = shell::query(&request);
        listing::list(store, listing::Request { caller, workspace, issue, query, if_none_match }).await
    })
    .await
}

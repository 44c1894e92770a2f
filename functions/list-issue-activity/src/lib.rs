//! `GET /api/v1/workspaces/{ws_id}/issues/{issue_id}/activity`.

use std::convert::Infallible;

use domain::Result;
use domain::ids::{IssueId, WorkspaceId};
use http_api::listing::{self, ListRequest};
use lambda_http::http::header::IF_NONE_MATCH;
use lambda_http::{Request, Response};
use store::Store;

/// Answers with a page of an issue's feed.
///
/// # Errors
/// None: every failure is an answer.
pub async fn handle(store: &Store, request: Request) -> Result<Response<String>, Infallible> {
    lambda_support::answer(&request, async {
        let caller = lambda_support::caller(&request)?;
        let workspace =
            WorkspaceId::parse_segment("ws_id", lambda_support::path_parameter(&request, "ws_id")?)?;
        let issue =
            Some(IssueId::parse_segment("issue_id", lambda_support::path_parameter(&request, "issue_id")?)?);
        let if_none_match = lambda_support::header(&request, IF_NONE_MATCH.as_str())?;
        let query = lambda_support::query(&request);
        let prefix = lambda_support::path_prefix(&request);
        let request_id = lambda_support::request_id(&request);
        listing::list(
            store,
            ListRequest { caller, workspace, issue, query, if_none_match, prefix, request_id },
        )
        .await
    })
    .await
}

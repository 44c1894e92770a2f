//! `GET /api/v1/workspaces/{ws_id}/activity` and `GET /api/v1/workspaces/{ws_id}/activity/{activity_id}`.

use std::convert::Infallible;

use domain::ids::{ActivityId, WorkspaceId};
use domain::{Error, Result};
use http_api::listing::{self, ListRequest};
use lambda_http::http::header::IF_NONE_MATCH;
use lambda_http::{Request, RequestExt as _, Response};
use store::Store;

/// Answers with a page of a workspace's feed, or with one activity of the workspace.
///
/// # Errors
/// None: every failure is an answer.
pub async fn handle(store: &Store, request: Request) -> Result<Response<String>, Infallible> {
    lambda_support::answer(&request, async {
        let caller = lambda_support::caller(&request)?;
        let workspace =
            WorkspaceId::parse_segment("ws_id", lambda_support::path_parameter(&request, "ws_id")?)?;
        let if_none_match = lambda_support::header(&request, IF_NONE_MATCH.as_str())?;
        let query = lambda_support::query(&request);
        let prefix = lambda_support::path_prefix(&request);
        let request_id = lambda_support::request_id(&request);
        if !has_activity_id(&request) {
            let request =
                ListRequest { caller, workspace, issue: None, query, if_none_match, prefix, request_id };
            return listing::list(store, request).await;
        }
        let id = ActivityId::parse_segment(
            "activity_id",
            lambda_support::path_parameter(&request, "activity_id")?,
        )?;
        if !query.is_empty() {
            return Err(Error::bad_input("query", "must be empty: one activity takes no parameters"));
        }
        Box::pin(listing::show(store, &caller, &workspace, &id, if_none_match)).await
    })
    .await
}

fn has_activity_id(request: &Request) -> bool {
    request.path_parameters_ref().is_some_and(|parameters| parameters.first("activity_id").is_some())
}

//! `GET /api/v1/workspaces/{ws_id}/activity` and `GET /api/v1/workspaces/{ws_id}/activity/{activity_id}`.

use std::convert::Infallible;

use lambda_http::http::header::IF_NONE_MATCH;
use lambda_http::{Request, RequestExt as _, Response};
use shared::ids::{ActivityId, WorkspaceId};
use shared::store::Store;
use shared::{Error, Result, listing};

/// Answers a page of a workspace's feed, or one activity of it.
///
/// # Errors
/// None: every failure is an answer.
pub async fn handle(store: &Store, request: Request) -> Result<Response<String>, Infallible> {
    shell::answer(&request, async {
        let caller = shell::caller(&request)?;
        let workspace = WorkspaceId::parse("ws_id", shell::path_parameter(&request, "ws_id")?)?;
        let if_none_match = shell::header(&request, IF_NONE_MATCH.as_str())?;
        let query = shell::query(&request);
        if request.path_parameters_ref().is_some_and(|parameters| parameters.first("activity_id").is_some()) {
            let id = ActivityId::parse("activity_id", shell::path_parameter(&request, "activity_id")?)?;
            if !query.is_empty() {
                return Err(Error::bad_input("query", "must be empty: one activity takes no parameters"));
            }
            return Box::pin(listing::one(store, &caller, &workspace, &id, if_none_match)).await;
        }
        listing::list(store, listing::Request { caller, workspace, issue: None, query, if_none_match }).await
    })
    .await
}

//! Lists over HTTP: what the listing functions have in common.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, LINK};
use http::{HeaderValue, Response, StatusCode};
use sha2::{Digest, Sha256};

use crate::access::{Caller, Place};
use crate::feed::{self, Budget, Scope};
use crate::ids::{ActivityId, IssueId, WorkspaceId};
use crate::params::Params;
use crate::store::Store;
use crate::{Error, Result};

/// Header of a list's total.
pub const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// A request for a page.
#[derive(Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: Caller,
    /// Whose feed.
    pub workspace: WorkspaceId,
    /// One issue's only.
    pub issue: Option<IssueId>,
    /// The query string.
    pub query: &'a str,
    /// The header `If-None-Match`.
    pub if_none_match: Option<&'a str>,
}

/// Answers a page of a feed: an array of activities, with `Link`, `X-Total-Count` and `ETag`.
///
/// # Errors
/// Those of [`Params`], of access, and of [`feed::read`].
pub async fn list(store: &Store, request: Request<'_>) -> Result<Response<String>> {
    let Request { caller, workspace, issue, .. } = request;
    let params = Params::parse(request.query)?;
    let path = path(&workspace, issue.as_ref());
    let query = params.query(match issue {
        None => Scope::Workspace(workspace.clone()),
        Some(issue) => Scope::Issue(workspace.clone(), issue),
    })?;
    let access = async { Ok(vec![place(store, &caller, &workspace).await?]) };
    let page = Box::pin(feed::read(store, &Budget::start(), &query, access)).await?;
    let mut response = Response::new(serde_json::to_string(&page.activities).map_err(Error::internal)?);
    if let Some(next) = &page.next {
        let link = format!("<{path}?{}>; rel=\"next\"", params.next(&query, next));
        response.headers_mut().insert(LINK, HeaderValue::from_str(&link).map_err(Error::internal)?);
    }
    if let Some(total) = page.total {
        response.headers_mut().insert(TOTAL_COUNT, total.into());
    }
    tagged(response, request.if_none_match)
}

/// Answers one activity.
///
/// # Errors
/// Those of access; [`Error::NotFound`] when there is none that the caller may see.
pub async fn one(
    store: &Store,
    caller: &Caller,
    workspace: &WorkspaceId,
    id: &ActivityId,
    if_none_match: Option<&str>,
) -> Result<Response<String>> {
    let (place, row) = tokio::join!(place(store, caller, workspace), store.activity(workspace, id));
    let view = place?.view;
    let visible = row?.filter(|row| view.shows(row.staff));
    let activity = visible.ok_or(Error::NotFound("Activity not found"))?.activity;
    tagged(Response::new(serde_json::to_string(&activity).map_err(Error::internal)?), if_none_match)
}

/// Where a feed is served.
pub fn path(workspace: &WorkspaceId, issue: Option<&IssueId>) -> String {
    match issue {
        None => format!("/api/v1/workspaces/{workspace}/activity"),
        Some(issue) => format!("/api/v1/workspaces/{workspace}/issues/{issue}/activity"),
    }
}

async fn place(store: &Store, caller: &Caller, id: &WorkspaceId) -> Result<Place> {
    let (workspace, role) = store.access(id, caller.user.as_ref()).await?;
    Place::of(caller, id, workspace.as_ref(), role)
}

/// Adds a weak entity tag of all the response says, or answers that the caller has it already.
///
/// # Errors
/// None of the caller's.
pub fn tagged(mut response: Response<String>, if_none_match: Option<&str>) -> Result<Response<String>> {
    let header = |name| response.headers().get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let digest = Sha256::new()
        .chain_update(header(LINK))
        .chain_update([0])
        .chain_update(header(TOTAL_COUNT))
        .chain_update([0])
        .chain_update(response.body())
        .finalize();
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("W/\"{hex}\"");
    let known = |candidate: &str| {
        let candidate = candidate.trim();
        candidate == "*" || candidate.trim_start_matches("W/") == &tag[2..]
    };
    if if_none_match.is_some_and(|tags| tags.split(',').any(known)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.body_mut().clear();
    } else {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_str(&tag).map_err(Error::internal)?);
    // Access is checked at each read, so nobody may keep an answer without asking again.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

//! Lists of activities over HTTP, and single activities.

use domain::access::{Caller, VisibleWorkspace};
use domain::activity::Activity;
use domain::error::Missing;
use domain::ids::{ActivityId, IssueId, WorkspaceId};
use domain::position::TimePosition;
use domain::time::Timestamp;
use domain::{Error, Result};
use feeds::{Budget, Scope, cursor};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, LINK};
use http::{HeaderValue, Response, StatusCode};
use sha2::{Digest, Sha256};
use store::{Row, Store};

use crate::entry;
use crate::params::Params;
use crate::problem::PageTooLong;

/// The header with the number of all entries of a list.
pub const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// The bytes of an entity tag's digest.
const TAG_LEN: usize = 8;

/// A request for a page of a feed.
#[derive(Debug)]
pub struct ListRequest<'a> {
    /// The caller.
    pub caller: Caller,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The issue, when the feed is that of an issue.
    pub issue: Option<IssueId>,
    /// The query string.
    pub query: &'a str,
    /// The header `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// The prefix of the path, as the client sees it, before that of the route: a stage, or the path of a custom domain.
    pub prefix: &'a str,
    /// The name of the request in our logs.
    pub request_id: Option<&'a str>,
}

/// Answers with a page of a feed: an array of activities, with `Link`, `X-Total-Count` and `ETag`. It is never shorter than
/// both the limit and what is left, unless a cursor began it: who counts offsets would skip what a short page leaves out,
/// or take it for the last. So such a page is refused, with a cursor that goes on from there.
///
/// # Errors
/// Those of [`Params`], of access, and of [`feeds::read`].
pub async fn list(store: &Store, request: ListRequest<'_>) -> Result<Response<String>> {
    let ListRequest { caller, workspace, issue, query, if_none_match, prefix, request_id } = request;
    let params = Params::parse(query)?;
    let path = format!("{prefix}{}", path(&workspace, issue.as_ref()));
    let query = params.query(match issue {
        None => Scope::Workspace(workspace.clone()),
        Some(issue) => Scope::Issue(workspace.clone(), issue),
    })?;
    let access = async { Ok(vec![visible_workspace(store, &caller, &workspace).await?]) };
    let render = if params.includes_provenance() { render_with_provenance } else { render_plain };
    let page = Box::pin(feeds::read(store, &Budget::start(), &query, render, access)).await?;
    let link = |cursor: &str| {
        let link = format!("<{path}?{}>; rel=\"next\"", params.page_at(cursor));
        HeaderValue::from_str(&link).map_err(Error::internal)
    };
    if let (Some(fits), Some(next), None) = (page.fits, &page.next, &query.after) {
        let cursor = match &page.ends {
            Some((first, _)) => cursor::encode_with(&query, first),
            None => cursor::encode(&query, next),
        };
        let link = link(&cursor)?;
        let mut response = PageTooLong::new(fits, cursor, request_id).into_response();
        response.headers_mut().insert(LINK, link);
        return Ok(response);
    }
    let mut response = Response::new(json_array(&page.entries));
    if let Some(next) = &page.next {
        response.headers_mut().insert(LINK, link(&cursor::encode(&query, next))?);
    }
    if let Some(total) = page.total {
        response.headers_mut().insert(TOTAL_COUNT, total.into());
    }
    tagged(response, if_none_match)
}

/// Answers with one activity, and with when and by whom it was recorded if the caller may see that.
///
/// # Errors
/// Those of access; [`Error::NotFound`] when no activity that the caller may see has the id.
pub async fn show(
    store: &Store,
    caller: &Caller,
    workspace: &WorkspaceId,
    id: &ActivityId,
    if_none_match: Option<&str>,
) -> Result<Response<String>> {
    // A refusal does not wait for the id item, and a failure to read that does not hide a refusal.
    let found = async { Ok(store.position_of(workspace, id).await) };
    let (visible, found) = tokio::try_join!(biased; visible_workspace(store, caller, workspace), found)?;
    let found = found?;
    // An id that no activity has costs a client as much time as one whose activity is hidden from them.
    let nowhere = || TimePosition { created_at: Timestamp::MAX, id: id.clone() };
    let row = store.activity(workspace, &found.clone().unwrap_or_else(nowhere)).await?;
    if found.is_some() && row.is_none() {
        return Err(Error::internal(format!("id item without its activity: {workspace} {id}")));
    }
    let row = row
        .filter(|row| visible.view.shows(&row.activity.action, row.staff))
        .ok_or(Error::NotFound(Missing::Activity))?;
    let render = if visible.sees_provenance { entry::with_provenance } else { entry::plain };
    tagged(Response::new(render(row.activity)?.0), if_none_match)
}

/// The path of a feed.
pub fn path(workspace: &WorkspaceId, issue: Option<&IssueId>) -> String {
    match issue {
        None => format!("/api/v1/workspaces/{}/activity", workspace.segment()),
        Some(issue) => {
            format!("/api/v1/workspaces/{}/issues/{}/activity", workspace.segment(), issue.segment())
        }
    }
}

/// The path of one activity.
pub fn path_of(activity: &Activity) -> String {
    format!("{}/{}", path(&activity.workspace_id, None), activity.id.segment())
}

async fn visible_workspace(store: &Store, caller: &Caller, id: &WorkspaceId) -> Result<VisibleWorkspace> {
    let (workspace, role) = store.access(id, caller.user.as_ref()).await?;
    VisibleWorkspace::of(caller, id, workspace.as_ref(), role)
}

fn render_plain(row: Row) -> Result<(String, usize)> {
    entry::plain(row.activity)
}

fn render_with_provenance(row: Row) -> Result<(String, usize)> {
    entry::with_provenance(row.activity)
}

fn json_array(entries: &[String]) -> String {
    let len: usize = entries.iter().map(|entry| entry.len() + 1).sum();
    let mut array = String::with_capacity(len + 2);
    array.push('[');
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            array.push(',');
        }
        array.push_str(entry);
    }
    array.push(']');
    array
}

/// Adds a weak entity tag of the body and of the headers that describe it. When the caller has that response already,
/// the status becomes 304 and the body empty.
///
/// # Errors
/// [`Error::Internal`] when the tag is no header value, which no response causes.
pub fn tagged(mut response: Response<String>, if_none_match: Option<&str>) -> Result<Response<String>> {
    let header = |name| response.headers().get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let digest = Sha256::new()
        .chain_update(header(LINK))
        .chain_update([0])
        .chain_update(header(TOTAL_COUNT))
        .chain_update([0])
        .chain_update(response.body())
        .finalize();
    let hex: String = digest.iter().take(TAG_LEN).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("W/\"{hex}\"");
    let is_known = |candidate: &str| {
        let candidate = candidate.trim();
        candidate == "*" || candidate.trim_start_matches("W/") == &tag[2..]
    };
    if if_none_match.is_some_and(|tags| tags.split(',').any(is_known)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.body_mut().clear();
    } else {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_str(&tag).map_err(Error::internal)?);
    // Nobody may use a kept response without asking again, because each read checks access.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

//! The operations, for the document only: what serves them is in `functions/`.

#![expect(dead_code, reason = "only their descriptions are used")]

use record_activity::{BatchResult, KnownAction};
use shared::activity::Activity;
use shared::ids::{ActivityId, IssueId, WorkspaceId};

use super::problems::{Catalog, Reading, Recording};
use super::schemas::{Events, Idempotency, Known, Page, Recorded};

/// List all workspace activity
#[utoipa::path(
    get,
    path = "/api/v1/workspaces/{ws_id}/activity",
    operation_id = "listWorkspaceActivity",
    tag = "Reading",
    params(
        ("ws_id" = WorkspaceId, Path, description = "The workspace."),
        Page,
        Known,
    ),
    responses(
        (
            status = 200,
            description = "A page of the feed.",
            body = Vec<Activity>,
            headers(
                ("Link" = String, description = "The next page, `rel=\"next\"`, when there is one."),
                ("X-Total-Count" = u64, description = "How many entries there are, when `include=total` asks."),
                ("ETag" = String, description = "Names this very answer."),
            ),
        ),
        (status = 304, description = "The answer is the one with the tag in `If-None-Match`."),
        Reading,
    ),
    security(("bearer" = [])),
)]
pub(super) fn list_workspace_activity() {}

/// Show one activity
#[utoipa::path(
    get,
    path = "/api/v1/workspaces/{ws_id}/activity/{activity_id}",
    operation_id = "getActivity",
    tag = "Reading",
    params(
        ("ws_id" = WorkspaceId, Path, description = "The workspace."),
        ("activity_id" = ActivityId, Path, description = "The activity."),
        Known,
    ),
    responses(
        (
            status = 200,
            description = "The activity.",
            body = Activity,
            headers(("ETag" = String, description = "Names this very answer.")),
        ),
        (status = 304, description = "The answer is the one with the tag in `If-None-Match`."),
        Reading,
    ),
    security(("bearer" = [])),
)]
pub(super) fn get_activity() {}

/// List activity for specific issue
#[utoipa::path(
    get,
    path = "/api/v1/workspaces/{ws_id}/issues/{issue_id}/activity",
    operation_id = "listIssueActivity",
    tag = "Reading",
    params(
        ("ws_id" = WorkspaceId, Path, description = "The workspace."),
        ("issue_id" = IssueId, Path, description = "The issue."),
        Page,
        Known,
    ),
    responses(
        (
            status = 200,
            description = "A page of the feed.",
            body = Vec<Activity>,
            headers(
                ("Link" = String, description = "The next page, `rel=\"next\"`, when there is one."),
                ("X-Total-Count" = u64, description = "How many entries there are, when `include=total` asks."),
                ("ETag" = String, description = "Names this very answer."),
            ),
        ),
        (status = 304, description = "The answer is the one with the tag in `If-None-Match`."),
        Reading,
    ),
    security(("bearer" = [])),
)]
pub(super) fn list_issue_activity() {}

/// Record activity
///
/// Recorded again, under the same id and with the same content, an event is the same activity.
#[utoipa::path(
    post,
    path = "/api/v1/workspaces/{ws_id}/activity",
    operation_id = "recordActivity",
    tag = "Recording",
    params(
        ("ws_id" = WorkspaceId, Path, description = "The workspace."),
        Idempotency,
    ),
    request_body(content = Events, description = "What happened."),
    responses(
        (
            status = 200,
            description = "It was recorded before; or, of an array, every event is recorded now.",
            body = Recorded,
        ),
        (
            status = 201,
            description = "It is recorded.",
            body = Activity,
            headers(("Location" = String, description = "Where the activity is.")),
        ),
        (status = 207, description = "Of an array, not every event is recorded.", body = Vec<BatchResult>),
        Recording,
    ),
    security(("bearer" = ["activity:write"])),
)]
pub(super) fn record_activity() {}

/// List known actions
///
/// What events of these actions must be like. Actions that are not listed are recorded as they are.
#[utoipa::path(
    get,
    path = "/api/v1/actions",
    operation_id = "listActions",
    tag = "Recording",
    params(Known),
    responses(
        (
            status = 200,
            description = "The actions, grouped by what they are about.",
            body = Vec<KnownAction>,
            headers(("ETag" = String, description = "Names this very answer.")),
        ),
        (status = 304, description = "The answer is the one with the tag in `If-None-Match`."),
        Catalog,
    ),
    security(("bearer" = [])),
)]
pub(super) fn list_actions() {}
